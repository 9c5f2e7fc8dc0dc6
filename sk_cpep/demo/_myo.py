"""The demo on raw EMG without poses: what masked autoencoders are worth there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._typing import AnyArray
from ..encoders import MAE, EncoderClassifier
from ..evaluation import (
    GestureFold,
    GestureWindows,
    Method,
    evaluate_methods,
    fit_estimators,
    fold_users,
    format_differences,
    format_markdown,
    linear_classifiers,
    merge_records,
    own_repetition,
    split_gestures,
)
from ..evaluation._label_efficiency import feasible
from ..preprocessing import (
    AmplitudeFeatures,
    BandpassNotch,
    make_windows,
    standardise_groups,
)

_SET = "in_distribution"
_COLUMNS: list[Any] = [
    ("linear_probe", _SET, 1),
    ("linear_probe", _SET, None),
    ("own_session", _SET),
]
_TITLES = ["one person's labels", "all labels", "own first session, on the others"]


@dataclass(frozen=True)
class MyoConfig:
    """What the demo does to the Myo readings.

    Parameters
    ----------
    window, stride : float
        Length of a window and distance of their starts, in seconds at the band's
        nominal rate.

    purity : float
        Smallest share of a window that has one label.

    filter : dict
        Parameters of :class:`~sk_cpep.BandpassNotch`.

    mae : dict
        Parameters of every :class:`~sk_cpep.MAE`.

    targets : dict of dict
        Further parameters of each, by what it is called.

    supervised : dict
        Parameters of :class:`~sk_cpep.encoders.EncoderClassifier`.

    n_folds : int
        Folds of people.

    n_people, n_draws : tuple and int
        Of how many people the labels are that probes learn from, and how often as many
        people are drawn.
    """

    window: float = 1.0
    stride: float = 1.0
    purity: float = 1.0
    filter: dict[str, Any] = field(
        default_factory=lambda: {"low": 20.0, "high": 90.0, "notch": 50.0}
    )
    mae: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    supervised: dict[str, Any] = field(default_factory=dict)
    n_folds: int = 4
    n_people: tuple[Any, ...] = (1, 2, 4, 8, "all")
    n_draws: int = 6


_LOG_POWER = {"target": "log_power", "tokenizer": "log_power"}

MYO = MyoConfig(
    mae={
        "patch_length": 20,
        "pooling": "mean",
        "d_model": 64,
        "n_layers": 2,
        "n_decoder_layers": 1,
        "mlp_ratio": 2.0,
        "lr": 2e-3,
        "max_epochs": 15,
    },
    targets={
        "MAE, raw": {},
        "MAE, normalized": {"target": "normalized"},
        "MAE, log power": _LOG_POWER,
    },
    supervised={
        "pooling": "mean",
        "lr": 1e-3,
        "weight_decay": 0.05,
        "max_epochs": 6,
        "class_weight": "balanced",
        "ring_channels": 8,
    },
)


def run_myo_demo(
    recordings: Any,
    config: MyoConfig,
    *,
    random_state: int = 0,
    verbose: int = 1,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Pre-train autoencoders by target in folds of people, and evaluate them.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`~sk_cpep.datasets.load_myo_readings`.

    config : MyoConfig

    random_state : int, default=0

    verbose : int, default=1
        From 1 on, progress bars.

    device : str, default="auto"

    say : callable
        Called with a line of text before each step. By default nobody is told.

    Returns
    -------
    records : list of dict
    """
    common: dict[str, Any] = {
        "random_state": random_state,
        "verbose": verbose,
        "device": device,
    }
    windows = cut_myo_windows(recordings, config)
    estimators = {
        name: MAE(**mae_parameters(config, name), **common) for name in config.targets
    }
    runs = []
    folds = fold_users(windows.users, config.n_folds)
    if len(folds) < 2:
        raise ValueError(
            "Readings of two people are needed at the least, one to learn from and one "
            f"to test on; there are those of {np.unique(windows.users).tolist()}."
        )
    n_people = tuple(feasible(config.n_people, windows.users, folds))
    config, methods = replace(config, n_people=n_people), myo_methods(config, common)
    for number, held_out in enumerate(folds, start=1):
        say(f"\nFold {number} of {len(folds)}, held out: {held_out}")
        fold = split_gestures(windows, windows, held_out)
        fitted = fit_estimators(estimators, fold.pretrain, say=say)
        for name in estimators:
            explained = fitted[name].history_[-1]["train_explained"]
            say(f"{name}: {explained:.2f} of the target's variance explained")
        say("Naming the gestures of people held out")
        runs.append(evaluate_myo(fold, fitted, methods, config, random_state))
    return merge_records(runs)


def mae_parameters(config: MyoConfig, name: str) -> dict[str, Any]:
    """Parameters of the autoencoder of a name."""
    return config.mae | config.targets[name]


