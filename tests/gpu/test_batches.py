"""Windows on their way to a GPU, and those that are kept there."""

import numpy as np
import pytest
import torch
from lazy_windows import Fetched
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.training import BatchIterator, WindowBatches, _batches, map_batches
from sk_cpep.training._residence import free_memory

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; the stand-ins for "
    "streams of tests/training/test_transfer.py cover the order of copies and waits, "
    "test_residence.py what is kept on a device",
)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def data(n=50):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3, 5)).astype(np.float32), rng.normal(size=(n, 2, 4))


@pytest.mark.parametrize("n_bytes", [0, 50 * 15 * 4, 10**9])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_same_batches(monkeypatch, n_bytes, lazy):
    X, P = data()
    monkeypatch.setattr(_batches, "free_memory", lambda device: n_bytes)
    seeds = [np.random.RandomState(0) for _ in range(2)]
    there = WindowBatches(Fetched(X) if lazy else X, P, device=GPU)
    here = WindowBatches(X, P, device=CPU)
    monkeypatch.undo()
    for batch, other in zip(
        BatchIterator(there, 7, seeds[0]), BatchIterator(here, 7, seeds[1])
    ):
        for x, y in zip(batch, other):
            assert x.device.type == "cuda"
            assert_array_equal(x.cpu(), y)


def test_maps_batches():
    X, _ = data()
    result = map_batches(lambda x: 2 * x, X, device=GPU, batch_size=7)
    assert_array_equal(result, 2 * X)


def test_what_is_free_leaves_a_reserve():
    free, total = torch.cuda.mem_get_info()
    assert 0 < free_memory(GPU) <= total - max(2**32, total // 4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kept", [True, False])
def test_fits_from_files(
    pairs, make_cpep, losses, precision, kept, tmp_path, monkeypatch
):
    """Kept on the card, or read ahead from a file and copied for every batch."""
    X, P = pairs
    expected = make_cpep(precision=precision).fit(X, P)
    np.save(tmp_path / "emg.npy", X)
    mapped = np.load(tmp_path / "emg.npy", mmap_mode="r")
    if not kept:
        monkeypatch.setattr(_batches, "free_memory", lambda device: 0)
    found = make_cpep(precision=precision).fit(mapped, P)
    rtol = 1e-3 if precision == "float32" else 0.02
    assert_allclose(losses(found), losses(expected), rtol=rtol)
    assert_allclose(found.transform(mapped), found.transform(X), atol=1e-6)
