"""Time-depth-separable convolutions: the feature extractor of emg2pose.

Reads bottom-up: convolution block, pair of TDS blocks, the whole stack. All
convolutions are valid, so that a feature sees no sample after its own frame.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

PUBLISHED_SFREQ = 2000.0
_STRIDES = (5, 2, 4, 2)
_KERNEL_SIZES = (11, 5, 17, 9)
_BLOCK_KERNEL_SIZES = (9, 5)


def tds_sizes(
    sfreq: float = PUBLISHED_SFREQ, strides: tuple[int, ...] | None = None
) -> dict[str, tuple[int, ...]]:
    """Strides and kernels whose receptive fields last as long as the published ones.

    Strides are chosen so that the rates after each convolution stay as near to the
    published ones (400, 200, 50 and 25 Hz) as whole numbers allow, kernels so that
    each spans the same time.

    Parameters
    ----------
    sfreq : float, default=2000.0
        Rate of the windows in Hz. At 2000 Hz the sizes are the published ones.

    strides : tuple of 4 int, default=None
        Strides to find kernels for. None chooses them.

    Returns
    -------
    sizes : dict
        ``strides`` and ``kernel_sizes``, four each, and ``block_kernel_sizes``, two:
        parameters of :class:`TDSConfig`.
    """
    ratio = sfreq / PUBLISHED_SFREQ
    if strides is None:
        strides = scaled_strides(_STRIDES, ratio)
    # Samples of the input from one sample to the next in front of each convolution.
    old, new = ([prod(s[:i]) for i in range(5)] for s in (_STRIDES, strides))
    return {
        "strides": tuple(strides),
        "kernel_sizes": tuple(
            _scaled_kernel(size, ratio * old[i] / new[i])
            for i, size in enumerate(_KERNEL_SIZES)
        ),
        "block_kernel_sizes": tuple(
            _scaled_kernel(size, ratio * old[i] / new[i])
            for i, size in zip((3, 4), _BLOCK_KERNEL_SIZES)
        ),
    }


def scaled_strides(strides: tuple[int, ...], ratio: float) -> tuple[int, ...]:
    """Strides whose running product stays as near to ``ratio`` times the given one.

    Parameters
    ----------
    strides : tuple of int

    ratio : float

    Returns
    -------
    scaled : tuple of int
        None below 1.
    """
    scaled: list[int] = []
    for i in range(1, len(strides) + 1):
        scaled.append(max(1, round(ratio * prod(strides[:i]) / prod(scaled))))
    return tuple(scaled)


def _scaled_kernel(size: int, ratio: float) -> int:
    """Samples of a kernel that spans the same time at another rate."""
    return 1 + round((size - 1) * ratio)


@dataclass(frozen=True)
class TDSConfig:
    """Sizes of a :class:`TDSFeaturizer`; the defaults are the published ones.

    Parameters
    ----------
    n_channels : int, default=16

    strides, kernel_sizes : tuple of 4 int, default=(5, 2, 4, 2) and (11, 5, 17, 9)
        Of the four convolutions: two of the stem, one of each stage.

    block_kernel_sizes : tuple of 2 int, default=(9, 5)
        Of the TDS blocks of the two stages.

    n_blocks : int, default=2
        Pairs of TDS blocks a stage.

    d_model : int, default=256
        Width of the convolutions, a multiple of `block_channels`.

    block_channels : int, default=16
        Channels of the TDS convolutions; ``d_model / block_channels`` is their width.

    d_features : int, default=64
        Features a frame.
    """

    n_channels: int = 16
    strides: tuple[int, ...] = _STRIDES
    kernel_sizes: tuple[int, ...] = _KERNEL_SIZES
    block_kernel_sizes: tuple[int, ...] = _BLOCK_KERNEL_SIZES
    n_blocks: int = 2
    d_model: int = 256
    block_channels: int = 16
    d_features: int = 64

    @property
    def stride(self) -> int:
        """Samples from one frame to the next, 80 as published."""
        return prod(self.strides)

    @property
    def left_context(self) -> int:
        """Samples before its own that a frame depends on, 1,790 as published."""
        jumps = [prod(self.strides[:i]) for i in range(5)]
        convolutions = sum((k - 1) * jumps[i] for i, k in enumerate(self.kernel_sizes))
        blocks = sum((k - 1) * j for k, j in zip(self.block_kernel_sizes, jumps[3:]))
        return convolutions + self.n_blocks * blocks

    def n_frames(self, n_times: int) -> int:
        """Number of frames of a window of `n_times` samples; 0 if it is too short."""
        return max(0, (n_times - self.left_context - 1) // self.stride + 1)


class ConvBlock(nn.Module):
    """Convolution over time, ReLU, layer norm over channels."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel_size, stride)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        # Contiguous before the ReLU: its gradient is slow across strides.
        x = self.conv(x).transpose(1, 2).contiguous()  # (B, T', D)
        x = self.norm(x.relu())
        return x.transpose(1, 2)  # (B, D, T')


class TDSBlocks(nn.Module):
    """A convolution over time within groups, then a layer across all channels."""

    def __init__(self, d_model: int, n_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.conv = nn.Conv2d(n_channels, n_channels, (1, kernel_size))
        self.norm1 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model)
        )
        self.norm2 = nn.LayerNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:  # (B, D, T)
        y = self.conv(torch.unflatten(x, 1, (self.n_channels, -1)))  # (B, C, W, T')
        y = y.flatten(1, 2).transpose(1, 2).contiguous()  # (B, T', D)
        x = self.norm1(y.relu() + x.transpose(1, 2)[:, -y.shape[1] :])
        x = self.norm2(x + self.mlp(x))
        return x.transpose(1, 2)  # (B, D, T')


class TDSFeaturizer(nn.Module):
    """EMG to features at a low rate, 25 Hz as published; a :class:`WindowEncoder`."""

    def __init__(self, config: TDSConfig) -> None:
        super().__init__()
        self.d_model = config.d_features
        widths = (config.n_channels, *[config.d_model] * 4)
        stem1, stem2, stage1, stage2 = (
            ConvBlock(*sizes)
            for sizes in zip(widths, widths[1:], config.kernel_sizes, config.strides)
        )
        blocks1, blocks2 = (
            nn.Sequential(
                *(
                    TDSBlocks(config.d_model, config.block_channels, kernel_size)
                    for _ in range(config.n_blocks)
                )
            )
            for kernel_size in config.block_kernel_sizes
        )
        self.stem = nn.Sequential(stem1, stem2)
        self.stage1 = nn.Sequential(stage1, blocks1)
        self.stage2 = nn.Sequential(stage2, blocks2)
        self.project = nn.Linear(config.d_model, config.d_features)

    def features(self, x: Tensor) -> Tensor:
        """Extract features.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        Returns
        -------
        features : tensor of shape (B, F, n_frames)
            Frame i depends on the samples ``i * stride`` to
            ``i * stride + left_context``.
        """
        x = self.stage2(self.stage1(self.stem(x)))  # (B, D, n_frames)
        x = self.project(x.transpose(1, 2))
        return x.transpose(1, 2)

    def forward(self, x: Tensor, pooling: str = "mean") -> Tensor:
        """Mean of the features over time: (B, C, T) to (B, F)."""
        return self.features(x).mean(dim=2)
