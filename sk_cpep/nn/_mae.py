"""The masked autoencoder of one modality (paper, section 3.1).

Reads bottom-up beside the paper: tokens, encoder, decoder, loss.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ._masking import gather_tokens, kept_indices, n_masked_tokens, random_split
from ._patches import n_patches, patchify
from ._transformer import Transformer, init_weights, sincos_positions


@dataclass(frozen=True)
class MAEConfig:
    """Sizes of a :class:`MaskedAutoencoder`; the defaults are the paper's.

    `n_heads`, `mlp_ratio` and `dropout` are not given there.
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

    @property
    def n_tokens(self):
        """Number of tokens ``K = floor(T / S)``."""
        return n_patches(self.n_times, self.patch_length)

    @property
    def n_masked(self):
        """Number of hidden tokens ``round(K * r)``."""
        return n_masked_tokens(self.n_tokens, self.mask_ratio)

    @property
    def patch_size(self):
        """Values in a patch, ``C * S``."""
        return self.n_channels * self.patch_length

    def make_transformer(self, n_layers):
        """A transformer of this width and so many layers."""
        return Transformer(
            self.d_model, n_layers, self.n_heads, self.mlp_ratio, self.dropout
        )


class Encoder(nn.Module):
    """Patches to embeddings: one linear layer, ``[CLS]``, positions, transformer.

    Parameters
    ----------
    config : MAEConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.patch_size, config.d_model)
        self.cls = nn.Parameter(torch.empty(config.d_model))
        positions = sincos_positions(config.n_tokens, config.d_model)
        self.register_buffer("positions", positions, persistent=False)  # (K, D)
        self.transformer = config.make_transformer(config.n_layers)
        self.apply(init_weights)
        nn.init.normal_(self.cls, std=0.02)

    def patches(self, x):
        """Patches of windows (B, C, T), of the type of the weights: (B, K, C * S)."""
        return patchify(x, self.config.patch_length, self.embed.weight.dtype)

    def forward_tokens(self, patches, kept=None, wanted=None):
        """Embed patches, all of them or those at the positions `kept`.

        Parameters
        ----------
        patches : tensor of shape (B, K, C * S)

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
            patches = gather_tokens(patches, kept)  # (B, N, C * S)
            positions = F.embedding(kept, positions)  # (B, N, D)
        z = self.embed(patches) + positions  # (B, N, D)
        cls = self.cls.to(z.dtype).expand(len(z), 1, -1)
        return self.transformer(torch.cat([cls, z], dim=1), wanted)

    def forward(self, x, pooling="cls"):
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
            return self.forward_tokens(self.patches(x), wanted=tokens).mean(dim=1)
        # A single token a window would be rounded by how many windows there are.
        return self.forward_tokens(self.patches(x))[:, tokens].mean(dim=1)


class Decoder(nn.Module):
    """Kept tokens and mask tokens to the raw patches.

    Parameters
    ----------
    config : MAEConfig
    """

    def __init__(self, config):
        super().__init__()
        self.embed = nn.Linear(config.d_model, config.d_model)
        self.mask_token = nn.Parameter(torch.empty(config.d_model))
        positions = sincos_positions(config.n_tokens, config.d_model)
        self.register_buffer("positions", positions, persistent=False)  # (K, D)
        self.transformer = config.make_transformer(config.n_decoder_layers)
        self.rebuild = nn.Linear(config.d_model, config.patch_size)
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, z, kept, wanted=None):
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
        patches : tensor of shape (B, M, C * S)
        """
        z = self.embed(z)
        B, _, D = z.shape
        K = len(self.positions)
        tokens = self.mask_token.to(z.dtype).expand(B, K, D)
        tokens = tokens.scatter(1, kept.unsqueeze(-1).expand(-1, -1, D), z[:, 1:])
        z = torch.cat([z[:, :1], tokens + self.positions], dim=1)  # (B, 1 + K, D)
        wanted = slice(1, None) if wanted is None else 1 + wanted
        return self.rebuild(self.transformer(z, wanted))


class MaskedAutoencoder(nn.Module):
    """Hide ``round(K * r)`` tokens of a window and rebuild them from the others.

    Parameters
    ----------
    config : MAEConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def rebuild(self, x, mask, n_masked):
        """Rebuild the patches of windows whose tokens in `mask` are hidden.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        mask : bool tensor of shape (B, K)
            `n_masked` True in every row.

        n_masked : int

        Returns
        -------
        rebuilt, patches : tensors of shape (B, K, C * S)
            The decoder's patches and the true ones.
        """
        patches = self.encoder.patches(x)  # (B, K, C * S)
        kept = kept_indices(mask, n_masked)  # (B, N)
        z = self.encoder.forward_tokens(patches, kept)  # (B, 1 + N, D)
        return self.decoder(z, kept), patches

    def draw_tokens(self, x, generator=None):
        """Draw which tokens of windows (B, C, T) are hidden.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        generator : torch.Generator, default=None
            Source of randomness, on the device of `x`.

        Returns
        -------
        kept : int64 tensor of shape (B, N)

        hidden : int64 tensor of shape (B, M)
        """
        n_tokens, n_masked = self.config.n_tokens, self.config.n_masked
        return random_split(
            len(x), n_tokens, n_masked, generator=generator, device=x.device
        )

    def loss(self, x, kept, hidden):
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
        patches = self.encoder.patches(x)  # (B, K, C * S)
        z = self.encoder.forward_tokens(patches, kept)  # (B, 1 + N, D)
        rebuilt = self.decoder(z, kept, hidden)  # (B, M, C * S)
        return F.mse_loss(rebuilt.float(), gather_tokens(patches, hidden).float())

    def forward(self, x, generator=None):
        """Masked mean squared error of a batch under random masks.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        generator : torch.Generator, default=None
            Source of the masks, on the device of `x`.

        Returns
        -------
        loss : scalar tensor
        """
        return self.loss(x, *self.draw_tokens(x, generator))
