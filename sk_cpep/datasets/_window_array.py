"""Windows that stay on disk until a batch of them is asked for."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from numbers import Integral
from typing import Any, Protocol

import joblib
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._typing import AnyArray, Float32Array
from ._digest import digest

Indices = NDArray[np.int64]


class WindowSource(Protocol):
    """Where the windows of a :class:`WindowArray` are read."""

    @property
    def n_channels(self) -> int:
        """Channels of every window."""
        ...

    def read(self, recordings: Indices, starts: Indices, n_times: int) -> Float32Array:
        """Read windows, (n, n_channels, n_times), by recording and first sample."""
        ...


class WindowArray:
    """Windows of recordings, read from disk a batch at a time.

    Stands for a float32 array of shape (n_windows, n_channels, n_times). A single
    window is read when it is asked for, several with ``__getitems__(indices)``.
    A slice, an array of indices or a mask selects windows and reads nothing: it
    gives another `WindowArray`. So it goes through scikit-learn's splitters and
    searches, and to their workers, without being loaded. ``numpy.asarray``
    loads all of it.

    Parameters
    ----------
    source : object
        Where the windows are read. Has `n_channels` and
        ``read(recordings, starts, n_times)``, which takes two integer arrays of
        shape (n,) and returns a float32 array of shape
        (n, n_channels, n_times). It is pickled along, so it holds no open files.
        It may have two methods more: ``read_into(recordings, starts, out)``, which
        reads into an array that is given, and ``fingerprint(recordings)``, a str that
        changes with the content of these recordings. Without the latter the source is
        known by its pickle: where it reads files, let that hold what changes with
        them, such as their times of modification.

    recordings : array-like of shape (n_windows,), int
        Recording that each window lies in, as the source numbers them.

    starts : array-like of shape (n_windows,), int
        First sample of each window within its recording.

    n_times : int
        Length of a window in samples.

    Attributes
    ----------
    shape : tuple of int
        (n_windows, n_channels, n_times).

    ndim : int
        3.

    dtype : numpy.dtype
        float32.

    nbytes : int
        Memory in bytes that all windows would take.

    Raises
    ------
    ValueError
        If `recordings` and `starts` are not integers of one and the same length.

    See Also
    --------
    load_emg2pose : Gives EMG and pose of emg2pose as window arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.datasets import WindowArray
    >>> class Ramps:
    ...     n_channels = 2
    ...
    ...     def read(self, recordings, starts, n_times):
    ...         times = starts[:, None, None] + np.arange(n_times)
    ...         return np.repeat(times.astype(np.float32), 2, axis=1)
    >>> X = WindowArray(Ramps(), recordings=[0, 0, 1], starts=[0, 4, 8], n_times=4)
    >>> X.shape
    (3, 2, 4)
    >>> X[1:].shape
    (2, 2, 4)
    >>> X[-1]
    array([[ 8.,  9., 10., 11.],
           [ 8.,  9., 10., 11.]], dtype=float32)
    """

    ndim = 3
    dtype: np.dtype[np.float32] = np.dtype(np.float32)

    def __init__(
        self,
        source: WindowSource,
        recordings: ArrayLike,
        starts: ArrayLike,
        n_times: int,
    ) -> None:
        self.source = source
        self.recordings: Indices = _integers(recordings, "recordings")
        self.starts: Indices = _integers(starts, "starts")
        self.n_times: int = int(n_times)
        if len(self.recordings) != len(self.starts):
            raise ValueError(
                f"recordings has {len(self.recordings)} entries, starts has "
                f"{len(self.starts)}: each window needs one of both."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.starts), self.source.n_channels, self.n_times

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.starts)

    def __sizeof__(self) -> int:
        # By this, Dask sends to its workers once what is not small.
        return super().__sizeof__() + self.recordings.nbytes + self.starts.nbytes

    def __repr__(self) -> str:
        return f"WindowArray(shape={self.shape}, dtype=float32, unread)"

    def __getitem__(self, key: Any) -> Any:
        key = _row_key(key)
        if isinstance(key, Integral) and not isinstance(key, (bool, np.bool_)):
            return self.__getitems__([int(key)])[0]
        if not isinstance(key, slice):
            key = _row_indices(key, len(self))
        return WindowArray(
            self.source, self.recordings[key], self.starts[key], self.n_times
        )

    def __getitems__(self, indices: ArrayLike) -> Float32Array:
        """Read several windows at once.

        Parameters
        ----------
        indices : array-like of shape (n,), int or bool
            Negative ones count from the end.

        Returns
        -------
        windows : ndarray of shape (n, n_channels, n_times), float32
            In the order asked for, in memory of their own.

        Raises
        ------
        IndexError
            If an index is out of range.
        """
        rows = _row_indices(indices, len(self))
        return self.source.read(self.recordings[rows], self.starts[rows], self.n_times)

    def read_into(self, indices: ArrayLike, out: Float32Array) -> None:
        """Read several windows into an array that the caller owns.

        Parameters
        ----------
        indices : array-like of shape (n,), int or bool
            Negative ones count from the end.

        out : ndarray of shape (n, n_channels, n_times), float32
            Is filled. Where reading fails, its content is undefined.

        Raises
        ------
        IndexError
            If an index is out of range.
        ValueError
            If `out` has another shape or type.
        """
        rows = _row_indices(indices, len(self))
        expected = len(rows), *self.shape[1:]
        if out.shape != expected or out.dtype != np.float32:
            raise ValueError(
                f"out has shape {out.shape} and type {out.dtype}, expected {expected} "
                "and float32."
            )
        recordings, starts = self.recordings[rows], self.starts[rows]
        if hasattr(self.source, "read_into"):
            self.source.read_into(recordings, starts, out)
        else:
            out[...] = self.source.read(recordings, starts, self.n_times)

    def fingerprint(self) -> str:
        """Digest of what the windows hold, without reading them.

        It is made of what identifies the content of the recordings (of files their
        paths, sizes and times of change; of packs the checksums of the samples, which
        were computed after filtering) and of where in them each window lies. So it is
        the same in every process, and for every selection that gives the same windows
        of the same files; it changes when a file is replaced.

        Returns
        -------
        fingerprint : str
            32 hexadecimal digits.

        Raises
        ------
        FileNotFoundError
            If a file is gone.
        TypeError
            If the source has no method `fingerprint` and cannot be pickled.
        """
        used, first, numbers = np.unique(
            self.recordings, return_index=True, return_inverse=True
        )
        # Recordings are numbered anew, in the order in which the windows name them.
        order = np.argsort(first)
        content = repr((self.shape, _source_fingerprint(self.source, used[order])))
        places = np.stack([np.argsort(order)[numbers], self.starts]).astype("<i8")
        return digest(content.encode() + places.tobytes())

    def __iter__(self) -> Iterator[Float32Array]:
        return (self[i] for i in range(len(self)))

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> AnyArray:
        if copy is False:
            raise ValueError(
                "A WindowArray lies on disk: an array of it is always a copy."
            )
        loaded = self.source.read(self.recordings, self.starts, self.n_times)
        return loaded if dtype is None else loaded.astype(dtype, copy=False)


def _source_fingerprint(source: WindowSource, recordings: Indices) -> str:
    """What identifies the content of recordings, by the source or by its pickle."""
    if hasattr(source, "fingerprint"):
        return str(source.fingerprint(recordings))
    try:
        return str(joblib.hash((source, recordings)))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise TypeError(
            f"The source of the windows, a {type(source).__name__}, cannot be pickled "
            f"({error}) and has no method fingerprint(recordings): give it one of them."
        ) from error


def _integers(given: ArrayLike, name: str) -> Indices:
    """A one-dimensional int64 array."""
    values = np.asarray(given)
    if values.ndim != 1 or (values.dtype.kind not in "iu" and values.size):
        raise ValueError(
            f"{name} has to be one integer per window, got {values.dtype} of shape "
            f"{values.shape}."
        )
    return np.ascontiguousarray(values, dtype=np.int64)


def _row_key(key: Any) -> Any:
    """The part of an index that selects windows."""
    if not isinstance(key, tuple):
        return slice(None) if key is Ellipsis else key
    rows = [k for k in key if k is not Ellipsis and not _is_full_slice(k)]
    if not rows:
        return slice(None)
    if len(rows) > 1 or rows[0] is not key[0]:
        raise IndexError(
            f"index {key}: a WindowArray is indexed by window only; read the windows "
            "with numpy.asarray or X.__getitems__(indices), then index channels or times."
        )
    return rows[0]


def _is_full_slice(key: object) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _row_indices(given: ArrayLike, n: int) -> Indices:
    """Indices or a mask as int64 indices from 0 to n - 1."""
    key = np.asarray(given)
    if key.ndim != 1:
        raise IndexError(
            f"index of shape {key.shape}: select windows with an integer, a slice, or "
            "indices or a mask of shape (n,)."
        )
    if key.dtype == bool:
        if len(key) != n:
            raise IndexError(f"a mask of {len(key)} for {n} windows.")
        return np.flatnonzero(key)
    if key.dtype.kind not in "iu" and key.size:
        raise IndexError(f"indices have to be integers or a mask, got {key.dtype}.")
    key = key.astype(np.int64)
    wrong = (key < -n) | (key >= n)
    if wrong.any():
        raise IndexError(f"index {key[wrong][0]} is out of range for {n} windows.")
    return np.where(key < 0, key + n, key)
