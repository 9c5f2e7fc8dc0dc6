"""The command line: ``sk-cpep``, or ``python -m sk_cpep``."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from ._version import __version__


class Command(NamedTuple):
    """A command, of which the module has the arguments and the function that runs it.

    They are called ``add_NAME_arguments`` and ``run_NAME_command``. Arguments are
    declared without importing what the command computes with, so that ``--help`` is
    shown at once.
    """

    module: str
    help: str
    interrupted: str = "interrupted"


COMMANDS = {
    "demo": Command("demo", "pre-train, align, and evaluate on people held out"),
    "fit": Command("fit", "pre-train and align as a file says"),
    "pack": Command(
        "_pack",
        "filter emg2pose once, into memory-mapped files",
        "interrupted; the same command resumes it",
    ),
    "runs": Command("_runs", "list, compare and remove runs"),
}


def main(argv: Sequence[str] | None = None, prog: str = "sk-cpep") -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments. None takes those of the process.

    prog : str, default="sk-cpep"
        What the help calls the program.

    Returns
    -------
    status : int
        0 for success, 2 for an error of the user, 130 for an interruption.
    """
    args = build_parser(prog).parse_args(argv)
    if args.log is not None:
        logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
        logging.getLogger("sk_cpep").setLevel(args.log.upper())
    try:
        status: int = command_function("run_{}_command", args.command)(args)
        return status
    except (ValueError, OSError, ImportError) as error:
        complain(error)
        return 2
    except (MemoryError, RuntimeError) as error:  # torch has no class for the CPU's
        if is_out_of_memory(error):
            complain(f"out of memory: {error}")
        elif is_launch_error(error):
            complain(error)
        else:
            raise
        return 2
    except KeyboardInterrupt:
        complain(args.interrupted)
        return 130


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The arguments of all commands."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--log",
        choices=["debug", "info", "warning"],
        help="say on standard error what happens, from this level on",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help)
        command_function("add_{}_arguments", name)(subparser)
        subparser.set_defaults(interrupted=command.interrupted)
    return parser


def command_function(pattern: str, name: str) -> Callable[..., Any]:
    """The function of a command's module whose name has this pattern."""
    module = import_module(f"{__package__}.{COMMANDS[name].module}")
    return getattr(module, pattern.format(name))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of its GPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or ("memory" in said and "allocate" in said)


def is_launch_error(error: BaseException) -> bool:
    """Whether another of the processes that were launched together failed."""
    from .training import LaunchError

    return isinstance(error, LaunchError)


def complain(message: object) -> None:
    """Print a line to standard error; of several processes each says which it is."""
    rank = os.environ.get("RANK", "0")
    who = "sk_cpep" if rank == "0" else f"sk_cpep, process {rank}"
    print(f"{who}: {message}".replace("\n", " "), file=sys.stderr)
