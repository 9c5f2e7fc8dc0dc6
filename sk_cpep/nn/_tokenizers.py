"""From pieces of a window to tokens: a linear layer, or a convolutional stem.

A tokenizer is made with `n_channels`, `n_times`, `patch_length` and `d_model`, and
takes patches (B, N, C * S) to tokens (B, N, D). It sees the visible patches only: no
token may depend on another's patch. One that cuts windows in another way has
``split(x)`` too, from windows (B, C, T) to as many pieces (B, K, F), which it then gets
instead of the patches.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ._patches import patchify
from ._targets import log_power

TokenizerLike: TypeAlias = str | Callable[..., nn.Module]


class ConvTokenizer(nn.Module):
    """Two strided convolutions with GELU within a patch, averaged over its time.

    Convolutions in place of one wide layer make transformers easier to train (Xiao et
    al., "Early Convolutions Help Transformers See Better", 2021). They stay within the
    patch, so that a hidden patch cannot be seen by its neighbours.

    Parameters
    ----------
    n_channels, n_times, patch_length, d_model : int
    """

    def __init__(
        self, n_channels: int, n_times: int, patch_length: int, d_model: int
    ) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.stem: nn.Sequential = nn.Sequential(
            nn.Conv1d(n_channels, d_model // 2, 7, stride=2, padding=3),
            nn.GELU(),
            nn.Conv1d(d_model // 2, d_model, 5, stride=2, padding=2),
            nn.GELU(),
        )
        self.out: nn.Linear = nn.Linear(d_model, d_model)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches (B, N, C * S) as tokens (B, N, D)."""
        B, N, _ = patches.shape
        x = patches.reshape(B * N, self.n_channels, -1)  # (B N, C, S)
        tokens: Tensor = self.out(self.stem(x).mean(dim=2))  # (B N, D)
        return tokens.reshape(B, N, -1)


class LogPowerTokenizer(nn.Module):
    """One linear layer of the logarithm of each channel's power in a patch.

    For raw EMG, whose waveform is noise: see :func:`~sk_cpep.nn.log_power`. Of other
    patches a token depends only by the floor under the power, 40 dB below that of the
    window.

    Parameters
    ----------
    n_channels, n_times, patch_length, d_model : int

    n_bands : int, default=1
        Number of bands of frequencies.
    """

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        patch_length: int,
        d_model: int,
        n_bands: int = 1,
    ) -> None:
        super().__init__()
        self.patch_length = patch_length
        self.n_bands = n_bands
        self.out: nn.Linear = nn.Linear(n_channels * n_bands, d_model)

    def split(self, x: Tensor) -> Tensor:
        """Cut windows (B, C, T) into patches, and take their power: (B, K, C * F)."""
        patches = patchify(x, self.patch_length, torch.float32)
        sizes = x.shape[1], self.patch_length
        return log_power(torch.unflatten(patches, 2, sizes), self.n_bands)

    def forward(self, pieces: Tensor) -> Tensor:
        """Embed what :meth:`split` gave as tokens (B, N, D)."""
        tokens: Tensor = self.out(pieces.to(self.out.weight.dtype))
        return tokens
