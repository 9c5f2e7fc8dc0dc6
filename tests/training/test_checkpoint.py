"""Fits that are interrupted, killed or refused, against those that ran through."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

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
    parameters["checkpoint_dir"] = folder
    return clone(estimator).set_params(**parameters).fit(*arrays)


def cut(estimator, *arrays, folder, callback):
    with pytest.raises(Cut):
        fit(estimator, *arrays, folder=folder, callbacks=[callback])


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


TDS = dict(
    sfreq=100,
    kernel_sizes=(2, 2, 3, 3),
    block_kernel_sizes=(2, 2),
    n_blocks=1,
    d_model=8,
    block_channels=4,
    d_features=5,
    d_hidden=12,
)
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
    "EMG2Pose, clipped": (
        EMG2Pose(**TDS, **POSES, early_stopping=False, gradient_clip=0.1),
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
    first = fit(mae(), X, folder=tmp_path, max_epochs=2)
    second = fit(mae(), X, folder=tmp_path)
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
def test_cpep_goes_on_in_the_stage_it_was_in(stage, random_state, tmp_path):
    name = "callbacks" if stage == "alignment" else f"{stage}__callbacks"
    estimator = cpep(dict(dropout=0.3), random_state=random_state, center_pose=True)
    np.random.seed(4)
    whole = clone(estimator).fit(X, P)
    np.random.seed(4)
    cut_off = clone(estimator).set_params(**{name: [CutAt(2)]})
    with pytest.raises(Cut):
        cut_off.set_params(checkpoint_dir=tmp_path).fit(X, P)
    stages = ["emg_encoder", "pose_encoder", "alignment"]
    count = [CountEpochs(name) for name in stages]
    resumed = clone(estimator).set_params(
        checkpoint_dir=tmp_path,
        emg_encoder__callbacks=count[:1],
        pose_encoder__callbacks=count[1:2],
        callbacks=count[2:],
    )
    for c in count:
        CountEpochs.counts[c.name] = 0
    resumed.fit(X, P)
    done = stages.index(stage)
    epochs = np.array([2, 2, 3])
    epochs[:done], epochs[done] = 0, epochs[done] - 1
    assert [c.n for c in count] == epochs.tolist()
    assert_same(resumed, whole)
    assert resumed.temperature_ == whole.temperature_
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(stages)


def test_an_encoder_may_have_a_folder_of_its_own(tmp_path):
    own = tmp_path / "own"
    estimator = cpep(dict(checkpoint_dir=own), max_epochs=1)
    fit(estimator, X, P, folder=tmp_path / "rest")
    assert (own / "checkpoint.pt").exists()
    assert {p.name for p in (tmp_path / "rest").iterdir()} == {
        "pose_encoder",
        "alignment",
    }
    assert estimator.emg_encoder.checkpoint_dir == own
    assert estimator.pose_encoder.checkpoint_dir is None


def test_a_longer_fit_keeps_the_period_it_began_with(tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=3)
    longer = fit(mae(), X, folder=tmp_path, max_epochs=8)
    begun = np.arange(8) % 3 / 3
    expected = 1e-2 * (1 + np.cos(np.pi * begun)) / 2
    assert_allclose([epoch["lr"] for epoch in longer.history_], expected, rtol=1e-12)


def test_a_run_that_ended_early_is_not_trained_further(tmp_path):
    stops = dict(early_stopping=True, n_iter_no_change=2, tol=10.0)
    first = fit(mae(max_epochs=9), X, folder=tmp_path, **stops)
    assert first.n_iter_ == 3
    before, count = contents(tmp_path), CountEpochs()
    second = fit(mae(), X, folder=tmp_path, max_epochs=20, callbacks=[count], **stops)
    assert count.n == 0
    assert_same(second, first)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("at", [2, 4])
def test_a_run_that_a_callback_ended_is_not_trained_further(at, tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == at:
                raise StopTraining

    first = fit(mae(), X, folder=tmp_path, callbacks=[Stop()])
    assert first.n_iter_ == at
    assert_same(fit(mae(), X, folder=tmp_path, max_epochs=6), first)


def test_the_best_weights_are_those_of_all_epochs(tmp_path):
    """Of a run whose validation loss rises in its last epoch."""
    estimator = mae(lr=3.0, restart_period=4, **STOPS)
    first = fit(estimator, X, folder=tmp_path, max_epochs=3)
    second = fit(estimator, X, folder=tmp_path)
    losses = [epoch["valid_loss"] for epoch in second.history_]
    assert np.argmin(losses) < 3, losses
    assert_array_equal(second.transform(X), first.transform(X))


def test_callbacks_with_a_state_go_on(tmp_path):
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

    fit(mae(), X, folder=tmp_path, max_epochs=2, callbacks=[Sum()])
    sums = Sum()
    fitted = fit(mae(), X, folder=tmp_path, callbacks=[sums])
    losses = [epoch["train_loss"] for epoch in fitted.history_]
    assert_allclose(sums.state_["total"], sum(losses), rtol=1e-12)
    assert len(sums.state_["seen"]) == 5
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert [epoch["own"] for epoch in state["history"]] == [0.5] * 4


def test_a_state_that_cannot_be_kept_is_refused(tmp_path):
    class Strange(Callback):
        def state_dict(self):
            return {"net": [object()]}

        def load_state_dict(self, state):
            pass

    with pytest.raises(TypeError, match="callback 'Strange'.* object"):
        fit(mae(), X, folder=tmp_path, callbacks=[Strange()])


def test_schedules_of_the_user_go_on(tmp_path):
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
    assert_same(fit(mae(), X, folder=tmp_path), first)


# ---- random_state


@pytest.mark.parametrize("kind", ["numpy's own", "a generator"])
def test_a_run_without_a_seed_goes_on_with_its_own_numbers(kind, tmp_path):
    def generator():
        np.random.seed(5)
        return None if kind == "numpy's own" else np.random.RandomState(6)

    estimator = mae(dropout=0.3, restart_period=4, **STOPS)
    whole = clone(estimator).set_params(random_state=generator()).fit(X)
    given = generator()
    with pytest.raises(Cut):  # a clone would copy the generator
        estimator.set_params(random_state=given, callbacks=[CutAt(1)])
        estimator.set_params(checkpoint_dir=tmp_path).fit(X)
    used = np.random.mtrand._rand if given is None else given
    assert used.get_state()[2] != generator_position(generator())
    for max_epochs in (2, 4):
        np.random.seed(7)
        other = None if given is None else np.random.RandomState(8)
        used = np.random.mtrand._rand if other is None else other
        before = used.get_state()
        estimator.set_params(random_state=other, callbacks=None, max_epochs=max_epochs)
        estimator.fit(X)
        assert used.get_state()[2] == before[2]
        assert_array_equal(used.get_state()[1], before[1])
    assert_same(estimator, whole)


def generator_position(generator):
    return (generator or np.random.mtrand._rand).get_state()[2]


def test_the_start_of_a_run_is_missed(tmp_path):
    fit(mae(), X, folder=tmp_path, random_state=None, max_epochs=1)
    (tmp_path / "start.pt").unlink()
    with pytest.raises(ValueError, match="random_state was a generator of checksum"):
        fit(mae(), X, folder=tmp_path, random_state=None)


def test_a_damaged_start_is_refused(tmp_path):
    fit(mae(), X, folder=tmp_path, random_state=None, max_epochs=1)
    (tmp_path / "start.pt").write_bytes(b"PK")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"start\.pt is damaged.*random_state.*remove"):
        fit(mae(), X, folder=tmp_path, random_state=None)
    assert contents(tmp_path) == before


# ---- other runs


def changed(windows, *index):
    windows = windows.copy()
    windows[index] += 1e-3
    return windows


OTHERS = {
    "lr was 0.01, now 0.02": dict(lr=0.02),
    "dropout was 0.0, now 0.5": dict(dropout=0.5),
    "batch_size was 8, now 10": dict(batch_size=np.int64(10)),
    "random_state was 0, now 1": dict(random_state=1),
    "random_state was 0, now a generator": dict(random_state=None),
    "early_stopping was False, now True": dict(early_stopping=True),
    "precision was float32, now bfloat16": dict(precision="bfloat16"),
    "restart_period was None, now 2": dict(restart_period=2),
}


@pytest.mark.parametrize("words", OTHERS)
def test_other_parameters_are_refused_by_name(words, tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=1)
    before = contents(tmp_path)
    pattern = rf"checkpoint_dir='.*{tmp_path.name}' holds .*: {re.escape(words)}"
    with pytest.raises(ValueError, match=pattern):
        fit(mae(), X, folder=tmp_path, **OTHERS[words])
    after = contents(tmp_path)
    after.pop("start.pt", None)
    assert after == before


def test_all_that_differs_is_named(tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=1)
    words = r": mask_ratio was 0.5, now 0.4; tol was 0.0001, now 0.1; X was of shape "
    with pytest.raises(ValueError, match=words) as error:
        fit(mae(), X[:18], folder=tmp_path, mask_ratio=0.4, tol=0.1)
    assert "give another checkpoint_dir" in str(error.value)


@pytest.mark.parametrize(
    "windows",
    [
        changed(X, 0, 0, 0),
        changed(X, -1, -1, -1),
        changed(X, 7),
        X[::-1],
        X[:, ::-1],
        X[:19],
        OnDisk(changed(X, 3)),
        OnDisk(X[:19]),
    ],
)
def test_other_windows_are_refused(windows, tmp_path):
    first = OnDisk(X) if isinstance(windows, OnDisk) else X
    fit(mae(), first, folder=tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match=r"data: X was of shape \(20, 4, 22\)"):
        fit(mae(), windows, folder=tmp_path)


def test_the_same_windows_in_another_array(tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=1)
    again = np.asfortranarray(X.astype(np.float64))
    assert fit(mae(), again, folder=tmp_path).n_iter_ == 4


def test_large_arrays_are_compared_in_blocks(monkeypatch, tmp_path):
    monkeypatch.setattr("sk_cpep.encoders._checkpoint_dir._BLOCK_BYTES", 3 * 4 * 4 * 22)
    fit(mae(), X, folder=tmp_path, max_epochs=1)
    for n in range(20):
        with pytest.raises(ValueError, match="X was of shape"):
            fit(mae(), changed(X, n, 2, 3), folder=tmp_path)
    monkeypatch.undo()
    fit(mae(), X, folder=tmp_path)


def test_of_large_lazy_arrays_some_windows_are_compared(tmp_path):
    class Counted(OnDisk):
        read = ()

        def __getitem__(self, rows):
            self.read = [*self.read, rows]
            return super().__getitem__(rows)

    many = Counted(np.repeat(X, 50, axis=0))
    fit(mae(), many, folder=tmp_path, max_epochs=1, batch_size=1000)
    looked_at = next(rows for rows in many.read if len(rows) == 256)
    assert (looked_at[0], looked_at[-1]) == (0, 999)
    assert set(np.diff(looked_at)) == {3, 4}


def test_other_groups_and_poses_are_refused(tmp_path):
    estimator = FITS["PoseT, groups"][0]
    fit(estimator, X, P, USERS, folder=tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match="data: groups was 4 of checksum .*now None"):
        fit(estimator, X, P, folder=tmp_path)
    with pytest.raises(ValueError, match="data: P was of shape"):
        fit(estimator, X, changed(P, 4), USERS, folder=tmp_path)
    with pytest.raises(ValueError, match="data: estimator was PoseT, now EMG2Pose"):
        fit(FITS["EMG2Pose, clipped"][0], X, P, folder=tmp_path)
    fit(estimator, X, P, np.char.upper(USERS), folder=tmp_path, max_epochs=1)


@pytest.mark.parametrize(
    ("stage", "words", "parameters"),
    [
        ("emg_encoder", "lr was 0.01, now 0.02", {"emg_encoder__lr": 0.02}),
        ("pose_encoder", "tol was 0.0001, now 0", {"pose_encoder__tol": 0}),
        ("alignment", "emg_encoder__d_model was 8", {"emg_encoder__d_model": 16}),
        ("alignment", "noise was 0.0, now 0.1", {"noise": 0.1}),
        ("alignment", "temperature was 0.02, now 0.03", {"temperature": 0.03}),
        ("alignment", "center_pose was False, now True", {"center_pose": True}),
        ("alignment", "emg_init was pretrained, now random", {"emg_init": "random"}),
    ],
)
def test_other_parameters_of_a_stage_are_refused(stage, words, parameters, tmp_path):
    fit(cpep(max_epochs=1), X, P, folder=tmp_path)
    with pytest.raises(ValueError, match=f"{stage}' holds a run of .*{words}"):
        fit(cpep(max_epochs=1), X, P, folder=tmp_path, **parameters)


@pytest.mark.parametrize(
    ("stage", "parameters"),
    [("emg_encoder", {"noise": 0.1}), ("pose_encoder", {"pose_encoder__tol": 0.1})],
)
def test_they_are_before_there_is_an_alignment(stage, parameters, tmp_path):
    estimator = cpep().set_params(pose_encoder__callbacks=[CutAt(2)])
    with pytest.raises(Cut):
        estimator.set_params(checkpoint_dir=tmp_path).fit(X, P)
    name = next(iter(parameters)).removeprefix("pose_encoder__")
    with pytest.raises(ValueError, match=f"{stage}' holds .*data: {name} was"):
        fit(cpep(), X, P, folder=tmp_path, **parameters)


def test_an_encoder_of_an_alignment_is_not_trained_further(tmp_path):
    fit(cpep(), X, P, folder=tmp_path, max_epochs=1)
    before = contents(tmp_path / "emg_encoder")
    with pytest.raises(ValueError, match="data: emg_encoder__max_epochs was 2, now 3"):
        fit(cpep(), X, P, folder=tmp_path, emg_encoder__max_epochs=3)
    assert contents(tmp_path / "emg_encoder") == before
    fit(cpep(), X, P, folder=tmp_path, max_epochs=2)


def test_other_encoders_are_refused_by_the_alignment(tmp_path):
    frozen = [FrozenEstimator(mae(random_state=seed).fit(X)) for seed in (0, 1)]
    fit(cpep(), X, P, folder=tmp_path, emg_encoder=frozen[0], max_epochs=1)
    fit(cpep(), X, P, folder=tmp_path, emg_encoder=frozen[0], max_epochs=2)
    pattern = "data: weights of emg_encoder was of checksum"
    with pytest.raises(ValueError, match=pattern):
        fit(cpep(), X, P, folder=tmp_path, emg_encoder=frozen[1])


def test_what_may_be_another(tmp_path):
    fit(cpep(max_epochs=1), X, P, folder=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    others = dict(verbose=1, device="auto", callbacks=[CountEpochs()], memory=None)
    fit(cpep(), X, P, folder=tmp_path / "there", embedding="encoder", **others)


def test_a_longer_run_is_refused(tmp_path):
    fit(mae(), X, folder=tmp_path, max_epochs=3)
    with pytest.raises(ValueError, match="a run of 3 epochs, .* max_epochs=2: give"):
        fit(mae(), X, folder=tmp_path, max_epochs=2)


def test_two_fits_at_a_time_in_one_folder(tmp_path):
    class FitAnother(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                fit(mae(), X, folder=tmp_path, max_epochs=3)

    with pytest.raises(ValueError, match=r"Another fit has written .*checkpoint\.pt"):
        fit(mae(), X, folder=tmp_path, callbacks=[FitAnother()])
    assert_same(fit(mae(restart_period=4), X, folder=tmp_path / "new"), mae().fit(X))


def test_versions(tmp_path, monkeypatch):
    fit(mae(), X, folder=tmp_path, max_epochs=1)
    monkeypatch.setattr("sk_cpep.training._checkpoint.__version__", "99.0")
    with pytest.warns(UserWarning, match=r"written by sk_cpep .*, and 99\.0 goes on"):
        fit(mae(), X, folder=tmp_path, max_epochs=2)
    monkeypatch.setattr("sk_cpep.training._checkpoint._FORMAT", 2)
    before = contents(tmp_path)
    with pytest.raises(
        ValueError, match=r"checkpoint\.pt, written by sk_cpep 99\.0, is"
    ):
        fit(mae(), X, folder=tmp_path)
    torch.save([1, 2], tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="written by something else"):
        fit(mae(), X, folder=tmp_path)
    assert contents(tmp_path)["previous.pt"] == before["previous.pt"]


# ---- damage


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Folder of a run of three epochs, and the fit that it should become."""
    folder = tmp_path_factory.mktemp("interrupted")
    fit(mae(restart_period=4), X, folder=folder, max_epochs=3)
    return folder, mae(restart_period=4).fit(X)


