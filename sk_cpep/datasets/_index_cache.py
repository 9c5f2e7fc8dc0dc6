"""What was found in recordings, kept in a file from one call to the next."""

import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ._emg2pose_file import RecordingIndex

_FORMAT = "sk_cpep index 1"
_COLUMNS = ("names", "sizes", "modified", "n_times", "n_runs", "runs")


class IndexCache:
    """Indices of recordings by file name, size and time of modification.

    A context: on leaving it, by an error too, what was added is written.

    Parameters
    ----------
    path : str, path-like or None
        The file. None keeps nothing.

    Raises
    ------
    ValueError
        If the file is there and is no such cache; it is left alone.
    """

    def __init__(self, path):
        self.path = None if path is None else Path(path)
        self._entries = {}
        self._changed = False
        if self.path is not None and self.path.exists():
            self._entries = _read(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.path is not None and self._changed:
            _write(self.path, self._entries)

    def get(self, path):
        """Index of a recording, or None if it is not known or has changed."""
        stamp, index = self._entries.get(Path(path).name, (None, None))
        return index if index is not None and stamp == _stamp(path) else None

    def put(self, path, index):
        """Keep a recording's index."""
        if self.path is not None:
            self._entries[Path(path).name] = (_stamp(path), index)
            self._changed = True


def _stamp(path):
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _read(path):
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["format"]) != _FORMAT:
                raise ValueError(f"format {file['format']}, expected {_FORMAT}")
            columns = {name: file[name] for name in _COLUMNS}
        n_runs = columns["n_runs"]
        if n_runs.sum() != len(columns["runs"]):
            raise ValueError("runs are missing")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no index of recordings, or a damaged one ({error}). Pass another "
            "path, or delete the file if it is not needed."
        ) from error
    runs = np.split(columns["runs"], np.cumsum(n_runs)[:-1])
    stamps = zip(columns["sizes"].tolist(), columns["modified"].tolist())
    indices = map(RecordingIndex, columns["n_times"].tolist(), runs)
    return dict(zip(columns["names"].tolist(), zip(stamps, indices)))


def _write(path, entries):
    """Write all entries to a file beside `path`, then put it in its place."""
    stamps, indices = zip(*entries.values())
    sizes, modified = zip(*stamps)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                format=_FORMAT,
                names=list(entries),
                sizes=sizes,
                modified=modified,
                n_times=[index.n_times for index in indices],
                n_runs=[len(index.runs) for index in indices],
                runs=np.concatenate([index.runs for index in indices]),
            )
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
