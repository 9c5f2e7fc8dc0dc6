"""A pack against the corpus it is made of, computed anew with h5py and scipy."""

import json
import pickle
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import train_test_split

import sk_cpep
from sk_cpep import MAE
from sk_cpep.datasets import (
    WindowArray,
    load_emg2pose,
    load_pack,
    pack_emg2pose,
    read_emg2pose_metadata,
    write_emg2pose_corpus,
)
from sk_cpep.datasets.packs import _writer
from sk_cpep.datasets.packs._blocks import cut_blocks, to_float16, widen_halves
from sk_cpep.datasets.packs._format import Layout
from sk_cpep.preprocessing import BandpassNotch

STAGES = ["ShakaVulcanPeace", "HandClawGraspFlicks"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """12 recordings of about 5 s: three people, two stages, both hands."""
    return write_emg2pose_corpus(
        tmp_path_factory.mktemp("corpus") / "emg2pose",
        3,
        stages=STAGES,
        n_sessions=1,
        seconds=5.0,
        ik_failures=0.2,
        random_state=0,
    )


@pytest.fixture(scope="module")
def pack(corpus, tmp_path_factory):
    """The corpus, filtered as the paper does, in shards of a few recordings."""
    out = tmp_path_factory.mktemp("packs") / "pack"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_writer, "SHARD_BLOCKS", 10)
        report = pack_emg2pose(corpus, out, filter=BandpassNotch(2, 250, 60))
    return SimpleNamespace(folder=out, report=report)


@pytest.fixture(scope="module")
def raw(corpus):
    """EMG, angles and validity of every recording, in the order of the table."""
    found = []
    for name in read_emg2pose_metadata(corpus)["filename"]:
        with h5py.File(corpus / f"{name}.hdf5") as file:
            rows = file["emg2pose/timeseries"][:]
        failed = np.isclose(rows["joint_angles"], 0).all(axis=1)
        found.append((rows["emg"].T, rows["joint_angles"].T, ~failed))
    return found


def bandpass_notch(emg):
    band = butter(4, [2, 250], "bandpass", fs=2000, output="sos")
    sos = np.vstack([band, tf2sos(*iirnotch(60, 30, fs=2000))])
    padlen = BandpassNotch(2, 250, 60).fit(emg).n_ringing_
    return sosfiltfilt(sos, emg.astype(np.float64), padtype="even", padlen=padlen)


def test_emg_is_filtered_whole_and_then_cut(pack, raw):
    data = load_pack(pack.folder, size=3000, stride=1700)
    filtered = [bandpass_notch(emg) for emg, _, _ in raw]
    X = np.asarray(data.emg)
    assert X.dtype == np.float32
    assert X.shape == (len(data.windows), 16, 3000)
    for x, (recording, start, stop) in zip(X, data.windows):
        expected = filtered[recording][:, start:stop]
        # half a unit in the last of 11 bits, and what float16 cannot tell from 0
        assert_allclose(x, expected, rtol=2**-11 * 1.01, atol=1e-5)


def test_pose_is_every_tenth_sample(pack, raw):
    data = load_pack(pack.folder, size=2500, stride=1300)
    P = np.asarray(data.pose)
    assert P.shape == (len(data.windows), 20, 250)
    for p, (recording, start, stop) in zip(P, data.windows):
        grid = np.arange(0, raw[recording][1].shape[1], 10)
        grid = grid[(grid >= start) & (grid < stop)]
        assert_array_equal(p, raw[recording][1][:, grid].astype(np.float32))
    assert data.pose_sfreq == 200


@pytest.mark.parametrize("reference", [False, True])
def test_windows_are_those_of_the_loader(corpus, pack, reference):
    options = dict(size=2000, stride=900, reference_windows=reference)
    packed = load_pack(pack.folder, **options)
    published = load_emg2pose(corpus, pose_stride=10, **options)
    for name in ("windows", "recordings", "metadata", "users", "stages", "sides"):
        assert_array_equal(packed[name], published[name])
    assert packed.report == published.report
    assert packed.DESCR.startswith(published.DESCR)
    assert "float16, filter {'class': 'BandpassNotch'" in packed.DESCR
    assert set(packed) - set(published) == {"parameters"}
    assert packed.pose.shape == published.pose.shape


def test_no_window_holds_a_failure(pack, raw):
    data = load_pack(pack.folder, size=1000, stride=100)
    assert not all(valid.all() for _, _, valid in raw)
    cut = {tuple(window) for window in data.windows.tolist()}
    assert all(raw[n][2][a:b].all() for n, a, b in cut)
    for n, (_, _, valid) in enumerate(raw):  # and no room was left
        edges = np.flatnonzero(np.diff(np.r_[False, valid, False].astype(int)))
        for first, end in edges.reshape(-1, 2):
            expected = [(n, a, a + 1000) for a in range(first, end - 999, 100)]
            assert cut.issuperset(expected)


