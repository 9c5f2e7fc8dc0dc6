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

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..emg2pose._format import N_CHANNELS, N_JOINTS, SFREQ

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
    def pose_sfreq(self):
        """Rate of the pose in Hz."""
        return SFREQ / self.step

    def dtype(self, kind):
        """Type of the samples on disk."""
        name = self.emg_dtype if kind == "emg" else "float32"
        return np.dtype(name).newbyteorder("<")

    def block_times(self, kind):
        """Samples in a block."""
        return BLOCK if kind == "emg" else BLOCK // self.step

    def block_shape(self, kind):
        """Channels and samples of a block."""
        return KINDS[kind], self.block_times(kind)

    def block_bytes(self, kind):
        """Size of a block."""
        return KINDS[kind] * self.block_times(kind) * self.dtype(kind).itemsize


@dataclass(frozen=True)
class Layout:
    """Where the recordings lie in the shards.

    Parameters
    ----------
    lengths : tuple of int
        Samples of EMG of each recording; 0 for one that could not be opened.

    shard_blocks : int
        A shard that would become longer than this is closed. A recording is never
        divided.
    """

    lengths: tuple
    shard_blocks: int

    @cached_property
    def n_blocks(self):
        """Blocks of each recording, (n_recordings,)."""
        return -(-np.asarray(self.lengths, dtype=np.int64) // BLOCK)

    @cached_property
    def first_blocks(self):
        """First block of each recording, counted over all shards, (n_recordings,)."""
        return np.cumsum(self.n_blocks) - self.n_blocks

    @cached_property
    def shard_starts(self):
        """First block of each shard and, at the end, the number of all blocks."""
        starts, end = [0], 0
        for n in self.n_blocks.tolist():
            if end > starts[-1] and end + n - starts[-1] > self.shard_blocks:
                starts.append(end)
            end += n
        return np.array([*starts, end])

    @property
    def shard_sizes(self):
        """Blocks of each shard."""
        return np.diff(self.shard_starts).tolist()

    def place(self, recording):
        """Shard of a recording, and its first block there."""
        first = self.first_blocks[recording]
        shard = np.searchsorted(self.shard_starts[:-1], first, side="right") - 1
        return int(shard), int(first - self.shard_starts[shard])


def shard_path(folder, kind, shard):
    """Path of a shard's file."""
    return Path(folder) / f"{kind}-{shard:04d}.npy"


def npy_header(shape, dtype):
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


def skipped_entry(row, name, n_times, reason):
    """Entry of a recording that is left out."""
    return {"row": row, "filename": name, "length": n_times, "skipped": reason}


def list_skipped(entries):
    """What reports say of the recordings that are left out.

    Parameters
    ----------
    entries : iterable of dict

    Returns
    -------
    skipped : list of dict
        `row`, `filename` and `reason`.
    """
    return [
        {"row": e["row"], "filename": e["filename"], "reason": e["skipped"]}
        for e in entries
        if "skipped" in e
    ]


def headed(parameters):
    """What manifest and plan begin with."""
    return {"format": FORMAT, "version": VERSION, "parameters": parameters}
