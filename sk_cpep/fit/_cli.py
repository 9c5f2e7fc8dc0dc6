"""The command line: ``python -m sk_cpep fit CONFIG``."""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib

from .._file_identity import is_same, lies_in, refuse_inputs
from .._whole_file import replace_file
from ..encoders import CPEP
from ..training import SingleProcess, resolve_device, resolve_processes
from ._config import FitConfig, read_config
from ._windows import FitWindows, load_windows


def run_fit_command(args: argparse.Namespace) -> int:
    """Fit what the file describes, keep it, and say what came of it."""
    started = time.perf_counter()
    config = read_config(args.config, verbose=0 if args.quiet else 1)
    estimator = config.estimator
    if estimator.run_dir is not None:
        args.interrupted = "interrupted; the same command resumes it"
    processes = resolve_processes(resolve_device(estimator.device))

    def say(line: str) -> None:
        if processes.is_main:
            print(line, flush=True)

    with processes.together():
        if processes.is_main:
            check_output(config)
    windows = load_windows(config.data)
    if not args.quiet:
        say(describe_fit(config, windows, processes))
    fit_windows(config, windows)
    with processes.together():
        if processes.is_main:
            model = BytesIO()
            joblib.dump(estimator, model)
            replace_file(config.model, model.getvalue())
    histories = estimator.history_
    if not isinstance(histories, dict):
        histories = {config.modalities[0]: histories}
    for name, history in histories.items():
        say(describe_history(name, history, windows.n_windows))
    say(f"{config.model}; {time.perf_counter() - started:.0f} s")
    processes.close()
    return 0


def check_output(config: FitConfig) -> None:
    """Find out whether the model can be written before it is learned."""
    path, folder = config.model, config.estimator.run_dir
    refuse_inputs(path, "[output] model", config.inputs)
    if folder is not None:
        check_run_dir(Path(folder), config)
    if path.is_dir():
        raise IsADirectoryError(f"[output] model = {path} is a folder: give a file.")
    if path.exists() and not path.is_file():
        raise ValueError(f"[output] model = {path} is no regular file: give another.")
    if path.exists() and not config.overwrite:
        raise FileExistsError(
            f"[output] model = {path} exists: give another file, or overwrite = true."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
        file.write(b"0")


def check_run_dir(folder: Path, config: FitConfig) -> None:
    """Refuse a folder of runs that holds what is not theirs, or is no folder."""
    key = "[output] run_dir"
    refuse_inputs(folder, key, config.inputs)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{key} = {folder} is a file: give a folder.")
    if is_of_runs(config.model, folder):
        raise ValueError(
            f"[output] model = {config.model} is where {key} = {folder} has its runs: "
            "give another place."
        )


def is_of_runs(path: Path, folder: Path) -> bool:
    """Whether a path is a folder of runs, holds it, or lies in one of its runs."""
    if is_same(path, folder) or lies_in(folder, path):
        return True
    return lies_in(path, folder) and not is_same(path.parent, folder)


def fit_windows(config: FitConfig, windows: FitWindows) -> None:
    """Fit the estimator."""
    estimator, arrays = config.estimator, windows.arrays
    groups = windows.groups, windows.validation_groups
    if isinstance(estimator, CPEP):
        estimator.fit(arrays["emg"], arrays["pose"], *groups)
    else:
        estimator.fit(arrays[config.modalities[0]], None, *groups)


def describe_fit(
    config: FitConfig, windows: FitWindows, processes: SingleProcess
) -> str:
    """What is about to be fitted, in lines."""
    estimator = config.estimator
    shapes = [
        f"{name} {' x '.join(map(str, windows.arrays[name].shape[1:]))}"
        for name in config.modalities
    ]
    lines = [
        f"{type(estimator).__name__} on {windows.n_windows} windows of "
        f"{windows.name} ({', '.join(shapes)})",
        f"{estimator.batch_size} windows a step, on {processes.device}",
    ]
    if processes.size > 1:
        lines[1] += f", shared by {processes.size} processes"
    if estimator.run_dir is not None:
        lines[1] += f"; runs in {estimator.run_dir}"
    return "\n".join(lines)


def describe_history(
    name: str, history: Sequence[Mapping[str, Any]], n_windows: int
) -> str:
    """How a stage of training went, in a line; `n_windows` were seen in each epoch."""
    if not history:
        return f"{name}: not trained"
    seconds = sum(epoch["seconds"] for epoch in history)
    first, last = history[0], history[-1]
    line = (
        f"{name}: loss {first['train_loss']:.4f} to {last['train_loss']:.4f} in "
        f"{len(history)} epochs"
    )
    if "valid_loss" in last:
        best = min(epoch["valid_loss"] for epoch in history)
        line += f", best on windows set aside {best:.4f}"
    return f"{line}; {n_windows * len(history) / seconds:.0f} windows/s"
