"""The runner of the paper's experiments, on a few seconds of simulated recordings."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sk_cpep.datasets import WindowArray, write_emg2pose_corpus
from sk_cpep.evaluation import GESTURE_STAGES, paired_difference
from sk_cpep.training._device import has_bfloat16_units

ROOT = Path(__file__).parents[2]
NINAPRO = ROOT.parent / "shared" / "data" / "ninapro_db1"
sys.path.insert(0, str(ROOT))
from benchmarks.paper import __main__ as paper  # noqa: E402
from benchmarks.paper import _prepare  # noqa: E402
from benchmarks.paper._report import average, gather  # noqa: E402
from benchmarks.paper._store import Store, write_json  # noqa: E402


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return write_emg2pose_corpus(
        folder / "raw",
        6,
        stages=[stage for stage, _ in GESTURE_STAGES.values()],
        n_val_users=2,
        n_test_users=2,
        n_sessions=1,
        seconds=4.0,
        random_state=0,
    )


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The folder of a whole run."""
    out = tmp_path_factory.mktemp("run")
    assert run(corpus, out) == 0
    return out


def arguments(corpus, out, *more):
    pack = ["--pack", str(corpus.parent / "pack")]
    return ["--data", str(corpus), "--config", "smoke", "--out", str(out), *pack, *more]


def run(corpus, out, *more):
    return paper.main(arguments(corpus, out, *more))


def cells(out):
    return {path.name: path.read_text() for path in (out / "cells").iterdir()}


def records(out):
    return json.loads((out / "results.json").read_text())


def test_everything_of_the_paper_is_there(finished):
    found = records(finished)
    methods = {r["method"] for r in found if r["table"] == "figure2"}
    assert {"CPEP", "EMG-MAE", "Pose-MAE (upper bound)", "PoseT"} < methods
    assert {"EMG2Pose", "VEMG2Pose", "NeuroPose"} < methods
    assert {r["method"] for r in found if r["table"] == "table2"} == {
        "EMG encoder frozen",
        "EMG encoder randomly initialised",
        "Average pooling",
        "Both randomly initialised",
        "Both encoders trained",
        "Ours",
    }
    assert {r["cell"]["of"] for r in found if r["table"] == "figure3"} == {
        "emg",
        "pose",
    }
    assert {"Amplitude", "Amplitude in ten bins", "EMG encoder, supervised"} < methods
    cpep = [r for r in found if (r["table"], r["method"]) == ("figure2", "CPEP")]
    every = {r["gestures"] for r in cpep if r["protocol"] == "generalised_zero_shot"}
    assert every == {"in_distribution", "unseen", "harmonic_mean"}
    for gestures in ("in_distribution", "unseen"):
        mine = [r for r in cpep if r["gestures"] == gestures]
        assert "all" in {r["n_people"] for r in mine}
    cpep = [r for r in cpep if r["protocol"] != "generalised_zero_shot"]
    assert {(r["protocol"], r["gestures"], r.get("gallery")) for r in cpep} == {
        (protocol, gestures, gallery)
        for gestures in ("in_distribution", "unseen")
        for protocol, gallery in (
            ("linear_probe", None),
            ("zero_shot", "training"),
            ("zero_shot", "validation"),
            ("zero_shot", "corpus"),
        )
    }
    page = (finished / "results.md").read_text()
    assert "EMBridge" in page and "(0.782)" in page  # published numbers stand beside
    assert "left_context_seconds 0.89" in page
    for picture in ("figure2.png", "figure3.png", "label_efficiency.png"):
        assert (finished / picture).stat().st_size > 5000


def test_the_same_method_is_run_once(finished):
    found = records(finished)
    one, other = (
        [r for r in found if (r["table"], r["method"]) == row]
        for row in (("figure2", "CPEP"), ("table2", "Ours"))
    )
    one = [r for r in one if r["n_people"] in (0, "all")]  # few labels: Figure 2
    for mine, theirs in zip(one, other, strict=True):
        assert mine | {"table": "table2", "method": "Ours"} == theirs
    names = [name for name in cells(finished) if "-cpep-" in name]
    # Ours, five ablations, and a cell of either grid.
    assert len(names) == 8


def test_finished_cells_are_not_run_again(corpus, finished, monkeypatch):
    before, result = cells(finished), records(finished)
    monkeypatch.setattr(paper.Cell, "_records", None)  # nothing may be computed
    assert run(corpus, finished) == 0
    assert cells(finished) == before
    assert records(finished) == result


