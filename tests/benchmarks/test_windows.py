"""The benchmark of windows, on little data; rates mean nothing here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import windows  # noqa: E402


def test_windows(tmp_path, capsys):
    out = tmp_path / "windows.json"
    windows.main(["--seconds", "10", "--repeats", "1", "--json", str(out)])
    found = json.loads(out.read_text())
    rates, ratios = found["rates"], found["ratios"]
    for change in ("in runs", "in runs, text", "at each sample", "at random"):
        many, few = (windows.name(n, change) for n in (windows.MANY, windows.FEW))
        title = f"time with 60000 labels / 10, {change}"
        assert ratios[title] == pytest.approx(rates[few] / rates[many])
        peer = windows.peer(windows.MANY, change)
        assert ratios[f"speed of {many} / {peer}"] == pytest.approx(
            rates[many] / rates[peer]
        )
    assert "hours of recording/s" in capsys.readouterr().out


@pytest.mark.parametrize("n_labels", [10, 60_000])
def test_both_vote_alike(n_labels):
    n_times = 20_000
    tracks = windows.label_tracks(n_times, n_labels)
    assert len(np.unique(tracks["at each sample"])) == min(n_labels, n_times)
    for labels in tracks.values():
        found = windows.cut(np.zeros((1, n_times)), labels)
        np.testing.assert_array_equal(found, windows.vote(labels))
