"""The command line: ``python -m sk_cpep``."""

import argparse
import os
import sys
import time

from ._runs import add_runs_arguments, run_runs_command
from ._version import __version__
from .datasets import pack_emg2pose
from .demo import add_demo_arguments, run_demo_command
from .fit import add_fit_arguments, run_fit_command
from .preprocessing import BandpassNotch
from .training import LaunchError


def main(argv=None):
    """Run the command line; its exit status.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments. None takes those of the process.
    """
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, OSError, ImportError, LaunchError) as error:
        complain(error)
        return 2
    except (MemoryError, RuntimeError) as error:  # torch has no class for the CPU's
        if not is_out_of_memory(error):
            raise
        complain(f"out of memory: {error}")
        return 2
    except KeyboardInterrupt:
        complain(args.interrupted)
        return 130


def is_out_of_memory(error):
    """Whether there was too little memory, of the machine or of its GPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or ("memory" in said and "allocate" in said)


def complain(message):
    """Print a line to standard error; of several processes each says which it is."""
    rank = os.environ.get("RANK", "0")
    who = "sk_cpep" if rank == "0" else f"sk_cpep, process {rank}"
    print(f"{who}: {message}".replace("\n", " "), file=sys.stderr)


def build_parser():
    """The arguments of ``python -m sk_cpep``."""
    parser = argparse.ArgumentParser(prog="python -m sk_cpep")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="pre-train, align, and evaluate on people held out"
    )
    add_demo_arguments(demo)
    demo.set_defaults(run=run_demo_command, interrupted="interrupted")
    fit = commands.add_parser("fit", help="pre-train and align as a file says")
    add_fit_arguments(fit)
    fit.set_defaults(run=run_fit_command, interrupted="interrupted")
    pack = commands.add_parser(
        "pack", help="filter emg2pose once, into memory-mapped files"
    )
    add_pack_arguments(pack)
    pack.set_defaults(
        run=run_pack_command,
        interrupted="interrupted; the same command goes on from here",
    )
    runs = commands.add_parser("runs", help="list, compare and remove runs")
    add_runs_arguments(runs)
    runs.set_defaults(run=run_runs_command, interrupted="interrupted")
    return parser


def add_pack_arguments(parser):
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


def run_pack_command(args):
    """Pack, and say what is in the pack."""
    started = time.perf_counter()
    bandpass = None if args.no_filter else BandpassNotch(*args.band, args.notch or None)
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


def describe_pack(report, seconds):
    """What a pack holds, in lines.

    Parameters
    ----------
    report : Bunch
        From :func:`~sk_cpep.datasets.pack_emg2pose`.

    seconds : float
        That it took.
    """
    lines = [
        f"{report.out}: {report.n_packed} of {report.n_recordings} recordings, "
        f"{report.hours:.2f} hours, {report.nbytes / 2**30:.2f} GiB; inverse kinematics "
        f"failed in {report.failed_share:.1%} of the time",
        f"{report.n_resumed} were there before; {seconds:.0f} s",
    ]
    if report.skipped:
        lines.append(f"{len(report.skipped)} were left out:")
    lines += [f"  row {s['row']}: {s['reason']}" for s in report.skipped[:20]]
    if len(report.skipped) > 20:
        lines.append("  ... (all are in recordings.jsonl)")
    return "\n".join(lines)
