"""CPEP with networks, tokenizers, targets, losses and estimators of one's own."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_networks
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from own_networks import Convolutions, LearnedMargin, OwnEstimator, Recurrent
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from small_estimators import small

from sk_cpep import CPEP, MAE, ModuleEncoder, ZeroShotClassifier

TRAINING = dict(max_epochs=3, batch_size=8, lr=1e-2, device="cpu", precision="float32")
SIZES = dict(d_model=8, n_layers=1, n_heads=2)
SMALL = TRAINING | {"random_state": None}

ENCODERS = {
    "convolutions": ModuleEncoder(Convolutions, module__width=5),
    "pretrained": ModuleEncoder(Recurrent, objective=own_networks.Reversed, **TRAINING),
    "stem": MAE(5, tokenizer="conv", **SIZES, **TRAINING),
    "tokenizer": MAE(5, tokenizer=own_networks.LinearTokens, **SIZES, **TRAINING),
    "target": MAE(5, target=own_networks.log_power, **SIZES, **TRAINING),
    "own": OwnEstimator(),
    "PoseT": small("PoseT", **SMALL),
    "EMG2Pose": small("EMG2Pose", **SMALL),
    "NeuroPose": small("NeuroPose", **SMALL),
}
LOSSES = {
    "siglip": "siglip",
    "function": own_networks.margin,
    "class": LearnedMargin,
    "module": LearnedMargin(),
}
SETUPS = [*ENCODERS, *LOSSES]
OWN = ["convolutions", "pretrained", "stem", "tokenizer", "own", "function", "class"]


def setup(name, **parameters):
    """A CPEP with one thing that is not the paper's."""
    parts = {
        "emg_encoder": clone(ENCODERS.get(name, MAE(5, **SIZES, **TRAINING))),
        "pose_encoder": MAE(4, **SIZES, n_decoder_layers=1, **TRAINING),
        "loss": LOSSES.get(name, "info_nce"),
        "random_state": 0,
    }
    return CPEP(**TRAINING | parts | parameters)


@pytest.mark.parametrize("name", SETUPS)
def test_it_learns_and_repeats(windows, name):
    X, P = windows[:2]
    cpep = setup(name, max_epochs=8).fit(X, P)
    losses = [epoch["train_loss"] for epoch in cpep.history_["alignment"]]
    assert losses[-1] < losses[0]
    U, V = cpep.transform(X), cpep.transform_pose(P)
    assert_allclose(np.linalg.norm(U, axis=1), 1, rtol=1e-5)
    assert U.shape == V.shape == (20, 8)
    assert_array_equal(clone(cpep).fit(X, P).transform(X), U)


@pytest.mark.parametrize("name", ENCODERS)
def test_pickled(windows, name):
    X, P = windows[:2]
    cpep = setup(name).fit(X, P)
    again = pickle.loads(pickle.dumps(cpep))
    assert_array_equal(again.transform(X), cpep.transform(X))
    assert_array_equal(again.transform_pose(P), cpep.transform_pose(P))


def test_pickled_for_another_process(windows, tmp_path):
    X, P = windows[:2]
    fitted = [setup(name).fit(X, P) for name in OWN]
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps((fitted, X)))
    run = """
import pickle, sys
with open("fitted.pickle", "rb") as file:
    fitted, X = pickle.load(file)
with open("embedded.pickle", "wb") as file:
    pickle.dump([cpep.transform(X) for cpep in fitted], file)
"""
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", run],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    embedded = pickle.loads((tmp_path / "embedded.pickle").read_bytes())
    for Z, cpep in zip(embedded, fitted, strict=True):
        assert_array_equal(Z, cpep.transform(X))


class Cut(Exception):
    """Ends a fit as a crash does."""


class CutAfter(Callback):
    """Ends a fit when an epoch is done, or kills its process."""

    observes_only = True

    def __init__(self, n_epochs, kill=False):
        self.n_epochs, self.kill = n_epochs, kill

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > self.n_epochs:
            if self.kill:
                os.kill(os.getpid(), 9)
            raise Cut


