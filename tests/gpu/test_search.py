"""Nearest poses by a GPU: as products in float64 say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.frozen import FrozenEstimator

from sk_cpep import ZeroShotClassifier

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; the same search is "
    "tested on the CPU by tests/zero_shot",
)
SEARCH = Path(__file__).parents[1] / "zero_shot" / "test_nearest.py"
SPEC = importlib.util.spec_from_file_location("tests.zero_shot.test_nearest", SEARCH)
search = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(search)


@pytest.mark.parametrize("name", search.HARD)
def test_hard_galleries(name):
    Q, G = search.HARD[name]
    rng = np.random.default_rng(0)
    groups = rng.integers(4, size=len(Q)), rng.integers(5, size=len(G))
    search.check(Q, G, 10, device="cuda")
    search.check(Q, G, 300, groups, device="cuda")


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_tf32_of_the_caller_changes_nothing(precision):
    Q, G = search.HARD["nearly collapsed"]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        search.check(Q, G, 10, device="cuda")
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


def test_autocast_of_the_caller_changes_nothing():
    Q, G = search.HARD["nearly collapsed"]
    with torch.autocast("cuda", dtype=torch.bfloat16):
        search.check(Q, G, 10, device="cuda")


def test_zero_shot_says_what_it_says_on_the_cpu(pairs, make_cpep):
    X, P = pairs
    y = np.array(["fist", "ok", "point"])[np.arange(len(P)) % 3]
    cpep = FrozenEstimator(make_cpep(max_epochs=1).fit(X, P))
    there = ZeroShotClassifier(cpep, n_neighbors=5, device="cuda").fit(P, y)
    here = ZeroShotClassifier(cpep, n_neighbors=5, device="cpu").fit(P, y)
    assert_array_equal(there.predict(X), here.predict(X))
    assert_array_equal(there.predict_proba(X), here.predict_proba(X))
