"""Groups of a fit: the same people whatever their type, and none of them missing."""

import datetime

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sk_cpep import PoseT

PEOPLE = np.repeat([1, 2, 3, 4], 6)


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    X, P = rng.normal(size=(24, 2, 20)), rng.normal(size=(24, 2, 8))
    return X.astype(np.float32), P.astype(np.float32)


@pytest.mark.parametrize(
    "groups, message",
    [
        (
            np.where(PEOPLE == 2, np.nan, PEOPLE),
            r"6 missing value.* 24 .* first at 6 \(nan",
        ),
        (np.where(PEOPLE == 2, None, PEOPLE), r"6 missing value.* first at 6 \(None"),
        (pd.Series(PEOPLE, dtype="Int64").where(PEOPLE != 4), "6 missing value"),
        (pd.Categorical(["a", None] * 12), "12 missing value"),
        (np.ma.array(PEOPLE, mask=PEOPLE == 1), "6 missing value"),
        ([datetime.datetime(2024, 1, 1), pd.NaT] * 12, "12 missing value"),
        ([1, "1"] * 12, "groups mixes ids"),
        ([(1, 2)] * 24, r"shape \(24, 2\)"),
        (PEOPLE[:5], "groups has 5 entries for 24 windows"),
    ],
)
def test_groups_that_are_none(windows, small_cpep, groups, message):
    X, P = windows
    for estimator in (small_cpep(), PoseT(patch_length=4, max_epochs=1)):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, P, groups=groups)
        assert not hasattr(estimator, "module_")


def test_groups_are_the_same_in_every_type(windows, small_cpep):
    X, P = windows
    options = dict(emg_init="random", pose_init="random", max_epochs=1, batch_size=4)

    def embedded(groups):
        return small_cpep(**options).fit(X, P, groups=groups).transform(X)

    expected = embedded(PEOPLE)
    assert not np.array_equal(expected, embedded(None))
    for groups in (
        PEOPLE * 1.0,
        pd.Series(PEOPLE, dtype="Int64"),
        PEOPLE[:, np.newaxis],
        [f"p{person}" for person in PEOPLE],
        pd.Categorical(PEOPLE),
        PEOPLE.astype(object),
        PEOPLE.astype("S"),
    ):
        assert_array_equal(embedded(groups), expected)
