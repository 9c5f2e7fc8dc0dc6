"""``sk-cpep runs``: listed, compared, removed."""

import shutil

import numpy as np
import pytest
from skorch.callbacks import Callback

from sk_cpep import CPEP, MAE
from sk_cpep._cli import main

SMALL = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, batch_size=8)
SMALL |= dict(device="cpu", precision="float32", random_state=0)


class Cut(Callback):
    """Ends a fit in its third epoch as a crash does."""

    observes_only = True

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            raise RuntimeError("cut off")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of a CPEP, of another autoencoder, and of a run that was cut off."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    X, P = (rng.normal(size=(20, c, 30)).astype(np.float32) for c in (4, 3))
    shared = dict(SMALL, max_epochs=2, run_dir=folder)
    training = {k: v for k, v in shared.items() if k not in ("d_model", "n_heads")}
    training = {k: v for k, v in training.items() if not k.startswith("n_")}
    cpep = CPEP(MAE(5, **shared), MAE(10, **shared), **training).fit(X, P)
    other = MAE(5, **shared | {"mask_ratio": 0.3}).fit(X)
    with pytest.raises(RuntimeError, match="cut off"):
        MAE(5, **shared | {"max_epochs": 4, "callbacks": [Cut()]}).fit(X)
    return folder, cpep, other


@pytest.fixture
def runs(made, tmp_path, capsys):
    """``runs(*arguments)`` on a copy: exit status, lines printed, and errors."""
    folder = shutil.copytree(made[0], tmp_path / "runs")

    def run(*arguments):
        status = main(["runs", str(folder), *arguments])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    run.folder = folder
    return run


def test_list(runs, made):
    status, lines, _ = runs()
    assert status == 0
    assert lines[0].split()[:5] == ["run", "state", "epochs", "loss", "MB"]
    assert len(lines) == 1 + 5
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    _, cpep, other = made
    alignment = rows[f"alignment-{cpep.fit_identity_.digest[:16]}"]
    loss = cpep.history_["alignment"][-1]["train_loss"]
    assert alignment[:3] == ["ended", "2/2", f"{loss:.4g}"]
    assert " ".join(alignment[4:]).startswith("20 x 4 x 30; 20 x 3 x 30 ")
    assert rows[f"mae-{other.fit_identity_.digest[:16]}"][:2] == ["ended", "2/2"]
    assert sorted(row[:2] for row in rows.values())[0] == ["begun", "2/4"]


def test_damage_is_shown(runs, made):
    path = runs.folder / f"mae-{made[2].fit_identity_.digest[:16]}" / "fitted.pt"
    path.write_bytes(path.read_bytes()[:100])
    (line,) = (line for line in runs()[1] if line.startswith(path.parent.name))
    assert line.split()[1:3] == ["damaged", "0/2"]


def test_differences(runs, made):
    _, cpep, other = made
    names = [
        cpep.fit_identity_.facts["emg_encoder_identity"]["mask_ratio"],
        other.fit_identity_.facts["mask_ratio"],
    ]
    assert names == [0.5, 0.3]
    (begun,) = (
        p.name for p in runs.folder.glob("mae-*") if (p / "previous.pt").exists()
    )
    status, lines, _ = runs("--diff", begun, other.fit_identity_.digest[:10])
    assert status == 0
    assert lines == ["mask_ratio was 0.5, now 0.3", "max_epochs was 4, now 2"] or (
        lines == ["max_epochs was 4, now 2", "mask_ratio was 0.5, now 0.3"]
    )
    assert runs("--diff", begun, begun)[1] == ["They have the same identity."]


def test_what_has_not_ended_is_removed(runs, monkeypatch):
    before = {path.name for path in runs.folder.iterdir()}
    questions = []
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or "n")
    assert runs("--prune")[1][-1] == "Nothing was removed."
    assert {path.name for path in runs.folder.iterdir()} == before
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or "y")
    status, lines, _ = runs("--prune")
    assert (status, lines[-1]) == (0, "Removed 1.")
    assert all(question.startswith("Remove 1, though") for question in questions)
    assert all((path / "fitted.pt").exists() for path in runs.folder.iterdir())
    assert runs("--prune")[1] == ["There is nothing to remove."]


def test_runs_are_removed_by_name(runs, made):
    name = f"mae-{made[2].fit_identity_.digest[:8]}"
    assert runs("--prune", name, "--yes")[1][-1] == "Removed 1."
    assert not list(runs.folder.glob(f"{name}*"))
    assert len(list(runs.folder.iterdir())) == 4


@pytest.mark.parametrize(
    ("names", "words"),
    [(["x", "y"], "'x' names no run: give one of"), (["mae", "mae"], "more than one")],
)
def test_names_that_are_not_of_one_run(runs, names, words):
    status, lines, error = runs("--diff", *names)
    assert (status, lines) == (2, [])
    assert words in error


def test_folders_that_hold_no_run(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    for folder, words in (
        (tmp_path, "holds no run"),
        (tmp_path / "no", "is no folder"),
    ):
        assert main(["runs", str(folder)]) == 2
        assert words in capsys.readouterr().err
