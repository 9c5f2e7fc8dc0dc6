"""Small objectives and windows to train them on, for tests of the engine."""

import numpy as np
import torch
from torch import nn

from sk_cpep.nn import (
    Augmentation,
    Encoder,
    MAEConfig,
    MaskedAutoencoder,
    PoseEMGAlignment,
)
from sk_cpep.training import Alignment, Reconstruction

SIZES = dict(patch_length=4, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2)
SHAPES = (3, 16), (2, 12)


def make_windows(n=22, seed=0):
    """EMG (n, 3, 16) and poses (n, 2, 12)."""
    rng = np.random.default_rng(seed)
    X, P = (rng.normal(size=(n, *shape)) for shape in SHAPES)
    return X.astype(np.float32), P.astype(np.float32)


def make_autoencoder(shape=SHAPES[0], **sizes):
    return MaskedAutoencoder(MAEConfig(*shape, **SIZES | sizes))


def make_encoders(shapes=SHAPES, **sizes):
    return [Encoder(MAEConfig(*shape, **SIZES | sizes)) for shape in shapes]


def make_reconstruction(shape=SHAPES[0], **sizes):
    torch.manual_seed(0)
    autoencoder = make_autoencoder(shape, **sizes)
    return Reconstruction(autoencoder, Augmentation(channel_rotation=1))


def make_alignment(shapes=SHAPES, sizes=None, **options):
    torch.manual_seed(0)
    network = PoseEMGAlignment(*make_encoders(shapes, **sizes or {}))
    options = dict(poses_embedded=False, train_emg=True) | options
    return Alignment(network, **options)


class Recorder(nn.Module):
    """Passes batches on, and keeps them with the state of the generator."""

    def __init__(self, objective):
        super().__init__()
        self.objective = objective
        self.calls = []

    def forward(self, *batch, generator):
        state = generator.get_state()
        self.calls.append(([b.clone() for b in batch], state, self.training))
        return self.objective(*batch, generator=generator)
