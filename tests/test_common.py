"""scikit-learn's checks, and the same on windows, for every public estimator."""

import inspect
import pickle
from copy import deepcopy

import joblib
import numpy as np
import own_networks
import pytest
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)
from small_estimators import NO_CONTEXT, TRAINING, small

import sk_cpep
from sk_cpep import (
    CPEP,
    MAE,
    AmplitudeFeatures,
    BandpassNotch,
    EMG2Pose,
    EncoderClassifier,
    Envelope,
    InstanceNorm,
    ModuleEncoder,
    NeuroPose,
    PoseT,
    VEMG2Pose,
    Windower,
    ZeroShotClassifier,
)
from sk_cpep.preprocessing import RunningBaseline


class Flat(BaseEstimator):
    """Stands for a fitted CPEP: windows are embedded as they are."""

    def transform(self, X):
        return np.reshape(X, (len(X), -1))

    transform_pose = transform


class Mean(Flat):
    """The same for windows: the mean over time."""

    def transform(self, X):
        return np.mean(X, axis=-1, dtype=np.float64)

    transform_pose = transform


def fast(name, **parameters):
    return small(name, **{"batch_size": 16} | parameters)


def mae(patch_length=1, **parameters):
    # A window of one sample is one patch: with 0.75, that one is hidden.
    sizes = {"patch_length": patch_length, "mask_ratio": 0.75}
    return fast("MAE", **sizes | parameters)


def cpep(patch_length=1):
    encoders = [mae(patch_length, random_state=None), mae(random_state=None)]
    return fast("CPEP", emg_encoder=encoders[0], pose_encoder=encoders[1])


def classifier(patch_length=1, **parameters):
    """One that learns in a few epochs, since scikit-learn looks at what it names."""
    encoder = mae(patch_length, random_state=None)
    learns = dict(lr=3e-2, max_epochs=12, batch_size=32)
    return fast("EncoderClassifier", encoder=encoder, **learns | parameters)


def rollout(name, **parameters):
    # A window of one sample has room for no context. Batches as large as the checks'
    # data: convolutions round by the number of windows beside, by more than they allow.
    return fast(name, **{"batch_size": 64} | parameters)


def own(**parameters):
    """A network of the user's."""
    return ModuleEncoder(own_networks.Dense, **TRAINING, **parameters)


PREPROCESSING = [
    BandpassNotch(2, 90, 60, sfreq=200),
    BandpassNotch(2, 90, sfreq=200, phase="causal"),
    InstanceNorm("channel"),
    InstanceNorm("window"),
    Envelope(0.02, sfreq=200),
    Envelope(0.02, sfreq=200, power="log", phase="causal"),
    RunningBaseline(0.05, sfreq=200),
    AmplitudeFeatures(1),
    AmplitudeFeatures(1, "log", statistic="mav", extra=["log_covariance"]),
]
# On (n, n_times) as in scikit-learn's checks, and on windows (n, 4, 40).
FLAT = [
    mae(),
    cpep(),
    own(),
    own(objective=own_networks.Rebuild),
    classifier(),
    fast("PoseT", patch_length=1),
    rollout("EMG2Pose", **NO_CONTEXT),
    rollout("VEMG2Pose", **NO_CONTEXT),
    fast("NeuroPose", time_pools=(1, 1, 1)),
    *PREPROCESSING,
    Windower(1),
    ZeroShotClassifier(Flat()),
]
WINDOWS = [
    mae(8),
    cpep(8),
    own(objective=own_networks.Rebuild),
    classifier(8, max_epochs=2, batch_size=16),
    fast("PoseT", patch_length=8),
    rollout("EMG2Pose"),
    rollout("VEMG2Pose"),
    fast("NeuroPose"),
    *PREPROCESSING,
    BandpassNotch(2, 90, [50, 60], sfreq=200),
    AmplitudeFeatures(extra=["hudgins", "log_covariance"]),
    Windower(40),
    ZeroShotClassifier(Mean(), n_neighbors=3),
]
NEEDS_POSE = (CPEP, PoseT, EMG2Pose, VEMG2Pose, NeuroPose)
REASON = "changes the number of samples"
EXPECTED_FAILURES = {
    "check_methods_sample_order_invariance": REASON,
    "check_transformer_data_not_an_array": REASON,
    "check_transformer_general": REASON,
}


def expected_failures(estimator):
    return EXPECTED_FAILURES if isinstance(estimator, Windower) else {}


