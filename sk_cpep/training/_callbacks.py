"""What happens around the epochs of a fit."""

import dis
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from tqdm.auto import tqdm


class StopTraining(Exception):
    """Raised by a callback to end a fit after this epoch, keeping its result."""


def is_stop(error: BaseException) -> bool:
    """Whether an exception ends a fit and keeps its result.

    Besides :class:`StopTraining` it is the KeyboardInterrupt that skorch's
    EarlyStopping raises; not a Ctrl-C that comes while code of skorch runs.
    """
    if isinstance(error, StopTraining):
        return True
    trace = error.__traceback__
    if trace is None or not isinstance(error, KeyboardInterrupt):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "")
    # A signal is handled between other instructions, or within a function in C.
    instruction = dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]]
    return module.startswith("skorch.callbacks.") and instruction == "RAISE_VARARGS"


class LearningRate(Callback):
    """Record the learning rate of each epoch's first batch."""

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        net.history.record("lr", float(net.optimizer_.param_groups[0]["lr"]))


class FiniteLoss(Callback):
    """Stop a fit that diverges, with an error that says so."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        epoch = net.history[-1]
        after = f"after epoch {len(net.history)}"
        if not math.isfinite(epoch["train_loss"]):
            raise ValueError(
                f"Training diverged: the loss is {epoch['train_loss']} {after}. Scale "
                "the input to unit variance (InstanceNorm), or lower lr."
            )
        if not math.isfinite(epoch.get("valid_loss", 0.0)):
            raise ValueError(
                f"Training diverged: the validation loss is {epoch['valid_loss']} "
                f"{after}, the training loss {epoch['train_loss']:.4g}. Look for values "
                "that are far too large among the windows that early_stopping sets "
                "aside, scale the input to unit variance (InstanceNorm), or lower lr."
            )


class StopEarly(Callback):
    """End the fit when the validation loss stops falling; keep the best weights.

    Parameters
    ----------
    patience : int
        Epochs without an improvement by more than `tol` in a row.

    tol : float
    """

    def __init__(self, patience: int, tol: float) -> None:
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.best_loss_ = math.inf
        self.n_bad_ = 0
        self.best_weights_: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        loss = net.history[-1, "valid_loss"]
        self.n_bad_ = 0 if loss < self.best_loss_ - self.tol else self.n_bad_ + 1
        self._keep_best(net)
        if self.n_bad_ >= self.patience:
            raise StopTraining

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self._keep_best(net)  # another callback may have ended the fit before this one
        net.module_.load_state_dict(self.best_weights_)

    def _keep_best(self, net: NeuralNet) -> None:
        loss = net.history[-1, "valid_loss"]
        if loss < self.best_loss_:
            self.best_loss_ = loss
            self.best_weights_ = deepcopy(net.module_.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, and how many have passed since."""
        return {
            "best_loss": self.best_loss_,
            "n_bad": self.n_bad_,
            "best_weights": self.best_weights_,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the state of another fit."""
        self.best_loss_ = state["best_loss"]
        self.n_bad_ = state["n_bad"]
        self.best_weights_ = state["best_weights"]


class Progress(Callback):
    """A bar over the batches of all epochs, with the loss and the time left.

    Parameters
    ----------
    description : str
        What is being trained.

    n_batches : int
        Batches an epoch.
    """

    def __init__(self, description: str, n_batches: int) -> None:
        self.description = description
        self.n_batches = n_batches

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar_ = tqdm(
            total=net.max_epochs * self.n_batches,
            initial=len(net.history) * self.n_batches,
            desc=self.description,
            unit="batch",
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def on_batch_end(self, net: NeuralNet, training: bool, **kwargs: Any) -> None:
        if training:
            self.bar_.update()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        keys = [k for k in ("train_loss", "valid_loss") if k in net.history[-1]]
        losses = {k.replace("_loss", ""): f"{net.history[-1, k]:.4f}" for k in keys}
        epoch = f"{len(net.history)}/{net.max_epochs}"
        self.bar_.set_postfix({"epoch": epoch} | losses)

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar_.close()


class EpochHook(Callback):
    """Tell the estimator of each epoch; it may ask to stop.

    Parameters
    ----------
    begin, end : callables
        Called without arguments around an epoch; ``end()`` that returns True stops.
    """

    def __init__(self, begin: Callable[[], object], end: Callable[[], bool]) -> None:
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.begin()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.end():
            raise StopTraining
