"""What was found in recordings, kept in a file from one call to the next."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Self

import numpy as np

from ..._file_identity import stamp
from ..._typing import AnyArray, PathLike
from ..._whole_file import replace_file
from ._file import RecordingIndex
from ._source import Stamp

_FORMAT = "sk_cpep index 2"
_EARLIER = "sk_cpep index 1"  # without `changed`
_COLUMNS = ("names", "sizes", "modified", "changed", "n_times", "n_runs", "runs")

Entries = dict[str, tuple[Stamp | None, RecordingIndex]]


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

    def __init__(self, path: PathLike | None) -> None:
        self.path = None if path is None else Path(path)
        self._entries: Entries = {}
        self._changed = False
        if self.path is None:
            return
        if self.path.exists():
            self._entries = _read(self.path)
        elif not self.path.parent.is_dir():
            raise FileNotFoundError(f"cache={self.path}: there is no such folder.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.path is not None and self._changed:
            _write(self.path, self._entries)

    def get(self, path: PathLike) -> RecordingIndex | None:
        """Index of a recording, or None if it is not known or has changed."""
        known, index = self._entries.get(Path(path).name, (None, None))
        return index if index is not None and known == stamp(path) else None

    def put(self, path: PathLike, index: RecordingIndex) -> None:
        """Keep a recording's index."""
        self._entries[Path(path).name] = (stamp(path), index)
        self._changed = True


def _read(path: Path) -> Entries:
    """Entries of a cache; none of one in an earlier format, which is made anew."""
    try:
        columns = _read_columns(path.read_bytes())
    except Exception as error:  # what is damaged may fail in any way
        raise ValueError(
            f"{path} is no index of recordings, or a damaged one ({error}). Pass another "
            "path, or delete the file if it is not needed."
        ) from error
    if not columns:
        return {}
    runs = np.split(columns["runs"], np.cumsum(columns["n_runs"])[:-1])
    stamps = zip(*(columns[name].tolist() for name in ("sizes", "modified", "changed")))
    indices = map(RecordingIndex, columns["n_times"].tolist(), runs)
    return dict(zip(columns["names"].tolist(), zip(stamps, indices)))


def _read_columns(content: bytes) -> dict[str, AnyArray]:
    """Columns by name, with the checksums of the archive compared."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f"bad checksum of {wrong}")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        found = str(file["format"])
        if found not in (_FORMAT, _EARLIER):
            raise ValueError(f"format {found}, expected {_FORMAT}")
        return {name: file[name] for name in _COLUMNS} if found == _FORMAT else {}


def _write(path: Path, entries: Entries) -> None:
    """Write all entries."""
    stamps, indices = zip(*entries.values())
    sizes, modified, changed = zip(*stamps)
    content = io.BytesIO()
    np.savez(
        content,
        format=_FORMAT,
        names=list(entries),
        sizes=sizes,
        modified=modified,
        changed=changed,
        n_times=[index.n_times for index in indices],
        n_runs=[len(index.runs) for index in indices],
        runs=np.concatenate([index.runs for index in indices]),
    )
    replace_file(path, content.getvalue())
