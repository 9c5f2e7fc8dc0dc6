"""The reader of the Myo readings, on made-up zips, folders, damage, and the real ones."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets import load_myo_readings

_DEFAULT = Path(__file__).parents[3] / ".." / "shared" / "data" / "myo_readings"
REAL = Path(os.environ.get("SK_CPEP_MYO_READINGS", _DEFAULT))
needs_real = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="The Myo readings are not at hand (set SK_CPEP_MYO_READINGS); "
    "test_what_a_zip_holds covers the same code on made-up ones",
)


def values(n, gesture, seed):
    """Bytes (n, 8) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, gesture], -(-n // 2))[:n]
    return rng.integers(-128, 128, size=(n, 8)), labels


def as_text(emg, labels):
    rows = np.column_stack([emg, labels])
    return "".join(",".join(map(str, row)) + "\r\n" for row in rows).encode()


def files(user, sessions=(1, 2), n=40):
    """Contents by name, and what they say by (session, gesture)."""
    contents, said = {}, {}
    for session in sessions:
        for gesture in (0, 1, 7):
            n += 1
            emg, labels = values(n, gesture, seed=user + 100 * session + gesture)
            contents[f"{user}-{session}/{gesture}.txt"] = as_text(emg, labels)
            said[session, gesture] = emg, labels
    return contents, said


def write_zip(folder, user, contents):
    with zipfile.ZipFile(folder / f"{user}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("unpacked", [False, True])
def test_what_a_zip_holds(tmp_path, unpacked):
    expected = []
    for user, sessions in ((7, (0, 3)), (12, (1, 2))):
        contents, said = files(user, sessions)
        if unpacked:
            for name, content in contents.items():
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_bytes(content)
        else:
            write_zip(tmp_path, user, contents | {"notes.md": b"of no interest"})
        expected += [
            (user, 1 + sessions.index(session), gesture, *said[session, gesture])
            for session, gesture in said
        ]
    data = load_myo_readings(tmp_path)
    assert len(data.emg) == len(expected) == 12
    for i, (user, session, gesture, emg, labels) in enumerate(expected):
        assert (data.users[i], data.sessions[i], data.files[i]) == (
            user,
            session,
            gesture,
        )
        assert_array_equal(data.emg[i], emg.T)
        assert_array_equal(data.labels[i], labels)
        assert data.rates[i] == len(labels) / 60
    assert data.emg[0].dtype == np.float32
    assert data.sfreq == 200
    assert data.gesture_names[0] == "rest"
    assert data.gesture_names[7] == "fist"
    assert not data.n_broken.any()
    assert "pose" not in data
    assert "taken off: 4; files of about a minute: 12" in data.DESCR


def test_people_and_sessions_are_chosen(tmp_path):
    for user in (3, 5):
        write_zip(tmp_path, user, files(user, (2, 4, 9))[0])
    data = load_myo_readings(tmp_path, people=5, sessions=[1, 3])
    assert set(data.users) == {5}
    assert set(data.sessions) == {1, 3}
    assert len(data.emg) == 6
    with pytest.raises(FileNotFoundError, match=r"no readings of \[4\]"):
        load_myo_readings(tmp_path, people=[4, 5])
    with pytest.raises(FileNotFoundError, match=r"no sessions \[8\]"):
        load_myo_readings(tmp_path, sessions=8)
    for wrong in ("5", [], [True], [1.5]):
        with pytest.raises(ValueError, match=r"people=.*pass whole numbers"):
            load_myo_readings(tmp_path, people=wrong)


def test_broken_lines_are_left_out_counted_and_named(tmp_path):
    contents, said = files(3, (1,))
    lines = contents["3-1/1.txt"].split(b"\r\n")
    lines[4] = b"1,2,3"
    lines[9] = b"1,2,3,4,5,6,7,8,9,10,1"
    lines[11] = b"1,2,3,x,5,6,7,8,1"
    lines[20] = b"1,2,3,300,5,6,7,8,1"
    contents["3-1/1.txt"] = b"\r\n".join(lines)
    write_zip(tmp_path, 3, contents)
    with pytest.warns(UserWarning, match=r"4 broken lines .*\(3-1/1.txt: 4\)"):
        data = load_myo_readings(tmp_path)
    emg, labels = said[1, 1]
    kept = np.delete(np.arange(len(labels)), [4, 9, 11, 20])
    assert_array_equal(data.emg[1], emg[kept].T)
    assert_array_equal(data.labels[1], labels[kept])
    assert data.n_broken.tolist() == [0, 4, 0]
    assert data.rates[1] == len(labels) / 60


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_myo_readings(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no readings of anybody"):
        load_myo_readings(tmp_path)
    (tmp_path / "3.zip").write_bytes(b"no zip")
    with pytest.raises(FileNotFoundError, match="is a file"):
        load_myo_readings(tmp_path / "3.zip")
    with pytest.raises(ValueError, match=r"3.zip is damaged, or no zip"):
        load_myo_readings(tmp_path)
    write_zip(tmp_path, 3, {"3-1/1.txt": b"a, b\n"})
    with pytest.raises(ValueError, match=r"3-1/1.txt has no line of eight numbers"):
        load_myo_readings(tmp_path)
    write_zip(tmp_path, 3, {"3-1/1.txt": as_text(*values(20, 2, 0))})
    with pytest.raises(
        ValueError, match=r"3-1/1.txt has labels \[2\], expected 0 and 1"
    ):
        load_myo_readings(tmp_path)


def test_a_damaged_zip(tmp_path):
    write_zip(tmp_path, 3, files(3)[0])
    content = bytearray((tmp_path / "3.zip").read_bytes())
    content[60:80] = bytes(20)
    (tmp_path / "3.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load_myo_readings(tmp_path)


@needs_real
def test_the_real_readings():
    with pytest.warns(UserWarning, match=r"8 broken lines .*19999-2/2.txt: 1"):
        data = load_myo_readings(REAL)
    assert len(data.emg) == 8 * len(set(zip(data.users, data.sessions, strict=True)))
    assert len(np.unique(data.users)) == 19
    assert (
        np.bincount(np.unique([data.users, data.sessions], axis=1)[1])[1:4].min() == 19
    )
    for emg, labels, file in zip(data.emg, data.labels, data.files, strict=True):
        assert emg.shape == (8, len(labels))
        assert 11000 < len(labels) < 15000
        assert set(np.unique(labels)) == {0, file}
    one = load_myo_readings(REAL, people=10000, sessions=1)
    text = zipfile.ZipFile(REAL / "10000.zip").read("10000-1/3.txt").decode()
    table = np.array([line.split(",") for line in text.split()], dtype=int)
    assert_array_equal(one.emg[3], table[:, :8].T)
    assert_array_equal(one.labels[3], table[:, 8])
