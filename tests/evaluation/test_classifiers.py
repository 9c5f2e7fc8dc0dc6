"""Classifiers on embeddings, and which of them is taken."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from sk_cpep.evaluation import linear_classifiers, linear_probe
from sk_cpep.evaluation._classifiers import (
    PENALTIES,
    EqualDiscriminant,
    best_on,
    choose_classifier,
    fit_predict,
    softmax_probe,
)

NAMES = np.array(["fist", "ok", "point"])


def make_set(users, n=30, seed=0, share=(0.6, 0.3, 0.1)):
    """Embeddings (n, 5), gestures that are not equally frequent, people."""
    rng = np.random.default_rng(seed)
    users = np.repeat(users, n)
    codes = rng.choice(3, size=len(users), p=share)
    centres = np.random.default_rng(7).normal(size=(3, 5))
    own = np.random.default_rng(8).normal(size=(20, 5))[users] * 0.7
    return centres[codes] + own + rng.normal(size=(len(users), 5)), NAMES[codes], users


Z, Y, USERS = make_set(np.arange(7))
Z_TEST = make_set([11, 12], seed=1)[0]


def test_every_gesture_counts_the_same():
    softmax = softmax_probe(0.1).fit(Z, Y).predict(Z_TEST)
    scaled = StandardScaler().fit(Z)
    plain = LogisticRegression(C=0.1, max_iter=2000)
    n = {name: (name == Y).sum() for name in NAMES}
    weight = np.array([len(Y) / (3 * n[name]) for name in Y])
    plain.fit(scaled.transform(Z), Y, sample_weight=weight)
    assert_array_equal(softmax, plain.predict(scaled.transform(Z_TEST)))


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_discriminant_takes_gestures_for_equally_likely(shrinkage, n_classes):
    rows = np.isin(Y, NAMES[:n_classes])
    lda = LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage).fit(Z[rows], Y[rows])
    score = lda.decision_function(Z_TEST)
    if n_classes == 2:
        # The difference of the two, of which their priors are taken off.
        score = score - np.log(lda.priors_[1] / lda.priors_[0])
        expected = lda.classes_[(score > 0).astype(int)]
    else:
        expected = lda.classes_[(score - np.log(lda.priors_)).argmax(axis=1)]
    found = EqualDiscriminant(shrinkage).fit(Z[rows], Y[rows])
    assert_array_equal(found.predict(Z_TEST), expected)


def test_one_window_of_each_gesture_is_enough():
    """The nearest of them is named."""
    rows = np.array([np.flatnonzero(name == Y)[0] for name in NAMES])
    scaler = StandardScaler().fit(Z[rows])
    off = scaler.transform(Z_TEST)[:, np.newaxis] - scaler.transform(Z[rows])
    expected = NAMES[(off**2).sum(axis=2).argmin(axis=1)]
    classifier = linear_classifiers()["discriminant, shrinkage=1"]
    assert_array_equal(fit_predict(classifier, Z[rows], Y[rows], Z_TEST), expected)


def test_a_gesture_may_have_a_single_window():
    rows = np.flatnonzero(Y != "point")
    rows = np.append(rows, np.flatnonzero(Y == "point")[0])
    for classifier in linear_classifiers().values():
        predicted = fit_predict(classifier, Z[rows], Y[rows], Z_TEST)
        assert set(predicted) <= set(NAMES)


def test_one_gesture_is_the_answer():
    only = Y == "ok"
    for classifier in linear_classifiers().values():
        assert set(fit_predict(classifier, Z[only], Y[only], Z_TEST)) == {"ok"}


def by_hand(candidates, folds):
    """Mean over people of their macro accuracy, by candidate."""
    scores = {}
    for name, candidate in candidates.items():
        each = []
        for out in folds:
            tested = np.isin(USERS, out)
            predicted = candidate.fit(Z[~tested], Y[~tested]).predict(Z[tested])
            for user in out:
                mine = USERS[tested] == user
                y = Y[tested][mine]
                each.append(
                    recall_score(
                        y, predicted[mine], labels=np.unique(y), average="macro"
                    )
                )
        scores[name] = np.mean(each)
    return scores


def test_chosen_is_the_best_on_people_left_out_by_thirds():
    candidates = linear_classifiers()
    chosen, scores = choose_classifier(candidates, Z, Y, USERS)
    expected = by_hand(candidates, [[0, 3, 6], [1, 4], [2, 5]])
    assert scores == pytest.approx(expected)
    assert expected[chosen] == max(expected.values())


def test_the_first_of_equals_and_one_person():
    twins = {"a": softmax_probe(1.0), "b": softmax_probe(1.0)}
    assert choose_classifier(twins, Z, Y, USERS)[0] == "a"
    mine = USERS == 3
    assert choose_classifier(linear_classifiers(), Z[mine], Y[mine], USERS[mine])[
        0
    ].startswith("discriminant")
    assert choose_classifier({"only": softmax_probe(1.0)}, Z, Y, USERS) == ("only", {})


def test_best_on_given_sets():
    candidates = {"a": softmax_probe(1.0), "b": softmax_probe(1e-6)}
    drawn = USERS == 2
    _, scores = best_on(candidates, Z, Y, USERS, [(drawn, ~drawn)])
    for name, candidate in candidates.items():
        predicted = candidate.fit(Z[drawn], Y[drawn]).predict(Z[~drawn])
        each = [
            recall_score(
                Y[user == USERS],
                predicted[USERS[~drawn] == user],
                labels=np.unique(Y[user == USERS]),
                average="macro",
            )
            for user in np.unique(USERS[~drawn])
        ]
        assert_allclose(scores[name], np.mean(each))


def test_the_penalty_of_a_probe_is_chosen_so():
    test = make_set([11, 12], seed=1)
    candidates = {C: softmax_probe(C) for C in PENALTIES}
    scores = by_hand(candidates, [[0, 3, 6], [1, 4], [2, 5]])
    best = max(scores, key=scores.get)
    record = linear_probe(None, (Z, Y, USERS), test)
    assert record["settings"] == {"C": best, "max_iter": 2000}
    assert_array_equal(
        record["predictions"], softmax_probe(best).fit(Z, Y).predict(test[0])
    )
    fixed = linear_probe(None, (Z, Y, USERS), test, C=0.5)
    assert fixed["settings"]["C"] == 0.5
    one = USERS == 0
    alone = linear_probe(None, (Z[one], Y[one], USERS[one]), test)
    assert alone["settings"]["C"] == 1.0
    other = linear_probe(None, (Z, Y, USERS), test, classifiers=linear_classifiers())
    assert other["settings"]["classifier"] in linear_classifiers()
    for wrong in (0, -1.0, "best", None, True):
        with pytest.raises(ValueError, match="C must be 'auto' or a number above 0"):
            linear_probe(None, (Z, Y, USERS), test, C=wrong)
