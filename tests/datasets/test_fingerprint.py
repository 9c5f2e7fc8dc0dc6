"""The fingerprint of windows: what gives equal windows has the same, and no other."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import FunctionTransformer

from sk_cpep.datasets import WindowArray, load_emg2pose, load_pack, pack_emg2pose

SIZE = 40


@pytest.fixture
def root(tmp_path, corpora):
    corpora.write_corpus(tmp_path / "corpus")
    return tmp_path / "corpus"


def doubled(recordings):
    return [2 * x for x in recordings]


def packed(root, out, **options):
    pack_emg2pose(root, out, **{"filter": None} | options)
    return out


def load(path):
    is_corpus = any(path.glob("*.hdf5"))
    return (load_emg2pose if is_corpus else load_pack)(path, size=SIZE)


@pytest.fixture(params=["corpus", "pack"])
def source(request, root, tmp_path):
    """A folder to load windows from."""
    return root if request.param == "corpus" else packed(root, tmp_path / "pack")


def test_the_same_in_another_process(source):
    found = load(source).emg.fingerprint()
    assert len(found) == 32 and int(found, 16) >= 0
    loader = "load_emg2pose" if any(source.glob("*.hdf5")) else "load_pack"
    code = (
        f"from sk_cpep.datasets import {loader}\n"
        f"print({loader}({str(source)!r}, size={SIZE}).emg.fingerprint())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == found


def test_of_what_is_read_not_of_how_it_was_selected(source):
    loader = load_emg2pose if any(source.glob("*.hdf5")) else load_pack
    data = load(source)
    test = loader(source, size=SIZE, split="test").emg
    rows = data.splits == "test"
    assert_array_equal(np.asarray(test), np.asarray(data.emg[rows]))
    assert test.fingerprint() == data.emg[rows].fingerprint()
    assert data.emg[::-1][::-1].fingerprint() == data.emg.fingerprint()


def test_other_windows_have_another(source):
    data = load(source)
    loader = load_emg2pose if any(source.glob("*.hdf5")) else load_pack
    others = [
        data.emg,
        data.pose,
        data.emg[1:],
        data.emg[::-1],
        data.emg[:0],
        loader(source, size=SIZE, stride=20).emg,
        loader(source, size=SIZE // 2, stride=SIZE).emg,
    ]
    if loader is load_emg2pose:
        others.append(load_emg2pose(source, size=SIZE, pose_stride=10).pose)
    found = [windows.fingerprint() for windows in others]
    assert len(set(found)) == len(found)


def test_reading_leaves_it_as_it_is(source):
    X = load(source).emg
    before = X.fingerprint()
    np.asarray(X)
    assert X.fingerprint() == before


def test_a_replaced_file_changes_it(root, corpora):
    data = load(root)
    before = data.emg.fingerprint()
    victim = data.windows["recording"] == 3
    rest = data.emg[~victim].fingerprint()
    path = root / f"{data.metadata['filename'][3]}.hdf5"
    size = path.stat().st_size
    corpora.write_recording(path, corpora.make_samples(330, seed=99))
    assert path.stat().st_size == size
    assert data.emg.fingerprint() != before
    assert data.emg[~victim].fingerprint() == rest
    path.unlink()
    with pytest.raises(FileNotFoundError, match="does not exist any more"):
        data.emg.fingerprint()


def test_a_pack_is_known_by_its_samples(root, tmp_path):
    pack = packed(root, tmp_path / "pack")
    X = load(pack).emg
    copy = shutil.copytree(pack, tmp_path / "copy")
    assert load(copy).emg.fingerprint() == X.fingerprint()
    unchecked = load_pack(pack, size=SIZE, verify=False).emg
    assert unchecked.fingerprint() == X.fingerprint()
    others = [
        packed(root, tmp_path / "filtered", filter=FunctionTransformer(doubled)),
        packed(root, tmp_path / "float32", emg_dtype="float32"),
    ]
    found = {X.fingerprint(), *(load(other).emg.fingerprint() for other in others)}
    assert len(found) == 3
    slower = load_pack(packed(root, tmp_path / "slow", pose_rate=50), size=SIZE)
    assert slower.emg.fingerprint() == X.fingerprint()
    assert slower.pose.fingerprint() != load(pack).pose.fingerprint()


class Ramp:
    """A source of one's own."""

    n_channels = 2

    def __init__(self, slope=1.0):
        self.slope = slope

    def read(self, recordings, starts, n_times):
        times = starts[:, None, None] + np.arange(n_times)
        return np.repeat(self.slope * times, 2, axis=1).astype(np.float32)


def test_a_source_of_ones_own():
    def fingerprint(source):
        return WindowArray(source, [0, 0, 1], [0, 4, 8], n_times=4).fingerprint()

    assert fingerprint(Ramp()) == fingerprint(Ramp()) != fingerprint(Ramp(2.0))
    locked = Ramp(threading.Lock())
    with pytest.raises(TypeError, match="a Ramp, cannot be pickled .* fingerprint"):
        fingerprint(locked)
    locked.fingerprint = lambda recordings: f"ramp {recordings.tolist()}"
    assert fingerprint(locked)


# Reading into memory that the caller owns


def test_reads_into_given_memory(source):
    for X in (load(source).emg, WindowArray(Ramp(), [0, 0, 1], [0, 4, 8], 4)):
        rows = [2, 0, -1]
        out = np.full((3, *X.shape[1:]), np.nan, np.float32)
        X.read_into(rows, out)
        assert_array_equal(out, np.asarray(X)[rows])
        mask = np.arange(len(X)) < 3
        X.read_into(mask, out)
        assert_array_equal(out, np.asarray(X)[:3])
        for wrong in (out[1:], out[:, :1], out.astype(np.float64)):
            with pytest.raises(ValueError, match="out has shape .* expected"):
                X.read_into(rows, wrong)


def test_batches_that_are_held_stay_as_they_are(source):
    X = load(source).emg
    expected = np.asarray(X)
    held = [X.__getitems__([k, k + 1]) for k in range(8)]
    window, out = X[3], np.empty((2, *X.shape[1:]), np.float32)
    for k in range(8, 20):
        X.__getitems__([k, k + 1])
        X.read_into([k, k + 1], out)
    for k, batch in enumerate(held):
        assert_array_equal(batch, expected[[k, k + 1]])
    assert_array_equal(window, expected[3])
