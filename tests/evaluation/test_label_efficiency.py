"""Probes by the number of labelled people, against loops written out."""

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import recall_score

from sk_cpep.evaluation import (
    GestureWindows,
    label_efficiency,
    linear_classifiers,
    linear_probe,
    load_records,
    merge_records,
    save_records,
    zero_shot,
)
from sk_cpep.evaluation._classifiers import softmax_probe
from sk_cpep.evaluation._label_efficiency import draw_people, feasible

NAMES = np.array(["fist", "ok", "point"])


def make_set(users, n=24, seed=0):
    """Windows (n, 2, 3), poses (n, 2, 3), gestures, people and repetitions."""
    rng = np.random.default_rng(seed)
    users = np.repeat(users, n)
    codes = np.tile(np.repeat(np.arange(3), n // 6), 2 * len(np.unique(users)))
    turns = np.tile(np.repeat([1, 2], n // 2), len(np.unique(users)))
    centres = np.random.default_rng(7).normal(size=(3, 2, 3))
    own = np.random.default_rng(8).normal(size=(30, 2, 3))[users]
    noise = rng.normal(size=(2, len(users), 2, 3))
    return GestureWindows(
        centres[codes] + own + noise[0],
        centres[codes] + 0.3 * noise[1],
        NAMES[codes],
        users,
        repetitions=turns,
    )


TRAIN, TEST = make_set(np.arange(6)), make_set([11, 12], seed=1)


class Flat(BaseEstimator):
    def transform(self, X):
        return np.reshape(X, (len(X), -1))

    transform_pose = transform

    def __sklearn_is_fitted__(self):
        return True


def flat(part):
    return part.X.reshape(len(part.X), -1), part.y, part.users


def accuracy(y, y_pred):
    return recall_score(y, y_pred, labels=np.unique(y), average="macro")


def test_draws():
    users = np.repeat([5, 3, 9, 4], 3)
    draws = draw_people(users, [1, 2, 4, 7, "all"], 6, 0)
    assert list(draws) == [1, 2, 4, "all"]
    assert [d.tolist() for d in draws[4]] == [[3, 4, 5, 9]]
    assert sorted(u for (u,) in draws[1]) == [3, 4, 5, 9]  # everyone once
    assert len(draws[2]) == 6
    assert all(len(set(pair)) == 2 and set(pair) <= {3, 4, 5, 9} for pair in draws[2])
    assert [d.tolist() for d in draws["all"]] == [[3, 4, 5, 9]]
    alone = draw_people(users, [2], 6, 0)
    assert [d.tolist() for d in alone[2]] == [d.tolist() for d in draws[2]]
    other = draw_people(users, [2], 6, 1)
    assert [d.tolist() for d in other[2]] != [d.tolist() for d in draws[2]]


def test_numbers_that_every_fold_has_people_for():
    users = np.repeat(np.arange(7), 2)
    folds = [[0, 3, 6], [1, 4], [2, 5]]
    assert feasible([1, 4, 5, 8, "all"], users, folds) == [1, 4, "all"]
    # Of those held out, some may have nothing to name here.
    assert feasible([4, 5], users[users > 0], [[0, 3], [0, 1]]) == [4, 5]
    for wrong in (0, 2.5, True, "many", None):
        with pytest.raises(ValueError, match="n_people must be ints from 1 on"):
            feasible([1, wrong], users, folds)


@pytest.mark.parametrize("n", [1, 3])
def test_against_a_loop(n):
    Z, y, users = flat(TRAIN)
    Z_test, y_test, users_test = flat(TEST)
    only = {"softmax": softmax_probe(0.1)}
    (record,) = label_efficiency(
        {"mine": None},
        flat(TRAIN),
        flat(TEST),
        n_people=[n],
        n_draws=4,
        classifiers=only,
        gestures="unseen",
        random_state=3,
    )
    each = {11: [], 12: []}
    for people in draw_people(users, [n], 4, 3)[n]:
        rows = np.isin(users, people)
        y_pred = softmax_probe(0.1).fit(Z[rows], y[rows]).predict(Z_test)
        for user, found in each.items():
            mine = users_test == user
            found.append(accuracy(y_test[mine], y_pred[mine]))
    expected = {str(user): np.mean(found) for user, found in each.items()}
    assert record["per_user"] == pytest.approx(expected)
    assert record["mean"] == pytest.approx(np.mean(list(expected.values())))
    for key, value in {
        "method": "mine",
        "protocol": "linear_probe",
        "gestures": "unseen",
        "n_people": n,
        "n_labelled": n,
        "n_draws": 4,
        "n_train": 24 * n,
        "n_test": 48,
        "settings": {"classifier": "softmax"},
    }.items():
        assert record[key] == value
    assert np.sum(record["confusion"]) == 4 * 48
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_classifier_is_chosen_on_training_people():
    Z, y, users = flat(TRAIN)
    candidates = linear_classifiers() | {"silly": softmax_probe(1e-9)}
    (record,) = label_efficiency(
        {"mine": None},
        flat(TRAIN),
        flat(TEST),
        n_people=[2],
        n_draws=5,
        classifiers=candidates,
    )
    scores = {}
    for name, candidate in candidates.items():
        found = []
        for people in draw_people(users, [2], 5, 0)[2][:3]:
            rows = np.isin(users, people)
            y_pred = candidate.fit(Z[rows], y[rows]).predict(Z)
            found += [
                accuracy(y[users == u], y_pred[users == u])
                for u in np.setdiff1d(users, people)
            ]
        scores[name] = np.mean(found)
    assert record["settings"]["classifier"] == max(scores, key=scores.get)
    # Other labels of the test people change nothing about it.
    swapped = flat(TEST)[0], np.roll(flat(TEST)[1], 7), flat(TEST)[2]
    (other,) = label_efficiency(
        {"mine": None},
        flat(TRAIN),
        swapped,
        n_people=[2],
        n_draws=5,
        classifiers=candidates,
    )
    assert other["settings"] == record["settings"]


def test_test_people_who_would_choose_another_do_not():
    Z, y, users = flat(TRAIN)
    candidates = {"good": softmax_probe(1.0), "bad": Watched()}
    # Of the test people every window is "ok": what always says so would be best there.
    Z_test, y_test, users_test = flat(TEST)
    always_ok = np.full(len(y_test), "ok")
    options = {"n_people": [1, 2, "all"], "n_draws": 2, "classifiers": candidates}
    records = label_efficiency(
        {"mine": None}, (Z, y, users), (Z_test, always_ok, users_test), **options
    )
    for record in records:
        assert record["settings"] == {"classifier": "good"}
        assert record["mean"] < 1
    (bad,) = label_efficiency(
        {"mine": None},
        (Z, y, users),
        (Z_test, always_ok, users_test),
        n_people=["all"],
        classifiers={"bad": Watched()},
    )
    assert bad["mean"] == 1


class Watched(ClassifierMixin, BaseEstimator):
    """Says "ok"; keeps the first column of what it was fitted to."""

    fits = []  # noqa: RUF012

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fits.append(X[:, 0])
        return self

    def predict(self, X):
        return np.full(len(X), "ok")


def test_the_same_people_are_drawn_for_every_method():
    """Whatever else is asked for, and whatever the methods are."""
    Z, y, users = flat(TRAIN)
    Z = np.column_stack([users, Z])  # who it is can be read off
    train, test = (
        (Z, y, users),
        (np.column_stack([TEST.users, flat(TEST)[0]]), *flat(TEST)[1:]),
    )

    def people_of(methods, n_people, **options):
        Watched.fits.clear()
        only = {"watched": Watched()}
        label_efficiency(
            methods, train, test, n_people=n_people, classifiers=only, **options
        )
        return [sorted({int(user) for user in seen}) for seen in Watched.fits]

    two = people_of({"A": None, "B": lambda Z: Z[:, :2]}, [2], n_draws=4)
    assert two[:4] == two[4:]
    assert all(len(pair) == 2 for pair in two)
    several = people_of({"A": None}, [1, 2, 4, "all"], n_draws=4)
    assert several[4:8] == two[:4]
    assert len({one for (one,) in several[:4]}) == 4
    assert several[-1] == list(range(6))
    many = people_of({"A": None}, [1, 7], n_draws=10)
    assert sorted(many) == [[user] for user in range(6)]  # nobody twice, none of 7
    assert people_of({"A": None}, [2], n_draws=4, random_state=5) != two[:4]


def test_all_labels_are_a_linear_probe():
    """The classifier chosen by thirds of all training people."""
    candidates = linear_classifiers()
    (record,) = label_efficiency(
        {"mine": None}, flat(TRAIN), flat(TEST), n_people=["all"]
    )
    expected = linear_probe(None, flat(TRAIN), flat(TEST), classifiers=candidates)
    for key in record.keys() - {"method", "n_draws"}:
        assert record[key] == expected[key], key
    assert (record["n_draws"], record["n_labelled"]) == (1, 6)


def test_encoders_and_the_point_without_labels():
    parts = [(w.X, w.P, w.y, w.users) for w in (TRAIN, TEST)]
    records = label_efficiency(
        {"A": Flat(), "B": Flat().transform}, *parts, n_people=[1]
    )
    assert [(r["method"], r["protocol"], r["n_people"]) for r in records] == [
        ("A", "zero_shot", 0),
        ("A", "linear_probe", 1),
        ("B", "linear_probe", 1),
    ]
    expected = zero_shot(
        Flat(), (TRAIN.P, TRAIN.y, TRAIN.users), (TEST.X, TEST.y, TEST.users)
    )
    assert records[0] == expected | {"method": "A"}
    assert records[1]["per_user"] == records[2]["per_user"]
    assert label_efficiency({"A": Flat()}, TRAIN, TEST, n_people=[1]) == records[:2]


def test_merged_over_folds():
    def of(user):
        rows = TEST.users == user
        return tuple(column[rows] for column in flat(TEST))

    runs = [
        label_efficiency({"mine": None}, flat(TRAIN), of(user), n_people=[1, "all"])
        for user in (11, 12)
    ]
    whole = label_efficiency(
        {"mine": None}, flat(TRAIN), flat(TEST), n_people=[1, "all"]
    )
    for merged, expected in zip(merge_records(runs), whole, strict=True):
        for key in (
            "per_user",
            "mean",
            "interval",
            "n_people",
            "n_labelled",
            "settings",
        ):
            assert merged[key] == pytest.approx(expected[key])
    with pytest.raises(ValueError, match="n_people"):
        merge_records([[runs[0][0]], [runs[1][1]]])


def test_kept_in_a_file(tmp_path):
    records = label_efficiency({"A": Flat()}, TRAIN, TEST, n_people=[1, 3, "all"])
    assert load_records(save_records(tmp_path / "records.json", records)) == records
    assert [r["n_people"] for r in records] == [0, 1, 3, "all"]
    assert [r["n_labelled"] for r in records] == [0, 1, 3, 6]


def test_test_gestures_that_nobody_has_learned_are_refused():
    few = tuple(part[TRAIN.y != "ok"] for part in flat(TRAIN))
    with pytest.raises(ValueError, match="never given a name to learn from: ok"):
        label_efficiency({"mine": None}, few, flat(TEST))


def test_errors():
    with pytest.raises(ValueError, match="11"):
        label_efficiency({"mine": None}, flat(TEST), flat(TEST))
    for wrong in (0, -1, 1.5, "many", True):
        with pytest.raises(
            ValueError, match="n_people must be ints from 1 on, or 'all'"
        ):
            label_efficiency({"mine": None}, flat(TRAIN), flat(TEST), n_people=[wrong])
    with pytest.raises(ValueError, match="n_draws"):
        label_efficiency({"mine": None}, flat(TRAIN), flat(TEST), n_draws=0)
