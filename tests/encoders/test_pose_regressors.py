import json
import pickle

import numpy as np
import pytest
import torch
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from small_estimators import REGRESSORS, TRAINING, small

import sk_cpep
from sk_cpep import EMG2Pose, InstanceNorm, NeuroPose, PoseT, VEMG2Pose, Windower
from sk_cpep.encoders import load_hand_model

EVERY = pytest.mark.parametrize("name", REGRESSORS)
ROLLOUT = pytest.mark.parametrize("name", ["EMG2Pose", "VEMG2Pose"])
CONTEXT = 14  # samples, of the small rollouts, whose strides are 1, 1, 2, 2


def make(name, **parameters):
    scale = {"output_scale": 1.0} if "EMG2Pose" in name else {}
    return small(name, **scale | parameters)


@pytest.fixture(scope="module")
def pairs():
    """EMG (24, 4, 50), the pose (24, 3, 50) that can be read off it, and people."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 4, 50)).astype(np.float32)
    X += 2 * rng.normal(size=(24, 4, 1)).astype(np.float32)
    P = np.einsum("jc,nct->njt", rng.normal(size=(3, 4)), X).astype(np.float32)
    P = P.mean(axis=2, keepdims=True).repeat(50, axis=2) / 2
    for a in (X, P):
        a.flags.writeable = False
    return X, P, np.arange(24) // 6


@pytest.mark.parametrize(
    "estimator, n_parameters",
    [
        (EMG2Pose(), 2_952_340),
        (EMG2Pose("tracking"), 2_952_340),
        (VEMG2Pose(), 5_980_328),
        (VEMG2Pose("tracking"), 5_970_068),
        (NeuroPose(), 6_354_903),
    ],
    ids=[
        "emg2pose",
        "emg2pose tracking",
        "vemg2pose",
        "vemg2pose tracking",
        "neuropose",
    ],
)
def test_published_sizes(estimator, n_parameters):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, 16, 1900)).astype(np.float32)
    P = rng.normal(size=(2, 20, 1900)).astype(np.float32)
    training = dict(max_epochs=1, early_stopping=False, device="cpu", random_state=0)
    model = clone(estimator).set_params(**training).fit(X, P)
    assert model.n_parameters_ == n_parameters
    if isinstance(model, NeuroPose):
        assert model.sizes_["time_factor"] == 320
        assert model.sizes_["n_times_used"] == 1600
        assert model.pose_start_ == 0
        assert model.transform(X).shape == (2, 256)
    else:
        assert model.sizes_["left_context"] == model.pose_start_ == 1790
        assert model.sizes_["left_context_seconds"] == 0.895
        assert model.sizes_["feature_sfreq"] == 25
        assert model.transform(X).shape == (2, 64)


def test_published_training():
    for estimator in (EMG2Pose(), VEMG2Pose(), VEMG2Pose("tracking"), NeuroPose()):
        plan = estimator._plan()
        assert (plan.optimizer, plan.schedule, plan.weight_decay) == (
            "adam",
            "constant",
            0,
        )
        assert (plan.lr, plan.batch_size, plan.max_epochs) == (1e-3, 64, 500)
        assert (plan.early_stopping, plan.n_iter_no_change) == (True, 50)
    clips = {
        estimator: estimator._plan().gradient_clip
        for estimator in (
            EMG2Pose(),
            EMG2Pose("tracking"),
            VEMG2Pose(),
            VEMG2Pose("tracking"),
            NeuroPose(),
        )
    }
    assert list(clips.values()) == [1.0, 1.0, None, 1.0, None]
    assert VEMG2Pose(gradient_clip=0.5)._plan().gradient_clip == 0.5
    plan = PoseT()._plan()
    assert (plan.optimizer, plan.schedule, plan.lr) == ("adamw", "cosine", 1e-4)
    assert (plan.batch_size, plan.max_epochs, plan.weight_decay) == (256, 100, 1e-5)


def test_sizes_at_100_hz():
    """Two seconds of ten channels, as in Ninapro DB1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 10, 200)).astype(np.float32)
    P = rng.normal(size=(4, 22, 200)).astype(np.float32)
    common = dict(sfreq=100, early_stopping=False, **TRAINING)
    rollout = EMG2Pose(d_model=16, d_features=8, d_hidden=8, **common).fit(X, P)
    assert rollout.sizes_ == {
        "strides": (1, 1, 2, 2),
        "kernel_sizes": (1, 2, 9, 9),
        "block_kernel_sizes": (9, 5),
        "left_context": 89,
        "left_context_seconds": 0.89,
        "stride": 4,
        "feature_sfreq": 25.0,
        "n_frames": 28,
        "n_steps": 56,
        "pose_start": 89,
    }
    neuropose = NeuroPose(widths=(2, 4, 8), n_residual_blocks=1, **common).fit(X, P)
    assert neuropose.sizes_["time_pools"] == (1, 4, 4)
    assert neuropose.sizes_["time_factor_seconds"] == 0.16
    assert (neuropose.sizes_["n_frames"], neuropose.sizes_["n_electrodes"]) == (12, 1)
    assert rollout.predict(X).shape == neuropose.predict(X).shape == P.shape


