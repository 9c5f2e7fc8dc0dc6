"""Windows read from the files of emg2pose."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from ..._file_identity import stamp
from ..._typing import Float32Array, IntArray, PathLike
from .._digest import digest
from .._file_source import FileSource
from .._window_array import Indices
from ._file import AGAIN, find_timeseries, open_file, read_rows
from ._format import TIMESERIES_DTYPE
from ._metadata import recording_path

_MAX_OPEN = 16
Stamp = tuple[int, int, int]


class RecordingSource(FileSource):
    """EMG or joint angles in the files of emg2pose.

    Parameters
    ----------
    root : str or path-like
        Folder of the files.

    filenames : sequence of str
        Of each recording, without extension.

    field : {"emg", "joint_angles"}

    step : int, default=1
        Of the samples, every `step`-th is kept. First samples of windows are counted
        before that, their lengths after it.
    """

    def __init__(
        self, root: PathLike, filenames: Sequence[str], field: str, step: int = 1
    ) -> None:
        self.root = Path(root).absolute()
        self.filenames = filenames
        self.field = field
        self.step = step
        self.n_channels = TIMESERIES_DTYPE[field].shape[0]

    def paths(self) -> list[Path]:
        """Files of all recordings."""
        return [recording_path(self.root, name) for name in self.filenames]

    def fingerprint(self, recordings: Indices) -> str:
        """Digest of which files are read, when they changed, and what of them is kept."""
        paths = [recording_path(self.root, self.filenames[k]) for k in recordings]
        files = [(str(path), file_stamp(path)) for path in paths]
        return digest(repr((self.field, self.step, files)).encode())

    def read_into(
        self, recordings: Indices, starts: Indices, out: Float32Array
    ) -> None:
        """Read windows, file by file and in ascending order within each."""
        order = np.lexsort((starts, recordings))
        firsts = np.flatnonzero(np.diff(recordings[order], prepend=-1))
        for rows in np.split(order, firsts[1:]) if len(order) else []:
            path = recording_path(self.root, self.filenames[recordings[rows[0]]])
            windows = [out[row] for row in rows]
            OPEN_FILES.read(str(path), self.field, starts[rows], windows, self.step)


class OpenFiles:
    """A few recordings held open, the latest used ones.

    Belongs to a process: it is emptied in a forked child, where the handles'
    positions would be shared with the parent, and never pickled.
    """

    def __init__(self, n_max: int = _MAX_OPEN) -> None:
        self.n_max = n_max
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._files: OrderedDict[str, tuple[Stamp, h5py.Dataset]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._files)

    def read(
        self,
        path: str,
        field: str,
        starts: IntArray,
        out: Sequence[Float32Array],
        step: int = 1,
    ) -> None:
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
            needed = int(max(starts)) + span
            if len(series) < needed:
                raise ValueError(
                    f"{path} has {len(series)} samples, too few for a window that ends "
                    f"at {needed}: the file has changed since it was indexed. Load the "
                    "data set anew."
                )
            for start, window in zip(starts.tolist(), out):
                rows = read_rows(series, path, start, start + span)
                with np.errstate(over="ignore"):
                    window[...] = rows[field][::step].T
                if not np.isfinite(window).all():
                    raise ValueError(
                        f"{path}: `{field}` is not finite in samples {start} to "
                        f"{start + span}. {AGAIN}"
                    )

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._files:
                self._drop(next(iter(self._files)))

    def _series(self, path: str) -> h5py.Dataset:
        """The dataset of samples of a file, opened if it is not, or has changed."""
        found = file_stamp(path)
        if path in self._files and self._files[path][0] != found:
            self._drop(path)
        if path not in self._files:
            while len(self._files) >= self.n_max:
                self._drop(next(iter(self._files)))
            self._files[path] = found, self._open(path)
        self._files.move_to_end(path)
        return self._files[path][1]

    def _open(self, path: str) -> h5py.Dataset:
        file = open_file(path)
        try:
            return find_timeseries(file, path)
        except BaseException:
            file.close()
            raise

    def _drop(self, path: str) -> None:
        self._files.pop(path)[1].file.close()


def file_stamp(path: PathLike) -> Stamp:
    """Size and times of a file, which has to be there."""
    found: Stamp | None = stamp(path)
    if found is None:
        raise FileNotFoundError(f"{path} does not exist any more.")
    return found


OPEN_FILES = OpenFiles()
