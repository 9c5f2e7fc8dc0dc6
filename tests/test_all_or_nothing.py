"""A fit that fails, is cut off or diverges leaves its estimator as it was."""

import pickle

import numpy as np
import pytest
from lazy_windows import Lazy
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from small_estimators import NAMES, small

from sk_cpep import BandpassNotch, InstanceNorm, Windower, ZeroShotClassifier
from sk_cpep._all_or_nothing import all_or_nothing

ESTIMATORS = {name: small(name) for name in NAMES}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 40)).astype(np.float32)
P = RNG.normal(size=(12, 3, 10)).astype(np.float32)
Y = np.arange(12) % 3


class CutOff(Callback):
    """Raises after an epoch."""

    def __init__(self, error, at=1):
        self.error, self.at = error, at

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.at:
            raise self.error


def data_of(name, X=X, P=P):
    if name == "MAE":
        return (X,)
    return X, Y if name == "EncoderClassifier" else P


def held(estimator):
    """Attributes as they are, and the weights among them as numbers."""
    weights = getattr(estimator, "module_", None)
    weights = weights and {k: v.clone() for k, v in weights.state_dict().items()}
    return dict(vars(estimator)), weights


def assert_holds(estimator, before):
    attributes, weights = before
    assert vars(estimator).keys() == attributes.keys()
    assert all(vars(estimator)[k] is value for k, value in attributes.items())
    for name, value in (weights or {}).items():
        assert_array_equal(estimator.module_.state_dict()[name], value)


def with_failure(name, failure, tmp_path):
    """Parameters and data of a fit that fails, and the error."""
    data = data_of(name)
    if failure == "diverges":
        return {"lr": 1e30, "max_epochs": 5}, data, ValueError
    if failure == "late bad data":
        return {}, data_of(name, Failing(X), P), OSError
    if failure == "no room for a checkpoint":
        (tmp_path / "file").write_text("")
        return {"run_dir": tmp_path / "file"}, data, OSError
    if failure == "other sizes":
        wide = np.concatenate([X, X], axis=2)
        callbacks = [CutOff(KeyboardInterrupt())]
        return {"callbacks": callbacks}, data_of(name, wide, P), KeyboardInterrupt
    return {"callbacks": [CutOff(failure)]}, data, type(failure)


class Failing(Lazy):
    """Windows, the last of which cannot be read."""

    def __getitem__(self, index):
        if 11 in np.atleast_1d(index):
            raise OSError("the disk is gone")
        return super().__getitem__(index)


