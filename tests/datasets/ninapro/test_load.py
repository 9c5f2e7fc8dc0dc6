"""The Ninapro reader against scipy, on synthetic files, damaged ones and the real ones."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array

from sk_cpep.datasets import load_ninapro_db1

_DEFAULT = Path(__file__).parents[3] / ".." / "shared" / "data" / "ninapro_db1"
REAL = Path(os.environ.get("SK_CPEP_NINAPRO_DB1", _DEFAULT))
needs_real = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="Ninapro DB1 is not at hand (set SK_CPEP_NINAPRO_DB1); "
    "test_agrees_with_scipy covers the same code on synthetic files",
)


def variables(n_times=60, subject=1, seed=0):
    """The variables of a small file in Ninapro's layout."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 13, n_times // 5), 5)[:, None].astype(np.uint8)
    repetitions = np.where(labels > 0, rng.integers(1, 11, labels.shape), 0).astype(
        np.uint8
    )
    return {
        "subject": np.uint8([[subject]]),
        "exercise": np.uint8([[1]]),
        "emg": rng.uniform(0, 4, (n_times, 10)),
        "glove": rng.integers(20, 200, (n_times, 22)).astype(float),
        "stimulus": np.roll(labels, 3),
        "repetition": np.roll(repetitions, 3),
        "restimulus": labels,
        "rerepetition": repetitions,
    }


def write(folder, user=1, compress=True, drop=(), **changes):
    """Write a file of Ninapro's name; return its path."""
    values = {**variables(subject=user, seed=user), **changes}
    path = folder / f"S{user}_A1_E1.mat"
    savemat(
        path,
        {k: v for k, v in values.items() if k not in drop},
        do_compression=compress,
    )
    return path


def same(data, truth):
    """Whether a Bunch of one recording holds exactly these variables."""
    return (
        np.array_equal(data.emg[0], truth["emg"].T.astype(np.float32))
        and np.array_equal(data.pose[0], truth["glove"].T.astype(np.float32))
        and np.array_equal(data.labels[0], truth["restimulus"][:, 0])
        and np.array_equal(data.repetitions[0], truth["rerepetition"][:, 0])
    )


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("refined", [True, False])
def test_agrees_with_scipy(tmp_path, compress, refined):
    paths = {s: write(tmp_path, s, compress) for s in (10, 2, 1)}
    (tmp_path / "S1_A1_E2.mat").write_bytes(b"another exercise")
    data = load_ninapro_db1(tmp_path, refined=refined)
    assert data.users.tolist() == [1, 2, 10]
    prefix = "re" if refined else ""
    for i, user in enumerate(data.users):
        truth = loadmat(paths[user])
        np.testing.assert_array_equal(data.emg[i], truth["emg"].T.astype(np.float32))
        np.testing.assert_array_equal(data.pose[i], truth["glove"].T)
        np.testing.assert_array_equal(data.labels[i], truth[prefix + "stimulus"][:, 0])
        np.testing.assert_array_equal(
            data.repetitions[i], truth[prefix + "repetition"][:, 0]
        )
        assert data.emg[i].dtype == data.pose[i].dtype == np.float32
        assert data.labels[i].dtype == data.repetitions[i].dtype == np.int16


def test_fields(tmp_path):
    write(tmp_path)
    data = load_ninapro_db1(str(tmp_path))
    assert data.sfreq == data.pose_sfreq == 100.0
    assert (len(data.channel_names), len(data.joint_names)) == (10, 22)
    assert len(data.gesture_names) == 13
    assert data.gesture_names[0] == "rest"
    assert data.gesture_names[1] == "index flexion"
    assert data.gesture_names[12] == "thumb extension"
    assert data.units["emg"] == "V"
    assert "doi:10.1038" in data.DESCR


def test_chosen_subjects_in_their_order(tmp_path):
    for subject in (1, 2, 3):
        write(tmp_path, subject)
    assert load_ninapro_db1(tmp_path, [3, 1]).users.tolist() == [3, 1]
    assert load_ninapro_db1(tmp_path, np.int64(2)).users.tolist() == [2]


def test_rest_has_no_repetition(tmp_path):
    write(tmp_path, rerepetition=np.full((60, 1), 4))
    data = load_ninapro_db1(tmp_path)
    np.testing.assert_array_equal(data.repetitions[0], 4 * (data.labels[0] > 0))


@pytest.mark.parametrize("short", ["emg", "glove", "restimulus", "rerepetition"])
@pytest.mark.parametrize("missing", [1, 2])
def test_trims_two_samples_and_says_so(tmp_path, short, missing):
    truth = variables(seed=1)
    write(tmp_path, **{short: truth[short][:-missing]})
    with pytest.warns(UserWarning, match=f"S1_A1_E1.mat.*first {60 - missing} samples"):
        data = load_ninapro_db1(tmp_path)
    cut = {name: values[: 60 - missing] for name, values in truth.items()}
    assert same(data, cut)


