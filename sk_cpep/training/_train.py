"""One engine for every network: optimizer, schedule, whole batches."""

from dataclasses import dataclass

import numpy as np
import torch
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from ._batches import BatchIterator, WindowBatches
from ._callbacks import FiniteLoss, LearningRate, Progress, StopEarly, StopTraining
from ._net import LossNet

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained; the defaults are the paper's (section 4.2).

    `restart_period` (epochs from one warm restart of the learning rate to the next)
    is not given there; None is `max_epochs`. `optimizer` is "adamw" or "adam",
    `schedule` "cosine" (with warm restarts) or "constant"; `gradient_clip` is the
    largest norm of the gradient, None does not clip.
    """

    lr: float = 1e-4
    weight_decay: float = 1e-5
    optimizer: str = "adamw"
    schedule: str = "cosine"
    gradient_clip: float | None = None
    batch_size: int = 256
    max_epochs: int = 100
    restart_period: int | None = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    min_batch: int = 1
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    verbose: int = 0


def train(
    module,
    arrays,
    plan,
    *,
    rng,
    groups=None,
    valid_rows=None,
    description="",
    callbacks=(),
):
    """Train a module whose output is the loss.

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

    Returns
    -------
    history : list of dict
        One an epoch: ``epoch``, ``train_loss``, ``valid_loss`` with early stopping,
        ``lr`` and ``seconds``.
    """
    common = {"device": plan.device, "groups": groups}
    n_rows = arrays[0].shape[0]
    if valid_rows is None:
        train_rows, valid_rows = split_rows(n_rows, plan, rng)
    else:
        train_rows = np.setdiff1d(np.arange(n_rows), valid_rows)
    batches = WindowBatches(*arrays, rows=train_rows, **common)
    valid = None
    if valid_rows is not None:
        valid = predefined_split(WindowBatches(*arrays, rows=valid_rows, **common))
    n_batches = len(BatchIterator(batches, plan.batch_size, None, plan.min_batch))
    if n_batches == 0:
        raise ValueError(
            f"No batch holds {plan.min_batch} windows: give more windows, or more of "
            "each group."
        )
    net = LossNet(
        module.to(plan.device),
        dtype=plan.dtype,
        seed=rng.randint(2**31),
        max_epochs=plan.max_epochs,
        batch_size=plan.batch_size,
        iterator_train=BatchIterator,
        iterator_train__rng=np.random.RandomState(rng.randint(2**31)),
        iterator_train__min_batch=plan.min_batch,
        iterator_valid=BatchIterator,
        iterator_valid__min_batch=plan.min_batch,
        train_split=valid,
        callbacks=_callbacks(plan, description, n_batches, callbacks),
        callbacks__print_log=None,
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        device=str(plan.device),
        verbose=0,
        **_optimizer(plan),
    ).initialize()
    _run(net, batches)
    module.eval()
    return [_epoch_record(epoch) for epoch in net.history]


def split_rows(n_rows, plan, rng):
    """Rows to train on and rows to validate on (none without early stopping)."""
    if not plan.early_stopping:
        return np.arange(n_rows), None
    n_valid = max(plan.min_batch, round(n_rows * plan.validation_fraction))
    if n_rows - n_valid < plan.min_batch:
        raise ValueError(
            f"early_stopping with validation_fraction={plan.validation_fraction} "
            f"leaves {n_rows - n_valid} of {n_rows} windows to train on. Give more "
            "windows, or early_stopping=False."
        )
    order = rng.permutation(n_rows)
    return np.sort(order[n_valid:]), np.sort(order[:n_valid])


def _optimizer(plan):
    return {
        "optimizer": OPTIMIZERS[plan.optimizer],
        "lr": plan.lr,
        "optimizer__weight_decay": plan.weight_decay,
        "optimizer__fused": plan.device.type in ("cpu", "cuda"),
        "optimizer__param_groups": [("*log_scale", {"weight_decay": 0.0})],
    }


def _callbacks(plan, description, n_batches, extra):
    callbacks = [LearningRate(), FiniteLoss()]
    if plan.schedule == "cosine":
        callbacks.append(
            _warm_restarts(plan.restart_period or plan.max_epochs, n_batches)
        )
    if plan.gradient_clip is not None:
        callbacks.append(GradientNormClipping(plan.gradient_clip))
    callbacks += extra
    if plan.early_stopping:
        callbacks.append(StopEarly(plan.n_iter_no_change, plan.tol))
    if plan.verbose:
        callbacks.append(Progress(description, n_batches))
    return callbacks


def _warm_restarts(period, n_batches):
    return LRScheduler(
        CosineAnnealingWarmRestarts,
        step_every="batch",
        event_name=None,
        T_0=period * n_batches,
    )


def _run(net, batches):
    """As ``net.fit``, but Ctrl-C is not swallowed: it ends the whole fit."""
    net.notify("on_train_begin", X=batches, y=None)
    try:
        net.fit_loop(batches)
    except StopTraining:
        pass
    except KeyboardInterrupt as stop:
        if not _raised_by_skorch(stop):
            raise
    net.notify("on_train_end", X=batches, y=None)


def _raised_by_skorch(stop):
    """The EarlyStopping of skorch raises KeyboardInterrupt too."""
    trace = stop.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("skorch.callbacks")


def _epoch_record(epoch):
    record = {k: epoch[k] for k in ("epoch", "train_loss", "valid_loss") if k in epoch}
    return record | {"lr": epoch["lr"], "seconds": epoch["dur"]}
