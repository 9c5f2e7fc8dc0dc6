"""The guard against train and test sets that share people or samples."""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

_FIELDS = ("recording", "start", "stop")
_N_NAMED = 10


def check_disjoint(
    users_train,
    users_test,
    *,
    windows_train=None,
    windows_test=None,
    allow_shared_users=False,
):
    """Refuse train and test sets that share a person or samples.

    Parameters
    ----------
    users_train : array-like of shape (n_train,)
        Person each training (or gallery) window was recorded from.

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
        If a person or a sample is in both sets. The message names them.

    Examples
    --------
    >>> from sk_cpep.evaluation import check_disjoint
    >>> check_disjoint(["anna", "ben"], ["carl"])
    >>> check_disjoint(["anna", "ben"], ["ben", "carl"])
    Traceback (most recent call last):
        ...
    ValueError: Train and test share 1 user(s): ben. ...
    """
    users_train, users_test = column_or_1d(users_train), column_or_1d(users_test)
    shared = np.intersect1d(users_train.astype(str), users_test.astype(str))
    if len(shared) and not allow_shared_users:
        raise ValueError(
            f"Train and test share {len(shared)} user(s): {_name(shared)}. Split by "
            "user (GroupKFold, LeaveOneGroupOut), or pass allow_shared_users=True if "
            "the same people are meant to be in both."
        )
    if (windows_train is None) != (windows_test is None):
        raise ValueError("Give the windows of both sets, or of neither.")
    if len(shared) and windows_train is not None:
        _check_samples(
            _spans(windows_train, users_train), _spans(windows_test, users_test)
        )


def check_exclusion(exclude, gallery, test):
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
    names, checked, group_of = ("gallery", "test"), [], {}
    for name, groups, (users, windows) in zip(names, exclude, (gallery, test)):
        groups = column_or_1d(groups)
        if len(groups) != len(users):
            raise ValueError(
                f"`exclude` has {len(groups)} groups for the {len(users)} windows of "
                f"`{name}`; give (gallery_groups, test_groups), one for each window."
            )
        checked.append(groups)
        if windows is None:
            continue
        recordings = np.asarray(windows["recording"])
        for user, recording, group in sorted(set(zip(users, recordings, groups))):
            if group_of.setdefault((user, recording), group) != group:
                raise ValueError(
                    f"Recording {recording} of user {user} is in the groups "
                    f"{group_of[user, recording]} and {group} of `exclude`: a query "
                    "could meet its own pose. Give a recording one group in both sets."
                )
    return tuple(checked)


def _check_samples(train, test):
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


def _spans(windows, users):
    """Spans (n, 2) of start and stop by (user, recording)."""
    missing = [f for f in _FIELDS if f not in _field_names(windows)]
    if missing:
        raise ValueError(
            f"Windows need the fields {', '.join(_FIELDS)}; missing: {missing}."
        )
    recording, start, stop = (np.asarray(windows[f]) for f in _FIELDS)
    check_consistent_length(users, recording, start, stop)
    keys, codes = np.unique(
        np.column_stack([users.astype(str), recording.astype(str)]),
        axis=0,
        return_inverse=True,
    )
    spans = np.column_stack([start, stop])
    return {tuple(map(str, key)): spans[codes == i] for i, key in enumerate(keys)}


def _field_names(windows):
    """Names of the columns of a structured array, DataFrame or dict."""
    dtype = getattr(windows, "dtype", None)
    return dtype.names or () if dtype is not None else list(windows)


def _overlapping(train, test):
    """Tell which spans of `test` (m, 2) meet one of `train` (n, 2), half open."""
    train = train[np.argsort(train[:, 0], kind="stable")]
    reach = np.maximum.accumulate(train[:, 1])  # furthest stop so far
    n_before = np.searchsorted(train[:, 0], test[:, 1], side="left")
    return (n_before > 0) & (reach[n_before - 1] > test[:, 0])


def _name(things):
    """Join the first few things, and say how many more there are."""
    named = ", ".join(map(str, things[:_N_NAMED]))
    more = len(things) - _N_NAMED
    return f"{named} and {more} more" if more > 0 else named
