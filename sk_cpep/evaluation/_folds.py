"""Folds of people: whom each stage learns from, and who is only tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._ids import read_comparable, read_ids
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
    is_unseen = np.isin(named.y, unseen)
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