def test_refuses_to_trim_three(tmp_path):
    write(tmp_path, emg=np.ones((57, 10)))
    with pytest.raises(ValueError, match="S1_A1_E1.mat: lengths differ by 3"):
        load_ninapro_db1(tmp_path)


def test_missing_folder_files_subjects(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_ninapro_db1(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="found nothing"):
        load_ninapro_db1(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileNotFoundError, match="notes.txt.*unpack"):
        load_ninapro_db1(tmp_path)
    with pytest.raises(FileNotFoundError, match="is a file"):
        load_ninapro_db1(tmp_path / "notes.txt")
    write(tmp_path, 4)
    with pytest.raises(
        FileNotFoundError, match=r"missing subjects: \[5\].*there are \[4\]"
    ):
        load_ninapro_db1(tmp_path, [4, 5])


@pytest.mark.parametrize("subjects", [[], "1", [1.0], [True], True, 1.5, [1, 1]])
def test_bad_subjects(tmp_path, subjects):
    write(tmp_path)
    with pytest.raises(ValueError, match="subjects="):
        load_ninapro_db1(tmp_path, subjects)


NAN = np.full((60, 10), 1.0)
NAN[7, 3] = np.nan


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"drop": ["glove", "restimulus"]}, r"no \['glove', 'restimulus'\]"),
        (
            {"emg": np.ones((60, 8))},
            r"`emg` has shape \(60, 8\), expected \(n_times, 10\)",
        ),
        ({"emg": np.ones((10, 60))}, r"`emg` has shape \(10, 60\)"),
        ({"emg": np.ones((0, 10))}, r"`emg` has shape \(0, 10\)"),
        ({"emg": np.ones((3, 10, 2))}, "`emg` has shape"),
        ({"glove": np.ones((60, 20))}, r"`glove` has shape \(60, 20\)"),
        ({"emg": np.ones((60, 10)) * 1j}, "complex"),
        ({"emg": csc_array(np.eye(60, 10))}, "sparse"),
        ({"emg": "text"}, "`emg` is text, expected real numbers"),
        ({"emg": {"a": 1}}, "a structure, expected real numbers"),
        (
            {"glove": np.array([[1, "a"]], dtype=object)},
            "a cell array, expected real numbers",
        ),
        ({"emg": NAN}, "row 7, column 3"),
        ({"emg": np.full((60, 10), np.inf)}, "`emg` is not finite"),
        ({"emg": np.full((60, 10), 1e300)}, "values beyond"),
        ({"restimulus": np.full((60, 1), 13)}, r"`restimulus` holds \[13\].*0 to 12"),
        ({"restimulus": np.full((60, 1), -1)}, r"`restimulus` holds \[-1\]"),
        ({"restimulus": np.full((60, 1), 1.5)}, r"`restimulus` holds \[1.5\]"),
        ({"restimulus": np.full((60, 1), 65537)}, r"`restimulus` holds \[65537\]"),
        ({"rerepetition": np.full((60, 1), 11)}, r"`rerepetition` holds \[11\]"),
        ({"subject": [[7]]}, r"says subject 1, .*`subject` says \[7\]"),
        ({"exercise": [[2]]}, "says exercise 1"),
    ],
)
def test_wrong_contents(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_ninapro_db1(tmp_path)
    assert "S1_A1_E1.mat" in str(error.value)


def test_file_without_subject_is_read(tmp_path):
    write(tmp_path, drop=["subject", "exercise"])
    assert same(load_ninapro_db1(tmp_path), variables(seed=1))


def hdf5_file(path):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file["emg"] = np.ones((10, 5))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p.write_bytes(b""), "it is empty"),
        (
            lambda p: p.write_text("time,emg\n" * 40),
            "header is not that of a MATLAB 5 file",
        ),
        (lambda p: p.write_bytes(bytes(500)), "header is not that of"),
        (
            lambda p: savemat(p, {"emg": np.ones((5, 10))}, format="4"),
            "header is not that of",
        ),
        (hdf5_file, "MATLAB 7.3"),
    ],
    ids=["empty", "text", "zeros", "matlab4", "matlab73"],
)
def test_files_that_are_not_matlab_5(tmp_path, make, message):
    make(tmp_path / "S1_A1_E1.mat")
    with pytest.raises(ValueError, match=message) as error:
        load_ninapro_db1(tmp_path)
    assert "S1_A1_E1.mat" in str(error.value)


