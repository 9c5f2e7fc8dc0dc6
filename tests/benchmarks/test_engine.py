"""The benchmark of training, on a few windows; its rates mean nothing here."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import limits  # noqa: E402
from benchmarks.engine import __main__ as engine  # noqa: E402
from benchmarks.engine import _contrast, _peers, _pretraining  # noqa: E402
from benchmarks.engine._counts import Traffic, count_flops  # noqa: E402
from benchmarks.engine._curves import curve_differences, smooth_windows  # noqa: E402
from benchmarks.engine._floor import flops_per_window  # noqa: E402
from benchmarks.engine._loop import Run  # noqa: E402
from benchmarks.engine._schedule import format_hours  # noqa: E402
from benchmarks.table import Table  # noqa: E402
from sk_cpep.training import _device  # noqa: E402

SMALL = ["--device", "cpu", "--windows", "4", "--batch-size", "2", "--repeats", "1"]


def run(tmp_path, *arguments):
    """The figures of a run that ends well."""
    out = tmp_path / "figures.json"
    assert engine.main([*SMALL, *arguments, "--json", str(out)]) == 0
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    arguments = ["--modes", "float32", "bfloat16", "--pairs", "8"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(limits.MATMUL_SIDE, "cpu", 256)
        monkeypatch.setitem(limits.COPY_BYTES, "cpu", 2**20)
        monkeypatch.setattr(limits, "MIN_SECONDS", 1e-3)
        return run(tmp_path_factory.mktemp("engine"), *arguments)


def test_a_row_for_everything(found):
    modes = ("float32", "bfloat16")
    assert {f"MAE.fit, {mode}" for mode in modes} < set(found["rates"])
    assert {f"bare loop of the same step, {mode}" for mode in modes} < set(
        found["rates"]
    )
    assert {"stock PyTorch loop, float32", "Hugging Face ViTMAE, float32"} < set(
        found["rates"]
    )
    assert found["figures"]["fastest"] in modes
    measured = [rate for rate in found["rates"].values() if rate is not None]
    assert all(rate > 0 for rate in measured)
    missing = {name for name, rate in found["rates"].items() if rate is None}
    assert all("pip install" in found["notes"][name] for name in missing)


def test_ratios_are_those_of_the_rates(found):
    rates, ratios = found["rates"], found["ratios"]
    ours, stock = rates["MAE.fit, float32"], rates["stock PyTorch loop, float32"]
    ratio = ratios["speed of MAE.fit, float32 / stock PyTorch loop, float32"]
    assert ratio == pytest.approx(ours / stock)
    bare = rates["bare loop of the same step, float32"]
    assert ratios["time of MAE.fit / bare loop, float32"] == pytest.approx(bare / ours)
    half = ratios["speed of MAE.fit, bfloat16 / MAE.fit, float32"]
    assert half == pytest.approx(rates["MAE.fit, bfloat16"] / ours)


def test_shares_of_the_limits(found):
    rates, figures = found["rates"], found["figures"]
    ceiling = figures["matrix products, TFLOP/s"]["float32"] * 1e12
    flops = figures["GFLOP per window"]["MAE"] * 1e9
    assert rates["limit: matrix products alone, float32"] == pytest.approx(
        ceiling / flops
    )
    share = found["ratios"]["share of the float32 ceiling, MAE.fit, float32"]
    assert share == pytest.approx(rates["MAE.fit, float32"] * flops / ceiling)
    parts = figures["seconds of a step"]["float32"]
    assert parts["measured"] == pytest.approx(
        2 / rates["bare loop of the same step, float32"]
    )
    assert sum(parts.values()) == pytest.approx(2 * parts["measured"])


def test_overhead_is_a_share_of_a_step(found):
    added = found["figures"]["seconds that the engine adds to a step"]
    step = 2 / found["rates"]["bare loop of the same step, bfloat16"]
    share = found["ratios"]["engine overhead, share of a step, bfloat16"]
    assert share == pytest.approx(added / step)


def test_hours_of_the_schedule(found):
    hours = found["figures"]["hours of the full schedule"]
    rate = found["rates"][f"MAE.fit, {found['figures']['fastest']}"]
    assert hours["EMG-MAE"] == pytest.approx(666_000 * 100 / rate / 3600)
    assert hours["all"] == pytest.approx(sum(hours.values()) - hours["all"])
    assert [format_hours(h) for h in (25, 0.5, 0.01)] == [
        "25.0 h",
        "30.0 min",
        "36.0 s",
    ]


def test_both_contrastive_losses_are_the_same(found):
    differences = found["figures"]["info_nce differs from ClipLoss by"]
    if not _peers.is_installed("open_clip"):
        assert found["rates"]["ClipLoss, 8 pairs"] is None
        return
    assert 0 <= differences["8"] < 1e-5
    assert found["other units"]["ClipLoss, 8 pairs"] == "pairs/s"


@pytest.mark.parametrize("units", [False, True])
def test_peers_that_are_missing_say_how_to_get_them(units, monkeypatch):
    """Where there are units for bfloat16, the stock loop is run with them, too."""
    monkeypatch.setattr(_device, "has_bfloat16_units", lambda device: units)
    for module in (_contrast, _pretraining):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
    table = Table("Title", "windows/s")
    X = smooth_windows(4, n_channels=2, n_times=400)
    args = Namespace(modes=["float32"], workers=[0], repeats=1)
    cpu = torch.device("cpu")
    _pretraining.measure_pretraining(table, X, Run(cpu, 4, 2, 1), args)
    _contrast.measure_contrast(table, cpu, [8], 1)
    for name in ("Hugging Face ViTMAE, float32", "ClipLoss, 8 pairs"):
        assert table.rates.pop(name) is None
        assert table.notes[name].startswith("not installed: pip install")
    assert (_pretraining.STOCK_AUTOCAST in table.rates) == units
    assert len(table.rates) == 4 + units and all(
        rate > 0 for rate in table.rates.values()
    )


def test_curves(tmp_path, capsys):
    found = run(tmp_path, "--curves", "--steps", "5", "--modes", "bfloat16")
    figures = found["figures"]
    assert figures["types of weights and optimizer"] == ["torch.float32"]
    assert 0 < figures["final"]["bfloat16"] <= figures["largest"]["bfloat16"] < 0.05
    assert "within 1 % after 5 steps" in capsys.readouterr().out


def test_differences_of_curves():
    reference = np.full(40, 2.0)
    curve = reference.copy()
    curve[0] += 20 * 0.2  # the first mean of 20 is 0.2 too high
    curve[-1] -= 20 * 0.1  # the last one is 0.1 too low
    assert curve_differences(curve, reference) == pytest.approx((0.1, 0.05))


def test_windows_of_the_curves_are_alike_smooth_and_of_unit_variance():
    X = smooth_windows(50)
    assert X.shape == (50, 16, 4000) and X.dtype == np.float32
    assert X.var() == pytest.approx(1, abs=0.2)
    assert np.corrcoef(X.reshape(50, -1)).min() > 0.9
    assert np.diff(X, axis=2).var() < 0.03  # of white noise: 2


def test_flops_are_those_of_the_formula():
    X = np.zeros((2, 16, 4000), dtype=np.float32)
    K, N, D, P = 80, 40, 256, 800

    def block(n, wanted=None):
        m = wanted or n  # keys and values of all, the rest of those that are wanted
        return (2 * n + 10 * m) * D * D + 2 * m * n * D

    encoder = 4 * block(1 + N) + (1 + N) * D * D
    decoder = 2 * block(1 + K)
    ours_decoder = block(1 + K) + block(1 + K, wanted=N)
    # The patches need no gradient: embedding is two products, all else is three.
    ours = 2 * (2 * N * P * D + 3 * (encoder + ours_decoder + N * D * P))
    stock = 2 * (2 * K * P * D + 3 * (encoder + decoder + K * D * P))
    found = flops_per_window(X)
    assert found["MAE"] == ours
    assert found["stock PyTorch loop, float32"] == stock


def test_flops_of_a_linear_layer():
    layer = nn.Linear(3, 5)
    flops = count_flops(lambda x: layer(x).sum(), [torch.ones(2, 3)])
    assert flops == 2 * (2 * 3 * 5)  # forward, and the gradient of the weights


def test_traffic_counts_what_is_read_and_written():
    x, y = torch.ones(100, 10), torch.ones(100, 10)
    with Traffic() as traffic:
        z = x + y
        z.view(10, 100).add_(1)
        z.to(torch.bfloat16)
        x.mm(y.T)
        torch.empty(10)
    assert traffic.n_bytes == {
        "add": 3 * 4000,
        "add_": 2 * 4000,
        "_to_copy": 4000 + 2000,
    }


def test_traffic_of_an_expanded_tensor_is_that_of_its_memory():
    x = torch.ones(1, 10).expand(100, 10)
    with Traffic() as traffic:
        x + 1
    assert traffic.n_bytes == {"add": 40 + 4000}


def test_the_stock_autoencoder_hides_half_and_puts_tokens_back():
    torch.manual_seed(0)
    stock = _peers.StockAutoencoder(2, 400)  # 8 tokens
    z = torch.arange(8.0).view(1, 8, 1).expand(3, 8, 256)
    kept, mask, restore = stock.hide(z)
    assert kept.shape == (3, 4, 256) and mask.sum(dim=1).tolist() == [4, 4, 4]
    for row in range(3):
        tokens = [*kept[row, :, 0].tolist(), *[-1.0] * 4]
        back = [tokens[k] for k in restore[row].tolist()]
        expected = [-1.0 if m else float(k) for k, m in enumerate(mask[row])]
        assert back == expected


def test_the_stock_loop_learns():
    torch.manual_seed(0)
    data = torch.from_numpy(smooth_windows(8, n_channels=2, n_times=400))
    loop = _peers.UserLoop(
        _peers.StockAutoencoder(2, 400), data, Run(torch.device("cpu"), 8, 4, 1)
    )
    losses = [loop.epoch() for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]
    assert loop() > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--windows", "5"], "5 windows are no whole number of batches of 2"),
        (["--device", "nowhere"], "device='nowhere' cannot be used here"),
    ],
)
def test_errors(arguments, message, capsys):
    assert engine.main([*SMALL, *arguments]) == 2
    assert message in capsys.readouterr().err