def flips(data, n=8):
    """The data with a bit flipped in bytes that are spread over all of it."""
    for position in np.linspace(0, len(data) - 1, n).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 4
        yield bytes(damaged)


def damages(data):
    cuts = [0, 1, 10, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1]
    return [*(data[:cut] for cut in cuts), b"\0" * len(data), *flips(data)]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(interrupted, tmp_path):
    source, whole = interrupted
    n_damaged = 0
    for n, content in enumerate(damages((source / "checkpoint.pt").read_bytes())):
        folder, count = tmp_path / str(n), CountEpochs()
        shutil.copytree(source, folder)
        (folder / "checkpoint.pt").write_bytes(content)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fitted = fit(mae(restart_period=4), X, folder=folder, callbacks=[count])
        assert count.n == 1 + len(
            seen
        )  # a flip in what pads a zip file changes nothing
        for warning in seen:
            assert "checkpoint.pt is damaged: the fit goes on" in str(warning.message)
        assert_same(fitted, whole)
        n_damaged += len(seen)
    assert n_damaged >= 10


def test_what_is_damaged_never_replaces_what_is_whole(interrupted, tmp_path):
    """Though the fit that goes on is cut off in the middle of its first write."""
    source, whole = interrupted
    folder = tmp_path / "folder"
    shutil.copytree(source, folder)
    damaged = (source / "checkpoint.pt").read_bytes()[:-100]
    (folder / "checkpoint.pt").write_bytes(damaged)

    def cut_off(path, target, replace=os.replace):
        if Path(path).name == ".checkpoint.pt.tmp":
            raise Cut
        replace(path, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        patch.setattr(os, "replace", cut_off)
        with pytest.warns(UserWarning, match="damaged"):
            fit(mae(restart_period=4), X, folder=folder)
    assert (folder / "checkpoint.pt").read_bytes() == damaged
    assert (folder / "previous.pt").read_bytes() == (
        source / "previous.pt"
    ).read_bytes()
    with pytest.warns(UserWarning, match="damaged"):
        assert_same(fit(mae(restart_period=4), X, folder=folder), whole)


@pytest.mark.parametrize("left", [FILES, FILES[:1], FILES[1:]])
def test_nothing_that_can_be_read_is_no_new_beginning(left, interrupted, tmp_path):
    source, _ = interrupted
    for name in left:
        (tmp_path / name).write_bytes((source / name).read_bytes()[:-50])
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="give another checkpoint_dir") as error:
        fit(mae(restart_period=4), X, folder=tmp_path)
    for name in left:
        assert f"{tmp_path / name} is damaged" in str(error.value)
    assert contents(tmp_path) == before


