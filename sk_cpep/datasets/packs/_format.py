"""How a pack lies on disk: shards of blocks, a list of recordings, a manifest.

A finished pack is a folder that holds

* ``emg-<n>.npy``, shape (n_blocks, 16, 4000), and ``pose-<n>.npy``, shape
  (n_blocks, 20, 4000 / step): blocks of two seconds. A recording takes whole blocks
  one after the other, the last filled up with zeros, and both files of a shard hold
  the same recordings in the same blocks;
* ``recordings.jsonl``, a line per recording in the order of the metadata: length,
  valid runs, scale of the channels, checksum of every block;
* ``metadata.csv``, as in the corpus;
* ``manifest.json``, written last: the parameters and the checksums of the two.

An unfinished one holds, in place of the manifest, ``plan.json``, written first, and
``journal.jsonl``, to which a line is added for each recording that is on disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from ..._typing import IntArray
from ..emg2pose._format import N_CHANNELS, N_JOINTS, SFREQ
from ..emg2pose._windows import Skipped

FORMAT = "sk_cpep pack of emg2pose"
VERSION = 1
MANIFEST = "manifest.json"
PLAN = "plan.json"
JOURNAL = "journal.jsonl"
RECORDINGS = "recordings.jsonl"

HEADER_BYTES = 128
BLOCK = 4000  # samples of EMG, 2 s
SHARD_BLOCKS = 2**14  # 2 GiB of EMG in float16
KINDS = {"emg": N_CHANNELS, "pose": N_JOINTS}


class Entry(TypedDict, total=False):
    """What is noted of a recording.

    Where it was packed: valid runs, scale of the EMG's channels (None: all 1), and
    checksums of the blocks of EMG and pose. Where it was left out: `skipped`, the
    reason. Where it did not read back: `damaged`.
    """

    row: int
    filename: str
    length: int
    runs: list[list[int]]
    scale: list[float] | None
    emg: str
    pose: str
    skipped: str
    damaged: bool


@dataclass(frozen=True)
class Coding:
    """How samples are stored.

    Parameters
    ----------
    emg_dtype : str
        "float16" or "float32".

    step : int
        Samples of EMG for one of pose.
    """

    emg_dtype: str
    step: int

    @property
    def pose_sfreq(self) -> float:
        """Rate of the pose in Hz."""
        return SFREQ / self.step

    def dtype(self, kind: str) -> np.dtype[Any]:
        """Type of the samples on disk."""
        name = self.emg_dtype if kind == "emg" else "float32"
        return np.dtype(name).newbyteorder("<")

    def block_times(self, kind: str) -> int:
        """Samples in a block."""
        return BLOCK if kind == "emg" else BLOCK // self.step

    def block_bytes(self, kind: str) -> int:
        """Size of a block."""
        return KINDS[kind] * self.block_times(kind) * self.dtype(kind).itemsize

    def shard_shape(self, kind: str, n_blocks: int) -> tuple[int, int, int]:
        """Blocks, channels and samples of a shard."""
        return n_blocks, KINDS[kind], self.block_times(kind)


@dataclass(frozen=True)
class Layout:
    """Where the recordings lie in the shards.

    Parameters
    ----------
    lengths : sequence of int
        Samples of EMG of each recording; 0 for one that could not be opened.

    shard_blocks : int
        A shard that would become longer than this is closed. A recording is never
        divided.

    Attributes
    ----------
    n_blocks : ndarray of shape (n_recordings,)
        Blocks of each recording.

    shard_starts : ndarray of shape (n_shards + 1,)
        First block of each shard, counted over all, and the number of all blocks.
    """

    lengths: list[int]
    shard_blocks: int
    n_blocks: IntArray = field(init=False)
    shard_starts: IntArray = field(init=False)

    def __post_init__(self) -> None:
        n_blocks = -(-np.asarray(self.lengths, dtype=np.int64) // BLOCK)
        starts, end = [0], 0
        for n in n_blocks.tolist():
            if end > starts[-1] and end + n - starts[-1] > self.shard_blocks:
                starts.append(end)
            end += n
        object.__setattr__(self, "n_blocks", n_blocks)
        object.__setattr__(self, "shard_starts", np.array([*starts, end]))

    @property
    def shard_sizes(self) -> list[int]:
        """Blocks of each shard."""
        sizes: list[int] = np.diff(self.shard_starts).tolist()
        return sizes

    def places(self) -> list[tuple[int, int]]:
        """Of each recording the shard, and its first block there."""
        first = np.cumsum(self.n_blocks) - self.n_blocks
        shard = np.searchsorted(self.shard_starts[:-1], first, side="right") - 1
        return list(zip(shard.tolist(), (first - self.shard_starts[shard]).tolist()))


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Beginning of a shard's file: that of numpy's format 1.0, the same on any version.

    Parameters
    ----------
    shape : tuple of int

    dtype : numpy.dtype

    Returns
    -------
    header : bytes of length HEADER_BYTES
    """
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER_BYTES - 10)
    return start + text.encode().ljust(HEADER_BYTES - 11) + b"\n"


def skipped_entry(row: int, name: str, n_times: int, reason: str) -> Entry:
    """Entry of a recording that is left out."""
    return {"row": row, "filename": name, "length": n_times, "skipped": reason}


def list_skipped(entries: Iterable[Entry]) -> list[Skipped]:
    """What reports say of the recordings that are left out."""
    return [
        {"row": e["row"], "filename": e["filename"], "reason": e["skipped"]}
        for e in entries
        if "skipped" in e
    ]