FAILURES = [
    KeyboardInterrupt(),
    RuntimeError("node lost"),
    MemoryError(),
    SystemExit(1),
    GeneratorExit(),
    "diverges",
    "late bad data",
    "no room for a checkpoint",
    "other sizes",
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize("name", ["MAE", "CPEP", "EncoderClassifier", "PoseT"])
def test_failed_fits(name, failure, tmp_path):
    parameters, data, error = with_failure(name, failure, tmp_path)
    estimator = clone(ESTIMATORS[name]).set_params(**parameters)
    before = held(estimator)
    with pytest.raises(error):
        estimator.fit(*data)
    assert_holds(estimator, before)
    with pytest.raises(NotFittedError):
        estimator.transform(X)
    pickle.loads(pickle.dumps(estimator.set_params(callbacks=None)))


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize("name", ["MAE", "CPEP", "EncoderClassifier", "PoseT"])
def test_failed_refits(name, failure, tmp_path):
    estimator = clone(ESTIMATORS[name]).fit(*data_of(name))
    expected, score = estimator.transform(X), estimator.score(*data_of(name))
    parameters, data, error = with_failure(name, failure, tmp_path)
    estimator.set_params(**parameters)
    before = held(estimator)
    with pytest.raises(error):
        estimator.fit(*data)
    assert_holds(estimator, before)
    assert_array_equal(estimator.transform(X), expected)
    assert estimator.score(*data_of(name)) == score
    loaded = pickle.loads(pickle.dumps(estimator.set_params(callbacks=None)))
    assert_array_equal(loaded.transform(X), expected)
    # A refit that works is none the worse for it.
    estimator.set_params(**ESTIMATORS[name].get_params(deep=False))
    fresh = clone(ESTIMATORS[name]).fit(*data_of(name, X[::-1], P))
    estimator.fit(*data_of(name, X[::-1], P))
    assert_array_equal(estimator.transform(X), fresh.transform(X))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_sizes_of_the_pickle_are_those_of_the_weights(name):
    """What a refit with other parameters would have made is nowhere to be seen."""
    estimator = clone(ESTIMATORS[name]).fit(*data_of(name))
    expected = estimator.transform(X)
    names = list(estimator.get_feature_names_out())
    other = {"n_layers": 2, "d_model": 16, "widths": (4, 8, 16), "d_hidden": 16}
    known = estimator.get_params()
    other |= {f"encoder__{name}": value for name, value in other.items()}
    other = {k: value for k, value in other.items() if k in known}
    estimator.set_params(**other, callbacks=[CutOff(KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*data_of(name, X[:, :3], P))
    loaded = pickle.loads(pickle.dumps(estimator.set_params(callbacks=None)))
    for one in (estimator, loaded):
        assert_array_equal(one.transform(X), expected)
        assert list(one.get_feature_names_out()) == names
        assert {k: v for k, v in one.get_params().items() if k in other} == other
    assert not hasattr(clone(estimator), "module_")


@pytest.mark.parametrize("stage", ["emg_encoder", "pose_encoder", "alignment"])
def test_every_stage_of_cpep(stage):
    cut = [CutOff(KeyboardInterrupt(), at=2)]
    where = "callbacks" if stage == "alignment" else f"{stage}__callbacks"
    frozen = FrozenEstimator(small("MAE").fit(P))
    weights = held(frozen.estimator)
    estimator = clone(ESTIMATORS["CPEP"]).set_params(**{where: cut})
    if stage == "emg_encoder":
        estimator.set_params(pose_encoder=frozen)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, P)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    with pytest.raises(NotFittedError):
        ZeroShotClassifier(estimator, 3).fit(P, Y)
    assert_holds(frozen.estimator, weights)
    assert not hasattr(estimator.emg_encoder, "module_")


@pytest.mark.parametrize("groups", [np.arange(11), np.arange(12)])
def test_groups_that_fail(groups):
    """Too few of them, or one window in each, which is found out late."""
    estimator = clone(ESTIMATORS["CPEP"]).fit(X, P)
    before = held(estimator)
    with pytest.raises(ValueError):
        estimator.fit(X, P, groups=groups)
    assert_holds(estimator, before)


@pytest.mark.parametrize("is_fitted", [False, True])
@pytest.mark.parametrize(
    "estimator, other, X_other",
    [
        (BandpassNotch(2, 90, 60, sfreq=200), {"high": 150}, X[:, :3]),  # no design
        (InstanceNorm(), {}, np.full((2, 3, 6), np.nan)),
        (Windower(4), {"size": 5}, np.full((2, 3, 6), np.inf)),
    ],
    ids=["BandpassNotch", "InstanceNorm", "Windower"],
)
def test_preprocessing(estimator, other, X_other, is_fitted):
    estimator = clone(estimator)
    if is_fitted:
        estimator.fit(X)
    estimator.set_params(**other)
    before = held(estimator)
    with pytest.raises(ValueError):
        estimator.fit(X_other)
    assert_holds(estimator, before)
    if not is_fitted:
        with pytest.raises(NotFittedError):
            estimator.transform(X)


class Broken:
    """An encoder that embeds EMG, and poses as long as it is told to."""

    fails = None

    def transform(self, X):
        return np.reshape(X, (len(X), -1))

    def transform_pose(self, P):
        if self.fails is not None:
            raise self.fails
        return self.transform(P)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError()])
def test_galleries(method, error):
    encoder = Broken()
    classifier = ZeroShotClassifier(encoder, 3)
    encoder.fails = error
    with pytest.raises(type(error)):
        getattr(classifier, method)(P, Y)
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier)
    encoder.fails = None
    classifier.fit(P, Y)
    before, proba = held(classifier), classifier.predict_proba(P[::-1])
    encoder.fails = error
    with pytest.raises(type(error)):
        getattr(classifier, method)(P[:5], [7] * 5)
    encoder.fails = None
    with pytest.raises(ValueError):  # labels that do not mix
        classifier.partial_fit(P[:1], ["fist"])
    assert_holds(classifier, before)
    assert_array_equal(classifier.predict_proba(P[::-1]), proba)


def test_any_method_of_any_object():
    class Thing:
        kept = "class"

        @all_or_nothing
        def change(self, error=None):
            """Change."""
            self.old, self.new = 2, 3
            del self.gone
            if error:
                raise error
            return self

    thing = Thing()
    thing.old = old = [1]
    thing.gone = None
    for error in (KeyboardInterrupt(), StopIteration(), SystemExit()):
        with pytest.raises(type(error)):
            thing.change(error)
        assert vars(thing) == {"old": old, "gone": None}
        assert thing.old is old
    assert thing.change() is thing
    assert vars(thing) == {"old": 2, "new": 3}
    assert Thing.change.__doc__ == "Change."
