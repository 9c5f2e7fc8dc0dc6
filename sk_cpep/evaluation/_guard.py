"""The guard against train and test sets that share people or samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from .._ids import read_alike, read_ids
from .._typing import AnyArray, BoolArray

_FIELDS = ("recording", "start", "stop")
_N_NAMED = 10


def check_disjoint(
    users_train: ArrayLike,
    users_test: ArrayLike,
    *,
    windows_train: Any = None,
    windows_test: Any = None,
    allow_shared_users: bool = False,
) -> None:
    """Refuse train and test sets that share a person or samples.

    Parameters
    ----------
    users_train : array-like of shape (n_train,)
        Person each training (or gallery) window was recorded from. 1 and 1.0 are one
        person, whatever the type; numbers in one set and text in the other cannot be
        compared and are refused.

    users_test : array-like of shape (n_test,)
        Person each test window was recorded from.

    windows_train, windows_test : structured array, DataFrame or dict, default=None
        Where the windows lie: `recording`, `start` and `stop` (in samples, `stop`
        excluded), each of shape (n_windows,), as
        :func:`~sk_cpep.preprocessing.make_windows` returns them with
        ``return_provenance=True``. Recordings are told apart within a person, and
        must be numbered alike in both sets: window first, then split. With both
        given, no sample may be in both sets.

    allow_shared_users : bool, default=False
        Let the same people be in both sets. Samples may still not be shared.

    Raises
    ------
    ValueError
        If a person or a sample is in both sets, which the message names; if people or
        recordings are missing (NaN, None), or numbers and text.

    Examples
    --------
    >>> from sk_cpep.evaluation import check_disjoint
    >>> check_disjoint(["anna", "ben"], ["carl"])
    >>> check_disjoint(["anna", "ben"], ["ben", "carl"])
    Traceback (most recent call last):
        ...
    ValueError: Train and test share 1 user(s): ben. ...
    """
    users_train, users_test = _read_users(users_train, users_test)
    shared = np.intersect1d(users_train, users_test)
    if len(shared) and not allow_shared_users:
        raise ValueError(
            f"Train and test share {len(shared)} user(s): {_name(shared)}. Split by "
            "user (GroupKFold, LeaveOneGroupOut), or pass allow_shared_users=True if "
            "the same people are meant to be in both."
        )
    if (windows_train is None) != (windows_test is None):
        raise ValueError("Give the windows of both sets, or of neither.")
    if len(shared) and windows_train is not None:
        sets = (windows_train, windows_test)
        _check_fields(sets)
        users = (users_train, users_test)
        _check_samples(*map(_spans, sets, users, _read_recordings(sets)))


def check_exclusion(
    exclude: tuple[ArrayLike, ArrayLike], gallery: Any, test: Any
) -> tuple[AnyArray, AnyArray]:
    """Groups that keep queries from their own recordings, checked.

    Parameters
    ----------
    exclude : tuple (gallery_groups, test_groups)
        Group of each window of both sets.

    gallery, test : tuple (users, windows)
        People and, or None, where the windows lie, as of :func:`check_disjoint`.

    Returns
    -------
    gallery_groups, test_groups : ndarray of shapes (n_gallery,) and (n_test,)

    Raises
    ------
    ValueError
        If a length is wrong, or if a recording is in several groups, so that a
        query could meet its own pose in another group.
    """
    users = _read_users(gallery[0], test[0])
    groups = read_alike(
        {"exclude[0], of gallery": exclude[0], "exclude[1], of test": exclude[1]}
    )
    for name, of_users, of_groups in zip(("gallery", "test"), users, groups):
        if len(of_groups) != len(of_users):
            raise ValueError(
                f"`exclude` has {len(of_groups)} groups for the {len(of_users)} windows "
                f"of `{name}`; give (gallery_groups, test_groups), one for each window."
            )
    columns = zip(users, groups, (gallery[1], test[1]))
    _check_groups([column for column in columns if column[2] is not None])
    of_gallery, of_test = groups
    return of_gallery, of_test


def _check_groups(columns: Any) -> None:
    """Raise if a (user, recording) is in several groups."""
    group_of: dict[tuple[Any, Any], Any] = {}
    recordings = _read_recordings([windows for *_, windows in columns])
    for (users, groups, _), recording in zip(columns, recordings):
        check_consistent_length(users, recording)
        rows = zip(users.tolist(), recording.tolist(), groups.tolist())
        for user, recording, group in sorted(set(rows)):
            if group_of.setdefault((user, recording), group) != group:
                raise ValueError(
                    f"Recording {recording} of user {user} is in the groups "
                    f"{group_of[user, recording]} and {group} of `exclude`: a query "
                    "could meet its own pose. Give a recording one group in both sets."
                )


def _read_users(train: Any, test: Any) -> list[AnyArray]:
    """People of both sets, in one form."""
    sets = {"users of train": train, "users of test": test}
    try:
        return read_alike(sets)
    except ValueError as error:
        names = [set(map(str, read_ids(sets[name], name))) for name in sets]
        shared = sorted(names[0] & names[1])
        if not shared:
            raise
        raise ValueError(
            f"{error} As text, train and test share {len(shared)} user(s): "
            f"{_name(shared)}."
        ) from None


def _read_recordings(sets: Any) -> list[AnyArray]:
    """Recordings of the windows of each set, in one form."""
    return read_alike({f"recording[{i}]": s["recording"] for i, s in enumerate(sets)})


def _check_samples(train: Any, test: Any) -> None:
    """Raise if a (user, recording) of both sets has samples in both."""
    overlaps = []
    for key in sorted(train.keys() & test.keys()):
        for start, stop in test[key][_overlapping(train[key], test[key])]:
            overlaps.append(f"user {key[0]}, recording {key[1]}, [{start}, {stop})")
    if overlaps:
        raise ValueError(
            f"Train and test share samples: {len(overlaps)} test window(s) overlap "
            f"training windows: {_name(overlaps)}. Split by recording, or leave a gap "
            "of a window between the sets."
        )


def _check_fields(sets: Any) -> None:
    for windows in sets:
        missing = [f for f in _FIELDS if f not in _field_names(windows)]
        if missing:
            raise ValueError(
                f"Windows need the fields {', '.join(_FIELDS)}; missing: {missing}."
            )


def _spans(windows: Any, users: AnyArray, recordings: AnyArray) -> dict[Any, AnyArray]:
    """Spans (n, 2) of start and stop by (user, recording)."""
    start, stop = read_alike({f: windows[f] for f in _FIELDS[1:]})
    check_consistent_length(users, recordings, start, stop)
    rows: dict[tuple[Any, Any], list[int]] = {}
    for row, key in enumerate(zip(users.tolist(), recordings.tolist())):
        rows.setdefault(key, []).append(row)
    spans = np.column_stack([start, stop])
    return {key: spans[own] for key, own in rows.items()}


def _field_names(windows: Any) -> list[str]:
    """Names of the columns of a structured array, DataFrame or dict."""
    dtype = getattr(windows, "dtype", None)
    return list(windows if dtype is None else dtype.names or ())


def _overlapping(train: Any, test: Any) -> BoolArray:
    """Tell which spans of `test` (m, 2) meet one of `train` (n, 2), half open."""
    train = train[np.argsort(train[:, 0], kind="stable")]
    reach = np.maximum.accumulate(train[:, 1])  # furthest stop so far
    n_before = np.searchsorted(train[:, 0], test[:, 1], side="left")
    return (n_before > 0) & (reach[n_before - 1] > test[:, 0])


def _name(things: Sequence[Any] | AnyArray) -> str:
    """Join the first few things, and say how many more there are."""
    named = ", ".join(map(str, things[:_N_NAMED]))
    more = len(things) - _N_NAMED
    return f"{named} and {more} more" if more > 0 else named
