"""How the encoders behave among scikit-learn's other objects."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from small_estimators import NO_CONTEXT, small

from sk_cpep import CPEP, BandpassNotch, InstanceNorm, ZeroShotClassifier

SCORING = ["MAE", "CPEP", "PoseT", "EMG2Pose"]  # in ways of their own


@pytest.fixture(params=[*SCORING, "EncoderClassifier"])
def encoder(request, small_mae, small_cpep):
    return {
        "MAE": small_mae,
        "CPEP": small_cpep,
        "EncoderClassifier": lambda: small("EncoderClassifier"),
        "PoseT": lambda: small("PoseT"),
        "EMG2Pose": lambda: small("EMG2Pose", **NO_CONTEXT),
    }[request.param]()


def data_of(encoder, X, P):
    if is_classifier(encoder):
        return X, np.array(["fist", "ok", "point", "wave"])[np.arange(len(P)) % 4]
    return (X, P if hasattr(encoder, "pose_transformer") else None)


def pipeline(encoder):
    steps = [("filter", BandpassNotch(2, 90, sfreq=200)), ("norm", InstanceNorm())]
    return Pipeline([*steps, ("encoder", encoder)])


def score_of_each(fitted, X, y):
    """Scores of windows on their own, or by hand where they depend on the others."""
    if isinstance(fitted, CPEP):
        nearest = (fitted.transform(X) @ fitted.transform_pose(y).T).argmax(axis=1)
        return nearest == np.arange(len(X))
    each = [slice(i, i + 1) for i in range(len(X))]
    return np.array([fitted.score(X[i], None if y is None else y[i]) for i in each])


@pytest.mark.parametrize("encoder", SCORING, indirect=True)
def test_weighted_scores(encoder, windows):
    X, y = data_of(encoder, *windows[:2])
    fitted = encoder.fit(X, y)
    score = fitted.score(X, y)
    assert fitted.score(X, y, None) == score
    assert_allclose(fitted.score(X, y, np.full(20, 3)), score)
    assert_allclose(fitted.score(X, y, sample_weight=2.0), score)
    weights = np.random.default_rng(0).uniform(size=20)
    weights[:5] = 0
    if type(encoder).__name__ == "MAE":  # of which each window has its own masks
        ends = [np.eye(20)[i] for i in range(20)]
        each = [fitted.score(X, y, sample_weight=end) for end in ends]
        assert_allclose(np.mean(each), score)
    else:
        each = score_of_each(fitted, X, y)
    expected = np.average(each, weights=weights)
    assert_allclose(
        fitted.score(X, y, sample_weight=list(weights)), expected, rtol=1e-5
    )


@pytest.mark.parametrize(
    "weights",
    [np.ones(19), np.ones((20, 1)), -np.ones(20), np.zeros(20), [np.nan] * 20],
)
@pytest.mark.parametrize("encoder", SCORING, indirect=True)
def test_weights_that_are_none(encoder, windows, weights):
    X, y = data_of(encoder, *windows[:2])
    with pytest.raises(ValueError, match="(?i)sample.?weight"):
        encoder.fit(X, y).score(X, y, sample_weight=weights)


def test_metadata_routing(encoder, windows):
    X, y = data_of(encoder, *windows[:2])
    weights, groups = np.random.default_rng(0).uniform(size=20), windows[3]
    plain = pipeline(encoder).fit(X, y)
    expected = plain.score(X, y), plain.score(X, y, sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        routed = pipeline(clone(encoder)).fit(X, y)
        assert routed.score(X, y) == expected[0]
        options = dict(cv=2, error_score="raise", params={})  # None fails before 1.7
        results = cross_validate(routed, X, y, **options)
        assert np.isfinite(results["test_score"]).all()
        search = GridSearchCV(
            routed, {"encoder__lr": [encoder.lr]}, cv=2, error_score="raise"
        )
        assert search.fit(X, y).score(X, y) == expected[0]
        asking = clone(encoder).set_score_request(sample_weight=True)
        asking.set_fit_request(groups=True)
        routed = pipeline(asking).fit(X, y)
        assert routed.score(X, y, sample_weight=weights) == expected[1]
        params = {"groups": groups}
        if parse_version(sklearn.__version__) >= parse_version("1.9"):
            params["sample_weight"] = weights  # older ones route none to a Pipeline
        options = dict(cv=GroupKFold(2), error_score="raise", params=params)
        results = cross_validate(routed, X, y, **options)
        assert np.isfinite(results["test_score"]).all()


@pytest.mark.parametrize("early_stopping", [False, True])
def test_routing_changes_no_fit(encoder, windows, early_stopping):
    X, y = data_of(encoder, *windows[:2])
    encoder.set_params(early_stopping=early_stopping)
    expected = clone(encoder).fit(X, y).transform(X)
    with config_context(enable_metadata_routing=True):
        assert_array_equal(encoder.fit(X, y).transform(X), expected)


def frames(windows):
    """EMG and pose of one channel as frames with names, and the names of rows."""
    rows = [f"window {i}" for i in range(20)]
    X, P = windows[0][:, 0], windows[1][:, 0]
    X = pd.DataFrame(X, index=rows, columns=[f"t{i}" for i in range(X.shape[1])])
    return X, pd.DataFrame(P, index=rows, columns=[f"p{i}" for i in range(P.shape[1])])


@pytest.mark.parametrize("container", [np.asarray, Lazy, np.ndarray.tolist])
def test_names_are_forgotten(encoder, windows, container):
    X, y = data_of(encoder, *frames(windows))
    assert list(encoder.fit(X, y).feature_names_in_) == list(X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(X[X.columns[::-1]])
    X, y = data_of(encoder, container(windows[0]), windows[1])
    encoder.fit(X, y).transform(X)
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_in_ == 4


def test_frames_come_out(encoder, windows):
    X, y = data_of(encoder, *frames(windows))
    expected = encoder.fit(X, y).transform(X)
    Z = encoder.set_output(transform="pandas").transform(X)
    assert list(Z.index) == list(X.index)
    assert list(Z.columns) == list(encoder.get_feature_names_out())
    assert_array_equal(Z, expected)
    X, y = data_of(encoder, *windows[:2])
    Z = encoder.fit(X, y).transform(Lazy(X))
    assert list(Z.columns) == list(encoder.get_feature_names_out())
    assert list(Z.index) == list(range(20))


def test_columns(encoder, windows):
    X, y = data_of(encoder, *frames(windows))
    expected = clone(encoder).fit(X, y).transform(X)
    parts = [("emg", encoder, list(X.columns)), ("rest", "passthrough", ["age"])]
    columns = ColumnTransformer(parts).set_output(transform="pandas")
    Z = columns.fit(X.assign(age=7), y).transform(X.assign(age=7))
    names = [f"emg__{name}" for name in encoder.fit(X, y).get_feature_names_out()]
    assert list(Z.columns) == [*names, "rest__age"]
    assert_array_equal(Z[names], expected)
    assert list(Z.index) == list(X.index)


@pytest.mark.parametrize(
    "config",
    [
        {"assume_finite": True},
        {"skip_parameter_validation": True},
        {"transform_output": "pandas"},
        {"working_memory": 1},
    ],
    ids=str,
)
def test_settings_change_nothing(encoder, windows, config):
    X, y = data_of(encoder, *windows[:2])
    fitted = clone(encoder).fit(X, y)
    with config_context(**config):
        again = encoder.fit(X, y)
        assert again.score(X, y) == fitted.score(X, y)
        assert_array_equal(np.asarray(again.transform(X)), fitted.transform(X))


def test_unions_and_curves(encoder, windows):
    X, y = data_of(encoder, *windows[:2])
    both = FeatureUnion([("a", encoder), ("b", clone(encoder))]).fit(X, y)
    Z = both.transform(X)
    assert_array_equal(*np.split(Z, 2, axis=1))
    assert len(set(both.get_feature_names_out())) == Z.shape[1]
    sizes = dict(cv=2, train_sizes=[0.8, 1.0], error_score="raise")
    assert np.isfinite(learning_curve(encoder, X, y, **sizes)[2]).all()


def test_transformed_targets(windows):
    X, P = frames(windows)
    model = small("PoseT", max_epochs=1, batch_size=256)
    scaled = TransformedTargetRegressor(model, transformer=StandardScaler())
    predicted = scaled.fit(X, P).predict(X)
    scaler = StandardScaler().fit(P)
    expected = model.fit(X, scaler.transform(P)).predict(X)
    assert_allclose(predicted, scaler.inverse_transform(expected))


def test_zero_shot_among_classifiers(windows, small_cpep):
    X, P, y, _ = windows
    zero_shot = ZeroShotClassifier(FrozenEstimator(small_cpep().fit(X, P)), 3).fit(P, y)
    frozen = FrozenEstimator(zero_shot)
    vote = VotingClassifier([("a", frozen), ("b", frozen)], voting="soft").fit(X, y)
    assert_allclose(vote.predict_proba(X), zero_shot.predict_proba(X))
    calibrated = CalibratedClassifierCV(frozen).fit(X, y)
    assert_array_equal(calibrated.classes_, zero_shot.classes_)
    weights = np.arange(20)
    right = zero_shot.predict(X) == y
    expected = np.average(right, weights=weights)
    with config_context(enable_metadata_routing=True):
        asking = clone(zero_shot).set_score_request(sample_weight=True).fit(P, y)
        assert_allclose(asking.score(X, y, sample_weight=weights), expected)
