"""The skorch net of every network: a module whose output is the loss."""

import numpy as np
import torch
from skorch import NeuralNet

from ._device import autocast


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

    **kwargs
        As :class:`skorch.NeuralNet`.
    """

    def __init__(self, module, *, dtype=torch.float32, seed=0, **kwargs):
        super().__init__(module, criterion=torch.nn.Identity, **kwargs)
        self.dtype = dtype
        self.seed = seed

    def initialize(self):
        """Make module, optimizer and the generators of masks and augmentation."""
        super().initialize()
        self.generator_ = torch.Generator(self.device).manual_seed(self.seed)
        return self

    def infer(self, x, **fit_params):
        """Loss of a batch: a list of tensors on the device."""
        with autocast(self.dtype, torch.device(self.device)):
            return self.module_(*x, generator=self.generator_)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The module's output is the loss."""
        return y_pred

    def train_step_single(self, batch, **fit_params):
        """Forward and backward of a batch."""
        loss = self.infer(batch)
        loss.backward()
        return {"loss": loss.detach(), "y_pred": None}

    def validation_step(self, batch, **fit_params):
        """Loss of a batch, without gradients."""
        with torch.no_grad():
            return {"loss": self.infer(batch), "y_pred": None}

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
        losses, sizes = [], []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            losses.append(step["loss"])
            sizes.append(len(batch[0]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if not training:
            self.generator_.set_state(state)
        losses = torch.stack(losses).cpu().double().numpy()
        self.history.record(f"{prefix}_loss", float(np.average(losses, weights=sizes)))
