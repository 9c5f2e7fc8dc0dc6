"""Zero-shot gesture recognition: EMG read by looking up the nearest poses."""

from ._classifier import ZeroShotClassifier
from ._encoder import AlignedEncoder as AlignedEncoder
from ._excluding import predict_excluding as predict_excluding

__all__ = ["ZeroShotClassifier"]
