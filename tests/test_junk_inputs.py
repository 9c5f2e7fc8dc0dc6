"""The commands under junk: a line that names it, never a traceback, nothing changed."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from sk_cpep import CPEP, MAE
from sk_cpep._cli import main
from sk_cpep.datasets import pack_emg2pose, write_emg2pose_corpus
from sk_cpep.fit import _cli

SIZES = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, max_epochs=1)
ENCODER = "\n".join(f"{name} = {value}" for name, value in SIZES.items()) + "\n"
CONFIG = f"""
[data]
emg = "emg.npy"
pose = "pose.npy"
groups = "users.npy"
[cpep]
max_epochs = 1
batch_size = 8
device = "cpu"
precision = "float32"
[cpep.emg_encoder]
fitted = "mae.joblib"
[cpep.pose_encoder]
patch_length = 5
{ENCODER}
[output]
model = "model.joblib"
overwrite = true
"""
OF_PACK = f"""
[data]
pack = "packed"
size = 400
[mae]
modality = "pose"
patch_length = 10
{ENCODER}
[output]
model = "model.joblib"
overwrite = true
"""
X = np.random.default_rng(0).normal(size=(8, 3, 40)).astype(np.float32)
P = np.random.default_rng(1).normal(size=(8, 2, 20)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with all that the two configurations name."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "emg.npy", X)
    np.save(folder / "pose.npy", P)
    np.save(folder / "users.npy", np.arange(8) % 2)
    mae = MAE(10, device="cpu", precision="float32", **SIZES).fit(X)
    joblib.dump(mae, folder / "mae.joblib")
    stages = ["ShakaVulcanPeace"]
    options = dict(stages=stages, n_sessions=1, seconds=1.0, random_state=0)
    write_emg2pose_corpus(folder / "corpus", 3, **options)
    pack_emg2pose(folder / "corpus", folder / "packed", filter=None, verify=False)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "f")
    return tmp_path / "f"


@pytest.fixture
def refused(folder, capsys):
    """``refused(config)``: the line in which a fit is; nothing may have changed."""

    def run(config=CONFIG):
        config = config if isinstance(config, bytes) else config.encode()
        (folder / "config.toml").write_bytes(config)
        before = content(folder)
        status = main(["fit", str(folder / "config.toml"), "--quiet"])
        said = capsys.readouterr()
        assert (status, said.out) == (2, "")
        assert said.err.startswith("sk_cpep: ")
        assert said.err.count("\n") == 1
        assert "allow_pickle" not in said.err
        assert content(folder) == before
        return said.err

    return run


def content(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


class Raises:
    """Raises when it is unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return throw, (self.error,)


def throw(error):
    raise error


def as_bytes(thing, save=pickle.dump):
    def write(path):
        with path.open("wb") as file:
            save(thing, file)

    return write


def as_array(values):
    return as_bytes(values, lambda x, file: np.save(file, x, allow_pickle=True))


