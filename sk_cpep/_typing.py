"""Types that several parts of the package name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = NDArray[Any]

# What an evaluation tells, or an epoch: plain values by name.
Record: TypeAlias = dict[str, Any]

PathLike: TypeAlias = str | os.PathLike[str]
RandomStateLike: TypeAlias = int | np.random.RandomState | None


@runtime_checkable
class LazyWindows(Protocol):
    """Windows that are read when they are asked for.

    ``windows[rows]`` with an array of indices gives an array of shape
    (n_rows, n_channels, n_times).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of windows, of channels and of samples."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Read windows."""
        ...


# Windows in memory, or what can be read window by window.
WindowsLike: TypeAlias = ArrayLike | LazyWindows

# Recordings of any lengths: a list of (n_channels, n_times_i), or one 3-D array.
RecordingsLike: TypeAlias = Sequence[ArrayLike] | ArrayLike
