"""How good a probe is with the labels of one person, of a few, of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix
from sklearn.utils import check_random_state

from .._ids import read_comparable, read_ids
from .._typing import AnyArray, Float64Array, RandomStateLike, Record
from ._classifiers import (
    Candidates,
    accuracy_of_each,
    best_on,
    choose_classifier,
    fit_predict,
    linear_classifiers,
)
from ._gesture_windows import GestureWindows
from ._guard import check_disjoint
from ._metrics import average_recalls, per_user_recall, summarise_people
from ._protocols import check_classes, embeddings, fits_of_encoder, zero_shot

# Draws of people that classifiers are compared on; each learns from all others too.
_N_TUNING_DRAWS = 3

Draws = dict[Any, list[AnyArray]]


def label_efficiency(
    methods: Mapping[str, Any],
    train: Any,
    test: Any,
    *,
    n_people: Sequence[Any] = (1, 2, 4, 8, "all"),
    n_draws: int = 10,
    classifiers: Candidates | None = None,
    n_neighbors: int = 10,
    gestures: Any = "in_distribution",
    random_state: RandomStateLike = 0,
) -> list[Record]:
    """Evaluate probes by the number of people whose labels they learn from.

    For each number, people are drawn among the training people several times, the same
    ones for every method. A classifier learns from the labels of those drawn, and
    names the windows of the test people; the accuracy of each test person is averaged
    over the draws. Which classifier, and how it is penalised, is chosen for each method
    and number by itself: the one that, having learned from people drawn, names the
    windows of the other training people best. Encoders are used as they are, whoever
    they have been fitted to.

    Parameters
    ----------
    methods : dict
        By name: a fitted encoder with ``transform``, a function of windows, or None
        where `train` and `test` hold embeddings. An encoder with ``transform_pose``,
        such as :class:`~sk_cpep.CPEP`, is evaluated without labels too, if there are
        poses: the point at zero people.

    train, test : tuple (X, y, users) or (X, P, y, users), or GestureWindows
        Windows of shape (n_windows, n_channels, n_times), pose windows, gestures and
        people, of training people and of others.

    n_people : sequence of int and "all", default=(1, 2, 4, 8, "all")
        Numbers of people. More than there are training people are left out.

    n_draws : int, default=10
        How many times people are drawn. Of one person, everyone is drawn once at the
        most.

    classifiers : dict of classifiers, default=None
        Candidates, not fitted, by name. None are those of
        :func:`linear_classifiers`.

    n_neighbors : int, default=10
        Poses that vote where there are no labels.

    gestures : {"in_distribution", "unseen"}, default="in_distribution"
        Whether encoders were pre-trained on these gestures. Only recorded.

    random_state : int, RandomState instance or None, default=0
        Who is drawn.

    Returns
    -------
    records : list of dict
        As of :func:`linear_probe`, one for each method and number of people. Further,
        ``n_people``: the number, "all", or 0 of zero-shot; ``n_labelled``: how many
        people that is; ``n_draws``. ``settings["classifier"]`` is the one chosen.
        Confusions are sums over draws; there are no ``predictions``.

    Raises
    ------
    ValueError
        If the sets share people, a number is no positive int, or test gestures are
        missing in the training set.

    See Also
    --------
    sk_cpep.plotting.LabelEfficiencyDisplay : Draws them.
    paired_difference : Compares two methods, person by person.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import label_efficiency
    >>> Z, y = np.tile(np.eye(2), (6, 1)), np.tile(["fist", "ok"], 6)
    >>> train = Z, y, np.repeat([1, 2, 3], 4)
    >>> test = Z[:4], y[:4], [9] * 4
    >>> records = label_efficiency({"mine": None}, train, test, n_people=[1, "all"])
    >>> [(r["n_people"], r["n_labelled"], r["mean"]) for r in records]
    [(1, 1, 1.0), ('all', 3, 1.0)]
    """
    (X, P, y, users), (X_test, P_test, y_test, users_test) = map(_parts, (train, test))
    check_disjoint(users, users_test)
    draws = draw_people(users, n_people, n_draws, random_state)
    records = []
    for name, encoder in methods.items():
        sets = (
            (embeddings(encoder, X, y, "train"), y, users),
            (embeddings(encoder, X_test, y_test, "test"), y_test, users_test),
        )
        common = fits_of_encoder(name, encoder) | {"gestures": gestures}
        if P is not None and hasattr(encoder, "transform_pose"):
            record = zero_shot(
                encoder,
                (P, y, users),
                (X_test, y_test, users_test),
                n_neighbors=n_neighbors,
                method=name,
                gestures=gestures,
            )
            records.append(record)
        for record in probe_by_people(*sets, draws, classifiers):
            records.append({"method": name} | record | common)
    return records


def draw_people(
    users: Any, n_people: Sequence[Any], n_draws: int, random_state: RandomStateLike
) -> Draws:
    """Draw people whose labels probes learn from.

    Parameters
    ----------
    users : array-like of shape (n_windows,)
        Training people.

    n_people : sequence of int and "all"

    n_draws : int

    random_state : int, RandomState instance or None

    Returns
    -------
    draws : dict of list of ndarrays
        The people of each draw, by number. Each number is drawn for by itself, so that
        its draws do not depend on what else is asked for.
    """
    known = np.unique(read_ids(users, "users"))
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be an int from 1 on, got {n_draws!r}.")
    seed = check_random_state(random_state).randint(2**31)
    draws: Draws = {}
    for n in check_numbers(n_people):
        if n == "all":
            draws[n] = [known]
            continue
        if n > len(known):
            continue
        rng = np.random.RandomState([seed, n])
        order = rng.permutation(known)
        if n == 1:
            draws[1] = [order[i : i + 1] for i in range(min(n_draws, len(known)))]
        elif n == len(known):
            draws[int(n)] = [known]
        else:
            draws[int(n)] = [
                np.sort(rng.choice(known, n, replace=False)) for _ in range(n_draws)
            ]
    return draws


def feasible(n_people: Sequence[Any], users: Any, folds: Sequence[Any]) -> list[Any]:
    """Numbers of people that every fold has so many training people for.

    Parameters
    ----------
    n_people : sequence of int and "all"

    users : array-like of shape (n_windows,)
        All people.

    folds : list of sequences of ids
        The people held out in each fold.
    """
    known = np.unique(read_ids(users, "users"))
    fewest = min(len(np.setdiff1d(known, people)) for people in folds)
    return [n for n in check_numbers(n_people) if n == "all" or n <= fewest]


def check_numbers(n_people: Sequence[Any]) -> list[Any]:
    """Numbers of people, each an int from 1 on or "all"; others are refused."""
    for n in n_people:
        is_all = isinstance(n, str) and n == "all"
        is_number = isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0
        if not is_all and not is_number:
            raise ValueError(f"n_people must be ints from 1 on, or 'all'; got {n!r}.")
    return list(n_people)


def probe_by_people(
    train: tuple[Float64Array, AnyArray, AnyArray],
    test: tuple[Float64Array, AnyArray, AnyArray],
    draws: Draws,
    classifiers: Candidates | None = None,
) -> list[Record]:
    """Probes on embeddings by the number of people whose labels they learn from.

    Parameters
    ----------
    train, test : tuple (Z, y, users)
        Embeddings of shape (n_windows, n_dims), gestures and people.

    draws : dict
        As of :func:`draw_people`.

    classifiers : dict of classifiers, default=None
        As of :func:`label_efficiency`.

    Returns
    -------
    records : list of dict
        One for each number of people, without `method` and `gestures`.
    """
    Z, y, users = train
    Z_test, y_test, users_test = test
    y, y_test, classes = check_classes(y, y_test)
    users, users_test = read_comparable({"users": users, "test users": users_test})
    candidates = linear_classifiers() if classifiers is None else classifiers
    records = []
    for n, people in draws.items():
        chosen = _choose(candidates, Z, y, users, people)
        rows = [np.isin(users, some) for some in people]
        predicted = [fit_predict(candidates[chosen], Z[r], y[r], Z_test) for r in rows]
        header = {
            "protocol": "linear_probe",
            "settings": {"classifier": chosen},
            "n_people": n,
            "n_labelled": len(people[0]),
            "n_draws": len(people),
            "n_train": round(float(np.mean([r.sum() for r in rows]))),
        }
        records.append(header | _average(classes, y_test, predicted, users_test))
    return records


def _choose(
    candidates: Candidates,
    Z: Float64Array,
    y: AnyArray,
    users: AnyArray,
    people: Sequence[AnyArray],
) -> str:
    """The classifier that names training people best who are not drawn."""
    if len(candidates) == 1:
        return next(iter(candidates))
    if len(people[0]) == len(np.unique(users)):
        return choose_classifier(candidates, Z, y, users)[0]
    drawn = [np.isin(users, some) for some in people[:_N_TUNING_DRAWS]]
    return best_on(candidates, Z, y, users, [(rows, ~rows) for rows in drawn])[0]


def _average(
    classes: AnyArray,
    y_true: AnyArray,
    predicted: Sequence[AnyArray],
    users: AnyArray,
) -> Record:
    """How good, for whom, against which chance: averages over draws."""
    each = [accuracy_of_each(y_true, y_pred, users) for y_pred in predicted]
    people = {
        str(user): float(np.mean([draw[user] for draw in each])) for user in each[0]
    }
    summary = summarise_people(people)
    recalls = [per_user_recall(y_true, y_pred, users) for y_pred in predicted]
    recall = {
        user: {
            name: float(np.mean([draw[user][name] for draw in recalls]))
            for name in recalls[0][user]
        }
        for user in recalls[0]
    }
    confusion = sum(confusion_matrix(y_true, p, labels=classes) for p in predicted)
    return {
        "macro_accuracy": summary["mean"],
        **summary,
        "per_class_recall": average_recalls(recall),
        "per_user_recall": recall,
        "chance": 1 / len(classes),
        "n_test": len(y_true),
        "n_classes": len(classes),
        "classes": classes.tolist(),
        "confusion": np.asarray(confusion).tolist(),
    }


def _parts(windows: Any) -> tuple[Any, Any, AnyArray, Any]:
    """Windows, poses or None, gestures and people of a set."""
    if isinstance(windows, GestureWindows):
        return windows.X, windows.P, windows.y, windows.users
    if len(windows) == 3:
        X, y, users = windows
        return X, None, np.asarray(y), users
    X, P, y, users = windows
    return X, P, np.asarray(y), users