def text(content):
    return lambda path: path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flipped_near_the_end(path):
    mae = joblib.load(path)
    state = mae.__getstate__()
    name = max(state["module_"], key=lambda name: state["module_"][name].size)
    weights = state["module_"][name].tobytes()
    raw = bytearray(path.read_bytes())
    raw[raw.index(weights) + len(weights) // 2] ^= 4
    path.write_bytes(raw)


def of_another_version(path):
    mae = joblib.load(path)
    del mae.mask_ratio
    joblib.dump(mae, path)


def as_folder(path):
    path.unlink()
    path.mkdir()


def with_value(array, value):
    array = array.astype(np.float64)
    array[5, 1, 3] = value
    return array


OBJECTS = np.array(["a", "b"] * 4, dtype=object)
STRUCTURED = np.zeros(8, [("a", "f4")])
ANY_JUNK = {
    "empty": (text(b""), "it is empty"),
    "text": (text(b"hello, I am text"), "nothing that numpy.save wrote"),
    "pickle": (as_bytes({"a": 1}), "nothing that numpy.save wrote"),
    "cut": (cut, "it is cut off"),
    "header only": (lambda p: p.write_bytes(p.read_bytes()[:128]), "it is cut off"),
    "half a header": (lambda p: p.write_bytes(p.read_bytes()[:60]), "reading array"),
    "npz": (as_bytes(X, lambda x, file: np.savez(file, x)), "it is an archive, .npz"),
    "objects": (as_array(OBJECTS), "holds Python objects; save numbers or text"),
    "structured": (as_array(STRUCTURED), "of shape (8,) and type [('a', '<f4')]"),
    "complex": (as_array(X.astype(complex)), "type complex128"),
    "no dimension": (as_array(3.0), "of shape ()"),
    "folder": (as_folder, ": no such file"),
    "missing": (Path.unlink, ": no such file"),
}
WINDOWS_JUNK = ANY_JUNK | {
    "one dimension": (as_array(X[:, 0, 0]), "of shape (8,)"),
    "four dimensions": (as_array(X[None]), "of shape (1, 8, 3, 40)"),
    "no windows": (as_array(X[:0]), "of shape (0, 3, 40)"),
    "no channels": (as_array(X[:, :0]), "of shape (8, 0, 40)"),
    "no samples": (as_array(X[:, :, :0]), "of shape (8, 3, 0)"),
    "bool": (as_array(X > 0), "type bool"),
    "strings": (as_array(X.astype(str)), "type <U"),
    "fewer": (as_array(X[:5]), "must pair row by row"),
    "NaN": (as_array(with_value(X, np.nan)), "window 5 holds NaN"),
    "infinity": (as_array(with_value(X, -np.inf)), "window 5 holds NaN"),
    "huge": (as_array(with_value(X, 1e300)), "window 5 holds NaN"),
}
GROUPS_JUNK = ANY_JUNK | {
    "too few": (as_array(np.arange(5)), "for each of 8 windows"),
    "two columns": (as_array(np.zeros((8, 2))), "of shape (8, 2)"),
    "NaN": (as_array([0, 1, 0, 1, 0, 1, np.nan, np.nan]), "NaN for 2 of 8 windows"),
    "dates": (as_array(np.arange(8).astype("M8[s]")), "type datetime64[s]"),
}
FITTED_JUNK = {
    "empty": (text(b""), "cannot be loaded (EOFError)"),
    "text": (text(b"hello"), "cannot be loaded"),
    "cut": (cut, "cannot be loaded"),
    "zeros": (text(bytes(100)), "cannot be loaded"),
    "npy": (as_array(X), "cannot be loaded"),
    "torch": (as_bytes({"a": torch.ones(3)}, torch.save), "cannot be loaded"),
    "dict": (as_bytes({"a": 1}), "holds: dict"),
    "CPEP": (as_bytes(CPEP()), "holds: CPEP"),
    "not fitted": (as_bytes(MAE()), "holds: MAE"),
    "raises": (as_bytes(Raises(RuntimeError("boom"))), "(RuntimeError: boom)"),
    "exits": (as_bytes(Raises(SystemExit(3))), "(SystemExit: 3)"),
    "no such module": (text(b"cno_such_module\nX\n."), "ModuleNotFoundError"),
    "another version": (of_another_version, "of another version, without mask_ratio"),
    "flipped bit": (flipped_near_the_end, "its file is damaged"),
    "folder": (as_folder, "is a folder"),
    "missing": (Path.unlink, "does not exist"),
}
JUNK = {
    "emg.npy": WINDOWS_JUNK,
    "pose.npy": WINDOWS_JUNK,
    "users.npy": GROUPS_JUNK,
    "mae.joblib": FITTED_JUNK,
}


@pytest.mark.parametrize(
    "name, kind", [(name, kind) for name, kinds in JUNK.items() for kind in kinds]
)
def test_junk_in_place_of_a_file(refused, folder, name, kind):
    change, expected = JUNK[name][kind]
    change(folder / name)
    said = refused()
    assert str(folder / name) in said
    assert expected in said


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.longdouble),
        lambda x: (100 * x).astype(np.int16),
        lambda x: x.astype(np.float16),
    ],
)
def test_any_numbers_are_right(folder, change):
    np.save(folder / "emg.npy", change(X))
    np.save(folder / "users.npy", np.array(["a", "b"] * 4)[:, None])
    (folder / "config.toml").write_text(CONFIG)
    assert main(["fit", str(folder / "config.toml"), "--quiet"]) == 0


