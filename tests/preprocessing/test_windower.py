import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sk_cpep.preprocessing import BandpassNotch, InstanceNorm, Windower


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, n)).astype(np.float32) for n in (50, 41, 20, 19)]


def brute_force(recordings, size, stride):
    return np.array(
        [
            x[:, start : start + size]
            for x in recordings
            for start in range(0, x.shape[1], stride)
            if start + size <= x.shape[1]
        ]
    )


@pytest.mark.parametrize("size, stride", [(10, 10), (10, 3), (7, 9), (19, 1), (1, 1)])
def test_windows_are_those_of_a_plain_loop(recordings, size, stride):
    W = Windower(size, stride).fit_transform(recordings)
    assert_array_equal(W, brute_force(recordings, size, stride))
    assert W.dtype == np.float32 and W.flags.c_contiguous and W.flags.writeable


def test_by_hand():
    W = Windower(3, stride=2).fit_transform([[[0, 1, 2, 3, 4, 5]], [[6, 7, 8]]])
    assert_array_equal(W[:, 0], [[0, 1, 2], [2, 3, 4], [6, 7, 8]])


def test_windows_touch_by_default(recordings):
    assert_array_equal(
        Windower(8).fit_transform(recordings), brute_force(recordings, 8, 8)
    )


def test_arrays_are_recordings_of_equal_length():
    X = np.random.default_rng(0).standard_normal((4, 3, 25))
    expected = brute_force(X, 10, 5)
    assert_array_equal(Windower(10, 5).fit_transform(X), expected)
    assert_array_equal(Windower(10, 5).fit_transform(list(X)), expected)
    assert_array_equal(Windower(10, 5).fit_transform(X[:, 0]), expected[:, :1])


def test_windows_share_no_memory_with_the_recordings(recordings):
    W = Windower(10, 5).fit_transform(recordings)
    before = [x.copy() for x in recordings]
    W[:] = 0
    for x, copy in zip(recordings, before):
        assert_array_equal(x, copy)


def test_short_recordings_are_counted(recordings):
    with pytest.warns(
        UserWarning,
        match="2 of 4 recordings are too short .* size=21 .*shortest has 19",
    ):
        W = Windower(21).fit_transform(recordings)
    assert_array_equal(W, brute_force(recordings, 21, 21))


def test_all_short_is_an_error(recordings):
    with pytest.raises(
        ValueError, match="size=51 samples fits: all 4 .*longest has 50"
    ):
        Windower(51).fit_transform(recordings)


@pytest.mark.parametrize("n_times", [0, 1])
def test_an_empty_recording_is_too_short(recordings, n_times):
    given = [recordings[0], np.zeros((3, n_times), dtype=np.float32), recordings[1]]
    with pytest.warns(UserWarning, match=f"1 of 3 .*shortest has {n_times}"):
        W = Windower(10).fit_transform(given)
    assert_array_equal(W, brute_force([given[0], given[2]], 10, 10))
    with pytest.raises(ValueError, match="all 2 recordings are too short"):
        Windower(10).fit_transform([given[1]] * 2)


def test_nan_is_refused_with_counts(recordings):
    estimator = Windower(10).fit(recordings)
    recordings[1][0, :2] = np.nan
    with pytest.raises(ValueError, match="2 NaN .* the first is recording 1"):
        estimator.transform(recordings)


def test_transform_learns_nothing(recordings):
    estimator = Windower(10).fit(recordings)
    before = dict(vars(estimator))
    estimator.transform(recordings[:2])
    assert vars(estimator) == before and estimator.n_features_in_ == 3


def test_other_channels_are_refused(recordings):
    with pytest.raises(
        ValueError, match="X has 2 features, but Windower is expecting 3"
    ):
        Windower(10).fit(recordings).transform([np.zeros((2, 50))])


@pytest.mark.parametrize(
    "params", [dict(size=0), dict(size=2.5), dict(size=3, stride=0)]
)
def test_parameters_are_checked(recordings, params):
    with pytest.raises(ValueError, match=f"'{list(params)[-1]}' parameter"):
        Windower(**params).fit(recordings)


def test_stands_in_a_pipeline():
    rng = np.random.default_rng(0)
    recordings = [rng.standard_normal((3, n)).astype(np.float32) for n in (900, 700)]
    steps = BandpassNotch(20, 450), Windower(200, 100), InstanceNorm()
    pipeline = pickle.loads(pickle.dumps(clone(make_pipeline(*steps)).fit(recordings)))
    expected = recordings
    for step in steps:
        expected = step.fit_transform(expected)
    W = pipeline.transform(recordings)
    assert_array_equal(W, expected)
    assert W.shape == (8 + 6, 3, 200) and W.dtype == np.float32
