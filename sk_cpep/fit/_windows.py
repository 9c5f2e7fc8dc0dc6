"""Windows of a fit, read a batch at a time."""

from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .._file_identity import stamp
from ..datasets import WindowArray, load_pack
from ..preprocessing import InstanceNorm

_GROUPS = ("groups", "validation_groups")


class NormalisedSource:
    """Windows of another source, of zero mean and unit standard deviation each.

    Parameters
    ----------
    source : object
        As of :class:`~sk_cpep.datasets.WindowArray`.

    over : {"channel", "window"}, default="channel"
        As of :class:`~sk_cpep.InstanceNorm`.
    """

    def __init__(self, source, over="channel"):
        self.source = source
        self.over = over

    @property
    def n_channels(self):
        """Channels of the windows."""
        return self.source.n_channels

    def read(self, recordings, starts, n_times):
        """Windows of shape (n, n_channels, n_times)."""
        windows = self.source.read(recordings, starts, n_times)
        return InstanceNorm(self.over).fit_transform(windows)


def normalised(X, over="channel"):
    """A WindowArray whose windows are standardised as they are read."""
    source = NormalisedSource(X.source, over)
    return WindowArray(source, X.recordings, X.starts, X.n_times)


class FileSource:
    """Windows in a ``.npy`` file, which is mapped into memory: a row is a recording.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    ValueError
        If it holds no array of windows.
    """

    def __init__(self, path):
        self.path = path
        self.shape = open_windows(path).shape
        self.n_windows, self.n_times = self.shape[0], self.shape[-1]
        self.n_channels = self.shape[1] if len(self.shape) == 3 else 1

    def __getstate__(self):
        # What knows windows by their pickle, as a cache does, sees a replaced file.
        return vars(self) | {"stamp": stamp(self.path)}

    def __setstate__(self, state):
        vars(self).update({k: v for k, v in state.items() if k != "stamp"})

    def read(self, recordings, starts, n_times):
        """Rows as windows of shape (n, n_channels, n_times), float32."""
        array = open_windows(self.path)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path} has changed: its shape was {self.shape}, now it is "
                f"{array.shape}. Begin again."
            )
        with np.errstate(over="ignore"):
            rows = array[recordings].astype(np.float32, copy=False)
        finite = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        if not finite.all():
            raise ValueError(
                f"{self.path}: window {recordings[np.argmin(finite)]} holds NaN, "
                "infinity or what float32 cannot hold. Leave such windows out."
            )
        return rows.reshape(len(rows), self.n_channels, self.n_times)


def open_windows(path):
    """Windows in a ``.npy`` file, on disk."""
    array = open_array(path)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or not array.size:
        raise ValueError(
            f"{path} holds an array of shape {array.shape} and type {array.dtype}: "
            "expected numbers of shape (n_windows, n_channels, n_times) or "
            "(n_windows, n_times), at least one of each."
        )
    return array


def open_array(path):
    """An array in a ``.npy`` file, on disk."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # junk may fail in any way
        raise ValueError(
            f"{path} is no .npy file of numbers: {describe_junk(path, error)}."
        ) from error


def describe_junk(path, error):
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


def groups_of_file(path, n_windows):
    """The groups in a ``.npy`` file, one for each window."""
    groups = np.array(open_array(path))
    if groups.dtype.kind not in "biufSU" or groups.shape not in (
        (n_windows,),
        (n_windows, 1),
    ):
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


def windows_of_file(path):
    """The windows in a ``.npy`` file as a WindowArray."""
    source = FileSource(path)
    n = source.n_windows
    return WindowArray(source, np.arange(n), np.zeros(n, int), source.n_times)


def load_windows(data):
    """What a fit is told of its data, as windows.

    Parameters
    ----------
    data : dict
        The table ``[data]``, its paths settled.

    Returns
    -------
    windows : :class:`~sklearn.utils.Bunch`
        `emg` and `pose`, WindowArrays, None where there are none; `groups` and
        `validation_groups`, arrays or None; `name`, in words.
    """
    windows = _of_pack(data) if "pack" in data else _of_files(data)
    if data.get("normalise") is not None:
        windows.emg = normalised(windows.emg, data["normalise"])
    return windows


def _of_pack(data):
    own = {*_GROUPS, "normalise"}
    pack = load_pack(**{k: v for k, v in data.items() if k not in own})
    known = {"users": pack.users, "recordings": pack.emg.recordings, None: None}
    groups = {name: known[data.get(name)] for name in _GROUPS}
    return Bunch(emg=pack.emg, pose=pack.pose, **groups, name=data["pack"])


def _of_files(data):
    windows = {
        name: windows_of_file(Path(data[name])) if name in data else None
        for name in ("emg", "pose")
    }
    n_windows = count_windows(windows, data)
    groups = {
        name: groups_of_file(data[name], n_windows) if name in data else None
        for name in _GROUPS
    }
    names = [data[name] for name in windows if name in data]
    return Bunch(**windows, **groups, name=" and ".join(names))


def count_windows(windows, data):
    """Number of windows in the files, the same in both."""
    counts = {name: len(array) for name, array in windows.items() if array is not None}
    if len(set(counts.values())) > 1:
        raise ValueError(
            "EMG and pose must pair row by row, but there are "
            + " and ".join(f"{n} windows in {data[k]}" for k, n in counts.items())
            + "."
        )
    return next(iter(counts.values()))
