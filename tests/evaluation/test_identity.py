"""People, recordings and gestures are the same whatever their type, in every protocol."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from sk_cpep.evaluation import (
    angular_error,
    check_disjoint,
    check_splits,
    linear_probe,
    macro_accuracy,
    merge_records,
    paper_splits,
    per_class_recall,
    per_user_accuracy,
    pose_regression,
    zero_shot,
    zero_shot_gallery,
)
from sk_cpep.zero_shot import ZeroShotClassifier, predict_excluding

Z = np.eye(4)
Y = ["fist", "ok", "fist", "ok"]
P = np.zeros((4, 20, 5))
SAME = {"allow_shared_users": True}
TYPES = [
    np.int8,
    np.uint64,
    np.float32,
    float,
    object,
    lambda x: pd.Series(x, dtype="Int64"),
    pd.Categorical,
    list,
]


def typed(values, kind):
    """Values in a type of numpy's, or what a function makes of them."""
    is_dtype = isinstance(kind, type) and kind not in (list, pd.Categorical)
    return np.array(values).astype(kind) if is_dtype else kind(values)


def spans(recordings):
    return {"recording": recordings, "start": np.zeros(4, int), "stop": np.ones(4, int)}


class Untouched:
    """An encoder that must not be asked."""

    def transform(self, X):
        raise AssertionError("asked for embeddings")

    transform_pose = predict = transform


@pytest.mark.parametrize("kind", TYPES)
def test_a_person_is_the_same_in_every_type(kind):
    users = typed([1, 2, 2, 3], kind)
    with pytest.raises(ValueError, match=r"share 1 user\(s\): 2\."):
        check_disjoint(np.array([2, 5]), users)
    for protocol in (linear_probe, zero_shot):
        with pytest.raises(ValueError, match=r"share 3 user\(s\): 1, 2, 3"):
            protocol(None, (Z, Y, [1, 2, 2, 3]), (Z, Y, users))
    with pytest.raises(ValueError, match="share 1 user"):
        pose_regression(P[0, :, 0], (P, P, users), train_users=[2])
    record = per_user_accuracy(Y, Y, users)
    assert list(record["per_user"]) == ["1", "2", "3"]
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("kind", TYPES)
def test_a_recording_is_the_same_in_every_type(kind):
    both = {
        "windows_train": spans(np.arange(4)),
        "windows_test": spans(typed(range(4), kind)),
    }
    with pytest.raises(
        ValueError, match=r"4 test window.*user 1, recording 0, \[0, 1\)"
    ):
        check_disjoint([1] * 4, np.ones(4), **both, **SAME)
    with pytest.raises(ValueError, match="could meet its own pose"):
        zero_shot(
            None,
            (Z, Y, [1] * 4),
            (Z, Y, [1.0] * 4),
            exclude=(list("efgh"), list("klmn")),
            gallery_windows=both["windows_train"],
            test_windows=both["windows_test"],
            **SAME,
        )


@pytest.mark.parametrize("kind", TYPES)
def test_a_query_never_meets_its_own_group_in_another_type(kind):
    classifier = ZeroShotClassifier(Flat(), 1).fit(Z, Y)
    expected = predict_excluding(classifier, Z, np.arange(4), np.arange(4))
    found = predict_excluding(classifier, Z, np.arange(4), typed(range(4), kind))
    assert found.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="gallery_groups .* query_groups text"):
        predict_excluding(classifier, Z, np.arange(4), list("0123"))


class Flat:
    def transform(self, X):
        return np.asarray(X)

    transform_pose = transform

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
@pytest.mark.parametrize(
    "users", [["1", "2", "3", None], [1, 2, 3, np.nan], ["a", "b", 1, "c"], [pd.NA] * 4]
)
@pytest.mark.parametrize("where", [0, 1])
def test_people_are_known_before_anything_is_embedded(protocol, users, where):
    sets = [(Z, Y, ["x"] * 4), (Z, Y, ["y"] * 4)]
    sets[where] = (Z, Y, users)
    with pytest.raises(ValueError, match="missing value|mixes ids"):
        protocol(Untouched(), *sets)


def test_numbers_and_text_are_not_compared():
    with pytest.raises(
        ValueError, match="users of train holds numbers.*users of test text"
    ):
        check_disjoint([1, 2], ["3"], **SAME)
    with pytest.raises(ValueError, match=r"As text, .* share 1 user\(s\): 2"):
        check_disjoint([1, 2], ["2"], **SAME)
    with pytest.raises(ValueError, match="recording.0. holds numbers"):
        check_disjoint(
            [1] * 4,
            [1] * 4,
            windows_train=spans(np.arange(4)),
            windows_test=spans(np.arange(4).astype(str)),
            **SAME,
        )
    with pytest.raises(ValueError, match="exclude.0., of gallery holds numbers"):
        zero_shot(
            None, (Z, Y, [1] * 4), (Z, Y, [2] * 4), exclude=(range(4), list("abcd"))
        )


