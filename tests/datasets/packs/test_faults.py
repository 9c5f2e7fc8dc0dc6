"""Packs that were killed, damaged, or meant for another folder."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import h5py
import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets import (
    load_pack,
    pack_emg2pose,
    read_emg2pose_metadata,
    write_emg2pose_corpus,
)
from sk_cpep.datasets.packs import _files
from sk_cpep.preprocessing import BandpassNotch

FILTER = BandpassNotch(2, 250, 60)
SIZE = 1000

# Packs ROOT into OUT, killed at each of the moments from which there is no way back:
# before the n-th time that something is put on disk, renamed or removed.
KILL_EVERYWHERE = """
import os, shutil, signal, sys
from pathlib import Path
from sk_cpep.datasets import pack_emg2pose
from sk_cpep.preprocessing import BandpassNotch

root, out, whole = map(Path, sys.argv[1:])

def pack(out):
    return pack_emg2pose(root, out, filter=BandpassNotch(2, 250, 60))

def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}

def kill_at(n):
    left = [n]
    def counted(function):
        def call(*args, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)
        return call
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))

pack(whole)
moment, killed = 1, True
while killed:
    child = os.fork()
    if not child:
        kill_at(moment)
        pack(out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, moment
    journal = out / "journal.jsonl"
    finished = (out / "manifest.json").exists()
    n_done = journal.read_bytes().count(b"}") if journal.exists() else 0
    report = pack(out)
    assert report.n_resumed == (report.n_packed if finished else n_done), moment
    assert content(out) == content(whole), moment
    shutil.rmtree(out)
    moment += 1
print(moment)
"""

# Packs ROOT into OUT by the command, and hangs in the middle of the third recording.
HANG_IN_THE_THIRD = """
import sys, time
from sk_cpep._cli import main
from sk_cpep.datasets.packs import _recording

write_blocks, calls = _recording.write_blocks, []

def hang(path, first, blocks):
    calls.append(path)
    if len(calls) == 6:
        write_blocks(path, first, 7 * blocks[:1])
        print("hanging", flush=True)
        time.sleep(600)
    write_blocks(path, first, blocks)

_recording.write_blocks = hang
main(["pack", *sys.argv[1:], "--quiet"])
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six recordings of about 3 s."""
    return write_emg2pose_corpus(
        tmp_path_factory.mktemp("corpus") / "emg2pose",
        3,
        stages=["ShakaVulcanPeace"],
        n_sessions=1,
        seconds=2.5,
        random_state=0,
    )


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """A pack made in one go, and its windows."""
    folder = tmp_path_factory.mktemp("packs") / "whole"
    pack_emg2pose(corpus, folder, filter=FILTER)
    return SimpleNamespace(folder=folder, **read_all(folder))


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole.folder, tmp_path / "copy")


@pytest.fixture
def broken(corpus, tmp_path):
    """A corpus in which the third file is cut short."""
    root = shutil.copytree(corpus, tmp_path / "broken")
    path = root / f"{read_emg2pose_metadata(root)['filename'][2]}.hdf5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return SimpleNamespace(root=root, path=path, content=content)


def read_all(folder, **options):
    data = load_pack(folder, size=SIZE, **options)
    arrays = {name: np.asarray(data[name]) for name in ("emg", "pose")}
    return arrays | {"windows": data.windows, "users": data.users}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupted(corpus, out, n, monkeypatch):
    """Pack until the n-th recording is on disk."""
    from sk_cpep.datasets.packs import _recording

    done = []

    def append(path, entry):
        _files.append_entry(path, entry)
        done.append(entry)
        if len(done) == n:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_recording, "append_entry", append)
        with pytest.raises(KeyboardInterrupt):
            pack_emg2pose(corpus, out, filter=FILTER)


# Killed and resumed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks to be killed")
def test_killed_at_every_moment(corpus, tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    rows = (corpus / "metadata.csv").read_text().splitlines(keepends=True)[:4]
    (root / "metadata.csv").write_text("".join(rows))
    for name in read_emg2pose_metadata(root)["filename"]:
        shutil.copy(corpus / f"{name}.hdf5", root)
    args = [root, tmp_path / "killed", tmp_path / "whole"]
    run = subprocess.run(
        [sys.executable, "-c", KILL_EVERYWHERE, *map(str, args)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_killed_command(corpus, whole, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", HANG_IN_THE_THIRD, corpus, out],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "hanging\n"
        with pytest.raises(BlockingIOError, match="Another process is packing"):
            pack_emg2pose(corpus, out, filter=FILTER)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="not finished: 2 of 6 recordings"):
        load_pack(out)
    report = pack_emg2pose(corpus, out, filter=FILTER)
    assert (report.n_resumed, report.n_packed) == (2, 6)
    assert content(out) == content(whole.folder)


@pytest.mark.parametrize("cut", [1, 2, 7, 300])
def test_torn_journal(corpus, whole, tmp_path, monkeypatch, cut):
    interrupted(corpus, tmp_path / "out", 3, monkeypatch)
    journal = tmp_path / "out" / "journal.jsonl"
    left = journal.read_bytes()[:-cut]
    journal.write_bytes(left)
    n_whole = left.count(b"}")
    report = pack_emg2pose(corpus, tmp_path / "out", filter=FILTER)
    assert report.n_resumed == n_whole
    assert content(tmp_path / "out") == content(whole.folder)


def test_altered_journal(corpus, whole, tmp_path, monkeypatch):
    interrupted(corpus, tmp_path / "out", 4, monkeypatch)
    journal = tmp_path / "out" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"runs":[[0,', b'"runs":[[1,')
    lines[2] = b"\0" * len(lines[2])  # as a power cut leaves it
    journal.write_bytes(b"".join(lines))
    assert pack_emg2pose(corpus, tmp_path / "out", filter=FILTER).n_resumed == 1
    assert content(tmp_path / "out") == content(whole.folder)


def test_what_is_done_is_not_read_again(corpus, whole, tmp_path, monkeypatch):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    interrupted(root, tmp_path / "out", 4, monkeypatch)
    for name in read_emg2pose_metadata(root)["filename"][:4]:
        (root / f"{name}.hdf5").unlink()
    report = pack_emg2pose(root, tmp_path / "out", filter=FILTER)
    assert report.n_resumed == 4
    assert content(tmp_path / "out") == content(whole.folder)


def test_samples_lost_before_the_end_are_packed_anew(
    corpus, whole, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    interrupted(corpus, out, 4, monkeypatch)
    flip(out / "emg-0000.npy", 128 + 9)
    with pytest.raises(OSError, match="1 recordings do not read back.*Run the same"):
        pack_emg2pose(corpus, out, filter=FILTER)
    with pytest.raises(ValueError, match="not finished: 5 of 6"):
        load_pack(out)
    assert pack_emg2pose(corpus, out, filter=FILTER).n_resumed == 5
    assert content(out) == content(whole.folder)


def test_shard_lost_before_the_end(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    interrupted(corpus, out, 1, monkeypatch)
    (out / "pose-0000.npy").unlink()
    with pytest.raises(OSError, match="pose-0000.npy was removed or changed"):
        pack_emg2pose(corpus, out, filter=FILTER)


# Folders that hold something else


@pytest.mark.parametrize(
    "change, message",
    [
        ({"emg_dtype": "float32"}, "emg_dtype='float16' there, 'float32' now"),
        ({"pose_rate": 100}, "pose_rate=200 there, 100 now"),
        ({"filter": None}, "filter=.*there, None now"),
        ({"filter": BandpassNotch(20, 250, 60)}, "'low': 2.*'low': 20"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_parameters(
    corpus, whole, tmp_path, monkeypatch, change, message, finished
):
    out = whole.folder
    if not finished:
        out = tmp_path / "out"
        interrupted(corpus, out, 1, monkeypatch)
    before = content(out)
    with pytest.raises(FileExistsError, match=message):
        pack_emg2pose(corpus, out, **{"filter": FILTER} | change)
    assert content(out) == before


def test_other_corpus(corpus, whole, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "other")
    table = root / "metadata.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileExistsError, match="made otherwise: metadata_checksum="):
        pack_emg2pose(root, whole.folder, filter=FILTER)


def test_foreign_folder(corpus, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds .'mine.txt'. and no pack"):
        pack_emg2pose(corpus, tmp_path, filter=FILTER)
    with pytest.raises(FileExistsError, match="and no pack"):
        pack_emg2pose(corpus, corpus, filter=FILTER)
    with pytest.raises(FileExistsError, match="mine.txt is a file"):
        pack_emg2pose(corpus, tmp_path / "mine.txt", filter=FILTER)
    assert content(tmp_path) == {"mine.txt": b"mine"}
    with pytest.raises(FileNotFoundError, match="holds no pack"):
        load_pack(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_pack(tmp_path / "nowhere")


def test_too_little_space(corpus, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="GiB free. Give a folder on a larger disk"):
        pack_emg2pose(corpus, tmp_path, filter=FILTER)


# Recordings that cannot be packed


def test_damaged_recording_raises_then_is_skipped_then_is_back(broken, whole, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=f"row 2 of metadata.csv: {broken.path}"):
        pack_emg2pose(broken.root, out, filter=FILTER)
    assert not out.exists()
    report = pack_emg2pose(broken.root, out, filter=FILTER, on_error="skip")
    (skipped,) = report.skipped
    assert (skipped["row"], skipped["filename"]) == (2, broken.path.stem)
    assert str(broken.path) in skipped["reason"]
    assert (report.n_packed, report.n_recordings) == (5, 6)
    assert load_pack(out, size=SIZE).report["recordings_skipped"] == [skipped]

    found, n_windows = read_all(out), whole.windows["recording"] != 2
    for name in ("emg", "pose", "users"):
        assert_array_equal(found[name], vars(whole)[name][n_windows])
    with pytest.raises(ValueError, match='without 1 of 6.*Pass on_error="skip"'):
        pack_emg2pose(broken.root, out, filter=FILTER)

    broken.path.write_bytes(broken.content)
    pack_emg2pose(broken.root, tmp_path / "again", filter=FILTER)
    assert content(tmp_path / "again") == content(whole.folder)


def test_damage_found_on_the_way(broken, whole, tmp_path):
    """A NaN is found when the samples are read, after the plan is made."""
    out = tmp_path / "out"
    broken.path.write_bytes(broken.content)
    with h5py.File(broken.path, "r+") as file:
        row = file["emg2pose/timeseries"][100]
        row["emg"][3] = np.nan
        file["emg2pose/timeseries"][100] = row
    with pytest.raises(ValueError, match="row 2 of .*nan at sample 100, column 3"):
        pack_emg2pose(broken.root, out, filter=FILTER)
    skipping = tmp_path / "skipping"
    report = pack_emg2pose(broken.root, skipping, filter=FILTER, on_error="skip")
    assert [entry["row"] for entry in report.skipped] == [2]
    everything = read_all(skipping, verify=True)
    rows = whole.windows["recording"] != 2
    assert_array_equal(everything["emg"], whole.emg[rows])

    broken.path.write_bytes(broken.content)  # mended, the same call goes on
    assert pack_emg2pose(broken.root, out, filter=FILTER).n_resumed == 2
    assert content(out) == content(whole.folder)


def test_missing_recording_and_changed_length(broken, tmp_path, corpus, monkeypatch):
    broken.path.unlink()
    with pytest.raises(FileNotFoundError, match="row 2 .* does not exist"):
        pack_emg2pose(broken.root, tmp_path / "out", filter=FILTER)
    names = read_emg2pose_metadata(corpus)["filename"]
    broken.path.write_bytes(broken.content)
    interrupted(broken.root, tmp_path / "out", 1, monkeypatch)
    shutil.copy(corpus / f"{names[-1]}.hdf5", broken.path)
    with pytest.raises(ValueError, match="samples, and had .* when the pack was begun"):
        pack_emg2pose(broken.root, tmp_path / "out", filter=FILTER)


def test_nothing_to_pack(corpus, tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    shutil.copy(corpus / "metadata.csv", root)
    with pytest.raises(ValueError, match="no recording that can be read; the first"):
        pack_emg2pose(root, tmp_path / "out", filter=FILTER, on_error="skip")
    assert not (tmp_path / "out").exists()


# Damaged packs


def flip(path, position, bit=6):
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


NAMES = ("emg-0000.npy", "pose-0000.npy", "recordings.jsonl", "metadata.csv")
NAMES += ("manifest.json",)


@pytest.mark.parametrize("name", NAMES)
def test_never_a_wrong_window(whole, copy, name):
    """Damage is named, or did not touch anything that is read."""
    path, rng = copy / name, np.random.default_rng(0)
    sound = path.read_bytes()
    n_named = 0
    positions = [*range(0, 128, 5), *rng.integers(0, len(sound), 60)]
    damages = [("flip", position) for position in positions]
    damages += [("cut", n) for n in (0, 1, 64, 128, len(sound) // 2, len(sound) - 1)]
    for damage, where in damages:
        if damage == "flip":
            flip(path, where, rng.integers(8))
        else:
            path.write_bytes(sound[:where])
        try:
            found = read_all(copy)
        except (ValueError, OSError) as error:
            assert str(copy) in str(error), (damage, where)
            n_named += 1
        else:
            for key, expected in found.items():
                assert_array_equal(vars(whole)[key], expected, f"{damage} {where}")
        path.write_bytes(sound)
    assert n_named > 0.9 * len(damages)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing|no {name}"):
        load_pack(copy)


def test_damage_is_found_at_once_or_when_it_is_read(whole, copy):
    flip(copy / "emg-0000.npy", 128 + 2 * 4000 * 16 * 2 + 5)  # in the third block
    data = load_pack(copy, size=SIZE)
    damaged = (data.windows["recording"] == 1) & (data.windows["start"] < 4000)
    assert_array_equal(np.asarray(data.emg[~damaged]), whole.emg[~damaged])
    with pytest.raises(ValueError, match="emg of .*samples 0 to 4000, is damaged"):
        data.emg.__getitems__(np.flatnonzero(damaged)[:1])
    with pytest.raises(ValueError, match="checksums of 1 recordings do not match"):
        load_pack(copy, verify=True)
    unchecked = load_pack(copy, size=SIZE, verify=False)
    assert not np.array_equal(np.asarray(unchecked.emg), whole.emg)


def test_verified_whole(whole):
    assert_array_equal(read_all(whole.folder, verify=True)["pose"], whole.pose)


def test_later_version_of_the_format(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text()) | {"version": 2}
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="version 2 of the format.*reads version 1"):
        load_pack(copy)


def replaced(path, content):
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def written_in_place(path, content):
    times = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, written_in_place])
@pytest.mark.parametrize("kind", ["emg", "pose"])
def test_a_shard_that_changes_while_it_is_open(copy, change, kind):
    data = load_pack(copy, size=SIZE)
    windows, other = data[kind], data["pose" if kind == "emg" else "emg"]
    before = np.asarray(windows)
    known = joblib.hash(windows), joblib.hash(other)
    assert joblib.hash(pickle.loads(pickle.dumps(windows))) == known[0]
    path = copy / f"{kind}-0000.npy"
    whole = path.read_bytes()
    change(path, whole)  # the same once more
    assert_array_equal(windows, before)
    assert joblib.hash(windows) != known[0]
    assert joblib.hash(other) == known[1]
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 8
    change(path, flipped)
    with pytest.raises(ValueError, match="its checksum does not match"):
        np.asarray(windows)
