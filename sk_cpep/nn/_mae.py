"""The masked autoencoder of one modality (paper, section 3.1).

Reads bottom-up beside the paper: tokens, encoder, decoder, loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._masking import gather_tokens, kept_indices, random_split
from ._patches import patchify
from ._targets import log_power, normalized_patches
from ._tokenizers import ConvTokenizer, LogPowerTokenizer, TokenizerLike
from ._transformer import Transformer, Wanted, init_weights, sincos_positions

TargetLike: TypeAlias = str | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MAEConfig:
    """Sizes and parts of a :class:`MaskedAutoencoder`; the defaults are the paper's.

    `n_heads`, `mlp_ratio` and `dropout` are not given there. `tokenizer` is "patches",
    "conv", "log_power" or a class of the user's (see :mod:`._tokenizers`); `target` is
    "raw", "normalized", "log_power" (see :mod:`._targets`) or a function from patches
    (B, N, C, S) to what is rebuilt of them, (B, N, G). `n_bands` is that of log_power.
    """

    n_channels: int
    n_times: int
    patch_length: int = 50
    mask_ratio: float = 0.5
    d_model: int = 256
    n_layers: int = 4
    n_decoder_layers: int = 2
    n_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    tokenizer: TokenizerLike = "patches"
    target: TargetLike = "raw"
    n_bands: int = 1

    @property
    def n_tokens(self) -> int:
        """Number of tokens ``K = floor(T / S)``."""
        return self.n_times // self.patch_length

    @property
    def n_masked(self) -> int:
        """Number of hidden tokens ``round(K * r)``; halves go to the even number."""
        return round(self.n_tokens * self.mask_ratio)

    @property
    def patch_size(self) -> int:
        """Values in a patch, ``C * S``."""
        return self.n_channels * self.patch_length

    @property
    def target_size(self) -> int:
        """Values that are rebuilt of a patch, ``G``.

        Raises
        ------
        ValueError
            If the target is a function that gives no values of each patch.
        """
        patches = torch.zeros(2, 3, self.patch_size, dtype=torch.float32)
        target = self.target_of(patches)
        if target.ndim != 3 or target.shape[:2] != (2, 3):
            raise ValueError(
                "target must take patches of shape (n_windows, n_patches, n_channels, "
                "patch_length) to a tensor of shape (n_windows, n_patches, n_values), "
                f"but (2, 3, {self.n_channels}, {self.patch_length}) gave "
                f"{tuple(target.shape)}."
            )
        return target.shape[2]

    def target_of(self, patches: Tensor) -> Tensor:
        """What is rebuilt of patches: (B, N, C * S) to (B, N, G), float32."""
        patches = patches.float()
        if self.target == "raw":
            return patches
        patches = torch.unflatten(patches, 2, (self.n_channels, self.patch_length))
        if self.target == "normalized":
            return normalized_patches(patches)
        if self.target == "log_power":
            return log_power(patches, self.n_bands)
        make: Callable[[Tensor], Tensor] = self.target  # type: ignore[assignment]
        return make(patches)

    def make_tokenizer(self) -> nn.Module:
        """The part of the encoder that makes tokens of patches."""
        if self.tokenizer == "patches":
            return nn.Linear(self.patch_size, self.d_model)
        sizes = {
            "n_channels": self.n_channels,
            "n_times": self.n_times,
            "patch_length": self.patch_length,
            "d_model": self.d_model,
        }
        if self.tokenizer == "log_power":
            return LogPowerTokenizer(**sizes, n_bands=self.n_bands)
        make = ConvTokenizer if isinstance(self.tokenizer, str) else self.tokenizer
        return make(**sizes)

    def make_transformer(self, n_layers: int) -> Transformer:
        """A transformer of this width and so many layers."""
        return Transformer(
            self.d_model, n_layers, self.n_heads, self.mlp_ratio, self.dropout
        )

    def make_positions(self) -> Tensor:
        """Position embeddings of the tokens: (K, D)."""
        return sincos_positions(self.n_tokens, self.d_model)


class Encoder(nn.Module):
    """Windows to embeddings: tokens, ``[CLS]``, positions, transformer."""

    positions: Tensor

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.d_model: int = config.d_model
        self.embed: nn.Module = config.make_tokenizer()
        self.cls: nn.Parameter = nn.Parameter(torch.empty(config.d_model))
        self.register_buffer("positions", config.make_positions(), persistent=False)
        self.transformer: Transformer = config.make_transformer(config.n_layers)
        self.half_weights: bool = isinstance(config.tokenizer, str)
        if isinstance(config.tokenizer, str):
            self.embed.apply(init_weights)
        else:  # which has weights of its own choice
            self.check_tokenizer()
        self.transformer.apply(init_weights)
        nn.init.normal_(self.cls, std=0.02)

    @torch.no_grad()
    def check_tokenizer(self) -> None:
        """Refuse a tokenizer that gives anything but a token of each patch."""
        config, name = self.config, type(self.embed).__name__
        x = torch.zeros(2, config.n_channels, config.n_times, dtype=torch.float32)
        self.embed.eval()
        pieces = self.split(x)
        tokens = self.embed(pieces)
        self.embed.train()
        for step, found, expected in (
            ("split", pieces.shape[:2], (2, config.n_tokens)),
            ("forward", tokens.shape, (2, config.n_tokens, config.d_model)),
        ):
            if tuple(found) != expected:
                raise ValueError(
                    f"The tokenizer {name} must give {config.n_tokens} tokens of width "
                    f"{config.d_model} for a window, but of 2 windows {name}.{step} "
                    f"gave shape {tuple(found)}, expected {expected}."
                )

    @property
    def splits_by_itself(self) -> bool:
        """Whether the tokenizer cuts windows in a way of its own."""
        return hasattr(self.embed, "split")

    def split(self, x: Tensor) -> Tensor:
        """Cut windows (B, C, T) for the tokenizer: patches, or pieces (B, K, F)."""
        split: Callable[[Tensor], Tensor] | None = getattr(self.embed, "split", None)
        if split is not None:
            return split(x)
        # Of the type of the weights, which are bfloat16 in half precision.
        return patchify(x, self.config.patch_length, self.cls.dtype)

    def forward_tokens(
        self, pieces: Tensor, kept: Tensor | None = None, wanted: Wanted = None
    ) -> Tensor:
        """Embed what :meth:`split` gave, all of it or that at the positions `kept`.

        Parameters
        ----------
        pieces : tensor of shape (B, K, F)

        kept : int64 tensor of shape (B, N), default=None
            None keeps all K.

        wanted : slice, default=None
            Tokens of the result. None is all ``1 + N``.

        Returns
        -------
        z : tensor of shape (B, 1 + N, D)
            ``[CLS]`` first.
        """
        positions = self.positions  # (K, D)
        if kept is not None:
            pieces = gather_tokens(pieces, kept)  # (B, N, F)
            positions = F.embedding(kept, positions)  # (B, N, D)
        z = self.embed(pieces) + positions  # (B, N, D)
        cls = self.cls.to(z.dtype).expand(len(z), 1, -1)
        tokens: Tensor = self.transformer(torch.cat([cls, z], dim=1), wanted)
        return tokens

    def forward(self, x: Tensor, pooling: str = "cls") -> Tensor:
        """Embed windows, no token hidden.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        pooling : {"cls", "mean"}, default="cls"
            The ``[CLS]`` token, or the mean of the others.

        Returns
        -------
        embedding : tensor of shape (B, D)
        """
        tokens = slice(0, 1) if pooling == "cls" else slice(1, None)
        if self.training:
            return self.forward_tokens(self.split(x), wanted=tokens).mean(dim=1)
        # A single token a window would be rounded by how many windows there are.
        return self.forward_tokens(self.split(x))[:, tokens].mean(dim=1)


class Decoder(nn.Module):
    """Kept tokens and mask tokens to what is rebuilt of each patch."""

    positions: Tensor

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.embed: nn.Linear = nn.Linear(config.d_model, config.d_model)
        self.mask_token: nn.Parameter = nn.Parameter(torch.empty(config.d_model))
        self.register_buffer("positions", config.make_positions(), persistent=False)
        self.transformer: Transformer = config.make_transformer(config.n_decoder_layers)
        self.rebuild: nn.Linear = nn.Linear(config.d_model, config.target_size)
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, z: Tensor, kept: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Rebuild patches.

        Parameters
        ----------
        z : tensor of shape (B, 1 + N, D)
            What the encoder made of ``[CLS]`` and the kept tokens.

        kept : int64 tensor of shape (B, N)
            Where the kept tokens belong.

        wanted : int64 tensor of shape (B, M), default=None
            Positions of the patches to rebuild. None are all K in order.

        Returns
        -------
        rebuilt : tensor of shape (B, M, G)
        """
        z = self.embed(z)
        B, _, D = z.shape
        K = len(self.positions)
        tokens = self.mask_token.to(z.dtype).expand(B, K, D)
        tokens = tokens.scatter(1, kept.unsqueeze(-1).expand(-1, -1, D), z[:, 1:])
        z = torch.cat([z[:, :1], tokens + self.positions], dim=1)  # (B, 1 + K, D)
        z = self.transformer(z, slice(1, None) if wanted is None else 1 + wanted)
        rebuilt: Tensor = self.rebuild(z)
        return rebuilt


