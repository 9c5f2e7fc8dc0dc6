"""The encoder with a linear head that is trained on labels."""

import os
import pickle
import subprocess
import sys

import numpy as np
import own_networks
import pandas as pd
import pytest
import torch
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import compute_class_weight
from skorch.callbacks import Callback
from small_estimators import TRAINING, TRANSFORMER, small

from sk_cpep import (
    CPEP,
    MAE,
    EncoderClassifier,
    InstanceNorm,
    ModuleEncoder,
    Windower,
    make_windows,
)
from sk_cpep.nn import Augmentation, WindowClassifier
from sk_cpep.training import Classification

TINY = 1e-12  # a learning rate that leaves weights as they are


def make(encoder=None, **parameters):
    if encoder is not None:
        parameters["encoder"] = encoder
    return small("EncoderClassifier", **{"lr": 1e-2} | parameters)


def weights_of(module):
    return {k: v.detach().numpy().copy() for k, v in module.state_dict().items()}


def assert_same_weights(module, other):
    found, expected = weights_of(module), weights_of(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_array_equal(found[name], value, err_msg=name)


def losses(fitted):
    return [epoch["train_loss"] for epoch in fitted.history_]


def logits_by_hand(fitted, X):
    """The head in float64, of what `transform` gives."""
    head = weights_of(fitted.module_.head)
    weight, bias = (head[k].astype(np.float64) for k in ("weight", "bias"))
    return fitted.transform(X).astype(np.float64) @ weight.T + bias


def cross_entropy(logits, codes, weights=None, smoothing=0.0):
    """Mean over windows, each multiplied by the weight of its class."""
    logp = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    n, n_classes = logp.shape
    target = np.full((n, n_classes), smoothing / n_classes)
    target[np.arange(n), codes] += 1 - smoothing
    each = -(target * logp).sum(axis=1)
    return (each if weights is None else np.asarray(weights)[codes] * each).mean()


@pytest.fixture(scope="module")
def unequal():
    """Windows (30, 4, 22) of three classes: 5, 10 and 15 of them."""
    rng = np.random.default_rng(1)
    y = np.repeat([3, 5, 8], [5, 10, 15])
    X = rng.normal(size=(30, 4, 22)) + y[:, np.newaxis, np.newaxis] / 8
    order = rng.permutation(30)
    return X[order].astype(np.float32), y[order]


# What is learned


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_separable_problem(windows, pooling):
    X, _, y, _ = windows
    fitted = make(max_epochs=40, pooling=pooling, channel_rotation=0).fit(X, y)
    assert fitted.score(X, y) == 1.0
    assert losses(fitted)[-1] < 0.3 * losses(fitted)[0]
    new = X + 0.1 * np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    assert_array_equal(fitted.predict(new), y)
    assert fitted.n_iter_ == len(fitted.history_) == 40


ENCODERS = {
    "PoseT": small("PoseT"),
    "EMG2Pose": small("EMG2Pose"),
    "convolutions": ModuleEncoder(own_networks.Convolutions),
    "recurrent": ModuleEncoder(own_networks.Recurrent, module__width=5),
    "stem": MAE(tokenizer="conv", **TRANSFORMER),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder(windows, name):
    X, _, y, _ = windows
    fitted = make(clone(ENCODERS[name]), max_epochs=6).fit(X, y)
    assert losses(fitted)[-1] < losses(fitted)[0]
    Z = fitted.transform(X)
    assert Z.shape == (20, fitted.module_.encoder.d_model)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert_array_equal(clone(fitted).fit(X, y).transform(X), Z)


def test_none_is_the_autoencoder_of_the_paper(windows):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 2, 100)).astype(np.float32), [0, 1, 0, 1]
    fitted = EncoderClassifier(**TRAINING | {"max_epochs": 1}).fit(X, y)
    config = fitted.module_.encoder.config
    assert (config.patch_length, config.d_model, config.n_layers) == (50, 256, 4)
    with pytest.raises(ValueError, match="^encoder: patch_length=50 is longer"):
        EncoderClassifier().fit(windows[0], windows[2])


