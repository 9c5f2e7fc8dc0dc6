"""Fits that are interrupted, killed or refused, against those that ran through."""

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import small_estimators
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping, LRScheduler, PrintLog

from sk_cpep import CPEP, MAE, EMG2Pose, NeuroPose, PoseT
from sk_cpep.training import StopTraining

SIZES = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2)
TRAINING = dict(batch_size=8, device="cpu", precision="float32", random_state=0)
STOPS = dict(early_stopping=True, validation_fraction=0.25, n_iter_no_change=50)
FILES = ("checkpoint.pt", "previous.pt")


def data(n=20):
    rng = np.random.default_rng(0)
    X, P = rng.normal(size=(n, 4, 22)), rng.normal(size=(n, 3, 22))
    return X.astype(np.float32), P.astype(np.float32)


X, P = data()
USERS = np.array(["ann", "bob", "cem", "dee"])[np.arange(20) % 4]


class OnDisk:
    """Windows that are read by the batch."""

    def __init__(self, windows):
        self.windows = windows
        self.shape = windows.shape

    def __getitem__(self, rows):
        return self.windows[rows]


class Cut(Exception):
    """Ends a fit as a crash does."""


class CutAt(Callback):
    """Ends a fit in the middle of an epoch (from 1 on), or at its end."""

    observes_only = True

    def __init__(self, epoch, at_end=False):
        self.epoch, self.at_end = epoch, at_end

    def on_batch_end(self, net, training, **kwargs):
        if training and len(net.history) == self.epoch and not self.at_end:
            raise Cut

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch and self.at_end:
            raise Cut


class CountEpochs(Callback):
    """Counts the epochs that are begun; clones count together."""

    observes_only = True
    counts = {}  # noqa: RUF012

    def __init__(self, name=""):
        self.name = name
        self.counts[name] = 0

    def on_epoch_begin(self, net, **kwargs):
        self.counts[self.name] += 1

    @property
    def n(self):
        return self.counts[self.name]


def mae(**parameters):
    return MAE(5, **SIZES | TRAINING | {"max_epochs": 4, "lr": 1e-2} | parameters)


def cpep(emg=None, pose=None, **parameters):
    encoder = dict(random_state=None, max_epochs=2)
    emg, pose = mae(**encoder | (emg or {})), mae(**encoder | (pose or {}))
    return CPEP(emg, pose, **TRAINING | {"max_epochs": 3, "lr": 1e-2} | parameters)


def learned(estimator):
    """What must be the same bit for bit: weights and history but for the seconds."""
    history = estimator.history_
    history = sum(history.values(), []) if isinstance(history, dict) else history
    history = [{k: v for k, v in e.items() if k != "seconds"} for e in history]
    weights = {k: v.numpy().copy() for k, v in estimator.module_.state_dict().items()}
    return weights, history


def assert_same(fitted, expected):
    (weights, history), (expected_weights, expected_history) = map(
        learned, (fitted, expected)
    )
    assert history == expected_history
    assert weights.keys() == expected_weights.keys()
    for name, weight in expected_weights.items():
        assert_array_equal(weights[name], weight, err_msg=name)
    assert_array_equal(fitted.transform(X), expected.transform(X))


def fit(estimator, *arrays, folder, **parameters):
    parameters["run_dir"] = folder
    return clone(estimator).set_params(**parameters).fit(*arrays)


def cut(estimator, *arrays, folder, callback):
    with pytest.raises(Cut):
        fit(estimator, *arrays, folder=folder, callbacks=[callback])


