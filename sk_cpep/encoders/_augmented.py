"""What training may change about windows at random."""

from numbers import Real
from typing import Annotated

from sklearn.utils._param_validation import Interval

from ..nn import Augmentation
from ._parameters import Amount, Count, Probability
from ._ring import RingAugmented, read_ring


class Augmented(RingAugmented):
    """Base of the estimators that can change windows in every way while training.

    Parameters
    ----------
    electrode_shift : float
        While training, the ring is turned by up to this part of the distance of two
        electrodes either way, at most 1; the signal in between is interpolated
        linearly, which suits envelopes. 0 is the paper's.

    amplitude_jitter : float
        Likewise, each channel is multiplied by ``exp(amplitude_jitter * normal)``. 0
        is the paper's.

    time_shift : int
        Likewise, windows are moved by up to this many samples. 0 is the paper's.

    noise : float
        Likewise, SD of white noise added to every sample. 0 is the paper's.

    channel_dropout : float
        Likewise, probability with which a channel is silenced. 0 is the paper's.
    """

    electrode_shift: Annotated[float, Interval(Real, 0, 1, closed="both")] = 0.0
    amplitude_jitter: Amount = 0.0
    time_shift: Count = 0
    noise: Amount = 0.0
    channel_dropout: Probability = 0.0

    def _augmentation(self) -> Augmentation:
        return Augmentation(
            channel_rotation=self.channel_rotation,
            ring=read_ring(self.ring_channels, self.n_channels_in_),
            electrode_shift=self.electrode_shift,
            amplitude_jitter=self.amplitude_jitter,
            time_shift=self.time_shift,
            noise=self.noise,
            channel_dropout=self.channel_dropout,
        )
