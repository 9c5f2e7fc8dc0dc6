"""Damaged, cut, empty, missing and foreign recordings: each named, none misread."""

import os
import shutil

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets import load_emg2pose
from sk_cpep.datasets.emg2pose._source import OPEN_FILES

DTYPE = np.dtype(
    [("time", "<f8"), ("joint_angles", "<f8", (20,)), ("emg", "<f4", (16,))]
)
VICTIM = 4
CHECKED = {
    "gzip": {"compression": "gzip", "chunks": (50,)},
    "fletcher32": {"fletcher32": True, "chunks": (50,)},
}
UNCHECKED = {"contiguous": {}, "chunks": {"chunks": (50,)}}


@pytest.fixture
def corpus(tmp_path, corpora):
    """A corpus, and the path of the file that will be damaged."""
    root = tmp_path / "emg2pose"
    rows, samples = corpora.write_corpus(root, failed={VICTIM: [(60, 70)]})
    return root, root / f"{rows[VICTIM]['filename']}.hdf5", samples[VICTIM]


def check_named_and_skipped(root, path, said):
    """Loading raises, naming the file; or goes on without it, and reports it."""
    with pytest.raises((ValueError, OSError), match=said) as error:
        load_emg2pose(root, size=40)
    assert str(path) in str(error.value)
    data = load_emg2pose(root, size=40, on_error="skip")
    (skipped,) = data.report["recordings_skipped"]
    assert (skipped["row"], skipped["filename"]) == (VICTIM, path.stem)
    assert str(path) in skipped["reason"]
    assert data.report["recordings_read"] == 8
    assert data.report["recordings_selected"] == 9
    assert path.stem not in data.metadata["filename"]
    assert set(data.windows["recording"]) == set(range(8))
    assert "1 recordings were skipped" in data.DESCR
    with h5py.File(root / f"{data.metadata['filename'][-1]}.hdf5") as file:
        last = file["emg2pose/timeseries"][data.windows["start"][-1] :][:40]
    assert_array_equal(data.emg[-1], last["emg"].T)


def test_a_missing_file_is_named_by_row(corpus):
    root, path, _ = corpus
    path.unlink()
    check_named_and_skipped(root, path, f"row {VICTIM} of metadata.csv has no file")
    assert len(load_emg2pose(root, size=40, split="train").metadata) == 4


def test_a_folder_in_place_of_a_file(corpus):
    root, path, _ = corpus
    path.unlink()
    path.mkdir()
    check_named_and_skipped(root, path, "does not exist, or is no file")


def test_nothing_left(corpus):
    root, path, _ = corpus
    for file in root.glob("*.hdf5"):
        file.write_bytes(b"")
    with pytest.raises(
        ValueError, match="None of the 9 selected recordings can be read"
    ):
        load_emg2pose(root, size=40, on_error="skip")


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 5000, b"<html>404</html>", b"\x89HDF\r\n\x1a\n"]
)
def test_no_hdf5_at_all(corpus, content):
    root, path, _ = corpus
    path.write_bytes(content)
    check_named_and_skipped(root, path, "is no readable HDF5 file")


def dtype(**changes):
    """The type of a sample with fields changed; None leaves one out."""
    fields = {name: DTYPE[name] for name in DTYPE.names} | changes
    return np.dtype([(name, kind) for name, kind in fields.items() if kind is not None])


