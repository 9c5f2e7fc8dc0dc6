"""Filters, windows, envelopes and normalisation: numpy in, numpy out."""

from ._amplitude_features import AmplitudeFeatures
from ._filter import BandpassNotch
from ._groups import standardise_groups
from ._moving import Envelope, RunningBaseline
from ._norm import InstanceNorm
from ._paired import make_windows
from ._window import Windower

__all__ = [
    "AmplitudeFeatures",
    "BandpassNotch",
    "Envelope",
    "InstanceNorm",
    "RunningBaseline",
    "Windower",
    "make_windows",
    "standardise_groups",
]
