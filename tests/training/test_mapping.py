"""Functions of windows: the same bits, whatever else is computed beside."""

import threading

import numpy as np
import pytest
import torch
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.training import _mapping, map_batches

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


one_thread = pytest.mark.parametrize("n_threads", [1], indirect=True)


def numbered(n):
    return np.arange(n, dtype=np.float32).reshape(n, 1, 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv1d(5, 24, 7),
        torch.nn.GELU(),
        torch.nn.Flatten(),
        torch.nn.Linear(24 * 34, 32),
        torch.nn.LayerNorm(32),
        torch.nn.Linear(32, 32),
    )


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(70, 5, 40)).astype(np.float32)


def embed(network, X, batch_size=256, **blocks):
    where = dict(device=CPU, module=network)
    return map_batches(network, X, batch_size=batch_size, **where, **blocks)


def test_result(network, X, n_threads):
    expected = network.double()(torch.from_numpy(X).double()).detach().numpy()
    network.float()
    assert_allclose(embed(network, X), expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 33, 64])
def test_batch_size(network, X, n_threads, batch_size):
    # How many windows a block has may change sums, by what the library makes of it.
    assert_allclose(embed(network, X, batch_size), embed(network, X), atol=1e-5)
    alone = dict(most=1, fewest=2)
    assert_array_equal(
        embed(network, X, batch_size, **alone), embed(network, X, **alone)
    )


@pytest.mark.parametrize("rows", [[0], [69], [3, 1], range(5), range(20, 53)])
def test_other_windows(network, X, n_threads, rows):
    rows = list(rows)
    assert_allclose(embed(network, X[rows]), embed(network, X)[rows], atol=1e-5)
    alone = dict(most=1, fewest=2)
    assert_array_equal(
        embed(network, X[rows], **alone), embed(network, X, **alone)[rows]
    )


def test_threads_of_others_stay_as_many(network, X, n_threads):
    embed(network, X)
    seen = []

    def look():
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert torch.get_num_threads() == n_threads
    assert seen == [n_threads]


def test_each_part_is_computed_on_one_core(n_threads):
    seen = []

    def look(x):
        seen.append((len(x), torch.get_num_threads()))
        return x.sum(dim=(1, 2))

    X = np.ones((70, 1, 1), np.float32)
    map_batches(look, X, device=CPU, batch_size=200)
    assert {n for _, n in seen} == {1}
    assert sum(n for n, _ in seen) == 70
    assert max(n for n, _ in seen) == {1: 64, 2: 35, 3: 24}[n_threads]


def test_an_error_in_a_thread_is_the_callers(n_threads):
    def fail(x):
        raise RuntimeError("in the network")

    with pytest.raises(RuntimeError, match="in the network"):
        map_batches(fail, np.ones((9, 1, 1)), device=CPU, batch_size=9)


def test_a_forked_child_makes_threads_of_its_own(n_threads):
    _mapping.on_one_core_each(abs, [-1, -2, -3])
    _mapping._forget_threads()  # what os.register_at_fork calls in a child
    assert _mapping.on_one_core_each(abs, [-1, -2, -3]) == [1, 2, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_results_that_are_not_finite_are_refused(bad):
    def spoil(x):
        x = x.clone()
        x[x > 6] = bad
        return x[:, 0]

    X = np.arange(9, dtype=np.float32)[:, None, None]
    message = "NaN or infinity for 2 of 9 windows, the first of them window 7"
    with pytest.raises(ValueError, match=message):
        map_batches(spoil, X, device=CPU, batch_size=4)


@one_thread
def test_results_of_several_arrays(n_threads):
    X = np.random.default_rng(0).normal(size=(11, 2, 3)).astype(np.float32)
    lazy = Lazy(X)
    sizes = []

    def double_sum(x, w):
        sizes.append(len(x))
        assert torch.is_inference_mode_enabled()
        return 2 * x.sum(dim=(1, 2)) + w[:, 0, 0]

    result = map_batches(double_sum, lazy, numbered(11), device=CPU, batch_size=4)
    expected = 2 * X.sum(axis=(1, 2), dtype=np.float64) + np.arange(11)
    assert_allclose(result, expected, rtol=1e-5)
    assert sizes == [4, 4, 3]
    assert result.dtype == np.float32


@one_thread
def test_a_lone_window_goes_in_twice(n_threads):
    shapes = []

    def total(x):
        shapes.append(x.shape)
        return x.sum(dim=(1, 2))

    options = dict(device=CPU, batch_size=3)
    assert map_batches(total, numbered(4), **options).tolist() == [0, 1, 2, 3]
    assert map_batches(total, numbered(8)[5:6], **options).tolist() == [5]
    assert shapes == [(3, 1, 1), (2, 1, 1), (2, 1, 1)]
