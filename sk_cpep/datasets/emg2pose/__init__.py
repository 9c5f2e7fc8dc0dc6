"""Reader of emg2pose: wristband EMG and the hand's joint angles."""

from ._load import load_emg2pose
from ._metadata import check_published_counts, read_emg2pose_metadata

__all__ = ["check_published_counts", "load_emg2pose", "read_emg2pose_metadata"]
