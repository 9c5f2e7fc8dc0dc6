"""The benchmarks of filters and of reading, on little data; rates mean nothing here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import filters, reading  # noqa: E402


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    out = tmp_path_factory.mktemp("filters") / "figures.json"
    sizes = ["--windows", "4", "--seconds", "3", "--hour", "20", "--repeats", "1"]
    filters.main([*sizes, "--json", str(out)])
    return json.loads(out.read_text())


def test_filters(filtered):
    rates, ratios = filtered["rates"], filtered["ratios"]
    for kind in ("windows", "recordings"):
        ours = rates[f"BandpassNotch, {kind}"]
        for peer in ("scipy, two passes", "scipy, one pass of both"):
            ratio = ratios[f"speed of BandpassNotch, {kind} / {peer}, {kind}"]
            assert ratio == pytest.approx(ours / rates[f"{peer}, {kind}"])
        assert rates[f"BandpassNotch, causal, {kind}"] > 0
        assert rates[f"limit: copying, {kind}"] > 0


def test_filters_agree_where_they_should(filtered):
    inside = filtered["figures"]["differs from one pass by, inside"]
    at_edges = filtered["figures"]["differs from one pass by, edges too"]
    assert inside["BandpassNotch"] < 1e-3 < at_edges["BandpassNotch"]
    assert inside["scipy, two passes"] < 1e-3 < at_edges["scipy, two passes"]


def test_a_long_recording_is_measured(filtered):
    rates, ratios = filtered["rates"], filtered["ratios"]
    ours, peer = "BandpassNotch, 20 s", "scipy, channel by channel, 20 s"
    time = ratios[f"time of {ours} / {peer}"]
    assert time == pytest.approx(rates[peer] / rates[ours])
    for kind in ("silent from a tenth on", "silent half the time"):
        time = ratios[f"time of {ours}, {kind} / {ours}"]
        assert time == pytest.approx(rates[ours] / rates[f"{ours}, {kind}"])
    assert 1 < ratios[f"memory of {ours} / recording"] < 4
    assert 1 < ratios[f"memory of {peer} / recording"] < 4


def test_silences():
    X = np.ones((2, 100_000), dtype=np.float32)
    tenth, half = (filters.silenced(X, kind) for kind in filters.SILENT)
    assert tenth[:, :10_000].all() and not tenth[:, 10_000:].any()
    assert half[:, 40_000:60_000].all() and not half[:, 20_000:40_000].any()
    assert X.all()


def test_peak_memory():
    X = np.zeros(1_000_000, dtype=np.float32)
    assert filters.peak_memory(lambda: X.astype(float), X) == pytest.approx(2, rel=0.1)


def test_peers_filter_as_designed():
    times = np.arange(40_000) / 2000
    x = sum(np.sin(2 * np.pi * f * times) for f in (0.2, 60, 100, 600))
    expected = np.sin(2 * np.pi * 100 * times)
    for name in (filters.ONE_PASS, filters.TWO_PASSES):
        y = filters.make_filters()[name](x[np.newaxis])[0]
        assert np.abs(y - expected)[8000:-8000].max() < 0.01
    sos = butter(4, [2, 250], "bandpass", fs=2000, output="sos")
    sos = np.vstack([sos, tf2sos(*iirnotch(60, 30, fs=2000))])
    np.testing.assert_array_equal(filters.one_pass(x), sosfiltfilt(sos, x))
    X = np.stack([x, x[::-1]]).astype(np.float32)
    np.testing.assert_array_equal(filters.by_channel(X), filters.one_pass(X))


def test_reading(tmp_path, capsys):
    out = tmp_path / "reading.json"
    sizes = ["--windows", "8", "--batch-size", "5", "--repeats", "1", "--seconds", "3"]
    reading.main([*sizes, "--compression", "gzip", "--json", str(out)])
    found = json.loads(out.read_text())
    rates, ratios = found["rates"], found["ratios"]
    assert set(rates) == {
        reading.FIRST,
        reading.FRESH,
        reading.PACK,
        reading.H5PY,
        reading.NPY,
        reading.RAM,
        "limit: copying",
    }
    for peer in (reading.H5PY, reading.NPY, reading.RAM):
        expected = rates[reading.PACK] / rates[peer]
        assert ratios[f"speed of pack / {peer}"] == pytest.approx(expected)
    share = rates[reading.PACK] / rates["limit: copying"]
    assert ratios["share of the limit, pack"] == pytest.approx(share)
    assert "corpus compressed by gzip" in capsys.readouterr().out


def test_least_bytes_of_a_window():
    # 16 x 4000 samples of 2 bytes read and 4 written, 20 x 400 angles of 4 and 4.
    assert reading.least_bytes(4000, "float16") == 64_000 * 6 + 8_000 * 8
