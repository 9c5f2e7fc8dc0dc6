"""What processes that train together must have been given alike."""

from numbers import Number
from os import PathLike

import joblib
import numpy as np

from ..training import fetch_rows
from ._checkpoint_dir import evenly_spaced, starting_generator
from ._persistence import weights_of

_N_LOOKED_AT = 16
_MAY_DIFFER = {"callbacks", "device", "memory", "verbose"}


def start_alike(estimator, plan, **inputs):
    """The random numbers of a fit, the same in all processes that train together.

    Parameters
    ----------
    estimator : estimator
        That is about to be fitted.

    plan : TrainingPlan

    **inputs
        Arrays that it is fitted to, and what else all must have alike.

    Returns
    -------
    rng : numpy.random.RandomState
        As `random_state` gives it in the first process; for a run that goes on in
        `checkpoint_dir`, as it was when that began.

    Raises
    ------
    ValueError
        If the processes were given different things.
    """
    plan.processes.check_same(
        f"{type(estimator).__name__}.fit",
        lambda: (
            parameter_facts(estimator)
            | {name: array_fact(value) for name, value in inputs.items()}
        ),
    )
    return plan.processes.same_generator(starting_generator(estimator, plan))


def parameter_facts(estimator):
    """Parameters by name, in a form that can be compared between processes."""
    return {
        name: fact(value)
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] not in _MAY_DIFFER
    }


def fact(value):
    """A value as it is, or what there is to be told of it."""
    if hasattr(value, "module_"):
        checksum = joblib.hash(weights_of(value.module_))[:8]
        return f"a fitted {type(value).__name__}, checksum {checksum}"
    if isinstance(value, np.ndarray):
        return array_fact(value)
    if isinstance(value, (list, tuple)):
        return [fact(item) for item in value]
    if isinstance(value, PathLike):
        return str(value)
    if value is None or isinstance(value, (str, Number, np.generic)):
        return value
    return type(value).__qualname__


def array_fact(array):
    """Shape and a checksum of some windows of an array-like, in words."""
    if array is None:
        return None
    rows = evenly_spaced(array.shape[0], _N_LOOKED_AT)
    some = array[rows] if isinstance(array, np.ndarray) else fetch_rows(array, rows)
    return f"of shape {tuple(array.shape)}, checksum {joblib.hash(some)[:8]}"
