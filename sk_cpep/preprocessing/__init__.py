"""Filters, windows and normalisation: numpy in, numpy out."""

from ._filter import BandpassNotch
from ._norm import InstanceNorm
from ._paired import make_windows
from ._window import Windower

__all__ = ["BandpassNotch", "InstanceNorm", "Windower", "make_windows"]
