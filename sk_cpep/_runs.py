"""``python -m sk_cpep runs``: what a folder of runs holds."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COLUMNS = ("run", "state", "epochs", "loss", "MB", "data", "last written (UTC)")


@dataclass
class Run:
    """A run as its folder tells of it.

    Parameters
    ----------
    folder : Path

    about : dict
        What ``run.json`` says.

    state : str
        "ended", "begun", "damaged", or "empty" before the first epoch.

    history : list of dict
        The epochs that have been trained, or the last one of them.

    n_epochs : int
        How many have been trained.
    """

    folder: Path
    about: dict[str, Any]
    state: str
    history: list[dict[str, Any]]
    n_epochs: int

    @property
    def row(self) -> tuple[str, ...]:
        """Its row of the table."""
        loss = self.history[-1]["train_loss"] if self.history else None
        facts = self.about["facts"]
        files = [path.stat() for path in self.folder.iterdir()]
        last = max(file.st_mtime for file in files)
        shapes = [
            str(facts[name]).partition(")")[0].removeprefix("of shape (")
            for name in ("X", "P")
            if name in facts
        ]
        return (
            self.folder.name,
            self.state,
            f"{self.n_epochs}/{self.about['max_epochs']}",
            "" if loss is None else f"{loss:.4g}",
            f"{sum(file.st_size for file in files) / 1e6:.1f}",
            "; ".join(shapes).replace(", ", " x "),
            datetime.fromtimestamp(last, UTC).isoformat(" ", "seconds")[:19],
        )


def add_runs_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m sk_cpep runs``."""
    parser.add_argument("folder", metavar="FOLDER", help="a run_dir")
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="say how two runs differ; their names may be abbreviated",
    )
    action.add_argument(
        "--prune",
        nargs="*",
        metavar="RUN",
        help="remove these runs, or, without any, all that have not ended; asks first",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run_runs_command(args: argparse.Namespace) -> int:
    """List, compare or remove runs."""
    runs = find_runs(Path(args.folder))
    if args.diff:
        print_differences(*(pick(runs, name) for name in args.diff))
    elif args.prune is not None:
        chosen = [pick(runs, name) for name in args.prune]
        prune(chosen or [run for run in runs if run.state != "ended"], args.yes)
    else:
        print_table([COLUMNS, *(run.row for run in runs)])
    return 0


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.

    ValueError
        If no run is in it.
    """
    from .encoders._fit_run import runs_in

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: give the run_dir of a fit.")
    runs = [read_run_folder(path, about) for path, about in runs_in(folder)]
    if not runs:
        raise ValueError(f"{folder} holds no run: give the run_dir of a fit.")
    return runs


def read_run_folder(folder: Path, about: dict[str, Any]) -> Run:
    """What a folder tells of its run; checkpoints are read where it has not ended."""
    from .encoders._fit_run import CURRENT, FITTED, PREVIOUS, read_run
    from .training import DamagedFile

    state = "empty"
    for name in (FITTED, CURRENT, PREVIOUS):
        try:
            found = read_run(folder / name)
        except DamagedFile:
            state = "damaged"
            continue
        if found is not None:
            state = "ended" if name == FITTED else "begun"
            return Run(folder, about, state, found["history"], len(found["history"]))
    return Run(folder, about, state, [], 0)


def pick(runs: Sequence[Run], name: str) -> Run:
    """The run that a name begins, or of which it begins the digest."""
    found = [
        run
        for run in runs
        if run.folder.name.startswith(name) or run.about["digest"].startswith(name)
    ]
    if len(found) != 1:
        held = ", ".join(run.folder.name for run in (found or runs))
        which = "no run" if not found else "more than one run"
        raise ValueError(f"{name!r} names {which}: give one of {held}.")
    return found[0]


def print_differences(before: Run, now: Run) -> None:
    """Print how two runs differ, a line each."""
    from .encoders._identity import differences

    lines = differences(flat(before.about["facts"]), flat(now.about["facts"]))
    print("\n".join(lines) or "They have the same identity.")


def flat(facts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Facts by name; those of an encoder are named as its parameters are."""
    named: dict[str, Any] = {}
    for name, value in facts.items():
        name = prefix + name
        if isinstance(value, dict):
            named |= flat(value, f"{name.removesuffix('_identity')}__")
        else:
            named[name] = value
    return named


def prune(runs: Sequence[Run], is_agreed: bool) -> None:
    """Remove runs, after asking."""
    if not runs:
        print("There is nothing to remove.")
        return
    print_table([COLUMNS, *(run.row for run in runs)])
    question = f"Remove {len(runs)}, though a process may be training them? [y/N] "
    if not is_agreed and ask(question).lower() not in ("y", "yes"):
        print("Nothing was removed.")
        return
    for run in runs:
        shutil.rmtree(run.folder)
    print(f"Removed {len(runs)}.")


def ask(question: str) -> str:
    """The answer of a person; nothing where nobody is there."""
    try:
        return input(question)
    except EOFError:
        return ""


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths))
        print("  ".join(cells).rstrip())
