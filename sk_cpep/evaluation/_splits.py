"""The paper's Table 1: who and what is pre-trained, probed, tuned and evaluated on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_consistent_length, check_random_state

from .._ids import read_alike, read_ids
from .._typing import AnyArray, BoolArray, RandomStateLike, Record
from ._guard import check_disjoint

GESTURE_STAGES = {
    "Thumb swipes whole hand": ("ThumbsSwipesWholeHand", "in_distribution"),
    "Hand claw, grasp and flicks": ("HandClawGraspFlicks", "in_distribution"),
    "Thumb rotations, thumb up and down": (
        "ThumbsUpDownThumbRotationsCWCCWP",
        "in_distribution",
    ),
    "Finger pinches, single and multiple fingers": (
        "FingerPinchesSingleFingerPinchesMultiple",
        "in_distribution",
    ),
    "Hook 'em horns, OK and scissors": ("HookEmHornsOKScissors", "unseen"),
    "Shaka and Vulcan peace": ("ShakaVulcanPeace", "unseen"),
    "Counting up and down": ("CountingUpDownFaceSideAway", "unseen"),
    "Counting up and down, finger wiggling and spreading": (
        "CountingUpDownFingerWigglingSpreading",
        "unseen",
    ),
}
"""Stage of emg2pose, and set, of each gesture that the paper tells apart."""

# set: gestures, split, generalization, and who of the people there
_TABLE = {
    "pretrain": (None, "train", "none", "all"),
    "probe_train.in_distribution": ("in_distribution", "train", "none", "all"),
    "probe_train.unseen": ("unseen", "val", "user_stage", "not tuning"),
    "tune.in_distribution": ("in_distribution", "val", "user", "tuning"),
    "tune.unseen": ("unseen", "val", "user_stage", "tuning"),
    "eval.in_distribution": ("in_distribution", "test", "user", "all"),
    "eval.unseen": ("unseen", "test", "user_stage", "all"),
}
# Sets of the same people.
_PARTIES = {
    "pre-training and probe training (in-distribution)": (
        "pretrain",
        "probe_train.in_distribution",
    ),
    "probe training (unseen)": ("probe_train.unseen",),
    "tuning": ("tune.in_distribution", "tune.unseen"),
    "evaluation": ("eval.in_distribution", "eval.unseen"),
}


def paper_splits(
    users: ArrayLike,
    stages: Any,
    splits: ArrayLike,
    generalizations: ArrayLike,
    *,
    sessions: Any = None,
    n_tuning_users: int = 3,
    tuning_users: ArrayLike | None = None,
    random_state: RandomStateLike = 0,
    gesture_stages: Mapping[str, tuple[str, str]] | None = None,
) -> Any:
    """Divide windows, or recordings, of emg2pose as the paper's Table 1 does.

    Parameters
    ----------
    users, stages, splits, generalizations : array-like of shape (n_windows,)
        Columns of emg2pose's metadata table, for each window or each recording,
        as :func:`~sk_cpep.datasets.load_emg2pose` gives them.

    sessions : array-like of shape (n_windows,), default=None
        Sessions, to check that each belongs to one person.

    n_tuning_users : int, default=3
        How many people of the validation split tune; the others train the probe
        of unseen gestures. The paper's number of the latter is garbled in print,
        but 15 less 3 is what other work on the same protocol uses.

    tuning_users : array-like of str, default=None
        Who of the validation split tunes. The paper does not say; by default they
        are drawn by `random_state` from the sorted names, so that the choice does
        not depend on which windows there are, and the sensitivity to it can be
        told by other seeds.

    random_state : int, RandomState instance or None, default=0
        Of the draw.

    gesture_stages : dict of str to (str, str), default=None
        Stage and set ("in_distribution" or "unseen") of each gesture, by default
        :data:`GESTURE_STAGES`.

    Returns
    -------
    sets : :class:`~sklearn.utils.Bunch`
        Indices of the windows, ascending:

        - ``pretrain``: all of the training split, 23 stages of 158 people, for the
          autoencoders and for CPEP;
        - ``probe_train``: Bunch of ``in_distribution`` (those of the 4 gestures
          in `pretrain`) and ``unseen`` (4 held-out gestures of the people of
          the validation split who do not tune);
        - ``tune``: Bunch of the same names, for choosing hyperparameters, of the
          people who tune;
        - ``eval``: Bunch of the same names, of the 20 people of the test split.
          Its held-out stages by people who trained are in no set.

        Beside them ``tuning_users``, names in ascending order.

    Raises
    ------
    ValueError
        If a set is without one of its gestures, if a person is in sets that must
        not share people, a session belongs to several people, or those who are to
        tune are not in the validation split or are all of it.

    See Also
    --------
    check_splits : The check that people and sessions do not cross.
    zero_shot_gallery : What queries are compared with.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import GESTURE_STAGES, paper_splits
    >>> seen, unseen = (
    ...     [stage for stage, part in GESTURE_STAGES.values() if part == wanted]
    ...     for wanted in ("in_distribution", "unseen")
    ... )
    >>> rows = [("anna", stage, "train", "none") for stage in seen]
    >>> for user, split in [("ben", "val"), ("carl", "val"), ("dora", "test")]:
    ...     rows += [(user, stage, split, "user") for stage in seen]
    ...     rows += [(user, stage, split, "user_stage") for stage in unseen]
    >>> sets = paper_splits(*np.transpose(rows), tuning_users=["carl"])
    >>> sets.pretrain, sets.probe_train.unseen, sets.eval.unseen
    (array([0, 1, 2, 3]), array([ 8,  9, 10, 11]), array([24, 25, 26, 27]))
    """
    columns = check_columns(users, stages, splits, generalizations)
    tuning_users = _choose_tuning_users(
        columns, n_tuning_users, tuning_users, random_state
    )
    gesture_stages = GESTURE_STAGES if gesture_stages is None else gesture_stages
    tuning = is_in(columns["users"], tuning_users)
    everybody = np.ones(len(tuning), bool)
    who = {"all": everybody, "tuning": tuning, "not tuning": ~tuning}
    found = {}
    for name, (gestures, split, generalization, people) in _TABLE.items():
        wanted = stages_of(gestures, gesture_stages)
        mask = select(columns, split, generalization, wanted) & who[people]
        _check_complete(name, columns["stages"][mask], wanted)
        found[name] = np.flatnonzero(mask)
    parties = {
        party: np.concatenate([found[name] for name in names])
        for party, names in _PARTIES.items()
    }
    check_splits(parties, columns["users"], sessions=sessions)
    return Bunch(**_nest(found), tuning_users=tuning_users)


def check_splits(sets: Any, users: ArrayLike, *, sessions: Any = None) -> None:
    """Refuse sets of windows that share people or sessions.

    Parameters
    ----------
    sets : dict of str to ndarray of int
        Indices of the windows of each set, by its name. No two may share anybody.

    users : array-like of shape (n_windows,)
        Person each window was recorded from.

    sessions : array-like of shape (n_windows,), default=None
        Session each window was recorded in. A session is one person's, so that
        sets which do not share people do not share sessions.

    Raises
    ------
    ValueError
        If two sets share a person, or several people a session. The message names
        the sets, the people and the sessions.

    See Also
    --------
    check_disjoint : The same for two sets, and for samples.

    Examples
    --------
    >>> from sk_cpep.evaluation import check_splits
    >>> check_splits({"train": [0, 1], "test": [2]}, ["anna", "ben", "carl"])
    >>> check_splits({"train": [0, 1], "test": [2]}, ["anna", "ben", "ben"])
    Traceback (most recent call last):
        ...
    ValueError: train and test: Train and test share 1 user(s): ben. ...
    """
    users = read_ids(users, "users")
    people = {name: sorted(set(users[indices])) for name, indices in sets.items()}
    for one, other in combinations(people, 2):
        try:
            check_disjoint(people[one], people[other])
        except ValueError as error:
            raise ValueError(f"{one} and {other}: {error}") from None
    if sessions is not None:
        _check_sessions(read_ids(sessions, "sessions"), users)


def _check_sessions(sessions: AnyArray, users: AnyArray) -> None:
    """Raise if a session is of several people."""
    check_consistent_length(sessions, users)
    owner: dict[Any, Any] = {}
    for session, user in sorted(set(zip(sessions.tolist(), users.tolist()))):
        if owner.setdefault(session, user) != user:
            raise ValueError(
                f"Session {session} belongs to {owner[session]} and to {user}; a session "
                "is one person's. Look for a mistake in the metadata table."
            )


def check_columns(
    users: ArrayLike, stages: Any, splits: ArrayLike, generalizations: ArrayLike
) -> dict[str, AnyArray]:
    """Columns by name, equally long."""
    columns = {
        "users": read_ids(users, "users"),
        "stages": read_ids(stages, "stages"),
        "splits": read_ids(splits, "splits"),
        "generalizations": read_ids(generalizations, "generalizations"),
    }
    check_consistent_length(*columns.values())
    return columns


def _choose_tuning_users(
    columns: Any,
    n_tuning_users: int,
    tuning_users: ArrayLike | None,
    random_state: RandomStateLike,
) -> AnyArray:
    """Names of the people who tune, ascending."""
    known = sorted(set(columns["users"][columns["splits"] == "val"].tolist()))
    if tuning_users is not None:
        _, given = read_alike({"users": columns["users"], "tuning_users": tuning_users})
        chosen = sorted(set(given.tolist()))
        strange = [user for user in chosen if user not in known]
        if strange:
            raise ValueError(
                f"tuning_users names {', '.join(map(str, strange))}, who are not in the "
                f"validation split; choose from {', '.join(map(str, known))}."
            )
    else:
        if not isinstance(n_tuning_users, Integral) or n_tuning_users < 1:
            raise ValueError(f"n_tuning_users={n_tuning_users!r} must be an int >= 1.")
        order = check_random_state(random_state).permutation(len(known))
        chosen = [known[i] for i in sorted(order[:n_tuning_users])]
    if len(chosen) in (0, len(known)):
        raise ValueError(
            f"{len(chosen)} of the {len(known)} people of the validation split tune, "
            "which leaves nobody to tune or nobody to probe; change n_tuning_users or "
            "tuning_users, or provide at least two people with split='val'."
        )
    return np.array(chosen)


def stages_of(
    gestures: str | None, gesture_stages: Mapping[str, tuple[str, str]]
) -> list[str] | None:
    """Stages of a set of gestures; None, which is all of them, for None."""
    if gestures is None:
        return None
    return [stage for stage, part in gesture_stages.values() if part == gestures]


def select(columns: Any, split: str, generalization: str, stages: Any) -> BoolArray:
    """Mask of the rows of a split, a generalization and stages (None for any)."""
    mask = columns["splits"] == split
    mask &= columns["generalizations"] == generalization
    return mask if stages is None else mask & is_in(columns["stages"], stages)


def is_in(column: AnyArray, values: Iterable[Any]) -> BoolArray:
    """Mask of the rows of an array of ids with one of the values."""
    wanted = set(values)
    return np.fromiter((x in wanted for x in column.tolist()), bool, len(column))


def _check_complete(name: str, found: Any, wanted: Sequence[str] | None) -> None:
    """Raise if a set is empty or lacks a stage."""
    missing = [stage for stage in wanted or () if stage not in set(found)]
    if len(found) and not missing:
        return
    _, split, generalization, people = _TABLE[name]
    who = {"all": "", "tuning": ", by people who tune"}.get(people, ", by the others")
    what = f"lacks the stages {', '.join(missing)}" if len(found) else "is empty"
    raise ValueError(
        f"The set {name} {what}: it is made of split={split!r}, generalization="
        f"{generalization!r}, stages {', '.join(wanted or ['all'])}{who}. Load these "
        "too, or choose others by gesture_stages."
    )


def _nest(found: Any) -> Record:
    """Bunches in a dict: what is named "a.b" under "a" as "b"."""
    nested: dict[str, Any] = {}
    for name, indices in found.items():
        outer, _, inner = name.partition(".")
        if inner:
            nested.setdefault(outer, Bunch())[inner] = indices
        else:
            nested[outer] = indices
    return nested
