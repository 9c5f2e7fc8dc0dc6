"""Window arrays behave as the arrays they stand for, and read nothing too early."""

import copy
import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.utils import resample, shuffle

from sk_cpep.datasets import WindowArray


class Recordings:
    """A source in memory that counts what is read."""

    n_channels = 3

    def __init__(self, n=4, n_times=50):
        self.data = np.random.default_rng(0).normal(size=(n, 3, n_times)).astype("f4")
        self.reads = []

    def read(self, recordings, starts, n_times):
        self.reads.append(len(starts))
        out = [self.data[r, :, s : s + n_times] for r, s in zip(recordings, starts)]
        return np.stack(out) if out else np.empty((0, 3, n_times), np.float32)


@pytest.fixture
def source():
    return Recordings()


@pytest.fixture
def X(source):
    recordings, starts = np.repeat(np.arange(4), 5), np.tile(np.arange(0, 45, 9), 4)
    return WindowArray(source, recordings, starts, n_times=8)


@pytest.fixture
def truth(source):
    return np.stack(
        [source.data[r, :, s : s + 8] for r in range(4) for s in range(0, 45, 9)]
    )


def test_size_in_memory_is_that_of_the_index(X, source):
    assert sys.getsizeof(X) - sys.getsizeof(X[:0]) == 20 * 2 * 8
    assert source.reads == []


def test_describes_itself_without_reading(X, source):
    assert X.shape == (20, 3, 8)
    assert (X.ndim, X.dtype, len(X), X.size) == (3, np.float32, 20, 480)
    assert X.nbytes == 480 * 4
    assert repr(X) == "WindowArray(shape=(20, 3, 8), dtype=float32, unread)"
    assert source.reads == []


@pytest.mark.parametrize("index", [0, 7, -1, np.int64(3), np.uint8(19)])
def test_an_integer_reads_a_window(X, truth, source, index):
    window = X[index]
    assert isinstance(window, np.ndarray)
    assert window.dtype == np.float32
    assert_array_equal(window, truth[index])
    assert source.reads == [1]


MASK = np.arange(20) % 3 == 0
KEYS = {
    "slice": slice(2, 9),
    "reversed": slice(None, None, -1),
    "everything": slice(None),
    "nothing": slice(5, 5),
    "list": [4, 4, -1, 0],
    "indices": np.array([19, 3, 3]),
    "no indices": [],
    "mask": MASK,
    "list of bool": MASK.tolist(),
    "scikit-learn's": (np.array([6, 2]), Ellipsis),
    "with slices": (slice(1, 4), slice(None), slice(None)),
    "ellipsis": Ellipsis,
    "int32": np.array([1, 2], np.int32),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_selection_reads_nothing_and_selects_as_an_array_does(X, truth, source, key):
    view = X[key]
    assert isinstance(view, WindowArray)
    assert view.source is source
    assert source.reads == []
    assert view.shape == truth[key].shape
    assert_array_equal(np.asarray(view), truth[key])


def test_selections_of_selections(X, truth):
    assert_array_equal(X[3:18][::-2][[1, 4]], truth[3:18][::-2][[1, 4]])
    assert_array_equal(X[MASK][-1], truth[MASK][-1])


def test_a_batch_is_one_read(X, truth, source):
    batch = X.__getitems__([5, -1, 5, 0])
    assert isinstance(batch, np.ndarray)
    assert_array_equal(batch, truth[[5, -1, 5, 0]])
    assert X.__getitems__([]).shape == (0, 3, 8)
    assert_array_equal(X.__getitems__(MASK), truth[MASK])
    assert source.reads == [4, 0, MASK.sum()]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (20, "index 20 is out of range for 20 windows"),
        (-21, "index -21 is out of range"),
        ([0, 99], "index 99 is out of range"),
        (MASK[:-1], "a mask of 19 for 20 windows"),
        ([0.0, 1.0], "integers or a mask, got float64"),
        ([[0, 1]], r"index of shape \(1, 2\)"),
        (True, r"index of shape \(\)"),
        ((slice(None), 1), "indexed by window only"),
        ((0, 1), "indexed by window only"),
        ((0, slice(None), slice(0, 2)), "indexed by window only"),
    ],
)
def test_wrong_indices(X, source, key, said):
    with pytest.raises(IndexError, match=said):
        X[key]
    assert source.reads == []


def test_becomes_an_array_only_when_asked(X, truth):
    assert_array_equal(np.asarray(X), truth)
    assert np.asarray(X).dtype == np.float32
    assert np.asarray(X, dtype=np.float64).dtype == np.float64
    assert_array_equal(list(X), truth)
    with pytest.raises(ValueError, match="always a copy"):
        X.__array__(copy=False)


def test_wrong_indices_to_begin_with(source):
    with pytest.raises(ValueError, match="recordings has 2 entries, starts has 1"):
        WindowArray(source, [0, 1], [0], 8)
    with pytest.raises(ValueError, match="starts has to be one integer per window"):
        WindowArray(source, [0, 1], [0.0, 1.0], 8)
    assert len(WindowArray(source, [], [], 8)) == 0


def test_pickles_and_copies(X, truth):
    for twin in (pickle.loads(pickle.dumps(X[2:])), copy.deepcopy(X)[2:]):
        assert_array_equal(np.asarray(twin), truth[2:])


class Power(TransformerMixin, BaseEstimator):
    """Mean power of windows, in batches, and a score that comes of it."""

    def __init__(self, factor=1):
        self.factor = factor

    def fit(self, X, y):
        assert isinstance(X, WindowArray)
        self.mean_ = self.transform(X).mean()
        return self

    def transform(self, X):
        batches = [X.__getitems__(b) for b in np.array_split(np.arange(len(X)), 3)]
        return self.factor * np.square(np.concatenate(batches)).mean(axis=(1, 2))

    def score(self, X, y):
        assert isinstance(X, WindowArray)
        return float(np.mean(self.transform(X)) + np.mean(y))


def test_train_test_split_reads_nothing(X, truth, source):
    y = np.arange(20)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert source.reads == []
    assert_array_equal(np.asarray(X_train), truth[y_train])
    assert_array_equal(np.asarray(X_test), truth[y_test])


def test_shuffle_and_resample_read_nothing(X, truth, source):
    for function in (shuffle, resample):
        view, rows = function(X, np.arange(20), random_state=0)
        assert source.reads == []
        assert_array_equal(np.asarray(view), truth[rows])
        source.reads.clear()


def test_group_k_fold(X, truth):
    y, groups = np.arange(20.0), np.repeat(np.arange(4), 5)
    scores = cross_val_score(Power(), X, y, groups=groups, cv=GroupKFold(4))
    folds = GroupKFold(4).split(truth, y, groups)
    expected = [np.square(truth[test]).mean() + y[test].mean() for _, test in folds]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_the_other_modality_may_be_the_target(X, source):
    P = WindowArray(source, X.recordings, X.starts, n_times=2)
    scores = cross_val_score(Power(), X, P[::-1], cv=4)
    truth = np.asarray(X), np.asarray(P)[::-1]
    expected = [
        np.square(truth[0][i : i + 5]).mean() + truth[1][i : i + 5].mean()
        for i in range(0, 20, 5)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_grid_search_in_one_process(X, source):
    search = GridSearchCV(Power(), {"factor": [1, 3]}, cv=2).fit(X, np.zeros(20))
    assert search.best_params_ == {"factor": 3}
    assert max(source.reads) < 10  # a third of ten or twenty windows, never all