class MaskedAutoencoder(nn.Module):
    """Hide ``round(K * r)`` tokens of a window and rebuild them from the others."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder = Encoder(config)
        self.half_weights: bool = self.encoder.half_weights
        self.decoder: Decoder = Decoder(config)

    def targets(self, x: Tensor, pieces: Tensor, hidden: Tensor | None) -> Tensor:
        """What is to be rebuilt of hidden patches (B, M), or of all: (B, M, G)."""
        config = self.config
        if config.target != "raw" or self.encoder.splits_by_itself:
            pieces = patchify(x, config.patch_length, torch.float32)  # (B, K, C * S)
        if config.target == "log_power":  # relative to the whole window
            target = config.target_of(pieces)
            return target if hidden is None else gather_tokens(target, hidden)
        patches = pieces if hidden is None else gather_tokens(pieces, hidden)
        return config.target_of(patches)

    def rebuild(self, x: Tensor, mask: Tensor, n_masked: int) -> tuple[Tensor, Tensor]:
        """Rebuild the patches of windows whose tokens in `mask` are hidden.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        mask : bool tensor of shape (B, K)
            `n_masked` True in every row.

        n_masked : int

        Returns
        -------
        rebuilt, target : tensors of shape (B, K, G)
            What the decoder gives of each patch, and what it should be.
        """
        pieces = self.encoder.split(x)  # (B, K, F)
        kept = kept_indices(mask, n_masked)  # (B, N)
        z = self.encoder.forward_tokens(pieces, kept)  # (B, 1 + N, D)
        return self.decoder(z, kept), self.targets(x, pieces, None)

    def errors(self, x: Tensor, mask: Tensor, n_masked: int) -> Tensor:
        """Sum over the hidden tokens of each window of their mean squared error.

        Parameters
        ----------
        x, mask, n_masked
            As :meth:`rebuild`.

        Returns
        -------
        errors : tensor of shape (B,)
        """
        rebuilt, target = self.rebuild(x, mask, n_masked)
        error = F.mse_loss(rebuilt, target, reduction="none").mean(dim=-1)  # (B, K)
        return (error * mask).sum(dim=1)

    def draw_tokens(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw which tokens of windows are hidden; see :func:`random_split`.

        Returns
        -------
        kept, hidden : int64 tensors of shape (B, N) and (B, M)
        """
        n_tokens, n_masked = self.config.n_tokens, self.config.n_masked
        return random_split(
            len(x), n_tokens, n_masked, generator=generator, device=x.device
        )

    def loss(self, x: Tensor, kept: Tensor, hidden: Tensor) -> Tensor:
        """Mean squared error over the hidden tokens only (paper, section 3.1).

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        kept, hidden : int64 tensors of shape (B, N) and (B, M)
            Positions of the tokens that the encoder sees, and of all others.

        Returns
        -------
        loss : scalar tensor, float32
        """
        pieces = self.encoder.split(x)  # (B, K, F)
        z = self.encoder.forward_tokens(pieces, kept)  # (B, 1 + N, D)
        rebuilt = self.decoder(z, kept, hidden)  # (B, M, G)
        return F.mse_loss(rebuilt.float(), self.targets(x, pieces, hidden))

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Loss of windows (B, C, T) of which tokens are hidden at random."""
        return self.loss(x, *self.draw_tokens(x, generator))
