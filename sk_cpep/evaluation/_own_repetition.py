"""How good a probe is with one repetition of each gesture by the person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from .._ids import read_comparable
from .._typing import AnyArray, Record
from ._classifiers import Candidates, best_on, fit_predict, linear_classifiers
from ._guard import check_disjoint
from ._protocols import check_classes, record_header, score


def own_repetition(
    train: tuple[Any, Any, Any, Any],
    test: tuple[Any, Any, Any, Any],
    *,
    sets: Mapping[str, Any],
    n_repetitions: int = 1,
    classifiers: Candidates | None = None,
    method: str | None = None,
    protocol: str = "own_repetition",
) -> list[Record]:
    """Evaluate a classifier of each person's own first repetitions on the later ones.

    Each person's classifier learns from the person's own windows of the first
    `n_repetitions` of all gestures, and names those of the later ones. Nobody else's
    windows are learned from; the kind of classifier is the one that does best so for
    the training people.

    Parameters
    ----------
    train, test : tuple (Z, y, users, repetitions)
        Embeddings of shape (n_windows, n_dims), gestures, people, and how often each
        recording has come to the gesture, from 1 on; of training people and of those
        who are evaluated.

    sets : dict of array-like
        Gestures by the name of their set, such as "in_distribution" and "unseen". All
        are told apart from all, and each set has a record of its own.

    n_repetitions : int, default=1
        Number of labelled repetitions.

    classifiers : dict of classifiers, default=None
        Candidates; None are those of :func:`linear_classifiers`.

    method : str, default=None
        Name of what is evaluated.

    protocol : str, default="own_repetition"
        What records say: "own_session" where sessions are given as repetitions.

    Returns
    -------
    records : list of dict
        As of :func:`linear_probe`, with this ``protocol``, for each set.
        ``n_people`` is 0: nobody else's labels are used; ``n_repetitions`` is given.

    Raises
    ------
    ValueError
        If the sets share people, or somebody has no window before, or after, the last
        labelled repetition.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import own_repetition
    >>> Z, y = np.tile(np.eye(2), (4, 1)), np.tile(["fist", "ok"], 4)
    >>> repetitions = np.repeat([1, 1, 2, 2], 2)
    >>> sets = {"in_distribution": ["fist"], "unseen": ["ok"]}
    >>> train, test = (Z, y, ["anna"] * 8, repetitions), (Z, y, ["ben"] * 8, repetitions)
    >>> [r["mean"] for r in own_repetition(train, test, sets=sets)]
    [1.0, 1.0]
    """
    (Z, y, users, turns), (Z_test, y_test, users_test, turns_test) = train, test
    check_disjoint(users, users_test)
    y, y_test, classes = check_classes(y, y_test)
    users, users_test = read_comparable({"users": users, "test users": users_test})
    Z, Z_test, turns, turns_test = map(np.asarray, (Z, Z_test, turns, turns_test))
    check_consistent_length(Z, y, users, turns)
    check_consistent_length(Z_test, y_test, users_test, turns_test)
    candidates = linear_classifiers() if classifiers is None else classifiers
    own = _own_sets(users, turns, n_repetitions)
    chosen, _ = best_on(candidates, Z, y, users, own)
    rows, y_pred = [], []
    for first, later in _own_sets(users_test, turns_test, n_repetitions):
        named = fit_predict(
            candidates[chosen], Z_test[first], y_test[first], Z_test[later]
        )
        rows.append(np.flatnonzero(later))
        y_pred.append(named)
    tested, predicted = np.concatenate(rows), np.concatenate(y_pred)
    y_true, people = y_test[tested], users_test[tested]
    n_train = len(y_test) - len(tested)
    records = []
    for gestures, names in sets.items():
        part = np.isin(y_true, names)
        settings = {"classifier": chosen}
        header = record_header(None, method, protocol, gestures, settings)
        found = score(
            classes, y_true[part], predicted[part], people[part], people, n_train
        )
        about = {"n_people": 0, "n_labelled": 0, "n_repetitions": n_repetitions}
        records.append(header | found | about)
    return records


def _own_sets(
    users: AnyArray, turns: AnyArray, n_repetitions: int
) -> list[tuple[AnyArray, AnyArray]]:
    """Windows of the first repetitions and of the later ones, person by person."""
    sets = []
    for user in np.unique(users):
        here = users == user
        first = here & (turns <= n_repetitions)
        if not first.any() or not (here & ~first).any():
            raise ValueError(
                f"{user} needs windows of the first {n_repetitions} repetition(s), to "
                "learn from, and of later ones, to name; there are repetitions "
                f"{np.unique(turns[here]).tolist()}."
            )
        sets.append((first, here & ~first))
    return sets
