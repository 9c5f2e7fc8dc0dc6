"""``python -m sk_cpep pack``: emg2pose, filtered once, into memory-mapped files."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.utils import Bunch

_MOST_SHOWN = 20


def add_pack_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m sk_cpep pack``."""
    parser.add_argument("root", metavar="ROOT", help="folder of emg2pose's files")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="folder of the pack: new, empty, or begun by the same command",
    )
    parser.add_argument(
        "--emg-dtype",
        choices=["float16", "float32"],
        default="float16",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--pose-rate",
        type=int,
        default=200,
        metavar="HZ",
        help="of the joint angles (default: %(default)s)",
    )
    parser.add_argument(
        "--band",
        nargs=2,
        type=float,
        default=[2.0, 250.0],
        metavar=("LOW", "HIGH"),
        help="edges of the band-pass in Hz (default: 2 250)",
    )
    parser.add_argument(
        "--notch",
        nargs="*",
        type=float,
        default=[60.0],
        metavar="HZ",
        help="power line and harmonics; without a number, none (default: 60)",
    )
    parser.add_argument(
        "--no-filter", action="store_true", help="keep the EMG as published"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, -1 for all cores"
    )
    parser.add_argument(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="skip: leave recordings out that are missing or damaged, and list them",
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="do not read the pack back"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no progress bars, the report only"
    )


def run_pack_command(args: argparse.Namespace) -> int:
    """Pack, and say what is in the pack."""
    from .datasets import pack_emg2pose
    from .preprocessing import BandpassNotch

    started = time.perf_counter()
    low, high = args.band
    bandpass = None if args.no_filter else BandpassNotch(low, high, args.notch or None)
    report = pack_emg2pose(
        args.root,
        args.out,
        filter=bandpass,
        emg_dtype=args.emg_dtype,
        pose_rate=args.pose_rate,
        n_jobs=args.jobs,
        verify=not args.no_verify,
        on_error=args.on_error,
        verbose=not args.quiet,
    )
    print(describe_pack(report, time.perf_counter() - started))
    return 0


def describe_pack(report: Bunch, seconds: float) -> str:
    """What a pack holds, in lines: `report` as of `pack_emg2pose`, and its duration."""
    lines = [
        f"{report.out}: {report.n_packed} of {report.n_recordings} recordings, "
        f"{report.hours:.2f} hours, {report.nbytes / 2**30:.2f} GiB; inverse kinematics "
        f"failed in {report.failed_share:.1%} of the time",
        f"{report.n_resumed} were there before; {seconds:.0f} s",
    ]
    if report.skipped:
        lines.append(f"{len(report.skipped)} were left out:")
    lines += [f"  row {s['row']}: {s['reason']}" for s in report.skipped[:_MOST_SHOWN]]
    if len(report.skipped) > _MOST_SHOWN:
        lines.append("  ... (all are in recordings.jsonl)")
    return "\n".join(lines)
