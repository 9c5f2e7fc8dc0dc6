"""The search for the nearest rows, against a full sort of products in float64."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.zero_shot import _nearest, _shortlist
from sk_cpep.zero_shot._gallery import Gallery, first_copies
from sk_cpep.zero_shot._nearest import NearestRows
from sk_cpep.zero_shot._precision import _highest_precision, full_precision


@pytest.fixture
def small_tiles(monkeypatch):
    """Many tiles and blocks, and little room, also for a small gallery."""
    monkeypatch.setattr(_nearest, "_tile_size", lambda device: 1024)
    monkeypatch.setattr(_nearest, "_ROWS", (4, 4))
    monkeypatch.setattr(_nearest, "_MIN_COLUMNS", 128)
    monkeypatch.setattr(_nearest, "_MAX_WANTED", 64)
    monkeypatch.setattr(_shortlist, "_MAX_TIES", 16)


def unit(Z):
    norm = np.linalg.norm(Z, axis=1, keepdims=True)
    return np.asarray(Z / np.where(norm > 0, norm, 1), dtype=np.float32)


def full_sort(Q, G, k, groups=None):
    """Every product in float64, one query at a time; ties by row."""
    Q, G = Q.astype(np.float64), G.astype(np.float64)
    similarity = np.stack([(q * G).sum(axis=1) for q in Q])
    if groups is not None:
        own, theirs = groups
        similarity[own[:, None] == theirs] = -np.inf
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    similarity = np.take_along_axis(similarity, index, axis=1)
    return similarity, np.where(np.isfinite(similarity), index, -1)


def check(Q, G, k, groups=None, **choices):
    own, theirs = groups or (None, None)
    k = min(k, len(G))
    found = NearestRows(G, k, groups=theirs, **choices).search(Q, own)
    for result, expected in zip(found, full_sort(Q, G, k, groups)):
        assert_array_equal(result, expected)


def hard_galleries():
    """Data that a shortlist in float32 can stumble over."""
    rng = np.random.default_rng(0)
    Q = unit(rng.normal(size=(9, 16)))
    G = unit(rng.normal(size=(3000, 16)))
    rising = np.ascontiguousarray(G[np.argsort(G @ Q[0])])
    yield "rising", Q, rising
    yield "falling", Q, np.ascontiguousarray(rising[::-1])
    yield "equal", Q, unit(np.ones((3000, 16)))
    yield "zeros", Q, np.zeros((3000, 16), dtype=np.float32)
    yield "zero queries", np.zeros_like(Q), G
    yield "collapsed", Q, unit(1 + 1e-7 * rng.normal(size=(3000, 16)))
    yield "nearly collapsed", Q, unit(1 + 1e-5 * rng.normal(size=(3000, 16)))
    yield "copies", Q, G[rng.integers(12, size=3000)]
    codes = rng.random((3000, 16)) < 0.3  # distinct rows that tie
    yield "codes", unit(codes[:9]), unit(codes)
    yield "one dimension", Q[:, :1] / abs(Q[:, :1]), np.sign(G[:, :1])


HARD = {name: data for name, *data in hard_galleries()}


@pytest.mark.parametrize("n_gallery", [1, 9, 64, 65, 641, 2001])
@pytest.mark.parametrize("k", [1, 10, 60])
@pytest.mark.parametrize("d", [1, 5, 80])
def test_against_a_full_sort(small_tiles, n_gallery, k, d):
    rng = np.random.default_rng(0)
    Q, G = (unit(rng.normal(size=(n, d))) for n in (13, n_gallery))
    check(Q, G, k)


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("k", [1, 10, 300, 3000])
def test_hard_galleries(small_tiles, name, k):
    Q, G = HARD[name]
    rng = np.random.default_rng(0)
    groups = rng.integers(4, size=len(Q)), rng.integers(5, size=len(G))
    check(Q, G, k)
    check(Q, G, k, groups)
    check(Q, G, k, groups, batch_size=1)


@pytest.mark.parametrize("name", ["rising", "copies", "nearly collapsed"])
def test_hard_galleries_in_one_tile(name):
    Q, G = HARD[name]
    check(Q, G, 10)
    check(Q, G, 10, batch_size=2)


def test_float32_would_not_do():
    rng = np.random.default_rng(0)
    G = unit(1 + 3e-4 * rng.normal(size=(2000, 256)))
    Q = unit(rng.normal(size=(20, 256)))
    rough = np.argsort(-(Q @ G.T), axis=1, kind="stable")[:, :10]
    assert (rough != full_sort(Q, G, 10)[1]).any()
    check(Q, G, 10)


def test_the_margin_holds_twice_the_error():
    # Cancelling products of unit rows: errors far above those of random rows.
    rng = np.random.default_rng(0)
    for d in (4, 256, 4096):
        Q, noise = unit(np.ones((50, d))), rng.normal(size=(50, d))
        G = unit(np.concatenate([Q, noise - noise.mean(axis=1, keepdims=True)]))
        rough = torch.from_numpy(Q) @ torch.from_numpy(G).T
        error = np.abs(rough.numpy() - Q.astype(np.float64) @ G.astype(np.float64).T)
        assert 2 * error.max() < Gallery(G, None, torch.device("cpu")).margin < 1e-3


def test_nobody_of_another_group():
    Q, G = HARD["rising"]
    own = np.arange(9) % 2
    similarity, index = NearestRows(G, 5, groups=np.zeros(3000, int)).search(Q, own)
    assert_array_equal(index[own == 0], -1)
    assert_array_equal(similarity[own == 0], -np.inf)
    assert_array_equal(index[own == 1], full_sort(Q[own == 1], G, 5)[1])


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("grouped", [False, True])
def test_first_copies(monkeypatch, k, grouped):
    monkeypatch.setattr("sk_cpep.zero_shot._gallery._CHUNK_SIZE", 100)
    rng = np.random.default_rng(0)
    G = rng.integers(2, size=(500, 4)).astype(np.float32)
    groups = rng.integers(3, size=500) if grouped else None
    seen, expected = {}, []
    for number, row in enumerate(G):
        key = *row.tolist(), groups[number] if grouped else 0
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= k:
            expected.append(number)
    assert_array_equal(first_copies(G, groups, k), expected)


def test_rows_that_only_look_like_copies(monkeypatch):
    monkeypatch.setattr(
        "sk_cpep.zero_shot._gallery._hash_rows", lambda G: np.zeros(len(G), np.uint64)
    )
    G = np.array([[1], [2], [2], [1], [1]], dtype=np.float32)
    assert_array_equal(first_copies(G, None, 1), [0, 1, 3])  # only neighbours compare


def test_arrays_that_cannot_be_written_to():
    Q, G = (array.copy() for array in HARD["rising"])
    Q.flags.writeable = G.flags.writeable = False
    check(Q, G, 3)


def test_no_queries():
    similarity, index = NearestRows(HARD["rising"][1], 3).search(np.ones((0, 16), "f4"))
    assert similarity.shape == index.shape == (0, 3)


@pytest.mark.parametrize("batch_size", [None, 1, 100, 10**6])
@pytest.mark.parametrize("k", [1, 10, 10**4, 10**6])
def test_tiles_are_bounded(batch_size, k):
    gallery = Gallery(np.ones((10**6, 1), np.float32), None, torch.device("cpu"))
    n_rows, n_columns = _nearest._tile_shape(10**5, k, batch_size, gallery)
    assert n_rows * n_columns <= 2**22
    assert n_rows == 1 or n_rows * k <= 2**17
    assert n_rows <= (batch_size or 10**4)


MEMORY = """
import resource, sys
import numpy as np
from sk_cpep import ZeroShotClassifier

