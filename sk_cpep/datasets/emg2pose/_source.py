"""Windows read from the files of emg2pose."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from ..._file_identity import stamp
from ._file import AGAIN, find_timeseries, open_file, read_rows
from ._format import TIMESERIES_DTYPE
from ._metadata import recording_path

_MAX_OPEN = 16


class RecordingSource:
    """A field of recordings, for a :class:`WindowArray`.

    Parameters
    ----------
    root : str or path-like
        Folder of the files.

    filenames : sequence of str
        Of each recording, without extension.

    field : {"emg", "joint_angles"}

    step : int, default=1
        Of the samples, every `step`-th is kept.
    """

    def __init__(self, root, filenames, field, step=1):
        self.root = Path(root).absolute()
        self.filenames = filenames
        self.field = field
        self.step = step

    def __getstate__(self):
        # What knows windows by their pickle, as a cache does, sees replaced files.
        paths = (recording_path(self.root, name) for name in self.filenames)
        return vars(self) | {"stamps": [stamp(path) for path in paths]}

    def __setstate__(self, state):
        vars(self).update({k: v for k, v in state.items() if k != "stamps"})

    @property
    def n_channels(self):
        return TIMESERIES_DTYPE[self.field].shape[0]

    def read(self, recordings, starts, n_times):
        """Read windows, file by file and in ascending order within each.

        Parameters
        ----------
        recordings, starts : int array of shape (n,)
            Recording and first sample (before `step`) of each window.

        n_times : int
            Samples of a window, after `step`.

        Returns
        -------
        windows : ndarray of shape (n, n_channels, n_times), float32

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is gone, damaged, or has changed; if values are not finite.
        """
        out = np.empty((len(starts), self.n_channels, n_times), np.float32)
        order = np.lexsort((starts, recordings))
        firsts = np.flatnonzero(np.diff(recordings[order], prepend=-1))
        for rows in np.split(order, firsts[1:]) if len(order) else []:
            path = str(recording_path(self.root, self.filenames[recordings[rows[0]]]))
            windows = [out[row] for row in rows]
            OPEN_FILES.read(path, self.field, starts[rows], windows, self.step)
        return out


class OpenFiles:
    """A few recordings held open, the latest used ones.

    Belongs to a process: it is emptied in a forked child, where the handles'
    positions would be shared with the parent, and never pickled.
    """

    def __init__(self, n_max=_MAX_OPEN):
        self.n_max = n_max
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self):
        self._files = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._files)

    def read(self, path, field, starts, out, step=1):
        """Read windows of a recording.

        Parameters
        ----------
        path : str

        field : {"emg", "joint_angles"}

        starts : int array of shape (n,)
            First samples, best in ascending order.

        out : sequence of n float32 arrays of shape (n_channels, n_times)
            Is filled.

        step : int, default=1
            Of the samples, every `step`-th is kept.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is gone, damaged, or shorter than it was.
        """
        span = step * (out[0].shape[-1] - 1) + 1
        with self._lock:
            series = self._series(path)
            _check_length(len(series), path, int(max(starts)) + span)
            for start, window in zip(starts.tolist(), out):
                rows = read_rows(series, path, start, start + span)
                with np.errstate(over="ignore"):
                    window[...] = rows[field][::step].T
                if not np.isfinite(window).all():
                    raise ValueError(
                        f"{path}: `{field}` is not finite in samples {start} to "
                        f"{start + span}. {AGAIN}"
                    )

    def close(self):
        """Close all files."""
        with self._lock:
            while self._files:
                self._drop(next(iter(self._files)))

    def _series(self, path):
        """The dataset of samples of a file, opened if it is not, or has changed."""
        found = _stamp(path)
        known, series = self._files.get(path, (None, None))
        if known != found:
            if series is not None:
                self._drop(path)
            while len(self._files) >= self.n_max:
                self._drop(next(iter(self._files)))
            series = self._open(path)
            self._files[path] = found, series
        self._files.move_to_end(path)
        return series

    def _open(self, path):
        file = open_file(path)
        try:
            return find_timeseries(file, path)
        except BaseException:
            file.close()
            raise

    def _drop(self, path):
        self._files.pop(path)[1].file.close()


def _check_length(n_times, path, needed):
    if n_times < needed:
        raise ValueError(
            f"{path} has {n_times} samples, too few for a window that ends at {needed}: "
            "the file has changed since it was indexed. Load the data set anew."
        )


def _stamp(path):
    found = stamp(path)
    if found is None:
        raise FileNotFoundError(f"{path} does not exist any more.")
    return found


OPEN_FILES = OpenFiles()