@EVERY
def test_shapes_and_types(pairs, name):
    X, P, _ = pairs
    model = make(name).fit(X, P)
    assert is_regressor(model)
    assert model.predict(X).shape == P.shape
    assert model.predict(X).dtype == np.float32
    assert model.fit(X, P.astype(np.float64)).predict(X).dtype == np.float64
    assert model.fit(X, P[:, 0]).predict(X).shape == (24, 50)
    assert model.fit(X, P[:, 0, 0]).predict(X).shape == (24,)
    assert model.fit(X, P[:, :, :13]).predict(X).shape == (24, 3, 13)
    Z = model.transform(X)
    assert Z.shape == (24, {"PoseT": 8, "NeuroPose": 8}.get(name, 5))
    assert len(model.get_feature_names_out()) == Z.shape[1]
    assert_array_equal(model.fit_transform(X, P), model.transform(X))


@EVERY
def test_it_learns(pairs, name):
    X, P, _ = pairs
    model = make(name, max_epochs=60, lr=1e-2, channel_rotation=0).fit(X, P)
    losses = [record["train_loss"] for record in model.history_]
    assert losses[-1] < 0.85 * losses[0]
    start = model.pose_start_
    static = np.abs(P - P.mean(axis=(0, 2), keepdims=True))[:, :, start:].mean()
    assert -model.score(X, P) < 0.85 * static


@EVERY
def test_score_is_the_error_of_what_is_predicted(pairs, name):
    X, P, _ = pairs
    model = make(name).fit(X, P)
    start = model.pose_start_
    assert start == (CONTEXT if "EMG2" in name else 0)
    error = np.abs(model.predict(X).astype(float) - P)[:, :, start:].mean()
    assert_allclose(model.score(X, P), -error, rtol=1e-5)
    model.set_params(batch_size=5)
    assert_allclose(model.score(X, P), -error, rtol=1e-5)


@ROLLOUT
def test_the_left_context_holds_the_first_prediction(pairs, name):
    X, P, _ = pairs
    pose = make(name).fit(X, P).predict(X)
    assert_array_equal(pose[:, :, :CONTEXT], pose[:, :, [CONTEXT] * CONTEXT])
    assert (pose[:, :, CONTEXT] != pose[:, :, -1]).all()


def test_poset_is_trained_on_squares(pairs):
    X, P, _ = pairs
    model = make("PoseT", lr=1e-12, batch_size=24, max_epochs=1, channel_rotation=0)
    model.fit(X, P)
    assert model.loss_terms_ == ("squared angle",)
    error = np.square(model.predict(X).astype(float) - P).mean()
    assert_allclose(model.history_[0]["train_loss"], error, rtol=1e-4)


