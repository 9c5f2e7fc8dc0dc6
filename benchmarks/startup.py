"""How soon the package is there: imports and ``--help``, each in a new process.

    python -m benchmarks.startup [--repeats N] [--out FILE]

Beside them, what it takes to import the packages that it stands on. The interpreter's
own start is part of every figure, and is a row.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sk_cpep._cli import COMMANDS

from .table import Table, finish, table_file
from .timing import in_turn

ROOT = Path(__file__).parents[1]
PYTHON = "python, nothing imported"
OURS = "import sk_cpep"
HELP = {
    f"{' '.join(['sk-cpep', *command])} --help": ["-m", "sk_cpep", *command, "--help"]
    for command in [[], *([name] for name in COMMANDS)]
}
JOBS = {
    PYTHON: ["-c", "pass"],
    OURS: ["-c", OURS],
    **HELP,
    **{
        f"import {name}": ["-c", f"import {name}"]
        for name in ("numpy", "sklearn", "torch")
    },
}


def run(arguments):
    """Run Python with these arguments; its wall-clock seconds and those of its CPU."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds, after = time.perf_counter() - started, os.times()
    of_cpu = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return seconds, of_cpu


def measure(repeats):
    """The table: every job once before it counts, then in turn."""
    of_cpu = {name: [] for name in JOBS}

    def job(name):
        seconds, cpu = run(JOBS[name])
        of_cpu[name].append(cpu)
        return seconds

    jobs = {name: lambda name=name: job(name) for name in JOBS}
    in_turn(jobs, 1)
    seconds = in_turn(jobs, repeats)
    table = Table("Start, medians of new processes", "s")
    for name, times in seconds.items():
        cpu = statistics.median(of_cpu[name][1:])
        table.add(name, statistics.median(times), f"{cpu:.3f} s of CPU")
    for name in ("import sklearn", "import torch"):
        table.add_speed(seconds, OURS, name)
    return table


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="processes of each (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="FILE", type=table_file, help="JSON")
    args = parser.parse_args(argv)
    finish(measure(args.repeats), args.out)


if __name__ == "__main__":
    main()