def test_everything_is_trained(windows):
    X, _, y, _ = windows
    before, after = (make(lr=lr, weight_decay=0).fit(X, y) for lr in (TINY, 1e-2))
    first, last = weights_of(before.module_), weights_of(after.module_)
    still = {k for k, v in first.items() if np.abs(v - last[k]).max() < 1e-4}
    # Keys add the same to the attention of a query to all others.
    assert not {k for k in still if "qkv" not in k and "position" not in k}


# Logits, probabilities, embeddings


def test_logits_are_those_of_the_head(windows):
    X, _, y, _ = windows
    fitted = make().fit(X, y)
    logits = fitted.decision_function(X)
    assert logits.shape == (20, 4) and logits.dtype == np.float64
    assert_allclose(logits, logits_by_hand(fitted, X), rtol=1e-6, atol=1e-7)
    proba = np.exp(log_softmax(logits, axis=1))
    assert_allclose(fitted.predict_proba(X), proba, rtol=1e-12)
    assert_array_equal(fitted.predict(X), fitted.classes_[logits.argmax(axis=1)])


def test_two_classes_have_one_decision(windows):
    X, _, y, _ = windows
    fitted = make().fit(X, y == "fist")
    expected = logits_by_hand(fitted, X)
    decision = fitted.decision_function(X)
    assert_allclose(decision, expected[:, 1] - expected[:, 0], rtol=1e-5, atol=1e-6)
    assert_allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-decision)))
    assert_array_equal(fitted.predict(X), decision > 0)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_embedding_is_that_of_the_encoder(windows, pooling):
    X, _, y, _ = windows
    fitted = make(pooling=pooling).fit(X, y)
    with torch.no_grad():
        expected = fitted.encoder_(torch.from_numpy(X.copy()), pooling).numpy()
    Z = fitted.transform(X)
    assert_allclose(Z, expected, rtol=1e-5, atol=1e-6)
    assert Z.dtype == np.float32
    fitted.pooling = "mean" if pooling == "cls" else "cls"  # for the next fit
    assert_array_equal(fitted.transform(X), Z)
    probe = make_pipeline(FrozenEstimator(fitted), LogisticRegression(C=100))
    assert probe.fit(X, y).score(X, y) == 1.0
    assert len(fitted.get_feature_names_out()) == 8


def test_a_window_is_named_alike_whatever_is_beside_it(windows):
    X, _, y, _ = windows
    fitted = make().fit(X, y)
    whole = fitted.decision_function(X)
    for rows in (slice(0, 1), slice(3, 5), slice(0, 11)):
        assert_array_equal(fitted.decision_function(X[rows]), whole[rows])


# The loss


class Batches(Callback):
    """Keeps the batches and the network's outputs before each step."""

    observes_only = True
    kept = []  # noqa: RUF012

    def on_batch_begin(self, net, batch, training, **kwargs):
        net.module_.eval()
        with torch.no_grad():
            logits = net.module_.network(batch[0])
        net.module_.train(training)
        self.kept.append((batch[0].numpy(), batch[1].numpy(), logits.numpy()))

    def on_batch_end(self, net, loss, **kwargs):
        self.kept[-1] += (float(loss),)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "class_weight, weights",
    [
        (None, [1, 1, 1]),
        ("balanced", [30 / (3 * 5), 30 / (3 * 10), 30 / (3 * 15)]),
        ({3: 2.0, 5: 0.5, 8: 0.0}, [2, 0.5, 0]),
        ({5: 3}, [1, 3, 1]),
    ],
)
def test_the_loss_of_a_batch(unequal, class_weight, weights, smoothing):
    X, y = unequal
    Batches.kept.clear()
    options = {"label_smoothing": smoothing, "channel_rotation": 0, "batch_size": 8}
    make(class_weight=class_weight, callbacks=[Batches()], **options).fit(X, y)
    assert len(Batches.kept) == 2 * 4
    for windows, codes, logits, loss in Batches.kept:
        rows = [np.flatnonzero((x == X).all(axis=(1, 2))).item() for x in windows]
        assert_array_equal(np.array([3, 5, 8])[codes.astype(int)], y[rows])
        expected = cross_entropy(logits, codes.astype(int), weights, smoothing)
        assert_allclose(loss, expected, rtol=1e-5)


