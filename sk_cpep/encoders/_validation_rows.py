"""Which people or recordings are set aside whole, to validate on."""

import numpy as np
from numpy.typing import ArrayLike

from .._typing import AnyArray, IntArray
from ..preprocessing._origin import origin_of
from ..training import TrainingPlan
from ._windows import Windows, is_lazy, read_groups


def recordings_of(*arrays: object) -> AnyArray | None:
    """The recording of each window, as the first array that knows it says, or None.

    Parameters
    ----------
    *arrays : array-likes
        Windows as they were given, before they are read.
    """
    for windows in arrays:
        origin = origin_of(windows)
        if origin is not None:
            return origin.recordings
        recordings = np.asarray(getattr(windows, "recordings", None))
        if is_lazy(windows) and recordings.shape == (windows.shape[0],):
            return recordings
    return None


def read_sets(
    validation_groups: ArrayLike | None,
    X: Windows,
    groups: AnyArray | None,
    recordings: AnyArray | None,
) -> AnyArray | None:
    """For each window the set with which it is set aside, or None if windows are drawn.

    Parameters
    ----------
    validation_groups : array-like of shape (n_windows,) or None
        Taken first.

    X : array-like of shape (n_windows, ...)

    groups : array of shape (n_windows,) or None
        Taken second.

    recordings : array of shape (n_windows,) or None
        Taken last, unless all windows are of one, or each window is of another.

    Returns
    -------
    sets : array of shape (n_windows,) or None
    """
    if validation_groups is not None:
        return read_groups(validation_groups, X, name="validation_groups")
    if groups is not None or recordings is None:
        return groups
    n_recordings = len(np.unique(recordings))
    return recordings if 1 < n_recordings < len(recordings) else None


def held_out_rows(
    sets: AnyArray | None, plan: TrainingPlan, rng: np.random.RandomState
) -> IntArray | None:
    """Rows to validate on: whole sets drawn at random, or None if rows are drawn.

    Parameters
    ----------
    sets : array of shape (n_windows,) or None
        Of :func:`read_sets`.

    plan : TrainingPlan

    rng : numpy.random.RandomState
        Nothing is drawn where None is returned.
    """
    if sets is None or not plan.early_stopping:
        return None
    names, members = np.unique(sets, return_inverse=True)
    order = rng.permutation(len(names))
    n_windows = np.cumsum(np.bincount(members)[order])
    n_valid = max(
        round(len(names) * plan.validation_fraction),
        1 + int(np.searchsorted(n_windows, plan.smallest_batch)),
    )
    if n_valid >= len(names):
        raise ValueError(
            f"early_stopping with validation_fraction={plan.validation_fraction} sets "
            f"{n_valid} of {len(names)} groups aside and leaves none to train on. Give "
            "windows of more people or recordings, other validation_groups (or, where "
            "it is groups, groups=None), or early_stopping=False."
        )
    return np.flatnonzero(np.isin(members, order[:n_valid]))
