"""What a masked autoencoder should rebuild: its target, on several kinds of signal.

    python -m benchmarks.targets [--data NINAPRO_FOLDER] [--raw] [--folds N]

Simulated people by default, or those of Ninapro DB1, whose EMG is an envelope; `--raw`
leaves the simulated EMG raw. Each target alone, by a probe on the autoencoder, and as the
start of CPEP: people held out, macro accuracy with its interval over people. The Myo
readings are in ``python -m sk_cpep demo --data FOLDER``.
"""

import argparse
import sys
from dataclasses import replace

from sklearn.frozen import FrozenEstimator

from sk_cpep.datasets import load_ninapro_db1, make_gesture_recordings
from sk_cpep.demo import NINAPRO, SIMULATED
from sk_cpep.encoders import CPEP, MAE
from sk_cpep.evaluation import (
    Method,
    cut_gesture_windows,
    evaluate_methods,
    fit_estimators,
    fold_users,
    format_markdown,
    linear_classifiers,
    merge_records,
    split_gestures,
)

LOG_POWER = {"target": "log_power", "tokenizer": "log_power"}
TARGETS = {
    "raw": {},
    "normalized": {"target": "normalized"},
    "log_power": {"target": "log_power"},
    "log_power, of log power": LOG_POWER,
}
COLUMNS = [
    (protocol, gestures, n)
    for protocol, n in (
        ("zero_shot", None),
        ("linear_probe", 1),
        ("linear_probe", None),
    )
    for gestures in ("in_distribution", "unseen")
]
POSE = "pose"


def main(argv=None):
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.targets",
        description="Targets of masked autoencoders, alone and as the start of CPEP.",
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="Ninapro DB1; default: simulated"
    )
    parser.add_argument("--raw", action="store_true", help="no envelope (simulated)")
    parser.add_argument("--folds", type=int, help="how many of the folds are run")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.data is not None:
        config, recordings = NINAPRO, load_ninapro_db1(args.data)
    else:
        config = replace(SIMULATED, envelope=None) if args.raw else SIMULATED
        recordings = make_gesture_recordings(
            random_state=args.seed, **config.simulation
        )
    windows = cut_gesture_windows(recordings, **config.windowing)
    n_folds = config.n_folds if config.n_folds > 1 else 3
    runs, explained = [], {name: [] for name in TARGETS}
    for users in fold_users(recordings.users, n_folds)[: args.folds]:
        fold = split_gestures(*windows, users, config.unseen)
        fitted = fit_estimators(estimators(config, args), fold.pretrain)
        for name in TARGETS:
            history = fitted[f"MAE, {name}"].history_
            explained[name].append(history[-1]["train_explained"])
        runs.append(
            evaluate_methods(
                fold,
                fitted,
                methods(),
                n_people=(1, "all"),
                n_draws=8,
                classifiers=linear_classifiers(),
                n_neighbors=config.n_neighbors,
            )
        )
        print(f"held out: {users}", flush=True)
    for name, shares in explained.items():
        told = ", ".join(f"{share:.2f}" for share in shares)
        print(f"{name}: share of the variance explained {told}")
    print(format_markdown(merge_records(runs), columns=COLUMNS, digits=2))
    return 0


def estimators(config, args):
    """An autoencoder for each target, and CPEP from each."""
    common = {"random_state": args.seed, "device": args.device}

    def aligned(name):
        def fit(windows, fitted):
            starts = (FrozenEstimator(fitted[part]) for part in (f"MAE, {name}", POSE))
            cpep = CPEP(*starts, **config.alignment, **common)
            return cpep.fit(windows.X, windows.P, groups=windows.users)

        return fit

    found = {POSE: lambda w, _: MAE(**config.pose_encoder, **common).fit(w.P)}
    for name, changes in TARGETS.items():
        found[f"MAE, {name}"] = MAE(**(config.emg_encoder | changes), **common)
    return found | {f"CPEP from {name}": aligned(name) for name in TARGETS}


def methods():
    """Features, autoencoders and alignments."""

    def emg(name):
        return lambda fitted, windows: fitted[name].transform(windows.X)

    def pose(name):
        return lambda fitted, windows: fitted[name].transform_pose(windows.P)

    found = {"Amplitude in ten bins": Method(probe=lambda _, w: w.features)}
    found |= {f"MAE, {name}": Method(probe=emg(f"MAE, {name}")) for name in TARGETS}
    for name in (f"CPEP from {target}" for target in TARGETS):
        found[name] = Method(emg(name), emg(name), pose(name))
    return found


if __name__ == "__main__":
    sys.exit(main())