def test_the_loss_of_an_epoch_is_the_mean_over_windows(unequal):
    X, y = unequal
    options = dict(class_weight="balanced", label_smoothing=0.1, channel_rotation=0)
    fitted = make(lr=TINY, max_epochs=1, batch_size=7, **options).fit(X, y)
    weights = compute_class_weight("balanced", classes=np.array([3, 5, 8]), y=y)
    codes = np.searchsorted([3, 5, 8], y)
    expected = cross_entropy(logits_by_hand(fitted, X), codes, weights, 0.1)
    assert_allclose(losses(fitted), expected, rtol=1e-5)


def test_gradients_against_torch():
    """Without weights it is torch's cross-entropy; with them, a sum over their mean."""
    torch.manual_seed(0)
    network = WindowClassifier(OneLayer(), config=None)
    x, y = torch.randn(6, 2, 3), torch.tensor([0, 1, 1, 0, 1, 1])
    weights = torch.tensor([2.0, 0.5])
    for given in (None, weights):
        objective = Classification(network, Augmentation(), class_weights=given)
        objective.zero_grad()
        objective(x, y.float()).backward()
        found = network.head.weight.grad.clone()
        network.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y, weight=given)
        scale = 1 if given is None else weights[y].mean()
        (loss * scale).backward()
        assert_allclose(found, network.head.weight.grad, rtol=1e-5)


class OneLayer(torch.nn.Module):
    d_model = 4

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 4)

    def forward(self, x, pooling="cls"):
        return self.layer(x.flatten(1))


def test_weights_move_the_decision(unequal):
    X, y = np.zeros_like(unequal[0]), unequal[1]  # nothing to tell them apart by
    options = dict(max_epochs=60, lr=0.1, batch_size=30, channel_rotation=0)
    prior = make(**options).fit(X, y).predict_proba(X[:1])[0]
    assert_allclose(prior, [5 / 30, 10 / 30, 15 / 30], atol=0.02)
    even = make(class_weight="balanced", **options).fit(X, y).predict_proba(X[:1])[0]
    assert_allclose(even, [1 / 3, 1 / 3, 1 / 3], atol=0.02)


@pytest.mark.parametrize(
    "class_weight", [{3: -1.0}, {3: 0, 5: 0, 8: 0}, {3: np.inf}, {3: np.nan}]
)
def test_weights_that_are_none(unequal, class_weight):
    with pytest.raises(ValueError, match="class_weight must hold finite weights"):
        make(class_weight=class_weight).fit(*unequal)


def test_augmentation_reaches_the_batches(windows):
    X, _, y, _ = windows
    options = dict(
        channel_rotation=1,
        ring_channels=3,
        electrode_shift=0.5,
        amplitude_jitter=0.1,
        time_shift=2,
        noise=0.1,
        channel_dropout=0.2,
    )
    plain = losses(make(channel_rotation=0).fit(X, y))
    for name, value in options.items():
        if name != "ring_channels":
            one = make(**{"channel_rotation": 0, name: value}).fit(X, y)
            assert losses(one) != plain, name
    fitted = make(**options).fit(X, y)
    del options["ring_channels"]
    assert fitted._augmentation() == Augmentation(**options, ring=(0, 1, 2))
    with pytest.raises(ValueError, match="ring_channels=5 must be"):
        make(ring_channels=5).fit(X, y)


# Where it starts