def contents(folder):
    """All files of a folder of runs by their relative names."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def the_run(folder, stage=""):
    """The only run in a folder, or the only one of a stage."""
    (found,) = Path(folder).glob(f"{stage}*")
    return found


NEUROPOSE = dict(
    sfreq=100.0,
    time_pools=(1, 2, 2),
    electrode_pools=(2, 1, 1),
    electrode_upsampling=(1, 1, 1),
    widths=(2, 4, 8),
    n_residual_blocks=1,
)
POSES = dict(**TRAINING, max_epochs=4, lr=1e-2, channel_rotation=1)
FITS = {
    "masks": (mae(restart_period=4), X),
    "dropout, early stopping": (mae(dropout=0.3, restart_period=3, **STOPS), X),
    "bfloat16": (mae(precision="bfloat16", restart_period=4), X),
    "read by the batch": (mae(restart_period=4), OnDisk(X)),
    "PoseT, groups": (
        PoseT(
            5, d_model=8, n_layers=1, n_heads=2, dropout=0.3, restart_period=3
        ).set_params(**POSES, **STOPS),
        X,
        P,
        USERS,
    ),
    "EncoderClassifier, groups": (
        small_estimators.small(
            "EncoderClassifier",
            encoder=mae(dropout=0.3),
            class_weight="balanced",
            noise=0.1,
            restart_period=3,
            max_epochs=4,
            **STOPS,
        ),
        X,
        np.array(["fist", "ok"])[np.arange(20) % 3 // 2],
        USERS,
    ),
    "EMG2Pose, clipped": (
        EMG2Pose(**small_estimators.TDS, **POSES, gradient_clip=0.1),
        X,
        P,
    ),
    "NeuroPose, normalised": (NeuroPose(**NEUROPOSE, **POSES, **STOPS), X, P),
    "CPEP, groups": (
        cpep(dict(max_epochs=1, dropout=0.3), dict(max_epochs=1)).set_params(
            restart_period=3, max_epochs=4, channel_dropout=0.2, noise=0.1, **STOPS
        ),
        X,
        P,
        USERS,
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_two_fits_equal_one(name, tmp_path):
    estimator, *arrays = FITS[name]
    whole = clone(estimator).fit(*arrays)
    first = fit(estimator, *arrays, folder=tmp_path, max_epochs=2)
    second = fit(estimator, *arrays, folder=tmp_path)
    assert (first.n_iter_, second.n_iter_) == (2, 4)
    assert_same(second, whole)
    if hasattr(whole, "predict"):
        assert_array_equal(second.predict(X), whole.predict(X))


def test_earlier_epochs_stay_in_the_history(tmp_path):
    first = fit(mae(restart_period=3), X, folder=tmp_path, max_epochs=2)
    second = fit(mae(restart_period=3), X, folder=tmp_path)
    assert second.history_[:2] == first.history_  # the seconds, too
    assert [epoch["epoch"] for epoch in second.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize("moment", [CutAt(1), CutAt(3), CutAt(3, at_end=True)])
def test_an_interrupted_epoch_is_run_again(moment, tmp_path):
    estimator = mae(dropout=0.3)
    cut(estimator, X, folder=tmp_path, callback=moment)
    count = CountEpochs()
    resumed = fit(estimator, X, folder=tmp_path, callbacks=[count])
    assert count.n == 4 - (moment.epoch - 1)
    assert_same(resumed, fit(estimator, X, folder=None))


@pytest.mark.parametrize("stage", ["emg_encoder", "pose_encoder", "alignment"])
@pytest.mark.parametrize("random_state", [0, None])
def test_cpep_is_resumed_in_the_stage_it_was_in(stage, random_state, tmp_path):
    name = "callbacks" if stage == "alignment" else f"{stage}__callbacks"
    estimator = cpep(dict(dropout=0.3), random_state=random_state, center_pose=True)
    np.random.seed(4)
    whole = clone(estimator).fit(X, P)
    np.random.seed(4)
    cut_off = clone(estimator).set_params(**{name: [CutAt(2)]})
    with pytest.raises(Cut), warned_of_none(random_state, stage):
        cut_off.set_params(run_dir=tmp_path).fit(X, P)
    stages = ["emg_encoder", "pose_encoder", "alignment"]
    count = [CountEpochs(name) for name in stages]
    resumed = clone(estimator).set_params(
        run_dir=tmp_path,
        emg_encoder__callbacks=count[:1],
        pose_encoder__callbacks=count[1:2],
        callbacks=count[2:],
    )
    for c in count:
        CountEpochs.counts[c.name] = 0
    np.random.seed(4)
    with warned_of_none(random_state, "alignment"):
        resumed.fit(X, P)
    done = stages.index(stage)
    epochs = np.array([2, 2, 3])
    epochs[:done], epochs[done] = 0, epochs[done] - 1
    assert [c.n for c in count] == epochs.tolist()
    assert_same(resumed, whole)
    assert resumed.temperature_ == whole.temperature_
    found = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert found == ["alignment", "mae", "mae"]


def warned_of_none(random_state, stage):
    """A warning is expected where the alignment begins without a seed."""
    if random_state is not None or stage != "alignment":
        return nullcontext()
    return pytest.warns(UserWarning, match="random_state=None of CPEP .*give an int")


def test_an_encoder_may_have_a_folder_of_its_own(tmp_path):
    own = tmp_path / "own"
    estimator = cpep(dict(run_dir=own), max_epochs=1)
    fit(estimator, X, P, folder=tmp_path / "rest")
    assert (the_run(own, "mae") / "fitted.pt").exists()
    assert the_run(tmp_path / "rest", "mae").name != the_run(own).name
    assert estimator.emg_encoder.run_dir == own
    assert estimator.pose_encoder.run_dir is None


def test_without_a_restart_period_a_longer_fit_is_another(tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=3)
    count = CountEpochs()
    longer = fit(mae(), X, folder=tmp_path, callbacks=[count])
    assert count.n == 4
    assert_same(longer, mae().fit(X))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_shorter_fit_after_a_longer_one(tmp_path):
    estimator, counts = mae(restart_period=4, **STOPS), []
    for max_epochs in (2, 4, 3, 4, 2):
        counts.append(CountEpochs())
        parameters = dict(max_epochs=max_epochs, callbacks=counts[-1:])
        fitted = fit(estimator, X, folder=tmp_path, **parameters)
        counts[-1] = counts[-1].n
        assert_same(fitted, clone(estimator).set_params(max_epochs=max_epochs).fit(X))
    assert counts == [2, 2, 1, 0, 0]


def test_a_run_that_ended_early_is_not_trained_further(tmp_path):
    stops = dict(early_stopping=True, n_iter_no_change=2, tol=10.0, restart_period=4)
    first = fit(mae(max_epochs=9), X, folder=tmp_path, **stops)
    assert first.n_iter_ == 3
    before, count = contents(tmp_path), CountEpochs()
    second = fit(mae(), X, folder=tmp_path, max_epochs=20, callbacks=[count], **stops)
    assert count.n == 0
    assert_same(second, first)
    assert contents(tmp_path).items() >= before.items()


@pytest.mark.parametrize("at", [2, 4])
def test_a_run_that_a_callback_ended_is_not_trained_further(at, tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == at:
                raise StopTraining

    estimator = mae(restart_period=4, callbacks=[Stop()])
    first = fit(estimator, X, folder=tmp_path)
    assert first.n_iter_ == at
    for max_epochs in (4, 6):
        assert_same(fit(estimator, X, folder=tmp_path, max_epochs=max_epochs), first)


def test_the_best_weights_are_those_of_all_epochs(tmp_path):
    """Of a run whose validation loss rises in its last epoch."""
    estimator = mae(lr=3.0, restart_period=4, **STOPS)
    first = fit(estimator, X, folder=tmp_path, max_epochs=3)
    second = fit(estimator, X, folder=tmp_path)
    losses = [epoch["valid_loss"] for epoch in second.history_]
    assert np.argmin(losses) < 3, losses
    assert_array_equal(second.transform(X), first.transform(X))


def test_callbacks_with_a_state_are_resumed(tmp_path):
    class Sum(Callback):
        """Adds up the losses."""

        def on_train_begin(self, net, **kwargs):
            self.state_ = {"total": np.float64(0), "seen": [torch.zeros(1)]}

        def on_epoch_end(self, net, **kwargs):
            self.state_["total"] += net.history[-1, "train_loss"]
            self.state_["seen"].append(torch.ones(1))
            net.history.record("own", np.float32(0.5))
            net.history.record("other", object())

        def state_dict(self):
            return self.state_

        def load_state_dict(self, state):
            self.state_ = state

    estimator = mae(restart_period=4)
    fit(estimator, X, folder=tmp_path, max_epochs=2, callbacks=[Sum()])
    sums = Sum()
    fitted = fit(estimator, X, folder=tmp_path, callbacks=[sums])
    losses = [epoch["train_loss"] for epoch in fitted.history_]
    assert_allclose(sums.state_["total"], sum(losses), rtol=1e-12)
    assert len(sums.state_["seen"]) == 5
    folder = tmp_path / f"mae-{fitted.fit_identity_.digest[:16]}"
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert [epoch["own"] for epoch in state["history"]] == [0.5] * 4


def test_a_state_that_cannot_be_kept_is_refused(tmp_path):
    class Strange(Callback):
        def state_dict(self):
            return {"net": [object()]}

        def load_state_dict(self, state):
            pass

    with pytest.raises(TypeError, match="callback 'Strange'.* object"):
        fit(mae(), X, folder=tmp_path, callbacks=[Strange()])


def test_schedules_of_the_user_are_resumed(tmp_path):
    def step():
        return LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)

    whole = fit(FITS["EMG2Pose, clipped"][0], X, P, folder=None, callbacks=[step()])
    for n in (1, 2, 4):
        fitted = fit(
            FITS["EMG2Pose, clipped"][0],
            X,
            P,
            folder=tmp_path,
            max_epochs=n,
            callbacks=[step()],
        )
    rates = [epoch["lr"] for epoch in fitted.history_]
    assert rates == [1e-2, 1e-2, 5e-3, 5e-3]
    assert_same(fitted, whole)


def test_early_stopping_of_skorch_ends_a_run_for_good(tmp_path):
    stop = EarlyStopping("train_loss", patience=1, threshold=10.0)
    stop.set_params(threshold_mode="abs", sink=lambda line: None)
    first = fit(mae(), X, folder=tmp_path, callbacks=[stop])
    assert first.n_iter_ < 4
    assert_same(fit(mae(), X, folder=tmp_path, callbacks=[stop]), first)


# ---- random_state


@pytest.mark.parametrize("kind", ["numpy's own", "a generator"])
def test_a_generator_is_known_by_its_state(kind, tmp_path):
    def generator(seed=5):
        np.random.seed(seed)
        return None if kind == "numpy's own" else np.random.RandomState(seed)

    def fitted(folder, seed=5, **parameters):
        used = generator(seed)  # a clone would copy it
        estimator = mae(dropout=0.3, restart_period=4, random_state=used, **STOPS)
        estimator.set_params(run_dir=folder, **parameters)
        with warned(used, folder):
            estimator.fit(X)
        after = (used or np.random.mtrand._rand).get_state()
        return estimator, [after[1].tolist(), after[2]]

    def warned(used, folder):
        if used is not None or folder is None:
            return nullcontext()
        return pytest.warns(UserWarning, match="random_state=None of MAE .*an int")

    whole, after = fitted(None)
    with pytest.raises(Cut):
        fitted(tmp_path, callbacks=[CutAt(3)])
    for n_epochs in (2, 0):
        count = CountEpochs()
        again, after_again = fitted(tmp_path, callbacks=[count])
        assert count.n == n_epochs
        assert_same(again, whole)
        assert after_again == after
    count = CountEpochs()
    fitted(tmp_path, seed=6, callbacks=[count])
    assert count.n == 4


# ---- other runs


def test_what_does_not_count(tmp_path):
    first = fit(cpep(max_epochs=1), X, P, folder=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    count = CountEpochs()
    others = dict(verbose=1, callbacks=[count, PrintLog()], embedding="encoder")
    again = fit(cpep(max_epochs=1), X, P, folder=tmp_path / "there", **others)
    assert count.n == 0
    assert_same(again.set_params(embedding="projection"), first)


def test_another_fit_begins_beside_what_is_there(tmp_path):
    others = [{}, {"lr": 0.02}, {"random_state": 1}, {"precision": "bfloat16"}]
    (tmp_path / "notes.txt").write_text("mine")
    for n, parameters in enumerate(others):
        before = contents(tmp_path)
        fit(mae(), X, folder=tmp_path, max_epochs=1, **parameters)
        after = contents(tmp_path)
        assert after.items() >= before.items()
        assert len(list(tmp_path.glob("mae-*"))) == n + 1


def test_what_the_machine_decides_is_told(tmp_path, monkeypatch):
    """A run that was begun in bfloat16, where "auto" is float32 now."""
    estimator = mae(precision="auto")
    monkeypatch.setattr(
        "sk_cpep.training._device.has_bfloat16_units", lambda device: True
    )
    cut(estimator, X, folder=tmp_path, callback=CutAt(2))
    monkeypatch.setattr(
        "sk_cpep.training._device.has_bfloat16_units", lambda device: False
    )
    words = "is not resumed, for precision was bfloat16, now float32 on this machine"
    with pytest.warns(UserWarning, match=words):
        fitted = fit(estimator, X, folder=tmp_path)
    assert_same(fitted, mae().fit(X))


def test_two_fits_at_a_time_in_one_folder(tmp_path):
    class FitAnother(Callback):
        observes_only = True

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                fit(mae(), X, folder=tmp_path)

    fitted = fit(mae(), X, folder=tmp_path, callbacks=[FitAnother()])
    assert_same(fitted, mae().fit(X))
    assert_same(fit(mae(), X, folder=tmp_path), fitted)
    assert set(contents(the_run(tmp_path))) == {"fitted.pt", "run.json"}


def test_no_epoch_takes_the_place_of_a_later_one(tmp_path):
    class CutInAnother(Callback):
        observes_only = True

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 1:
                cut(mae(), X, folder=tmp_path, callback=CutAt(4))
            if len(net.history) == 2:
                raise Cut

    cut(mae(), X, folder=tmp_path, callback=CutInAnother())
    state = torch.load(the_run(tmp_path) / "checkpoint.pt", weights_only=True)
    assert len(state["history"]) == 3
    assert_same(fit(mae(), X, folder=tmp_path), mae().fit(X))


def test_versions(tmp_path, monkeypatch):
    first = fit(mae(), X, folder=tmp_path)
    monkeypatch.setattr("sk_cpep.encoders._fit_run.__version__", "99.0")
    with pytest.warns(UserWarning, match=r"written by sk_cpep .*, and 99\.0 uses it"):
        assert_same(fit(mae(), X, folder=tmp_path), first)


# ---- damage


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Folder of a run of three epochs, and the fit that it should become."""
    folder = tmp_path_factory.mktemp("interrupted")
    cut(mae(restart_period=4), X, folder=folder, callback=CutAt(4))
    return the_run(folder), mae(restart_period=4).fit(X)


