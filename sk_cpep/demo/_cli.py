"""The command line: ``python -m sk_cpep demo``."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

from .._file_identity import is_same
from .._typing import PathLike
from .._version import __version__
from ..datasets import load_ninapro_db1, make_gesture_recordings
from ..evaluation import GestureFold, fold_users, merge_records
from ._config import NINAPRO, SIMULATED
from ._report import format_report, save_pictures, save_records, set_aside
from ._run import choose_test_users, cut_demo_windows, run_demo, split_demo_windows


def run_demo_command(args: Namespace) -> int:
    """Load or simulate recordings, run the demo, and report."""
    if args.data is not None and is_same(args.out, args.data):
        raise ValueError(
            f"--out {args.out} is --data {args.data}: give another folder."
        )
    started = time.perf_counter()

    def say(line: str) -> None:
        if not args.quiet:
            print(line, flush=True)

    if args.data is None:
        config = SIMULATED
        say("Simulating recordings ...")
        recordings = make_gesture_recordings(
            random_state=args.seed, **config.simulation
        )
    else:
        config = NINAPRO
        say(f"Reading {args.data} ...")
        recordings = load_ninapro_db1(args.data)
    if args.baseline is not None:
        config = replace(config, baseline=args.baseline)
    if args.test_subjects is None and config.n_folds > 1:
        chosen = fold_users(recordings.users, config.n_folds)
    else:
        chosen = [args.test_subjects]
    folds = [choose_test_users(recordings.users, config, users) for users in chosen]
    windows = cut_demo_windows(recordings, config)
    out = make_folder(args.out)
    runs = []
    for number, users in enumerate(folds, start=1):
        if len(folds) > 1:
            say(f"\nFold {number} of {len(folds)}")
        data = split_demo_windows(windows, users, config.unseen)
        say(describe(data))
        result = run_demo(
            data,
            config,
            random_state=args.seed,
            verbose=not args.quiet,
            device=args.device,
            say=say,
        )
        runs.append(result.records)
    result.records = runs[0] if len(runs) == 1 else merge_records(runs)
    settings = asdict(config) | {"seed": args.seed, "version": __version__}
    settings["test_subjects"] = [users.tolist() for users in folds]
    moved_to = set_aside(out)
    if moved_to is not None:
        say(f"Earlier results are now in {moved_to}.")
    files = save_records(result.records, out, settings)
    print(format_report(result.records))
    say("\nDrawing ...")
    try:
        files += save_pictures(data, result, recordings, out)
    except ImportError as error:
        print(f"sk_cpep: no pictures: {error}", file=sys.stderr)
    say(f"{time.perf_counter() - started:.0f} s. In {out}:")
    say("  " + ", ".join(path.name for path in files))
    return 0


def make_folder(path: PathLike) -> Path:
    """The folder of the results, made where there is none."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(
            f"--out {folder} is, or is inside, a file: give a folder."
        ) from None
    return folder


def describe(data: GestureFold) -> str:
    """One line a stage: how many windows, of whom."""
    people = len(set(data.pretrain.users.tolist()))
    lines = [
        f"{len(data.pretrain)} windows of {people} people to pre-train and align on; "
        f"held out: {', '.join(map(str, data.held_out))}"
    ]
    for name, test in data.test.items():
        gestures = sorted(set(test.y.tolist()))
        lines.append(
            f"{name.replace('_', ' ')}: {len(data.train[name])} windows to learn names "
            f"from, {len(test)} to name; " + ", ".join(gestures)
        )
    return "\n".join(lines)
