"""NeuroPose: an encoder-decoder of images, time by electrodes.

Reads bottom-up: convolution block, residual block, the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from ._resampling import Interpolation, pose_positions
from ._tds import PUBLISHED_SFREQ, scaled_strides

_TIME_POOLS = (10, 8, 4)


def neuropose_time_pools(sfreq: float = PUBLISHED_SFREQ) -> tuple[int, ...]:
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
    time_pools: tuple[int, ...] = _TIME_POOLS
    electrode_pools: tuple[int, ...] = (2, 2, 4)
    electrode_upsampling: tuple[int, ...] = (4, 4, 2)
    kernel_size: tuple[int, int] = (3, 2)
    widths: tuple[int, ...] = (32, 128, 256)
    n_residual_blocks: int = 5
    dropout: float = 0.05

    @property
    def time_factor(self) -> int:
        """Samples in a frame of the bottleneck, 320 as published."""
        return prod(self.time_pools)

    @property
    def n_frames(self) -> int:
        """Frames of the bottleneck; 0 if windows are too short."""
        return self.n_times // self.time_factor

    @property
    def n_electrodes(self) -> int:
        """Electrodes in the bottleneck, 1 as published."""
        n = self.n_channels
        for pool in self.electrode_pools:
            n = -(-n // pool)
        return n


class ConvBlock2d(nn.Module):
    """Convolution of the same size, batch norm, ReLU, dropout.

    An even kernel reaches further to the far side.
    """

    def __init__(self, n_in: int, n_out: int, config: NeuroPoseConfig) -> None:
        super().__init__()
        padding = [
            ((size - 1) // 2, size // 2) for size in reversed(config.kernel_size)
        ]
        self.padding = [side for pair in padding for side in pair]
        self.conv = nn.Conv2d(n_in, n_out, config.kernel_size)
        self.norm = nn.BatchNorm2d(n_out)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, E)
        x = self.dropout(self.norm(self.conv(F.pad(x, self.padding))).relu())
        return x


class Pool(nn.Module):
    """Largest of each patch of time by electrodes.

    Samples left over in time are dropped; electrodes are filled up with zeros, the
    least that there is after a ReLU.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, E)
        x = F.pad(x, (0, -x.shape[3] % self.size[1]))
        return F.max_pool2d(x, self.size)


class Residual(nn.Module):
    """``x + f(x)``, where f is three convolution blocks."""

    def __init__(self, width: int, config: NeuroPoseConfig) -> None:
        super().__init__()
        self.f = nn.Sequential(*(ConvBlock2d(width, width, config) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.f(x)
        return x


def resized_blocks(
    config: NeuroPoseConfig,
    widths: tuple[int, ...],
    resize: Callable[[tuple[int, int]], nn.Module],
    electrode_factors: tuple[int, ...],
) -> nn.Sequential:
    """Convolution blocks, each followed by a pooling or an upsampling."""
    layers: list[nn.Module] = []
    factors = zip(config.time_pools, electrode_factors)
    for n_in, n_out, factor in zip(widths, widths[1:], factors):
        layers += [ConvBlock2d(n_in, n_out, config), resize(factor)]
    return nn.Sequential(*layers)


class NeuroPoseEncoder(nn.Module):
    """EMG to the bottleneck of :class:`NeuroPoseNet`; a :class:`WindowEncoder`."""

    def __init__(self, config: NeuroPoseConfig) -> None:
        super().__init__()
        self.d_model = config.widths[-1]
        widths = (1, *config.widths)
        self.down = resized_blocks(config, widths, Pool, config.electrode_pools)
        self.residual = nn.Sequential(
            *(Residual(self.d_model, config) for _ in range(config.n_residual_blocks))
        )

    def features(self, x: Tensor) -> Tensor:
        """(B, C, T) to the bottleneck (B, D, n_frames, n_electrodes)."""
        x = x.transpose(1, 2).unsqueeze(1)  # (B, 1, T, C)
        x = self.residual(self.down(x))
        return x

    def forward(self, x: Tensor, pooling: str = "mean") -> Tensor:
        """Mean of the bottleneck over time and electrodes: (B, C, T) to (B, D)."""
        return self.features(x).mean(dim=(2, 3))


class NeuroPoseNet(nn.Module):
    """EMG windows to poses, all times at once.

    Time is cut to a multiple of the pooling factor, and what comes out is stretched
    to the whole window again: a small warp in time, as published.
    """

    pose_start = 0
    needs_initial_pose = False

    def __init__(self, config: NeuroPoseConfig) -> None:
        super().__init__()
        self.encoder = NeuroPoseEncoder(config)
        widths = (*reversed(config.widths), 1)
        self.decoder = resized_blocks(
            config, widths, _upsample, config.electrode_upsampling
        )
        n_electrodes = config.n_electrodes * prod(config.electrode_upsampling)
        self.head = nn.Linear(n_electrodes, config.n_joints)
        n_steps = config.n_frames * config.time_factor
        positions = pose_positions(n_steps, n_steps, config.n_pose_times)
        self.to_pose = Interpolation(positions, n_steps)

    def forward(self, x: Tensor, initial_pose: None = None) -> Tensor:
        """Predict poses (B, J, n_pose_times) of windows (B, C, T)."""
        z = self.decoder(self.encoder.features(x))  # (B, 1, n_steps, E)
        pose: Tensor = self.head(z.squeeze(1)).float()  # (B, n_steps, J)
        pose = self.to_pose(pose.transpose(1, 2))
        return pose


def _upsample(factor: tuple[int, int]) -> nn.Upsample:
    """Repeat every value so many times along time and electrodes."""
    return nn.Upsample(scale_factor=factor, mode="nearest")
