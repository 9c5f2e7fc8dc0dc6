"""The net of a network that several processes train."""

import torch

from ._callbacks import StopTraining, is_stop
from ._net import LossNet

_TOGETHER = ("on_train_begin", "on_epoch_end", "on_train_end")


class SharedNet(LossNet):
    """A :class:`LossNet` that trains on this process's share of every batch.

    All processes take the same steps: gradients are those of the whole batch, losses
    are means over it, and a callback that stops one process after an epoch, or fails
    there, ends the fit in all. Masks, augmentation and dropout differ.

    Parameters
    ----------
    module : torch.nn.Module
        ``module(*batch, generator=...)`` is the loss, the mean over the windows.

    processes : Processes

    **kwargs
        As :class:`LossNet`.
    """

    def __init__(self, module, *, processes, **kwargs):
        super().__init__(module, **kwargs)
        self.processes = processes

    def initialize(self):
        """Begin with the weights of the first process."""
        self.finish_gradients = self._average_gradients
        super().initialize()
        self.processes.share_weights(self.module_)
        return self

    def notify(self, method_name, **kwargs):
        """Call the callbacks; what ends one process there, ends all."""
        if method_name not in _TOGETHER:
            return super().notify(method_name, **kwargs)
        with self.processes.together(is_stop, StopTraining):
            return super().notify(method_name, **kwargs)

    def on_epoch_begin(self, net, **kwargs):
        """Give all but the first process random numbers of their own.

        They follow from seed, process and epoch; so a run that is resumed draws
        the same ones, though only the first process's generators were kept.
        """
        super().on_epoch_begin(net, **kwargs)
        if not self.processes.is_main:
            epoch = len(self.history)
            own = self.processes.own_seed
            self.generator_.manual_seed(own(self.seed, epoch, 0))
            torch.manual_seed(own(self.seed, epoch, 1))

    def train_step(self, batch, **fit_params):
        """Train on a share of a batch."""
        self._count(batch)
        return super().train_step(batch, **fit_params)

    def validation_step(self, batch, **fit_params):
        """Loss of a share of a batch."""
        self._count(batch)
        return super().validation_step(batch, **fit_params)

    def _count(self, batch):
        self._n_share = len(batch[0])
        self._n_windows += self._n_share

    def _average_gradients(self):
        self.processes.average_gradients(self.module_.parameters(), self._n_share)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Train or validate for an epoch; its loss is that of all processes."""
        if iterator is None:
            return
        self._n_windows = 0
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        loss = self.history[-1, f"{prefix}_loss"]
        loss = self.processes.mean(loss, self._n_windows)
        self.history.record(f"{prefix}_loss", loss)
