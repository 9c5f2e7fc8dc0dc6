"""Windows to tokens and back (paper, section 3.1: tokenisation)."""

import torch
from torch import Tensor


def patchify(x: Tensor, patch_length: int, dtype: torch.dtype | None = None) -> Tensor:
    """Cut windows into non-overlapping patches, channels flattened within each.

    Parameters
    ----------
    x : tensor of shape (B, C, T)
        Windows.

    patch_length : int
        Samples per patch, ``S``.

    dtype : torch.dtype, default=None
        Type of the patches. None is that of `x`.

    Returns
    -------
    patches : tensor of shape (B, K, C * S)
        ``K = floor(T / S)`` patches; the ``T - K * S`` samples left over at the
        end belong to no patch.
    """
    K = x.shape[2] // patch_length
    x = torch.unflatten(x[:, :, : K * patch_length], 2, (K, patch_length))
    x = x.transpose(1, 2)  # (B, K, C, S), a view: converted and put in order at once
    x = x.to(dtype or x.dtype, memory_format=torch.contiguous_format)
    return x.flatten(2)


def unpatchify(patches: Tensor, n_channels: int) -> Tensor:
    """Put patches back together, the inverse of :func:`patchify`.

    Parameters
    ----------
    patches : tensor of shape (B, K, C * S)
        Patches.

    n_channels : int
        Number of channels, ``C``.

    Returns
    -------
    x : tensor of shape (B, C, K * S)
        Windows.
    """
    B, K, CS = patches.shape
    S = CS // n_channels
    x = patches.reshape(B, K, n_channels, S).transpose(1, 2)  # (B, C, K, S)
    return x.reshape(B, n_channels, K * S)
