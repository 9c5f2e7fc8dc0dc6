"""The contrastive loss beside that of open_clip."""

import math

import torch
from torch.nn import functional as F

from sk_cpep.nn import info_nce

from ..timing import in_turn, median_rate, seconds_of
from ._peers import is_installed, load_clip_loss

WIDTH = 256
SCALE = 50.0
MIN_SECONDS = 0.1  # of a measurement
NEEDS_OPEN_CLIP = "not installed: pip install --no-deps open_clip_torch"


class Contrast:
    """A loss of pairs of embeddings, and its gradients.

    Parameters
    ----------
    loss : callable
        Of ``u`` and ``v``, (B, D) of unit length, and of a scale.

    n_pairs : int

    device : torch.device
    """

    def __init__(self, loss, n_pairs, device):
        self.loss, self.device = loss, device
        generator = torch.Generator().manual_seed(0)
        u, v = torch.randn(2, n_pairs, WIDTH, generator=generator).to(device)
        self.u = F.normalize(u, dim=1).requires_grad_()
        self.v = F.normalize(u + 4 * v, dim=1).requires_grad_()
        log_scale = torch.tensor(math.log(SCALE), device=device)
        self.log_scale = log_scale.requires_grad_()
        self.step()
        once = seconds_of(self.step, device)
        self.n_steps = max(1, round(MIN_SECONDS / once))

    def step(self):
        """Forward and backward pass; the loss."""
        self.u.grad = self.v.grad = self.log_scale.grad = None
        loss = self.loss(self.u, self.v, self.log_scale.exp())
        loss.backward()
        return loss.detach()

    def results(self):
        """The loss, and its gradients of embeddings and scale."""
        return self.step(), self.u.grad, self.v.grad, self.log_scale.grad

    def __call__(self):
        """Seconds of a step."""

        def steps():
            for _ in range(self.n_steps):
                self.step()

        return seconds_of(steps, self.device) / self.n_steps


def measure_contrast(table, device, sizes, repeats):
    """Rows and ratios of both losses, in pairs per second.

    Parameters
    ----------
    table : Table

    device : torch.device

    sizes : list of int
        Pairs in a batch.

    repeats : int
    """
    differences = table.figures.setdefault("info_nce differs from ClipLoss by", {})
    for n_pairs in sizes:
        ours, peer = f"info_nce, {n_pairs} pairs", f"ClipLoss, {n_pairs} pairs"
        jobs = {ours: Contrast(info_nce, n_pairs, device)}
        if is_installed("open_clip"):
            jobs[peer] = Contrast(load_clip_loss()(), n_pairs, device)
            differences[str(n_pairs)] = difference(*jobs.values())
        seconds = in_turn(jobs, repeats)
        for name, times in seconds.items():
            table.add(name, median_rate(n_pairs, times), unit="pairs/s")
        table.add_speed(seconds, ours, peer)
        if peer not in jobs:
            table.add(peer, None, NEEDS_OPEN_CLIP)
    if differences:
        table.remark(
            "Loss and gradients of info_nce differ from those of ClipLoss by "
            f"{max(differences.values()):.1e} of the largest at most."
        )


def difference(job, peer):
    """Largest difference of loss and gradients, over the largest entry of each."""
    pairs = zip(job.results(), peer.results())
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
