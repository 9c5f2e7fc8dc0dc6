"""The folder in which a fit leaves what the next one needs to go on."""

import io
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback

from .._version import __version__
from .._whole_file import check_writable, replace_file
from ._run_state import (
    begin_from,
    go_on_from,
    pack_generator,
    run_state,
    unpack_generator,
)

CURRENT, PREVIOUS, START = "checkpoint.pt", "previous.pt", "start.pt"
_FORMAT = 1


class NoCheckpoint:
    """A fit that leaves nothing on disk, and begins at the beginning.

    Attributes
    ----------
    has_ended : bool
        Whether the run that goes on here was ended by early stopping or a callback.
    """

    has_ended = False

    def begin(self, net):
        """Bring a net to where the run was left; before ``on_train_begin``."""

    def go_on(self, net):
        """The same for what is made in ``on_train_begin``."""

    def save(self, net, has_ended=False):
        """Leave the run as it is after this epoch."""


class Checkpoint(NoCheckpoint):
    """The state of a run after its last epoch, in a folder.

    That of the epoch before is kept too: ``checkpoint.pt`` and ``previous.pt``, each
    of them whole or not there at all, whenever the process is killed.

    Parameters
    ----------
    folder : path-like

    processes : SingleProcess
        That train together: the first one reads and writes.
    """

    def __init__(self, folder, processes):
        self.folder = Path(folder)
        self.processes = processes
        self._saved = None
        self._is_current_whole = True
        self._seen = None

    def open(self, identify, max_epochs):
        """Look for a run to go on with.

        Parameters
        ----------
        identify : callable
            Called without arguments, in the first process, for what the result of the
            run depends on: plain values by name.

        max_epochs : int
            Epochs in all.

        Returns
        -------
        checkpoint : Checkpoint
            This one.

        Raises
        ------
        OSError
            If the folder cannot be made or read.

        ValueError
            If it holds a run of something else, a longer one, or one that cannot be
            read.
        """
        with self.processes.together():
            if self.processes.is_main:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._identity = identify()
                self._seen = stamp(self.folder / CURRENT)
                self._saved = self._find(max_epochs)
        self._saved = self.processes.broadcast(self._saved)
        self.has_ended = self._saved is not None and self._saved["has_ended"]
        return self

    def confirm(self, identify):
        """Add to what the result depends on, where it is known only later.

        Parameters
        ----------
        identify : callable
            As for :meth:`open`.

        Raises
        ------
        ValueError
            If it is not what the run that goes on here was begun with.
        """
        with self.processes.together():
            if self.processes.is_main:
                facts = identify()
                self._identity |= facts
                if self._saved is not None:
                    check_identity(self.folder, self._saved["identity"], facts)

    def _find(self, max_epochs):
        """The state that this run was left in, or None."""
        path, state = self._read_last()
        if state is None:
            return None
        check_identity(self.folder, state["identity"], self._identity)
        n_epochs = len(state["history"])
        if n_epochs > max_epochs:
            raise ValueError(
                f"checkpoint_dir={str(self.folder)!r} holds a run of {n_epochs} epochs, "
                f"which cannot end at max_epochs={max_epochs}: give max_epochs="
                f"{n_epochs} or more, or another checkpoint_dir."
            )
        warn_of_version(path, state)
        return state

    def _read_last(self):
        """The last file that can be read and its state, (None, None) without any."""
        damaged = []
        for path in (self.folder / CURRENT, self.folder / PREVIOUS):
            if not path.exists():
                continue
            try:
                state = read_state(path)
            except DamagedFile as error:
                damaged.append(str(error))
                continue
            if damaged:
                self._is_current_whole = False
                warnings.warn(
                    f"{damaged[0]}: the fit goes on from {path}, an epoch earlier.",
                    UserWarning,
                    stacklevel=2,
                )
            return path, state
        if damaged:
            raise ValueError(
                f"{' and '.join(damaged)}, and there is nothing else to go on from. "
                "Bring back an intact copy; or, to begin anew, remove the folder or "
                "give another checkpoint_dir."
            )
        return None, None

    def begin(self, net):
        if self._saved is not None:
            begin_from(net, self._saved)

    def go_on(self, net):
        if self._saved is not None:
            go_on_from(net, self._saved)
        self._saved = None

    def save(self, net, has_ended=False):
        """Leave the run as it is after this epoch.

        Raises
        ------
        OSError
            If it cannot be written; what was left before is still there then.

        ValueError
            If another fit has left something there meanwhile.
        """
        if not self.processes.is_main:
            return
        state = {"identity": self._identity, "has_ended": has_ended, **run_state(net)}
        path = self.folder / CURRENT
        if path.exists() and stamp(path) != self._seen:
            raise ValueError(
                f"Another fit has written {path} meanwhile: give each a checkpoint_dir "
                "of its own."
            )
        # What is damaged must not take the place of the last that is whole.
        previous = self.folder / PREVIOUS if self._is_current_whole else None
        write_state(path, state, previous)
        self._is_current_whole = True
        self._seen = stamp(path)


