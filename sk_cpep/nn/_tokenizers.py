"""From pieces of a window to tokens: a linear layer, or a convolutional stem.

A tokenizer is made with `n_channels`, `n_times`, `patch_length` and `d_model`, and
takes patches (B, N, C * S) to tokens (B, N, D). It sees the visible patches only: no
token may depend on another's patch. One that cuts windows in another way has
``split(x)`` too, from windows (B, C, T) to as many pieces (B, K, F), which it then gets
instead of the patches.
"""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

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
        self.stem = nn.Sequential(
            nn.Conv1d(n_channels, d_model // 2, 7, stride=2, padding=3),
            nn.GELU(),
            nn.Conv1d(d_model // 2, d_model, 5, stride=2, padding=2),
            nn.GELU(),
        )
        self.out = nn.Linear(d_model, d_model)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches (B, N, C * S) as tokens (B, N, D)."""
        B, N, _ = patches.shape
        x = patches.reshape(B * N, self.n_channels, -1)  # (B N, C, S)
        tokens: Tensor = self.out(self.stem(x).mean(dim=2))  # (B N, D)
        return tokens.reshape(B, N, -1)
