"""Names of features, and data frames, out of the preprocessing steps."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline

from sk_cpep.preprocessing import BandpassNotch, InstanceNorm, Windower

pd = pytest.importorskip("pandas")

BANDPASS = BandpassNotch(2, 90, 60, sfreq=200)
STEPS = [BANDPASS, InstanceNorm(), InstanceNorm("window")]


@pytest.fixture
def frame():
    X = np.random.default_rng(0).normal(size=(6, 40))
    names = [f"t{i}" for i in range(40)]
    return pd.DataFrame(X, columns=names, index=list("abcdef"))


def class_name(step):
    return type(step).__name__


@pytest.mark.parametrize("step", STEPS, ids=class_name)
@pytest.mark.parametrize("method", ["transform", "fit_transform"])
def test_two_dimensions_become_a_frame(step, frame, method):
    expected = clone(step).fit_transform(frame.to_numpy())
    step = clone(step).set_output(transform="pandas").fit(frame)
    found = getattr(step, method)(frame)
    pd.testing.assert_frame_equal(
        found, pd.DataFrame(expected, columns=frame.columns, index=frame.index)
    )
    assert isinstance(step.set_output(transform="default").transform(frame), np.ndarray)


@pytest.mark.parametrize("step", [*STEPS, Windower(5)], ids=class_name)
def test_windows_and_lists_stay_as_they_are(step):
    X = np.random.default_rng(0).normal(size=(3, 2, 40))
    expected = step.fit_transform(X)
    with sklearn.config_context(transform_output="pandas"):
        assert_array_equal(clone(step).fit_transform(X), expected)
        for x, z in zip(clone(step).fit_transform(list(X)), expected):
            assert isinstance(x, np.ndarray)
            assert_array_equal(x, z)


@pytest.mark.parametrize("step", STEPS, ids=class_name)
def test_stands_in_a_column_transformer(step, frame):
    early, late = frame.columns[:25].tolist(), frame.columns[25:].tolist()
    columns = ColumnTransformer(
        [("late", step, late), ("early", step, early)], verbose_feature_names_out=False
    ).set_output(transform="pandas")
    found = columns.fit_transform(frame)
    assert found.columns.tolist() == late + early
    assert found.index.tolist() == frame.index.tolist()
    for part in (late, early):
        by_hand = clone(step).fit_transform(frame[part].to_numpy())
        assert_array_equal(found[part], by_hand)


def test_names_go_through_a_pipeline(frame):
    steps = BANDPASS, Windower(10), InstanceNorm()
    pipe = clone(make_pipeline(*steps)).set_output(transform="pandas")
    assert pipe.fit(frame).get_feature_names_out().tolist() == ["windower0"]
    assert pipe.transform(frame).shape == (24, 1, 10)
    pipe.fit([np.random.default_rng(0).normal(size=(3, 50))])
    assert pipe.get_feature_names_out().tolist() == ["x0", "x1", "x2"]
    assert pipe.get_feature_names_out(["a", "b", "c"]).tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="input_features should have length equal"):
        pipe.get_feature_names_out(["a", "b"])


@pytest.mark.parametrize("step", [*STEPS, Windower(5)], ids=class_name)
@pytest.mark.parametrize("other", [list, np.asarray])
def test_names_are_forgotten(step, frame, other):
    step = clone(step).fit(frame)
    assert_array_equal(step.feature_names_in_, frame.columns)
    step.fit(other(np.random.default_rng(0).normal(size=(3, 2, 50))))
    assert not hasattr(step, "feature_names_in_")
    assert step.get_feature_names_out().tolist() == ["x0", "x1"]
