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


def info_nce(
    u, v, scale, *, duplicate_threshold=None, target_temperature=None, gather=None
):
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
        if gather is None:
            return _info_nce(u, v, scale, duplicate_threshold, target_temperature)
        return _shared_info_nce(
            u, v, scale, duplicate_threshold, target_temperature, *gather(u, v)
        )


def _info_nce(u, v, scale, duplicate_threshold, target_temperature):
    s = (scale * u) @ v.T  # (B, B)
    target = soft_targets(v, target_temperature)
    if duplicate_threshold is not None:
        duplicates = near_duplicates(v, duplicate_threshold)  # (B, B)
        s = s.masked_fill(duplicates, torch.finfo(s.dtype).min)
        if target_temperature is not None:
            target = target.masked_fill(duplicates, 0)
            target = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(s, target) + F.cross_entropy(s.T, target)) / 2


def _shared_info_nce(
    u, v, scale, duplicate_threshold, target_temperature, all_u, all_v, present, own
):
    s, s_columns = (scale * u) @ all_v.T, (scale * v) @ all_u.T  # (B, N)
    alike = v.detach() @ all_v.detach().T  # (B, N)
    left_out = ~present.expand_as(alike)
    if duplicate_threshold is not None:
        left_out = left_out | (alike > duplicate_threshold)
    left_out = left_out.scatter(1, own.unsqueeze(1), False)
    target = own
    if target_temperature is not None:
        alike = alike.masked_fill(left_out, -torch.inf)
        target = (alike / target_temperature).softmax(dim=1)
    least = torch.finfo(s.dtype).min
    s, s_columns = (m.masked_fill(left_out, least) for m in (s, s_columns))
    return (F.cross_entropy(s, target) + F.cross_entropy(s_columns, target)) / 2


def near_duplicates(v, threshold):
    """Pairs of different rows of `v`, (B, D) of unit length, more alike than this."""
    alike = v.detach() @ v.detach().T > threshold  # (B, B)
    return alike.fill_diagonal_(False)


def soft_targets(v, temperature):
    """Targets of :func:`info_nce`: the diagonal, or shared among like poses."""
    if temperature is None:
        return torch.arange(len(v), device=v.device)
    return (v.detach() @ v.detach().T / temperature).softmax(dim=1)
