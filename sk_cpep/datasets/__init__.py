"""Recordings of EMG and hand pose: readers and a simulator."""

from ._ninapro import load_ninapro_db1
from ._simulator import make_gesture_recordings

__all__ = ["load_ninapro_db1", "make_gesture_recordings"]
