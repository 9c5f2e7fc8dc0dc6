"""The command line: ``python -m sk_cpep demo``."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from .._file_identity import is_same
from .._typing import PathLike, Record
from .._version import __version__
from ..datasets import load_myo_readings, load_ninapro_db1, make_gesture_recordings
from ..evaluation import GestureFold, fold_users, merge_records
from ..evaluation._label_efficiency import feasible
from ._config import NINAPRO, SIMULATED
from ._myo import MYO, format_myo_report, run_myo_demo
from ._report import (
    format_report,
    save_label_efficiency,
    save_pictures,
    save_records,
    set_aside,
)
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

    if args.data is not None and recognise(args.data) == "myo":
        return run_on_readings(args, say, started)
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
    n_people = tuple(feasible(config.n_people, recordings.users, folds))
    config = replace(config, n_people=n_people)
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
    settings = asdict(config) | {"test_subjects": [users.tolist() for users in folds]}
    files = keep_records(result.records, settings, args, say)
    print(format_report(result.records))
    say("\nDrawing ...")
    try:
        files += save_pictures(data, result, recordings, out)
    except ImportError as error:
        print(f"sk_cpep: no pictures: {error}", file=sys.stderr)
    say_what_is_left(files, started, say)
    return 0


def recognise(folder: PathLike) -> str:
    """What a folder holds: "myo", or else "ninapro", whose reader says what it misses."""
    readings = [*Path(folder).glob("*.zip"), *Path(folder).glob("*-*/*.txt")]
    is_ninapro = any(Path(folder).glob("S*_A1_E1.mat"))
    return "myo" if readings and not is_ninapro else "ninapro"


def run_on_readings(args: Namespace, say: Callable[[str], None], started: float) -> int:
    """Run the demo on raw EMG without poses, and report."""
    if args.test_subjects is not None or args.baseline is not None:
        raise ValueError(
            "--test-subjects and --baseline are for recordings with poses; of the Myo "
            "readings everyone is held out once."
        )
    say(f"Reading {args.data} ...")
    recordings = load_myo_readings(args.data)
    make_folder(args.out)
    records = run_myo_demo(
        recordings,
        MYO,
        random_state=args.seed,
        verbose=not args.quiet,
        device=args.device,
        say=say,
    )
    files = keep_records(records, asdict(MYO), args, say)
    print(format_myo_report(records))
    try:
        files += save_label_efficiency(records, args.out)
    except ImportError as error:
        print(f"sk_cpep: no pictures: {error}", file=sys.stderr)
    say_what_is_left(files, started, say)
    return 0


def keep_records(
    records: list[Record],
    settings: Record,
    args: Namespace,
    say: Callable[[str], None],
) -> list[Path]:
    """Write records and settings, earlier results set aside."""
    moved_to = set_aside(args.out)
    if moved_to is not None:
        say(f"Earlier results are now in {moved_to}.")
    settings = settings | {"seed": args.seed, "version": __version__}
    return save_records(records, args.out, settings)


def say_what_is_left(
    files: list[Path], started: float, say: Callable[[str], None]
) -> None:
    """How long it took, and which files there are."""
    say(f"{time.perf_counter() - started:.0f} s. In {files[0].parent}:")
    say("  " + ", ".join(path.name for path in files))


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
