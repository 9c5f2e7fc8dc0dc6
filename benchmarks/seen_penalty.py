"""Choose the penalty on seen gestures of the demo, without what the demo tests on.

    python -m benchmarks.seen_penalty [--data FOLDER] [--repeats N]

Gestures that the demo's encoders may see are left out of pre-training, a half of them at
a time, and count as the new ones; people who are not tested on name them. The real new
gestures, and the people of the other folds, are never looked at.
"""

import argparse
import sys
from dataclasses import replace

import numpy as np

from sk_cpep.datasets import load_ninapro_db1, make_gesture_recordings
from sk_cpep.demo import NINAPRO, SIMULATED
from sk_cpep.demo._run import ALIGNED, demo_estimators
from sk_cpep.evaluation import (
    cut_gesture_windows,
    fit_estimators,
    fold_users,
    split_gestures,
    tune_seen_penalty,
)
from sk_cpep.evaluation._tables import layout


def main(argv=None):
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.seen_penalty",
        description="What to take off the similarity of poses of seen gestures.",
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="Ninapro DB1; default: simulated"
    )
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.data is None:
        config = SIMULATED
        recordings = make_gesture_recordings(
            random_state=args.seed, **config.simulation
        )
    else:
        config, recordings = NINAPRO, load_ninapro_db1(args.data)
    curves = [
        curve
        for number in range(args.repeats)
        for curve in curves_of(recordings, config, args, number)
    ]
    print(report(curves))
    return 0


def curves_of(recordings, config, args, number):
    """Accuracies by penalty, for each half of the seen gestures left out."""
    tested, *others = fold_users(recordings.users, 5)
    tuning = others[number % len(others)]
    seen = [g for g in recordings.gesture_names[1:] if g not in config.unseen]
    order = np.random.RandomState(args.seed + number).permutation(seen)
    common = {"random_state": args.seed, "verbose": 0, "device": args.device}
    for left_out in np.array_split(order, 2):
        new = tuple(left_out.tolist())
        unseen = (*config.unseen, *new)
        windowing = replace(config, unseen=unseen).windowing
        pretraining, named = (
            windows.select(~np.isin(windows.users, tested))
            for windows in cut_gesture_windows(recordings, **windowing)
        )
        named = named.select(np.isin(named.y, seen))
        fold = split_gestures(pretraining, named, tuning)
        cpep = fit_estimators(demo_estimators(config, common), fold.pretrain)[ALIGNED]
        train, test = fold.train["in_distribution"], fold.test["in_distribution"]
        gallery = cpep.transform_pose(train.P), train.y, train.users
        queries = cpep.transform(test.X), test.y, test.users
        known = [g for g in seen if g not in new]
        _, curve = tune_seen_penalty(
            gallery, queries, seen=known, n_neighbors=config.n_neighbors
        )
        print(f"new: {', '.join(new)}; tuning people {tuning}", flush=True)
        yield curve


def report(curves):
    """The mean of all curves as a table, and the best penalty."""
    penalties = [point["seen_penalty"] for point in curves[0]]
    means = {
        key: np.mean([[point[key] for point in curve] for curve in curves], axis=0)
        for key in ("seen", "new", "harmonic_mean")
    }
    best = penalties[int(means["harmonic_mean"].argmax())]
    rows = [
        [f"{p:g}", *(f"{means[key][i]:.3f}" for key in means)]
        for i, p in enumerate(penalties)
        if p <= 0.2
    ]
    return layout([["penalty", *means], *rows]) + f"\n\nBest: {best:g}"


if __name__ == "__main__":
    sys.exit(main())