def test_different_people_do_not_merge():
    users = [2**53, 2**53 + 1, "x"][:2]
    check_disjoint(users[:1], users[1:])
    assert per_user_accuracy(Y[:2], Y[:2], users)["n_users"] == 2
    check_disjoint(["anna"], ["anna "])
    found = angular_error(P, P, ["a", "a\0", "a ", "A"])
    assert found["n_users"] == 4


@pytest.mark.parametrize("users", [["a", None, "b", "b"], [1, np.nan, 2, 2]])
def test_missing_people_are_refused_by_name(users):
    for evaluate in (
        lambda: per_user_accuracy(Y, Y, users),
        lambda: per_class_recall(Y, Y, users),
        lambda: angular_error(P, P, users),
        lambda: pose_regression(Untouched(), (Z, P, users)),
        lambda: check_splits({"a": [0], "b": [2]}, users),
        lambda: paper_splits(users, Y, Y, Y),
        lambda: zero_shot_gallery(users, Y, Y, Y, range(4), queries=[0]),
    ):
        with pytest.raises(ValueError, match="users has 1 missing value.* first at 1"):
            evaluate()
    with pytest.raises(ValueError, match="sessions has 1 missing"):
        check_splits({"a": [0]}, ["x"] * 4, sessions=users)
    with pytest.raises(ValueError, match="moments has 1 missing"):
        zero_shot_gallery(Y, Y, Y, Y, users, queries=[0])


def test_splits_see_through_types():
    with pytest.raises(ValueError, match=r"a and b: .* share 1 user\(s\): 2"):
        check_splits({"a": [0, 1], "b": [2]}, np.array([1, 2, 2.0], dtype=object))
    with pytest.raises(ValueError, match="Session 7 belongs to 1 and to 2"):
        check_splits({"a": [0]}, [1, 2], sessions=np.array([7, 7.0], dtype=object))


def test_a_person_held_out_twice_is_found_in_any_type():
    test = (Z, Y, np.arange(4))
    runs = [
        [zero_shot(None, (Z, Y, [9] * 4), (*test[:2], u))]
        for u in (test[2], test[2] * 1.0)
    ]
    with pytest.raises(ValueError, match="Held out in more than one run: 0, 1, 2, 3"):
        merge_records(runs)


# Gestures


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
@pytest.mark.parametrize(
    "y, y_test, message",
    [
        (
            [1, 2, 1, 2],
            ["1", "2", "1", "2"],
            "learn from holds numbers.* test windows text",
        ),
        (
            ["a", "b", "a", None],
            Y,
            "y of the windows to learn from has 1 missing value",
        ),
        (Y, [np.nan, 1, 2, 3], "y of the test windows has 1 missing value"),
        (["1", 1, "1", 1], Y, "mixes ids that are text .* with numbers"),
    ],
)
def test_gestures_of_several_kinds(protocol, y, y_test, message):
    with pytest.raises(ValueError, match=message):
        protocol(Untouched(), (Z, y, [1] * 4), (Z, y_test, [2] * 4))


@pytest.mark.parametrize("protocol", [linear_probe, zero_shot])
@pytest.mark.parametrize("kind", TYPES[:-1])
def test_gestures_are_the_same_in_every_type(protocol, kind):
    y = np.array([1, 2, 1, 2])
    options = {"n_neighbors": 1} if protocol is zero_shot else {}
    expected = protocol(None, (Z, y, ["a"] * 4), (Z, y, ["b"] * 4), **options)
    found = protocol(None, (Z, y, ["a"] * 4), (Z, typed(y, kind), ["b"] * 4), **options)
    assert found == expected
    json.dumps(found, allow_nan=False)


def test_floats_among_floats_are_reported_as_they_were():
    y = np.array([1.0, 2.0, 1.0, 2.0])
    record = zero_shot(None, (Z, y, ["a"] * 4), (Z, y, ["b"] * 4), n_neighbors=1)
    assert repr(record["classes"]) == "[1.0, 2.0]"
    assert record["per_class_recall"] == {"1.0": 1.0, "2.0": 1.0}


def test_metrics_of_several_types():
    assert macro_accuracy([1, 2], np.array([1.0, 2.0])) == 1
    assert macro_accuracy(np.array([1, 2], dtype=object), [1, 2]) == 1
    assert macro_accuracy([b"a", b"b"], ["a", "b"]) == 1
    with pytest.raises(ValueError, match="y_pred has 1 missing"):
        macro_accuracy(["a", "b"], ["a", None])


@pytest.mark.parametrize(
    "y, message",
    [
        (["1", 1, 1, "1"], r"y mixes labels that are text .'1' at 0. with numbers"),
        (np.array([1, "a", 1, 1], dtype=object), "y mixes labels"),
        (["a", None, "b", "b"], "y has 1 missing value"),
        (pd.Series(["a", pd.NA, "b", "b"], dtype="string"), "y has 1 missing value"),
    ],
)
def test_the_classifier_names_labels_of_several_kinds(y, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=message):
            ZeroShotClassifier(Flat()).fit(Z, y)
        with pytest.raises(ValueError, match="classes mixes labels"):
            ZeroShotClassifier(Flat()).partial_fit(Z, [1, 2, 1, 2], classes=[1, 2, "1"])
