"""Runs of valid samples, and the windows in them, against counting one by one."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets._valid_runs import lost_windows, valid_runs, window_starts

MASKS = {
    "all": np.ones(30, bool),
    "none": np.zeros(30, bool),
    "empty": np.zeros(0, bool),
    "edges": np.array([1, 0, 0, 1, 1, 1, 0, 1], bool),
    "long": np.random.default_rng(0).random(400) > 0.05,
    "sparse": np.random.default_rng(1).random(400) > 0.5,
}


def runs_one_by_one(valid):
    runs, start = [], None
    for i, good in enumerate([*valid, False]):
        if good and start is None:
            start = i
        if not good and start is not None:
            runs.append((start, i))
            start = None
    return runs


@pytest.mark.parametrize("valid", MASKS.values(), ids=MASKS)
def test_runs(valid):
    runs = valid_runs(valid)
    assert runs.shape == (len(runs), 2)
    assert runs.dtype == np.int64
    assert [tuple(run) for run in runs] == runs_one_by_one(valid)


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("stride", [1, 3, 7, 50])
@pytest.mark.parametrize("valid", MASKS.values(), ids=MASKS)
def test_windows_are_all_that_fit_into_each_run(valid, size, stride):
    expected = []
    for start, stop in runs_one_by_one(valid):
        while start + size <= stop:
            expected.append(start)
            start += stride
    found = window_starts(valid_runs(valid), size, stride)
    assert_array_equal(found, expected)
    assert all(valid[s : s + size].all() for s in found)


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("stride", [1, 3, 7, 50])
@pytest.mark.parametrize("valid", MASKS.values(), ids=MASKS)
def test_windows_as_the_benchmark_counts_them(valid, size, stride):
    """Runs [a, b] with b - a >= size are cut as blocks (a, b - 1)."""
    expected = []
    for start, stop in runs_one_by_one(valid):
        a, b = start, stop - 1
        if b - a >= size:
            n_windows = int(np.floor((b - 1 - a - size) / stride)) + 1
            expected += [a + k * stride for k in range(n_windows)]
    found = window_starts(valid_runs(valid), size, stride, reference=True)
    assert_array_equal(found, expected)


def test_the_benchmark_leaves_two_samples_out():
    counts = [
        len(window_starts(np.array([[5, 5 + length]]), 10, 10, reference=True))
        for length in (10, 11, 12, 21, 22)
    ]
    assert counts == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("size", [1, 4, 31])
@pytest.mark.parametrize("stride", [1, 3, 50])
@pytest.mark.parametrize("valid", MASKS.values(), ids=MASKS)
def test_lost_windows_are_those_of_the_plain_grid(valid, size, stride):
    grid = [s for s in range(0, len(valid), stride) if s + size <= len(valid)]
    lost = [s for s in grid if not valid[s : s + size].all()]
    found = lost_windows(valid_runs(valid), len(valid), size, stride)
    assert found == (len(lost), len(grid))
