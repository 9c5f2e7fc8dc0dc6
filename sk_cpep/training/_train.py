"""One engine for every network: optimizer, schedule, whole batches."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

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
from ._distributed import SingleProcess
from ._net import LossNet
from ._own_state import own_state
from ._shared_net import SharedNet

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained; the defaults are the paper's (section 4.2).

    `restart_period` (epochs from one warm restart of the learning rate to the next)
    is not given there; None is `max_epochs`. `optimizer` is "adamw" or "adam",
    `schedule` "cosine" (with warm restarts) or "constant"; `gradient_clip` is the
    largest norm of the gradient, None does not clip; `compile` compiles the step.
    `processes` train together, `batch_size` windows a step among them.
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
    compile: bool = False
    processes: SingleProcess = SingleProcess()
    verbose: int = 0

    @property
    def smallest_batch(self):
        """Windows of the smallest batch that is trained on: one a process, or more."""
        return max(self.min_batch, self.processes.size)


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
    checkpoint=None,
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

    checkpoint : Checkpoint, default=None
        Where the run is left after every epoch, and resumed from.

    Returns
    -------
    history : list of dict
        One an epoch: ``epoch``, ``train_loss``, ``valid_loss`` with early stopping,
        ``lr`` and ``seconds``.
    """
    windows = WindowBatches(
        *arrays, device=plan.device, dtype=plan.dtype, groups=groups
    )
    n_rows = arrays[0].shape[0]
    if valid_rows is None:
        train_rows, valid_rows = split_rows(n_rows, plan, rng)
    else:
        train_rows = np.setdiff1d(np.arange(n_rows), valid_rows)
    batches = windows.of_rows(train_rows)
    cut = {"min_batch": plan.smallest_batch, "shard": plan.processes.shard}
    n_batches = count_batches(batches, plan, cut)
    valid = None
    if valid_rows is not None:
        valid_batches = windows.of_rows(valid_rows)
        count_batches(valid_batches, plan, cut, "to validate on ")
        valid = predefined_split(valid_batches)
    with own_state(plan.device):
        module.to(plan.device)
    net = _net_class(plan)(
        module,
        dtype=plan.dtype,
        compile_step=plan.compile,
        full_batch=BatchIterator(batches, plan.batch_size, **cut).full_batch,
        gradient_clip=plan.gradient_clip,
        graph=uses_graph(plan),
        seed=plan.processes.own_seed(rng.randint(2**31)),
        max_epochs=plan.max_epochs,
        batch_size=plan.batch_size,
        iterator_train=BatchIterator,
        iterator_train__rng=np.random.RandomState(rng.randint(2**31)),
        iterator_valid=BatchIterator,
        **{f"iterator_train__{name}": value for name, value in cut.items()},
        **{f"iterator_valid__{name}": value for name, value in cut.items()},
        train_split=valid,
        callbacks=_callbacks(plan, description, n_batches, callbacks, checkpoint),
        callbacks__print_log=None,
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        device=str(plan.device),
        verbose=0,
        **_optimizer(plan),
    )
    with own_state(plan.device):
        _run(net.initialize(), batches, checkpoint or Checkpoint(), plan.processes)
        plan.processes.share_weights(module)
    module.eval()
    return [_epoch_record(epoch) for epoch in net.history]


def count_batches(windows, plan, cut, purpose=""):
    """Batches an epoch; an error if there is none."""
    n_batches = len(BatchIterator(windows, plan.batch_size, **cut))
    if n_batches == 0:
        raise ValueError(
            f"No batch {purpose}holds {plan.smallest_batch} windows: give more windows, "
            "more of each group, or a larger batch_size."
        )
    return n_batches


def split_rows(n_rows, plan, rng):
    """Rows to train on and rows to validate on (none without early stopping)."""
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


def uses_graph(plan):
    """Whether whole steps are replayed as a CUDA graph; not what processes share."""
    on_gpu = plan.device.type == "cuda"
    return plan.compile and on_gpu and plan.processes.size == 1


def _net_class(plan):
    if plan.processes.size == 1:
        return LossNet
    return partial(SharedNet, processes=plan.processes)


def _optimizer(plan):
    graph = uses_graph(plan)  # the rate is read from the device at every replay
    return {
        "optimizer": OPTIMIZERS[plan.optimizer],
        "lr": _on_device(plan.lr, plan.device) if graph else plan.lr,
        "optimizer__capturable": graph,
        "optimizer__weight_decay": plan.weight_decay,
        "optimizer__fused": plan.device.type in ("cpu", "cuda"),
        "optimizer__param_groups": [("*log_scale", {"weight_decay": 0.0})],
    }


def _on_device(number, device):
    return torch.tensor(number, dtype=torch.float32, device=device)


def _callbacks(plan, description, n_batches, extra, checkpoint):
    callbacks = [LearningRate(), FiniteLoss()]
    if plan.schedule == "cosine":
        period = plan.restart_period or plan.max_epochs
        callbacks.append(("warm_restarts", _warm_restarts(period, n_batches)))
    callbacks += extra
    if plan.early_stopping:
        stop_early = StopEarly(plan.n_iter_no_change, plan.tol)
        callbacks.append(("stop_early", stop_early))
    if checkpoint is not None:
        callbacks.append(SaveEpoch(checkpoint))
    if plan.verbose and plan.processes.is_main:
        callbacks.append(Progress(description, n_batches))
    return callbacks


def _warm_restarts(period, n_batches):
    return LRScheduler(
        CosineAnnealingWarmRestarts,
        step_every="batch",
        event_name=None,
        T_0=period * n_batches,
    )


def _run(net, batches, checkpoint, processes):
    """As ``net.fit``, from the checkpoint on; Ctrl-C is not swallowed."""
    checkpoint.begin(net)
    net.notify("on_train_begin", X=batches, y=None)
    checkpoint.resume(net)
    if not checkpoint.has_ended and _was_stopped(net, batches):
        with processes.together():
            checkpoint.save(net, has_ended=True)
    net.notify("on_train_end", X=batches, y=None)


def _was_stopped(net, batches):
    """Train for the epochs that are left; whether a callback ended it before."""
    try:
        net.fit_loop(batches, epochs=net.max_epochs - len(net.history))
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


def _epoch_record(epoch):
    record = {k: epoch[k] for k in ("epoch", "train_loss", "valid_loss") if k in epoch}
    return record | {"lr": epoch["lr"], "seconds": epoch["dur"]}
