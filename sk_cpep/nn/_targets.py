"""What a masked autoencoder rebuilds of a patch, besides its samples."""

import torch
from torch import Tensor

# Of the mean power of a window: 40 dB below it nothing is told apart.
_FLOOR = 1e-4
_TINY = 1e-30


def normalized_patches(patches: Tensor) -> Tensor:
    """Each patch with mean 0 and variance 1 over its channels and samples.

    As in He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022, section
    4.1: the variance has the divisor n - 1, and 1e-6 is added to it.

    Parameters
    ----------
    patches : tensor of shape (B, N, C, S)

    Returns
    -------
    normalized : tensor of shape (B, N, C * S), float32
    """
    values = patches.float().flatten(2)  # (B, N, C * S)
    mean = values.mean(dim=2, keepdim=True)
    variance = values.var(dim=2, keepdim=True)
    return (values - mean) / (variance + 1e-6).sqrt()


def log_power(patches: Tensor, n_bands: int = 1) -> Tensor:
    """Logarithm of the power of each channel of a patch, in bands of frequencies.

    To the power is added a ten-thousandth of the mean power of all patches that are
    given with it, so that a channel without a signal stays finite, and a window that is
    scaled is only shifted.

    Parameters
    ----------
    patches : tensor of shape (B, N, C, S)
        Those of a window together.

    n_bands : int, default=1
        Number of bands, equally wide, from 0 to half the sampling rate. The powers of
        all bands add up to the mean square.

    Returns
    -------
    log_power : tensor of shape (B, N, C * n_bands), float32
    """
    with torch.autocast(patches.device.type, enabled=False):
        power = band_power(patches.float(), n_bands)  # (B, N, C, F)
        level = power.sum(dim=3).mean(dim=(1, 2))[:, None, None, None]
        return (power + (_FLOOR * level + _TINY) / n_bands).log().flatten(2)


def band_power(patches: Tensor, n_bands: int) -> Tensor:
    """Power of each channel in bands: (B, N, C, S) to (B, N, C, n_bands)."""
    if n_bands == 1:
        return patches.square().mean(dim=3, keepdim=True)
    S = patches.shape[3]
    spectrum = torch.fft.rfft(patches, norm="forward").abs().square()
    # One side stands for both, but for 0 and half the sampling rate.
    doubled = torch.full_like(spectrum[0, 0, 0], 2.0)
    doubled[0] = 1
    if S % 2 == 0:
        doubled[-1] = 1
    bands = torch.tensor_split(spectrum * doubled, n_bands, dim=3)
    return torch.stack([band.sum(dim=3) for band in bands], dim=3)