def flips(data, n=8):
    """The data with a bit flipped in bytes that are spread over all of it."""
    for position in np.linspace(0, len(data) - 1, n).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 4
        yield bytes(damaged)


def damages(data):
    cuts = [0, 1, 10, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1]
    return [*(data[:cut] for cut in cuts), b"\0" * len(data), *flips(data)]


def copied(source, folder):
    """A copy of a run in another folder of runs."""
    return Path(shutil.copytree(source, Path(folder) / source.name))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(interrupted, tmp_path):
    source, whole = interrupted
    n_damaged = 0
    for n, content in enumerate(damages((source / "checkpoint.pt").read_bytes())):
        folder, count = tmp_path / str(n), CountEpochs()
        (copied(source, folder) / "checkpoint.pt").write_bytes(content)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fitted = fit(mae(restart_period=4), X, folder=folder, callbacks=[count])
        assert count.n == 1 + len(
            seen
        )  # a flip in what pads a zip file changes nothing
        for warning in seen:
            assert "checkpoint.pt is damaged: the fit is resumed" in str(
                warning.message
            )
        assert_same(fitted, whole)
        n_damaged += len(seen)
    assert n_damaged >= 10


def test_what_is_damaged_never_replaces_what_is_whole(interrupted, tmp_path):
    """Though the fit that is resumed is cut off in the middle of its first write."""
    source, whole = interrupted
    folder = copied(source, tmp_path)
    damaged = (source / "checkpoint.pt").read_bytes()[:-100]
    (folder / "checkpoint.pt").write_bytes(damaged)

    def cut_off(path, target, replace=os.replace):
        if Path(path).name.startswith(".checkpoint.pt."):
            raise Cut
        replace(path, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        patch.setattr(os, "replace", cut_off)
        with pytest.warns(UserWarning, match="damaged"):
            fit(mae(restart_period=4), X, folder=tmp_path)
    assert (folder / "checkpoint.pt").read_bytes() == damaged
    assert (folder / "previous.pt").read_bytes() == (
        source / "previous.pt"
    ).read_bytes()
    with pytest.warns(UserWarning, match="damaged"):
        assert_same(fit(mae(restart_period=4), X, folder=tmp_path), whole)


@pytest.mark.parametrize("left", [FILES, FILES[:1], FILES[1:]])
def test_nothing_that_can_be_read_is_no_new_beginning(left, interrupted, tmp_path):
    source, whole = interrupted
    folder = copied(source, tmp_path)
    for name in FILES:
        (folder / name).unlink()
    for name in left:
        (folder / name).write_bytes((source / name).read_bytes()[:-50])
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="to train anew, remove .*mae-") as error:
        fit(mae(restart_period=4), X, folder=tmp_path)
    for name in left:
        assert f"{folder / name} is damaged" in str(error.value)
    assert contents(tmp_path) == before
    shutil.rmtree(folder)
    assert_same(fit(mae(restart_period=4), X, folder=tmp_path), whole)


