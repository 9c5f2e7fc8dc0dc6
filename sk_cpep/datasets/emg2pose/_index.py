"""The index of emg2pose: where each recording's valid samples are."""

import os

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ._file import index_recording
from ._format import METADATA_FILE
from ._index_cache import IndexCache
from ._metadata import recording_path
from ._source import OPEN_FILES


def index_recordings(root, metadata, rows, *, on_error, n_jobs, verbose, cache=None):
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
    OPEN_FILES.close()  # HDF5 would go on with what it knows of an open file
    failures = _missing(root, metadata, rows, on_error)
    paths = {
        int(row): str(recording_path(root, metadata["filename"][row]))
        for row in rows
        if row not in failures
    }
    with IndexCache(cache) as known:
        found = {row: known.get(path) for row, path in paths.items()}
        unknown = [row for row, index in found.items() if index is None]
        scans = _scan([paths[row] for row in unknown], on_error, n_jobs, verbose)
        for result, row in zip(scans, unknown):
            if isinstance(result, str):
                failures[row] = result
                del found[row]
            else:
                found[row] = result
                known.put(paths[row], result)
    skipped = [
        {"row": row, "filename": metadata["filename"][row], "reason": failures[row]}
        for row in sorted(failures)
    ]
    return found, skipped


def _missing(root, metadata, rows, on_error):
    """Reason by row, of rows without a file."""
    present = set(os.listdir(root))
    missing = {}
    for row in rows:
        path = recording_path(root, metadata["filename"][row])
        if path.name not in present:
            missing[int(row)] = f"{path} does not exist."
    if missing and on_error == "raise":
        row = next(iter(missing))
        raise FileNotFoundError(
            f"row {row} of {METADATA_FILE} has no file: {missing[row]} In all, "
            f"{len(missing)} of {len(rows)} files are missing. Fetch them, select fewer "
            'recordings, or pass on_error="skip" to read those that are there.'
        )
    return missing


def _scan(paths, on_error, n_jobs, verbose):
    """Index of each recording, or the reason why there is none, in order."""
    if not paths:
        return
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    results = parallel(delayed(_index)(path, on_error) for path in paths)
    hidden = not verbose
    yield from tqdm(results, "Indexing", len(paths), unit="file", disable=hidden)


def _index(path, on_error):
    """Index of a recording, or the reason why there is none."""
    try:
        return index_recording(path)
    except (OSError, ValueError) as error:
        if on_error == "raise":
            raise
        return str(error)
