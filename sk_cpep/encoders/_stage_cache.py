"""Stages of a fit, trained once for all fits that need the same."""

import os
import pickle
import warnings
from contextlib import suppress
from numbers import Integral

import joblib
import torch
from sklearn.utils.validation import check_memory

from .._version import __version__
from ..training import one_fit_at_a_time, resolve_device, resolve_precision

# Parameters that change nothing of what a stage learns, or are known by what they give.
_NOT_LEARNED_FROM = {
    "checkpoint_dir",
    "device",
    "emg_encoder",
    "embedding",
    "memory",
    "pose_encoder",
    "pose_transformer",
    "precision",
    "verbose",
}


class StageCache:
    """What the stages of a fit learned, found again by all that it depends on.

    Parameters
    ----------
    memory : path-like, object with the joblib.Memory interface or None
        None keeps nothing, and looks at nothing.

    estimator : estimator
        That is fitted. Without an int as `random_state` nothing is kept.

    processes : SingleProcess
        That train together: all of them, or none, as the first one finds.
    """

    def __init__(self, memory, estimator, processes):
        fixed = memory is not None and has_fixed_seed(estimator)
        memory = os.fspath(memory) if isinstance(memory, os.PathLike) else memory
        self.memory = check_memory(memory) if fixed else None
        self.processes = processes
        self.in_use = processes.broadcast(fixed)
        self._digests = {}

    def get(self, train, estimator, **inputs):
        """The result of a stage: that of an earlier fit, or trained now and kept.

        Parameters
        ----------
        train : callable
            Called without arguments to train.

        estimator : estimator
            That trains. What it learns depends on its parameters (but for those of
            its estimators).

        **inputs
            What else the result depends on. Arrays are known by their content,
            anything else by what is pickled of it.

        Returns
        -------
        result : object

        Raises
        ------
        TypeError
            If an input or a parameter cannot be pickled.
        """
        if not self.in_use or not has_fixed_seed(estimator):
            return train()
        depends_on = learned_from(estimator) | inputs
        with one_fit_at_a_time():  # another thread may be training just this
            if self.processes.size == 1:
                return self._stored(self._key(depends_on), train)
            return self._shared(depends_on, train)

    def _stored(self, key, train):
        return self.memory.cache(train_stage, ignore=["train"])(key, train)

    def _shared(self, depends_on, train):
        key = found = None
        with self.processes.together(), suppress(Absent):
            if self.processes.is_main:
                key = self._key(depends_on)
                found = self._stored(key, _refuse)
        found = self.processes.broadcast(found)
        if found is not None:
            return found
        result = train()
        return self._stored(key, lambda: result) if self.processes.is_main else result

    def _key(self, depends_on):
        made_by = __version__, torch.__version__, self.processes.size
        digests = {k: self._digest(k, value) for k, value in depends_on.items()}
        return joblib.hash(digests | {"made_by": made_by})

    def _digest(self, name, value):
        """Hash of an input; of one that several stages depend on, computed once."""
        if id(value) not in self._digests:
            # The value is kept as well, for its id to remain its own.
            self._digests[id(value)] = value, content_hash(name, value)
        return self._digests[id(value)][1]


class Absent(Exception):
    """A stage is not in the cache."""


def _refuse():
    raise Absent


def train_stage(key, train):
    """What `train()` returns; the function whose results are kept, by `key` alone."""
    return train()


def has_fixed_seed(estimator):
    """Whether every fit draws the same numbers; a warning if not."""
    if isinstance(estimator.random_state, Integral):
        return True
    warnings.warn(
        f"memory reuses nothing of {type(estimator).__name__} with random_state="
        f"{estimator.random_state}, for no two fits are the same: give an int.",
        UserWarning,
        stacklevel=3,
    )
    return False


def learned_from(estimator):
    """The parameters of an estimator that what it learns depends on.

    Device and precision are what they come to on this machine.
    """
    device = resolve_device(estimator.device)
    dtype = resolve_precision(estimator.precision, device)
    parameters = estimator.get_params(deep=False)
    kept = {k: v for k, v in parameters.items() if k not in _NOT_LEARNED_FROM}
    return kept | {"device": device.type, "precision": str(dtype)}


def content_hash(name, value):
    """Hash of an object by its content, the same in every process."""
    try:
        return joblib.hash(value, coerce_mmap=True)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise TypeError(
            f"memory finds a stage again by what it depends on, but {name}, of type "
            f"{type(value).__name__}, cannot be pickled: {error}. Give arrays or a "
            "WindowArray, callbacks whose classes can be imported, or memory=None."
        ) from error
