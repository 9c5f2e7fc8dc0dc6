import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from sk_cpep.evaluation import (
    macro_accuracy,
    per_class_recall,
    per_user_accuracy,
    summarise_people,
)


def test_macro_accuracy_by_hand():
    y_true = ["a", "a", "a", "a", "b", "c"]
    y_pred = ["a", "a", "a", "d", "b", "a"]
    assert macro_accuracy(y_true, y_pred) == pytest.approx((3 / 4 + 1 + 0) / 3)


def test_macro_accuracy_counts_gestures_not_windows():
    y_true = np.repeat([0, 1], [990, 10])
    assert macro_accuracy(y_true, np.zeros(1000, int)) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_macro_accuracy_is_balanced_accuracy(seed):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(4, size=(2, 60))
    expected = balanced_accuracy_score(y_true, y_pred)
    assert macro_accuracy(y_true, y_pred) == pytest.approx(expected)


@pytest.mark.parametrize(
    "y_true, y_pred, message",
    [
        ([], [], "y_true is empty"),
        ([1, 2], [1], "inconsistent"),
        ([1, 2], ["1", "2"], "same names"),
    ],
)
def test_macro_accuracy_refuses(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        macro_accuracy(y_true, y_pred)


def test_per_user_accuracy_by_hand():
    users = np.repeat([7, 3, 5], 4)
    y_true = np.tile([0, 0, 0, 1], 3)
    y_pred = [0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    summary = per_user_accuracy(y_true, y_pred, users)
    values = [1, 2 / 3, 1 / 2]
    assert summary["per_user"] == pytest.approx({"7": 1, "3": 2 / 3, "5": 1 / 2})
    assert summary["mean"] == pytest.approx(sum(values) / 3)
    variance = sum((v - sum(values) / 3) ** 2 for v in values) / 2
    assert summary["sd"] == pytest.approx(variance**0.5)
    assert (summary["worst_user"], summary["worst"]) == ("5", 0.5)
    assert summary["percentile_10"] == pytest.approx(0.5 + 0.2 * (2 / 3 - 0.5))
    assert summary["n_users"] == 3
    assert json.loads(json.dumps(summary)) == summary


def test_per_user_accuracy_of_one_person():
    assert per_user_accuracy([0, 1], [0, 0], ["a", "a"])["sd"] is None


def test_a_person_is_judged_on_the_gestures_they_have():
    summary = per_user_accuracy([0, 1, 1], [0, 1, 0], ["a", "a", "b"])
    assert summary["per_user"] == {"a": 1.0, "b": 0.0}


def test_recall_of_a_class_is_a_mean_over_those_who_have_it():
    rng = np.random.default_rng(0)
    users = np.repeat(["a", "b", "c"], 50)
    y_true, y_pred = rng.integers(4, size=(2, 150))
    y_true[users == "b"] = np.minimum(y_true[users == "b"], 2)  # has no 3
    expected = {}
    for code in range(4):
        people = [u for u in "abc" if (y_true[users == u] == code).any()]
        recalls = [
            recall_score(
                y_true[users == u], y_pred[users == u], labels=[code], average=None
            )[0]
            for u in people
        ]
        expected[str(code)] = np.mean(recalls)
    found = per_class_recall(y_true, y_pred, users)
    assert found == pytest.approx(expected)
    assert json.loads(json.dumps(found)) == found


def test_recall_refuses():
    with pytest.raises(ValueError, match="inconsistent"):
        per_class_recall([0, 1], [0, 1], ["a"])


def test_summary_of_an_error():
    summary = summarise_people({"a": 3.0, "b": 1.0, "c": 2.0}, lower_is_better=True)
    assert (summary["worst_user"], summary["worst"]) == ("a", 3.0)
    assert summary["percentile_90"] == pytest.approx(2.8)
    assert "percentile_10" not in summary
    low, high = summary["interval"]
    assert 1 <= low < 2 < high <= 3