@ROLLOUT
def test_tracking(pairs, name):
    X, P, _ = pairs
    model = make(name, mode="tracking", max_epochs=30, lr=1e-2).fit(X, P)
    start = P[:, :, model.pose_start_]
    pose = model.predict(X, initial_pose=start)
    assert pose.shape == P.shape
    error = np.abs(pose.astype(float) - P)[:, :, CONTEXT:].mean()
    assert_allclose(model.score(X, P), -error, rtol=1e-5)
    assert np.abs(model.predict(X, initial_pose=start + 1) - pose).max() > 0.01
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X, initial_pose=start), pose)
    assert model.transform(X).shape == (24, 5)
    with pytest.raises(ValueError, match=r"needs the true pose .* initial_pose=P\[:"):
        model.predict(X)
    with pytest.raises(ValueError, match=r"shape \(24, 2\), expected \(24, 3\)"):
        model.predict(X, initial_pose=start[:, :2])
    with pytest.raises(ValueError, match="initial_pose contains NaN"):
        model.predict(X, initial_pose=np.full((24, 3), np.nan))


@ROLLOUT
def test_regression_is_told_no_pose(pairs, name):
    X, P, _ = pairs
    model = make(name).fit(X, P)
    with pytest.raises(ValueError, match="initial_pose is for mode='tracking'"):
        model.predict(X, initial_pose=P[:, :, 0])


def test_velocity_tracking_begins_at_the_pose_given(pairs):
    X, P, _ = pairs
    model = make("VEMG2Pose", mode="tracking", output_scale=1e-5).fit(X, P)
    start = P[:, :, CONTEXT]
    pose = model.predict(X, initial_pose=start)
    assert_allclose(pose, start[:, :, np.newaxis].repeat(50, axis=2), atol=1e-2)


# The fingertips