@pytest.mark.parametrize(
    "config, expected",
    [
        (b"\x00\xff\x93", "is no TOML file"),
        (CONFIG.encode("utf-16"), "is no TOML file"),
        (b'{"data": 1}', "is no TOML file"),
        (b"[data]\nx = " + b"[" * 5000, "is no TOML file"),
        (b"", "one of [cpep] and [mae]"),
        ("data = 3\n[mae]", "data is to be a table"),
        ("[[data]]\n[mae]", "data is to be a table"),
        (CONFIG.replace("max_epochs = 1", 'max_epochs = "3"', 1), "Got '3' instead"),
        (
            CONFIG.replace("max_epochs = 1", "max_epochs = 2020-01-01", 1),
            "'max_epochs'",
        ),
        (CONFIG.replace("batch_size = 8", "batch_size = [[8]]"), "'batch_size'"),
        (CONFIG.replace("batch_size = 8", "lr = nan"), "Got nan instead"),
        (CONFIG.replace("batch_size = 8", "batch_size = {a = 1}"), "'batch_size'"),
        (CONFIG.replace('"emg.npy"', "3"), "'emg' parameter of [data]"),
        (CONFIG.replace('"emg.npy"', '"a\\u0000b"'), "'a\\x00b' is no path"),
        (CONFIG.replace('"model.joblib"', '"a\\u0000b"'), "'a\\x00b' is no path"),
        (CONFIG.replace('"model.joblib"', '""'), "is a folder: give a file"),
        (CONFIG.replace("model.joblib", "m" * 250), "File name too long"),
        (CONFIG.replace("true", '"yes"'), "'overwrite' parameter of [output]"),
        (OF_PACK.replace('"packed"', '"gone"'), "gone does not exist"),
        (OF_PACK.replace('"packed"', '"emg.npy"'), "emg.npy is a file, not a folder"),
        (OF_PACK.replace('"packed"', '"corpus"'), "corpus holds no pack"),
        (
            OF_PACK.replace("size = 400", f"size = {10**24}"),
            "'size' parameter of [data]",
        ),
        (OF_PACK.replace("size = 400", "users = [1, [2]]"), "user holds [2]"),
    ],
)
def test_configurations_of_junk(refused, config, expected):
    assert expected in refused(config)


def test_a_byte_order_mark_is_no_junk(folder):
    (folder / "config.toml").write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    assert main(["fit", str(folder / "config.toml"), "--quiet"]) == 0


def test_a_configuration_that_is_a_folder(folder, capsys):
    assert main(["fit", str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err


@pytest.mark.parametrize("change", [Path.unlink, text(b""), text(b"[1]"), as_folder])
@pytest.mark.parametrize(
    "name", ["manifest.json", "recordings.jsonl", "metadata.csv", "pose-0000.npy"]
)
def test_packs_of_junk(refused, folder, name, change):
    change(folder / "packed" / name)
    assert str(folder / "packed") in refused(OF_PACK)


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "plan.json",
        "recordings.jsonl",
        "metadata.csv",
        "pose-0000.npy",
    ],
)
def test_no_flipped_bit_of_a_pack_is_used(refused, folder, name):
    path = folder / "packed" / name
    if name == "plan.json":
        (folder / "packed" / "manifest.json").rename(path)
    whole = path.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 12).astype(int):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        path.write_bytes(flipped)
        assert str(folder / "packed") in refused(OF_PACK)


INPUTS = ["emg.npy", "pose.npy", "users.npy", "mae.joblib", "config.toml"]


def spelled_otherwise(path):
    return path.parent / "corpus" / ".." / path.name


def by_a_link(path):
    (path.parent / "link").symlink_to(path)
    return path.parent / "link"


def by_a_hard_link(path):
    os.link(path, path.parent / "hard")
    return path.parent / "hard"


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(
    "spell", [Path, lambda p: p.name, spelled_otherwise, by_a_link, by_a_hard_link]
)
def test_a_model_takes_the_place_of_no_input(refused, folder, name, spell):
    (folder / name).touch()
    model = spell(folder / name)
    said = refused(CONFIG.replace('"model.joblib"', f"'{model}'"))
    assert f"model = {folder / model} is " in said
    assert f" = {folder / name}, which is read" in said


