"""Folds of people: whom each stage learns from, and who is only tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from .._ids import read_comparable, read_ids
from .._typing import AnyArray, BoolArray
from ._gesture_windows import GestureWindows

GESTURE_SETS = ("in_distribution", "unseen")


@dataclass
class GestureFold:
    """The windows of each stage, some people held out.

    Parameters
    ----------
    pretrain : GestureWindows
        Of training people; not a sample of an unseen gesture.

    train, test : dict of GestureWindows
        Windows of one gesture each, of training people and of people held out, for
        "in_distribution" and "unseen" gestures. A set without a gesture is left out.

    held_out : list of ids
        The people who are only tested on.

    controls : dict of GestureFold, default={}
        Other windows of the same people, by name, to be evaluated beside.
    """

    pretrain: GestureWindows
    train: dict[str, GestureWindows]
    test: dict[str, GestureWindows]
    held_out: list[Any]
    controls: dict[str, GestureFold] = field(default_factory=dict)


def split_gestures(
    pretraining: GestureWindows,
    named: GestureWindows,
    held_out: Any,
    unseen: Sequence[Any] = (),
) -> GestureFold:
    """Divide windows into those of training people and those of people held out.

    Parameters
    ----------
    pretraining : GestureWindows
        To pre-train on.

    named : GestureWindows
        To learn names from, and to name.

    held_out : sequence of ids
        People who are only tested on.

    unseen : sequence, default=()
        Gestures that no training stage sees.

    Returns
    -------
    fold : GestureFold
    """
    users, pretraining_users, held_out = read_comparable(
        {
            "users": named.users,
            "users to pre-train on": pretraining.users,
            "held_out": held_out,
        }
    )
    tested = np.isin(users, held_out)
    is_unseen = np.isin(named.y, list(unseen))
    gestures = dict(zip(GESTURE_SETS, (~is_unseen, is_unseen)))
    present = {name: rows for name, rows in gestures.items() if rows.any()}
    return GestureFold(
        pretraining.select(~np.isin(pretraining_users, held_out)),
        {name: named.select(~tested & rows) for name, rows in present.items()},
        {name: named.select(tested & rows) for name, rows in present.items()},
        np.unique(held_out).tolist(),
    )


def fold_users(users: Any, n_folds: int) -> list[list[Any]]:
    """Divide people into folds, each spread over all of them.

    Parameters
    ----------
    users : array-like of ids
        Whose recordings or windows there are.

    n_folds : int
        At most as many as there are people.

    Returns
    -------
    folds : list of list of ids
        The people held out in each fold: everyone once.
    """
    known = np.unique(read_ids(users, "users")).tolist()
    n_folds = min(n_folds, len(known))
    return [known[first::n_folds] for first in range(n_folds)]


def people_of_folds(cv: Any, users: Any, y: Any) -> list[Any]:
    """Find the people held out in each fold.

    Parameters
    ----------
    cv : int, list of list of ids, or cross-validation splitter
        Into how many folds people are divided, the people of each fold, or a splitter
        that is given `users` as groups.

    users, y : array-like of shape (n_windows,)
        Person and gesture of each window.

    Returns
    -------
    folds : list of sequences of ids

    Raises
    ------
    ValueError
        If a splitter puts windows of a person into both sets of a fold.
    """
    if isinstance(cv, Integral):
        return fold_users(users, int(cv))
    if not hasattr(cv, "split"):
        return list(cv)
    users, folds = read_ids(users, "users"), []
    for train, test in cv.split(np.zeros(len(users)), y, users):
        shared = np.intersect1d(users[train], users[test]).tolist()
        if shared:
            raise ValueError(
                f"cv puts windows of {shared[:3]} into both sets of a fold. Give a "
                "splitter that keeps groups together, such as GroupKFold."
            )
        folds.append(np.unique(users[test]))
    return folds


def unseen_rows(y: AnyArray, unseen: Sequence[Any]) -> BoolArray:
    """Find the windows of unseen gestures.

    Parameters
    ----------
    y : ndarray of shape (n_windows,)
        Gestures.

    unseen : sequence
        Those that no training stage sees: none, or two at the least.

    Returns
    -------
    rows : bool ndarray of shape (n_windows,)

    Raises
    ------
    ValueError
        If no window is of one of them, or there is but one.
    """
    unknown = sorted(set(unseen) - set(y.tolist()), key=str)
    if unknown:
        raise ValueError(f"unseen names gestures that no window is of: {unknown}.")
    rows = np.isin(y, list(unseen))
    if len(np.unique(y[rows])) == 1:
        raise ValueError(
            "unseen has one gesture, which could not be taken for another: give two or "
            "more."
        )
    return rows
