"""Finite values that float32 cannot hold or square are refused, as NaN is."""

import numpy as np
import pytest
from lazy_windows import Lazy
from small_estimators import small

from sk_cpep import ZeroShotClassifier

LARGEST = np.sqrt(np.finfo(np.float32).max)
VALUES = [
    (9.96921e36, np.float32),  # netCDF's fill value
    (-1e30, np.float32),
    (1e20, np.float64),
    (1e300, np.float64),
    (-1e39, np.float64),
]


@pytest.fixture
def make(small_mae, small_cpep):
    made = {
        "mae": small_mae(),
        "cpep": small_cpep(),
        "PoseT": small("PoseT"),
    }
    return made.get


@pytest.fixture(params=["mae", "cpep", "PoseT"])
def estimator(request, make):
    return make(request.param)


def spoilt(X, value, dtype):
    X = X.astype(dtype)
    X[3, 1, 7] = value
    X[9, 0, 2] = value
    return X


def refused(job, *given):
    with pytest.raises(ValueError, match="float32 cannot square: 2 of") as caught:
        job(*given)
    assert "window 3 with" in str(caught.value)
    assert "InstanceNorm" in str(caught.value)


@pytest.mark.parametrize(("value", "dtype"), VALUES)
def test_emg(windows, estimator, value, dtype):
    X, P = windows[:2]
    bad = spoilt(X, value, dtype)
    refused(estimator.fit, bad, P)
    fitted = estimator.fit(X, P)
    refused(fitted.score, bad, P)
    for name in ("transform", "predict", "reconstruct"):
        if hasattr(fitted, name):
            refused(getattr(fitted, name), bad)


@pytest.mark.parametrize("name", ["cpep", "PoseT"])
@pytest.mark.parametrize(("value", "dtype"), VALUES)
def test_poses(windows, make, name, value, dtype):
    (X, P, *_), estimator = windows, make(name)
    bad = spoilt(P, value, dtype)
    refused(estimator.fit, X, bad)
    fitted = estimator.fit(X, P)
    refused(fitted.score, X, bad)
    if hasattr(fitted, "transform_pose"):
        refused(fitted.transform_pose, bad)


@pytest.mark.parametrize(("value", "dtype"), VALUES)
def test_windows_that_are_read_batch_by_batch(windows, estimator, value, dtype):
    X, P = windows[:2]
    bad = Lazy(spoilt(X, value, dtype))
    with pytest.raises(ValueError, match="float32 cannot square"):
        estimator.fit(bad, P)
    with pytest.raises(ValueError, match="cannot square: 1 of 8 .* window 3 with"):
        estimator.fit(X, P).transform(bad)


def test_zero_shot(windows, small_cpep):
    X, P, names, _ = windows
    zero = ZeroShotClassifier(small_cpep().fit(X, P), n_neighbors=3).fit(P, names)
    refused(zero.fit, spoilt(P, 1e25, np.float64), names)
    refused(zero.predict, spoilt(X, 1e25, np.float64))


@pytest.mark.parametrize("value", [0.999 * LARGEST, -1e19])
def test_what_can_be_squared_gives_finite_results_or_an_error(
    windows, small_mae, value
):
    X = windows[0]
    mae = small_mae().fit(X)
    for job in (mae.transform, mae.score):
        try:
            assert np.isfinite(job(spoilt(X, value, np.float64))).all()
        except ValueError as error:
            assert "NaN or infinity for" in str(error)


def test_whole_numbers_are_taken(windows, small_mae):
    mae = small_mae().fit(windows[0])
    X = np.full(windows[0].shape, 2**62)
    assert np.isfinite(mae.transform(X)).all()
