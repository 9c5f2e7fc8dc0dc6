"""Windows know which recordings they are of, for as long as that is true."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array, resample, shuffle

from sk_cpep import BandpassNotch, InstanceNorm, Windower
from sk_cpep.preprocessing._origin import origin_of


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return Windower(10, 5).fit_transform([rng.normal(size=(3, n)) for n in (23, 8, 40)])


def told(windows):
    """Recording of each window, None where it is not known."""
    origin = origin_of(windows)
    return None if origin is None else origin.recordings.tolist()


EXPECTED = [0] * 3 + [2] * 7


@pytest.mark.filterwarnings("ignore:1 of 3 recordings are too short")
def test_windower_says_where_windows_are_of(X):
    assert told(X) == EXPECTED
    origin = origin_of(X)
    assert origin.counts.tolist() == [3, 0, 7]
    assert origin.lengths.tolist() == [23, 8, 40]
    assert (origin.size, origin.stride) == (10, 5)
    equally_long = Windower(4).fit_transform(np.zeros((2, 3, 9)))
    assert told(equally_long) == [0, 0, 1, 1]


def in_place(X):
    X *= 2
    X -= X.mean(axis=0)
    return np.sqrt(np.abs(X), out=X)


@pytest.mark.filterwarnings("ignore:1 of 3 recordings are too short")
@pytest.mark.parametrize(
    "change",
    [
        lambda X: X,
        np.abs,
        lambda X: X - X.mean(axis=2, keepdims=True),
        lambda X: (X / X.std(axis=(1, 2), keepdims=True)).astype(np.float32),
        lambda X: np.arange(10)[:, None, None] * X,
        lambda X: np.clip(X, -1, 1),
        lambda X: np.multiply(X, 2, where=X > -9, out=np.zeros_like(X)),
        lambda X: X[:, :2],
        lambda X: X[:, [2, 0], ::2],
        lambda X: X.copy(),
        lambda X: X.astype(float, copy=False),
        in_place,
        lambda X: pickle.loads(pickle.dumps(X)),
        lambda X: pickle.loads(pickle.dumps(X, protocol=5)),
        InstanceNorm().fit_transform,
        BandpassNotch(2, 40, None, sfreq=100, n_jobs=2).fit_transform,
    ],
)
def test_what_leaves_rows_in_place_keeps_it(X, change):
    changed = change(X)
    assert told(changed) == EXPECTED
    assert isinstance(changed, np.ndarray)


def shuffled(X):
    np.random.default_rng(0).shuffle(X)
    return X


def sorted_in_place(X):
    X.sort(axis=0)
    return X


def overwritten(X):
    np.copyto(X, X[::-1].copy())
    return X


def assigned(X):
    X[:2] = X[2:4]
    return X


def reshaped(X):
    X.shape = (10, 10, 3)
    return X


@pytest.mark.filterwarnings("ignore:1 of 3 recordings are too short")
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda X: X[::-1],
        lambda X: X[np.random.default_rng(0).permutation(10)],
        lambda X: X[np.ones(10, bool)],
        lambda X: X[:, None, 0],
        lambda X: np.concatenate([X[5:], X[:5]]),
        lambda X: np.roll(X, 1, axis=0),
        lambda X: np.flip(X, axis=0),
        lambda X: np.take(X, range(9, -1, -1), axis=0),
        lambda X: np.sort(X, axis=0),
        lambda X: np.add.accumulate(X, axis=0),
        lambda X: np.add(X[::-1], 0, out=X),
        lambda X: X + Windower(10).fit_transform(np.ones((10, 3, 10))),
        lambda X: X[:1] + np.zeros((10, 1, 1)),
        lambda X: X.reshape(10, 10, 3),
        lambda X: X.transpose(0, 2, 1),
        lambda X: X[:, :, :0],
        shuffle,
        resample,
        shuffled,
        sorted_in_place,
        overwritten,
        assigned,
        reshaped,
        lambda X: check_array(X, allow_nd=True),
    ],
)
def test_anything_else_forgets_it(X, change):
    changed = change(X)
    assert len(changed) == 10
    assert told(changed) is None


@pytest.mark.filterwarnings("ignore:1 of 3 recordings are too short")
def test_windows_are_an_array_as_any_other(X, tmp_path):
    plain = np.array(X)
    assert type(plain) is np.ndarray and np.shares_memory(np.asarray(X), X)
    for function in (np.sum, np.std, np.square, np.argmax, copy.deepcopy):
        assert_array_equal(function(X), function(plain))
    assert_array_equal(X @ np.eye(10), plain)
    assert_array_equal(np.divmod(X, 2)[1], np.divmod(plain, 2)[1])
    np.add.at(X, 0, 1)
    assert_array_equal(X[0], plain[0] + 1)
    np.save(tmp_path / "x.npy", X)
    assert_array_equal(np.load(tmp_path / "x.npy"), X)


@pytest.mark.filterwarnings("ignore:1 of 3 recordings are too short")
@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_keeps_it(X, tmp_path, mmap_mode):
    joblib.dump(X, tmp_path / "x")
    loaded = joblib.load(tmp_path / "x", mmap_mode=mmap_mode)
    assert told(loaded) == EXPECTED
    assert_array_equal(loaded, X)


def test_through_a_pipeline_with_memory(tmp_path):
    recordings = [np.random.default_rng(0).normal(size=(2, n)) for n in (30, 20)]
    pipe = make_pipeline(
        Windower(10),
        InstanceNorm(),
        FunctionTransformer(np.abs),
        memory=str(tmp_path),
    )
    for _ in range(2):
        assert told(pipe.fit_transform(recordings)) == [0, 0, 0, 1, 1]
