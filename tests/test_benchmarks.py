"""Every benchmark runs, on a few windows; its figures mean nothing here."""

import json
import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


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
