import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sk_cpep.evaluation import (
    linear_classifiers,
    linear_probe,
    macro_accuracy,
    supervised,
    zero_shot,
)
from sk_cpep.evaluation._classifiers import fit_predict, softmax_probe

NAMES = np.array(["fist", "ok", "point"])


class Stub(BaseEstimator):
    """Flatten, and count how often it was asked to."""

    n_calls = 0

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        type(self).n_calls += 1
        return np.reshape(X, (len(X), -1)).astype(np.float32)

    transform_pose = transform

    def __sklearn_is_fitted__(self):
        return True


def make_set(users, n=40, seed=0):
    """Windows (n per user, 2, 3), gestures and users."""
    rng = np.random.default_rng(seed)
    users = np.repeat(users, n)
    codes = rng.integers(3, size=len(users))
    centres = np.random.default_rng(5).normal(size=(3, 2, 3))
    return centres[codes] + rng.normal(size=(len(users), 2, 3)), NAMES[codes], users


TRAIN, TEST = make_set(["anna", "ben", "carl"]), make_set(["dora", "emil"], seed=1)


def flat(part):
    return part[0].reshape(len(part[0]), -1), *part[1:]


def check_record(record, y_pred):
    y, users = TEST[1:]
    each = {
        u: balanced_accuracy_score(y[users == u], y_pred[users == u])
        for u in ("dora", "emil")
    }
    assert record["per_user"] == pytest.approx(each)
    values = list(each.values())
    assert record["macro_accuracy"] == record["mean"] == pytest.approx(np.mean(values))
    assert record["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    low, high = record["interval"]
    assert min(values) <= low <= record["mean"] <= high <= max(values)
    recalls = {
        u: recall_score(y[users == u], y_pred[users == u], average=None)
        for u in ("dora", "emil")
    }
    assert record["per_user_recall"] == {
        u: pytest.approx(dict(zip(NAMES.tolist(), r, strict=True)))
        for u, r in recalls.items()
    }
    each = dict(zip(NAMES.tolist(), np.mean([*recalls.values()], axis=0), strict=True))
    assert record["per_class_recall"] == pytest.approx(each)
    assert record["pooled_macro_accuracy"] == macro_accuracy(y, y_pred)
    assert record["classes"] == NAMES.tolist()
    assert_array_equal(record["confusion"], confusion_matrix(y, y_pred))
    assert_array_equal(record["predictions"], y_pred)
    assert record["chance"] == pytest.approx(1 / 3)
    assert (record["n_train"], record["n_test"], record["n_classes"]) == (120, 80, 3)
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_linear_probe_against_its_parts():
    record = linear_probe(Stub(), TRAIN, TEST, C=0.3, method="mine", gestures="unseen")
    Z, Z_test = flat(TRAIN)[0].astype("f4"), flat(TEST)[0].astype("f4")
    mean, sd = Z.astype(float).mean(axis=0), Z.astype(float).std(axis=0)
    probe = LogisticRegression(C=0.3, class_weight="balanced")
    probe.fit((Z - mean) / sd, TRAIN[1])
    check_record(record, probe.predict((Z_test - mean) / sd))
    assert record["method"] == "mine"
    assert (record["protocol"], record["gestures"]) == ("linear_probe", "unseen")
    assert record["settings"] == {"C": 0.3, "max_iter": 2000}


def test_zero_shot_against_its_parts():
    record = zero_shot(Stub(), TRAIN, TEST, n_neighbors=7)
    knn = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    nearest = zero_shot(Stub(), TRAIN, TEST, n_neighbors=1)
    knn.fit(*flat(TRAIN)[:2])
    check_record(nearest, knn.predict(flat(TEST)[0]))
    check_record(record, np.array(record["predictions"]))
    assert (record["protocol"], record["gestures"]) == ("zero_shot", "in_distribution")
    assert (record["method"], record["settings"]) == ("Stub", {"n_neighbors": 7})


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
def test_precomputed_embeddings(protocol):
    record = protocol(Stub(), TRAIN, TEST)
    train, test = ((Stub().transform(X), y, u) for X, y, u in (TRAIN, TEST))
    assert protocol(None, train, test) == record | {"method": "precomputed"}


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
def test_each_set_is_embedded_once(protocol):
    Stub.n_calls = 0
    protocol(Stub(), TRAIN, TEST)
    assert Stub.n_calls == 2


def test_encoders_of_a_linear_probe():
    expected = linear_probe(Stub(), TRAIN, TEST)
    for encoder in (
        FrozenEstimator(Stub()),
        make_pipeline(Stub()),
        Stub().transform_pose,
    ):
        assert linear_probe(encoder, TRAIN, TEST) == expected


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
def test_nothing_leaks(protocol):
    with pytest.raises(ValueError, match=r"share 3 user\(s\): anna, ben, carl"):
        protocol(Stub(), TRAIN, TRAIN)
    record = protocol(Stub(), TRAIN, TRAIN, allow_shared_users=True)
    assert record["n_users"] == 3


def test_a_query_does_not_meet_its_own_pose():
    n = len(TRAIN[0])
    where = {"recording": np.zeros(n), "start": np.arange(n), "stop": np.arange(n) + 1}
    with pytest.raises(ValueError, match="share samples: 120 test"):
        zero_shot(
            Stub(),
            TRAIN,
            TRAIN,
            gallery_windows=where,
            test_windows=where,
            allow_shared_users=True,
        )


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
def test_kind_errors(protocol):
    few = tuple(part[TRAIN[1] != "ok"] for part in TRAIN)
    with pytest.raises(ValueError, match="never given a name to learn from: ok"):
        protocol(Stub(), few, TEST)
    with pytest.raises(ValueError, match="gestures must be one of"):
        protocol(Stub(), TRAIN, TEST, gestures="new")


def test_windows_need_an_encoder():
    with pytest.raises(ValueError, match=r"`train` must be of shape \(120, n_dims\)"):
        linear_probe(None, TRAIN, TEST)
    with pytest.raises(ValueError, match="must give embeddings"):
        zero_shot(None, TRAIN, TEST)


def test_chance_counts_what_can_be_predicted():
    two = tuple(part[TEST[1] != "ok"] for part in TEST)
    record = linear_probe(Stub(), TRAIN, two)
    assert record["chance"] == pytest.approx(1 / 3)
    assert np.shape(record["confusion"]) == (3, 3)


# Penalties and classifiers that are chosen


def chosen_by_hand(candidates, Z, y, users):
    """The best on each of three people, learned from the other two."""
    scores = {}
    for name, candidate in candidates.items():
        each = []
        for user in np.unique(users):
            out = users == user
            y_pred = clone(candidate).fit(Z[~out], y[~out]).predict(Z[out])
            each.append(balanced_accuracy_score(y[out], y_pred))
        scores[name] = np.mean(each)
    return max(scores, key=scores.get)


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_a_penalty_is_chosen_on_people_left_out(seed):
    X, y, users = make_set(["anna", "ben", "carl"], n=15, seed=seed)
    Z = X.reshape(len(X), -1).astype("f4").astype(float)
    best = chosen_by_hand(
        {C: softmax_probe(C) for C in (0.001, 0.01, 0.1, 1.0)}, Z, y, users
    )
    record = linear_probe(Stub(), (X, y, users), TEST)
    assert record["settings"] == {"C": best, "max_iter": 2000}
    Z_test = flat(TEST)[0].astype("f4").astype(float)
    assert_array_equal(
        record["predictions"], softmax_probe(best).fit(Z, y).predict(Z_test)
    )


def test_classifiers_in_the_place_of_the_softmax_layer():
    candidates = linear_classifiers() | {"nearest": KNeighborsClassifier(1)}
    Z, y, users = flat(TRAIN)
    best = chosen_by_hand(candidates, Z, y, users)
    record = linear_probe(None, flat(TRAIN), flat(TEST), classifiers=candidates)
    assert record["settings"] == {"classifier": best}
    y_pred = fit_predict(candidates[best], Z, y, flat(TEST)[0])
    check_record(record, y_pred)
    only = {"nearest": KNeighborsClassifier(1)}
    record = linear_probe(None, flat(TRAIN), flat(TEST), classifiers=only, C="no")
    check_record(record, KNeighborsClassifier(1).fit(Z, y).predict(flat(TEST)[0]))


@pytest.mark.parametrize("C", [0, -1.0, np.nan, "best", None, True])
@pytest.mark.parametrize("cv", [None, 2])
def test_a_wrong_penalty_is_refused_before_any_fit(C, cv):
    Stub.n_calls = 0
    sets = (TRAIN,) if cv else (TRAIN, TEST)
    with pytest.raises(ValueError, match="C must be 'auto' or a number above 0"):
        linear_probe(Stub(), *sets, cv=cv, C=C)
    if cv:
        assert Stub.n_calls == 0


# Classifiers that learn from end to end


class Watched(ClassifierMixin, BaseEstimator):
    """The nearest mean of flattened windows; keeps what it was given."""

    seen = None

    def fit(self, X, y, groups=None):
        type(self).seen = X, y, groups
        self.names_ = np.unique(y)
        flat = np.reshape(X, (len(X), -1))
        self.means_ = np.stack([flat[y == name].mean(axis=0) for name in self.names_])
        return self

    def predict(self, X):
        off = np.reshape(X, (len(X), 1, -1)) - self.means_
        return self.names_[(off**2).sum(axis=2).argmin(axis=1)]


def test_supervised_against_its_parts():
    unfitted = Watched()
    record = supervised(unfitted, TRAIN, TEST, gestures="unseen")
    assert not hasattr(unfitted, "means_")
    for given, expected in zip(Watched.seen, TRAIN, strict=True):
        assert_array_equal(given, expected)
    means = np.stack([flat(TRAIN)[0][TRAIN[1] == name].mean(axis=0) for name in NAMES])
    nearest = KNeighborsClassifier(1).fit(means, NAMES)
    check_record(record, nearest.predict(flat(TEST)[0]))
    for key, value in {
        "method": "Watched",
        "protocol": "supervised",
        "gestures": "unseen",
        "settings": {},
        "n_people": "all",
        "n_labelled": 3,
    }.items():
        assert record[key] == value


def test_supervised_without_groups_and_under_a_name():
    pipe = make_pipeline(Stub(), KNeighborsClassifier(3))
    record = supervised(pipe, TRAIN, TEST, method="neighbours")
    expected = KNeighborsClassifier(3).fit(flat(TRAIN)[0].astype("f4"), TRAIN[1])
    check_record(record, expected.predict(flat(TEST)[0].astype("f4")))
    assert record["method"] == "neighbours"


def test_supervised_refuses():
    with pytest.raises(ValueError, match=r"share 3 user\(s\)"):
        supervised(Watched(), TRAIN, TRAIN)
    few = tuple(part[TRAIN[1] != "ok"] for part in TRAIN)
    with pytest.raises(ValueError, match="never given a name to learn from: ok"):
        supervised(Watched(), few, TEST)
