"""emg2pose filtered once, in half precision, and memory-mapped: writer and reader."""

from ._load import load_pack
from ._writer import pack_emg2pose

__all__ = ["load_pack", "pack_emg2pose"]
