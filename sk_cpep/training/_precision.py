"""Weights in half precision to compute with, over float32 ones that learn."""

from itertools import chain

import torch
from torch import nn
from torch.func import functional_call


class Computation(nn.Module):
    """What of an objective follows from what was drawn: ``compute``.

    Parameters
    ----------
    objective : Objective

    dtype : torch.dtype, default=torch.float32
        Type of the weights that are computed with. Those that learn stay float32.
        The objective's `float32_weights` are not converted.

    Notes
    -----
    With another type than float32, every step computes with copies of the weights:
    nothing has to be converted within the step, and its gradients are in that type
    too. :meth:`collect` hands them to the weights that learn, :meth:`refresh` brings
    the copies up to date.
    """

    def __init__(self, objective, dtype=torch.float32):
        super().__init__()
        self.objective = objective
        self._learning, self._copies = [], {}
        if dtype != torch.float32:
            self._copy_weights(dtype)

    def _copy_weights(self, dtype):
        named = chain(self.objective.named_parameters(), self.objective.named_buffers())
        for name, weight in named:
            is_kept = name.startswith(self.objective.float32_weights)
            if weight.is_floating_point() and not is_kept:
                copy = weight.detach().to(dtype).requires_grad_(weight.requires_grad)
                self._copies[name] = copy
                self._learning.append(weight)

    def forward(self, *drawn):
        """The objective's loss, of what it drew."""
        return self.objective.compute(*drawn)

    def loss(self, *drawn):
        """The objective's loss, computed with the copies."""
        if not self._copies:
            return self(*drawn)
        copies = {f"objective.{name}": copy for name, copy in self._copies.items()}
        return functional_call(self, copies, drawn)

    def forget_gradients(self):
        """Free the gradients of the copies."""
        for copy in self._copies.values():
            copy.grad = None

    @torch.no_grad()
    def collect(self):
        """Hand the gradients of the copies to the weights that learn, as float32."""
        pairs = zip(self._learning, self._copies.values())
        pairs = [(w, c) for w, c in pairs if c.grad is not None]
        for weight, _ in pairs:
            if weight.grad is None:
                weight.grad = torch.empty_like(weight)
        if pairs:
            weights, copies = zip(*pairs)
            torch._foreach_copy_([w.grad for w in weights], [c.grad for c in copies])

    @torch.no_grad()
    def refresh(self):
        """Bring the copies up to date."""
        if self._copies:
            torch._foreach_copy_(list(self._copies.values()), self._learning)
