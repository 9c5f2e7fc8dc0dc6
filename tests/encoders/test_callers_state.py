"""A fit, and what it gives, depend on no switch of the caller's."""

import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_classifier
from small_estimators import small

from sk_cpep import PoseT, ZeroShotClassifier
from sk_cpep.training import _own_state

TRAINING = dict(max_epochs=2, batch_size=8, lr=1e-2, random_state=0)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def matmul_precision(name):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def others_draw():
    """Another thread draws from torch's global generator all the time."""
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            torch.rand(3)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "medium": lambda: matmul_precision("medium"),
    "threads": others_draw,
    "numpy": lambda: np.errstate(all="raise"),
    "assume_finite": lambda: sklearn.config_context(assume_finite=True),
}


@pytest.fixture(params=["mae", "cpep", "cpep, augmented", "classifier", "PoseT"])
def estimator(request, small_mae, small_cpep):
    augmented = dict(electrode_shift=0.5, amplitude_jitter=0.1, noise=0.1, time_shift=2)
    return {
        "mae": small_mae(early_stopping=True, validation_fraction=0.3),
        "cpep": small_cpep(center_pose=True),
        "cpep, augmented": small_cpep(channel_dropout=0.2, **augmented),
        "classifier": small("EncoderClassifier", lr=1.0, max_epochs=5),
        "PoseT": PoseT(
            5, d_model=8, n_layers=1, n_heads=2, precision="float32", **TRAINING
        ),
    }[request.param]


def data_of(estimator, windows):
    X, P, labels, _ = windows
    return X, labels if is_classifier(estimator) else P


def results(fitted, X, P):
    """All that a fitted estimator gives."""
    found = [fitted.transform(X), fitted.score(X, P)]
    for name in ("transform_pose", "predict", "predict_proba"):
        if hasattr(fitted, name):
            found.append(getattr(fitted, name)(P if name == "transform_pose" else X))
    if hasattr(fitted, "reconstruct"):
        found += fitted.reconstruct(X)
    return found


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("state", STATES)
def test_a_fit_and_its_results(windows, estimator, state):
    X, P = data_of(estimator, windows)
    expected = results(clone(estimator).fit(X, P), X, P)
    with STATES[state]():
        fitted = clone(estimator).fit(X, P)
        assert_same(results(fitted, X, P), expected)
    assert_same(results(fitted, X, P), expected)
    assert all(p.dtype == torch.float32 for p in fitted.module_.parameters())


@pytest.mark.parametrize("state", STATES)
def test_a_pickle(windows, estimator, state):
    X, P = data_of(estimator, windows)
    fitted = estimator.fit(X, P)
    saved, expected = pickle.dumps(fitted), results(fitted, X, P)
    with STATES[state]():
        loaded = pickle.loads(saved)
        again = pickle.dumps(loaded)
        assert_same(results(loaded, X, P), expected)
    assert_same(results(pickle.loads(again), X, P), expected)


@pytest.mark.parametrize("state", STATES)
def test_zero_shot(windows, small_cpep, state):
    X, P, names, _ = windows
    zero = ZeroShotClassifier(small_cpep().fit(X, P), n_neighbors=3).fit(P, names)
    expected = zero.predict_proba(X), *zero.kneighbors(X)
    with STATES[state]():
        again = clone(zero).set_params(encoder=zero.encoder).fit(P, names)
        for classifier in (zero, again):
            found = classifier.predict_proba(X), *classifier.kneighbors(X)
            assert_same(found, expected)


def test_products_are_exact_inside_and_as_told_outside(windows, small_mae, monkeypatch):
    # On a CPU without units for anything coarser the results cannot show it.
    entered = []
    exact_products = _own_state.exact_products

    def spy(device):
        entered.append(device.type)
        return exact_products(device)

    monkeypatch.setattr(_own_state, "exact_products", spy)
    mae = small_mae()
    with matmul_precision("medium"):
        mae.fit(windows[0])
        n = len(entered)
        mae.transform(windows[0])
        assert torch.get_float32_matmul_precision() == "medium"
    assert n >= 1
    assert len(entered) > n


@pytest.mark.parametrize("name", ["transform", "transform_pose"])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("patch_length", [3, 4, 12])
def test_batch_size_changes_no_bit(
    windows, small_mae, small_cpep, name, heads, patch_length
):
    X, P = windows[:2]
    X, P = np.concatenate([X] * 2), np.concatenate([P] * 2)
    X, P = (a + np.float32(0.1) * np.arange(40)[:, None, None] for a in (X, P))
    before = torch.get_num_threads()
    emg, pose = (small_mae(patch_length, n_heads=heads, mask_ratio=0.75) for _ in "ab")
    random = dict(emg_init="random", pose_init="random", max_epochs=1)
    cpep = small_cpep(emg, pose, **random).fit(X, P)
    embed, data = getattr(cpep, name), (X if name == "transform" else P)
    data = data.astype(np.float32)
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            expected = embed(data)
            for batch_size in (1, 3, 33):
                cpep.batch_size = batch_size
                assert_array_equal(embed(data), expected)
            cpep.batch_size = 256
            order = np.random.default_rng(0).permutation(40)
            assert_array_equal(embed(data[order]), expected[order])
            for n in (1, 2, 5, 33):
                assert_array_equal(embed(data[:n]), expected[:n])
    finally:
        torch.set_num_threads(before)
