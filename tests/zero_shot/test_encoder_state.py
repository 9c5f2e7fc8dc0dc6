"""A gallery and the encoder that it was made with."""

import copy
import pickle
import warnings
import zlib

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_cpep import CPEP, MAE, InstanceNorm, ZeroShotClassifier
from sk_cpep.zero_shot._encoder_state import weight_checksums

NETWORK = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2)
TRAINING = dict(
    max_epochs=1, batch_size=8, device="cpu", precision="float32", random_state=0
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 20)).astype(np.float32)
P = RNG.normal(size=(12, 3, 10)).astype(np.float32)
Y = np.array(["fist", "ok", "wave"])[np.arange(12) % 3]


class Scale(TransformerMixin, BaseEstimator):
    """A pose transformer that learns an array."""

    def fit(self, P, y=None):
        self.scale_ = np.std(P, axis=(0, 2), keepdims=True)
        return self

    def transform(self, P):
        return P / self.scale_


def new_cpep(seed=0, **parameters):
    encoders = (MAE(p, **NETWORK | TRAINING | {"random_state": None}) for p in (5, 2))
    return CPEP(*encoders, **TRAINING | {"random_state": seed} | parameters)


@pytest.fixture(scope="module")
def fitted():
    return pickle.dumps(new_cpep(pose_transformer=Scale()).fit(X, P))


@pytest.fixture
def cpep(fitted):
    return pickle.loads(fitted)


@pytest.fixture
def classifier(cpep):
    return ZeroShotClassifier(cpep, 3).fit(P, Y)


CALLS = {
    "predict": lambda zero_shot: zero_shot.predict(X),
    "predict_proba": lambda zero_shot: zero_shot.predict_proba(X),
    "kneighbors": lambda zero_shot: zero_shot.kneighbors(X),
    "score": lambda zero_shot: zero_shot.score(X, Y),
    "partial_fit": lambda zero_shot: zero_shot.partial_fit(P, Y),
}


def no_grad(change):
    """A change of the weights of a CPEP's module as a change of the CPEP."""

    def changed(cpep):
        with torch.no_grad():
            change(cpep.module_)

    return changed


def set_all(module, value):
    for weight in module.parameters():
        weight.data = torch.full_like(weight, value)