@pytest.mark.parametrize("name", OWN)
def test_interrupted_and_resumed(windows, name, tmp_path):
    X, P = windows[:2]
    whole = setup(name).fit(X, P)
    with pytest.raises(Cut):
        setup(name, run_dir=tmp_path, callbacks=[CutAfter(2)]).fit(X, P)
    again = setup(name, run_dir=tmp_path).fit(X, P)
    assert_array_equal(again.transform(X), whole.transform(X))
    seconds = [epoch.pop("seconds") for epoch in again.history_["alignment"]]
    assert len(seconds) == 3
    taken = setup(name, run_dir=tmp_path, callbacks=[CutAfter(0)]).fit(X, P)
    assert_array_equal(taken.transform(X), whole.transform(X))


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="the process that is killed is forked"
)
def test_killed_and_resumed(windows, tmp_path):
    X, P = windows[:2]
    encoder = clone(ENCODERS["pretrained"])
    parameters = dict(emg_encoder=encoder, loss=LearnedMargin, run_dir=tmp_path)
    whole = setup("pretrained", **parameters | {"run_dir": None}).fit(X, P)
    for target in ("emg_encoder__callbacks", "callbacks"):
        killed = clone(setup("pretrained", **parameters))
        killed.set_params(**{target: [CutAfter(1, kill=True)]})
        script = tmp_path / "fit.pickle"
        script.write_bytes(pickle.dumps((killed, X, P)))
        run = (
            "import pickle, sys\n"
            "with open(sys.argv[1], 'rb') as file:\n"
            "    cpep, X, P = pickle.load(file)\n"
            "cpep.fit(X, P)\n"
        )
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", run, script],
            env=os.environ | {"PYTHONPATH": path},
            check=False,
        )
        assert done.returncode == -9
    again = setup("pretrained", **parameters).fit(X, P)
    assert_array_equal(again.transform(X), whole.transform(X))
    for stage in ("emg_encoder", "alignment"):
        assert [epoch["train_loss"] for epoch in again.history_[stage]] == [
            epoch["train_loss"] for epoch in whole.history_[stage]
        ]


@pytest.mark.parametrize("name", SETUPS)
def test_bfloat16(windows, name):
    X, P = windows[:2]
    exact = setup(name).fit(X, P)
    cpep = setup(name, precision="bfloat16").fit(X, P)
    first, last = (
        [fitted.history_["alignment"][i]["train_loss"] for fitted in (cpep, exact)]
        for i in (0, -1)
    )
    assert first[0] != first[1]
    # Rounding is multiplied by 1 / temperature, and by what it does to weights.
    assert_allclose(first[0], first[1], rtol=0.1)
    assert_allclose(last[0], last[1], rtol=0.3, atol=0.1)
    kinds = {v.dtype for v in cpep.module_.state_dict().values()}
    assert kinds <= {torch.float32, torch.int64}


@pytest.mark.parametrize("name", ["convolutions", "stem", "class"])
def test_compiled(windows, name):
    X, P = windows[:2]
    options = {"channel_rotation": 0, "emg_init": "random", "pose_init": "random"}
    eager, compiled = (
        setup(name, compile=compile, **options).fit(X, P) for compile in (False, True)
    )
    assert_allclose(
        [epoch["train_loss"] for epoch in compiled.history_["alignment"]],
        [epoch["train_loss"] for epoch in eager.history_["alignment"]],
        rtol=0.2 if name == "convolutions" else 1e-3,  # which draws for its dropout
    )


def test_searched(windows):
    X, P = windows[:2]
    grid = {"emg_encoder__module__width": [2, 5], "loss": ["siglip", LearnedMargin]}
    search = GridSearchCV(setup("convolutions"), grid, cv=2).fit(X, P)
    assert len(search.cv_results_["params"]) == 4
    width = search.best_params_["emg_encoder__module__width"]
    assert search.best_estimator_.module_.emg_encoder.d_model == width
    by_hand = setup("convolutions").set_params(**search.best_params_).fit(X, P)
    assert_array_equal(search.transform(X), by_hand.transform(X))


@pytest.mark.parametrize("name", ["convolutions", "own", "class"])
def test_zero_shot(windows, name):
    X, P, y, _ = windows
    cpep = setup(name).fit(X, P)
    zero_shot = ZeroShotClassifier(cpep, n_neighbors=1).fit(P, y)
    similarity = cpep.transform(X) @ cpep.transform_pose(P).T
    assert_array_equal(zero_shot.predict(X), y[similarity.argmax(axis=1)])


def test_a_second_sensor_shares_the_poses(windows):
    X, P = windows[:2]
    imu = np.diff(X[:, :2, ::2]).copy()
    pose = FrozenEstimator(MAE(4, **SIZES, **TRAINING, random_state=0).fit(P))
    options = TRAINING | {"random_state": 0, "center_pose": True}
    emg = CPEP(ENCODERS["stem"], pose, **options).fit(X, P)
    inertial = CPEP(
        ENCODERS["convolutions"], pose, loss="siglip", channel_rotation=0, **options
    ).fit(imu, P)
    assert inertial.n_channels_in_ == 2
    assert_array_equal(emg.transform_pose(P), inertial.transform_pose(P))


@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "own"])
def test_random_weights(windows, name):
    X, P = windows[:2]
    cpep = setup(name, emg_init="random").fit(X, P)
    assert cpep.history_["emg_encoder"] == []
    pretrained = setup(name).fit(X, P)
    assert not np.allclose(cpep.transform(X), pretrained.transform(X))


