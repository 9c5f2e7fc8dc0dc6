import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sk_cpep.preprocessing import InstanceNorm


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    gain = np.array([1.0, 10.0, 100.0])[:, np.newaxis]
    return rng.standard_normal((6, 3, 200)) * gain + 3 * gain


def zscore(x, axis):
    x = x.astype(np.float64)
    return (x - x.mean(axis=axis, keepdims=True)) / x.std(axis=axis, keepdims=True)


@pytest.mark.parametrize("scale", [1e-7, 1, 1e9])
@pytest.mark.parametrize("over, axis", [("channel", -1), ("window", (-2, -1))])
def test_is_the_z_score_in_any_unit(X, over, axis, scale):
    assert_allclose(
        InstanceNorm(over).fit_transform(X * scale), zscore(X * scale, axis), atol=1e-12
    )


def test_window_keeps_the_channels_relative_amplitudes(X):
    Z = InstanceNorm("window").fit_transform(X)
    assert_allclose(Z.std(axis=2) / Z.std(axis=2)[:, :1], X.std(2) / X.std(2)[:, :1])
    assert np.abs(Z.mean(axis=2)).min() > 0.1


def test_windows_do_not_see_one_another(X, monkeypatch):
    whole = InstanceNorm().fit_transform(X)
    assert_array_equal(InstanceNorm().fit(X).transform(X[2:3]), whole[2:3])
    monkeypatch.setattr("sk_cpep.preprocessing._recordings.BLOCK_SAMPLES", 1300)
    assert_array_equal(InstanceNorm().fit_transform(X), whole)


@pytest.mark.parametrize("over, axis", [("channel", -1), ("window", (-2, -1))])
def test_recordings_are_normalised_as_a_whole(X, over, axis):
    recordings = [X[0], X[1][:, :77]]
    Z = InstanceNorm(over).fit_transform(recordings)
    assert isinstance(Z, list)
    for x, z in zip(recordings, Z):
        assert_allclose(z, zscore(x, axis), atol=1e-12)


@pytest.mark.parametrize("over", ["channel", "window"])
def test_rows_of_a_2d_array_are_windows_of_one_channel(X, over):
    assert_allclose(InstanceNorm(over).fit_transform(X[:, 1]), zscore(X[:, 1], -1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0, 1e6 + 0.1, -0.1, 1e-30, 1e30, 1 / 3])
@pytest.mark.parametrize("n_times", [1, 7, 4000])
def test_flat_is_exactly_zero(value, dtype, n_times):
    X = np.full((2, 3, n_times), value, dtype=dtype)
    for over in ("channel", "window"):
        Z = InstanceNorm(over, eps=0).fit_transform(X)
        assert Z.dtype == dtype
        assert_array_equal(Z, 0)


def test_a_flat_channel_leaves_the_others_alone(X):
    expected = InstanceNorm().fit_transform(X)
    X[2, 1] = 1e6 + 0.1
    Z = InstanceNorm().fit_transform(X)
    assert_array_equal(Z[2, 1], 0)
    Z[2, 1] = expected[2, 1]
    assert_array_equal(Z, expected)


def test_eps_is_relative_to_the_largest_value():
    x = 1e6 + 1e-3 * np.sin(np.arange(300.0))[np.newaxis]
    assert_array_equal(InstanceNorm(eps=1e-8).fit_transform(x), 0)
    assert_allclose(InstanceNorm(eps=1e-10).fit_transform(x).std(), 1, rtol=1e-6)


def test_float32_takes_its_statistics_in_float64():
    x = np.random.default_rng(0).standard_normal((1, 2, 5000)).astype(np.float32) + 1000
    Z = InstanceNorm().fit_transform(x)
    assert Z.dtype == np.float32
    assert_array_equal(Z, InstanceNorm().fit_transform(x.astype(float)).astype("f4"))
    assert_allclose(Z, zscore(x, -1), atol=1e-6)


def test_input_is_left_as_it_was(X):
    before = X.copy()
    InstanceNorm().fit_transform(X)
    assert_array_equal(X, before)


def test_clone_and_pickle(X):
    estimator = clone(InstanceNorm("window", eps=1e-6)).fit(X)
    assert_array_equal(
        pickle.loads(pickle.dumps(estimator)).transform(X), estimator.transform(X)
    )


def test_refuses_nan_and_unknown_parameters(X):
    with pytest.raises(ValueError, match="'over' parameter"):
        InstanceNorm("time").fit(X)
    with pytest.raises(ValueError, match="'eps' parameter"):
        InstanceNorm(eps=-1).fit(X)
    estimator = InstanceNorm().fit(X)
    X[4, 0, :3] = np.nan
    with pytest.raises(ValueError, match="3 NaN .* the first is recording 4"):
        estimator.transform(X)


def test_float32_constants_up_to_rounding_are_flat(X):
    x = np.full((1, 2, 500), 2047.3, dtype=np.float32)
    x[0, 1, ::2] = np.nextafter(x[0, 0, 0], np.float32(3000))
    assert_array_equal(InstanceNorm().fit_transform(x), 0)
    assert InstanceNorm().fit(x).n_dead_.tolist() == [1, 1]


def test_a_dead_channel_among_others_over_the_window(X):
    X[:, 1] = 0
    Z = InstanceNorm("window").fit_transform(X)
    assert_allclose(Z, zscore(X, (-2, -1)), atol=1e-12)
    assert_array_equal(np.ptp(Z[:, 1], axis=1), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("over, axis", [("channel", -1), ("window", (-2, -1))])
def test_long_recordings_are_normalised_as_short_ones(monkeypatch, over, axis, dtype):
    x = np.random.default_rng(0).normal(3, size=(1, 3, 10_007)).astype(dtype)
    whole = InstanceNorm(over).fit_transform(x)
    assert_allclose(whole, zscore(x, axis), rtol=1e-5, atol=1e-6)
    for size in (1000, 8192):
        monkeypatch.setattr("sk_cpep.preprocessing._recordings.BLOCK_SAMPLES", size)
        monkeypatch.setattr("sk_cpep.preprocessing._norm.BLOCK_SAMPLES", size)
        # Older versions of numpy sum in another order.
        rtol = np.finfo(dtype).eps
        found = InstanceNorm(over).fit_transform(x)
        assert_allclose(found, whole, rtol=8 * rtol, atol=8 * rtol)


@pytest.mark.parametrize("value", [1e308, 1e-308])
def test_values_near_the_limits_of_float64(X, value):
    x = np.round(X / np.abs(X).max(), 3)
    expected = InstanceNorm().fit_transform(x)
    assert_allclose(InstanceNorm().fit_transform(x * value), expected, atol=1e-12)
