"""Windows of a fit, read a batch at a time."""

from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

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
        array = open_array(path)
        if array.ndim not in (2, 3) or array.dtype.kind not in "fiu":
            raise ValueError(
                f"{path} holds an array of shape {array.shape} and type {array.dtype}: "
                "expected numbers of shape (n_windows, n_channels, n_times) or "
                "(n_windows, n_times)."
            )
        self.n_windows, self.n_times = array.shape[0], array.shape[-1]
        self.n_channels = array.shape[1] if array.ndim == 3 else 1

    def read(self, recordings, starts, n_times):
        """Rows as windows of shape (n, n_channels, n_times), float32."""
        rows = open_array(self.path)[recordings]
        windows = rows.reshape(len(rows), self.n_channels, self.n_times)
        return windows.astype(np.float32, copy=False)


def open_array(path):
    """An array in a ``.npy`` file, on disk."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from error


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
    groups = {
        name: np.load(data[name], allow_pickle=False) if name in data else None
        for name in _GROUPS
    }
    names = [data[name] for name in windows if name in data]
    return Bunch(**windows, **groups, name=" and ".join(names))