def test_the_one_before_alone_is_enough(interrupted, tmp_path):
    source, whole = interrupted
    shutil.copy(source / "previous.pt", tmp_path)
    assert_same(fit(mae(restart_period=4), X, folder=tmp_path), whole)


def test_what_a_checkpoint_holds(tmp_path):
    fitted = fit(mae(), X, folder=tmp_path)
    last, before = (torch.load(tmp_path / name, weights_only=True) for name in FILES)
    for name, weight in fitted.module_.state_dict().items():
        assert torch.equal(last["module"][f"autoencoder.{name}"], weight)
    assert [len(state["history"]) for state in (last, before)] == [4, 3]
    steps = {float(s["step"]) for s in last["optimizer"]["state"].values()}
    assert steps == {4 * 3.0}
    assert last["schedules"]["warm_restarts"]["T_cur"] == 0
    assert last["identity"]["mask_ratio"] == 0.5
    assert last["scaler"] is None
    with zipfile.ZipFile(tmp_path / "checkpoint.pt") as archive:
        assert archive.testzip() is None


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
        if path.parent == tmp_path and "w" in "".join(args):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    count = CountEpochs()
    with pytest.raises(PermissionError, match=tmp_path.name):
        fit(mae(), X, folder=tmp_path, callbacks=[count])
    assert count.n == 0


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_stops_the_run_with_the_error(call, tmp_path, monkeypatch):
    estimator = mae(dropout=0.3)
    function = getattr(os, call)

    class FillUp(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                monkeypatch.setattr(os, call, refuse)

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fit(estimator, X, folder=tmp_path, max_epochs=2)
    before = contents(tmp_path)
    count = CountEpochs()
    estimator.set_params(restart_period=2, callbacks=[FillUp(), count])
    with pytest.raises(ValueError, match="restart_period was None"):
        fit(estimator, X, folder=tmp_path)
    estimator.set_params(restart_period=None)
    with pytest.raises(OSError, match=r"No space left .*checkpoint\.pt") as error:
        fit(estimator, X, folder=tmp_path)
    assert error.value.errno == errno.ENOSPC
    after = contents(tmp_path)
    assert before["checkpoint.pt"] in after.values()
    assert not any("tmp" in name for name in after)
    monkeypatch.setattr(os, call, function)
    resumed = fit(estimator, X, folder=tmp_path, callbacks=None)
    assert_same(resumed, mae(dropout=0.3, restart_period=2).fit(X))


# ---- in processes of their own

# Every fit is in a forked process. A run is killed, and another goes on with it:
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

def fit(checkpoint_dir, max_epochs=3, callbacks=()):
    np.random.seed(0)
    mae = MAE(5, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, batch_size=4,
              max_epochs=max_epochs, restart_period=3, dropout=0.3, early_stopping=True,
              validation_fraction=0.25, n_iter_no_change=10**6, device="cpu",
              precision="float32", checkpoint_dir=checkpoint_dir,
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
    def __init__(self, n):
        self.left = n
    def on_batch_end(self, net, **kwargs):
        self.left -= 1
        if not self.left:
            kill()

def kill_at_batch(n):
    fit(folder, callbacks=[KillAtBatch(n)])

def fitted(checkpoint_dir, max_epochs=3):
    result.unlink(missing_ok=True)
    was_killed(begin(lambda: np.save(result, fit(checkpoint_dir, max_epochs))))
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
    for name in ("checkpoint.pt", "previous.pt"):
        try:
            return len(torch.load(folder / name)["history"])
        except FileNotFoundError:
            pass
    return 0

def kill_from_outside():
    rng = np.random.default_rng()
    for _ in range(5):
        before = n_saved()
        child = begin(lambda: fit(folder, 10**6))
        while n_saved() == before:  # however slow the machine
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
    n_epochs = n_saved() + 1
    same = np.array_equal(fitted(folder, n_epochs), fitted(None, n_epochs))
    shutil.rmtree(folder)
    return same

def exceed_limit():
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        try:
            fit(folder)
        except OSError as error:
            result.write_text(json.dumps([error.errno, error.filename]))
    result.unlink(missing_ok=True)
    was_killed(begin(work))
    return *json.loads(result.read_text()), os.listdir(folder)

whole = fitted(None)
print(json.dumps({
    "calls": kill_everywhere(kill_at_call, 1),
    "batches": kill_everywhere(kill_at_batch, 4),
    "outside": kill_from_outside(),
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
    assert filename == str(processes["folder"] / "checkpoint.pt")
    assert left == ["start.pt"]


# ---- what is shown


def test_the_progress_bar_starts_where_the_run_is(tmp_path, capsys):
    fit(mae(), X, folder=tmp_path, max_epochs=3)
    fit(mae(), X, folder=tmp_path, verbose=1)
    shown = re.findall(r"(\d+)/(\d+) \[", capsys.readouterr().err)
    assert shown[0] == ("9", "12")
    assert shown[-1] == ("12", "12")