FOREIGN = {
    "other group": lambda f, s: f.create_dataset("emg2qwerty/timeseries", data=s),
    "other dataset": lambda f, s: f.create_dataset("emg2pose/data", data=s),
    "group in place of data": lambda f, s: f.create_group("emg2pose/timeseries"),
    "data in place of group": lambda f, s: f.create_dataset("emg2pose", data=s),
}
WRONG_TYPES = {
    "no time": dtype(time=None),
    "no emg": dtype(emg=None),
    "one field more": dtype(label="<i4"),
    "8 channels": dtype(emg=("<f4", (8,))),
    "22 joints": dtype(joint_angles=("<f8", (22,))),
    "double EMG": dtype(emg=("<f8", (16,))),
    "whole numbers": dtype(emg=("<i4", (16,))),
    "single angles": dtype(joint_angles=("<f4", (20,))),
    "big-endian": dtype(emg=(">f4", (16,))),
    "padded": np.dtype(
        {
            "names": list(DTYPE.names),
            "formats": [DTYPE[name] for name in DTYPE.names],
            "offsets": [0, 8, 168],
            "itemsize": 240,
        }
    ),
    "plain": np.dtype("<f4"),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(corpus, make):
    root, path, samples = corpus
    with h5py.File(path, "w") as file:
        make(file, samples)
    check_named_and_skipped(root, path, "has no dataset 'emg2pose/timeseries'")


@pytest.mark.parametrize("kind", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_wrong_types(corpus, corpora, kind):
    root, path, _ = corpus
    corpora.write_recording(path, np.zeros(300, kind))
    check_named_and_skipped(root, path, "holds .*, expected .*232 bytes a sample")


@pytest.mark.parametrize("shape", [(0,), (), (300, 1)])
def test_wrong_shapes(corpus, corpora, shape):
    root, path, _ = corpus
    corpora.write_recording(path, np.zeros(shape, DTYPE))
    check_named_and_skipped(root, path, r"has shape \(.*\), expected \(n_times,\)")


def test_samples_that_were_never_written(corpus):
    """HDF5 gives zeros for them, which would pass for failed inverse kinematics."""
    root, path, samples = corpus
    with h5py.File(path, "w") as file:
        series = file.create_dataset("emg2pose/timeseries", (300,), DTYPE, chunks=(50,))
        series[:120] = samples[:120]
    check_named_and_skipped(root, path, "3 of 6 chunks .* are there")
    with h5py.File(path, "w") as file:
        file.create_dataset("emg2pose/timeseries", (300,), DTYPE)
    check_named_and_skipped(root, path, "0 of 69600 bytes .* are there")


def test_samples_in_another_file(corpus):
    root, path, samples = corpus
    samples.tofile(root / "samples.bin")
    with h5py.File(path, "w") as file:
        external = [("samples.bin", 0, samples.nbytes)]
        file.create_dataset(
            "emg2pose/timeseries", samples.shape, DTYPE, external=external
        )
    check_named_and_skipped(root, path, "is stored in other files")


def test_absurd_chunks(corpus):
    root, path, samples = corpus
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "emg2pose/timeseries", (300,), DTYPE, chunks=(2**21,), maxshape=(None,)
        )
    check_named_and_skipped(root, path, "chunks of 486539264 bytes")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("emg", np.nan, "`emg` is nan at sample 77, column 3"),
        ("emg", -np.inf, "`emg` is -inf at sample 77, column 3"),
        ("emg", 1e30, r"`emg` is 1e\+30 at sample 77"),
        ("joint_angles", np.nan, "`joint_angles` is nan at sample 77, column 3"),
        ("joint_angles", 1e9, r"`joint_angles` is 1e\+09 at sample 77"),
        ("time", 0.0, "time runs backwards or is not finite at sample 77"),
        ("time", np.nan, "time runs backwards or is not finite at sample 77"),
        ("time", np.inf, "time runs backwards or is not finite at sample 77"),
    ],
)
def test_impossible_values(corpus, corpora, field, value, said):
    root, path, samples = corpus
    values = samples[field]
    values[(77, 3) if values.ndim == 2 else 77] = value
    corpora.write_recording(path, samples)
    check_named_and_skipped(root, path, said)


def test_floats_of_another_kind(corpus):
    """NumPy does not show how a file means the bits of its floats."""
    root, path, samples = corpus
    with h5py.File(path, "w") as file:
        float_ = h5py.h5t.IEEE_F32LE.copy()
        float_.set_fields(31, 23, 8, 0, 22)  # one bit less of mantissa
        kind = h5py.h5t.create(h5py.h5t.COMPOUND, 232)
        kind.insert(b"time", 0, h5py.h5t.IEEE_F64LE)
        angles = h5py.h5t.array_create(h5py.h5t.IEEE_F64LE, (20,))
        kind.insert(b"joint_angles", 8, angles)
        kind.insert(b"emg", 168, h5py.h5t.array_create(float_, (16,)))
        space = h5py.h5s.create_simple(samples.shape)
        group = file.create_group("emg2pose")
        series = h5py.h5d.create(group.id, b"timeseries", kind, space)
        series.write(h5py.h5s.ALL, h5py.h5s.ALL, samples)
    with h5py.File(path) as file:
        assert file["emg2pose/timeseries"].dtype == DTYPE
    check_named_and_skipped(root, path, "the floats of .* are not IEEE's")


# Between indexing and reading


def replace(path, samples, corpora):
    """Put another recording in place of one that may be open."""
    corpora.write_recording(path.with_suffix(".new"), samples)
    os.replace(path.with_suffix(".new"), path)


def test_a_file_that_has_become_shorter(corpus, corpora):
    root, path, samples = corpus
    data = load_emg2pose(root, size=40)
    corpora.write_recording(path, samples[:100])
    with pytest.raises(ValueError, match="has 100 samples, too few") as error:
        np.asarray(data.emg)
    assert str(path) in str(error.value)


def test_a_file_that_has_gone(corpus):
    root, path, _ = corpus
    data = load_emg2pose(root, size=40)
    path.unlink()
    row = np.flatnonzero(data.windows["recording"] == VICTIM)[0]
    with pytest.raises(FileNotFoundError, match="does not exist any more"):
        data.pose[row]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_have_become_wrong(corpus, corpora, value):
    root, path, samples = corpus
    data = load_emg2pose(root, size=40, stride=10)
    np.asarray(data.pose)
    samples["joint_angles"][125, 2] = value
    replace(path, samples, corpora)
    row = data.windows[["recording", "start"]].tolist().index((VICTIM, 90))
    said = "`joint_angles` is not finite in samples 90 to 130"
    with pytest.raises(ValueError, match=said) as error:
        data.pose[row]
    assert str(path) in str(error.value)
    assert_array_equal(
        data.pose[row - 1], samples["joint_angles"][80:120].T.astype("f4")
    )


