"""One engine for every network: windows in, a trained module and its history out."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from .._typing import AnyArray, IntArray, LazyWindows
from ._batches import BatchIterator, WindowBatches
from ._callbacks import (
    FiniteLoss,
    LearningRate,
    Progress,
    StopEarly,
    StopTraining,
    is_stop,
)
from ._checkpoint import Checkpoint, SaveEpoch
from ._net import LossNet
from ._own_state import own_state
from ._plan import TrainingPlan
from ._rows import is_in_memory

logger = logging.getLogger("sk_cpep")

EpochRecord = dict[str, float]


def train(
    module: nn.Module,
    arrays: Sequence[AnyArray | LazyWindows],
    plan: TrainingPlan,
    *,
    rng: np.random.RandomState,
    groups: AnyArray | None = None,
    valid_rows: IntArray | None = None,
    description: str = "",
    callbacks: Sequence[Any] = (),
    checkpoint: Checkpoint | None = None,
) -> list[EpochRecord]:
    """Train a module whose output is the loss.

    What was decided (device, precision, compiling, where the windows are) is logged
    by the logger ``sk_cpep``, at level INFO.

    Parameters
    ----------
    module : torch.nn.Module
        ``module(*batch, generator=...)`` is the loss of a batch.

    arrays : sequence of array-likes with the same number of rows
        What batches are made of.

    plan : TrainingPlan

    rng : numpy.random.RandomState
        Source of the order of the windows, of masks and of augmentation. (Dropout
        and new weights come from torch's global generator.)

    groups : array of shape (n,), default=None
        Given, a batch holds rows of one group only.

    valid_rows : int array, default=None
        Rows to validate on, with early stopping. None draws them.

    description : str, default=""
        What is being trained, for the progress bar.

    callbacks : sequence of skorch callbacks, default=()
        Each one may be paired with a name.

    checkpoint : Checkpoint, default=None
        Where the run is saved after every epoch, and from where it is resumed.

    Returns
    -------
    history : list of dict
        One an epoch: ``epoch``, ``train_loss``, ``valid_loss`` with early stopping,
        ``lr`` and ``seconds``.

    Raises
    ------
    ValueError
        If there are too few windows for a batch, or the loss is no longer finite.
    """
    windows = WindowBatches(
        *arrays, device=plan.device, dtype=plan.dtype, groups=groups
    )
    n_rows = arrays[0].shape[0]
    if valid_rows is None:
        train_rows, valid_rows = split_rows(n_rows, plan, rng)
    else:
        train_rows = np.setdiff1d(np.arange(n_rows), valid_rows)
    batches = _batches_of(windows, train_rows, plan)
    valid_batches = None
    if valid_rows is not None:
        valid_batches = _batches_of(windows, valid_rows, plan, "to validate on ")
    seed = plan.processes.own_seed(rng.randint(2**31))
    order_rng = np.random.RandomState(rng.randint(2**31))
    _log_beginning(description, arrays, plan, len(batches))
    with own_state(plan.device):
        module.to(plan.device)
        net = LossNet(
            module,
            plan=plan,
            train_batches=batches,
            valid_batches=valid_batches,
            order_rng=order_rng,
            seed=seed,
            callbacks=_callbacks(
                plan, description, len(batches), callbacks, checkpoint
            ),
        )
        _run(net.initialize(), checkpoint or Checkpoint())
        plan.processes.share_weights(module)
    module.eval()
    return [_epoch_record(epoch) for epoch in net.history]


def split_rows(
    n_rows: int, plan: TrainingPlan, rng: np.random.RandomState
) -> tuple[IntArray, IntArray | None]:
    """Rows to train on and rows to validate on (None without early stopping)."""
    if not plan.early_stopping:
        return np.arange(n_rows), None
    n_valid = max(plan.smallest_batch, round(n_rows * plan.validation_fraction))
    if n_rows - n_valid < plan.smallest_batch:
        raise ValueError(
            f"early_stopping with validation_fraction={plan.validation_fraction} "
            f"leaves {n_rows - n_valid} of {n_rows} windows to train on. Give more "
            "windows, or early_stopping=False."
        )
    order = rng.permutation(n_rows)
    return np.sort(order[n_valid:]), np.sort(order[:n_valid])


def _batches_of(
    windows: WindowBatches,
    rows: IntArray,
    plan: TrainingPlan,
    purpose: str = "",
) -> BatchIterator:
    """Batches of some rows, this process's share of each; at least one."""
    batches = BatchIterator(
        windows.of_rows(rows),
        plan.batch_size,
        min_batch=plan.smallest_batch,
        shard=plan.processes.shard,
    )
    if not len(batches):
        raise ValueError(
            f"No batch {purpose}holds {plan.smallest_batch} windows: give more windows, "
            "more of each group, or a larger batch_size."
        )
    return batches


def _callbacks(
    plan: TrainingPlan,
    description: str,
    n_batches: int,
    extra: Sequence[Any],
    checkpoint: Checkpoint | None,
) -> list[Any]:
    callbacks = [LearningRate(), FiniteLoss()]
    if plan.schedule == "cosine":
        period = plan.restart_period or plan.max_epochs
        warm_restarts = LRScheduler(
            CosineAnnealingWarmRestarts,
            step_every="batch",
            event_name=None,
            T_0=period * n_batches,
        )
        callbacks.append(("warm_restarts", warm_restarts))
    callbacks += extra
    if plan.early_stopping:
        stop_early = StopEarly(plan.n_iter_no_change, plan.tol)
        callbacks.append(("stop_early", stop_early))
    if checkpoint is not None:
        callbacks.append(SaveEpoch(checkpoint))
    if plan.verbose and plan.processes.is_main:
        callbacks.append(Progress(description, n_batches))
    return callbacks


def _log_beginning(
    description: str,
    arrays: Sequence[AnyArray | LazyWindows],
    plan: TrainingPlan,
    n_batches: int,
) -> None:
    """Log what is trained, on what and where its windows are."""
    logger.info(
        "Training %s for %d epochs of %d batches, on %s in %s, as process %d of %d.",
        description or "a network",
        plan.max_epochs,
        n_batches,
        plan.device,
        str(plan.dtype).removeprefix("torch."),
        plan.processes.rank,
        plan.processes.size,
    )
    for array in arrays:
        place = "in memory" if is_in_memory(array) else "read while training"
        logger.info("Windows of shape %s are %s.", tuple(array.shape), place)


def _run(net: LossNet, checkpoint: Checkpoint) -> None:
    """Train from the checkpoint on; unlike in skorch's ``fit``, Ctrl-C goes through."""
    data = {"X": net.train_batches.dataset, "y": None}
    checkpoint.begin(net)
    net.notify("on_train_begin", **data)
    checkpoint.resume(net)
    if not checkpoint.has_ended and _was_stopped(net):
        with net.plan.processes.together():
            checkpoint.save(net, has_ended=True)
    net.notify("on_train_end", **data)


def _was_stopped(net: LossNet) -> bool:
    """Train for the epochs that are left; whether a callback ended it before."""
    try:
        net.run_epochs(net.max_epochs - len(net.history))
    except (StopTraining, KeyboardInterrupt) as stop:
        if not is_stop(stop):
            raise
        if "dur" not in net.history[-1]:
            raise RuntimeError(
                "A callback raised StopTraining within an epoch, of which half would "
                "be kept: raise it in on_epoch_end."
            ) from stop
        return True
    return False


def _epoch_record(epoch: dict[str, Any]) -> EpochRecord:
    record = {k: epoch[k] for k in ("epoch", "train_loss", "valid_loss") if k in epoch}
    return record | {"lr": epoch["lr"], "seconds": epoch["dur"]}
