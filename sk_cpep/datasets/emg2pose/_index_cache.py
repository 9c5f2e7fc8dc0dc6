"""What was found in recordings, kept in a file from one call to the next."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ..._file_identity import stamp
from ._file import RecordingIndex

_FORMAT = "sk_cpep index 2"
_EARLIER = "sk_cpep index 1"  # without `changed`
_COLUMNS = ("names", "sizes", "modified", "changed", "n_times", "n_runs", "runs")


class IndexCache:
    """Indices of recordings by file name and stamp.

    A context: on leaving it, by an error too, what was added is written.

    Parameters
    ----------
    path : str, path-like or None
        The file. None keeps nothing.

    Raises
    ------
    FileNotFoundError
        If there is no folder for it.
    ValueError
        If the file is there and is no such cache, or damaged; it is left alone.
    """

    def __init__(self, path):
        self.path = None if path is None else Path(path)
        self._entries = {}
        self._changed = False
        if self.path is None:
            return
        if self.path.exists():
            self._entries = _read(self.path)
        elif not self.path.parent.is_dir():
            raise FileNotFoundError(f"cache={self.path}: there is no such folder.")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.path is not None and self._changed:
            _write(self.path, self._entries)

    def get(self, path):
        """Index of a recording, or None if it is not known or has changed."""
        known, index = self._entries.get(Path(path).name, (None, None))
        return index if index is not None and known == stamp(path) else None

    def put(self, path, index):
        """Keep a recording's index."""
        if self.path is not None:
            self._entries[Path(path).name] = (stamp(path), index)
            self._changed = True


def _read(path):
    try:
        columns = _read_columns(path)
    except Exception as error:  # what is damaged may fail in any way
        raise ValueError(
            f"{path} is no index of recordings, or a damaged one ({error}). Pass another "
            "path, or delete the file if it is not needed."
        ) from error
    if columns is None:
        return {}
    runs = np.split(columns["runs"], np.cumsum(columns["n_runs"])[:-1])
    stamps = zip(*(columns[name].tolist() for name in ("sizes", "modified", "changed")))
    indices = map(RecordingIndex, columns["n_times"].tolist(), runs)
    return dict(zip(columns["names"].tolist(), zip(stamps, indices)))


def _read_columns(path):
    """Columns by name; None of an earlier format, which is made anew."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f"bad checksum of {wrong}")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if str(file["format"]) == _EARLIER:
            return None
        if str(file["format"]) != _FORMAT:
            raise ValueError(f"format {file['format']}, expected {_FORMAT}")
        return {name: file[name] for name in _COLUMNS}


def _write(path, entries):
    """Write all entries to a file beside `path`, then put it in its place."""
    stamps, indices = zip(*entries.values())
    sizes, modified, changed = zip(*stamps)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                format=_FORMAT,
                names=list(entries),
                sizes=sizes,
                modified=modified,
                changed=changed,
                n_times=[index.n_times for index in indices],
                n_runs=[len(index.runs) for index in indices],
                runs=np.concatenate([index.runs for index in indices]),
            )
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