def test_the_one_before_alone_is_enough(interrupted, tmp_path):
    source, whole = interrupted
    (copied(source, tmp_path) / "checkpoint.pt").unlink()
    assert_same(fit(mae(restart_period=4), X, folder=tmp_path), whole)


def test_a_damaged_end_is_trained_anew(tmp_path):
    first = fit(mae(), X, folder=tmp_path)
    path = the_run(tmp_path) / "fitted.pt"
    whole, n_damaged = path.read_bytes(), 0
    for content in [*damages(whole), pickle.dumps(Evil(tmp_path / "ran"))]:
        path.write_bytes(content)
        count = CountEpochs()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert_same(fit(mae(), X, folder=tmp_path, callbacks=[count]), first)
        assert [count.n, len(seen)] in ([0, 0], [4, 1])
        assert all("fitted.pt is damaged" in str(w.message) for w in seen)
        n_damaged += len(seen)
    assert n_damaged >= 10
    assert not (tmp_path / "ran").exists()


def test_the_end_of_another_fit_is_not_taken(tmp_path):
    for seed in (0, 1):
        fit(mae(), X, folder=tmp_path / str(seed), random_state=seed)
    first, second = (the_run(tmp_path / str(seed)) / "fitted.pt" for seed in (0, 1))
    second.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match="fitted.pt is of another fit"):
        fitted = fit(mae(), X, folder=tmp_path / "1", random_state=1)
    assert_same(fitted, mae(random_state=1).fit(X))


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_ended_run_keeps_weights_and_history(tmp_path):
    fitted = fit(mae(), X, folder=tmp_path)
    folder = the_run(tmp_path)
    assert set(contents(folder)) == {"fitted.pt", "run.json"}
    state = torch.load(folder / "fitted.pt", weights_only=True)
    for name, weight in fitted.module_.state_dict().items():
        assert torch.equal(state["weights"][f"autoencoder.{name}"], weight)
    assert state["history"] == fitted.history_
    assert not {"optimizer", "module"} & state.keys()
    about = json.loads((folder / "run.json").read_text())
    assert about["facts"] == state["identity"] == fitted.fit_identity_.facts
    assert about["n_epochs"] == 4