def test_a_fitted_encoder_gives_its_weights(windows, small_mae):
    X, _, y, _ = windows
    mae = small_mae().fit(X)
    before = weights_of(mae.module_)
    still = make(FrozenEstimator(mae), lr=TINY, weight_decay=0.0).fit(X, y)
    for name, value in weights_of(still.module_.encoder).items():
        assert_allclose(value, before[f"encoder.{name}"], atol=1e-9, err_msg=name)
    assert_allclose(still.transform(X), mae.transform(X), atol=1e-6)
    trained = make(FrozenEstimator(mae)).fit(X, y)
    assert np.abs(trained.transform(X) - mae.transform(X)).max() > 1e-2
    for name, value in weights_of(mae.module_).items():
        assert_array_equal(value, before[name])  # a copy was trained


def test_an_aligned_encoder_gives_its_weights(windows, small_cpep):
    X, P, y, _ = windows
    cpep = small_cpep(embedding="encoder").fit(X, P)
    frozen = FrozenEstimator(cpep)
    still = make(frozen, lr=TINY, weight_decay=0.0).fit(X, y)
    assert_allclose(still.transform(X), cpep.transform(X), atol=1e-6)
    before = weights_of(cpep.module_)
    fitted = make(frozen).fit(X, y)
    assert_array_equal(
        clone(fitted).fit(X, y).predict_proba(X), fitted.predict_proba(X)
    )
    assert np.abs(fitted.transform(X) - cpep.transform(X)).max() > 1e-2
    for name, value in weights_of(cpep.module_).items():
        assert_array_equal(value, before[name])
    new = make(small_cpep(small("MAE", d_model=16)), max_epochs=1).fit(X, y)
    assert new.transform(X).shape == (20, 16)


def test_random_weights(windows, small_mae):
    """Of an encoder that is not fitted, and of a fitted one that is asked not to give."""
    X, _, y, _ = windows
    mae = small_mae().fit(X)
    fits = [
        make(encoder, init=init, lr=TINY).fit(X, y)
        for encoder, init in (
            (mae, "pretrained"),
            (small_mae(lr=0.5, random_state=3, max_epochs=7), "pretrained"),
            (small_mae(), "random"),
            (FrozenEstimator(mae), "random"),
        )
    ]
    for fitted in fits[1:]:
        assert_same_weights(fitted.module_, fits[0].module_)
    assert fits[1].fit_identity_ == fits[0].fit_identity_
    assert np.abs(fits[0].transform(X) - mae.transform(X)).max() > 1e-2
    other = make(small_mae(), lr=TINY, random_state=1).fit(X, y)
    assert np.abs(fits[0].transform(X) - other.transform(X)).max() > 1e-2


def test_an_estimator_of_ones_own(windows):
    """It says nothing of how its network is made, so it has to be fitted."""
    X, _, y, _ = windows
    own = own_networks.OwnEstimator().fit(X)
    fitted = make(FrozenEstimator(own), lr=TINY, max_epochs=1).fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    weights = weights_of(fitted.module_.encoder.network)
    assert_allclose(weights["layers.0.weight"], own.module_.layers[0].weight.detach())
    with pytest.raises(ValueError, match=r"^encoder: OwnEstimator has no encoder_reci"):
        make(own_networks.OwnEstimator()).fit(X, y)


def test_encoders_that_are_none(windows, small_mae):
    X, _, y, _ = windows
    with pytest.raises(TypeError, match="^encoder must be an estimator whose fit lea"):
        make(FrozenEstimator(InstanceNorm().fit(X))).fit(X, y)
    short = small_mae().fit(X[:, :, :20])
    with pytest.raises(ValueError, match="^encoder: .*fitted on 4 x 20"):
        make(FrozenEstimator(short)).fit(X, y)
    with pytest.raises(ValueError, match="'encoder' parameter of EncoderClassifier"):
        make(3).fit(X, y)


