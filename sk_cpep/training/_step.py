"""A step of training: from a batch to new weights, without a word to the host."""

import warnings

import torch
from torch.nn.utils import clip_grad_norm_

from ._device import autocast
from ._precision import Computation


class TrainingStep:
    """Zero the gradients, forward, backward, optimizer; the loss stays on the device.

    Parameters
    ----------
    module : torch.nn.Module
        ``module(*batch, generator=...)`` is the loss of a batch. An
        :class:`Objective` can also be compiled, and computed on weights in bfloat16.

    optimizer : torch.optim.Optimizer
        Of the module's parameters.

    device : torch.device

    dtype : torch.dtype, default=torch.float32
        Type of the matrix products. The module's parameters, their gradients and
        what the optimizer keeps are float32 all the same.

    compile : bool, default=False
        Compile what can be, for batches of `batch_size`; smaller ones are computed
        without.

    batch_size : int, default=None
        Windows of a full batch. None is the size of the first one.

    gradient_clip : float, default=None
        Largest norm of the gradient.

    finish_gradients : callable, default=None
        Called without arguments when the gradients are there, before they are
        clipped: to average them over processes.
    """

    def __init__(
        self,
        module,
        optimizer,
        *,
        device,
        dtype=torch.float32,
        compile=False,
        batch_size=None,
        gradient_clip=None,
        finish_gradients=None,
    ):
        self.module = module
        self.optimizer = optimizer
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.gradient_clip = gradient_clip
        self.finish_gradients = finish_gradients
        can_split = hasattr(module, "compute")
        half_weights = dtype != torch.float32 and getattr(module, "half_weights", False)
        self._half_weights = half_weights
        self.computation = None
        if can_split and (compile or half_weights):
            self.computation = Computation(
                module, dtype if half_weights else torch.float32
            )
        self._autocast_dtype = torch.float32 if half_weights else dtype
        self._compiled, self._has_run = None, False
        if compile and can_split:
            self._compiled = torch.compile(self.computation.loss, dynamic=False)

    def loss(self, batch, generator):
        """Loss of a batch: a list of tensors on the device."""
        if not self._half_weights:
            batch = [x.float() for x in batch]
        with autocast(self._autocast_dtype, self.device):
            if self.computation is None:
                return self.module(*batch, generator=generator)
            drawn = self.module.draw(*batch, generator=generator)
            compiled = self._compiled is not None and self.module.training
            if compiled and self.is_full(batch):
                return self._run_compiled(*drawn)
            return self.computation.loss(*drawn)

    def _run_compiled(self, *drawn):
        """What is compiled at the first call; without advice to be less exact."""
        if self._has_run:
            return self._compiled(*drawn)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
            self._has_run = True
            return self._compiled(*drawn)

    def is_full(self, batch):
        """Whether a batch has as many windows as a full one."""
        self.batch_size = self.batch_size or len(batch[0])
        return len(batch[0]) == self.batch_size

    def backward(self, batch, generator):
        """Loss of a batch, and its gradients in ``parameter.grad``.

        Parameters
        ----------
        batch : list of tensors on the device

        generator : torch.Generator
            Source of masks and augmentation, on the device.

        Returns
        -------
        loss : scalar tensor, on the device
        """
        self.forget_gradients()
        loss = self.loss(batch, generator)
        loss.backward()
        if self.computation is not None:
            self.computation.collect()
        if self.finish_gradients is not None:
            self.finish_gradients()
        return loss.detach()

    def forget_gradients(self):
        """Free the gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.computation is not None:
            self.computation.forget_gradients()

    def update(self):
        """Let the optimizer use the gradients."""
        if self.gradient_clip is not None:
            clip_grad_norm_(self.module.parameters(), self.gradient_clip)
        self.optimizer.step()
        if hasattr(self.module, "constrain"):
            self.module.constrain()
        if self.computation is not None:
            self.computation.refresh()

    def __call__(self, batch, generator):
        """Train on a batch; its loss before the step, on the device."""
        loss = self.backward(batch, generator)
        self.update()
        return loss
