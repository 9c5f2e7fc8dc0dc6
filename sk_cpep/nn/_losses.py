"""The two losses of the paper."""

import torch
from torch.nn import functional as F


def masked_mse(rebuilt, patches, mask):
    """Mean squared error over the hidden tokens only (paper, section 3.1).

    Parameters
    ----------
    rebuilt, patches : tensors of shape (B, K, C * S)
        The decoder's patches and the true ones.

    mask : bool tensor of shape (B, K)
        True where the token was hidden; at least one must be.

    Returns
    -------
    loss : scalar tensor, float32
    """
    error = (rebuilt.float() - patches.float()).square().mean(dim=-1)  # (B, K)
    weight = mask.to(error.dtype)
    return (error * weight).sum() / weight.sum()


def info_nce(u, v, scale, *, duplicate_threshold=None, target_temperature=None):
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
        Negatives whose poses are more alike than this (cosine of `v`) are left
        out of the sums, and of the shared targets. None leaves none out, as the
        paper.

    target_temperature : float, default=None
        Share the target among like poses: row i's target is
        ``softmax(v_i . v_j / target_temperature)`` over j instead of the
        diagonal. None is the diagonal, as the paper.

    Returns
    -------
    loss : scalar tensor, float32
    """
    with torch.autocast(u.device.type, enabled=False):  # bfloat16 is too coarse / tau
        return _info_nce(
            u.float(), v.float(), scale, duplicate_threshold, target_temperature
        )


def _info_nce(u, v, scale, duplicate_threshold, target_temperature):
    s = scale * (u @ v.T)  # (B, B)
    target = soft_targets(v, target_temperature)
    if duplicate_threshold is not None:
        duplicates = near_duplicates(v, duplicate_threshold)  # (B, B)
        s = s.masked_fill(duplicates, torch.finfo(s.dtype).min)
        if target_temperature is not None:
            target = target.masked_fill(duplicates, 0)
            target = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(s, target) + F.cross_entropy(s.T, target)) / 2


def near_duplicates(v, threshold):
    """Pairs of different rows of `v`, (B, D) of unit length, more alike than this."""
    alike = v.detach() @ v.detach().T > threshold  # (B, B)
    return alike.fill_diagonal_(False)


def soft_targets(v, temperature):
    """Targets of :func:`info_nce`: the diagonal, or shared among like poses."""
    if temperature is None:
        return torch.arange(len(v), device=v.device)
    return (v.detach() @ v.detach().T / temperature).softmax(dim=1)
