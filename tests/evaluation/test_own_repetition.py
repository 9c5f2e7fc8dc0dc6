"""Classifiers of a person's own first repetitions, against loops written out."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from sk_cpep.evaluation import linear_classifiers, own_repetition
from sk_cpep.evaluation._classifiers import softmax_probe

NAMES = np.array(["fist", "ok", "point"])
SETS = {"in_distribution": ["fist", "ok"], "unseen": ["point"]}
ONLY = {"softmax": softmax_probe(0.1)}


def make_set(users, seed, n_turns=3, n=4):
    """Embeddings (n, 6), gestures, people and repetitions, in no order."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(users, np.arange(3), np.arange(n_turns) + 1, np.arange(n))
    who, codes, turns, _ = (part.ravel() for part in grid)
    centres = np.random.default_rng(7).normal(size=(3, 6))
    own = np.random.default_rng(8).normal(size=(30, 6))[who]
    Z = centres[codes] + own + 1.5 * rng.normal(size=(len(who), 6))
    order = rng.permutation(len(who))
    return Z[order], NAMES[codes][order], who[order], turns[order]


TRAIN, TEST = make_set(np.arange(5), 0), make_set([11, 12, 14], 1)


def named_by_hand(part, classifier, n):
    """Later windows: rows, and names by a classifier of the person's first ones."""
    Z, y, users, turns = part
    rows, names = [], []
    for user in np.unique(users):
        first = np.flatnonzero((users == user) & (turns <= n))
        later = np.flatnonzero((users == user) & (turns > n))
        rows.append(later)
        names.append(classifier.fit(Z[first], y[first]).predict(Z[later]))
    return np.concatenate(rows), np.concatenate(names)


def accuracies(y, y_pred, users):
    return {
        str(user): recall_score(
            y[users == user],
            y_pred[users == user],
            labels=np.unique(y[users == user]),
            average="macro",
        )
        for user in np.unique(users)
    }


@pytest.mark.parametrize("n", [1, 2])
def test_against_a_loop(n):
    records = own_repetition(
        TRAIN,
        TEST,
        sets=SETS,
        n_repetitions=n,
        classifiers=ONLY,
        method="mine",
        protocol="own_session",
    )
    rows, names = named_by_hand(TEST, softmax_probe(0.1), n)
    y, users = TEST[1][rows], TEST[2][rows]
    for record, (gestures, wanted) in zip(records, SETS.items(), strict=True):
        part = np.isin(y, wanted)
        expected = accuracies(y[part], names[part], users[part])
        assert record["per_user"] == pytest.approx(expected)
        assert record["mean"] == pytest.approx(np.mean(list(expected.values())))
        # All gestures may be named, though those of a set are asked for.
        counts = confusion_matrix(y[part], names[part], labels=NAMES)
        assert record["confusion"] == counts.tolist()
        assert record["predictions"] == names[part].tolist()
        assert record["chance"] == pytest.approx(1 / 3)
        for key, value in {
            "method": "mine",
            "protocol": "own_session",
            "gestures": gestures,
            "settings": {"classifier": "softmax"},
            "n_people": 0,
            "n_labelled": 0,
            "n_repetitions": n,
            "n_train": 3 * 3 * n * 4,
            "n_test": part.sum(),
        }.items():
            assert record[key] == value
        assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_classifier_is_that_of_the_training_people():
    candidates = linear_classifiers() | {"silly": softmax_probe(1e-9)}

    def best(part):
        scores = {}
        for name, candidate in candidates.items():
            rows, names = named_by_hand(part, candidate, 1)
            each = accuracies(part[1][rows], names, part[2][rows])
            scores[name] = np.mean(list(each.values()))
        return max(scores, key=scores.get)

    chosen = [
        own_repetition(train, TEST, sets=SETS, classifiers=candidates)[0]["settings"]
        for train in (TRAIN, make_set(np.arange(5), 6))
    ]
    assert chosen[0] == {"classifier": best(TRAIN)}
    assert chosen[1] == {"classifier": best(make_set(np.arange(5), 6))}
    assert best(TRAIN) != best(TEST)  # who would choose another


def test_nobody_learns_from_somebody_else():
    """What others are like changes nothing, given the classifier."""
    Z, y, users, turns = TEST
    alone = own_repetition(TRAIN, TEST, sets=SETS, classifiers=ONLY)
    strange = np.where((users == 12)[:, None], 100 - 7 * Z, Z)
    shifted = TRAIN[0] * 50 + 9, *TRAIN[1:]
    other = own_repetition(
        shifted, (strange, y, users, turns), sets=SETS, classifiers=ONLY
    )
    for a, b in zip(alone, other, strict=True):
        for user in ("11", "14"):
            assert a["per_user"][user] == b["per_user"][user]


def test_a_gesture_that_was_not_made_at_first_is_missed():
    Z, y, users, turns = TEST
    kept = ~((users == 11) & (y == "ok") & (turns == 1))
    part = tuple(column[kept] for column in TEST)
    seen, _ = own_repetition(TRAIN, part, sets=SETS, classifiers=ONLY)
    assert seen["per_user_recall"]["11"]["ok"] == 0
    only_fists = (users != 11) | (turns > 1) | (y == "fist")
    part = tuple(column[only_fists] for column in TEST)
    seen, new = own_repetition(TRAIN, part, sets=SETS, classifiers=ONLY)
    assert seen["per_user_recall"]["11"] == {"fist": 1, "ok": 0}
    assert new["per_user"]["11"] == 0


def test_lists_will_do():
    lists = [tuple(column.tolist() for column in part) for part in (TRAIN, TEST)]
    found = own_repetition(*lists, sets=SETS, classifiers=ONLY)
    assert found == own_repetition(TRAIN, TEST, sets=SETS, classifiers=ONLY)


def test_errors():
    with pytest.raises(ValueError, match=r"11 needs windows of the first 3 repetition"):
        own_repetition(make_set([1], 0, 4), TEST, sets=SETS, n_repetitions=3)
    with pytest.raises(ValueError, match=r"there are repetitions \[2, 3\]"):
        late = tuple(column[TRAIN[3] > 1] for column in TRAIN)
        own_repetition(late, TEST, sets=SETS)
    both = make_set([11, 2], 0)
    with pytest.raises(ValueError, match=r"share 1 user\(s\): 11"):
        own_repetition(both, TEST, sets=SETS)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        own_repetition((*TRAIN[:3], TRAIN[3][:-1]), TEST, sets=SETS)
    with pytest.raises(ValueError, match="gestures must be one of"):
        own_repetition(TRAIN, TEST, sets={"new": ["ok"]})
