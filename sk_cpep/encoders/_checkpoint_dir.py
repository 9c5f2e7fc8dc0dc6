"""`checkpoint_dir`: which run a folder holds, and what random numbers it began with."""

import zlib
from dataclasses import asdict
from numbers import Integral
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from ..training import (
    Checkpoint,
    check_folder,
    fetch_rows,
    first_generator,
    is_in_memory,
)
from ._persistence import weights_of

_N_LOOKED_AT = 256
_BLOCK_BYTES = 2**26

# Parameters that the result does not depend on, or that are known by what they give.
_NOT_COMPARED = {
    "callbacks",
    "checkpoint_dir",
    "compile",
    "device",
    "embedding",
    "emg_encoder",
    "max_epochs",
    "memory",
    "pose_encoder",
    "pose_transformer",
    "random_state",
    "verbose",
}


def starting_generator(estimator, plan):
    """`random_state` as a generator, in the state in which the run began.

    An int says what that is. For anything else, the first fit keeps it in
    `checkpoint_dir`, which is found out here to be one that can be written.

    Parameters
    ----------
    estimator : estimator
        About to be fitted, nothing drawn yet.

    plan : TrainingPlan

    Returns
    -------
    rng : numpy.random.RandomState
    """
    rng = check_random_state(estimator.random_state)
    if estimator.checkpoint_dir is None:
        return rng
    with plan.processes.together():
        if plan.processes.is_main:
            check_folder(estimator.checkpoint_dir)
            if not isinstance(estimator.random_state, Integral):
                rng = first_generator(estimator.checkpoint_dir, rng)
    return rng


def open_checkpoint(
    estimator,
    plan,
    rng,
    *,
    stage="",
    groups=None,
    validation_groups=None,
    facts=None,
    **data,
):
    """The checkpoint of a run that is about to begin, or to go on.

    Parameters
    ----------
    estimator : estimator
        With its parameters, `checkpoint_dir` among them.

    plan : TrainingPlan

    rng : numpy.random.RandomState
        All that the run draws follows from it.

    stage : str, default=""
        Folder within `checkpoint_dir`, where a fit has several runs.

    groups, validation_groups : array of shape (n_windows,), default=None
        The latter count with early stopping only.

    facts : dict, default=None
        What else the result depends on, by name; plain values.

    **data
        The arrays that are trained on, by name.

    Returns
    -------
    checkpoint : Checkpoint or None
        None without a `checkpoint_dir`.

    Raises
    ------
    ValueError
        If the folder holds a run of other parameters or data, a longer one, or one
        that cannot be read.
    """
    if estimator.checkpoint_dir is None:
        return None

    set_aside = validation_groups if plan.early_stopping else None

    def identify():
        return (
            {"estimator": type(estimator).__name__}
            | parameters_of(estimator)
            | {"random_state": seed_fact(estimator.random_state, rng)}
            | {name: plain_fact(value) for name, value in (facts or {}).items()}
            | {name: windows_fact(array) for name, array in data.items()}
            | {"groups": groups_fact(groups)}
            | {"validation_groups": groups_fact(set_aside)}
        )

    checkpoint = Checkpoint(Path(estimator.checkpoint_dir, stage), plan.processes)
    return checkpoint.open(identify, plan.max_epochs)


def parameters_of(estimator):
    """The parameters that a result depends on, by name, as plain values."""
    parameters = estimator.get_params(deep=False)
    return {k: plain_fact(v) for k, v in parameters.items() if k not in _NOT_COMPARED}


def encoder_facts(name, mae, is_trained):
    """What is known of an encoder before it is trained, by name."""
    facts = asdict(mae.config_)
    if is_trained:
        facts["max_epochs"] = mae.max_epochs
    return {f"{name}__{fact}": value for fact, value in facts.items()}


def weights_fact(module):
    """A checksum of the weights of a module, in words."""
    weights = weights_of(module)
    return f"of checksum {checksum(weights[name] for name in sorted(weights))}"


def seed_fact(random_state, rng):
    """An int as it is, a generator by its state."""
    if isinstance(random_state, Integral):
        return int(random_state)
    _, keys, position, *_ = rng.get_state()
    return f"a generator of checksum {checksum([keys, np.array([position])])}"


def plain_fact(value):
    """A parameter as a plain value that can be compared."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_fact(item) for item in value]
    if isinstance(value, PathLike):
        return fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return type(value).__qualname__


def windows_fact(array):
    """Shape and a checksum of windows, of all that are in memory, else of some."""
    shape = tuple(int(n) for n in array.shape)
    if is_in_memory(array):
        step = max(1, _BLOCK_BYTES // (4 * max(1, int(np.prod(shape[1:])))))
        blocks = (array[start : start + step] for start in range(0, shape[0], step))
        blocks = (np.asarray(block, dtype=np.float32) for block in blocks)
        return f"of shape {shape}, checksum {checksum(blocks)}"
    rows = evenly_spaced(shape[0], _N_LOOKED_AT)
    some = checksum([fetch_rows(array, rows)])
    return f"of shape {shape}, checksum {some} of {len(rows)} windows"


def evenly_spaced(n_rows, most):
    """Numbers of at most so many of the rows."""
    return np.linspace(0, n_rows - 1, min(n_rows, most)).round().astype(int)


def groups_fact(groups):
    """Which rows are of one group, in words."""
    if groups is None:
        return None
    names, members = np.unique(groups, return_inverse=True)
    return f"{len(names)} of checksum {checksum([members.astype(np.int64)])}"


def checksum(arrays):
    """Checksum of the content of arrays, one after the other."""
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array), total)
    return f"{total:08x}"