def test_what_a_checkpoint_holds(tmp_path):
    fitted = fit(mae(restart_period=4), X, folder=tmp_path)
    last = torch.load(the_run(tmp_path) / "checkpoint.pt", weights_only=True)
    for name, weight in fitted.module_.state_dict().items():
        assert torch.equal(last["module"][f"autoencoder.{name}"], weight)
    assert len(last["history"]) == 4
    steps = {float(s["step"]) for s in last["optimizer"]["state"].values()}
    assert steps == {4 * 3.0}
    assert last["schedules"]["warm_restarts"]["T_cur"] == 0
    assert last["identity"]["mask_ratio"] == 0.5


# ---- disks


@pytest.mark.parametrize("make", [mae, cpep])
def test_a_file_in_place_of_the_folder(make, tmp_path):
    (tmp_path / "taken").write_text("mine")
    count = CountEpochs()
    arrays = (X,) if make is mae else (X, P)
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(OSError, match="taken"):
            fit(make(), *arrays, folder=folder, callbacks=[count])
    assert count.n == 0
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_found_out_at_once(tmp_path, monkeypatch):
    """Read-only, as seen by anyone but the administrator."""

    def refuse(path, *args, open=Path.open, **options):
        if path.parent.parent == tmp_path and "w" in "".join(args):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    count = CountEpochs()
    with pytest.raises(PermissionError, match=tmp_path.name):
        fit(mae(), X, folder=tmp_path, callbacks=[count])
    assert count.n == 0


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_stops_the_run_with_the_error(call, tmp_path, monkeypatch):
    estimator = mae(dropout=0.3, restart_period=2)
    function = getattr(os, call)

    class FillUp(Callback):
        observes_only = True

        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                monkeypatch.setattr(os, call, refuse)

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left .*checkpoint\.pt") as error:
        fit(estimator, X, folder=tmp_path, callbacks=[FillUp()])
    assert error.value.errno == errno.ENOSPC
    left = contents(the_run(tmp_path))
    assert not any("tmp" in name for name in left)
    kept = [
        torch.load(the_run(tmp_path) / name, weights_only=True)
        for name in FILES
        if name in left
    ]
    assert 2 in [len(state["history"]) for state in kept]
    monkeypatch.setattr(os, call, function)
    count = CountEpochs()
    resumed = fit(estimator, X, folder=tmp_path, callbacks=[count])
    assert count.n == 2
    assert_same(resumed, mae(dropout=0.3, restart_period=2).fit(X))


