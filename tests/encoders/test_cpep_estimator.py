import numpy as np
import pytest
import torch
from lazy_windows import Fetched
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, EarlyStopping

from sk_cpep import CPEP, MAE, InstanceNorm, Windower
from sk_cpep.encoders import _cpep as module
from sk_cpep.nn import Augmentation, Encoder


class Raises(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        raise self.error


def unit(z):
    z = np.asarray(z, dtype=np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def same(weights, others):
    return weights.keys() == others.keys() and all(
        np.array_equal(weights[k], others[k]) for k in weights
    )


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(0)
    lengths = [60, 90, 75, 60, 80, 70]
    X = [rng.normal(size=(4, n)).astype(np.float32) for n in lengths]
    return X, [rng.normal(size=(3, n)).astype(np.float32) for n in lengths]


def test_fit_transform(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep()
    assert cpep.fit(X, P) is cpep
    Z, V = cpep.transform(X), cpep.transform_pose(P)
    for embedding in (Z, V):
        assert embedding.shape == (20, 8)
        assert embedding.dtype == np.float32
        assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    assert (cpep.n_channels_in_, cpep.n_times_in_) == (4, 22)
    assert (cpep.n_joints_in_, cpep.n_pose_times_in_) == (3, 12)
    assert cpep.n_features_in_ == 4
    assert cpep.get_feature_names_out().tolist() == [f"cpep{i}" for i in range(8)]
    assert_array_equal(small_cpep().fit_transform(X, P), Z)


def test_encoders_of_different_width(windows, small_cpep, small_mae):
    X, P = windows[:2]
    cpep = small_cpep(small_mae(d_model=12), small_mae(4, d_model=6)).fit(X, P)
    assert cpep.transform(X).shape == cpep.transform_pose(P).shape == (20, 6)
    assert len(cpep.get_feature_names_out()) == 6
    cpep.set_params(embedding="encoder")
    assert cpep.transform(X).shape == (20, 12)
    assert len(cpep.get_feature_names_out()) == 12


def test_score_is_top_1_retrieval(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep(max_epochs=60, channel_rotation=0, temperature=0.1).fit(X, P)
    similarity = (
        cpep.transform(X).astype(float) @ cpep.transform_pose(P).astype(float).T
    )
    score = cpep.score(X, P)
    assert score == np.mean([row.argmax() == i for i, row in enumerate(similarity)])
    assert score > 0.2  # chance is 0.05
    assert score != cpep.score(X, P[::-1])


def test_score_in_blocks():
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(2, 50, 6))
    assert_array_equal(module.nearest_rows(U, V, block=7), (U @ V.T).argmax(axis=1))


def test_history_of_three_stages(windows, small_cpep, small_mae):
    cpep = small_cpep(small_mae(max_epochs=3), max_epochs=4, early_stopping=True)
    cpep.fit(*windows[:2])
    lengths = {stage: len(history) for stage, history in cpep.history_.items()}
    assert lengths == {"emg_encoder": 3, "pose_encoder": 2, "alignment": 4}
    assert cpep.n_iter_ == 4
    assert [r["epoch"] for r in cpep.history_["alignment"]] == [1, 2, 3, 4]
    assert "valid_loss" in cpep.history_["alignment"][0]
    assert "valid_loss" not in cpep.history_["emg_encoder"][0]


def test_pre_training_is_the_encoders_own(windows, small_cpep, small_mae, weights_of):
    X, P = windows[:2]
    cpep = small_cpep(
        small_mae(random_state=3),
        small_mae(4, random_state=4),
        channel_rotation=0,
        lr=1e-9,
    ).fit(X, P)
    mae = small_mae(4, random_state=4).fit(P)
    expected = weights_of(mae.module_.encoder)
    assert same(weights_of(cpep.module_.pose_encoder), expected)
    mae = small_mae(random_state=3).fit(X)
    pre_trained = weights_of(cpep.module_.emg_encoder)
    for name, value in weights_of(mae.module_.encoder).items():
        assert_allclose(pre_trained[name], value, atol=1e-6)
    for mine, theirs in zip(cpep.history_["emg_encoder"], mae.history_, strict=True):
        assert mine["train_loss"] == theirs["train_loss"]


def test_parameters_are_left_alone(windows, small_cpep, small_mae):
    emg, pose = small_mae(random_state=None), small_mae(4)
    cpep = small_cpep(emg, pose)
    before = cpep.get_params()
    cpep.fit(*windows[:2])
    after = cpep.get_params()
    assert all(after[k] is before[k] for k in before)
    assert not hasattr(emg, "module_")


def test_default_encoders():
    cpep = CPEP()
    given = cpep._given_encoders(np.random.RandomState(0))
    emg, pose = (encoder.estimator for encoder in given)
    assert (emg.patch_length, pose.patch_length) == (50, 200)
    assert emg.random_state != pose.random_state
    assert (emg.d_model, emg.n_layers, emg.n_decoder_layers, emg.mask_ratio) == (
        256,
        4,
        2,
        0.5,
    )
    assert (cpep.lr, cpep.weight_decay, cpep.batch_size, cpep.max_epochs) == (
        1e-4,
        1e-5,
        256,
        100,
    )
    assert (cpep.temperature, cpep.channel_rotation) == (0.02, 1)
    # Whatever is not in the paper is off.
    assert (cpep.amplitude_jitter, cpep.time_shift, cpep.noise) == (0, 0, 0)
    assert (cpep.channel_dropout, cpep.duplicate_threshold) == (0, None)
    assert (cpep.target_temperature, cpep.center_pose) == (None, False)


def test_nested_parameters(small_cpep):
    pipe = Pipeline([("norm", InstanceNorm()), ("cpep", small_cpep())])
    names = pipe.get_params()
    assert {"cpep__emg_encoder__patch_length", "cpep__pose_encoder__mask_ratio"} <= set(
        names
    )
    pipe.set_params(cpep__emg_encoder__patch_length=7, cpep__temperature=0.1)
    assert pipe["cpep"].emg_encoder.patch_length == 7
    assert pipe["cpep"].temperature == 0.1


def test_bit_for_bit_under_random_state(windows, small_cpep):
    X, P = windows[:2]
    first, again, other = (
        small_cpep(random_state=s, noise=0.1).fit(X, P).transform(X) for s in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_global_generators_are_left_alone(windows, small_cpep):
    torch_state = torch.get_rng_state()
    numpy_state = check_random_state(None).get_state()
    cpep = small_cpep(emg_init="random", time_shift=1).fit(*windows[:2])
    cpep.transform(windows[0])
    assert torch.equal(torch_state, torch.get_rng_state())
    for now, before in zip(check_random_state(None).get_state(), numpy_state):
        assert_array_equal(now, before)


# Pre-trained starts


def test_frozen_encoders(windows, small_cpep, small_mae, weights_of):
    X, P = windows[:2]
    emg, pose = small_mae().fit(X), small_mae(4).fit(P)
    before = [weights_of(mae.module_) for mae in (emg, pose)]
    cpep = clone(small_cpep(FrozenEstimator(emg), FrozenEstimator(pose)))
    cpep.fit(X, P)
    assert same(weights_of(emg.module_), before[0])
    assert same(weights_of(pose.module_), before[1])
    assert cpep.history_["emg_encoder"] == cpep.history_["pose_encoder"] == []
    assert len(cpep.history_["alignment"]) == 2
    assert all(p.requires_grad for p in emg.module_.parameters())
    assert same(weights_of(cpep.module_.pose_encoder), weights_of(pose.module_.encoder))
    assert not same(
        weights_of(cpep.module_.emg_encoder), weights_of(emg.module_.encoder)
    )
    assert_allclose(cpep.transform_pose(P), unit(pose.transform(P)), atol=1e-6)


def test_frozen_encoders_in_a_search(windows, small_cpep, small_mae, monkeypatch):
    X, P = windows[:2]
    cpep = small_cpep(
        FrozenEstimator(small_mae().fit(X)), FrozenEstimator(small_mae(4).fit(P))
    )

    def refit(*args):
        raise AssertionError("a frozen encoder was fitted again")

    monkeypatch.setattr(MAE, "fit", refit)
    search = GridSearchCV(cpep, {"temperature": [0.02, 0.5]}, cv=2).fit(X, P)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_frozen_encoder_of_other_windows(windows, small_cpep, small_mae):
    X, P = windows[:2]
    cpep = small_cpep(FrozenEstimator(small_mae().fit(X[:, :, :20])))
    with pytest.raises(
        ValueError, match=r"4 channels x 22 samples.*MAE was fitted on 4 x 20"
    ):
        cpep.fit(X, P)


def test_frozen_encoder_that_is_not_fitted(windows, small_cpep, small_mae):
    with pytest.raises(NotFittedError, match="MAE instance is not fitted"):
        small_cpep(FrozenEstimator(small_mae())).fit(*windows[:2])


@pytest.mark.parametrize(
    "encoder",
    [InstanceNorm(), FrozenEstimator(InstanceNorm().fit(np.zeros((2, 4, 22))))],
)
def test_encoder_without_a_network(windows, small_cpep, encoder):
    with pytest.raises(
        TypeError, match="emg_encoder must be an estimator whose.*InstanceNorm"
    ):
        small_cpep(encoder).fit(*windows[:2])


# The ablations of the paper's Table 2


def test_emg_encoder_frozen(windows, small_cpep, small_mae, weights_of):
    X, P = windows[:2]
    emg = small_mae().fit(X)
    cpep = small_cpep(FrozenEstimator(emg), train_emg=False, weight_decay=0.5).fit(X, P)
    assert same(weights_of(cpep.module_.emg_encoder), weights_of(emg.module_.encoder))
    other = small_cpep(FrozenEstimator(emg), train_emg=False, lr=1e-9).fit(X, P)
    head, untrained = (weights_of(c.module_.head)["weight"] for c in (cpep, other))
    assert np.abs(head - untrained).max() > 1e-3


@pytest.mark.parametrize("which", ["emg", "pose"])
def test_random_start(windows, small_cpep, small_mae, which, weights_of):
    cpep = small_cpep(**{f"{which}_init": "random"}).fit(*windows[:2])
    other = "pose" if which == "emg" else "emg"
    assert cpep.history_[f"{which}_encoder"] == []
    assert len(cpep.history_[f"{other}_encoder"]) == 2
    assert len(cpep.history_["alignment"]) == 2


def test_both_random(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep(emg_init="random", pose_init="random").fit(X, P)
    assert cpep.history_["emg_encoder"] == cpep.history_["pose_encoder"] == []
    assert cpep.transform(X).shape == (20, 8)
    first, second = cpep.module_.emg_encoder, cpep.module_.pose_encoder
    assert not torch.equal(first.cls, second.cls)


def test_frozen_start_that_is_not_used(windows, small_cpep, small_mae, weights_of):
    X, P = windows[:2]
    pose = small_mae(4).fit(P)
    cpep = small_cpep(pose_encoder=FrozenEstimator(pose), pose_init="random").fit(X, P)
    assert not same(
        weights_of(cpep.module_.pose_encoder), weights_of(pose.module_.encoder)
    )


@pytest.mark.parametrize("train_pose", [True, False])
def test_pose_encoder_trained_or_frozen(
    windows, small_cpep, small_mae, train_pose, weights_of
):
    X, P = windows[:2]
    pose = small_mae(4).fit(P)
    cpep = small_cpep(pose_encoder=FrozenEstimator(pose), train_pose=train_pose).fit(
        X, P
    )
    before, after = (
        weights_of(pose.module_.encoder),
        weights_of(cpep.module_.pose_encoder),
    )
    assert same(before, after) is not train_pose


def test_average_pooling(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep(pooling="mean").fit(X, P)
    with torch.no_grad():
        z = cpep.module_.emg_encoder(torch.from_numpy(X.copy()), "mean")
        v = cpep.module_.pose_encoder(torch.from_numpy(P.copy()), "mean")
        u = cpep.module_.head(z)
    assert_allclose(cpep.transform(X), unit(u), atol=1e-6)
    assert_allclose(cpep.transform_pose(P), unit(v), atol=1e-6)


def test_embedding_before_the_head(windows, small_cpep, weights_of):
    X, P = windows[:2]
    cpep = small_cpep().fit(X, P)
    projection, score = cpep.transform(X), cpep.score(X, P)
    cpep.set_params(embedding="encoder")
    encoded = cpep.transform(X).astype(float)
    head = weights_of(cpep.module_.head)
    assert_allclose(
        unit(encoded @ head["weight"].T.astype(float) + head["bias"]),
        projection,
        atol=1e-6,
    )
    assert np.abs(np.linalg.norm(encoded, axis=1) - 1).min() > 0.1
    assert cpep.score(X, P) == score


@pytest.mark.parametrize("batch_size, calls", [(20, 1), (8, 3)])
def test_frozen_poses_are_embedded_once(
    windows, small_cpep, small_mae, monkeypatch, batch_size, calls
):
    embedded = []
    forward = Encoder.forward

    def counted(self, x, pooling="cls"):
        embedded.append(self.config.n_channels)
        return forward(self, x, pooling)

    monkeypatch.setattr(Encoder, "forward", counted)
    cpep = small_cpep(batch_size=batch_size, max_epochs=5)
    cpep.fit(*windows[:2])
    assert embedded.count(3) == calls
    assert embedded.count(4) == 5 * calls
    embedded.clear()
    cpep.set_params(train_pose=True).fit(*windows[:2])
    assert embedded.count(3) == 5 * calls


# Temperature and the options for small data


def test_temperature_is_learned(windows, small_cpep):
    X, P = windows[:2]
    start = small_cpep(temperature=0.1, lr=1e-9).fit(X, P).temperature_
    assert_allclose(start, 0.1, rtol=1e-5)
    learned = small_cpep(temperature=0.1, max_epochs=10).fit(X, P)
    assert abs(np.log(learned.temperature_ / 0.1)) > 0.01
    assert_allclose(
        learned.temperature_, np.exp(-learned.module_.log_scale.item()), rtol=1e-5
    )


def test_temperature_may_be_fixed(windows, small_cpep):
    cpep = small_cpep(temperature=0.1, learn_temperature=False, max_epochs=10)
    assert_allclose(cpep.fit(*windows[:2]).temperature_, 0.1, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1e-4, 0.00999, 0.01])
def test_a_learned_temperature_starts_at_a_hundredth_and_rises(
    windows, small_cpep, temperature
):
    # Pairs of noise are told apart best at a high temperature.
    X, P = windows[0], np.random.default_rng(1).permutation(windows[1])
    cpep = small_cpep(temperature=temperature, max_epochs=8).fit(X, P)
    assert cpep.temperature_ > 0.0105
    still = small_cpep(temperature=temperature, lr=1e-12, max_epochs=1).fit(X, P)
    assert_allclose(still.temperature_, 0.01, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1e-4, 0.005, 0.2])
def test_a_fixed_temperature_is_trained_with(windows, small_cpep, temperature):
    fixed = dict(temperature=temperature, learn_temperature=False)
    start = dict(lr=1e-12, batch_size=20, max_epochs=1, channel_rotation=0)
    cpep = small_cpep(**fixed, **start).fit(*windows[:2])
    assert_allclose(cpep.temperature_, temperature, rtol=1e-5)
    U = cpep.transform(windows[0]).astype(np.float64)
    V = cpep.transform_pose(windows[1]).astype(np.float64)
    s = U @ V.T / temperature
    rows, columns = (logsumexp(s, axis=axis) - np.diag(s) for axis in (1, 0))
    loss = cpep.history_["alignment"][0]["train_loss"]
    assert_allclose(loss, (rows.mean() + columns.mean()) / 2, rtol=1e-3)


@pytest.mark.parametrize(
    "ring_channels, ring", [(None, None), (3, (0, 1, 2)), ([3, 1, 0], (3, 1, 0))]
)
def test_ring(windows, small_cpep, monkeypatch, ring_channels, ring):
    used = []
    call = Augmentation.__call__

    def spy(self, x, generator=None):
        used.append((x.shape[1], self.channel_rotation, self.ring))
        return call(self, x, generator)

    monkeypatch.setattr(Augmentation, "__call__", spy)
    small_cpep(channel_rotation=2, ring_channels=ring_channels).fit(*windows[:2])
    # 3 batches in 2 epochs: EMG pre-training and alignment; the pose stays as it is.
    assert used.count((4, 2, ring)) == 12
    assert used.count((3, 0, None)) == 6
    assert len(used) == 18


def test_rotation_moves_the_ring_only(windows, small_cpep, monkeypatch):
    seen = []
    call = Augmentation.__call__

    def spy(self, x, generator=None):
        out = call(self, x, generator)
        seen.append((x.numpy(), out.numpy()))
        return out

    monkeypatch.setattr(Augmentation, "__call__", spy)
    small_cpep(emg_init="random", pose_init="random", ring_channels=[0, 1, 3]).fit(
        *windows[:2]
    )
    steps = set()
    for before, after in seen:
        for x, z in zip(before, after, strict=True):
            assert_array_equal(z[2], x[2])
            rolls = [np.roll(x[[0, 1, 3]], step, axis=0) for step in (-1, 0, 1)]
            match = [np.array_equal(z[[0, 1, 3]], roll) for roll in rolls]
            assert sum(match) == 1
            steps.add(match.index(True))
    assert steps == {0, 1, 2}


@pytest.mark.parametrize("ring", [5, [0, 0, 1], [0, 4], [-1, 0]])
def test_bad_ring(windows, small_cpep, ring):
    with pytest.raises(
        ValueError, match=r"ring_channels=.* must be different channels among the 4"
    ):
        small_cpep(ring_channels=ring).fit(*windows[:2])


@pytest.mark.parametrize(
    "option",
    [
        dict(amplitude_jitter=0.3),
        dict(time_shift=2),
        dict(noise=0.3),
        dict(channel_dropout=0.3),
        dict(channel_rotation=0),
        dict(duplicate_threshold=0.0),
        dict(target_temperature=0.5),
        dict(duplicate_threshold=0.5, target_temperature=0.5),
        dict(center_pose=True),
        dict(weight_decay=0.5),
        dict(restart_period=1),
    ],
    ids=str,
)
def test_every_option_changes_the_result(windows, small_cpep, option):
    X, P = windows[:2]
    plain, changed = small_cpep().fit(X, P), small_cpep(**option).fit(X, P)
    assert np.isfinite(changed.transform(X)).all()
    assert np.abs(plain.transform(X) - changed.transform(X)).max() > 1e-5


def test_centred_poses(windows, small_cpep, small_mae):
    X, P = windows[:2]
    pose = small_mae(4).fit(P)
    cpep = small_cpep(pose_encoder=FrozenEstimator(pose), center_pose=True).fit(X, P)
    raw = pose.transform(P).astype(float)
    assert_allclose(cpep.transform_pose(P), unit(raw - raw.mean(axis=0)), atol=1e-5)
    one = cpep.transform_pose(P[3:4])  # the mean is that of the training windows
    assert_allclose(one, unit(raw[3:4] - raw.mean(axis=0)), atol=1e-5)
    with pytest.raises(
        ValueError, match="needs a frozen pose encoder: set train_pose=False"
    ):
        clone(cpep).set_params(train_pose=True).fit(X, P)


def test_groups(windows, small_cpep):
    X, P, _, users = windows
    batches = []

    class Spy(Callback):
        def on_batch_begin(self, net, batch=None, **kwargs):
            batches.append(batch[0][:, 0, 0].numpy())

    options = dict(channel_rotation=0, callbacks=[Spy()], batch_size=3)
    small_cpep(**options).fit(X, P, groups=users)
    user_of = dict(zip(X[:, 0, 0], users))
    assert len(batches) == 2 * 5  # 4 windows a person: 3, and 1 that is left out
    assert all(len({user_of[v] for v in batch}) == 1 for batch in batches)
    batches.clear()
    small_cpep(**options).fit(X, P)
    assert any(len({user_of[v] for v in batch}) > 1 for batch in batches)


def test_groups_through_a_pipeline(windows, small_cpep):
    X, P, _, users = windows
    pipe = Pipeline([("norm", InstanceNorm()), ("cpep", small_cpep())])
    grouped = pipe.fit(X, P, cpep__groups=users).transform(X)
    direct = small_cpep().fit(InstanceNorm().fit_transform(X), P, groups=users)
    assert_array_equal(grouped, direct.transform(InstanceNorm().fit_transform(X)))
    with pytest.raises(ValueError, match="groups has 5 entries for 20 windows"):
        small_cpep().fit(X, P, groups=users[:5])


# The pose transformer and recordings


def test_pose_transformer(windows, small_cpep):
    X, P = windows[:2]
    halve = FunctionTransformer(lambda P: P[:, ::2] / 2)
    with_transformer = small_cpep(pose_transformer=halve).fit(X, P)
    by_hand = small_cpep().fit(X, P[:, ::2] / 2)
    assert_array_equal(with_transformer.transform(X), by_hand.transform(X))
    assert_array_equal(
        with_transformer.transform_pose(P), by_hand.transform_pose(P[:, ::2] / 2)
    )
    assert with_transformer.score(X, P) == by_hand.score(X, P[:, ::2] / 2)
    assert with_transformer.pose_transformer_ is not halve
    assert by_hand.pose_transformer_ is None


def windowing_pipeline(small_cpep):
    return Pipeline(
        [
            ("norm", FunctionTransformer(lambda X: [x / 2 for x in X])),
            ("windows", Windower(20)),
            ("cpep", small_cpep(pose_transformer=Windower(20))),
        ]
    )


def test_recordings(recordings, small_cpep):
    X, P = recordings
    pipe = windowing_pipeline(small_cpep).fit(X, P)
    cut = [
        np.stack(
            [r[:, i : i + 20] for r in part for i in range(0, r.shape[1] - 19, 20)]
        )
        for part in (X, P)
    ]
    direct = small_cpep().fit(cut[0] / 2, cut[1])
    assert_array_equal(pipe.transform(X), direct.transform(cut[0] / 2))
    assert_array_equal(pipe["cpep"].transform_pose(P), direct.transform_pose(cut[1]))
    assert pipe.score(X, P) == direct.score(cut[0] / 2, cut[1])


def test_folds_over_recordings(recordings, small_cpep):
    X, P = recordings
    pipe = windowing_pipeline(small_cpep)
    assert cross_val_score(pipe, X, P, cv=3, error_score="raise").shape == (3,)
    grid = {"cpep__emg_encoder__patch_length": [3, 5]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, P)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_recordings_that_do_not_pair(recordings, small_cpep):
    X, P = recordings
    pipe = windowing_pipeline(small_cpep)
    with pytest.raises(
        ValueError, match=r"got 20 EMG windows and 17 pose windows. Window both"
    ):
        pipe.fit(X, P[:-1])


# Input


def test_lazy_windows(windows, small_cpep):
    X, P = windows[:2]
    lazy, lazy_P = Fetched(X), Fetched(P)
    options = dict(early_stopping=True, batch_size=6)
    cpep = small_cpep(**options).fit(lazy, lazy_P)
    eager = small_cpep(**options).fit(X, P)
    assert_array_equal(cpep.transform(lazy), eager.transform(X))
    assert_array_equal(cpep.transform_pose(lazy_P), eager.transform_pose(P))
    assert cpep.score(lazy, lazy_P) == eager.score(X, P)
    # The encoders bring a batch size of 8 for pre-training.
    assert lazy.largest == lazy_P.largest == 8


def test_nan_in_lazy_poses(windows, small_cpep):
    X, P = windows[0], windows[1].copy()
    P[3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity: 1 of the"):
        small_cpep().fit(X, Fetched(P))


def test_pairs_that_do_not_match(windows, small_cpep):
    X, P = windows[:2]
    message = "must pair row by row, got 20 EMG windows and 19 pose windows"
    with pytest.raises(ValueError, match=message):
        small_cpep().fit(X, P[1:])
    cpep = small_cpep().fit(X, P)
    with pytest.raises(ValueError, match=message):
        cpep.score(X, P[1:])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda X, P: (X, None), "requires y to be passed, but the target y is None"),
        (lambda X, P: (X[:1], P[:1]), "needs 2 at the least, got n_samples=1"),
        (lambda X, P: (X[..., None], P), "array X with dim 4"),
        (lambda X, P: (X, P[..., None]), "array P with dim 4"),
        (lambda X, P: (X * np.nan, P), "Input X contains NaN"),
        (lambda X, P: (X, P * np.nan), "Input P contains NaN"),
        (
            lambda X, P: (X[:, :, :4], P),
            "emg_encoder: patch_length=5 is longer than the windows, n_times=4",
        ),
        (
            lambda X, P: (X, P[:, :, :3]),
            "pose_encoder: patch_length=4 is longer than the windows, n_times=3",
        ),
        (
            lambda X, P: ([X[0], X[1, :, 1:]], P[:2]),
            r"X holds arrays of unequal shapes, such as \(4, 22\) and \(4, 21\)",
        ),
        (
            lambda X, P: (X[:2], [P[0], P[1, :, 1:]]),
            r"P holds arrays of unequal shapes.* pose_transformer=Windower",
        ),
    ],
)
def test_bad_input(windows, small_cpep, make, message):
    with pytest.raises(ValueError, match=message):
        small_cpep().fit(*make(*windows[:2]))


@pytest.mark.parametrize("name", ["emg_encoder", "pose_encoder"])
def test_bad_parameters_of_an_encoder(windows, small_cpep, small_mae, name):
    for parameters, message in (
        (dict(mask_ratio=1.5), "The 'mask_ratio' parameter of MAE must be"),
        (dict(patch_length="5"), "The 'patch_length' parameter of MAE must be"),
        (dict(d_model=7), "d_model=7 must be even"),
    ):
        cpep = small_cpep(**{name: small_mae(**parameters)})
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            cpep.fit(*windows[:2])


def test_nothing_is_trained_before_both_encoders_fit(windows, small_cpep, small_mae):
    class Never(Callback):
        def on_train_begin(self, net, **kwargs):
            raise AssertionError("training began")

    cpep = small_cpep(small_mae(callbacks=[Never()]), small_mae(13))
    with pytest.raises(ValueError, match="pose_encoder: patch_length=13"):
        cpep.fit(*windows[:2])


def test_windows_of_another_shape(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep().fit(X, P)
    with pytest.raises(ValueError, match=r"4 channels x 21 samples.*fitted on 4 x 22"):
        cpep.transform(X[:, :, 1:])
    with pytest.raises(ValueError, match="X has 3 features, but CPEP is expecting 4"):
        cpep.transform(X[:, 1:])
    with pytest.raises(
        ValueError, match=r"2 joints x 12 samples, but CPEP was fitted on 3 x 12"
    ):
        cpep.transform_pose(P[:, 1:])
    for method in (small_cpep().transform, small_cpep().transform_pose):
        with pytest.raises(NotFittedError):
            method(X)


@pytest.mark.parametrize(
    "parameters, message",
    [
        (dict(temperature=0), "'temperature' parameter of CPEP must be a float in"),
        (dict(embedding="both"), "'embedding' parameter of CPEP must be a str among"),
        (
            dict(pose_transformer=3),
            "'pose_transformer' parameter of CPEP must be an object",
        ),
        (dict(device="toaster"), "device='toaster' cannot be used here"),
        (dict(lr=1e30), r"Training diverged: the loss is (inf|nan) after epoch"),
    ],
)
def test_bad_parameters(windows, small_cpep, parameters, message):
    with pytest.raises(ValueError, match=message):
        small_cpep(**parameters).fit(*windows[:2])


# Callbacks and progress


def test_callbacks_are_for_the_alignment(windows, small_cpep):
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    cpep = small_cpep(max_epochs=30, callbacks=[stop]).fit(*windows[:2])
    assert cpep.n_iter_ == 3
    assert len(cpep.history_["emg_encoder"]) == 2
    assert clone(cpep).fit(*windows[:2]).n_iter_ == 3


def test_ctrl_c_ends_a_whole_search(windows, small_cpep, monkeypatch):
    fits = []
    fit = CPEP.fit
    monkeypatch.setattr(
        CPEP, "fit", lambda self, *a, **k: fits.append(1) or fit(self, *a, **k)
    )
    cpep = small_cpep(callbacks=[Raises(KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(cpep, {"temperature": [0.02, 0.5]}, cv=2).fit(*windows[:2])
    assert len(fits) == 1


def test_progress(windows, small_cpep, small_mae, capsys):
    encoders = small_mae(verbose=1), small_mae(4, verbose=1)
    small_cpep(*encoders, verbose=1).fit(*windows[:2])
    captured = capsys.readouterr()
    assert captured.out == ""
    places = [
        captured.err.index(s)
        for s in ("MAE (4 channels)", "MAE (3 channels)", "CPEP alignment")
    ]
    assert places == sorted(places)
    small_cpep().fit(*windows[:2])
    assert capsys.readouterr() == ("", "")


def test_early_stopping(windows, small_cpep):
    cpep = small_cpep(max_epochs=30, early_stopping=True, n_iter_no_change=2, tol=10.0)
    assert cpep.fit(*windows[:2]).n_iter_ == 3


def test_learns_what_the_modalities_share(windows, small_cpep):
    X, P, y, _ = windows
    trained = np.arange(20) < 16
    cpep = small_cpep(max_epochs=60, channel_rotation=0, temperature=0.1)
    cpep.fit(X[trained], P[trained])
    losses = [record["train_loss"] for record in cpep.history_["alignment"]]
    assert losses[-1] < 0.7 * losses[0]
    similarity = cpep.transform(X) @ cpep.transform_pose(P[trained]).T
    right = y[trained][similarity.argmax(axis=1)] == y
    assert right[trained].mean() > 0.8  # chance is 0.25
    assert right[~trained].mean() > 0.7
