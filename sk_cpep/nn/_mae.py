"""The masked autoencoder of one modality (paper, section 3.1).

Reads bottom-up beside the paper: tokens, encoder, decoder, loss.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ._losses import masked_mse
from ._masking import gather_tokens, kept_indices, n_masked_tokens, random_mask
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

    def forward_tokens(self, patches, kept=None):
        """Embed patches, all of them or those at the positions `kept`.

        Parameters
        ----------
        patches : tensor of shape (B, K, C * S)

        kept : int64 tensor of shape (B, N), default=None
            None keeps all K.

        Returns
        -------
        z : tensor of shape (B, 1 + N, D)
            ``[CLS]`` first.
        """
        positions = self.positions.expand(len(patches), -1, -1)  # (B, K, D)
        if kept is not None:
            patches = gather_tokens(patches, kept)  # (B, N, C * S)
            positions = gather_tokens(positions, kept)  # (B, N, D)
        z = self.embed(patches) + positions  # (B, N, D)
        cls = self.cls.to(z.dtype).expand(len(z), 1, -1)
        return self.transformer(torch.cat([cls, z], dim=1))

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
        z = self.forward_tokens(patchify(x, self.config.patch_length))
        return z[:, 0] if pooling == "cls" else z[:, 1:].mean(dim=1)


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

    def forward(self, z, kept):
        """Rebuild every patch.

        Parameters
        ----------
        z : tensor of shape (B, 1 + N, D)
            What the encoder made of ``[CLS]`` and the kept tokens.

        kept : int64 tensor of shape (B, N)
            Where the kept tokens belong.

        Returns
        -------
        patches : tensor of shape (B, K, C * S)
        """
        z = self.embed(z)
        B, _, D = z.shape
        K = len(self.positions)
        tokens = self.mask_token.to(z.dtype).expand(B, K, D)
        tokens = tokens.scatter(1, kept.unsqueeze(-1).expand(-1, -1, D), z[:, 1:])
        z = torch.cat([z[:, :1], tokens + self.positions], dim=1)  # (B, 1 + K, D)
        return self.rebuild(self.transformer(z)[:, 1:])


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
        patches = patchify(x, self.config.patch_length)  # (B, K, C * S)
        kept = kept_indices(mask, n_masked)  # (B, N)
        z = self.encoder.forward_tokens(patches, kept)  # (B, 1 + N, D)
        return self.decoder(z, kept), patches

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
        config = self.config
        mask = random_mask(
            len(x),
            config.n_tokens,
            config.n_masked,
            generator=generator,
            device=x.device,
        )
        rebuilt, patches = self.rebuild(x, mask, config.n_masked)
        return masked_mse(rebuilt, patches, mask)
