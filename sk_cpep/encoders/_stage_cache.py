"""Stages of a fit, trained once for all fits that need the same."""

import hashlib
import os
import pickle
import warnings
from contextlib import suppress
from numbers import Integral

import joblib
import torch
from joblib.memory import NotMemorizedResult
from sklearn.utils.validation import check_memory

from .._version import __version__
from ..training import one_fit_at_a_time, resolve_device, resolve_precision
from ._checkpoint_dir import windows_fact
from ._windows import is_lazy

_FORMAT = "sealed"  # how a result is kept

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
            What else the result depends on: see :func:`content_hash`.

        Returns
        -------
        result : object

        Warns
        -----
        UserWarning
            If what was kept is damaged: the stage is trained anew.

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
        cached = self.memory.cache(train_stage, ignore=["train"])
        return find_or_train(cached, _Stage(key, train))

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
        made_by = _FORMAT, __version__, torch.__version__, self.processes.size
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


class _Stage:
    """A stage that is trained when it is called.

    Attributes
    ----------
    has_begun : bool
        Whether it was called.

    result : object
        Of the training.
    """

    def __init__(self, key, train):
        self.key = key
        self.train = train
        self.has_begun = False

    def __call__(self):
        self.has_begun = True
        self.result = self.train()
        return seal(self.key, self.result)


def find_or_train(cached, stage):
    """The result of a stage that is kept, or trained now and kept.

    Parameters
    ----------
    cached : callable
        What the ``cache`` of a joblib.Memory made of :func:`train_stage`.

    stage : _Stage

    Returns
    -------
    result : object
    """
    kept = cached
    try:
        kept = look_up(cached, stage)
        if not stage.has_begun:
            return unseal(stage.key, kept.get())
    except Exception:  # what is damaged may fail in any way
        if stage.has_begun:
            raise
        warnings.warn(
            f"{place_of(kept)}, kept by memory, is damaged or cannot be read: the "
            "stage is trained anew.",
            UserWarning,
            stacklevel=2,
        )
        train_anew(cached, kept, stage)
    return stage.result


def look_up(cached, stage):
    """A reference to what is kept of a stage, which is trained if there is nothing."""
    if hasattr(cached, "call_and_shelve"):
        return cached.call_and_shelve(stage.key, stage)
    return NotMemorizedResult(cached(stage.key, stage))


def train_anew(cached, kept, stage):
    """Train a stage, and keep it in place of what is damaged, where that can be."""
    try:
        kept.clear()
        look_up(cached, stage)
    except Exception:
        if stage.has_begun:
            raise
    if not stage.has_begun:
        stage()


def place_of(kept):
    """Path of the file of a reference; of anything else, how it shows itself."""
    try:
        parts = kept.store_backend.location, kept.func_id, kept.args_id, "output.pkl"
        return os.path.join(*parts)
    except (AttributeError, TypeError):
        return repr(kept)


def seal(key, result):
    """A result as bytes, with a checksum of them and of the key."""
    content = pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    return {"checksum": digest(key, content), "content": content}


def unseal(key, sealed):
    """The result of :func:`seal`; nothing is unpickled that is not as it was written.

    Raises
    ------
    ValueError
        If it was altered, or is that of another key.
    """
    content = sealed["content"]
    if sealed["checksum"] != digest(key, content):
        raise ValueError("the checksum does not match.")
    return pickle.loads(content)


def digest(key, content):
    """Checksum of a result and of the key that it is kept by."""
    return hashlib.blake2b(content, key=key.encode(), digest_size=32).hexdigest()


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
    """Hash of an object by its content, the same in every process.

    Arrays, also those on disk, are known by all of it, anything else by what is pickled
    of it: of a WindowArray that is its source, with stamps of the files that it reads.
    Of other lazy windows some are looked at besides.
    """
    has_source = hasattr(value, "source") or not is_lazy(value)
    some = None if has_source else windows_fact(value)
    try:
        return joblib.hash((value, some), coerce_mmap=True)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise TypeError(
            f"memory finds a stage again by what it depends on, but {name}, of type "
            f"{type(value).__name__}, cannot be pickled: {error}. Give arrays or a "
            "WindowArray, callbacks whose classes can be imported, or memory=None."
        ) from error
