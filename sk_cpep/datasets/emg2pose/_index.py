"""The index of emg2pose: where each recording's valid samples are."""

from __future__ import annotations

import os
from collections.abc import Iterator

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ..._typing import AnyArray, IntArray, PathLike
from ._file import RecordingIndex, index_recording
from ._format import METADATA_FILE
from ._index_cache import IndexCache
from ._metadata import recording_path
from ._source import OPEN_FILES
from ._windows import Skipped


def index_recordings(
    root: PathLike,
    metadata: AnyArray,
    rows: IntArray,
    *,
    on_error: str,
    n_jobs: int | None,
    verbose: int,
    cache: PathLike | None = None,
) -> tuple[dict[int, RecordingIndex], list[Skipped]]:
    """Read recordings from end to end, and find their valid samples.

    Parameters
    ----------
    root : path-like

    metadata : structured ndarray of shape (n_recordings,)

    rows : int array of shape (n_selected,)
        Which to read.

    on_error : {"raise", "skip"}

    n_jobs : int or None
        Processes.

    verbose : int
        Draw a progress bar from 1 on.

    cache : str or path-like, default=None
        File that keeps what was found.

    Returns
    -------
    indices : dict of int to RecordingIndex
        By row, of the recordings that could be read, in the order of `rows`.

    skipped : list of dict
        `row`, `filename` and `reason` of the others.
    """
    OPEN_FILES.close()  # HDF5 would keep to what it knows of an open file
    failures = _missing(root, metadata, rows, on_error)
    paths = {
        row: str(recording_path(root, metadata["filename"][row]))
        for row in rows.tolist()
        if row not in failures
    }
    with IndexCache(cache) as kept:
        known = {row: kept.get(path) for row, path in paths.items()}
        unknown = {row: paths[row] for row, index in known.items() if index is None}
        scans = _scan(list(unknown.values()), on_error, n_jobs, verbose)
        for result, row in zip(scans, unknown):
            if isinstance(result, str):
                failures[row] = result
            else:
                known[row] = result
                kept.put(paths[row], result)
    indices = {row: index for row, index in known.items() if index is not None}
    skipped: list[Skipped] = [
        {"row": row, "filename": metadata["filename"][row], "reason": failures[row]}
        for row in sorted(failures)
    ]
    return indices, skipped


def _missing(
    root: PathLike, metadata: AnyArray, rows: IntArray, on_error: str
) -> dict[int, str]:
    """Reason by row, of rows without a file."""
    present = set(os.listdir(root))
    missing = {}
    for row in rows.tolist():
        path = recording_path(root, metadata["filename"][row])
        if path.name not in present:
            missing[row] = f"{path} does not exist."
    if missing and on_error == "raise":
        row = next(iter(missing))
        raise FileNotFoundError(
            f"row {row} of {METADATA_FILE} has no file: {missing[row]} In all, "
            f"{len(missing)} of {len(rows)} files are missing. Fetch them, select fewer "
            'recordings, or pass on_error="skip" to read those that are there.'
        )
    return missing


def _scan(
    paths: list[str], on_error: str, n_jobs: int | None, verbose: int
) -> Iterator[RecordingIndex | str]:
    """Index of each recording, or the reason why there is none, in order."""
    if not paths:
        return
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    results = parallel(delayed(_index)(path, on_error) for path in paths)
    hidden = not verbose
    yield from tqdm(results, "Indexing", len(paths), unit="file", disable=hidden)


def _index(path: str, on_error: str) -> RecordingIndex | str:
    """Index of a recording, or the reason why there is none."""
    try:
        return index_recording(path)
    except (OSError, ValueError) as error:
        if on_error == "raise":
            raise
        return str(error)
