"""The command line: ``python -m sk_cpep fit CONFIG``."""

import tempfile
import time
from io import BytesIO
from pathlib import Path

import joblib

from .._file_identity import is_same, lies_in, refuse_inputs
from .._whole_file import replace_file
from ..training import resolve_device, resolve_processes
from ._config import read_config
from ._windows import load_windows


def run_fit_command(args):
    """Fit what the file describes, keep it, and say what came of it."""
    started = time.perf_counter()
    config = read_config(args.config, verbose=0 if args.quiet else 1)
    estimator = config.estimator
    if estimator.run_dir is not None:
        args.interrupted = "interrupted; the same command resumes it"
    processes = resolve_processes(resolve_device(estimator.device))
    say = print_now if processes.is_main else say_nothing
    with processes.together():
        if processes.is_main:
            check_output(config)
    windows = load_windows(config.data)
    if not args.quiet:
        say(describe_fit(config, windows, processes))
    fit_windows(config, windows)
    with processes.together():
        if processes.is_main:
            replace_file(config.model, dumped(estimator))
    histories = estimator.history_
    if config.modality is not None:
        histories = {config.modality: histories}
    for name, history in histories.items():
        say(describe_history(name, history, first_of(windows).shape[0]))
    say(f"{config.model}; {time.perf_counter() - started:.0f} s")
    processes.close()
    return 0


def print_now(line):
    """Print a line at once."""
    print(line, flush=True)


def say_nothing(line):
    """Print nothing: another process does."""


def check_output(config):
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


def check_run_dir(folder, config):
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


def is_of_runs(path, folder):
    """Whether a path is a folder of runs, holds it, or lies in one of its runs."""
    if is_same(path, folder) or lies_in(folder, path):
        return True
    return lies_in(path, folder) and not is_same(path.parent, folder)


def fit_windows(config, windows):
    """Fit the estimator."""
    groups = windows.groups, windows.validation_groups
    if config.modality is None:
        config.estimator.fit(windows.emg, windows.pose, *groups)
    else:
        config.estimator.fit(windows[config.modality], None, *groups)


def dumped(estimator):
    """A fitted estimator as joblib writes it."""
    buffer = BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def first_of(windows):
    """EMG, or the pose where there is none."""
    return windows.pose if windows.emg is None else windows.emg


def describe_fit(config, windows, processes):
    """What is about to be fitted, in lines.

    Parameters
    ----------
    config : FitConfig

    windows : Bunch
        Of :func:`load_windows`.

    processes : SingleProcess
    """
    estimator = config.estimator
    names = ["emg", "pose"] if config.modality is None else [config.modality]
    shapes = [
        f"{name} {' x '.join(map(str, windows[name].shape[1:]))}" for name in names
    ]
    lines = [
        f"{type(estimator).__name__} on {first_of(windows).shape[0]} windows of "
        f"{windows.name} ({', '.join(shapes)})",
        f"{estimator.batch_size} windows a step, on {processes.device}",
    ]
    if processes.size > 1:
        lines[1] += f", shared by {processes.size} processes"
    if estimator.run_dir is not None:
        lines[1] += f"; runs in {estimator.run_dir}"
    return "\n".join(lines)


def describe_history(name, history, n_windows):
    """How a stage of training went, in a line.

    Parameters
    ----------
    name : str

    history : list of dict
        An epoch each; none, if the stage was not trained.

    n_windows : int
        Windows an epoch.
    """
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