@pytest.mark.parametrize("name", ["pretrained", "PoseT", "EMG2Pose", "NeuroPose"])
def test_pretrained_on_its_own(windows, name):
    """What CPEP pre-trains is what the estimator gives by itself."""
    X, P = windows[:2]
    options = dict(train_emg=False, channel_rotation=0, embedding="encoder")
    if name == "PoseT":
        options["pooling"] = "mean"
    encoder = clone(ENCODERS[name]).set_params(random_state=3)
    cpep = setup(name, emg_encoder=encoder, **options).fit(X, P)
    alone = clone(encoder).fit(X, P)
    frozen = setup(name, emg_encoder=FrozenEstimator(alone), **options).fit(X, P)
    assert_allclose(cpep.transform(X), alone.transform(X), atol=1e-6)
    assert_array_equal(frozen.transform(X), cpep.transform(X))


def test_the_least_that_an_estimator_needs(windows):
    X, P = windows[:2]
    options = dict(train_emg=False, embedding="encoder")
    cpep = setup("own", **options).fit(X, P)
    alone = OwnEstimator().fit(X, P)
    assert_allclose(cpep.transform(X), alone.transform(X), atol=1e-6)
    with pytest.raises(ValueError, match="emg_encoder: OwnEstimator has no encoder_re"):
        setup("own", emg_init="random").fit(X, P)


def test_a_loss_that_was_given_is_not_trained_itself(windows):
    X, P = windows[:2]
    loss = LearnedMargin()
    cpep = setup("module", loss=loss).fit(X, P)
    assert loss.margin.item() == torch.tensor(0.2).item()
    (learned,) = cpep.module_.criterion.parameters()
    assert learned.item() != loss.margin.item()


def test_siglip_learns_its_bias(windows):
    cpep = setup("siglip").fit(*windows[:2])
    assert cpep.module_.criterion.bias.item() != -10
    assert abs(cpep.module_.criterion.bias.item() + 10) < 1


def test_what_cannot_be_imported_is_refused_before_training(windows, monkeypatch):
    class Local(Convolutions):
        pass

    def fit(*args, **kwargs):
        raise AssertionError("something was trained")

    monkeypatch.setattr(MAE, "fit", fit)
    for parameters, message in (
        ({"emg_encoder": ModuleEncoder(Local)}, "emg_encoder: module is .*Local"),
        ({"pose_encoder": MAE(4, tokenizer=Local)}, "pose_encoder: tokenizer is .*Loc"),
        (
            {"emg_encoder": MAE(5, target=lambda p: p)},
            "emg_encoder: target is .*lambda",
        ),
        ({"loss": lambda u, v, scale: u.sum()}, "loss is .*lambda"),
    ):
        with pytest.raises(TypeError, match=f"^{message}.* cannot be imported"):
            setup("stem", **parameters).fit(*windows[:2])


@pytest.mark.parametrize("option", ["duplicate_threshold", "target_temperature"])
def test_options_that_a_loss_does_not_have(windows, option):
    with pytest.raises(ValueError, match=f"^{option} .* loss"):
        setup("function", **{option: 0.5}).fit(*windows[:2])


def test_other_parts_are_another_fit(windows):
    X, P = windows[:2]
    digests = {setup(name).fit(X, P).fit_identity_.digest for name in SETUPS}
    assert len(digests) == len(SETUPS)
    again = setup("module", loss=LearnedMargin()).fit(X, P)
    assert again.fit_identity_.digest in digests


@pytest.mark.parametrize("name", ["stem", "tokenizer", "target", "convolutions"])
def test_a_window_is_embedded_alike_whatever_is_beside_it(windows, name):
    X, P = windows[:2]
    cpep = setup(name).fit(X, P)
    whole = cpep.transform(X)
    for rows in (slice(0, 1), slice(3, 5), slice(0, 11)):
        assert_array_equal(cpep.transform(X[rows]), whole[rows])


def test_another_target(windows):
    X = windows[0]
    mae = clone(ENCODERS["target"]).set_params(random_state=0, max_epochs=30).fit(X)
    losses = [epoch["train_loss"] for epoch in mae.history_]
    assert losses[-1] < 0.7 * losses[0]
    with pytest.raises(ValueError, match="reconstruct needs target='raw'"):
        mae.reconstruct(X)
    mask = np.array([mae._read_mask(None, len(X))]).squeeze()
    with torch.no_grad():
        x, m = torch.from_numpy(X.copy()), torch.from_numpy(mask)
        rebuilt, _ = mae.module_.rebuild(x, m, mae.config_.n_masked)
    patches = X[:, :, :20].reshape(20, 4, 4, 5).astype(np.float64)
    power = np.log((patches**2).mean(axis=3)).transpose(0, 2, 1)
    expected = ((rebuilt.numpy() - power)[mask] ** 2).mean()
    assert_allclose(mae.score(X), -expected, rtol=1e-5)