class Flat:
    def transform(self, X):
        return np.asarray(X)
    transform_pose = transform

def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10

rng = np.random.default_rng(0)
data = {
    "random": rng.standard_normal((N, D), dtype=np.float32),
    "collapsed": 1 + np.float32(1e-6) * rng.standard_normal((N, D), dtype=np.float32),
    "equal": np.ones((N, D), dtype=np.float32),
    "rising": np.column_stack([np.linspace(1, 9, N), *np.ones((D - 1, N))]),
}
queries = rng.standard_normal((Q, D), dtype=np.float32)
names = np.arange(N) % 5
zero = ZeroShotClassifier(Flat(), device="cpu").fit(data["rising"], names)
zero.predict(queries[:10])
for gallery in data.values():
    zero.fit(gallery, names)
before = peak()
for name, gallery in data.items():
    zero.fit(gallery, names).set_params(n_neighbors=10)
    zero.predict(queries if name == "random" else queries[: Q // 8])
    zero.set_params(n_neighbors=N).predict(queries[:3])
    print(name, peak() - before)
"""


def test_memory_is_bounded():
    pytest.importorskip("resource", reason="Windows; test_tiles_are_bounded runs there")
    n_queries, n_gallery, d = 4000, 30_000, 4
    code = f"N, Q, D = {n_gallery}, {n_queries}, {d}\n{MEMORY}"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = max(float(line.split()[-1]) for line in run.stdout.splitlines())
    limit = 256 + 200 * n_gallery / 2**20
    assert peak < limit < 4 * n_queries * n_gallery / 2**20


def test_full_precision_inside_and_the_setting_after():
    device = torch.device("cpu")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with full_precision(device):
            inside = torch.backends.mkldnn.matmul.fp32_precision
        assert inside == "ieee"
        assert torch.get_float32_matmul_precision() == "high"
        with _highest_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_general_setting_stays_in_charge():
    backends = torch.backends
    if not hasattr(backends, "fp32_precision"):
        pytest.skip("torch 2.8 has one setting, which the test above is about")
    before = backends.fp32_precision
    try:
        backends.mkldnn.matmul.fp32_precision = "none"
        backends.fp32_precision = "tf32"
        with full_precision(torch.device("cpu")):
            assert backends.mkldnn.matmul.fp32_precision == "ieee"
        assert backends.mkldnn.matmul.fp32_precision == "tf32"
        backends.fp32_precision = "ieee"
        assert backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = before


def test_autocast_changes_nothing():
    Q, G = HARD["nearly collapsed"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check(Q, G, 10)
