"""Macro accuracy, over all windows and person by person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from .._ids import as_column, read_alike, read_ids
from .._typing import AnyArray, Record
from ._intervals import bootstrap_interval


def macro_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean over the gestures of the share of their windows that is recognised.

    Every gesture counts the same, however many windows it has. A gesture that is
    only predicted has no windows to recognise and is not averaged.

    Parameters
    ----------
    y_true : array-like of shape (n_windows,)
        True gestures.

    y_pred : array-like of shape (n_windows,)
        Predicted gestures.

    Returns
    -------
    accuracy : float
        Mean per-class recall, between 0 and 1.

    See Also
    --------
    sklearn.metrics.balanced_accuracy_score : The same number.

    Examples
    --------
    >>> from sk_cpep.evaluation import macro_accuracy
    >>> macro_accuracy(["fist", "fist", "fist", "ok"], ["fist", "fist", "ok", "ok"])
    0.833...
    """
    y_true, y_pred = _check_labels(y_true, y_pred)
    _, codes = np.unique(y_true, return_inverse=True)
    hits = np.bincount(codes, weights=y_true == y_pred)
    return float(np.mean(hits / np.bincount(codes)))


def per_user_accuracy(y_true: ArrayLike, y_pred: ArrayLike, users: ArrayLike) -> Record:
    """Macro accuracy of each person, and how it spreads over people.

    Parameters
    ----------
    y_true : array-like of shape (n_windows,)
        True gestures.

    y_pred : array-like of shape (n_windows,)
        Predicted gestures.

    users : array-like of shape (n_windows,)
        Person each window was recorded from. None may be missing (NaN, None).

    Returns
    -------
    summary : dict
        Ready for json:

        - ``per_user``: macro accuracy of each person, by name (as a string), over
          the gestures that this person has;
        - ``mean``: its mean over people, everyone counting the same;
        - ``sd``: its sample standard deviation over people, None for one person;
        - ``interval``: its 95 % confidence interval, see :func:`bootstrap_interval`;
        - ``percentile_10``: its 10th percentile over people;
        - ``worst``, ``worst_user``: the lowest, and whose it is;
        - ``n_users``: number of people.

    Examples
    --------
    >>> from sk_cpep.evaluation import per_user_accuracy
    >>> summary = per_user_accuracy([0, 1, 0, 1], [0, 1, 0, 0], ["a", "a", "b", "b"])
    >>> summary["per_user"], summary["mean"], summary["worst_user"]
    ({'a': 1.0, 'b': 0.5}, 0.75, 'b')
    """
    y_true, y_pred = _check_labels(y_true, y_pred)
    users = read_ids(users, "users")
    check_consistent_length(y_true, users)
    return summarise_people(
        {
            str(u): macro_accuracy(y_true[users == u], y_pred[users == u])
            for u in np.unique(users)
        }
    )


def per_class_recall(
    y_true: ArrayLike, y_pred: ArrayLike, users: ArrayLike
) -> dict[str, float]:
    """How much of each gesture is recognised, everyone counting the same.

    Parameters
    ----------
    y_true : array-like of shape (n_windows,)
        True gestures.

    y_pred : array-like of shape (n_windows,)
        Predicted gestures.

    users : array-like of shape (n_windows,)
        Person each window was recorded from.

    Returns
    -------
    recall : dict of str to float
        By gesture (as a string): mean over the people who have it of the share of
        their windows of it that is recognised.

    Examples
    --------
    >>> from sk_cpep.evaluation import per_class_recall
    >>> per_class_recall(["ok", "ok", "ok"], ["ok", "fist", "ok"], ["a", "a", "b"])
    {'ok': 0.75}
    """
    return average_recalls(per_user_recall(y_true, y_pred, users))


def per_user_recall(
    y_true: ArrayLike, y_pred: ArrayLike, users: ArrayLike
) -> dict[str, dict[str, float]]:
    """Share of each person's windows of each gesture that is recognised.

    Parameters
    ----------
    y_true, y_pred, users : array-like of shape (n_windows,)
        As of :func:`per_class_recall`.

    Returns
    -------
    recalls : dict of str to dict of str to float
        By person, then by gesture, those that the person has.
    """
    y_true, y_pred = _check_labels(y_true, y_pred)
    users = read_ids(users, "users")
    check_consistent_length(y_true, users)
    return {
        str(u): _recalls(y_true[users == u], y_pred[users == u])
        for u in np.unique(users)
    }


def average_recalls(recalls: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over people of what :func:`per_user_recall` gives, by gesture."""
    by_class: dict[str, list[float]] = {}
    for of_user in recalls.values():
        for name, recall in of_user.items():
            by_class.setdefault(name, []).append(recall)
    return {name: float(np.mean(by_class[name])) for name in sorted(by_class)}


def _recalls(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Recall of each gesture there is, by name."""
    classes, codes = np.unique(y_true, return_inverse=True)
    share = np.bincount(codes, weights=y_true == y_pred) / np.bincount(codes)
    return dict(zip(map(str, classes), share.tolist()))


def summarise_people(
    per_user: Mapping[str, float], *, lower_is_better: bool = False
) -> Record:
    """Summarise how accuracy, or an error, spreads over people.

    Parameters
    ----------
    per_user : dict of str to float
        Macro accuracy of each person, or an error.

    lower_is_better : bool, default=False
        Whether it is an error: the worst is then the highest, and there is a
        ``percentile_90`` in the place of ``percentile_10``.

    Returns
    -------
    summary : dict
        As of :func:`per_user_accuracy`.

    Examples
    --------
    >>> from sk_cpep.evaluation import summarise_people
    >>> summarise_people({"a": 1.0, "b": 0.5})["mean"]
    0.75
    """
    values = np.array(list(per_user.values()))
    tail = 90 if lower_is_better else 10
    worst = int(values.argmax() if lower_is_better else values.argmin())
    return {
        "per_user": per_user,
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "interval": bootstrap_interval(per_user),
        f"percentile_{tail}": float(np.percentile(values, tail)),
        "worst": float(values[worst]),
        "worst_user": list(per_user)[worst],
        "n_users": len(values),
    }


def read_gestures(named: Mapping[str, ArrayLike]) -> list[AnyArray]:
    """Gestures that are compared with each other, as 1-D arrays.

    Parameters
    ----------
    named : dict of str to array-like
        Gestures by what error messages call them.

    Returns
    -------
    gestures : list of ndarrays
        As ids are read, but floats among floats, and bools among bools, stay so.

    Raises
    ------
    ValueError
        If some are text and others numbers, or missing.
    """
    read = read_alike(named)
    given = [as_column(values, name) for name, values in named.items()]
    kinds = {column.dtype.kind for column in given}
    return given if kinds in ({"f"}, {"b"}) else read


def _check_labels(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[AnyArray, AnyArray]:
    """Both as 1-D arrays of the same kind and length, at least one window."""
    y_true, y_pred = read_gestures({"y_true": y_true, "y_pred": y_pred})
    check_consistent_length(y_true, y_pred)
    if len(y_true) == 0:
        raise ValueError("No windows to evaluate: y_true is empty.")
    return y_true, y_pred
