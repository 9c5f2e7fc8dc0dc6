import numpy as np
import pandas as pd
import pytest

from sk_cpep.evaluation import check_disjoint
from sk_cpep.evaluation._guard import _overlapping


def windows(*rows, kind=dict):
    columns = dict(
        zip(["recording", "start", "stop"], zip(*rows, strict=True), strict=True)
    )
    if kind is np.ndarray:
        dtype = [("recording", int), ("start", int), ("stop", int), ("purity", float)]
        return np.array([(*row, 1.0) for row in rows], dtype=dtype)
    return kind(columns)


def test_disjoint_users_pass():
    assert check_disjoint([1, 1, 2], [3]) is None
    check_disjoint(["anna"], ["ben"], windows_train=None)


def test_shared_users_are_named():
    with pytest.raises(
        ValueError, match=r"share 2 user\(s\): ben, carl\. Split by user"
    ):
        check_disjoint(["anna", "ben", "carl"], ["carl", "ben", "ben"])
    with pytest.raises(ValueError, match=r"20 user\(s\): 0, 1, .* and 10 more"):
        check_disjoint(range(20), range(20))
    check_disjoint(["anna"], ["anna"], allow_shared_users=True)


def test_a_number_is_the_same_user_as_its_name():
    with pytest.raises(ValueError, match="share 1 user"):
        check_disjoint([1, 2], ["2"])


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, np.ndarray])
def test_shared_samples_are_named(kind):
    train = windows((0, 0, 100), (0, 200, 300), (1, 0, 100), kind=kind)
    apart = windows((0, 100, 200), (2, 0, 100), kind=kind)
    meets = windows((0, 99, 199), (1, 100, 200), kind=kind)
    arguments = dict(windows_train=train, allow_shared_users=True)
    check_disjoint(["anna"] * 3, ["anna"] * 2, windows_test=apart, **arguments)
    with pytest.raises(ValueError, match=r"1 test .* anna, recording 0, \[99, 199\)"):
        check_disjoint(["anna"] * 3, ["anna"] * 2, windows_test=meets, **arguments)


def test_recordings_belong_to_a_person():
    same = windows((0, 0, 100))
    check_disjoint(["anna"], ["ben"], windows_train=same, windows_test=same)
    both = dict(windows_train=windows((0, 0, 100), (0, 0, 100)), windows_test=same)
    with pytest.raises(ValueError, match="user ben, recording 0"):
        check_disjoint(["anna", "ben"], ["ben"], allow_shared_users=True, **both)


def test_windows_must_be_complete():
    with pytest.raises(ValueError, match="both sets, or of neither"):
        check_disjoint([1], [2], windows_train=windows((0, 0, 1)))
    with pytest.raises(ValueError, match=r"missing: \['stop'\]"):
        part = {"recording": [0], "start": [0]}
        check_disjoint(
            [1], [1], windows_train=part, windows_test=part, allow_shared_users=True
        )


def test_overlap_against_every_pair():
    rng = np.random.default_rng(0)
    for _ in range(50):
        start = rng.integers(60, size=16)
        spans = np.column_stack([start, start + rng.integers(1, 12, size=16)])
        train, test = spans[:8], spans[8:]
        expected = [any(a < d and c < b for a, b in train) for c, d in test]
        assert _overlapping(train, test).tolist() == expected
