"""The transformer that every network of the package is made of.

Pre-norm blocks, as in the vision transformer and the masked autoencoder that the
paper builds on; the paper leaves the kind of block open.
"""

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._masking import gather_tokens

# Tokens that are computed: a slice of all, positions (B, M), or None for all.
Wanted: TypeAlias = slice | Tensor | None


def sincos_positions(n_tokens: int, d_model: int) -> Tensor:
    """Fixed sine-cosine position embeddings (Vaswani et al. 2017, section 3.5).

    Parameters
    ----------
    n_tokens : int
        Number of positions, ``K``.

    d_model : int
        Width, ``D``; even.

    Returns
    -------
    positions : float32 tensor of shape (K, D)
    """
    rate = torch.exp(
        -math.log(10_000) * torch.arange(0, d_model, 2, dtype=torch.float32) / d_model
    )
    angle = torch.arange(n_tokens).unsqueeze(1) * rate  # (K, D / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, wanted: Wanted = None) -> Tensor:  # (B, N, D)
        if wanted is None:
            q, k, v = self.heads(self.qkv(x), 3)  # each (B, H, N, D / H)
        else:
            D = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            at = select_tokens(x, wanted)  # (B, M, D)
            (q,) = self.heads(F.linear(at, weight[:D], bias[:D]), 1)
            k, v = self.heads(F.linear(x, weight[D:], bias[D:]), 2)
        p = self.dropout if self.training else 0.0
        y = scaled_dot_product(q, k, v, p)  # (B, H, M, D / H)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out

    def heads(self, x: Tensor, n: int) -> Tensor:
        """Cut (B, N, n * D) into n parts: (n, B, H, N, D / H)."""
        return torch.unflatten(x, 2, (n, self.n_heads, -1)).permute(2, 0, 3, 1, 4)


def select_tokens(x: Tensor, wanted: slice | Tensor) -> Tensor:
    """Some tokens of (B, N, D): a slice of them, or positions (B, M)."""
    if isinstance(wanted, slice):
        return x[:, wanted].contiguous()
    return gather_tokens(x, wanted)


def scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, dropout_p: float) -> Tensor:
    """``softmax(q k' / sqrt(d)) v``; fused on a GPU.

    On a CPU the two plain matrix products are faster than the fused kernel at
    the 20 to 80 tokens of a window, chiefly in the backward pass.
    """
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p)
    weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
    return F.dropout(weights, dropout_p, training=dropout_p > 0) @ v


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(
        self, d_model: int, n_heads: int, mlp_ratio: float, dropout: float
    ) -> None:
        super().__init__()
        d_hidden = int(d_model * mlp_ratio)
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads, dropout)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_model)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, wanted: Wanted = None) -> Tensor:  # (B, N, D)
        y = self.attention(self.norm1(x), wanted)
        x = x if wanted is None else select_tokens(x, wanted)
        x = x + self.dropout(y)
        x = x + self.dropout(self.mlp(self.norm2(x)))
        return x


class Transformer(nn.Module):
    """A stack of blocks and a final layer norm."""

    def __init__(
        self,
        d_model: int,
        n_layers: int,
        n_heads: int,
        mlp_ratio: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, wanted: Wanted = None) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        x : tensor of shape (B, N, D)

        wanted : slice or int64 tensor of shape (B, M), default=None
            Tokens of the result, which are all that the last block computes. None
            is all.

        Returns
        -------
        x : tensor of shape (B, M, D)
        """
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        x = self.norm(last(x, wanted))
        return x


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform matrices and zero biases, as in the masked autoencoder."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