@pytest.fixture
def hand_file(tmp_path):
    """A hand that nobody has: each fingertip at its last bone."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    content = {
        "joint_rotation_axes": axes.tolist(),
        "joint_rest_positions": (30 * rng.normal(size=(20, 3))).tolist(),
        "landmark_rest_positions": (50 * rng.normal(size=(21, 3))).tolist(),
        "landmark_rest_bone_indices": [[4], [7], [10], [13], [16]] + [[1]] * 16,
        "landmark_rest_bone_weights": [[1.0]] * 21,
    }
    path = tmp_path / "hand.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("sfreq, every", [(100, 2), (200, 4), (40, 1)])
@ROLLOUT
def test_loss_with_fingertips(hand_file, name, sfreq, every):
    """Every 20 ms, that is 50 Hz, or all samples where there are fewer."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 4, 50)).astype(np.float32)
    P = rng.uniform(-1, 1, size=(6, 20, 50)).astype(np.float32)
    sizes = dict(sfreq=sfreq, strides=(1, 1, 2, 2), lr=1e-12, channel_rotation=0)
    model = make(
        name, hand_model=hand_file, fingertip_weight=0.02, max_epochs=1, **sizes
    )
    model.fit(X, P)
    assert model.loss_terms_ == ("angle", "fingertip")
    pose, target = (a[:, :, CONTEXT:].transpose(0, 2, 1) for a in (model.predict(X), P))
    hand = load_hand_model(hand_file)
    tips = [hand.landmarks(a[:, ::every])[:, :, :5] for a in (pose, target)]
    distance = np.linalg.norm(tips[0] - tips[1], axis=-1).mean()
    expected = np.abs(pose - target).mean(dtype=float) + 0.02 * distance
    assert_allclose(model.history_[0]["train_loss"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["EMG2Pose", "VEMG2Pose", "NeuroPose"])
def test_without_a_hand_the_result_says_so(pairs, name, hand_file):
    X, P, _ = pairs
    assert make(name).fit(X, P).loss_terms_ == ("angle",)
    with pytest.raises(ValueError, match="hand_model has 20 joints, but P has 3"):
        make(name, hand_model=hand_file).fit(X, P)


# How they are trained


@EVERY
def test_channels_are_rotated(pairs, name):
    X, P, _ = pairs
    fits = [
        make(name, channel_rotation=r, ring_channels=ring).fit(X, P).history_
        for r, ring in ((1, None), (0, None), (1, 4), (1, [0, 1, 2]))
    ]
    losses = [[record["train_loss"] for record in history] for history in fits]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    assert losses[0] != losses[3]
    assert clone(make(name)).channel_rotation == 1
    with pytest.raises(ValueError, match=r"ring_channels=\(0, 7\) must be different"):
        make(name, ring_channels=[0, 7]).fit(X, P)


@EVERY
def test_people_are_set_aside_whole(pairs, name, monkeypatch):
    X, P, users = pairs
    parameters = dict(early_stopping=True, validation_fraction=0.25, max_epochs=1)
    model = make(name, **parameters)
    seen = []

    class Spy(getattr(sk_cpep, name)):
        def _augmentation(self):
            def keep(x, generator):
                seen.extend(x.numpy())
                return x

            return keep

    Spy(**model.get_params()).fit(X, P, groups=users)
    rows = {x.tobytes() for x in seen}
    trained = [user for user, x in zip(users, X) if x.tobytes() in rows]
    assert len(rows) == len(trained) == 18
    assert len(set(trained)) == 3
    with pytest.raises(ValueError, match="sets 1 of 1 groups aside and leaves none"):
        model.fit(X, P, groups=np.zeros(24))
    with pytest.raises(ValueError, match="groups has 5 entries for 24 windows"):
        model.fit(X, P, groups=users[:5])


@EVERY
def test_early_stopping_keeps_the_best_weights(pairs, name):
    X, P, users = pairs
    model = make(
        name, early_stopping=True, validation_fraction=0.5, max_epochs=40, lr=0.05
    )
    model.set_params(n_iter_no_change=3, tol=0.0).fit(X, P, groups=users)
    losses = [record["valid_loss"] for record in model.history_]
    assert model.n_iter_ == len(losses) <= 40
    if model.n_iter_ < 40:
        assert min(losses[-3:]) >= min(losses)
        assert np.argmin(losses) == model.n_iter_ - 4


class LazyArray(Lazy):
    """The same with more of an array's attributes."""

    ndim = 3

    def __init__(self, data):
        super().__init__(data)
        self.dtype = data.dtype


@EVERY
def test_lazy_pairs(pairs, name):
    X, P, users = pairs
    eager = make(name, early_stopping=True).fit(X, P, groups=users)
    lazy = make(name, early_stopping=True).fit(LazyArray(X), LazyArray(P), groups=users)
    assert_array_equal(lazy.predict(Lazy(X)), eager.predict(X))
    assert lazy.score(LazyArray(X), LazyArray(P)) == eager.score(X, P)
    assert lazy.predict(X).dtype == np.float32


@EVERY
def test_bit_for_bit_under_random_state(pairs, name):
    X, P, _ = pairs
    state = torch.get_rng_state()
    fits = [make(name, random_state=s).fit(X, P).predict(X) for s in (1, 1, 2)]
    assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()
    assert torch.equal(torch.get_rng_state(), state)


@EVERY
def test_bfloat16(pairs, name):
    X, P, _ = pairs
    full, half = (make(name, precision=p).fit(X, P) for p in ("float32", "bfloat16"))
    losses = [[r["train_loss"] for r in model.history_] for model in (full, half)]
    assert_allclose(losses[1], losses[0], rtol=0.1)
    assert half.predict(X).dtype == np.float32


@EVERY
def test_progress(pairs, name, capsys):
    make(name, verbose=1).fit(*pairs[:2])
    assert f"{name} (4 channels)" in capsys.readouterr().err


@EVERY
def test_model_selection(pairs, name):
    X, P, users = pairs
    grid = {"channel_rotation": [0, 1]}
    search = GridSearchCV(make(name), grid, cv=GroupKFold(2), error_score="raise")
    search.fit(X, P, groups=users)
    assert (search.cv_results_["mean_test_score"] < 0).all()
    assert search.score(X, P) == search.best_estimator_.score(X, P)
    scores = cross_val_score(make(name), X, P, groups=users, cv=GroupKFold(4))
    assert scores.shape == (4,)


@EVERY
def test_recordings(name):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(4, n)).astype(np.float32) for n in (170, 130)]
    P = [rng.normal(size=(3, x.shape[1])).astype(np.float32) for x in X]
    model = make(name, pose_transformer=Windower(50))
    pipe = Pipeline([("windows", Windower(50)), ("norm", InstanceNorm()), ("m", model)])
    pipe.fit(X, P)
    assert pipe.predict(X).shape == (5, 3, 50)
    assert np.isfinite(pipe.score(X, P))