def test_as_the_start_of_an_alignment(windows):
    X, P, y, _ = windows
    fitted = make().fit(X, y)
    options = dict(pose_encoder=small("MAE", patch_length=4), train_emg=False)
    cpep = small("CPEP", emg_encoder=FrozenEstimator(fitted), **options).fit(X, P)
    assert_same_weights(cpep.module_.emg_encoder, fitted.module_.encoder)
    new = small("CPEP", emg_encoder=make(), emg_init="random", **options).fit(X, P)
    assert new.module_.emg_encoder.d_model == 8
    assert isinstance(new, CPEP)


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["b", "a", "d", "c"]),
        np.array(["fist", "ok", "point", "wave"], dtype=object),
        np.array([30, -1, 7, 2]),
        np.array([2.0, 1.0, 4.0, 3.0]),
    ],
    ids=["text", "objects", "ints", "floats"],
)
def test_labels_of_every_kind(windows, labels):
    X = windows[0]
    codes = np.arange(20) % 4
    y = labels[codes]
    fitted = make(max_epochs=40, channel_rotation=0).fit(X, y)
    assert_array_equal(fitted.classes_, np.sort(labels))
    assert fitted.predict(X).dtype == fitted.classes_.dtype
    assert_array_equal(fitted.predict(X), y)
    columns = np.argsort(np.argsort(labels))[codes]
    assert (fitted.predict_proba(X).argmax(axis=1) == columns).all()
    for other in (y.tolist(), pd.Series(y)):
        again = make(max_epochs=40, channel_rotation=0).fit(X, other)
        assert_array_equal(again.predict(X), y)


def test_categories_of_pandas(windows):
    X, _, y, _ = windows
    fitted = make().fit(X, pd.Series(y, dtype="category"))
    assert_array_equal(fitted.classes_, ["fist", "ok", "point", "wave"])


def test_a_column_is_flattened_with_a_warning(windows):
    X, _, y, _ = windows
    with pytest.warns(DataConversionWarning, match="column-vector"):
        fitted = make().fit(X, y[:, np.newaxis])
    assert_array_equal(fitted.predict(X), make().fit(X, y).predict(X))


PER_SAMPLE = "y must hold one label per window, .*make_windows"
Y = np.arange(20) % 4


@pytest.mark.parametrize(
    "y, message",
    [
        (np.zeros((20, 22)), PER_SAMPLE),
        (np.zeros((20, 3, 12)), PER_SAMPLE),
        ([np.zeros(22)] * 20, PER_SAMPLE),
        ([[0, 1]] * 20, PER_SAMPLE),
        (pd.DataFrame(np.zeros((20, 2))), PER_SAMPLE),
        ([0, "1"] * 10, "y mixes labels"),
        (np.where(Y == 1, None, Y), r"y has 5 missing value.*first at 1 \(None"),
        (np.where(Y == 1, np.nan, Y), "y contains NaN"),
        (Y[:19], "y has 19 labels for 20 windows.*make_windows"),
        (Y + 0.5, "Unknown label type: continuous"),
        (np.full(20, "fist"), "at least 2 classes, but y contains only one class: 'fi"),
        (None, "requires y to be passed, but the target y is None"),
        ([], r"0 sample\(s\)"),
    ],
)
def test_labels_that_are_none(windows, y, message):
    estimator = make()
    with pytest.raises(ValueError, match=message):
        estimator.fit(windows[0], y)
    assert not hasattr(estimator, "classes_")


def test_after_a_windower(windows):
    """Whose labels have to be cut with the recordings."""
    rng = np.random.default_rng(0)
    recordings = rng.normal(size=(2, 4, 100)).astype(np.float32)
    labels = np.repeat([["a", "b"]], 50, axis=1).repeat(2, axis=0)
    piped = make_pipeline(Windower(20), make())
    with pytest.raises(ValueError, match="y has 2 labels for 10 windows"):
        piped.fit(recordings, ["a", "b"])
    X, y = make_windows(recordings, labels, size=20)
    fitted = make().fit(X, y)
    assert set(fitted.predict(X)) <= {"a", "b"}


