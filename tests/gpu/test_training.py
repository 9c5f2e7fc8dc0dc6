"""Fits on a GPU against those on the CPU, and however they are computed there."""

import gc
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_estimators import small

from sk_cpep.training import resolve_device, resolve_precision

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; on the CPU, "
    "tests/training/test_engine.py and test_step.py cover fits, test_residence.py "
    "what is kept on a device",
)
REGRESSORS = ["PoseT", "EMG2Pose", "VEMG2Pose", "NeuroPose"]
# Of losses. Convolutions are computed in TF32 unless PyTorch is told otherwise.
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.05}


def fit_all(make, *data, **parameters):
    return [make(**p).fit(*data) for p in (dict(device="cpu"), parameters)]


def test_auto_is_the_gpu():
    assert resolve_device("auto").type == "cuda"
    expected = torch.cuda.get_device_capability() >= (8, 0)
    dtype = resolve_precision("auto", torch.device("cuda"))
    assert dtype == (torch.bfloat16 if expected else torch.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_alignment_as_on_the_cpu(pairs, make_cpep, losses, precision):
    X, P = pairs
    here, there = fit_all(make_cpep, X, P, precision=precision)
    assert next(there.module_.parameters()).device.type == "cuda"
    assert_allclose(losses(there), losses(here), rtol=TOLERANCE[precision])
    assert losses(here)[-1] < 0.99 * losses(here)[0]
    if precision == "float32":
        assert_allclose(there.transform(X), here.transform(X), atol=5e-3)
        assert_allclose(there.transform_pose(P), here.transform_pose(P), atol=5e-3)
        assert there.score(X, P) == pytest.approx(here.score(X, P), abs=0.05)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autoencoders_learn_as_on_the_cpu(pairs, make_mae, losses, precision):
    """Masks are other ones there: the curves agree, not the steps."""
    X, _ = pairs
    parameters = dict(max_epochs=12, lr=3e-3)
    here, there = (
        make_mae(**parameters, **p).fit(X)
        for p in (dict(device="cpu"), dict(precision=precision))
    )
    assert losses(there)[-1] < 0.9 * losses(there)[0]
    assert_allclose(losses(there)[-4:].mean(), losses(here)[-4:].mean(), rtol=0.1)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_regressors_as_on_the_cpu(pairs, make_regressor, losses, name, precision):
    X, P = pairs

    def make(**parameters):
        return make_regressor(name, **parameters)

    here, there = fit_all(make, X, P, precision=precision)
    rtol = max(TOLERANCE[precision], 2e-2 if name != "PoseT" else 0)
    assert_allclose(losses(there), losses(here), rtol=rtol)
    found, expected = there.predict(X), here.predict(X)
    assert found.shape == P.shape and np.isfinite(found).all()
    error = np.sqrt(((found - expected) ** 2).mean())
    assert error < (0.05 if precision == "float32" else 0.15) * expected.std() + 1e-3


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_classifiers_as_on_the_cpu(pairs, make_mae, losses, precision, compile):
    """Of more classes than bfloat16 tells apart as numbers."""
    if compile:
        pytest.importorskip("triton", reason="needs triton, with which torch compiles")
    X = np.tile(pairs[0], (6, 1, 1))
    y = np.arange(576) % 288
    options = dict(channel_rotation=0, class_weight="balanced", lr=1e-3, max_epochs=3)
    here, there = (
        small("EncoderClassifier", encoder=make_mae(), **options | parameters).fit(X, y)
        for parameters in (
            dict(device="cpu"),
            dict(device="cuda", precision=precision, compile=compile),
        )
    )
    assert_allclose(losses(there), losses(here), rtol=TOLERANCE[precision])
    found, expected = there.decision_function(X), here.decision_function(X)
    assert np.isfinite(found).all()
    error = np.sqrt(((found - expected) ** 2).mean())
    assert error < (0.05 if precision == "float32" else 0.15) * expected.std() + 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_steps_that_are_replayed_learn_the_same(
    pairs, make_cpep, losses, precision
):
    """96 pairs are five full batches of 17, and a rest, which is not replayed."""
    pytest.importorskip("triton", reason="needs triton, with which torch compiles")
    X, P = pairs
    plain, compiled = (
        make_cpep(1, precision=precision, compile=c, batch_size=17).fit(X, P)
        for c in (False, True)
    )
    assert_allclose(losses(compiled), losses(plain), rtol=TOLERANCE[precision])
    assert_allclose(compiled.transform(X), plain.transform(X), atol=0.05)


def test_compiled_masks_differ_from_step_to_step(pairs, make_mae, losses):
    pytest.importorskip("triton", reason="needs triton, with which torch compiles")
    X, _ = pairs
    parameters = dict(n_layers=1, max_epochs=12, lr=3e-3, precision="bfloat16")
    plain, compiled = (make_mae(compile=c, **parameters).fit(X) for c in (False, True))
    assert_allclose(losses(compiled)[-4:].mean(), losses(plain)[-4:].mean(), rtol=0.1)
    still = make_mae(compile=True, **parameters | dict(lr=1e-12)).fit(X)
    assert len(set(losses(still))) > 6  # of the same weights, with other masks


@contextmanager
def tf32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("switch", ["tf32", "autocast"])
def test_switches_of_the_caller_change_nothing(pairs, make_cpep, losses, switch):
    X, P = pairs
    plain = make_cpep().fit(X, P)
    expected = plain.transform(X)
    context = {"tf32": tf32, "autocast": lambda: torch.autocast("cuda")}[switch]
    with context():
        again = make_cpep().fit(X, P)
        assert_allclose(plain.transform(X), expected, atol=1e-5)
    assert_allclose(losses(again), losses(plain), rtol=1e-4)
    assert_allclose(again.transform(X), expected, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_embeddings_depend_on_no_batch_size(pairs, make_cpep, precision):
    X, P = pairs
    cpep = make_cpep(max_epochs=1, precision=precision).fit(X, P)
    expected = cpep.transform(X)
    for size in (1, 7, 96):
        cpep.set_params(batch_size=size)
        assert_allclose(cpep.transform(X), expected, atol=1e-5)
    assert_allclose(cpep.transform(X[5:6]), expected[5:6], atol=1e-5)


def test_fits_in_threads(pairs, make_cpep, losses):
    X, P = pairs
    expected = [make_cpep(random_state=seed).fit(X, P) for seed in (0, 1)]
    found = {}

    def fit(seed):
        found[seed] = make_cpep(random_state=seed).fit(X, P)

    threads = [Thread(target=fit, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        assert_allclose(losses(found[seed]), losses(expected[seed]), rtol=1e-3)


def test_the_callers_generators_are_left_alone(pairs, make_mae):
    torch.manual_seed(3)
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    make_mae(max_epochs=1).fit(pairs[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(torch.cuda.get_rng_state(), states[1])


def test_memory_is_given_back(pairs, make_cpep):
    X, P = pairs
    make_cpep(max_epochs=1).fit(X, P)
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        make_cpep(max_epochs=1).fit(X, P)
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + 2**20