@pytest.mark.parametrize(
    "model, runs, expected",
    [
        ("packed/model", None, "lies in [data] pack"),
        ("packed/emg-0000.npy", None, "lies in [data] pack"),
        ("linked/model", None, "lies in [data] pack"),
        ("into_pack", None, "lies in [data] pack"),
        ("packed", None, "is [data] pack"),
        ("pipe", None, "is no regular file"),
        ("m", "packed", "run_dir = {folder}/packed is [data] pack"),
        ("m", "linked/runs", "lies in [data] pack"),
        ("m", "config.toml", "config.toml is CONFIG"),
        ("m", "mae.joblib", "mae.joblib is a file"),
        ("runs", "runs", "has its runs"),
        ("runs/mae-0123/x", "runs", "has its runs"),
        ("runs/x", "runs/x/y", "has its runs"),
    ],
)
def test_outputs_in_inputs_and_in_each_other(refused, folder, model, runs, expected):
    (folder / "linked").symlink_to(folder / "packed")
    (folder / "into_pack").symlink_to(folder / "packed" / "new")
    os.mkfifo(folder / "pipe")
    config = OF_PACK.replace("model.joblib", model)
    if runs is not None:
        config += f'run_dir = "{runs}"\n'
    assert expected.format(folder=folder) in refused(config)
    assert not (folder / "runs").exists()


def test_a_model_beside_the_runs(folder):
    output = "runs/model.joblib"
    config = OF_PACK.replace("model.joblib", output) + 'run_dir = "runs"\n'
    (folder / "config.toml").write_text(config)
    assert main(["fit", str(folder / "config.toml"), "--quiet"]) == 0
    assert joblib.load(folder / output).n_iter_ == 1


def test_a_full_disk_leaves_the_earlier_model(refused, folder, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    (folder / "model.joblib").write_text("an earlier model")
    monkeypatch.setattr("sk_cpep._whole_file.sync", full)
    assert "No space left on device" in refused()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 TiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 TiB"),
    ],
)
def test_too_little_memory(refused, monkeypatch, error):
    monkeypatch.setattr(_cli, "fit_windows", lambda *args: throw(error))
    assert f"out of memory: {error}" in refused()


def test_other_errors_are_not_taken_for_input(folder, monkeypatch):
    def fails(*args):
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(_cli, "fit_windows", fails)
    (folder / "config.toml").write_text(CONFIG)
    with pytest.raises(RuntimeError, match="of our own"):
        main(["fit", str(folder / "config.toml"), "--quiet"])


def content_of(name, content):
    def make(folder):
        (folder / "data").mkdir()
        (folder / "data" / name).write_bytes(content)

    return make


DATA = [
    (lambda folder: None, "data does not exist"),
    (lambda folder: (folder / "data").mkdir(), "found nothing|tables found: none"),
    (lambda folder: (folder / "data").write_text("x"), "data is a file"),
    (content_of("a.txt", b"x"), "a.txt|tables found: none"),
]
FILES = [
    ("demo", content_of("S1_A1_E1.mat", b"junk"), "S1_A1_E1.mat cannot be read"),
    ("demo", content_of("S1_A1_E1.mat", b""), "it is empty"),
    ("pack", content_of("metadata.csv", b""), "metadata.csv has no rows"),
    ("pack", content_of("metadata.csv", b"\xff\0"), "no table of comma-separated"),
    ("pack", content_of("metadata.csv", b"a,b\n1,2\n"), "metadata.csv lacks"),
]


@pytest.mark.parametrize(
    "command, make, expected",
    [(c, *case) for c in ("demo", "pack") for case in DATA] + FILES,
)
def test_data_of_junk(tmp_path, capsys, command, make, expected):
    make(tmp_path)
    data, out = str(tmp_path / "data"), str(tmp_path / "out")
    args = ["--data", data, "--out", out] if command == "demo" else [data, out]
    before = content(tmp_path)
    assert main([command, *args, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path / "data") in said
    assert any(part in said for part in expected.split("|"))
    assert content(tmp_path) == before


def test_results_do_not_go_where_the_data_are(tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "results.json").write_text("mine")
    args = ["demo", "--data", str(tmp_path), "--out", str(tmp_path / "link")]
    assert main([*args, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"--out {tmp_path / 'link'} is --data {tmp_path}" in said
    assert content(tmp_path) == {str(tmp_path / "results.json"): b"mine"}


@pytest.mark.parametrize("name, kind", [("emg.npy", "npz"), ("mae.joblib", "raises")])
def test_in_a_process_of_its_own(folder, name, kind):
    change, expected = JUNK[name][kind]
    change(folder / name)
    (folder / "config.toml").write_text(CONFIG)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "sk_cpep", "fit", str(folder / "config.toml")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(folder / name) in done.stderr
    assert expected in done.stderr