# A run that is killed when it has kept two cells, on a machine like this one.
KILLED = """
import os, signal, sys
from benchmarks.paper import __main__ as paper, _store
from sk_cpep.training import _device

keep_cell, kept = _store.Store.keep_cell, []

def keep_or_die(store, key, found):
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    keep_cell(store, key, found)
    kept.append(key)

_store.Store.keep_cell = keep_or_die
_device.has_bfloat16_units = lambda device: sys.argv[1] == "True"
paper.main(sys.argv[2:])
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_where_it_was(corpus, finished, tmp_path):
    units = has_bfloat16_units(torch.device("cpu"))
    command = [sys.executable, "-c", KILLED, str(units)]
    command += arguments(corpus, tmp_path, "--only", "figure2")
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "results.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cells/*.json")}
    assert len(kept) == 2
    assert run(corpus, tmp_path, "--only", "figure2") == 0
    assert kept == {p: p.stat().st_mtime_ns for p in kept}
    whole = [r for r in records(finished) if r["table"] == "figure2"]
    assert records(tmp_path) == whole


def test_another_run_is_not_written_over(corpus, finished, capsys):
    before = cells(finished)
    assert run(corpus, finished, "--people", "tune") == 2
    told = capsys.readouterr().err
    assert "people: eval there, tune now" in told and "--out" in told
    assert cells(finished) == before


def test_training_that_diverges_is_told_and_not_averaged(
    corpus, finished, tmp_path, monkeypatch
):
    config = paper.CONFIGS["emg2pose", "smoke"]
    tds = config.regressors["EMG2Pose"] | {"lr": 1e30, "gradient_clip": None}
    wild = replace(
        config,
        alignment=config.alignment | {"lr": 1e30},
        regressors=config.regressors | {"EMG2Pose": tds},
    )
    monkeypatch.setitem(paper.CONFIGS, ("emg2pose", "smoke"), wild)
    assert run(corpus, tmp_path, "--only", "figure2") == 0
    for method in ("CPEP", "EMG2Pose"):
        lost = [r for r in records(tmp_path) if r["method"] == method]
        assert lost and not any(r["converged"] for r in lost)
        assert not any("macro_accuracy" in r for r in lost)
    assert "did not converge" in (tmp_path / "results.md").read_text()


def test_patches_that_no_mask_fits_are_told_before_anything_runs(
    corpus, tmp_path, monkeypatch, capsys
):
    config = paper.CONFIGS["emg2pose", "smoke"]
    coarse = replace(config, pose_patch_lengths=(50,), mask_ratios=(0.25,))
    monkeypatch.setitem(paper.CONFIGS, ("emg2pose", "smoke"), coarse)
    assert run(corpus, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "windows of 100 are 2, and a mask ratio of 0.25 hides 0" in told
    assert not (tmp_path / "out").exists()


def test_what_is_left_at_its_default_makes_no_other_method():
    config = paper.CONFIGS["emg2pose", "small"]
    ours = next(r for r in paper.TABLES["figure2"](config) if r.name == "CPEP").method
    at = {"patch_length": config.emg_encoder["patch_length"], "mask_ratio": 0.5}
    grid = paper.TABLES["figure3"](config)
    same = [r for r in grid if r.cell == at | {"of": "emg"}]
    assert [r.method.key for r in same] == [ours.key]
    keys = {r.method.key for r in grid}
    assert len(keys) == 2 * 9 - 1  # the grids share one cell
    assert replace(ours, alignment=ours.alignment | {"lr": 0.5}).key not in keys


@pytest.mark.parametrize("kind", ["emg2pose", "ninapro"])
@pytest.mark.parametrize("size", ["full", "small", "smoke"])
def test_masks_fit_every_configuration(kind, size):
    config = paper.CONFIGS[kind, size]
    rows = [row for make in paper.TABLES.values() for row in make(config)]
    n_times = {
        "emg2pose": {"emg": 4000 // config.bin, "pose": 400 // config.pose_step},
        "ninapro": {"emg": 200, "pose": 200},
    }[kind]
    paper.check_patches(rows, n_times)


def test_raw_windows_stay_on_disk(corpus, tmp_path, monkeypatch):
    """As in the full configuration: 2 kHz, standardised as they are read."""
    config = paper.CONFIGS["emg2pose", "smoke"]
    raw = replace(
        config,
        bin=1,
        pose_step=1,
        stride=4000,
        emg_encoder=config.emg_encoder | {"patch_length": 200},
        regressors={"EMG2Pose": config.regressors["EMG2Pose"]},
    )
    monkeypatch.setitem(paper.CONFIGS, ("emg2pose", "smoke"), raw)
    read, load = [], WindowArray.__array__

    def watched(windows, *args, **kwargs):
        if windows.shape[1] == 16:  # EMG; poses are compared in batches of 256
            read.append(len(windows))
        return load(windows, *args, **kwargs)

    monkeypatch.setattr(WindowArray, "__array__", watched)
    monkeypatch.setattr(_prepare, "_BATCH", 7)
    assert run(corpus, tmp_path, "--only", "figure2") == 0
    # Amplitudes are worked out batch by batch; nothing reads windows as a whole.
    assert max(read, default=0) <= 7
    found = [r for r in records(tmp_path) if r["protocol"] == "linear_probe"]
    every = {(r["method"], r["gestures"]) for r in found if r["n_people"] == "all"}
    assert len(every) == 2 * 7


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is no folder"), ("notes.txt", "holds none of these")],
)
def test_unknown_data_is_named(tmp_path, capsys, content, said):
    folder = tmp_path / "data"
    if content:
        folder.mkdir()
        (folder / content).touch()
    assert paper.main(["--data", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_cell_is_named(tmp_path):
    store = Store(tmp_path, {"config": 1})
    store.keep_cell("a", {"records": []})
    (tmp_path / "cells" / "a.json").write_text('{"records": [')
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        store.cell("a")


def test_a_damaged_stage_is_named(tmp_path):
    store = Store(tmp_path, {})
    store.stage("mae", "key", lambda: np.arange(3))
    path = tmp_path / "stages" / "mae-key.joblib"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"mae-key\.joblib is damaged"):
        store.stage("mae", "key", lambda: np.arange(3))


@pytest.mark.parametrize("name", ["results.json", "metadata.csv", "cell.txt"])
def test_results_go_into_no_folder_of_others(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds .'{name}'. and no run"):
        Store(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "cell.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["cell.json"]


def test_a_stage_is_fitted_once(tmp_path):
    store, calls = Store(tmp_path, {}), []
    fit = lambda: calls.append(1) or np.arange(3)  # noqa: E731
    first = store.stage("mae", "key", fit)
    again = Store(tmp_path, {}).stage("mae", "key", fit)
    assert len(calls) == 1
    np.testing.assert_array_equal(first, again)


def test_seeds_are_averaged_person_by_person():
    one = {"protocol": "linear_probe", "per_user": {"a": 0.2, "b": 0.6}, "mean": 0.4}
    two = {"protocol": "linear_probe", "per_user": {"a": 0.4, "b": 0.8}, "mean": 0.6}
    record = average([one, two])
    assert record["per_user"] == pytest.approx({"a": 0.3, "b": 0.7})
    assert record["macro_accuracy"] == pytest.approx(0.5)
    assert average([one, two | {"converged": False}])["converged"] is False


def test_folds_become_one_record_of_everyone(finished):
    """People of two folds: the mean is over all, and differences pair up."""
    row = paper.TABLES["figure2"](paper.CONFIGS["emg2pose", "smoke"])[0]
    name = next(n for n in cells(finished) if "-amplitude-" in n)
    fold = json.loads(cells(finished)[name])
    other = json.loads(cells(finished)[name])
    for record in other["records"]:
        for field in ("per_user", "per_user_recall"):
            if field in record:
                record[field] = {f"x{u}": v for u, v in record[field].items()}
    other["fold"] = "other"
    found = {row.method.key: [fold, other]}
    is_all = [r.get("n_people") == "all" for r in fold["records"]].index(True)
    merged = gather([row], found, [])[is_all]
    accuracies = list(fold["records"][is_all]["per_user"].values())
    assert merged["n_users"] == 2 * len(accuracies)
    assert merged["macro_accuracy"] == pytest.approx(np.mean(accuracies))
    assert paired_difference(merged, merged)["mean"] == 0
    of_grid = gather([replace(row, table="figure3")], found, ["other"])[0]
    assert of_grid["per_user"] == other["records"][is_all]["per_user"]


@pytest.mark.skipif(
    not NINAPRO.exists(),
    reason="no Ninapro DB1 here; the same runner is tested on simulated recordings",
)
def test_ninapro(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for person in (1, 4, 9):
        name = f"S{person}_A1_E1.mat"
        (data / name).symlink_to(NINAPRO / name)
    out = tmp_path / "out"
    argv = ["--data", str(data), "--config", "smoke", "--out", str(out)]
    assert paper.main([*argv, "--only", "figure2"]) == 0
    found = records(out)
    tested = {user for r in found for user in r.get("per_user", ())}
    assert tested == {"1", "9"}  # 4 tunes
    assert {r["unit"] for r in found if r["protocol"] == "pose_regression"} == {"SD"}
    page = (out / "results.md").read_text()
    assert "left_context_seconds 0.89" in page and "(0.604)" in page
