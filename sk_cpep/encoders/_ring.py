"""The ring of electrodes round the limb, which training rolls at random."""

from numbers import Integral

import numpy as np

from ..nn import Augmentation
from ._parameters import Array, Count, Size
from ._trained_estimator import TrainedEstimator


class RingAugmented(TrainedEstimator):
    """Base of the estimators that roll the ring of electrodes while training.

    Parameters
    ----------
    channel_rotation : int
        While training, the ring of electrodes is rolled by up to this many positions
        either way, at random. 0 for none.

    ring_channels : int or array-like of int
        Which channels are the ring: the first so many, or their indices in order
        round the limb. None is all channels.
    """

    channel_rotation: Count = 1
    ring_channels: Size | Array | None = None

    def _augmentation(self) -> Augmentation:
        ring = read_ring(self.ring_channels, self.n_channels_in_)
        return Augmentation(channel_rotation=self.channel_rotation, ring=ring)


def read_ring(ring_channels: object, n_channels: int) -> tuple[int, ...] | None:
    """The channels of the ring of electrodes, in order, as a tuple; None is all.

    Parameters
    ----------
    ring_channels : int, 1-D array-like of int or None
        The first so many channels, or indices.

    n_channels : int
        Channels of a window.

    Returns
    -------
    ring : tuple of int or None

    Raises
    ------
    ValueError
        If it is anything else, such as a mask, or not of this window.
    """
    if ring_channels is None:
        return None
    given = np.asarray(ring_channels, dtype=object)
    entries = given.ravel().tolist()
    if given.ndim > 1 or not entries or not all(map(is_whole, entries)):
        raise ValueError(
            "ring_channels must be an int from 1 on, the number of channels round the "
            "limb, or a list of ints, their indices in order; got "
            f"{ring_channels!r}. (Of a mask, give np.flatnonzero(mask).)"
        )
    ring = tuple(map(int, entries))
    if given.ndim == 0:
        ring = tuple(range(min(ring[0], n_channels + 1)))
    if (
        not ring
        or len(set(ring)) < len(ring)
        or not set(ring) <= set(range(n_channels))
    ):
        shown = ring if given.ndim else entries[0]
        raise ValueError(
            f"ring_channels={shown} must be different channels among the {n_channels} "
            f"of the windows, 0 to {n_channels - 1}, or how many of them, from 1 on."
        )
    return ring


def is_whole(value: object) -> bool:
    """Whether a value is an int of any kind; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.timedelta64))
