"""The skorch net of every network: a module whose output is the loss."""

import numpy as np
import torch
from skorch import NeuralNet
from skorch.utils import TeeGenerator

from ._graph import GraphedStep
from ._step import TrainingStep


class LossNet(NeuralNet):
    """A net that trains a module which returns the loss of a batch.

    Differs from :class:`skorch.NeuralNet` in what would cost time in every batch:
    batches arrive on the device, and losses are read back once an epoch.

    Parameters
    ----------
    module : torch.nn.Module
        ``module(*batch, generator=...)`` is the loss, a scalar tensor.

    dtype : torch.dtype, default=torch.float32
        Type of the matrix products.

    seed : int, default=0
        Seed of masks and augmentation, on the device.

    compile_step, full_batch, gradient_clip, finish_gradients
        See :class:`TrainingStep`; `full_batch` is its `batch_size`.

    graph : bool, default=False
        Whether steps are replayed as a CUDA graph; the optimizer is capturable then.

    **kwargs
        As :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module,
        *,
        dtype=torch.float32,
        seed=0,
        compile_step=False,
        full_batch=None,
        gradient_clip=None,
        finish_gradients=None,
        graph=False,
        **kwargs,
    ):
        super().__init__(module, criterion=torch.nn.Identity, **kwargs)
        self.dtype = dtype
        self.seed = seed
        self.compile_step = compile_step
        self.full_batch = full_batch
        self.gradient_clip = gradient_clip
        self.finish_gradients = finish_gradients
        self.graph = graph

    def initialize(self):
        """Make module, optimizer and the generators of masks and augmentation."""
        super().initialize()
        self.generator_ = torch.Generator(self.device).manual_seed(self.seed)
        return self

    def on_train_begin(self, net, **kwargs):
        """Make the step, of the weights and the optimizer as they are now."""
        super().on_train_begin(net, **kwargs)
        self.step_ = TrainingStep(
            self.module_,
            self.optimizer_,
            device=torch.device(self.device),
            dtype=self.dtype,
            compile=self.compile_step,
            batch_size=self.full_batch,
            gradient_clip=self.gradient_clip,
            finish_gradients=self.finish_gradients,
        )
        self.graphed_ = GraphedStep(self.step_, self.generator_) if self.graph else None

    def train_step(self, batch, **fit_params):
        """Train on a batch: a list of tensors on the device.

        Callbacks hear of the gradients, except of steps that are replayed as a whole.
        """
        if self.graphed_ is not None:
            return {"loss": self.graphed_(batch), "y_pred": None}
        loss = self.step_.backward(batch, self.generator_)
        self.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        self.step_.update()
        return {"loss": loss, "y_pred": None}

    def validation_step(self, batch, **fit_params):
        """Loss of a batch, without gradients."""
        with torch.no_grad():
            return {"loss": self.step_.loss(batch, self.generator_), "y_pred": None}

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Train or validate for an epoch, and record the mean loss of a window.

        Validation draws the same masks in every epoch.
        """
        if iterator is None:
            return
        self._set_training(training)
        if not training:
            state = self.generator_.get_state()
            self.generator_.manual_seed(self.seed)
        # A tensor a batch, kept to the end, would cut the heap into pieces too small
        # for the next batch: memory would grow with the windows.
        n, sizes = len(iterator), []
        losses = torch.empty(n, dtype=torch.float32, device=self.device)
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            losses[len(sizes)] = step["loss"]
            sizes.append(len(batch[0]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if not training:
            self.generator_.set_state(state)
        losses = losses.cpu().double().numpy()
        self.history.record(f"{prefix}_loss", float(np.average(losses, weights=sizes)))