# Among scikit-learn's objects


def test_windows_of_one_channel(windows):
    X, _, y, _ = windows
    flat, windowed = (make().fit(x, y) for x in (X[:, 0], X[:, :1]))
    assert flat.n_features_in_ == 22
    assert (flat.n_channels_in_, flat.n_times_in_) == (1, 22)
    assert_array_equal(flat.predict_proba(X[:, 0]), windowed.predict_proba(X[:, :1]))


def test_lazy_windows(windows):
    X, _, y, _ = windows
    expected = make().fit(X, y).predict_proba(X)
    assert_array_equal(make().fit(Lazy(X), y).predict_proba(Lazy(X)), expected)


def test_searched(windows):
    X, _, y, _ = windows
    grid = {"encoder__patch_length": [5, 11], "pooling": ["cls", "mean"]}
    search = GridSearchCV(make(max_epochs=4), grid, cv=2, error_score="raise")
    search.fit(X, y)
    best = search.best_params_
    encoder = search.best_estimator_.module_.encoder
    assert encoder.config.patch_length == best["encoder__patch_length"]
    by_hand = make(max_epochs=4).set_params(**best).fit(X, y)
    assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))
    assert search.scoring is None and 0 <= search.best_score_ <= 1


def test_whole_people_are_set_aside(windows):
    X, _, y, users = windows
    stops = dict(early_stopping=True, validation_fraction=0.3, n_iter_no_change=2)
    options = dict(lr=TINY, max_epochs=9, tol=1e-3, channel_rotation=0, batch_size=20)
    fitted = make(**stops, **options).fit(X, y, groups=users)
    assert fitted.n_iter_ == 3  # nothing is learned
    codes = np.arange(20) % 4
    each = [
        cross_entropy(logits_by_hand(fitted, X[users == u]), codes[users == u])
        for u in range(5)
    ]
    # Two of five people: 0.3 * 5 = 1.5.
    pairs = [(each[i] + each[j]) / 2 for i in range(5) for j in range(i)]
    found = fitted.history_[0]["valid_loss"]
    assert np.isclose(pairs, found, rtol=1e-5).sum() == 1
    other = make(**stops, **options).fit(X, y, groups=users, validation_groups=users)
    assert losses(other) == losses(fitted)


# Reproduced, pickled, resumed


def test_the_seed_and_the_threads_of_others(windows):
    X, _, y, _ = windows
    first = make(encoder=small("MAE", dropout=0.2), noise=0.1).fit(X, y)
    torch.manual_seed(7)
    np.random.seed(7)
    state = torch.get_rng_state()
    again = clone(first).fit(X, y)
    assert_same_weights(again.module_, first.module_)
    assert torch.equal(torch.get_rng_state(), state)
    other = clone(first).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(other.transform(X), first.transform(X))