# What goes wrong


@ROLLOUT
def test_windows_too_short_for_the_context(pairs, name):
    X, P, _ = pairs
    short, P = X[:, :, :CONTEXT], P[:, :, :CONTEXT]
    message = (
        r"Windows of 14 samples \(0.14 s at sfreq=100\) are too short: the network"
    )
    with pytest.raises(ValueError, match=message + " looks back 14 samples.*needs 15"):
        make(name).fit(short, P)
    assert make(name).fit(X[:, :, :15], P).predict(X[:, :, :15]).shape == P.shape
    with pytest.raises(ValueError, match=r"looks back 1790 samples and needs 1791"):
        getattr(sk_cpep, name)().fit(X, P)


def test_windows_too_short_for_neuropose(pairs):
    X, P, _ = pairs
    with pytest.raises(ValueError, match=r"too short: time is pooled by 320 samples"):
        NeuroPose().fit(X, P)
    with pytest.raises(
        ValueError, match="needs 2 windows at the least, got n_samples=1"
    ):
        make("NeuroPose").fit(X[:1], P[:1])


@pytest.mark.parametrize(
    "name, parameters, message",
    [
        ("EMG2Pose", dict(mode="both"), "'mode' parameter of EMG2Pose must be a str"),
        (
            "EMG2Pose",
            dict(strides=(1, 2)),
            r"strides must be 4 whole numbers .* \(1, 2\)",
        ),
        ("EMG2Pose", dict(kernel_sizes=(1, 2, 0, 1)), "kernel_sizes must be 4 whole"),
        ("EMG2Pose", dict(block_kernel_sizes=(1.5, 1)), "block_kernel_sizes must be 2"),
        (
            "VEMG2Pose",
            dict(d_model=9),
            "d_model=9 must be a multiple of block_channels=4",
        ),
        ("VEMG2Pose", dict(gradient_clip="none"), "'gradient_clip' parameter of VEMG2"),
        ("NeuroPose", dict(time_pools=(2, 2)), "time_pools must be 3 whole numbers"),
        ("NeuroPose", dict(widths=(2, 2)), "widths must be 3 whole numbers"),
        ("PoseT", dict(patch_length=51), "patch_length=51 is longer than the windows"),
        (
            "PoseT",
            dict(n_heads=3),
            "d_model=8 must be even and a multiple of n_heads=3",
        ),
        ("EMG2Pose", dict(lr=1e20), r"Training diverged: the loss is (inf|nan)"),
    ],
)
def test_bad_parameters(pairs, name, parameters, message):
    with pytest.raises(ValueError, match=message):
        make(name, **parameters).fit(*pairs[:2])


@EVERY
def test_bad_poses(pairs, name):
    X, P, _ = pairs
    model = make(name)
    with pytest.raises(ValueError, match=f"{name} requires y to be passed"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="got 24 EMG windows and 20 pose"):
        model.fit(X, P[:20])
    with pytest.raises(ValueError, match="Input P contains NaN"):
        model.fit(X, np.where(P > 0, np.nan, P))
    for method in ("predict", "transform"):
        with pytest.raises(NotFittedError):
            getattr(make(name), method)(X)
    model.fit(X, P)
    with pytest.raises(ValueError, match=f"2 joints x 50 samples, but {name} was"):
        model.score(X, P[:, :2])
