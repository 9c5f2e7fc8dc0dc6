"""Windows of a fit, read a batch at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from .._file_identity import stamp
from .._typing import AnyArray, Float32Array, IntArray, PathLike
from ..datasets import WindowArray, load_pack
from ..preprocessing import InstanceNorm

_GROUPS = ("groups", "validation_groups")

Over: TypeAlias = Literal["channel", "window"]


class NormalisedSource:
    """Windows of another source, of zero mean and unit standard deviation each.

    Parameters
    ----------
    source : object
        As of :class:`~sk_cpep.datasets.WindowArray`.

    over : {"channel", "window"}, default="channel"
        As of :class:`~sk_cpep.InstanceNorm`.
    """

    def __init__(self, source: Any, over: Over = "channel") -> None:
        self.source = source
        self.over = over

    @property
    def n_channels(self) -> int:
        """Channels of the windows."""
        n_channels: int = self.source.n_channels
        return n_channels

    def read(
        self, recordings: IntArray, starts: IntArray, n_times: int
    ) -> Float32Array:
        """Windows of shape (n, n_channels, n_times)."""
        windows = self.source.read(recordings, starts, n_times)
        normal: Float32Array = InstanceNorm(self.over).fit_transform(windows)
        return normal


def normalised(X: WindowArray, over: Over = "channel") -> WindowArray:
    """A WindowArray whose windows are standardised as they are read."""
    source = NormalisedSource(X.source, over)
    return WindowArray(source, X.recordings, X.starts, X.n_times)


class FileSource:
    """Windows in a ``.npy`` file, which is mapped into memory: a row is a recording.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    ValueError
        If it holds no array of windows.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path
        self.shape = open_windows(path).shape
        self.n_windows, self.n_times = self.shape[0], self.shape[-1]
        self.n_channels = self.shape[1] if len(self.shape) == 3 else 1

    def __getstate__(self) -> dict[str, Any]:
        # What knows windows by their pickle, as a cache does, sees a replaced file.
        return vars(self) | {"stamp": stamp(self.path)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update({k: v for k, v in state.items() if k != "stamp"})

    def read(
        self, recordings: IntArray, starts: IntArray, n_times: int
    ) -> Float32Array:
        """Rows as windows of shape (n, n_channels, n_times), float32."""
        array = open_windows(self.path)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path} has changed: its shape was {self.shape}, now it is "
                f"{array.shape}. Begin again."
            )
        with np.errstate(over="ignore"):
            rows: Float32Array = array[recordings].astype(np.float32, copy=False)
        finite = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        if not finite.all():
            raise ValueError(
                f"{self.path}: window {recordings[np.argmin(finite)]} holds NaN, "
                "infinity or what float32 cannot hold. Leave such windows out."
            )
        return rows.reshape(len(rows), self.n_channels, self.n_times)


def open_windows(path: PathLike) -> AnyArray:
    """Windows in a ``.npy`` file, on disk."""
    array = open_array(path)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or not array.size:
        raise ValueError(
            f"{path} holds an array of shape {array.shape} and type {array.dtype}: "
            "expected numbers of shape (n_windows, n_channels, n_times) or "
            "(n_windows, n_times), at least one of each."
        )
    return array


def open_array(path: PathLike) -> AnyArray:
    """An array in a ``.npy`` file, on disk."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # junk may fail in any way
        raise ValueError(
            f"{path} is no .npy file of numbers: {describe_junk(path, error)}."
        ) from error


def describe_junk(path: PathLike, error: Exception) -> str:
    """What a file is that is no array."""
    with open(path, "rb") as file:
        start = file.read(6)
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "it is an archive, .npz; give a file of numpy.save, not numpy.savez"
    if "Python objects" in str(error):
        return (
            "it holds Python objects; save numbers or text, as in "
            "numpy.save(path, numpy.array(values.tolist()))"
        )
    if "mmap length" in str(error):
        return "it is cut off, shorter than its header says"
    if start != b"\x93NUMPY":
        return "it is nothing that numpy.save wrote"
    return f"{error}".rstrip(".")


@dataclass(frozen=True)
class FitWindows:
    """What a fit is given.

    Parameters
    ----------
    arrays : dict of str to WindowArray
        ``"emg"`` and ``"pose"``, those that there are; their rows pair.

    groups, validation_groups : ndarray of shape (n_windows,) or None
        As for the estimators' `fit`.

    name : str
        Where the windows are from.
    """

    arrays: dict[str, WindowArray]
    groups: AnyArray | None
    validation_groups: AnyArray | None
    name: str

    @property
    def n_windows(self) -> int:
        """Number of windows, of each kind."""
        return len(next(iter(self.arrays.values())))


def load_windows(data: Mapping[str, Any]) -> FitWindows:
    """The windows that the table ``[data]`` describes, its paths settled."""
    windows = _of_pack(data) if "pack" in data else _of_files(data)
    if data.get("normalise") is not None:
        windows.arrays["emg"] = normalised(windows.arrays["emg"], data["normalise"])
    return windows


def _of_pack(data: Mapping[str, Any]) -> FitWindows:
    """Windows of a pack, and the groups that it knows."""
    own = {"groups", "validation_groups", "normalise"}
    pack = load_pack(**{k: v for k, v in data.items() if k not in own})
    known = {"users": pack.users, "recordings": pack.emg.recordings, None: None}
    return FitWindows(
        {"emg": pack.emg, "pose": pack.pose},
        known[data.get("groups")],
        known[data.get("validation_groups")],
        data["pack"],
    )


def _of_files(data: Mapping[str, Any]) -> FitWindows:
    """Windows in ``.npy`` files, with groups of theirs."""
    arrays = {k: windows_of_file(data[k]) for k in ("emg", "pose") if k in data}
    if len({len(array) for array in arrays.values()}) > 1:
        counts = [f"{len(array)} windows in {data[k]}" for k, array in arrays.items()]
        raise ValueError(
            f"EMG and pose must pair row by row, but there are {' and '.join(counts)}."
        )
    n_windows = len(next(iter(arrays.values())))
    groups, validation_groups = (
        groups_of_file(data[name], n_windows) if name in data else None
        for name in ("groups", "validation_groups")
    )
    name = " and ".join(data[k] for k in arrays)
    return FitWindows(arrays, groups, validation_groups, name)


def windows_of_file(path: PathLike) -> WindowArray:
    """The windows in a ``.npy`` file as a WindowArray."""
    source = FileSource(path)
    n = source.n_windows
    return WindowArray(source, np.arange(n), np.zeros(n, int), source.n_times)


def groups_of_file(path: PathLike, n_windows: int) -> AnyArray:
    """The groups in a ``.npy`` file, one for each window."""
    groups = np.array(open_array(path))
    shapes = (n_windows,), (n_windows, 1)
    if groups.dtype.kind not in "biufSU" or groups.shape not in shapes:
        raise ValueError(
            f"{path} holds an array of shape {groups.shape} and type {groups.dtype}: "
            f"expected a number or text for each of {n_windows} windows."
        )
    n_missing = np.isnan(groups).sum() if groups.dtype.kind == "f" else 0
    if n_missing:
        raise ValueError(
            f"{path} holds NaN for {n_missing} of {n_windows} windows: give each its "
            "group, or leave those windows out."
        )
    return groups