def test_pickled_for_another_process(windows, tmp_path):
    X, _, y, _ = windows
    fits = [make(), make(FrozenEstimator(small("MAE").fit(X)))]
    fits += [make(ModuleEncoder(own_networks.Convolutions))]
    fits = [estimator.fit(X, y) for estimator in fits]
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps((fits, X)))
    run = """
import pickle
with open("fitted.pickle", "rb") as file:
    fits, X = pickle.load(file)
found = [(f.predict(X), f.predict_proba(X), f.transform(X)) for f in fits]
with open("found.pickle", "wb") as file:
    pickle.dump(found, file)
"""
    subprocess.run(
        [sys.executable, "-c", run],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    found = pickle.loads((tmp_path / "found.pickle").read_bytes())
    for (y_found, proba, Z), fitted in zip(found, fits, strict=True):
        assert_array_equal(y_found, fitted.predict(X))
        assert_array_equal(proba, fitted.predict_proba(X))
        assert_array_equal(Z, fitted.transform(X))


class Cut(Exception):
    """Ends a fit as a crash does."""


class CutAfter(Callback):
    observes_only = True

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > self.n_epochs:
            raise Cut


@pytest.mark.parametrize("start", ["random", "pretrained"])
def test_interrupted_and_resumed(windows, start, tmp_path):
    X, _, y, users = windows
    encoder = small("MAE", dropout=0.3)
    if start == "pretrained":
        encoder = FrozenEstimator(encoder.fit(X))
    options = dict(max_epochs=4, class_weight="balanced", channel_dropout=0.2)
    stops = dict(early_stopping=True, validation_fraction=0.25, n_iter_no_change=9)
    estimator = make(encoder, **options, **stops)
    whole = clone(estimator).fit(X, y, groups=users)
    stored = clone(estimator).set_params(run_dir=tmp_path)
    with pytest.raises(Cut):
        clone(stored).set_params(callbacks=[CutAfter(2)]).fit(X, y, groups=users)
    again = clone(stored).fit(X, y, groups=users)
    taken = clone(stored).set_params(callbacks=[CutAfter(0)]).fit(X, y, groups=users)
    for fitted in (again, taken):
        assert_same_weights(fitted.module_, whole.module_)
        assert losses(fitted) == losses(whole)
        assert_array_equal(fitted.predict(X), whole.predict(X))
    assert [p.name.partition("-")[0] for p in tmp_path.iterdir()] == [
        "encoderclassifier"
    ]


def test_what_counts(windows, small_mae):
    X, _, y, _ = windows

    def identity(encoder=None, y=y, **parameters):
        return make(encoder, max_epochs=1, **parameters).fit(X, y).fit_identity_

    first = identity()
    swapped = np.where(y == "ok", "fist", np.where(y == "fist", "ok", y))
    others = [
        identity(y=swapped),
        identity(y=y[::-1]),
        identity(y=np.char.upper(y)),  # the same weights, other names
        identity(label_smoothing=0.1),
        identity(class_weight="balanced"),
        identity(class_weight={"ok": 2}),
        identity(class_weight={"ok": 3}),
        identity(pooling="mean"),
        identity(noise=0.1),
        identity(small_mae(mlp_ratio=2)),
        identity(FrozenEstimator(small_mae(max_epochs=1).fit(X))),
        identity(FrozenEstimator(small_mae(max_epochs=2).fit(X))),
    ]
    assert len({identity.digest for identity in (first, *others)}) == 13
    for same in (identity(y=list(y)), identity(small_mae(lr=0.3)), identity(verbose=1)):
        assert same == first
    facts = others[-1].facts
    assert facts["encoder_identity"]["estimator"] == "MAE"
    assert facts["classes"] == ["fist", "ok", "point", "wave"]


def test_bfloat16():
    """Labels are numbers that bfloat16 does not hold: they must not be rounded."""
    rng = np.random.default_rng(0)
    y = np.arange(600) % 300
    X = rng.normal(size=(600, 2, 10)).astype(np.float32)
    options = dict(channel_rotation=0, max_epochs=1, lr=TINY, batch_size=600)
    exact, rounded = (
        make(precision=precision, **options).fit(X, y)
        for precision in ("float32", "bfloat16")
    )
    expected = cross_entropy(logits_by_hand(exact, X), y)
    assert_allclose(losses(exact), expected, rtol=1e-5)
    assert_allclose(losses(rounded), expected, rtol=2e-3)
    assert {v.dtype for v in rounded.module_.state_dict().values()} == {torch.float32}


def test_compiled(windows):
    X, _, y, _ = windows
    options = dict(channel_rotation=0, class_weight="balanced", label_smoothing=0.1)
    eager, compiled = (make(compile=c, **options).fit(X, y) for c in (False, True))
    assert_allclose(losses(compiled), losses(eager), rtol=1e-3)
