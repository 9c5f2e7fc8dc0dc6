"""Recordings of EMG and hand pose: readers and a simulator."""

from ._window_array import WindowArray
from .emg2pose import check_published_counts, load_emg2pose, read_emg2pose_metadata
from .examples import load_example
from .myo import load_myo_readings
from .ninapro import load_ninapro_db1
from .packs import load_pack, pack_emg2pose
from .simulation import make_gesture_recordings, write_emg2pose_corpus

__all__ = [
    "WindowArray",
    "check_published_counts",
    "load_emg2pose",
    "load_example",
    "load_myo_readings",
    "load_ninapro_db1",
    "load_pack",
    "make_gesture_recordings",
    "pack_emg2pose",
    "read_emg2pose_metadata",
    "write_emg2pose_corpus",
]