def test_selection(pack):
    everything = load_pack(pack.folder, size=1000)
    chosen = load_pack(pack.folder, size=1000, stages=STAGES[0], sides="left")
    rows = (everything.stages == STAGES[0]) & (everything.sides == "left")
    assert 0 < rows.sum() < len(rows)
    assert_array_equal(np.asarray(chosen.emg), np.asarray(everything.emg[rows]))
    assert_array_equal(np.asarray(chosen.pose), np.asarray(everything.pose[rows]))
    assert_array_equal(chosen.users, everything.users[rows])
    with pytest.raises(ValueError, match="stage.*'Fist'"):
        load_pack(pack.folder, stages="Fist")


def test_batches_come_in_the_order_asked_for(pack):
    data = load_pack(pack.folder, size=1000, stride=500)
    order = np.random.default_rng(0).integers(0, len(data.emg), 40)
    everything = np.asarray(data.emg)
    assert_array_equal(data.emg.__getitems__(order), everything[order])
    assert_array_equal(data.emg[3], everything[3])
    train, test = train_test_split(data.emg, random_state=0)
    assert isinstance(train, WindowArray)
    assert len(train) + len(test) == len(everything)


def test_batches_that_are_held_stay_as_they_are(pack):
    """No batch is overwritten while somebody still sees it, whatever is read next."""
    data = load_pack(pack.folder, size=1000, stride=500)
    everything = np.asarray(data.emg).copy()
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        order = rng.integers(0, len(everything), rng.integers(1, 12))
        batch = data.emg.__getitems__(order)
        hold = rng.integers(6)
        if hold == 1:
            held.append((batch, everything[order]))
        elif hold == 2:  # a view of a view
            held.append((batch[1:].swapaxes(1, 2)[..., ::3], None))
            held[-1] = (held[-1][0], held[-1][0].copy())
        elif hold == 3:
            held.append((torch.from_numpy(batch)[0], everything[order[0]]))
        elif hold == 4:
            held.append((memoryview(batch), everything[order]))
        elif held:
            held.pop(rng.integers(len(held)))
        assert_array_equal(batch, everything[order])
        del batch
        for kept, expected in held:
            assert_array_equal(np.asarray(kept), expected)
    assert len(held) > 5


def test_pickled_without_what_was_read(pack):
    data = load_pack(pack.folder, size=1000)
    unread = pickle.dumps(data.emg)
    expected = np.asarray(data.emg)
    assert len(pickle.dumps(data.emg)) == len(unread) < expected.nbytes / 20
    assert_array_equal(np.asarray(pickle.loads(unread)), expected)


def test_estimators_read_it_in_batches(pack):
    data = load_pack(pack.folder, size=400)
    options = dict(
        patch_length=100, d_model=8, n_layers=1, n_heads=2, max_epochs=1, random_state=0
    )
    lazy = MAE(device="cpu", **options).fit(data.emg[:20])
    loaded = MAE(device="cpu", **options).fit(np.asarray(data.emg[:20]))
    assert_array_equal(lazy.transform(data.emg), loaded.transform(np.asarray(data.emg)))


