"""Runs of valid samples, and the windows that fit into them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._typing import IntArray


def valid_runs(valid: ArrayLike) -> NDArray[np.int64]:
    """Runs of True.

    Parameters
    ----------
    valid : bool array of shape (n_times,)

    Returns
    -------
    runs : ndarray of shape (n_runs, 2), int64
        First sample of each run, and the first after it.
    """
    edges = np.diff(np.concatenate([[0], np.asarray(valid, np.int8), [0]]))
    starts, stops = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return np.stack([starts, stops], axis=1).astype(np.int64)


def window_starts(
    runs: IntArray, size: int, stride: int, reference: bool = False
) -> NDArray[np.int64]:
    """First samples of the windows that lie within a run.

    Each run is cut on its own, from its first sample on.

    Parameters
    ----------
    runs : ndarray of shape (n_runs, 2), int
        From :func:`valid_runs`.

    size, stride : int
        In samples.

    reference : bool, default=False
        Count as the published benchmark does: a run counts if it is longer than
        `size`, and its last two samples are left out.

    Returns
    -------
    starts : ndarray of shape (n_windows,), int64
    """
    if not len(runs):
        return np.empty(0, np.int64)
    # The benchmark holds a run as [first, last], and cuts [first, last - 1).
    usable = np.diff(runs, axis=1)[:, 0] - (2 if reference else 0)
    counts = np.maximum(0, (usable - size) // stride + 1)
    order = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts: NDArray[np.int64] = np.repeat(runs[:, 0], counts) + order * stride
    return starts


def lost_windows(
    runs: IntArray, n_times: int, size: int, stride: int
) -> tuple[int, int]:
    """How many windows of the plain grid hold a sample outside the runs.

    Parameters
    ----------
    runs : ndarray of shape (n_runs, 2), int
        From :func:`valid_runs`.

    n_times : int
        Length of the recording. The grid is 0, `stride`, 2 `stride`, ... as long
        as a window fits.

    size, stride : int
        In samples.

    Returns
    -------
    n_lost, n_grid : int
        Windows that are lost, and all windows of the grid.
    """
    grid = np.arange(0, n_times - size + 1, stride)
    if not len(runs):
        return len(grid), len(grid)
    run = np.searchsorted(runs[:, 0], grid, side="right") - 1
    whole = (run >= 0) & (grid + size <= runs[run, 1])
    return int(np.count_nonzero(~whole)), len(grid)
