"""Recordings of EMG and hand pose: readers and a simulator."""

from ._emg2pose import load_emg2pose
from ._emg2pose_metadata import check_published_counts, read_emg2pose_metadata
from ._emg2pose_writer import write_emg2pose_corpus
from ._ninapro import load_ninapro_db1
from ._pack_reader import load_pack
from ._pack_writer import pack_emg2pose
from ._simulator import make_gesture_recordings
from ._window_array import WindowArray

__all__ = [
    "WindowArray",
    "check_published_counts",
    "load_emg2pose",
    "load_ninapro_db1",
    "load_pack",
    "make_gesture_recordings",
    "pack_emg2pose",
    "read_emg2pose_metadata",
    "write_emg2pose_corpus",
]
