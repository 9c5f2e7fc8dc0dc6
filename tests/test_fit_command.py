"""The command line: a fit that is described in a file."""

import os
import socket
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from sk_cpep import CPEP, MAE, InstanceNorm
from sk_cpep._cli import main
from sk_cpep.datasets import load_pack, pack_emg2pose, write_emg2pose_corpus
from sk_cpep.fit import _windows
from sk_cpep.fit._arguments import EXAMPLE
from sk_cpep.fit._config import read_config

SIZES = """
d_model = 8
n_layers = 1
n_decoder_layers = 1
n_heads = 2
max_epochs = 1
batch_size = 8
"""
TRAINING = """
device = "cpu"
precision = "float32"
random_state = 0
"""
ARRAYS = '[data]\nemg = "emg.npy"\npose = "pose.npy"\n'
OUTPUT = '[output]\nmodel = "model.joblib"\n'
ENCODERS = f"""
[cpep.emg_encoder]
patch_length = 10
{SIZES}
[cpep.pose_encoder]
patch_length = 5
{SIZES}
"""
CPEP_TABLE = f"[cpep]\nmax_epochs = 2\nbatch_size = 8\n{TRAINING}{ENCODERS}"
MAE_TABLE = f'[mae]\nmodality = "emg"\npatch_length = 10\n{SIZES}{TRAINING}'
TINY = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, batch_size=8)
ON_CPU = dict(device="cpu", precision="float32")


def windows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3, 40)).astype(np.float32)
    return X, rng.normal(size=(20, 2, 20)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    X, P = windows()
    np.save(tmp_path / "emg.npy", X)
    np.save(tmp_path / "pose.npy", P)
    np.save(tmp_path / "users.npy", np.arange(20) % 2)
    return tmp_path


@pytest.fixture
def fit(folder, capsys):
    """``python -m sk_cpep fit`` in this process: exit status, output, errors."""

    def run(*parts, quiet=False):
        config = folder / "config.toml"
        config.write_text("\n".join(parts))
        status = main(["fit", str(config), *(["--quiet"] if quiet else [])])
        return status, *capsys.readouterr()

    return run


def small_cpep(**options):
    emg, pose = (MAE(n, max_epochs=1, **TINY, **ON_CPU) for n in (10, 5))
    options = dict(max_epochs=2, batch_size=8, random_state=0) | ON_CPU | options
    return CPEP(emg, pose, **options)


def test_cpep_of_arrays(fit, folder):
    status, out, err = fit(ARRAYS, CPEP_TABLE, OUTPUT)
    assert status == 0
    assert "CPEP on 20 windows of" in out
    assert "(emg 3 x 40, pose 2 x 20)\n8 windows a step, on cpu\n" in out
    for stage in ("emg_encoder: loss", "pose_encoder: loss", "alignment: loss"):
        assert f"\n{stage}" in out
    assert "in 2 epochs" in out
    assert " windows/s\n" in out
    assert f"{folder / 'model.joblib'}; " in out
    assert "CPEP alignment: 100%" in err
    X, P = windows()
    loaded = joblib.load(folder / "model.joblib")
    expected = small_cpep().fit(X, P)
    assert_allclose(loaded.transform(X), expected.transform(X), atol=1e-6)
    assert_allclose(loaded.transform_pose(P), expected.transform_pose(P), atol=1e-6)


def test_groups_and_normalised_arrays(fit, folder):
    data = ARRAYS + 'groups = "users.npy"\nnormalise = "channel"\n'
    status, out, err = fit(data, CPEP_TABLE, OUTPUT, quiet=True)
    assert status == 0
    assert err == ""
    assert len(out.splitlines()) == 4
    X, P = windows()
    X = InstanceNorm().fit_transform(X)
    expected = small_cpep().fit(X, P, groups=np.arange(20) % 2)
    loaded = joblib.load(folder / "model.joblib")
    assert_allclose(loaded.transform(X), expected.transform(X), atol=1e-6)


@pytest.mark.parametrize("modality, patch_length", [("emg", 10), ("pose", 5)])
def test_mae_alone(fit, folder, modality, patch_length):
    table = MAE_TABLE.replace('"emg"', f'"{modality}"')
    table = table.replace("patch_length = 10", f"patch_length = {patch_length}")
    status, out, _ = fit(f'[data]\n{modality} = "{modality}.npy"', table, OUTPUT)
    assert status == 0
    assert f"\n{modality}: loss" in out
    X = dict(zip(("emg", "pose"), windows()))[modality]
    expected = MAE(patch_length, max_epochs=1, random_state=0, **TINY, **ON_CPU).fit(X)
    loaded = joblib.load(folder / "model.joblib")
    assert_array_equal(loaded.transform(X), expected.transform(X))


def test_pack(fit, folder):
    corpus = write_emg2pose_corpus(
        folder / "corpus",
        3,
        stages=["ShakaVulcanPeace"],
        n_sessions=1,
        seconds=1.0,
        random_state=0,
    )
    pack_emg2pose(corpus, folder / "packed", filter=None, verify=False)
    choices = dict(size=400, stride=400, sides="left")
    data = '[data]\npack = "packed"\nsize = 400\nstride = 400\nsides = "left"\n'
    data += 'groups = "users"\nnormalise = "window"\n'
    table = CPEP_TABLE.replace("patch_length = 10", "patch_length = 40")
    status, out, _ = fit(data, table, OUTPUT, quiet=True)
    assert status == 0
    pack = load_pack(folder / "packed", **choices)
    X, P = InstanceNorm("window").fit_transform(pack.emg), np.asarray(pack.pose)
    cpep = small_cpep()
    cpep.emg_encoder.set_params(patch_length=40)
    cpep.fit(X, P, groups=pack.users)
    loaded = joblib.load(folder / "model.joblib")
    assert_allclose(loaded.transform(X), cpep.transform(X), atol=1e-6)


STOPS = "early_stopping = true\nvalidation_fraction = 0.25\n"


@pytest.mark.parametrize("name", ["groups", "validation_groups"])
def test_what_early_stopping_sets_aside(fit, folder, name):
    groups = np.arange(20) // 5
    np.save(folder / "sets.npy", groups)
    data = f'[data]\nemg = "emg.npy"\n{name} = "sets.npy"'
    status, *_ = fit(data, MAE_TABLE + STOPS, OUTPUT)
    assert status == 0
    X = windows()[0]
    stops = dict(early_stopping=True, validation_fraction=0.25)
    mae = MAE(10, max_epochs=1, random_state=0, **TINY, **ON_CPU, **stops)
    expected, alone = mae.fit(X, **{name: groups}).transform(X), mae.fit(X).transform(X)
    assert_array_equal(joblib.load(folder / "model.joblib").transform(X), expected)
    assert (expected != alone).any()


@pytest.mark.parametrize("kind", ["users", "recordings"])
def test_what_is_set_aside_of_a_pack(kind):
    pack = Bunch(
        users=np.array(["a", "b"]), emg=Bunch(recordings=np.arange(2)), pose=None
    )
    data = {"pack": "p", "validation_groups": kind}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_windows, "load_pack", lambda **choices: pack)
        loaded = _windows.load_windows(data)
    of_kind = {"users": pack.users, "recordings": pack.emg.recordings}
    assert_array_equal(loaded.validation_groups, of_kind[kind])
    assert loaded.groups is None


