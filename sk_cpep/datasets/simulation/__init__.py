"""Simulated people who make gestures: as recordings, and in emg2pose's files."""

from ._corpus_writer import write_emg2pose_corpus
from ._simulator import make_gesture_recordings

__all__ = ["make_gesture_recordings", "write_emg2pose_corpus"]
