"""What a user writes, at small sizes."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline

from sk_cpep import (
    CPEP,
    MAE,
    BandpassNotch,
    InstanceNorm,
    Windower,
    ZeroShotClassifier,
    make_windows,
)

SMALL = dict(
    d_model=16, n_layers=1, n_decoder_layers=1, n_heads=2, max_epochs=1, device="cpu"
)


@pytest.fixture(scope="module")
def recordings():
    """Ten recordings of five people, who take turns at four gestures."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(4, 4 + 3, 1))
    X, P, y = [], [], []
    for _ in range(10):
        labels = np.repeat(rng.permutation(4), 100)
        scale = patterns[labels, :, 0].T  # (7, 400)
        X.append((np.exp(scale[:4]) * rng.normal(size=(4, 400))).astype(np.float32))
        P.append((scale[4:] + 0.1 * rng.normal(size=(3, 400))).astype(np.float32))
        y.append(np.array(["fist", "ok", "point", "wave"])[labels])
    return X, P, y, np.arange(10) // 2


def test_windows(recordings):
    X, P, y, users = make_windows(*recordings, size=100)[:4]
    assert X.shape == (40, 4, 100)
    assert len(set(y)) == 4
    pipe = Pipeline(
        [
            ("filter", BandpassNotch(low=2, high=80, notch=60, sfreq=200)),
            ("norm", InstanceNorm(over="window")),
            (
                "cpep",
                CPEP(
                    emg_encoder=MAE(patch_length=10, mask_ratio=0.5, **SMALL),
                    pose_encoder=MAE(patch_length=20, mask_ratio=0.5, **SMALL),
                    max_epochs=20,
                    lr=1e-3,
                    random_state=0,
                ),
            ),
        ]
    )
    pipe.fit(X, P)
    Z = pipe.transform(X)
    assert Z.shape == (40, 16)
    assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-5)

    probe = make_pipeline(FrozenEstimator(pipe), LogisticRegression(max_iter=1000))
    scores = cross_val_score(
        probe, X, y, groups=users, cv=GroupKFold(5), scoring="balanced_accuracy"
    )
    expected = cross_val_score(
        LogisticRegression(max_iter=1000),
        Z,
        y,
        groups=users,
        cv=GroupKFold(5),
        scoring="balanced_accuracy",
    )
    assert_allclose(scores, expected)

    zero = ZeroShotClassifier(pipe, n_neighbors=10).fit(P[8:], y[8:])
    V = pipe["cpep"].transform_pose(P[8:])
    nearest = np.argsort(-(Z.astype(float) @ V.T.astype(float)), axis=1)[:, :10]
    assert_array_equal(zero.kneighbors(X, return_distance=False), nearest)
    assert set(zero.predict(X)) <= set(y)

    P_new = P[:8] + 5
    zero.partial_fit(P_new, ["vulcan"] * len(P_new))
    assert zero.classes_.tolist() == ["fist", "ok", "point", "vulcan", "wave"]
    loaded = pickle.loads(pickle.dumps(zero))
    assert_array_equal(loaded.predict_proba(X), zero.predict_proba(X))

    grid = {
        "cpep__emg_encoder__patch_length": [5, 10],
        "cpep__pose_encoder__mask_ratio": [0.25, 0.5],
    }
    pipe = clone(pipe).set_params(cpep__max_epochs=1)
    search = GridSearchCV(pipe, grid, cv=GroupKFold(3), error_score="raise")
    search.fit(X, P, groups=users)
    assert search.best_params_.keys() == grid.keys()
    assert search.transform(X).shape == (40, 16)


def test_recordings(recordings):
    X, P, y, _ = recordings
    pipe = Pipeline(
        [
            ("filter", BandpassNotch(low=2, high=80, notch=60, sfreq=200)),
            ("windows", Windower(size=100)),
            ("norm", InstanceNorm()),
            (
                "cpep",
                CPEP(
                    MAE(10, **SMALL),
                    MAE(20, **SMALL),
                    pose_transformer=Windower(size=100),
                    max_epochs=1,
                    random_state=0,
                ),
            ),
        ]
    )
    pipe.fit(X, P)
    assert pipe.transform(X).shape == (40, 16)
    labels = make_windows(X, y, size=100)[1]
    zero = ZeroShotClassifier(pipe, n_neighbors=3).fit(P, labels)
    assert zero.predict(X).shape == (40,)
    assert_array_equal(pickle.loads(pickle.dumps(zero)).predict(X), zero.predict(X))

    users = np.arange(10) // 2
    scores = cross_val_score(
        pipe, X, P, groups=users, cv=GroupKFold(5), error_score="raise"
    )
    assert ((scores >= 0) & (scores <= 1)).all()
    grid = {"cpep__emg_encoder__patch_length": [10, 20]}
    search = GridSearchCV(pipe, grid, cv=GroupKFold(5), error_score="raise")
    search.fit(X, P, groups=users)
    assert search.score(X, P) == search.best_estimator_.score(X, P)
