"""The same training as others write it."""

import importlib.util
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ._loop import Loop

PATCH_LENGTH = 50
WIDTH, HEADS, LAYERS, DECODER_LAYERS = 256, 8, 4, 2
MASK_RATIO = 0.5
IMAGE_SIZE, IMAGE_PATCH, IMAGE_CHANNELS = 180, 20, 2


class StockAutoencoder(nn.Module):
    """A masked autoencoder as a PyTorch user writes it, after He et al. (2022)."""

    def __init__(self, n_channels, n_times):
        super().__init__()
        self.n_tokens = n_times // PATCH_LENGTH
        patch_size = n_channels * PATCH_LENGTH
        self.embed = nn.Linear(patch_size, WIDTH)
        self.cls = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, self.n_tokens, WIDTH) * 0.02)
        self.encoder = stock_transformer(LAYERS)
        self.decoder_embed = nn.Linear(WIDTH, WIDTH)
        self.mask_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.decoder_positions = nn.Parameter(
            torch.randn(1, self.n_tokens + 1, WIDTH) * 0.02
        )
        self.decoder = stock_transformer(DECODER_LAYERS)
        self.rebuild = nn.Linear(WIDTH, patch_size)

    def forward(self, x):
        """Masked mean squared error of windows (B, C, T)."""
        B, C, _ = x.shape
        patches = x.reshape(B, C, self.n_tokens, PATCH_LENGTH)
        patches = patches.transpose(1, 2).flatten(2)  # (B, K, C * S)
        z, mask, restore = self.hide(self.embed(patches) + self.positions)
        z = self.encoder(torch.cat([self.cls.expand(B, -1, -1), z], dim=1))
        z = self.decoder_embed(z)
        hidden = self.mask_token.expand(B, self.n_tokens + 1 - z.shape[1], -1)
        tokens = torch.cat([z[:, 1:], hidden], dim=1)
        tokens = tokens.gather(1, restore.unsqueeze(-1).expand(-1, -1, WIDTH))
        z = torch.cat([z[:, :1], tokens], dim=1) + self.decoder_positions
        rebuilt = self.rebuild(self.decoder(z)[:, 1:])
        error = (rebuilt - patches).square().mean(dim=-1)  # (B, K)
        return (error * mask).sum() / mask.sum()

    def hide(self, z):
        """Tokens that are kept, which are hidden, and how to put them back."""
        B, K, D = z.shape
        n_kept = K - round(K * MASK_RATIO)
        order = torch.rand(B, K, device=z.device).argsort(dim=1)
        restore = order.argsort(dim=1)
        kept = order[:, :n_kept].unsqueeze(-1).expand(-1, -1, D)
        mask = torch.ones(B, K, device=z.device)
        mask[:, :n_kept] = 0
        return z.gather(1, kept), mask.gather(1, restore), restore


def stock_transformer(n_layers):
    """Pre-norm blocks of the paper's width."""
    layer = nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        4 * WIDTH,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(
        layer, n_layers, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False
    )


class HuggingFaceAutoencoder(nn.Module):
    """``ViTMAEForPreTraining`` of the paper's sizes, on square images.

    81 patches of 2 x 20 x 20 = 800 values: a window of 4000 samples has 80 of 16 x 50.
    """

    def __init__(self):
        super().__init__()
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        self.network = ViTMAEForPreTraining(
            ViTMAEConfig(
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                intermediate_size=4 * WIDTH,
                image_size=IMAGE_SIZE,
                patch_size=IMAGE_PATCH,
                num_channels=IMAGE_CHANNELS,
                decoder_hidden_size=WIDTH,
                decoder_num_hidden_layers=DECODER_LAYERS,
                decoder_num_attention_heads=HEADS,
                decoder_intermediate_size=4 * WIDTH,
                mask_ratio=MASK_RATIO,
            )
        )

    def forward(self, x):
        """Masked mean squared error of images."""
        return self.network(pixel_values=x).loss


def random_images(n_images):
    """Images of as many values as the patches of a window, and one patch more."""
    return torch.randn(n_images, IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)


class UserLoop(Loop):
    """The loop of PyTorch's tutorials: a stock loader, and the loss of every step.

    Parameters
    ----------
    module : torch.nn.Module
        Of a batch, the loss.

    data : float32 tensor of shape (n, ...), on the host

    run : Run

    workers : int, default=0
        Of the loader.

    autocast : bool, default=False
        Matrix products in bfloat16.
    """

    def __init__(self, module, data, run, workers=0, autocast=False):
        super().__init__(run)
        self.module, self.autocast = module.to(run.device).train(), autocast
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=1e-4, weight_decay=1e-5
        )
        self.loader = DataLoader(
            TensorDataset(data),
            batch_size=run.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=run.device.type == "cuda",
        )

    def epoch(self):
        """Train for an epoch; its mean loss."""
        total = 0.0
        for (x,) in self.loader:
            x = x.to(self.run.device, non_blocking=True)
            self.optimizer.zero_grad()
            with torch.autocast(
                self.run.device.type, torch.bfloat16, enabled=self.autocast
            ):
                loss = self.module(x)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


def is_installed(name):
    """Whether a package could be imported."""
    return importlib.util.find_spec(name) is not None


def load_clip_loss():
    """``ClipLoss`` of the installed open_clip, without its image models.

    They need torchvision, the loss does not: its file is loaded alone.
    """
    folder = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    path = Path(folder) / "loss.py"
    spec = importlib.util.spec_from_file_location("open_clip_loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClipLoss
