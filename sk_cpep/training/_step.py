"""A step of training in mixed precision: from a batch to new weights, on the device."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import clip_grad_norm_

from ._objectives import Objective

logger = logging.getLogger("sk_cpep")

Batch: TypeAlias = list[Tensor]


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
        Type of the matrix products. The module's parameters are the master weights:
        they, their gradients and what the optimizer keeps are float32 all the same.

    compile : bool, default=False
        Compile what can be, for batches of `batch_size`; smaller ones are computed
        without.

    batch_size : int, default=None
        Windows of a full batch. None is the size of the first one.

    gradient_clip : float, default=None
        Largest norm of the gradient.

    finish_gradients : callable, default=None
        Called with the parameters and the number of windows when the gradients are
        there, before they are clipped: to average them over processes.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
        batch_size: int | None = None,
        gradient_clip: float | None = None,
        finish_gradients: Callable[[Iterable[nn.Parameter], int], None] | None = None,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.device = device
        self.batch_size = batch_size
        self.gradient_clip = gradient_clip
        self.finish_gradients = finish_gradients
        self.computation: Computation | None = None
        self._autocast_dtype = dtype
        if isinstance(module, Objective):
            copies_weights = dtype != torch.float32 and module.half_weights
            if copies_weights:
                self._autocast_dtype = torch.float32
            if copies_weights or compile:
                compute_dtype = dtype if copies_weights else torch.float32
                self.computation = Computation(module, compute_dtype)
        self._compiled: Callable[..., Tensor] | None = None
        self._has_run = False
        if compile and self.computation is not None:
            self._compiled = torch.compile(self.computation.loss, dynamic=False)
        self._log(dtype, compile)

    def _log(self, dtype: torch.dtype, compile: bool) -> None:
        if dtype != torch.float32:
            by_autocast = self._autocast_dtype == dtype
            way = "autocast" if by_autocast else "copies of float32 master weights"
            logger.info("Mixed precision: %s by %s.", dtype, way)
        if self._compiled is not None:
            logger.info("Steps of full batches are compiled.")
        elif compile:
            logger.info(
                "Steps are not compiled: %s is no Objective, of which a part can be.",
                type(self.module).__name__,
            )

    def loss(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Loss of a batch: a list of tensors on the device."""
        if self.computation is None or not self.computation.copies_weights:
            batch = [x.float() for x in batch]
        with autocast(self._autocast_dtype, self.device):
            if self.computation is None:
                return self.module(*batch, generator=generator)
            drawn = self.computation.objective.draw(*batch, generator=generator)
            compiled = self._compiled if self.module.training else None
            if compiled is None or not self.is_full(batch):
                return self.computation.loss(*drawn)
            if self._has_run:
                return compiled(*drawn)
            self._has_run = True
            with warnings.catch_warnings():  # advice to be less exact
                warnings.filterwarnings("ignore", "TensorFloat32 tensor", UserWarning)
                return compiled(*drawn)

    def is_full(self, batch: Batch) -> bool:
        """Whether a batch has as many windows as a full one."""
        self.batch_size = self.batch_size or len(batch[0])
        return len(batch[0]) == self.batch_size

    def backward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
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
        self.zero_grad()
        loss = self.loss(batch, generator)
        torch.autograd.backward(loss)
        if self.computation is not None:
            self.computation.copy_gradients_to_master()
        if self.finish_gradients is not None:
            self.finish_gradients(self.module.parameters(), len(batch[0]))
        return loss.detach()

    def zero_grad(self) -> None:
        """Free the gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.computation is not None:
            self.computation.zero_copied_grad()

    def update(self) -> None:
        """Let the optimizer use the gradients."""
        if self.gradient_clip is not None:
            clip_grad_norm_(self.module.parameters(), self.gradient_clip)
        self.optimizer.step()
        if isinstance(self.module, Objective):
            self.module.constrain()
        if self.computation is not None:
            self.computation.copy_master_weights()

    def __call__(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Train on a batch; its loss before the step, on the device."""
        loss = self.backward(batch, generator)
        self.update()
        return loss


class Computation(nn.Module):
    """What of an objective follows from what was drawn: ``compute``.

    With another type than float32, every step computes with copies of the master
    weights: nothing has to be converted within the step, and its gradients are in that
    type too.

    Parameters
    ----------
    objective : Objective

    dtype : torch.dtype
        Type of the weights that are computed with. The objective's `float32_weights`
        are not copied.
    """

    def __init__(self, objective: Objective, dtype: torch.dtype) -> None:
        super().__init__()
        self.objective = objective
        self._master: list[Tensor] = []
        self._copies: dict[str, Tensor] = {}
        named = chain(objective.named_parameters(), objective.named_buffers())
        for name, weight in named if dtype != torch.float32 else ():
            is_kept = name.startswith(objective.float32_weights)
            if weight.is_floating_point() and not is_kept:
                copy = weight.detach().to(dtype).requires_grad_(weight.requires_grad)
                self._copies[f"objective.{name}"] = copy
                self._master.append(weight)

    @property
    def copies_weights(self) -> bool:
        """Whether copies of the weights are computed with."""
        return bool(self._copies)

    def forward(self, *drawn: Tensor) -> Tensor:
        """The objective's loss, of what it drew."""
        return self.objective.compute(*drawn)

    def loss(self, *drawn: Tensor) -> Tensor:
        """The objective's loss, computed with the copies."""
        if not self._copies:
            return self(*drawn)
        return functional_call(self, self._copies, drawn)

    def zero_copied_grad(self) -> None:
        """Free the gradients of the copies."""
        for copy in self._copies.values():
            copy.grad = None

    @torch.no_grad()
    def copy_gradients_to_master(self) -> None:
        """Give the gradients of the copies to the master weights, as float32."""
        masters, gradients = [], []
        for weight, copy in zip(self._master, self._copies.values()):
            if copy.grad is not None:
                if weight.grad is None:
                    weight.grad = torch.empty_like(weight)
                masters.append(weight.grad)
                gradients.append(copy.grad)
        if gradients:
            torch._foreach_copy_(masters, gradients)

    @torch.no_grad()
    def copy_master_weights(self) -> None:
        """Bring the copies up to date."""
        if self._copies:
            torch._foreach_copy_(list(self._copies.values()), self._master)


@contextmanager
def autocast(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Context in which matrix products run in `dtype`; float32 changes nothing.

    Weights are converted once inside, and anew the next time: PyTorch by itself keeps
    what it converted for as long as it is within another such context.
    """
    if dtype == torch.float32:
        yield
        return
    try:
        with torch.autocast(device.type, dtype=dtype):
            yield
    finally:
        torch.clear_autocast_cache()