def test_encoders_that_are_fitted_already(fit, folder):
    X, P = windows()
    mae = MAE(5, max_epochs=1, random_state=1, **TINY, **ON_CPU).fit(P)
    joblib.dump(mae, folder / "pose_mae.joblib")
    head, _ = CPEP_TABLE.split("[cpep.pose_encoder]")
    table = f'{head}[cpep.pose_encoder]\nfitted = "pose_mae.joblib"\n'
    status, out, _ = fit(ARRAYS, table, OUTPUT)
    assert status == 0
    assert "pose_encoder: not trained" in out
    expected = small_cpep().set_params(pose_encoder=FrozenEstimator(mae)).fit(X, P)
    loaded = joblib.load(folder / "model.joblib")
    assert_allclose(loaded.transform(X), expected.transform(X), atol=1e-6)


def test_encoders_take_after_cpep(folder):
    config = folder / "config.toml"
    table = '[cpep]\ndevice = "cpu"\nprecision = "bfloat16"\n'
    table += "[cpep.pose_encoder]\nprecision = 'float32'\n"
    config.write_text(ARRAYS + table + OUTPUT)
    cpep = read_config(config, verbose=3).estimator
    assert (cpep.emg_encoder.patch_length, cpep.pose_encoder.patch_length) == (50, 200)
    assert (cpep.emg_encoder.device, cpep.pose_encoder.device) == ("cpu", "cpu")
    assert cpep.emg_encoder.precision == "bfloat16"
    assert cpep.pose_encoder.precision == "float32"
    assert {cpep.verbose, cpep.emg_encoder.verbose, cpep.pose_encoder.verbose} == {3}


def test_run_dir_is_told_to_the_estimator(folder):
    config = folder / "config.toml"
    config.write_text(ARRAYS + MAE_TABLE + OUTPUT + 'run_dir = "states"')
    assert read_config(config).estimator.run_dir == str(folder / "states")