def outcome(path, raw):
    """The recording read from these bytes, or the named error."""
    path.write_bytes(raw)
    try:
        return load_ninapro_db1(path.parent)
    except ValueError as error:
        assert "S1_A1_E1.mat" in str(error)
        return None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("compress", [True, False])
def test_truncated_files_never_give_a_wrong_recording(tmp_path, compress):
    path = write(tmp_path, compress=compress)
    raw, truth = path.read_bytes(), variables(seed=1)
    lengths = np.unique(np.linspace(0, len(raw) - 1, 400).astype(int))
    for length in lengths:
        data = outcome(path, raw[:length])
        assert data is None or same(data, truth)


@pytest.mark.filterwarnings("error")
def test_flipped_bytes_of_a_compressed_file_never_give_a_wrong_recording(tmp_path):
    path = write(tmp_path)
    raw, truth = path.read_bytes(), variables(seed=1)
    rng = np.random.default_rng(0)
    positions = np.concatenate([np.arange(116, 400), rng.integers(400, len(raw), 500)])
    n_refused = 0
    for position in positions:
        damaged = bytearray(raw)
        damaged[position] ^= 1 << rng.integers(8)
        data = outcome(path, bytes(damaged))
        n_refused += data is None
        assert data is None or same(data, truth)
    assert n_refused > 0.9 * len(positions)


@pytest.mark.filterwarnings("error")
def test_flipped_bytes_of_an_uncompressed_file_alter_one_sample_at_most(tmp_path):
    path = write(tmp_path, compress=False)
    raw, truth = path.read_bytes(), variables(seed=1)
    names = [
        raw.find(name) for name in (b"emg", b"glove", b"restimulus", b"rerepetition")
    ]
    heads = np.concatenate([np.arange(n - 48, n + 32) for n in names])
    rng = np.random.default_rng(0)
    for position in np.concatenate([heads, rng.integers(128, len(raw), 400)]):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << rng.integers(8)
        data = outcome(path, bytes(damaged))
        if data is None:
            continue
        wrong = (data.emg[0] != truth["emg"].T.astype(np.float32)).sum()
        wrong += (data.pose[0] != truth["glove"].T).sum()
        wrong += (data.labels[0] != truth["restimulus"][:, 0]).sum()
        wrong += (data.repetitions[0] != truth["rerepetition"][:, 0]).sum()
        assert wrong <= 2, position  # a label of rest takes its repetition along


def test_damaged_checksum_is_noticed(tmp_path):
    path = write(tmp_path)
    raw = bytearray(path.read_bytes())
    start = 128
    for _ in range(3):  # subject, exercise, emg
        size = int.from_bytes(raw[start + 4 : start + 8], "little")
        start += 8 + size
    raw[start - 1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="S1_A1_E1.mat.*check"):
        load_ninapro_db1(tmp_path)


def big_endian_file(values):
    """A MATLAB 5 file as a big-endian machine writes it, by hand."""
    out = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    for name, array in values.items():
        storage = {"f": ">f8", "u": ">u1"}[array.dtype.kind]
        content = array.astype(storage).tobytes(order="F")
        parts = [
            (6, struct.pack(">II", 6 if storage == ">f8" else 9, 0)),
            (5, struct.pack(">ii", *array.shape)),
            (1, name.encode()),
            (9 if storage == ">f8" else 2, content),
        ]
        body = b"".join(
            struct.pack(">II", kind, len(c)) + c + bytes(-len(c) % 8)
            for kind, c in parts
        )
        out += struct.pack(">II", 14, len(body)) + body
    return out


def test_big_endian_file(tmp_path):
    truth = variables(seed=1)
    path = tmp_path / "S1_A1_E1.mat"
    path.write_bytes(big_endian_file(truth))
    np.testing.assert_array_equal(loadmat(path)["emg"], truth["emg"])
    assert same(load_ninapro_db1(tmp_path), truth)


@needs_real
def test_real_recordings():
    data = load_ninapro_db1(REAL, [1, 17])
    for i, user in enumerate(data.users):
        truth = loadmat(REAL / f"S{user}_A1_E1.mat")
        np.testing.assert_array_equal(data.emg[i], truth["emg"].T.astype(np.float32))
        np.testing.assert_array_equal(data.pose[i], truth["glove"].T.astype(np.float32))
        np.testing.assert_array_equal(data.labels[i], truth["restimulus"][:, 0])
        np.testing.assert_array_equal(data.repetitions[i], truth["rerepetition"][:, 0])
        pairs = set(zip(data.labels[i].tolist(), data.repetitions[i].tolist()))
        assert pairs == {(0, 0)} | {(g, r) for g in range(1, 13) for r in range(1, 11)}
