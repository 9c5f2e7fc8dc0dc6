"""Readings of a wristband that one can buy: raw EMG of rest and seven gestures."""

from ._load import load_myo_readings

__all__ = ["load_myo_readings"]