def test_a_fit_is_resumed_from_its_run(fit, folder):
    output = OUTPUT + 'run_dir = "states"'
    table = MAE_TABLE + "restart_period = 2\n"
    assert fit(ARRAYS, table, output)[0] == 0
    assert len(list((folder / "states").glob("mae-*/checkpoint.pt"))) == 1
    longer = table.replace("max_epochs = 1", "max_epochs = 2")
    status, out, err = fit(ARRAYS, longer, output + "\noverwrite = true")
    assert status == 0
    assert f"runs in {folder / 'states'}\n" in out
    assert "in 2 epochs" in out
    assert fit(ARRAYS, longer, '[output]\nmodel = "whole.joblib"')[0] == 0
    in_parts, whole = (joblib.load(folder / f"{n}.joblib") for n in ("model", "whole"))
    X, _ = windows()
    assert_array_equal(in_parts.transform(X), whole.transform(X))


def test_a_model_is_not_overwritten_unless_told(fit, folder):
    (folder / "model.joblib").write_text("precious")
    status, out, err = fit(ARRAYS, MAE_TABLE, OUTPUT)
    assert status == 2
    assert out == ""
    assert "model.joblib exists: give another file, or overwrite = true" in err
    assert (folder / "model.joblib").read_text() == "precious"
    status, *_ = fit(ARRAYS, MAE_TABLE, OUTPUT + "overwrite = true")
    assert status == 0
    assert joblib.load(folder / "model.joblib").n_iter_ == 1
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize(
    "model, expected",
    [
        (".", "is a folder: give a file"),
        ("emg.npy/model.joblib", "File exists"),
    ],
)
def test_output_that_cannot_be_written(fit, model, expected):
    output = OUTPUT.replace("model.joblib", model)
    status, out, err = fit(ARRAYS, MAE_TABLE, output)
    assert status == 2
    assert out == ""  # nothing was begun
    assert expected in err


def test_the_model_appears_whole_or_not_at_all(fit, folder, monkeypatch):
    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sk_cpep._whole_file.os.replace", fails)
    status, _, err = fit(ARRAYS, MAE_TABLE, OUTPUT)
    assert status == 2
    assert "No space left on device" in err
    assert not (folder / "model.joblib").exists()