def train_a_step(module):
    weights = list(module.pose_encoder.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    sum(weight.square().sum() for weight in weights).backward()
    optimizer.step()


POSE_CHANGES = {
    "refitted": lambda cpep: cpep.set_params(random_state=1).fit(X, P),
    "refitted on others": lambda cpep: cpep.fit(X, P[::-1]),
    "one weight": no_grad(lambda m: m.pose_encoder.cls.view(-1)[3].add_(1e-6)),
    "added behind its back": lambda cpep: [
        weight.data.add_(1e-3) for weight in cpep.module_.pose_encoder.parameters()
    ],
    "by numpy": lambda cpep: np.multiply(
        *[next(cpep.module_.pose_encoder.parameters()).detach().numpy()] * 2,
        out=next(cpep.module_.pose_encoder.parameters()).detach().numpy(),
    ),
    "replaced": lambda cpep: set_all(cpep.module_.pose_encoder, 0.1),
    "loaded": lambda cpep: cpep.module_.pose_encoder.load_state_dict(
        {k: v + 1 for k, v in cpep.module_.pose_encoder.state_dict().items()}
    ),
    "trained": lambda cpep: train_a_step(cpep.module_),
    "centred": no_grad(lambda m: m.pose_mean.add_(0.1)),
    "another module": lambda cpep: setattr(
        cpep, "module_", new_cpep(1).fit(X, P).module_
    ),
    "pose transformer": lambda cpep: cpep.pose_transformer_.fit(2 * P),
    "half precision": lambda cpep: cpep.module_.pose_encoder.bfloat16(),
}
EMG_CHANGES = {
    "head": no_grad(lambda m: m.head.weight.mul_(1.01)),
    "encoder": no_grad(lambda m: m.emg_encoder.cls.add_(0.1)),
    "behind its back": lambda cpep: set_all(cpep.module_.head, 0.1),
}
NO_CHANGES = {
    "nothing": lambda cpep: None,
    "used": lambda cpep: (cpep.transform(X), cpep.transform_pose(P), cpep.score(X, P)),
    "parameters": lambda cpep: cpep.set_params(lr=1.0, device="cpu", batch_size=2),
    "mode": lambda cpep: cpep.module_.train(),
    "a fit that failed": lambda cpep: pytest.raises(ValueError, cpep.fit, X, P[:3]),
    "the same fit": lambda cpep: cpep.fit(X, P),
    "moved": lambda cpep: cpep.module_.double().float(),
    "loaded, equal": lambda cpep: cpep.module_.load_state_dict(
        copy.deepcopy(cpep.module_.state_dict())
    ),
    "temperature": no_grad(lambda m: m.log_scale.add_(1)),
}


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("change", POSE_CHANGES)
def test_poses_embedded_in_another_way(cpep, classifier, change, seen):
    if seen:  # what was found then is not trusted for ever
        classifier.predict(X)
    gallery = classifier.gallery_embeddings_
    POSE_CHANGES[change](cpep)
    for call in CALLS.values():
        with pytest.raises(
            ValueError, match="encoder was changed since fit.*Fit again"
        ):
            call(classifier)
    assert classifier.gallery_embeddings_ is gallery
    if change != "half precision":
        fresh = ZeroShotClassifier(cpep, 3).fit(P, Y).predict_proba(X)
        assert_array_equal(classifier.fit(P, Y).predict_proba(X), fresh)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("change", EMG_CHANGES)
def test_emg_embedded_in_another_way(cpep, classifier, change, call):
    EMG_CHANGES[change](cpep)
    with pytest.warns(UserWarning, match="transform was changed.*gallery is kept"):
        CALLS[call](classifier)
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        for again in CALLS.values():
            again(classifier)
    no_grad(lambda m: m.head.bias.add_(1))(cpep)
    with pytest.warns(UserWarning, match="transform was changed"):
        classifier.predict(X)
    classifier.fit(P, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict(X)


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_changes_nothing(cpep, classifier, change):
    expected = classifier.predict_proba(X)
    NO_CHANGES[change](cpep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(classifier.predict_proba(X), expected)
        classifier.partial_fit(P, Y)


def test_an_exchanged_encoder(cpep, classifier, fitted):
    expected = classifier.predict_proba(X)
    classifier.set_params(encoder=FrozenEstimator(pickle.loads(fitted)))
    assert_array_equal(classifier.predict_proba(X), expected)
    classifier.set_params(encoder=new_cpep(1).fit(X, P))
    with pytest.raises(ValueError, match="encoder was changed since fit"):
        classifier.predict(X)
    classifier.set_params(encoder=cpep)
    assert_array_equal(classifier.predict_proba(X), expected)


COPIES = {
    "pickle": lambda fitted: pickle.loads(pickle.dumps(fitted)),
    "deepcopy": copy.deepcopy,
    "clone": lambda fitted: clone(fitted).fit(P, Y),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_know_as_much(cpep, how):
    classifier = ZeroShotClassifier(FrozenEstimator(cpep), 3).fit(P, Y)
    again = COPIES[how](classifier)
    assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    with torch.no_grad():
        again.encoder.estimator.module_.pose_mean.add_(1)
    with pytest.raises(ValueError, match="encoder was changed since fit"):
        again.predict(X)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_checksums_are_those_of_every_process(kind):
    """Of the name, the shape and the bytes, whatever holds them."""
    values = np.arange(6.0).reshape(2, 3)
    text = repr("learned_") + "(2, 3)"
    expected = zlib.crc32(text.encode() + values.astype("<f8").tobytes())
    assert weight_checksums(Duck(learned_=kind(values)))["pose"] == expected
    assert weight_checksums(Duck(learned_=kind(values.T).T))["pose"] == expected


def test_old_pickles_know_nothing(cpep, classifier):
    del classifier._weight_checksums
    cpep.set_params(random_state=1).fit(X, P)
    classifier.predict(X)
    classifier.partial_fit(P, Y)


def nest(cpep, how):
    if how == "pipeline":
        return make_pipeline(InstanceNorm(), cpep)
    if how == "frozen":
        return FrozenEstimator(
            make_pipeline(FrozenEstimator(InstanceNorm().fit(X)), cpep)
        )
    return FrozenEstimator(GridSearchCV(cpep, {"lr": [1e-3]}, cv=2))


@pytest.mark.parametrize("how", ["pipeline", "frozen", "search"])
def test_nested_encoders(how):
    cpep = new_cpep()
    encoder = nest(cpep, how)
    getattr(encoder, "estimator", encoder).fit(X, P)
    classifier = ZeroShotClassifier(encoder, 3).fit(P, Y)
    expected = classifier.predict_proba(X)
    inner = encoder.best_estimator_ if how == "search" else cpep
    with torch.no_grad():
        inner.module_.pose_mean.add_(1)
    with pytest.raises(ValueError, match="encoder was changed since fit"):
        classifier.predict(X)
    with torch.no_grad():
        inner.module_.pose_mean.sub_(1)
    assert_array_equal(classifier.predict_proba(X), expected)


def test_a_step_before_the_encoder():
    flat = X[:, 0]
    steps = make_pipeline(StandardScaler(), new_cpep()).fit(flat, P)
    classifier = ZeroShotClassifier(steps, 3).fit(P, Y)
    steps[0].fit(3 * flat)
    with pytest.warns(UserWarning, match="transform was changed"):
        classifier.predict(flat)


class Duck:
    """Any class that embeds; its `arrays` are what it learned."""

    def __init__(self, **arrays):
        vars(self).update(arrays)

    def transform(self, X):
        return np.reshape(X, (len(X), -1))

    transform_pose = transform


@pytest.mark.parametrize(
    "before, after",
    [
        (np.arange(9.0), np.arange(9.0) + 1),
        (np.arange(9.0), np.arange(9)),
        (np.arange(9000), np.arange(9000) + (np.arange(9000) == 4567)),
        (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
        (
            np.datetime64("2020", "D") + np.arange(3),
            np.datetime64("2021", "D") + np.arange(3),
        ),
        (np.array(1.0), np.array(2.0)),
        (torch.arange(9.0), torch.arange(9.0) + 1),
        (torch.ones(2, 3).bfloat16(), torch.zeros(2, 3).bfloat16()),
        (torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)),
        (torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)),
        (StandardScaler().fit(X[:, 0]), StandardScaler().fit(X[:, 1])),
    ],
    ids=str,
)
def test_ducks_are_known_by_what_they_learned(before, after):
    duck = Duck(learned_=before)
    classifier = ZeroShotClassifier(duck, 3).fit(P, Y)
    expected = classifier.predict_proba(P)
    duck.learned_ = copy.deepcopy(before)
    assert_array_equal(classifier.predict_proba(P), expected)
    duck.learned_ = after
    with pytest.raises(ValueError, match="encoder was changed since fit"):
        classifier.predict(P)


def test_ducks_may_count():
    duck = Duck(n_calls_=0, name_="duck", cache=np.zeros(3), _private=np.zeros(3))
    classifier = ZeroShotClassifier(duck, 3).fit(P, Y)
    duck.n_calls_, duck.name_, duck.cache, duck._private = 7, "drake", X, X
    classifier.predict(P)


def test_arrays_that_are_changed_in_place():
    duck = Duck(learned_=np.zeros(9), other_=np.zeros((3, 2), order="F"))
    classifier = ZeroShotClassifier(duck, 3).fit(P, Y)
    classifier.predict(P)
    duck.learned_[4] = 1
    with pytest.raises(ValueError, match="encoder was changed since fit"):
        classifier.predict(P)


@pytest.fixture(scope="module")
def sources():
    """An EMG and an IMU encoder, aligned to the same frozen pose encoder."""
    pose = FrozenEstimator(MAE(2, **NETWORK | TRAINING).fit(P))
    imu = np.random.default_rng(1).normal(size=(12, 6, 15)).astype(np.float32)
    aligned = []
    for patch_length, windows in ((5, X), (3, imu)):
        encoder = MAE(patch_length, **NETWORK | TRAINING)
        aligned.append(CPEP(encoder, pose, **TRAINING).fit(windows, P))
    return *aligned, imu


def test_one_gallery_for_two_sources(sources):
    emg_cpep, imu_cpep, imu = sources
    by_emg = ZeroShotClassifier(emg_cpep, 3).fit(P, Y)
    fitted = ZeroShotClassifier(imu_cpep, 3).fit(P, Y)
    assert_array_equal(fitted.gallery_embeddings_, by_emg.gallery_embeddings_)

    shared = ZeroShotClassifier(imu_cpep, 3)
    assert shared.share_gallery(by_emg) is shared
    assert shared.gallery_embeddings_ is by_emg.gallery_embeddings_
    assert_array_equal(shared.predict_proba(imu), fitted.predict_proba(imu))
    assert shared.n_features_in_ == 3
    loaded = pickle.loads(pickle.dumps(shared))
    assert_array_equal(loaded.predict(imu), fitted.predict(imu))

    shared.partial_fit(P[:2], ["a new gesture"] * 2)
    assert len(shared.gallery_labels_) == 14 and len(by_emg.gallery_labels_) == 12
    assert "a new gesture" not in by_emg.classes_


def test_a_gallery_of_another_pose_encoder_is_refused(sources, classifier):
    other = ZeroShotClassifier(sources[1], 3)
    with pytest.raises(ValueError, match="same frozen pose encoder"):
        other.share_gallery(classifier)
    assert not hasattr(other, "gallery_embeddings_")
    with pytest.raises(NotFittedError):
        other.share_gallery(ZeroShotClassifier(sources[0]))
    other.fit(P, Y)
    gallery = other.gallery_embeddings_
    with pytest.raises(ValueError, match="same frozen pose encoder"):
        other.share_gallery(classifier)
    assert other.gallery_embeddings_ is gallery
    other.predict(sources[2])


def test_names_of_features_are_those_of_the_shared_gallery():
    pd = pytest.importorskip("pandas")
    named = ZeroShotClassifier(Duck()).fit(
        pd.DataFrame(P[:, 0, :2], columns=list("ab")), Y
    )
    plain = ZeroShotClassifier(Duck()).fit(P, Y)
    other = ZeroShotClassifier(Duck()).share_gallery(named)
    assert other.feature_names_in_.tolist() == ["a", "b"]
    assert not hasattr(other.share_gallery(plain), "feature_names_in_")
    assert other.n_features_in_ == 3


class WithParameter(BaseEstimator, Duck):
    """An encoder whose parameter `embedding` means something of its own."""

    def __init__(self, embedding=64):
        self.embedding = embedding


def test_only_two_methods_of_the_encoder_count():
    classifier = ZeroShotClassifier(WithParameter(), 1).fit(P, Y)
    assert_array_equal(classifier.predict(P), Y)
