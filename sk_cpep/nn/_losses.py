"""Losses that pull the two embeddings of a window together, in batches of pairs."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIGLIP_BIAS = -10.0

PairLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
# Of embeddings, a scale and, by name, what gathers shares of a batch; see `info_nce`.
Criterion: TypeAlias = Callable[..., Tensor]
Gather: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]


def info_nce(
    u: Tensor,
    v: Tensor,
    scale: Tensor | float,
    *,
    duplicate_threshold: float | None = None,
    target_temperature: float | None = None,
    gather: Gather | None = None,
) -> Tensor:
    r"""Symmetric cross-entropy over the similarities of a batch (paper, section 3.2).

    With :math:`s_{ij} = u_i \cdot v_j / \tau`, the mean of the cross-entropy over
    rows and over columns, the diagonal as target:

    .. math:: L = -\frac{1}{2B} \sum_i \left(
        \log\frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}
        + \log\frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \right)

    Parameters
    ----------
    u, v : tensors of shape (B, D)
        Embeddings of EMG and pose, rows of unit length.

    scale : scalar tensor or float
        :math:`1 / \tau`.

    duplicate_threshold : float, default=None
        Negatives whose poses have a cosine similarity above this (of `v`) are left
        out of the sums, and of the shared targets. None leaves none out, as the
        paper.

    target_temperature : float, default=None
        Share the target among similar poses: row i's target is
        ``softmax(v_i . v_j / target_temperature)`` over j instead of the
        diagonal. None is the diagonal, as the paper.

    gather : callable, default=None
        Where `u` and `v` are a share of a batch: ``gather(u, v)`` is `all_u` and
        `all_v` (N, D), the rows of all shares, a bool tensor (N,) that says which of
        them are windows, and the indices (B,) of this share's rows. The sums are
        over the whole batch, the mean over the rows and columns of this share: the
        mean of the shares' losses, each as heavy as it has windows, is the loss of
        the batch. None is a batch of its own.

    Returns
    -------
    loss : scalar tensor, float32
    """
    with torch.autocast(u.device.type, enabled=False):  # bfloat16 is too coarse / tau
        u, v = u.float(), v.float()
        all_u, all_v, present, own = whole_batch(u, v, gather)
        rows, target = (scale * u) @ all_v.T, own  # (B, N), (B,)
        if target_temperature is not None:
            target = (cosines(v, all_v) / target_temperature).softmax(dim=1)  # (B, N)
        excluded = excluded_pairs(v, all_v, present, own, duplicate_threshold)
        least = torch.finfo(rows.dtype).min
        if excluded is not None:
            rows = rows.masked_fill(excluded, least)
            if target_temperature is not None:
                target = target.masked_fill(excluded, 0)
                target = target / target.sum(dim=1, keepdim=True)
        columns = rows.T
        if gather is not None and excluded is not None:
            columns = ((scale * v) @ all_u.T).masked_fill(excluded, least)
        return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2


class SigLIP(nn.Module):
    r"""Every pair of a batch is classified on its own (Zhai et al. 2023).

    With :math:`s_{ij}` as in :func:`info_nce`, a learned bias `b`, which starts at
    -10, and :math:`z_{ij} = 1` for the pairs and -1 for all others:

    .. math:: L = -\frac{1}{B} \sum_{ij} \log \sigma(z_{ij} (s_{ij} + b))

    Parameters
    ----------
    duplicate_threshold : float, default=None
        Negatives whose poses have a cosine similarity above this are left out.
    """

    def __init__(self, duplicate_threshold: float | None = None) -> None:
        super().__init__()
        self.duplicate_threshold = duplicate_threshold
        self.bias = nn.Parameter(torch.tensor(SIGLIP_BIAS))

    def forward(
        self, u: Tensor, v: Tensor, scale: Tensor, *, gather: Gather | None = None
    ) -> Tensor:
        """Loss of pairs; the parameters are those of :func:`info_nce`."""
        with torch.autocast(u.device.type, enabled=False):
            u, v = u.float(), v.float()
            _, all_v, present, own = whole_batch(u, v, gather)
            s = (scale * u) @ all_v.T + self.bias  # (B, N)
            sign = torch.full_like(s, -1).scatter(1, own.unsqueeze(1), 1.0)
            loss = -F.logsigmoid(sign * s)
            excluded = excluded_pairs(v, all_v, present, own, self.duplicate_threshold)
            if excluded is not None:
                loss = loss.masked_fill(excluded, 0)
            return loss.sum() / len(u)


class WholeBatchLoss(nn.Module):
    """A loss of one's own; shares of a batch are gathered before it is computed.

    Every process then computes the same loss, of which the gathered embeddings get
    the gradients that they have in a single process.

    Parameters
    ----------
    loss : callable
        ``loss(u, v, scale)`` is a scalar tensor. Parameters of a module are trained.
    """

    def __init__(self, loss: PairLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, u: Tensor, v: Tensor, scale: Tensor, *, gather: Gather | None = None
    ) -> Tensor:
        """Loss of pairs; the parameters are those of :func:`info_nce`."""
        with torch.autocast(u.device.type, enabled=False):
            u, v, present, _ = whole_batch(u.float(), v.float(), gather)
            if present is not None:
                u, v = u[present], v[present]
            return self.loss(u, v, scale)


def make_criterion(
    loss: str | PairLoss | type[nn.Module],
    duplicate_threshold: float | None = None,
    target_temperature: float | None = None,
) -> Criterion:
    """The loss that is called so, or one of the user's.

    Parameters
    ----------
    loss : {"info_nce", "siglip"}, callable or class of a module
        A module is copied, a class is called without arguments.

    duplicate_threshold, target_temperature : float, default=None
        See :func:`info_nce`.

    Returns
    -------
    criterion : callable

    Raises
    ------
    ValueError
        If an option is given that this loss does not have.
    """
    if loss == "info_nce":
        return partial(
            info_nce,
            duplicate_threshold=duplicate_threshold,
            target_temperature=target_temperature,
        )
    if target_temperature is not None:
        raise ValueError(
            "target_temperature shares the targets of loss='info_nce', and no others: "
            "leave it None."
        )
    if loss == "siglip":
        return SigLIP(duplicate_threshold)
    if duplicate_threshold is not None:
        raise ValueError(
            "duplicate_threshold is for loss='info_nce' and 'siglip': a loss of one's "
            "own decides itself what it does with similar poses."
        )
    own: Any = loss() if isinstance(loss, type) else deepcopy(loss)
    return WholeBatchLoss(own)


def whole_batch(
    u: Tensor, v: Tensor, gather: Gather | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """All embeddings of a batch, which rows are windows, and which are these."""
    if gather is not None:
        return gather(u, v)
    return u, v, None, torch.arange(len(v), device=v.device)


def cosines(v: Tensor, all_v: Tensor) -> Tensor:
    """Cosine similarities (B, N) of poses (B, D) and (N, D), without gradients."""
    return v.detach() @ all_v.detach().T


def excluded_pairs(
    v: Tensor,
    all_v: Tensor,
    present: Tensor | None,
    own: Tensor,
    duplicate_threshold: float | None,
) -> Tensor | None:
    """Pairs (B, N) that are no negatives: duplicates, and rows that are no windows."""
    excluded = None if present is None else ~present.expand(len(v), -1)
    if duplicate_threshold is not None:
        duplicates = cosines(v, all_v) > duplicate_threshold
        excluded = duplicates if excluded is None else excluded | duplicates
    return None if excluded is None else excluded.scatter(1, own.unsqueeze(1), False)
