"""The demo itself: pre-train, align, evaluate on people held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from .._ids import read_comparable, read_ids
from .._typing import AnyArray
from ..encoders import CPEP, MAE, EncoderClassifier
from ..evaluation import (
    GestureFold,
    GestureWindows,
    Method,
    cut_gesture_windows,
    cut_rest_windows,
    cut_session_windows,
    evaluate_methods,
    fit_estimators,
    linear_classifiers,
    own_repetition,
    split_gestures,
)
from ..zero_shot import ZeroShotClassifier
from ._config import DemoConfig

EMG_MAE, POSE_MAE, ALIGNED = (
    "1/4 Pre-training the EMG encoder: rebuild hidden patches",
    "2/4 Pre-training the pose encoder: rebuild hidden patches",
    "3/4 Aligning EMG with pose",
)


# Windows that are evaluated beside those of movements.
REST, EVERY = "rest before", "every window"

CPEP_ROW, BINS_ROW = "CPEP", "Amplitude in ten bins"


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


@dataclass
class DemoWindows:
    """All windows of all people.

    Parameters
    ----------
    pretraining, named : GestureWindows
        As of :func:`~sk_cpep.evaluation.cut_gesture_windows`.

    controls : dict of GestureWindows
        Every window of the sessions, and the rest before each movement, where there is
        so much rest.
    """

    pretraining: GestureWindows
    named: GestureWindows
    controls: dict[str, GestureWindows]


def cut_demo_windows(recordings: Any, config: DemoConfig) -> DemoWindows:
    """Cut recordings into the windows of every stage.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`~sk_cpep.datasets.make_gesture_recordings`.

    config : DemoConfig
    """
    controls = {}
    if config.rest_control:
        controls[REST] = cut_rest_windows(recordings, **config.signals)
    stride = config.session_stride
    controls[EVERY] = cut_session_windows(recordings, stride=stride, **config.signals)
    return DemoWindows(*cut_gesture_windows(recordings, **config.windowing), controls)


def split_demo_windows(
    windows: DemoWindows, held_out: Any, unseen: tuple[str, ...]
) -> GestureFold:
    """The windows of each stage, some people held out.

    Parameters
    ----------
    windows : DemoWindows

    held_out : sequence of ids

    unseen : tuple of str

    Returns
    -------
    fold : GestureFold
        ``controls`` has the rest before movements, and every window.
    """
    pretraining = windows.pretraining
    fold = split_gestures(pretraining, windows.named, held_out, unseen)
    for name, control in windows.controls.items():
        kept = unseen if name == REST else ()
        fold.controls[name] = split_gestures(pretraining, control, held_out, kept)
    return fold


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
    windows = cut_demo_windows(recordings, config)
    return split_demo_windows(windows, held_out, config.unseen)


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
    _, chosen = read_comparable(
        {"The people recorded": known, "test_users": test_users}
    )
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
    methods = demo_methods(config, common)
    records = evaluate_methods(
        data,
        fitted,
        methods,
        n_neighbors=config.n_neighbors,
        n_people=config.n_people,
        n_draws=config.n_draws,
        classifiers=linear_classifiers(),
        seen_penalties=sorted({0.0, config.seen_penalty}),
        random_state=random_state,
    )
    records += evaluate_own_repetition(data, fitted, methods)
    records += evaluate_controls(data, fitted, methods, config)
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
        emg, pose = (FrozenEstimator(fitted[name]) for name in (EMG_MAE, POSE_MAE))
        cpep = CPEP(emg, pose, **config.alignment, **common)
        return cpep.fit(windows.X, windows.P, groups=windows.users)

    return {
        EMG_MAE: lambda w, _: MAE(**config.emg_encoder, **common).fit(w.X),
        POSE_MAE: lambda w, _: MAE(**config.pose_encoder, **common).fit(w.P),
        ALIGNED: fit_cpep,
    }


def demo_methods(config: DemoConfig, common: Mapping[str, Any]) -> dict[str, Method]:
    """What the demo compares: simple rivals, autoencoders, CPEP, an upper bound."""
    encoder = MAE(**config.emg_encoder)
    supervised = EncoderClassifier(encoder, **config.supervised, **common)

    def embed(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return fitted[ALIGNED].transform(windows.X)

    def embed_pose(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return fitted[ALIGNED].transform_pose(windows.P)

    def before_projection(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        cpep = fitted[ALIGNED]
        embedding = cpep.embedding
        try:
            return cpep.set_params(embedding="encoder").transform(windows.X)
        finally:
            cpep.set_params(embedding=embedding)

    def emg_mae(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return fitted[EMG_MAE].transform(windows.X)

    def with_bins(part: Any) -> Any:
        return lambda f, w: np.hstack([part(f, w), w.features])

    return {
        "Amplitude": Method(probe=lambda _, w: mean_of_bins(w)),
        BINS_ROW: Method(probe=lambda _, w: w.features),
        "EMG encoder, supervised": Method(classifier=supervised),
        "EMG-MAE": Method(probe=emg_mae),
        "EMG-MAE and bins": Method(probe=with_bins(emg_mae)),
        CPEP_ROW: Method(probe=embed, query=embed, gallery=embed_pose),
        "CPEP and bins": Method(probe=with_bins(before_projection)),
        "Pose-MAE (upper bound)": Method(
            probe=lambda f, w: f[POSE_MAE].transform(w.P),
            query=embed_pose,
            gallery=embed_pose,
        ),
    }


def evaluate_own_repetition(
    data: GestureFold, fitted: Mapping[str, Any], methods: Mapping[str, Method]
) -> list[dict[str, Any]]:
    """Classifiers of each person's own first repetition of all gestures.

    Parameters
    ----------
    data : GestureFold

    fitted : dict
        As of :func:`~sk_cpep.evaluation.evaluate_methods`.

    methods : dict of Method
        Those that have a probe are evaluated.
    """
    sets = {gestures: np.unique(w.y) for gestures, w in data.test.items()}
    records = []
    for name, method in methods.items():
        if method.probe is None:
            continue
        parts: list[Any] = []
        for windows in (data.train, data.test):
            each = [
                (method.probe(fitted, w), w.y, w.users, w.repetitions)
                for w in windows.values()
            ]
            parts.append(tuple(np.concatenate(columns) for columns in zip(*each)))
        train, test = parts
        records += own_repetition(train, test, sets=sets, method=name)
    return records


def evaluate_controls(
    data: GestureFold,
    fitted: Mapping[str, Any],
    methods: Mapping[str, Method],
    config: DemoConfig,
) -> list[dict[str, Any]]:
    """The same methods on rest before movements, and on every window of the sessions.

    Zero-shot at rest looks poses of movements up. On whole sessions, where windows are
    many, only discriminants are candidates of the probe.
    """
    probes = {
        name: Method(method.probe, method.query, method.gallery)
        for name, method in methods.items()
        if method.classifier is None
    }
    candidates = linear_classifiers()
    fast = {
        name: c for name, c in candidates.items() if name.startswith("discriminant")
    }
    records = []
    for windows, fold in data.controls.items():
        found = evaluate_methods(
            fold,
            fitted,
            probes,
            n_neighbors=config.n_neighbors,
            classifiers=candidates if windows == REST else fast,
            galleries=data.train if windows == REST else None,
        )
        records += [record | {"windows": windows} for record in found]
    return records


def mean_of_bins(windows: GestureWindows) -> AnyArray:
    """Mean of every channel over the window, of the features in bins: (n, C)."""
    n, n_channels = windows.X.shape[:2]
    return windows.features.reshape(n, n_channels, -1).mean(axis=2)
