"""What happens to EMG windows while a network trains; whole batches, on the device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a batch of windows, drawn anew for every window.

    Parameters
    ----------
    channel_rotation : int, default=0
        The ring of electrodes is rolled by a number of positions drawn uniformly
        from ``-channel_rotation, ..., channel_rotation`` (paper: 1).

    ring : tuple of int, default=None
        The channels that form the ring, in order round the limb. None is all.

    electrode_shift : float, default=0.0
        The ring is turned by a part of the distance of two electrodes drawn uniformly
        from ``-electrode_shift`` to ``electrode_shift``, at most 1; the signal between
        two electrodes is interpolated linearly.

    amplitude_jitter : float, default=0.0
        Each channel is multiplied by ``exp(amplitude_jitter * normal)``.

    time_shift : int, default=0
        The window is moved in time by up to this many samples either way, its
        edge repeated where nothing is left to show.

    noise : float, default=0.0
        SD of white noise added to every sample, in the unit of the windows.

    channel_dropout : float, default=0.0
        Probability with which a channel is silenced.
    """

    channel_rotation: int = 0
    ring: tuple[int, ...] | None = None
    electrode_shift: float = 0.0
    amplitude_jitter: float = 0.0
    time_shift: int = 0
    noise: float = 0.0
    channel_dropout: float = 0.0

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Change a batch of windows (B, C, T); the generator is on their device."""
        if self.channel_rotation:
            x = rotate_channels(x, self.channel_rotation, self.ring, generator)
        if self.electrode_shift:
            x = shift_electrodes(x, self.electrode_shift, self.ring, generator)
        if self.time_shift:
            x = shift_time(x, self.time_shift, generator)
        if self.amplitude_jitter:
            normal = _draw(torch.randn, (*x.shape[:2], 1), x, generator)
            x = x * torch.exp(self.amplitude_jitter * normal)
        if self.channel_dropout:
            uniform = _draw(torch.rand, (*x.shape[:2], 1), x, generator)
            x = x * (uniform >= self.channel_dropout)
        if self.noise:
            x = x + self.noise * _draw(torch.randn, x.shape, x, generator)
        return x


@lru_cache(maxsize=64)
def ring_of(channels: int | tuple[int, ...], device: torch.device) -> Tensor:
    """Channels of a ring, the first so many or a tuple, as a tensor on the device.

    Kept, because to send it there in every batch would wait for the device.
    """
    if isinstance(channels, tuple):
        return torch.tensor(channels, device=device)
    return torch.arange(channels, device=device)


def rotate_channels(
    x: Tensor,
    max_steps: int,
    ring: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Roll the electrodes of each window by -max_steps to max_steps positions.

    Parameters
    ----------
    x : tensor of shape (B, C, T)

    max_steps : int

    ring : sequence of int, default=None
        Channels of the ring in order; the others stay. None is all.

    generator : torch.Generator, default=None

    Returns
    -------
    x : tensor of shape (B, C, T)
    """
    B, C, T = x.shape
    channels = ring_of(C if ring is None else tuple(ring), x.device)  # (R,)
    steps = torch.randint(
        -max_steps, max_steps + 1, (B, 1), generator=generator, device=x.device
    )
    R = len(channels)
    places = (torch.arange(R, device=x.device) - steps) % R  # (B, R)
    source = torch.arange(C, device=x.device).repeat(B, 1)  # (B, C)
    source[:, channels] = channels[places]
    return x.gather(1, source.unsqueeze(-1).expand(-1, -1, T))


def shift_electrodes(
    x: Tensor,
    max_shift: float,
    ring: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Turn the ring of electrodes of each window by less than their distance.

    As :func:`rotate_channels`, but that `max_shift` is in distances of two electrodes,
    at most 1.
    """
    B, C, _ = x.shape
    channels = ring_of(C if ring is None else tuple(ring), x.device)  # (R,)
    draw = _draw(torch.rand, (B, 1, 1), x, generator)
    shift = max_shift * (2 * draw - 1)
    around = x[:, channels]  # (B, R, T)
    neighbour = torch.where(shift > 0, around.roll(1, 1), around.roll(-1, 1))
    turned = torch.lerp(around, neighbour, shift.abs().to(x.dtype))
    return x.index_copy(1, channels, turned)


def shift_time(
    x: Tensor, max_shift: int, generator: torch.Generator | None = None
) -> Tensor:
    """Move each window of (B, C, T) by up to `max_shift` samples, repeating its edge."""
    B, C, T = x.shape
    shift = torch.randint(
        -max_shift, max_shift + 1, (B, 1), generator=generator, device=x.device
    )
    source = (torch.arange(T, device=x.device) - shift).clamp(0, T - 1)  # (B, T)
    return x.gather(2, source.unsqueeze(1).expand(-1, C, -1))


def _draw(
    draw: Callable[..., Tensor],
    shape: Sequence[int],
    x: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Numbers in float32, whatever torch makes by default, where `x` is."""
    return draw(shape, generator=generator, dtype=torch.float32, device=x.device)
