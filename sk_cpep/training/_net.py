"""The net that skorch's callbacks see, and the loop of epochs that calls them."""

import logging
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from ._batches import BatchIterator
from ._graph import GraphedStep
from ._plan import TrainingPlan
from ._step import Batch, TrainingStep

logger = logging.getLogger("sk_cpep")

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_ENDED_TOGETHER = ("on_train_begin", "on_epoch_end", "on_train_end")


class LossNet(NeuralNet):
    """A skorch net whose module returns the loss of a batch.

    Of skorch it has what callbacks expect of a net: `module_`, `optimizer_`,
    `callbacks_`, `history`, ``notify`` and ``save_params``. The hooks are called in
    skorch's order and with skorch's arguments. The loop over epochs and batches is
    :meth:`run_epochs`, in place of skorch's: batches arrive on the device, losses are
    read back once an epoch, and processes share the batches. The net predicts nothing,
    so a callback that scores predictions has to be given a function of its own.

    Processes that train together take the same steps: gradients are those of the whole
    batch and losses the means over it. A callback that stops one process after an
    epoch, or fails there, ends the fit in all of them. Masks, augmentation and dropout
    differ between processes.

    Parameters
    ----------
    module : torch.nn.Module
        ``module(*batch, generator=...)`` is the loss, the mean over the windows.

    plan : TrainingPlan

    train_batches : BatchIterator

    valid_batches : BatchIterator, default=None

    order_rng : numpy.random.RandomState
        Source of the order of the windows.

    seed : int, default=0
        Seed of masks and augmentation, on the device.

    callbacks : sequence of skorch callbacks, default=()
        Each one may be paired with a name.

    Attributes
    ----------
    generator_ : torch.Generator
        Source of masks and augmentation, on the device.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        plan: TrainingPlan,
        train_batches: BatchIterator,
        valid_batches: BatchIterator | None = None,
        order_rng: np.random.RandomState,
        seed: int = 0,
        callbacks: Sequence[Any] = (),
    ) -> None:
        super().__init__(
            module,
            criterion=nn.Identity,  # which skorch's Checkpoint saves
            train_split=None,
            callbacks=list(callbacks),
            max_epochs=plan.max_epochs,
            batch_size=plan.batch_size,
            device=str(plan.device),
            verbose=0,
            **_optimizer_parameters(plan),
        )
        self.plan = plan
        self.train_batches = train_batches
        self.train_batches.rng = self.order_rng = order_rng
        self.valid_batches = valid_batches
        self.seed = seed

    @property
    def _default_callbacks(self) -> list[Any]:
        return [("epoch_timer", EpochTimer())]

    def initialize(self) -> Self:
        """Make the optimizer and the generator; take the first process's weights."""
        super().initialize()
        self.generator_ = torch.Generator(self.device).manual_seed(self.seed)
        self.plan.processes.share_weights(self.module_)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call a hook of all callbacks; what ends one process there, ends all."""
        if method_name not in _ENDED_TOGETHER:
            super().notify(method_name, **kwargs)
            return
        with self.plan.processes.together():
            super().notify(method_name, **kwargs)

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Make the step, of the weights and the optimizer as they are now."""
        super().on_train_begin(net, **kwargs)
        self.step_ = TrainingStep(
            self.module_,
            self.optimizer_,
            device=self.plan.device,
            dtype=self.plan.dtype,
            compile=self.plan.compile,
            batch_size=self.train_batches.full_batch,
            gradient_clip=self.plan.gradient_clip,
            finish_gradients=self.plan.processes.average_gradients,
        )
        self.graphed_ = None
        if self.plan.uses_graph:
            self.graphed_ = GraphedStep(self.step_, self.generator_)
            logger.info("Steps of full batches are replayed as a CUDA graph.")
        elif self.plan.compile:
            logger.info(
                "Steps are not replayed as a CUDA graph, which takes one process on a "
                "CUDA device: there are %d on %s.",
                self.plan.processes.size,
                self.plan.device,
            )

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Give all but the first process random numbers of their own.

        They follow from seed, process and epoch, so a run that is resumed draws the
        same ones, though only the first process's generators were saved.
        """
        super().on_epoch_begin(net, **kwargs)
        if not self.plan.processes.is_main:
            epoch = len(self.history)
            own_seed = self.plan.processes.own_seed
            self.generator_.manual_seed(own_seed(self.seed, epoch, 0))
            torch.manual_seed(own_seed(self.seed, epoch, 1))

    def run_epochs(self, n_epochs: int) -> None:
        """Train for so many epochs, each followed by validation if there is any."""
        valid = self.valid_batches
        datasets = {
            "dataset_train": self.train_batches.dataset,
            "dataset_valid": None if valid is None else valid.dataset,
        }
        for _ in range(n_epochs):
            self.notify("on_epoch_begin", **datasets)
            self._run_epoch(self.train_batches, training=True)
            if valid is not None:
                state = self.generator_.get_state()
                self.generator_.manual_seed(self.seed)  # the same masks every epoch
                self._run_epoch(valid, training=False)
                self.generator_.set_state(state)
            self.notify("on_epoch_end", **datasets)

    def _run_epoch(self, batches: BatchIterator, training: bool) -> None:
        """Train on batches or validate, and record the mean loss of a window."""
        self._set_training(training)
        step = self.train_step if training else self.validation_step
        # A tensor a batch, kept to the end, would cut the heap into pieces too small
        # for the next batch: memory would grow with the windows.
        losses = torch.empty(len(batches), dtype=torch.float32, device=self.device)
        sizes: list[int] = []
        for batch in batches:
            self.notify("on_batch_begin", batch=batch, training=training)
            losses[len(sizes)] = loss = step(batch)
            sizes.append(len(batch[0]))
            self.notify(
                "on_batch_end", batch=batch, training=training, loss=loss, y_pred=None
            )
        mean = float(np.average(losses.cpu().double().numpy(), weights=sizes))
        mean = self.plan.processes.mean(mean, sum(sizes))
        self.history.record("train_loss" if training else "valid_loss", mean)

    def train_step(self, batch: Batch) -> Tensor:
        """Train on a batch; its loss before the step, on the device.

        Callbacks hear of the gradients, except of steps that are replayed as a whole.
        """
        if self.graphed_ is not None:
            return self.graphed_(batch)
        loss = self.step_.backward(batch, self.generator_)
        self.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        self.step_.update()
        return loss

    def validation_step(self, batch: Batch) -> Tensor:
        """Loss of a batch, on the device, without gradients."""
        with torch.no_grad():
            return self.step_.loss(batch, self.generator_)


def _optimizer_parameters(plan: TrainingPlan) -> dict[str, Any]:
    """The optimizer, as skorch is told of it."""
    lr: float | Tensor = plan.lr
    if plan.uses_graph:  # the rate is read from the device at every replay
        lr = torch.tensor(plan.lr, dtype=torch.float32, device=plan.device)
    return {
        "optimizer": _OPTIMIZERS[plan.optimizer],
        "lr": lr,
        "optimizer__capturable": plan.uses_graph,
        "optimizer__weight_decay": plan.weight_decay,
        "optimizer__fused": plan.device.type in ("cpu", "cuda"),
        "optimizer__param_groups": [("*log_scale", {"weight_decay": 0.0})],
    }
