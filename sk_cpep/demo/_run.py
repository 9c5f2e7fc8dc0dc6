"""The demo itself: pre-train, align, evaluate on people held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from .._ids import read_alike, read_ids
from .._typing import AnyArray
from ..encoders import CPEP, MAE
from ..evaluation import (
    GestureFold,
    GestureWindows,
    Method,
    cut_gesture_windows,
    evaluate_methods,
    fit_estimators,
    split_gestures,
)
from ..zero_shot import ZeroShotClassifier
from ._config import DemoConfig

EMG_MAE, POSE_MAE, ALIGNED = (
    "1/4 Pre-training the EMG encoder: rebuild hidden patches",
    "2/4 Pre-training the pose encoder: rebuild hidden patches",
    "3/4 Aligning EMG with pose",
)


@dataclass
class DemoResult:
    """What the demo has made.

    Parameters
    ----------
    records : list of dict
        One per method, protocol and gesture set.

    emg_mae, pose_mae : MAE

    cpep : CPEP

    zero_shot : dict of ZeroShotClassifier
        One per gesture set, its gallery the training people's poses.
    """

    records: list[dict[str, Any]]
    emg_mae: MAE
    pose_mae: MAE
    cpep: CPEP
    zero_shot: dict[str, ZeroShotClassifier]


def make_demo_data(
    recordings: Any, config: DemoConfig, test_users: Any = None
) -> GestureFold:
    """Windows of every stage.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`~sk_cpep.datasets.make_gesture_recordings`.

    config : DemoConfig

    test_users : sequence of int, default=None
        People held out. None is the last `config.n_test_users`, or half of the
        people where they are few.
    """
    held_out = choose_test_users(recordings.users, config, test_users)
    windows = cut_gesture_windows(recordings, **config.windowing)
    return split_gestures(*windows, held_out, config.unseen)


def choose_test_users(users: Any, config: DemoConfig, test_users: Any) -> AnyArray:
    """People held out, checked against those there are."""
    known = np.unique(read_ids(users, "users"))
    if len(known) < 2:
        raise ValueError(
            f"Recordings of two people are needed at the least, one to learn from and "
            f"one to test on; there are those of {known.tolist()}."
        )
    if test_users is None:
        return known[-min(config.n_test_users, len(known) // 2) :]
    _, chosen = read_alike({"The people recorded": known, "test_users": test_users})
    chosen = np.unique(chosen)
    if not 0 < len(chosen) < len(known) or not np.isin(chosen, known).all():
        raise ValueError(
            f"Test subjects {chosen.tolist()} must be some, not all, of the people "
            f"recorded: {known.tolist()}."
        )
    return chosen


def run_demo(
    data: GestureFold,
    config: DemoConfig,
    *,
    random_state: int = 0,
    verbose: int = 1,
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> DemoResult:
    """Pre-train both encoders, align them, and evaluate.

    Parameters
    ----------
    data : GestureFold

    config : DemoConfig

    random_state : int, default=0

    verbose : int, default=1
        From 1 on, progress bars.

    device : str, default="auto"

    say : callable
        Called with a line of text before each step.
    """
    common = {"random_state": random_state, "verbose": verbose, "device": device}
    estimators = demo_estimators(config, common)
    fitted = fit_estimators(estimators, data.pretrain, say=say)
    say("4/4 Naming the gestures of people held out")
    records = evaluate_methods(
        data,
        fitted,
        demo_methods(config.probe_embedding),
        C=config.probe_C,
        n_neighbors=config.n_neighbors,
    )
    galleries = {
        gestures: ZeroShotClassifier(fitted[ALIGNED], config.n_neighbors).fit(
            train.P, train.y
        )
        for gestures, train in data.train.items()
    }
    return DemoResult(
        records, fitted[EMG_MAE], fitted[POSE_MAE], fitted[ALIGNED], galleries
    )


def demo_estimators(config: DemoConfig, common: Mapping[str, Any]) -> dict[str, Any]:
    """The three stages, each by what is said before it."""

    def fit_cpep(windows: GestureWindows, fitted: Mapping[str, Any]) -> CPEP:
        starts = (FrozenEstimator(fitted[name]) for name in (EMG_MAE, POSE_MAE))
        cpep = CPEP(*starts, **config.alignment, **common)
        return cpep.fit(windows.X, windows.P, groups=windows.users)

    return {
        EMG_MAE: lambda w, _: MAE(**config.emg_encoder, **common).fit(w.X),
        POSE_MAE: lambda w, _: MAE(**config.pose_encoder, **common).fit(w.P),
        ALIGNED: fit_cpep,
    }


def demo_methods(probe_embedding: str) -> dict[str, Method]:
    """What the demo compares; `probe_embedding` of CPEP is read by the probe."""

    def probe_cpep(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        cpep = fitted[ALIGNED]
        embedding = cpep.embedding
        try:
            return cpep.set_params(embedding=probe_embedding).transform(windows.X)
        finally:
            cpep.set_params(embedding=embedding)

    def embed_pose(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return fitted[ALIGNED].transform_pose(windows.P)

    return {
        "Amplitude features": Method(probe=lambda _, w: amplitude_features(w.X)),
        "EMG-MAE": Method(probe=lambda f, w: f[EMG_MAE].transform(w.X)),
        "CPEP": Method(
            probe=probe_cpep,
            query=lambda f, w: f[ALIGNED].transform(w.X),
            gallery=embed_pose,
        ),
        "Pose-MAE (upper bound)": Method(
            probe=lambda f, w: f[POSE_MAE].transform(w.P),
            query=embed_pose,
            gallery=embed_pose,
        ),
    }


def amplitude_features(X: AnyArray) -> AnyArray:
    """Mean of every channel's envelope over the window: (n, C, T) to (n, C)."""
    return X.mean(axis=2)
