"""Windows that know which recordings they were cut from."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import IntArray

_N_SAMPLES_CHECKED = 5


@dataclass(frozen=True, eq=False)
class Origin:
    """The recordings that windows were cut from, one after the other.

    Parameters
    ----------
    counts : ndarray of shape (n_recordings,)
        Windows of each.

    lengths : ndarray of shape (n_recordings,)
        Samples of each.

    size, stride : int
        Of the windows, in samples.
    """

    counts: IntArray
    lengths: IntArray
    size: int
    stride: int

    @property
    def recordings(self) -> IntArray:
        """Index of the recording of each window."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


class CutWindows(np.ndarray[Any, Any]):
    """Windows that know their origin: an array as any other, with `origin`.

    What leaves each row in its place keeps the origin: operations element by element, a
    copy, another type, some of the channels or samples, a pickle. The result of any
    other operation has the origin None; so have the windows themselves after any other
    operation has changed them in place.
    """

    _origin: Origin | None = None
    _seal: tuple[tuple[int, ...], int] | None = None

    @property
    def origin(self) -> Origin | None:
        """The :class:`Origin`, or None."""
        if self._origin is None or self._seal != _seal(self):
            return None
        return self._origin

    @origin.setter
    def origin(self, origin: Origin | None) -> None:
        self._origin = origin
        self._seal = None if origin is None else _seal(self)

    def __array_ufunc__(
        self,
        ufunc: np.ufunc,
        method: str,
        *inputs: Any,
        out: tuple[Any, ...] = (),
        **kwargs: Any,
    ) -> Any:
        is_elementwise = method == "__call__" and ufunc.signature is None
        origin = _common_origin(inputs) if is_elementwise else None
        kwargs = {name: _plain(value) for name, value in kwargs.items()}
        if out:
            kwargs["out"] = tuple(map(_plain, out))
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        for array in out:
            if isinstance(array, CutWindows):
                array.origin = origin
        return out[0] if len(out) == 1 else with_origin(result, origin)

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if part.ndim == 3 and _takes_all_rows(key):
            return with_origin(part, self.origin)
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        self.origin = None
        super().__setitem__(key, value)

    def copy(self, order: Any = "C") -> Any:
        """As of any array; keeps the origin."""
        return with_origin(super().copy(order), self.origin)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        """As of any array; keeps the origin."""
        return with_origin(super().astype(*args, **kwargs), self.origin)

    def __reduce__(self) -> tuple[Any, ...]:
        return with_origin, (_plain(self), self.origin)


def with_origin(windows: Any, origin: Origin | None) -> Any:
    """The same windows, with an origin if it is known and has as many windows."""
    if origin is None or not isinstance(windows, np.ndarray):
        return windows
    if windows.ndim != 3 or not windows.size or len(windows) != origin.counts.sum():
        return windows
    windows = windows.view(CutWindows)
    windows.origin = origin
    return windows


def origin_of(windows: object) -> Origin | None:
    """Where windows were cut from, None where that is not known."""
    return windows.origin if isinstance(windows, CutWindows) else None


def _seal(windows: CutWindows) -> tuple[tuple[int, ...], int]:
    """The shape and a checksum of some samples of each row, which other rows change."""
    times = np.linspace(0, windows.shape[-1] - 1, _N_SAMPLES_CHECKED).astype(int)
    return windows.shape, zlib.crc32(_plain(windows)[..., times].tobytes())


def _plain(array: Any) -> Any:
    """Windows as a plain array, and anything else as it is."""
    return np.asarray(array) if isinstance(array, CutWindows) else array


def _common_origin(arrays: Iterable[Any]) -> Origin | None:
    """The origin that all windows among some arrays have."""
    origins = [array.origin for array in arrays if isinstance(array, CutWindows)]
    first = origins[0] if origins else None
    return first if all(origin is first for origin in origins) else None


def _takes_all_rows(key: Any) -> bool:
    """Whether an index of windows leaves each row where it is."""
    if not isinstance(key, tuple) or len(key) > 3:
        return False
    rows, *others = key
    is_full = isinstance(rows, slice) and rows == slice(None)
    return is_full and not any(other is None for other in others)