def stamp(path):
    """What tells a file from those before it of the same name; None without one."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


class SaveEpoch(Callback):
    """Leave a checkpoint after every epoch.

    Parameters
    ----------
    checkpoint : Checkpoint
    """

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    def on_epoch_end(self, net, **kwargs):
        self.checkpoint.save(net)


def first_generator(folder, rng):
    """The generator that a run begins with, the same in every fit that goes on.

    Parameters
    ----------
    folder : path-like

    rng : numpy.random.RandomState
        What it is in the first fit, which leaves its state in ``start.pt``.

    Returns
    -------
    rng : numpy.random.RandomState
        In later fits another one than was given, which is left alone.

    Raises
    ------
    OSError
        If the folder cannot be read or written.

    ValueError
        If what the first fit left is damaged.
    """
    path = Path(folder) / START
    if not path.exists():
        write_state(path, {"random": pack_generator(rng)})
        return rng
    try:
        state = read_state(path)
    except DamagedFile as error:
        raise ValueError(
            f"{error}; without an int as random_state, no fit can go on without it. "
            "Bring back an intact copy; or, to begin anew, remove the folder or give "
            "another checkpoint_dir."
        ) from error
    rng = np.random.RandomState()
    rng.set_state(unpack_generator(state["random"]))
    return rng


def check_folder(folder):
    """Find out whether a folder can be made and written; raise the OSError if not."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder)


def check_identity(folder, saved, now):
    """Refuse to go on with a run of other parameters or data, naming them."""
    differing = [
        f"{name} was {saved.get(name)}, now {now[name]}"
        for name in now
        if saved.get(name) != now[name]
    ]
    if differing:
        raise ValueError(
            f"checkpoint_dir={str(folder)!r} holds a run of other parameters or data: "
            f"{'; '.join(differing)}. To go on with it, give what was given before; to "
            "begin another, give another checkpoint_dir."
        )


def warn_of_version(path, state):
    """Warn where the result will be of two versions."""
    if state["sk_cpep"] != __version__:
        warnings.warn(
            f"{path} was written by sk_cpep {state['sk_cpep']}, and {__version__} goes "
            "on from it: the result is of neither alone.",
            UserWarning,
            stacklevel=2,
        )


class DamagedFile(Exception):
    """A file is there, but not as it was written."""


def write_state(path, state, previous=None):
    """Write tensors and plain values to a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "sk_cpep": __version__, **state}, buffer)
    try:
        replace_file(path, buffer.getbuffer(), previous)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise


def read_state(path):
    """Read a file of :func:`write_state`.

    Raises
    ------
    DamagedFile
        If it is not as it was written.

    ValueError
        If something else, or another version, wrote it.
    """
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise zipfile.BadZipFile(f"bad checksum of {wrong}")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what is damaged may fail in any way
        raise DamagedFile(f"{path} is damaged") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        version = state.get("sk_cpep") if isinstance(state, dict) else None
        writer = "something else" if version is None else f"sk_cpep {version}"
        raise ValueError(
            f"{path}, written by {writer}, is nothing that sk_cpep {__version__} can go "
            "on from: give another checkpoint_dir."
        )
    return state