@pytest.mark.parametrize(
    "parts, expected",
    [
        (["[data"], "is no TOML file: "),
        ([ARRAYS, OUTPUT], "one of [cpep] and [mae] says what is fitted, got none"),
        ([ARRAYS, MAE_TABLE, "[cpep]", OUTPUT], "got ['cpep', 'mae']"),
        ([ARRAYS, "[maes]", OUTPUT], "unknown table, 'maes'. Did you mean 'mae'?"),
        (["data = 1", MAE_TABLE, OUTPUT], "data is to be a table, [data], not 1"),
        ([MAE_TABLE, OUTPUT], "[data] needs pack, a folder that"),
        (['[data]\npcak = "x"', MAE_TABLE, OUTPUT], "'pcak'. Did you mean 'pack'?"),
        (['[data]\npack = "x"\nemg = "y"', MAE_TABLE, OUTPUT], "not both"),
        (['[data]\npack = "x"\nszie = 4', MAE_TABLE, OUTPUT], "Did you mean 'size'?"),
        (
            ['[data]\npack = "x"\nsize = "4"', MAE_TABLE, OUTPUT],
            "The 'size' parameter of [data] must be an int in the range",
        ),
        (['[data]\npack = "x"', MAE_TABLE, OUTPUT], "x does not exist"),
        (['[data]\nemg = "x.npy"', MAE_TABLE, OUTPUT], "x.npy: no such file"),
        (['[data]\npose = "pose.npy"', MAE_TABLE, OUTPUT], "[data] needs emg, which"),
        (['[data]\nemg = "emg.npy"', CPEP_TABLE, OUTPUT], "[data] needs pose, which"),
        (
            [ARRAYS + 'normalise = "chanel"', MAE_TABLE, OUTPUT],
            "'normalise' parameter of [data] must be a str among",
        ),
        ([ARRAYS, MAE_TABLE + "lrr = 1", OUTPUT], "'lrr'. Did you mean 'lr'?"),
        ([ARRAYS, MAE_TABLE + "lr = 'a'", OUTPUT], "[mae] The 'lr' parameter of MAE"),
        ([ARRAYS, "[mae]", OUTPUT], "[mae] modality must be 'emg' or 'pose', got None"),
        ([ARRAYS, MAE_TABLE + "callbacks = []", OUTPUT], "unknown key, 'callbacks'"),
        (
            [ARRAYS, "[cpep]\nemg_encoder = 3", OUTPUT],
            "emg_encoder is to be a table, [cpep.emg_encoder], not 3",
        ),
        (
            [ARRAYS, "[cpep.emg_encoder]\nmask_ratio = 2.0", OUTPUT],
            "[cpep.emg_encoder] The 'mask_ratio' parameter of MAE must be",
        ),
        (
            [ARRAYS, "[cpep.pose_encoder]\nfitted = 'm'\nlr = 1", OUTPUT],
            "[cpep.pose_encoder] has an unknown key, 'lr'",
        ),
        ([ARRAYS, MAE_TABLE], "[output] needs model"),
        ([ARRAYS, MAE_TABLE, "[output]\nmodel = 3"], "'model' parameter of [output]"),
        ([ARRAYS, MAE_TABLE + "device = 'gpu9'", OUTPUT], "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_with_a_file(fit, folder, parts, expected):
    status, out, err = fit(*parts)
    assert status == 2
    assert out == ""
    assert expected in err
    assert err.count("\n") == 1
    assert not (folder / "model.joblib").exists()


def test_the_example_of_the_help(folder, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    assert textwrap.dedent(EXAMPLE) in capsys.readouterr().out
    config = folder / "config.toml"
    config.write_text(EXAMPLE)
    assert read_config(config).estimator.max_epochs == 100
    arrays = EXAMPLE.replace("pack =", "# pack =").replace("split =", "# split =")
    for name in ("emg = ", "pose = ", 'groups = "users.npy"'):
        arrays = arrays.replace(f"# {name}", name)
    config.write_text(arrays)
    assert read_config(config).data["groups"] == str(folder / "users.npy")


def test_no_file(capsys):
    assert main(["fit", "nowhere.toml"]) == 2
    assert "nowhere.toml" in capsys.readouterr().err


def test_a_file_of_something_else(fit, folder):
    joblib.dump(MAE(), folder / "new.joblib")
    table = "[cpep.emg_encoder]\nfitted = 'new.joblib'\n"
    _, _, err = fit(ARRAYS, table, OUTPUT)
    assert "fitted must be the file of a fitted MAE" in err
    np.save(folder / "emg.npy", np.zeros(3))
    _, _, err = fit(ARRAYS, MAE_TABLE, OUTPUT)
    assert "emg.npy holds an array of shape (3,) and type float64: expected" in err
    (folder / "emg.npy").write_text("no array")
    _, _, err = fit(ARRAYS, MAE_TABLE, OUTPUT)
    assert "emg.npy is no .npy file of numbers" in err


def test_two_dimensions_are_one_channel(fit, folder):
    np.save(folder / "emg.npy", windows()[0][:, 0].astype(np.float64))
    status, out, _ = fit(ARRAYS, MAE_TABLE, OUTPUT)
    assert status == 0
    assert "(emg 1 x 40)" in out


def test_interrupted(fit, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sk_cpep.fit._cli.fit_windows", interrupt)
    status, _, err = fit(ARRAYS, MAE_TABLE, OUTPUT, quiet=True)
    assert (status, err) == (130, "sk_cpep: interrupted\n")
    output = OUTPUT + 'run_dir = "states"'
    _, _, err = fit(ARRAYS, MAE_TABLE, output, quiet=True)
    assert err == "sk_cpep: interrupted; the same command resumes it\n"


def test_launched(fit, folder):
    """Two processes, launched by accelerate, come to what one comes to."""
    pytest.importorskip("accelerate", reason="an extra; test_distributed.py needs none")
    start = 'emg_init = "random"\npose_init = "random"\nchannel_rotation = 0\n'
    table = CPEP_TABLE.replace("max_epochs = 2\n", f"max_epochs = 2\n{start}", 1)
    status, *_ = fit(ARRAYS, table, OUTPUT)
    assert status == 0
    X, P = windows()
    alone = joblib.load(folder / "model.joblib")
    (folder / "model.joblib").unlink()
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--main_process_port"]
    with socket.socket() as free:  # old versions of accelerate cannot find one
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command += [port, "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [*command, "-m", "sk_cpep", "fit", str(folder / "config.toml")],
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on cpu, shared by 2 processes") == 1
    assert done.stdout.count("alignment: loss") == 1
    assert done.stderr.count("CPEP alignment: 100%") <= 2
    together = joblib.load(folder / "model.joblib")
    assert_allclose(together.transform(X), alone.transform(X), atol=1e-4)
    assert_allclose(together.score(X, P), alone.score(X, P))