def cut_myo_windows(recordings: Any, config: MyoConfig) -> GestureWindows:
    """Filter readings, bring each session to one level, and cut them into windows.

    Parameters
    ----------
    recordings : Bunch

    config : MyoConfig

    Returns
    -------
    windows : GestureWindows
        ``repetitions`` are the sessions, ``features`` those of
        :func:`hand_made_features`; there are no poses.
    """
    sfreq = recordings.sfreq
    emg = BandpassNotch(sfreq=sfreq, **config.filter).fit_transform(recordings.emg)
    X, codes, users, sessions = make_windows(
        emg,
        recordings.labels,
        recordings.users,
        recordings.sessions,
        size=round(config.window * sfreq),
        stride=round(config.stride * sfreq),
        purity=config.purity,
    )
    names = np.array(recordings.gesture_names)
    windows = GestureWindows(X, None, names[codes], users, repetitions=sessions)
    windows.X = standardise_groups(X, wearings(windows))
    windows.features = hand_made_features(windows.X)
    return windows


def wearings(windows: GestureWindows) -> AnyArray:
    """A number for each session of each person: (n,)."""
    pairs = np.stack([windows.users, windows.repetitions], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].ravel()


def hand_made_features(X: AnyArray) -> AnyArray:
    """Hudgins' time-domain set, amplitudes in two bins and log-covariance."""
    extra = ["hudgins", "log_covariance"]
    return AmplitudeFeatures(2, "log", extra=extra).fit_transform(X)


def myo_methods(config: MyoConfig, common: Mapping[str, Any]) -> dict[str, Method]:
    """Features, a supervised network, and autoencoders by their target.

    Every feature and every dimension of an embedding is standardised over the session
    of the person, without labels.
    """

    def at_one_level(Z: AnyArray, windows: GestureWindows) -> AnyArray:
        return standardise_groups(Z, wearings(windows))

    def amplitude(n_bins: int, power: Any) -> Any:
        step = AmplitudeFeatures(n_bins, power)
        return lambda _, w: at_one_level(step.fit_transform(w.X), w)

    def embedding(name: str) -> Any:
        return lambda f, w: at_one_level(f[name].transform(w.X), w)

    def features(_: Any, windows: GestureWindows) -> AnyArray:
        return at_one_level(windows.features, windows)

    best = list(config.targets)[-1]
    encoder = MAE(**mae_parameters(config, best))
    network = EncoderClassifier(encoder, **config.supervised, **common)
    methods = {
        "Log amplitude": Method(probe=amplitude(1, "log")),
        "Amplitude in ten bins": Method(probe=amplitude(10, 0.5)),
        "Time domain and covariance": Method(probe=features),
        "Encoder, supervised": Method(classifier=network),
    }
    methods |= {name: Method(probe=embedding(name)) for name in config.targets}
    methods[f"{best}, and features"] = Method(
        probe=lambda f, w: np.hstack([embedding(best)(f, w), features(f, w)])
    )
    return methods


def evaluate_myo(
    fold: GestureFold,
    fitted: Mapping[str, Any],
    methods: Mapping[str, Method],
    config: MyoConfig,
    random_state: int = 0,
) -> list[dict[str, Any]]:
    """Few labels of others, all of them, and the person's own first session.

    Parameters
    ----------
    fold : GestureFold

    fitted : dict

    methods : dict of Method

    config : MyoConfig

    random_state : int, default=0
        Who is drawn.
    """
    candidates = linear_classifiers()
    records = evaluate_methods(
        fold,
        fitted,
        methods,
        n_people=config.n_people,
        n_draws=config.n_draws,
        classifiers=candidates,
        random_state=random_state,
    )
    sets = {_SET: np.unique(fold.test[_SET].y)}
    for name, method in methods.items():
        if method.probe is None:
            continue
        train, test = (
            (method.probe(fitted, w), w.y, w.users, w.repetitions)
            for w in (fold.train[_SET], fold.test[_SET])
        )
        records += own_repetition(
            train,
            test,
            sets=sets,
            classifiers=candidates,
            method=name,
            protocol="own_session",
        )
    return records


def format_myo_report(records: list[dict[str, Any]]) -> str:
    """The tables of a run: methods down, labels across; and differences.

    Parameters
    ----------
    records : list of dict

    Returns
    -------
    report : str
        Markdown.
    """
    shown = [
        r | {"protocol": "linear_probe"} if r["protocol"] == "supervised" else r
        for r in records
    ]
    table = format_markdown(
        shown,
        columns=_COLUMNS,
        titles=_TITLES,
        spread="sd",
        digits=2,
        chance="row",
        caption=False,
    )
    ours = [r["method"] for r in shown][-1]
    less = format_differences(shown, ours, columns=_COLUMNS, titles=_TITLES, digits=2)
    text = f"{ours} less the others, person by person (mean, 95 % interval):"
    return "\n\n".join([table, text, less])
