"""NeuroPose: an encoder-decoder of images, time by electrodes.

Reads bottom-up: convolution block, residual block, the network.
"""

from dataclasses import dataclass
from math import prod

from torch import nn
from torch.nn import functional as F

from ._resampling import Interpolation, pose_positions
from ._tds import PUBLISHED_SFREQ, scaled_strides

_TIME_POOLS = (10, 8, 4)


def neuropose_time_pools(sfreq=PUBLISHED_SFREQ):
    """Pooling factors in time that last as long as the published ones.

    Parameters
    ----------
    sfreq : float, default=2000.0
        Rate of the windows in Hz. At 2000 Hz the factors are the published ones.

    Returns
    -------
    time_pools : tuple of 3 int
    """
    return scaled_strides(_TIME_POOLS, sfreq / PUBLISHED_SFREQ)


@dataclass(frozen=True)
class NeuroPoseConfig:
    """Sizes of a :class:`NeuroPoseNet`; the defaults are the published ones.

    Parameters
    ----------
    n_times : int
        Samples of a window, at least the product of `time_pools`.

    n_channels : int, default=16
        Electrodes.

    n_joints, n_pose_times : int, default=20 and 1
        Shape of the pose of a window.

    time_pools : tuple of 3 int, default=(10, 8, 4)
        Factors in time of the three poolings, and of the three upsamplings.

    electrode_pools : tuple of 3 int, default=(2, 2, 4)
        Factors across electrodes of the poolings; numbers of electrodes that are no
        multiple are rounded up.

    electrode_upsampling : tuple of 3 int, default=(4, 4, 2)
        Factors across electrodes of the upsamplings.

    kernel_size : tuple of 2 int, default=(3, 2)
        Of all convolutions, in time and across electrodes.

    widths : tuple of 3 int, default=(32, 128, 256)
        Channels of the encoder.

    n_residual_blocks : int, default=5
        Between encoder and decoder, of three convolutions each.

    dropout : float, default=0.05
    """

    n_times: int
    n_channels: int = 16
    n_joints: int = 20
    n_pose_times: int = 1
    time_pools: tuple = _TIME_POOLS
    electrode_pools: tuple = (2, 2, 4)
    electrode_upsampling: tuple = (4, 4, 2)
    kernel_size: tuple = (3, 2)
    widths: tuple = (32, 128, 256)
    n_residual_blocks: int = 5
    dropout: float = 0.05

    @property
    def time_factor(self):
        """Samples in a frame of the bottleneck, 320 as published."""
        return prod(self.time_pools)

    @property
    def n_frames(self):
        """Frames of the bottleneck; 0 if windows are too short."""
        return self.n_times // self.time_factor

    @property
    def n_electrodes(self):
        """Electrodes in the bottleneck, 1 as published."""
        n = self.n_channels
        for pool in self.electrode_pools:
            n = -(-n // pool)
        return n


class ConvBlock2d(nn.Module):
    """Convolution of the same size, batch norm, ReLU, dropout.

    An even kernel reaches further to the far side.
    """

    def __init__(self, n_in, n_out, config):
        super().__init__()
        padding = [
            ((size - 1) // 2, size // 2) for size in reversed(config.kernel_size)
        ]
        self.padding = [side for pair in padding for side in pair]
        self.conv = nn.Conv2d(n_in, n_out, config.kernel_size)
        self.norm = nn.BatchNorm2d(n_out)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):  # (B, C, T, E)
        return self.dropout(self.norm(self.conv(F.pad(x, self.padding))).relu())


class Pool(nn.Module):
    """Largest of each patch of time by electrodes.

    Samples left over in time are dropped; electrodes are filled up with zeros, the
    least that there is after a ReLU.
    """

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):  # (B, C, T, E)
        x = F.pad(x, (0, -x.shape[3] % self.size[1]))
        return F.max_pool2d(x, self.size)


class Residual(nn.Module):
    """``x + f(x)``, where f is three convolution blocks."""

    def __init__(self, width, config):
        super().__init__()
        self.f = nn.Sequential(*(ConvBlock2d(width, width, config) for _ in range(3)))

    def forward(self, x):
        return x + self.f(x)


class NeuroPoseNet(nn.Module):
    """EMG windows to poses, all times at once.

    Time is cut to a multiple of the pooling factor, and what comes out is stretched
    to the whole window again: a small warp in time, as published.

    Parameters
    ----------
    config : NeuroPoseConfig
    """

    pose_start = 0
    needs_initial_pose = False

    def __init__(self, config):
        super().__init__()
        self.config = config
        down = (1, *config.widths)
        up = (*reversed(config.widths), 1)
        width = config.widths[-1]
        self.encoder = nn.Sequential(
            *self._layers(down, Pool, config.electrode_pools),
        )
        self.residual = nn.Sequential(
            *(Residual(width, config) for _ in range(config.n_residual_blocks))
        )
        self.decoder = nn.Sequential(
            *self._layers(up, _upsample, config.electrode_upsampling),
        )
        n_electrodes = config.n_electrodes * prod(config.electrode_upsampling)
        self.head = nn.Linear(n_electrodes, config.n_joints)
        n_steps = config.n_frames * config.time_factor
        positions = pose_positions(n_steps, n_steps, config.n_pose_times)
        self.to_pose = Interpolation(positions, n_steps)

    def _layers(self, widths, resize, electrode_factors):
        factors = zip(self.config.time_pools, electrode_factors)
        for n_in, n_out, factor in zip(widths, widths[1:], factors):
            yield ConvBlock2d(n_in, n_out, self.config)
            yield resize(factor)

    def encode(self, x):
        """(B, C, T) to the bottleneck (B, D, n_frames, n_electrodes)."""
        x = x.transpose(1, 2).unsqueeze(1)  # (B, 1, T, C)
        return self.residual(self.encoder(x))

    def embed(self, x):
        """Mean of the bottleneck over time and electrodes: (B, C, T) to (B, D)."""
        return self.encode(x).mean(dim=(2, 3))

    def forward(self, x, initial_pose=None):
        """Predict poses.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        initial_pose : None
            Not used.

        Returns
        -------
        pose : tensor of shape (B, J, n_pose_times)
        """
        z = self.decoder(self.encode(x))  # (B, 1, n_steps, E)
        pose = self.head(z.squeeze(1)).float()  # (B, n_steps, J)
        return self.to_pose(pose.transpose(1, 2))


def _upsample(factor):
    return nn.Upsample(scale_factor=factor, mode="nearest")