def test_shards_hold_whole_recordings_and_open_with_numpy(pack):
    lines = (pack.folder / "recordings.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    shards = sorted(pack.folder.glob("emg-*.npy"))
    assert len(shards) > 2
    blocks = iter(np.concatenate([np.load(path) for path in shards]))
    emg = [
        np.hstack([next(blocks) for _ in range(-(-e["length"] // 4000))])
        for e in entries
    ]
    data = load_pack(pack.folder, size=1000)
    n, start, stop = data.windows[-1]
    assert_array_equal(emg[n][:, start:stop].astype(np.float32), data.emg[-1])
    assert all(not x[:, e["length"] :].any() for x, e in zip(emg, entries))


def test_float32_unfiltered_is_the_corpus(corpus, raw, tmp_path):
    pack_emg2pose(
        corpus, tmp_path, filter=None, emg_dtype="float32", pose_rate=2000, n_jobs=2
    )
    packed, published = load_pack(tmp_path), load_emg2pose(corpus)
    assert_array_equal(np.asarray(packed.emg), np.asarray(published.emg))
    assert_array_equal(np.asarray(packed.pose), np.asarray(published.pose))
    n, start, stop = packed.windows[-1]
    assert_array_equal(packed.emg[-1], raw[n][0][:, start:stop])


def test_report_and_manifest(corpus, pack, raw):
    report = pack.report
    n_times = sum(len(valid) for _, _, valid in raw)
    n_failed = sum(np.count_nonzero(~valid) for _, _, valid in raw)
    assert (report.n_recordings, report.n_packed, report.n_resumed) == (12, 12, 0)
    assert report.hours == pytest.approx(n_times / 2000 / 3600)
    assert report.failed_share == pytest.approx(n_failed / n_times)
    files = [*pack.folder.glob("emg-*.npy"), *pack.folder.glob("pose-*.npy")]
    assert report.nbytes == sum(path.stat().st_size - 128 for path in files)
    table = (corpus / "metadata.csv").read_bytes()
    assert (pack.folder / "metadata.csv").read_bytes() == table
    manifest = json.loads((pack.folder / "manifest.json").read_text())
    assert manifest["parameters"]["sk_cpep"] == sk_cpep.__version__
    assert manifest["parameters"]["filter"]["parameters"]["notch"] == 60
    assert load_pack(pack.folder, size=1000).parameters == manifest["parameters"]


def test_a_finished_pack_is_left_as_it_is(corpus, pack):
    before = {p.name: p.stat().st_mtime_ns for p in pack.folder.iterdir()}
    again = pack_emg2pose(corpus, pack.folder, filter=BandpassNotch(2.0, 250, 60))
    assert (again.n_packed, again.n_resumed) == (12, 12)
    assert again.hours == pack.report.hours
    assert before == {p.name: p.stat().st_mtime_ns for p in pack.folder.iterdir()}


class Gain(TransformerMixin, BaseEstimator):
    """Multiplies recordings; cuts them short if told to."""

    def __init__(self, gain=1.0, stop=None):
        self.gain = gain
        self.stop = stop

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return [self.gain * x[:, : self.stop] for x in X]


@pytest.mark.parametrize("gain", [1e-9, 2.0**-20, 1e9])
def test_scale_keeps_precision_in_any_unit(corpus, raw, tmp_path, gain):
    pack_emg2pose(corpus, tmp_path, filter=Gain(gain))
    data = load_pack(tmp_path, size=1000)
    n, start, stop = data.windows[0]
    expected = raw[n][0][:, start:stop] * gain
    assert_allclose(
        data.emg[0], expected, rtol=2**-11 * 1.01, atol=1e-7 * expected.max()
    )


@pytest.mark.parametrize(
    "gain, message",
    [
        (Gain(np.nan), "values not finite"),
        (Gain(stop=-1), "made of shape"),
        (Gain("a"), "the filter Gain.gain='a'. failed"),
    ],
)
def test_filters_that_fail_are_named_with_the_recording(
    corpus, tmp_path, gain, message
):
    with pytest.raises(ValueError, match=f"row 0 of metadata.csv: .*hdf5.*{message}"):
        pack_emg2pose(corpus, tmp_path / "out", filter=gain)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pose_rate": 300}, "give one of .40, 50, 80, 100, 125, 200, 250"),
        ({"pose_rate": 20}, "give one of"),
        ({"filter": BandpassNotch(2, 40, sfreq=100)}, "100 Hz, but emg2pose has 2000"),
        ({"emg_dtype": "int8"}, "emg_dtype"),
    ],
)
def test_wrong_parameters(corpus, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        pack_emg2pose(corpus, tmp_path / "out", **{"filter": None} | change)
    assert not (tmp_path / "out").exists()


def test_size_has_to_be_whole_in_the_pose(pack):
    with pytest.raises(ValueError, match="size=1005 .* multiple of 10"):
        load_pack(pack.folder, size=1005)


# The form of the samples


def test_all_halves_are_widened_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    out = np.empty(len(halves), dtype=np.float32)
    out.view(np.int32)[...] = halves.view(np.int16)
    widen_halves(out)
    assert_array_equal(out.view(np.int32), halves.astype(np.float32).view(np.int32))


def test_scale_of_halves_by_hand():
    peaks = np.array([0, 2.0**-5, 2.0**-4, 1, 2.0**15, 65520, 1e-30, 3e38])
    x = (peaks[:, None] * [1.0, -0.3, 1e-3]).astype(np.float32)
    halves, scale = to_float16(x)
    assert np.isfinite(halves).all()
    assert_array_equal(scale[[0, 2, 3, 4]], 1)
    assert_array_equal(scale[[1, 5]], [2.0**-4, 2.0**16])
    assert_array_equal(np.frexp(scale)[0], 0.5)  # powers of two
    back = halves.astype(np.float64) * scale[:, None]
    assert_allclose(back, x, rtol=2**-11)


def test_blocks_by_hand():
    x = np.arange(10).reshape(2, 5)
    assert_array_equal(
        cut_blocks(x, 3), [[[0, 1, 2], [5, 6, 7]], [[3, 4, 0], [8, 9, 0]]]
    )


def test_layout_by_hand():
    layout = Layout((4000, 4001, 0, 12000, 1, 50000), shard_blocks=4)
    assert_array_equal(layout.n_blocks, [1, 2, 0, 3, 1, 13])
    assert layout.shard_sizes == [3, 4, 13]
    places = [layout.places()[n] for n in (0, 1, 3, 4, 5)]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 3), (2, 0)]