# ---- in processes of their own

# Every fit is in a forked process. A run is killed, and another resumes it:
# before the n-th time that it puts something on disk, renames or removes it, for
# every n; in the middle of an epoch; at random moments, from outside. Then one fits with
# a limit on the size of files, which a checkpoint exceeds.
PROCESSES = """
import json, os, resource, shutil, signal, sys, time, warnings
from pathlib import Path
import numpy as np, torch
from skorch.callbacks import Callback
from sk_cpep import MAE

warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)  # of what is imported later
torch.set_num_threads(1)
folder = Path(sys.argv[1])
result = folder.with_suffix(".npy")
X = np.random.default_rng(0).normal(size=(16, 4, 22)).astype(np.float32)

def fit(run_dir, max_epochs=3, callbacks=()):
    mae = MAE(5, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, batch_size=4,
              max_epochs=max_epochs, restart_period=3, dropout=0.3, early_stopping=True,
              validation_fraction=0.25, n_iter_no_change=10**6, device="cpu",
              precision="float32", run_dir=run_dir, random_state=0,
              callbacks=list(callbacks)).fit(X)
    losses = [[e["epoch"], e["train_loss"], e["valid_loss"], e["lr"]]
              for e in mae.history_]
    weights = [w.numpy().ravel() for w in mae.module_.state_dict().values()]
    return np.concatenate([*weights, np.ravel(losses)])

def begin(work):
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child

def was_killed(child):
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_at_call(n):
    left = [n]
    def counted(function):
        def call(*args, **options):
            left[0] -= 1
            if not left[0]:
                kill()
            return function(*args, **options)
        return call
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    fit(folder)

class KillAtBatch(Callback):
    observes_only = True
    def __init__(self, n):
        self.left = n
    def on_batch_end(self, net, **kwargs):
        self.left -= 1
        if not self.left:
            kill()

def kill_at_batch(n):
    fit(folder, callbacks=[KillAtBatch(n)])

def fitted(run_dir, max_epochs=3):
    result.unlink(missing_ok=True)
    was_killed(begin(lambda: np.save(result, fit(run_dir, max_epochs))))
    return np.load(result)

def kill_everywhere(kill_at, every):
    moment, same = 1, []
    while was_killed(begin(lambda: kill_at(moment))):
        same.append(np.array_equal(fitted(folder), whole))
        shutil.rmtree(folder)
        moment += every
    shutil.rmtree(folder)
    return same

def n_saved():
    for path in folder.glob("*/checkpoint.pt"):
        try:
            return len(torch.load(path)["history"])
        except FileNotFoundError:
            pass
    return 0

def kill_from_outside(n_epochs=200):
    rng = np.random.default_rng()
    for _ in range(5):
        before = n_saved()
        child = begin(lambda: fit(folder, n_epochs))
        while n_saved() == before:  # however slow the machine
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
    same = np.array_equal(fitted(folder, n_epochs), fitted(None, n_epochs))
    shutil.rmtree(folder)
    return same

def two_at_once():
    results = [folder.with_name(f"{n}.npy") for n in range(3)]
    children = [
        begin(lambda path=path: np.save(path, fit(folder, 20))) for path in results
    ]
    for child in children:
        was_killed(child)
    expected = fitted(None, 20)
    left = sorted(path.name for path in folder.glob("*/*"))
    shutil.rmtree(folder)
    return [np.array_equal(np.load(path), expected) for path in results], left

def exceed_limit():
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        try:
            fit(folder)
        except OSError as error:
            result.write_text(json.dumps([error.errno, error.filename]))
    result.unlink(missing_ok=True)
    was_killed(begin(work))
    names = sorted(path.name for path in folder.glob("*/*"))
    return *json.loads(result.read_text()), names

whole = fitted(None)
print(json.dumps({
    "calls": kill_everywhere(kill_at_call, 1),
    "batches": kill_everywhere(kill_at_batch, 4),
    "outside": kill_from_outside(),
    "at once": two_at_once(),
    "limit": exceed_limit(),
}))
"""

needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"),
    reason="killed in forked processes; cuts and full disks are tested above",
)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What came of fits in processes of their own."""
    folder = tmp_path_factory.mktemp("processes") / "folder"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"folder": folder}


@needs_fork
@pytest.mark.parametrize(("moments", "n"), [("calls", 15), ("batches", 3)])
def test_killed_at_any_moment(moments, n, processes):
    assert len(processes[moments]) >= n
    assert all(processes[moments]), processes[moments]


@needs_fork
def test_killed_from_outside_at_random_moments(processes):
    assert processes["outside"]


@needs_fork
def test_a_file_that_grows_too_large_stops_the_run(processes):
    number, filename, left = processes["limit"]
    assert number == errno.EFBIG
    assert re.fullmatch(rf"{processes['folder']}/mae-\w+/checkpoint\.pt", filename)
    assert left == ["run.json"]


@needs_fork
def test_processes_that_fit_the_same_at_once(processes):
    same, left = processes["at once"]
    assert same == [True] * 3
    assert left == ["checkpoint.pt", "fitted.pt", "run.json"]  # restart_period is given


# ---- what is shown


def test_the_progress_bar_starts_where_the_run_is(tmp_path, capsys):
    fit(mae(restart_period=4), X, folder=tmp_path, max_epochs=3)
    fit(mae(restart_period=4), X, folder=tmp_path, verbose=1)
    shown = re.findall(r"(\d+)/(\d+) \[", capsys.readouterr().err)
    assert shown[0] == ("9", "12")
    assert shown[-1] == ("12", "12")
