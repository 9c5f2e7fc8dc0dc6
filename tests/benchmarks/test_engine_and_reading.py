"""Every benchmark runs, on a few windows; its figures mean nothing here."""

import json
import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_engine(monkeypatch, tmp_path, capsys):
    out = tmp_path / "engine.json"
    sizes = ["--windows", "8", "--batch-size", "4", "--repeats", "1"]
    argv = ["engine", *sizes, "--device", "cpu", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(str(BENCHMARKS / "engine.py"), run_name="__main__")
    figures = json.loads(out.read_text())
    rates = figures["windows per second"]
    assert set(rates) == {
        "bare loop, float32",
        "MAE.fit, float32",
        "bare loop, bfloat16",
    }
    ratio = rates["bare loop, float32"] / rates["MAE.fit, float32"]
    assert abs(figures["time of MAE.fit / bare loop"] / ratio - 1) < 1e-6
    assert "time of MAE.fit / bare loop" in capsys.readouterr().out


def test_reading(monkeypatch, tmp_path, capsys):
    out = tmp_path / "reading.json"
    sizes = ["--windows", "8", "--batch-size", "5", "--repeats", "1", "--seconds", "3"]
    argv = ["reading", *sizes, "--compression", "gzip", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(str(BENCHMARKS / "reading.py"), run_name="__main__")
    figures = json.loads(out.read_text())
    rates = figures["windows per second"]
    ratios = figures["speed of the pack / of the peer"]
    assert set(rates) == {"first", "pack", *ratios}
    assert set(ratios) == {"h5py", "npy", "ram"}
    for peer, ratio in ratios.items():
        assert abs(ratio / (rates["pack"] / rates[peer]) - 1) < 1e-6
    assert "corpus compressed by gzip" in capsys.readouterr().out
