"""A stage of training, in a folder of its own: trained, resumed, or already there."""

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from .._file_identity import stamp
from .._typing import PathLike
from .._version import __version__
from .._whole_file import check_writable, remove_stale_drafts, replace_file
from ..training import (
    Checkpoint,
    DamagedFile,
    TrainingPlan,
    begin_from,
    one_fit_at_a_time,
    pack_generator,
    read_state,
    resume_from,
    run_state,
    train,
    unpack_generator,
    write_state,
)
from ._identity import FitIdentity, differences, digest_of_facts

logger = logging.getLogger("sk_cpep")

CURRENT, PREVIOUS, FITTED = "checkpoint.pt", "previous.pt", "fitted.pt"
ABOUT = "run.json"

State: TypeAlias = dict[str, Any]


class FitRun:
    """The training of one network.

    With a `run_dir`, it has a folder there, which is named after its identity. A
    training that ended there is taken from it, one that was interrupted is resumed,
    and anything else begins beside what is there.

    Parameters
    ----------
    estimator : estimator
        Its `run_dir` is None, or the folder of all runs.

    plan : TrainingPlan

    identity : FitIdentity

    stage : str, default=None
        With which the folder's name begins. None is the name of the class.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """

    def __init__(
        self,
        estimator: Any,
        plan: TrainingPlan,
        identity: FitIdentity,
        stage: str | None = None,
    ) -> None:
        self.identity = identity
        self.plan = plan
        self.folder: RunFolder | None = None
        if estimator.run_dir is None:
            return
        if not os.fspath(estimator.run_dir):
            raise ValueError("run_dir is empty: give a folder, or None for none.")
        if estimator.random_state is None:
            warnings.warn(
                "run_dir finds a fit again by its seed, but random_state=None of "
                f"{type(estimator).__name__} gives another one each time: give an int.",
                UserWarning,
                stacklevel=3,
            )
        stage = stage or type(estimator).__name__.lower()
        self.folder = RunFolder(estimator.run_dir, stage, plan, identity)

    def train(
        self,
        objective: torch.nn.Module,
        read_arrays: Callable[[], list[Any]],
        *,
        rng: np.random.RandomState,
        finish: Callable[[list[dict[str, Any]]], None] = lambda history: None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Train a network, or give it the weights of the run that ended here.

        Parameters
        ----------
        objective : Objective
            It holds the network.

        read_arrays : callable
            Called without arguments, if it is trained, for what batches are made of.

        rng : numpy.random.RandomState
            Afterwards it is as if it had been drawn from, though nothing was trained.

        finish : callable
            Called with the history of a training, to add to it before it is kept.

        **options
            As of :func:`~sk_cpep.training.train`.

        Returns
        -------
        history : list of dict
            One an epoch.
        """
        folder = self.folder
        if folder is None:
            history = train(objective, read_arrays(), self.plan, rng=rng, **options)
            finish(history)
            return history
        with one_fit_at_a_time():  # another thread may be training just this
            fitted = folder.find()
            if fitted is not None:
                objective.load_state_dict(fitted["weights"])
                objective.eval()
                rng.set_state(unpack_generator(fitted["random"]))
                return fitted["history"]
            history = train(
                objective,
                read_arrays(),
                self.plan,
                rng=rng,
                checkpoint=folder,
                **options,
            )
            finish(history)
            folder.end(objective, history, rng)
            return history


class RunFolder(Checkpoint):
    """The folder of a run: what it is, its last epochs, and what came of it.

    Parameters
    ----------
    run_dir : path-like
        Folder of all runs.

    stage : str

    plan : TrainingPlan

    identity : FitIdentity
    """

    def __init__(
        self, run_dir: PathLike, stage: str, plan: TrainingPlan, identity: FitIdentity
    ) -> None:
        self.stage = stage
        self.plan = plan
        self.processes = plan.processes
        self.identity = identity
        self.folder = Path(run_dir, f"{stage}-{identity.digest[:16]}")
        with self.processes.together():
            if self.processes.is_main and not (self.folder / FITTED).exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                check_writable(self.folder)

    def find(self) -> State | None:
        """The state in which the run ended; else prepare to resume it or to begin."""
        found: tuple[State | None, State | None] = None, None
        with self.processes.together():
            if self.processes.is_main:
                found = self._look()
        fitted, self._saved = self.processes.broadcast(found)
        self.has_ended = self._saved is not None and self._saved["has_ended"]
        return fitted

    def _look(self) -> tuple[State | None, State | None]:
        """The state in which a run ended, and that in which it was left."""
        remove_stale_drafts(self.folder)
        self._seen = stamp(self.folder / CURRENT)
        self._is_current_whole = True
        try:
            fitted = read_run(self.folder / FITTED, self.identity)
        except DamagedFile as error:
            fitted = None
            warn(f"{error}: the fit is trained anew, or from its last checkpoint.")
        if fitted is not None:
            logger.info("%s: taken from %s", self.identity, self.folder)
            return fitted, None
        saved = self._read_last() or self._read_shorter()
        if saved is None:
            self._begin_beside()
        else:
            n_epochs = len(saved["history"])
            logger.info(
                "%s: resumed after epoch %d in %s", self.identity, n_epochs, self.folder
            )
        self._describe()
        return None, saved

    def _read_last(self) -> State | None:
        """The last checkpoint that can be read, None where there is no file."""
        damaged = []
        for path in (self.folder / CURRENT, self.folder / PREVIOUS):
            try:
                state = read_run(path, self.identity)
            except DamagedFile as error:
                damaged.append(str(error))
                continue
            if state is not None:
                if damaged:
                    self._is_current_whole = False
                    warn(
                        f"{damaged[0]}: the fit is resumed from {path}, an epoch earlier."
                    )
                return state
        if damaged:
            raise ValueError(
                f"{' and '.join(damaged)}, and there is no other checkpoint to resume. "
                f"Bring back an intact copy; or, to train anew, remove {self.folder}."
            )
        return None

    def _read_shorter(self) -> State | None:
        """The checkpoint of the longest run of fewer epochs of the same training."""
        if self.identity.lineage is None:
            return None
        shorter = (
            folder
            for folder, about in runs_in(self.folder.parent, self.stage)
            if about["lineage"] == self.identity.lineage
            and about["max_epochs"] < self.plan.max_epochs
        )
        states = filter(None, map(read_checkpoint, shorter))
        return max(states, key=lambda state: len(state["history"]), default=None)

    def _begin_beside(self) -> None:
        """Say what is begun; warn of a run that is not resumed because of this machine."""
        logger.info("%s: begun in %s", self.identity, self.folder)
        now = dict(self.identity.facts)
        for folder, about in runs_in(self.folder.parent, self.stage):
            before = about["facts"]
            differing = {n for n in {*now, *before} if now.get(n) != before.get(n)}
            if "ended" in about or not differing:
                continue
            if differing <= set(self.identity.resolved):
                warn(
                    f"The run that was begun in {folder} is not resumed, for "
                    f"{' and '.join(differences(before, now))} on this machine. To "
                    "resume it, give what it was begun with instead of 'auto'."
                )

    def _describe(self, **more: Any) -> None:
        """Write what is done here, for people and for :func:`runs_in`."""
        path = self.folder / ABOUT
        about = read_about(path) or {
            "stage": self.stage,
            "digest": self.identity.digest,
            "lineage": self.identity.lineage,
            "max_epochs": self.plan.max_epochs,
            "facts": dict(self.identity.facts),
            "sk_cpep": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "host": socket.gethostname(),
            "begun": now_in_words(),
        }
        text = json.dumps(about | more, indent=2)
        replace_file(path, text.encode())

    def begin(self, net: Any) -> None:
        """Bring a net to where the run was left; before ``on_train_begin``."""
        if self._saved is not None:
            begin_from(net, self._saved)

    def resume(self, net: Any) -> None:
        """The same for what is made in ``on_train_begin``."""
        if self._saved is not None:
            resume_from(net, self._saved)
        self._saved = None

    def save(self, net: Any, has_ended: bool = False) -> None:
        """Leave the run as it is after this epoch.

        Raises
        ------
        OSError
            If it cannot be written; what was left before is still there then.
        """
        if not self.processes.is_main or self._is_behind(net, has_ended):
            return
        state = {
            "identity": dict(self.identity.facts),
            "has_ended": has_ended,
            **run_state(net),
        }
        # What is damaged must not take the place of the last file that is whole.
        previous = self.folder / PREVIOUS if self._is_current_whole else None
        write_state(self.folder / CURRENT, state, previous)
        self._is_current_whole = True
        self._seen = stamp(self.folder / CURRENT)

    def _is_behind(self, net: Any, has_ended: bool) -> bool:
        """Whether another process, which trains the same, has left a later epoch."""
        found = stamp(self.folder / CURRENT)
        if found == self._seen:
            return False
        self._seen = found
        try:
            other = read_run(self.folder / CURRENT)
        except DamagedFile:
            other = None
        if other is None:
            return (self.folder / FITTED).exists()
        n_epochs, n_others = len(net.history), len(other["history"])
        return n_others > n_epochs or (n_others == n_epochs and not has_ended)

    def end(
        self,
        objective: torch.nn.Module,
        history: list[dict[str, Any]],
        rng: np.random.RandomState,
    ) -> None:
        """Leave weights and history; the checkpoint stays if a longer fit can use it."""
        with self.processes.together():
            if self.processes.is_main:
                fitted = {
                    "identity": dict(self.identity.facts),
                    "weights": dict(objective.state_dict()),
                    "history": history,
                    "random": pack_generator(rng),
                }
                write_state(self.folder / FITTED, fitted)
                self._describe(ended=now_in_words(), n_epochs=len(history))
                (self.folder / PREVIOUS).unlink(missing_ok=True)
                if self.identity.lineage is None:
                    (self.folder / CURRENT).unlink(missing_ok=True)


def warn(message: str) -> None:
    """Warn of what was found in a `run_dir`."""
    warnings.warn(message, UserWarning, stacklevel=2)


def now_in_words() -> str:
    """Date and time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_run(path: Path, identity: FitIdentity | None = None) -> State | None:
    """The state in a file of a run; None where there is no file.

    Raises
    ------
    DamagedFile
        If it cannot be read, or is of another run.

    Warns
    -----
    UserWarning
        If another version of the package wrote it.
    """
    try:
        state = read_state(path)
    except FileNotFoundError:
        return None
    if identity is not None and digest_of_facts(state["identity"]) != identity.digest:
        raise DamagedFile(f"{path} is of another fit")
    if identity is not None and state["sk_cpep"] != __version__:
        warn(
            f"{path} was written by sk_cpep {state['sk_cpep']}, and {__version__} uses "
            "it: the result is of neither alone."
        )
    return state


def read_checkpoint(folder: Path) -> State | None:
    """The last checkpoint of a run that can be read; None where there is none."""
    for name in (CURRENT, PREVIOUS):
        with suppress(DamagedFile):
            if state := read_run(folder / name):
                return state
    return None


def read_about(path: Path) -> State | None:
    """What a run says of itself; None where it cannot be read."""
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    keys = {"stage", "digest", "lineage", "max_epochs", "facts", "begun"}
    return about if isinstance(about, dict) and keys <= about.keys() else None


def runs_in(folder: Path, stage: str = "*") -> list[tuple[Path, dict[str, Any]]]:
    """The runs in a folder that say what they are, in the order of their names."""
    found = (
        (p.parent, read_about(p)) for p in sorted(folder.glob(f"{stage}-*/{ABOUT}"))
    )
    return [(path, about) for path, about in found if about is not None]