def test_an_error_leaves_the_reader_usable(corpus):
    root, path, _ = corpus
    data = load_emg2pose(root, size=40)
    content, expected = path.read_bytes(), np.asarray(data.emg)
    path.write_bytes(content[:2000])
    for _ in range(3):
        with pytest.raises(ValueError, match="is no readable HDF5 file|is damaged"):
            np.asarray(data.emg)
    path.write_bytes(content)
    assert_array_equal(np.asarray(data.emg), expected)


def test_replaced_files_are_read_anew(corpus, corpora):
    root, path, samples = corpus
    data = load_emg2pose(root, size=40)
    row = np.flatnonzero(data.windows["recording"] == VICTIM)[0]
    before = data.emg[row]
    samples["emg"] += 1
    replace(path, samples, corpora)
    assert_array_equal(data.emg[row], samples["emg"][:40].T)
    assert not np.array_equal(data.emg[row], before)


# Fuzz


def damage(content, rng):
    """A copy of a file's bytes, cut or with one to eight bits turned."""
    if rng.random() < 0.3:
        return content[: rng.integers(len(content))]
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        # HDF5's own structures lie at either end; samples are most of the file.
        near = rng.integers(len(content) if rng.random() < 0.3 else 3000)
        content[near if rng.random() < 0.6 else -1 - near] ^= 1 << rng.integers(8)
    return bytes(content)


@pytest.fixture
def recording(tmp_path, corpora):
    """Writes a corpus of one recording, stored as told."""

    def write(**storage):
        root = tmp_path / "one"
        shutil.rmtree(root, ignore_errors=True)
        rows = [corpora.table_row()]
        corpora.write_corpus(root, rows, failed={0: [(100, 110)]}, **storage)
        return root, root / f"{rows[0]['filename']}.hdf5"

    return write


def load_all(root):
    data = load_emg2pose(root, size=40)
    return data.windows, np.asarray(data.emg), np.asarray(data.pose)


@pytest.mark.parametrize("storage", CHECKED.values(), ids=CHECKED)
def test_damage_to_checked_samples_is_always_noticed(recording, storage):
    root, path = recording(**storage)
    good, truth = path.read_bytes(), load_all(root)
    n_refused = 0
    for seed in range(400):
        path.write_bytes(damage(good, np.random.default_rng(seed)))
        try:
            found = load_all(root)
        except (ValueError, FileNotFoundError) as error:
            assert str(path) in str(error), seed
            n_refused += 1
        else:
            for a, b in zip(found, truth):
                assert_array_equal(a, b, err_msg=f"seed {seed}")
    assert n_refused > 200


@pytest.mark.parametrize("storage", UNCHECKED.values(), ids=UNCHECKED)
def test_damage_to_unchecked_samples_stays_where_it_is(recording, storage):
    """Without checksums a turned bit may pass, but never moves or scales samples."""
    root, path = recording(**storage)
    good, truth = path.read_bytes(), load_all(root)
    n_refused = 0
    for seed in range(400):
        path.write_bytes(damage(good, np.random.default_rng(seed)))
        try:
            windows, *signals = load_all(root)
        except (ValueError, FileNotFoundError) as error:
            assert str(path) in str(error), seed
            n_refused += 1
        else:
            assert_array_equal(windows, truth[0], err_msg=f"seed {seed}")
            changed = sum(np.sum(a != b) for a, b in zip(signals, truth[1:]))
            assert changed <= 8, seed
    assert n_refused > 100


def test_damage_is_skipped_too(recording, corpora):
    root, path = recording(compression="gzip")
    other = corpora.table_row(1)
    corpora.write_table(root, [corpora.table_row(), other])
    corpora.write_recording(
        root / f"{other['filename']}.hdf5", corpora.make_samples(90)
    )
    good, rng = path.read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        path.write_bytes(damage(good, rng))
        data = load_emg2pose(root, size=40, on_error="skip")
        skipped = [fault["filename"] for fault in data.report["recordings_skipped"]]
        assert skipped in ([], [path.stem])
        assert data.metadata["filename"].tolist()[-1] == other["filename"]
        assert len(data.metadata) + len(skipped) == 2
        outcomes.add(len(skipped))
    assert outcomes == {0, 1}


def test_no_files_are_left_open_by_errors(recording):
    root, path = recording()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="is no readable HDF5 file"):
        load_emg2pose(root, size=40)
    assert len(OPEN_FILES) == 0
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