def name_of(value):
    if isinstance(value, BaseEstimator):
        return type(value).__name__
    return getattr(value, "__name__", None)


def test_no_public_estimator_is_left_out():
    classes = {
        name
        for module in (sk_cpep, sk_cpep.preprocessing)
        for name in module.__all__
        if isinstance(getattr(module, name), type)
    }
    assert classes == {type(estimator).__name__ for estimator in FLAT}
    assert classes == {type(estimator).__name__ for estimator in WINDOWS}


@parametrize_with_checks(FLAT, expected_failed_checks=expected_failures)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", FLAT, ids=name_of)
def test_scikit_learn_has_much_to_check(estimator):
    assert len(list(estimator_checks_generator(estimator))) >= 45
    tags = get_tags(estimator)
    assert tags.input_tags.three_d_array
    assert tags.input_tags.two_d_array
    assert not tags.no_validation
    assert not tags._skip_test


# The same on windows


class Case:
    """An estimator and its windows (12, 4, 40)."""

    def __init__(self, estimator):
        self.estimator = clone(estimator)
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(12, 4, 40)).astype(np.float32)
        self.y = None
        if isinstance(estimator, NEEDS_POSE):
            self.y = rng.normal(size=(12, 3, 10)).astype(np.float32)
        if isinstance(estimator, (EncoderClassifier, ZeroShotClassifier)):
            self.y = np.arange(12) % 3
        learns = (MAE, ModuleEncoder, EncoderClassifier, *NEEDS_POSE)
        self.learns = isinstance(estimator, learns)

    def fit(self, X=None, y=None):
        X = self.X if X is None else X
        return clone(self.estimator).fit(X, self.y if y is None else y)

    def result(self, fitted, X=None):
        X = self.X if X is None else X
        if hasattr(fitted, "transform"):
            return fitted.transform(X)
        return fitted.predict_proba(X)


def check_fit_returns_self(case):
    estimator = clone(case.estimator)
    assert estimator.fit(case.X, case.y) is estimator


def check_fit_twice(case):
    fitted = case.fit()
    first = case.result(fitted)
    fitted.fit(case.X, case.y)
    assert_array_equal(case.result(fitted), first)
    assert_array_equal(case.result(case.fit()), first)


def check_fit_forgets(case):
    fitted = case.fit(case.X[::-1, :2].copy())
    fitted.fit(case.X, case.y)
    assert_array_equal(case.result(fitted), case.result(case.fit()))
    assert fitted.n_features_in_ == 4


def check_parameters_are_left_alone(case):
    estimator = clone(case.estimator)
    before = joblib.hash(estimator.get_params(deep=False))
    case.result(estimator.fit(case.X, case.y))
    assert joblib.hash(estimator.get_params(deep=False)) == before
    learned = set(vars(estimator)) - set(vars(clone(case.estimator)))
    assert all(name.endswith("_") or name.startswith("_") for name in learned)


def check_clone(case):
    fitted = case.fit()
    again = clone(fitted)
    assert vars(again).keys() == vars(case.estimator).keys()
    assert_array_equal(case.result(again.fit(case.X, case.y)), case.result(fitted))


def check_input_is_left_alone(case):
    X, y = case.X.copy(), deepcopy(case.y)
    X.flags.writeable = False
    if y is not None:
        y.flags.writeable = False
    fitted = clone(case.estimator).fit(X, y)
    assert_array_equal(case.result(fitted, X), case.result(case.fit()))
    assert_array_equal(X, case.X)
    if y is not None:
        assert_array_equal(y, case.y)


def check_result_is_not_the_input(case):
    X = case.X.copy()
    Z = case.result(case.fit(), X)
    Z[:] = 7
    assert_array_equal(X, case.X)


def check_transform_changes_nothing(case):
    fitted = case.fit()
    names, before = set(vars(fitted)), joblib.hash(pickle.dumps(fitted))
    case.result(fitted, case.X[:3])
    assert set(vars(fitted)) == names
    assert joblib.hash(pickle.dumps(fitted)) == before


def check_pickle(case):
    fitted = case.fit()
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(case.result(loaded), case.result(fitted))


def check_subsets(case):
    fitted = case.fit()
    whole = case.result(fitted)
    parts = [case.result(fitted, case.X[i : i + 1]) for i in range(12)]
    assert_allclose(np.concatenate(parts), whole, rtol=1e-6, atol=1e-7)


def check_order(case):
    fitted = case.fit()
    order = np.random.default_rng(1).permutation(12)
    permuted = case.result(fitted, case.X[order])
    assert_allclose(permuted, case.result(fitted)[order], rtol=1e-6, atol=1e-7)


