import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

from sk_cpep import AmplitudeFeatures


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.standard_normal((30, 4, 53)) * np.array([1, 3, 0.2, 9])[:, np.newaxis]


def in_bins(X, n_bins, statistic):
    bins = np.array_split(X, n_bins, axis=2)
    if statistic == "rms":
        return np.stack([np.sqrt((b**2).mean(axis=2)) for b in bins], axis=2)
    return np.stack([np.abs(b).mean(axis=2) for b in bins], axis=2)


@pytest.mark.parametrize("statistic", ["rms", "mav"])
@pytest.mark.parametrize("n_bins", [1, 10, 53])
@pytest.mark.parametrize("power", [0.5, 1.0, 2, "log"])
def test_against_numpy(X, n_bins, power, statistic):
    found = AmplitudeFeatures(n_bins, power, statistic=statistic).fit_transform(X)
    size = in_bins(X, n_bins, statistic)
    if power == "log":
        level = np.sqrt((X**2).mean(axis=(1, 2)))[:, np.newaxis, np.newaxis]
        expected = np.log(size + 1e-3 * level)
    else:
        expected = size**power
    assert_allclose(found, expected.reshape(30, -1), rtol=1e-10)


def test_defaults_are_the_square_root_of_the_rms_in_ten_bins(X):
    expected = np.sqrt(in_bins(X, 10, "rms")).reshape(30, -1)
    assert_allclose(AmplitudeFeatures().fit_transform(X), expected)


def test_hudgins_by_hand():
    x = np.array([[[1.0, -2.0, -1.0, 3.0, 3.0]]])
    Z = AmplitudeFeatures(1, 1.0, statistic="mav", extra=["hudgins"]).fit_transform(x)
    # Mean |x| 2; steps -3, 1, 4, 0: 8 / 4; two crossings of four; one turn of three.
    assert_allclose(Z, [[2.0, 2.0, 2.0, 2 / 4, 1 / 3]])


def test_small_steps_are_no_crossings():
    rng = np.random.default_rng(1)
    x = np.concatenate([[1000.0], rng.standard_normal(99) * 1e-3])
    shares = AmplitudeFeatures(1, extra=["hudgins"]).fit_transform(x[np.newaxis])[
        0, -2:
    ]
    assert_array_equal(shares <= [1 / 99, 1 / 98], True)


def test_log_covariance_against_scipy(X):
    Z = AmplitudeFeatures(1, extra=["log_covariance"]).fit_transform(X)[:, 4:]
    rows, columns = np.triu_indices(4)
    for x, z in zip(X, Z, strict=True):
        logarithm = np.zeros((4, 4))
        logarithm[rows, columns] = z / np.where(rows == columns, 1, 2**0.5)
        logarithm = logarithm + np.triu(logarithm, 1).T
        moments = x @ x.T / 53
        moments += 1e-3 * np.trace(moments) / 4 * np.eye(4)
        assert_allclose(expm(logarithm), moments, rtol=1e-8, atol=1e-8)
        # Lengths are those of the matrices.
        assert_allclose(np.linalg.norm(z), np.linalg.norm(logarithm))


def test_a_scaled_window_is_shifted_where_logarithms_are_taken(X):
    step = AmplitudeFeatures(5, "log", extra=["log_covariance"]).fit(X)
    shift = step.transform(X * 8) - step.transform(X)
    names = step.get_feature_names_out()
    of_bins = np.char.find(names.astype(str), "bin") >= 0
    diagonal = np.isin(names, [f"log_covariance_{c}_{c}" for c in range(4)])
    assert_allclose(shift[:, of_bins], np.log(8))
    assert_allclose(shift[:, diagonal], 2 * np.log(8))
    assert_allclose(shift[:, ~of_bins & ~diagonal], 0, atol=1e-10)


@pytest.mark.parametrize("value", [0, 1e-300, 1e-30, 1e150])
def test_dead_channels_and_any_unit_stay_finite(X, value):
    X = X * (value or 1)
    X[:, 2] = 0
    if value == 0:
        X[:] = 0
    step = AmplitudeFeatures(3, "log", extra=["hudgins", "log_covariance"])
    assert np.isfinite(step.fit_transform(X)).all()


def test_names_and_types(X):
    step = AmplitudeFeatures(2, extra=["hudgins", "log_covariance"])
    Z = step.fit_transform(X.astype(np.float32))
    assert Z.dtype == np.float32
    names = step.get_feature_names_out()
    assert Z.shape == (30, len(names)) == (30, 4 * 2 + 4 * 4 + 10)
    assert names[:3].tolist() == ["channel0_bin0", "channel0_bin1", "channel1_bin0"]
    frame = step.set_output(transform="pandas").fit_transform(X)
    assert frame.columns.tolist() == names.tolist()
    one = step.set_output(transform="default").fit_transform(X[:, 1])
    assert_allclose(one, step.fit_transform(X[:, 1:2]))


def test_many_windows_are_those_of_one_by_one(X):
    many = np.tile(X, (50, 1, 1))
    step = AmplitudeFeatures(extra=["hudgins", "log_covariance"]).fit(X)
    assert_array_equal(step.transform(many)[1200:1230], step.transform(X))


def test_recordings_of_several_lengths_are_a_window_each(X):
    step = AmplitudeFeatures(extra=["hudgins"]).fit(X)
    recordings = [X[0], X[1][:, :40]]
    expected = [step.transform(x[np.newaxis])[0] for x in recordings]
    assert_array_equal(step.transform(recordings), expected)


def test_errors(X):
    with pytest.raises(ValueError, match="53 samples are too short for n_bins=54"):
        AmplitudeFeatures(54).fit(X)
    with pytest.raises(ValueError, match=r"extra must hold some of"):
        AmplitudeFeatures(extra=["riemann"]).fit(X)
    with pytest.raises(ValueError, match="extra"):
        AmplitudeFeatures(extra="hudgins").fit(X)
    with pytest.raises(ValueError, match="NaN"):
        AmplitudeFeatures().fit(np.full((2, 3, 20), np.nan))
