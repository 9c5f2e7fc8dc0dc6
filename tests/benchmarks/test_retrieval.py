"""The benchmark of retrieval runs, on a small gallery; its figures mean nothing."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import retrieval  # noqa: E402

SIZES = ["--queries", "40", "--gallery", "500", "--dims", "8", "--repeats", "2"]
KINDS = ["random", "clustered"]


def run(tmp_path, *more):
    out = tmp_path / "retrieval.json"
    argv = [*SIZES, "--device", "cpu", "--threads", "1", "--json", str(out), *more]
    assert retrieval.main(argv) == 0
    return json.loads(out.read_text())


def test_rows_and_ratios(tmp_path, capsys):
    table = run(tmp_path)
    names = [retrieval.OURS, retrieval.PREDICT, retrieval.SKLEARN, retrieval.TORCH]
    for kind in KINDS:
        rates = [table["rates"][f"{name}, {kind}"] for name in names]
        assert min(rates) > 0
        same = table["figures"]["same neighbours as float64"][kind]
        assert same[retrieval.OURS] == 1
        assert min(same.values()) > 0.9
        share = table["ratios"][f"share of the ceiling, {kind}"]
        limit = table["rates"]["limit: the product at the ceiling"]
        assert share == pytest.approx(rates[0] / limit)
    ceiling = table["figures"]["matmul ceiling, FLOP/s"]
    assert limit == pytest.approx(ceiling / (2 * 500 * 8))
    assert "10 nearest of 500 x 8" in capsys.readouterr().out


def test_without_faiss(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    table = run(tmp_path, "--data", "random", "--without", retrieval.SKLEARN)
    faiss = f"{retrieval.FAISS}, random"
    assert table["rates"][faiss] is None
    assert "pip install faiss-cpu" in table["notes"][faiss]
    assert f"{retrieval.SKLEARN}, random" not in table["rates"]


def test_a_device_that_is_not_there(capsys):
    assert retrieval.main([*SIZES, "--device", "cuda:99"]) == 2
    assert "cannot be used here" in capsys.readouterr().err


def test_memory_is_seen():
    with retrieval.Watch(interval=0.001) as watch:
        if watch.taken is None:
            pytest.skip("the system does not tell; rows then have no figure of memory")
        held = np.ones(2**24)
        deadline = time.monotonic() + 60
        while watch.taken <= 2**26 and time.monotonic() < deadline:
            time.sleep(0.001)
        del held
    assert 2**26 < watch.taken < 2**29


def test_rows_of_a_gallery():
    for kind, low in (("random", -0.2), ("clustered", 0.6)):
        Z, gestures = retrieval.make_rows(kind, 400, 256, seed=0)
        np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-5)
        products = Z[gestures == 0] @ Z[gestures == 0].T
        np.fill_diagonal(products, 0.8)
        assert low < products.mean() < 1
        assert products.min() < 0.95