def check_float32(case):
    fitted = case.fit()
    if hasattr(fitted, "transform"):
        assert case.result(fitted).dtype == np.float32
    doubled = case.result(fitted, case.X.astype(np.float64))
    assert_allclose(doubled, case.result(fitted), atol=1e-5)
    if hasattr(fitted, "transform"):
        assert doubled.dtype == (np.float32 if case.learns else np.float64)


def check_other_dtypes(case):
    X = np.round(10 * case.X)
    expected = case.result(case.fit(X), X)
    for dtype in (np.float64, np.float16, np.int64, np.int8):
        other = X.astype(dtype)
        assert_allclose(case.result(case.fit(other), other), expected, atol=2e-5)


def check_lists(case):
    fitted = case.fit(case.X.tolist())
    expected = case.result(case.fit())
    assert_allclose(
        np.asarray(case.result(fitted, case.X.tolist())), expected, atol=1e-5
    )


def check_memory_order(case):
    X = np.asfortranarray(case.X)
    assert_allclose(case.result(case.fit(X), X), case.result(case.fit()), atol=1e-6)
    strided = np.repeat(case.X, 2, axis=2)[:, :, ::2]
    assert_allclose(
        case.result(case.fit(strided), strided), case.result(case.fit()), atol=1e-6
    )


def check_memmap(case, tmp_path):
    np.save(tmp_path / "X.npy", case.X)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(case.result(case.fit(X), X), case.result(case.fit()))


def check_lazy(case):
    if not case.learns:
        return
    lazy = Lazy(case.X)
    fitted = case.fit(lazy)
    assert_array_equal(case.result(fitted, lazy), case.result(case.fit()))
    assert fitted.n_features_in_ == 4


def check_nan_and_infinity(case):
    fitted = case.fit()
    for value, word in ((np.nan, "NaN"), (np.inf, "infinity")):
        X = case.X.copy()
        X[5, 2, 7] = value
        for use in (case.fit, lambda X: case.result(fitted, X)):
            with pytest.raises(ValueError, match=word):
                use(X)


def check_wrong_channels(case):
    fitted = case.fit()
    for n in (3, 5):
        with pytest.raises(ValueError, match=rf"X has {n}\b.*\b4\b"):
            case.result(fitted, np.zeros((2, n, 40), dtype=np.float32))


def check_wrong_times(case):
    if not case.learns:
        return
    fitted = case.fit()
    for n in (39, 41):
        with pytest.raises(ValueError, match=rf"4 channels x {n} .*fitted on 4 x 40"):
            case.result(fitted, np.zeros((2, 4, n), dtype=np.float32))


def check_empty(case):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        case.fit(case.X[:0])
    if hasattr(case.estimator, "transform"):  # else it is the encoder that reads X
        with pytest.raises(ValueError, match=r"0 sample\(s\)"):
            case.result(case.fit(), case.X[:0])


def check_one_sample(case):
    assert case.result(case.fit(), case.X[:1]).shape[0] == 1
    y = None if case.y is None else case.y[:1]
    if isinstance(case.estimator, (CPEP, NeuroPose)):
        with pytest.raises(ValueError, match="n_samples=1"):
            case.fit(case.X[:1], y)
    elif isinstance(case.estimator, EncoderClassifier):
        with pytest.raises(ValueError, match="only one class: 0"):
            case.fit(case.X[:1], y)
    else:
        case.fit(case.X[:1], y)


def check_not_fitted(case):
    with pytest.raises(NotFittedError):
        case.result(clone(case.estimator))


def check_features(case):
    fitted = case.fit()
    assert fitted.n_features_in_ == 4
    if hasattr(fitted, "get_feature_names_out"):
        out = fitted.get_feature_names_out()
        assert len(out) == case.result(fitted).shape[1]
        assert len(set(out)) == len(out)


CHECKS = [value for name, value in globals().items() if name.startswith("check_")]


def check_windows(estimator):
    """Yield an estimator with each of the checks on 3-D windows."""
    for check in CHECKS:
        yield estimator, check


@pytest.mark.parametrize(
    "estimator, check",
    [pair for estimator in WINDOWS for pair in check_windows(estimator)],
    ids=name_of,
)
def test_windows(estimator, check, tmp_path):
    needs_a_folder = "tmp_path" in inspect.signature(check).parameters
    check(Case(estimator), *[tmp_path] * needs_a_folder)
