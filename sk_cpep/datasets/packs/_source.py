"""Windows read from a pack."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..._file_identity import stamp
from ..._typing import AnyArray, Float32Array, IntArray
from .._digest import digest
from .._file_source import FileSource
from .._window_array import Indices
from ._blocks import from_hex, widen_halves
from ._format import KINDS
from ._pack import Pack
from ._shards import AGAIN, map_shard, shard_path

_OF_A_PROCESS = {"_shards", "_seen"}


class PackSource(FileSource):
    """EMG or pose of a pack, read in windows.

    Holds no open files when pickled: they are opened by the process that reads.

    Parameters
    ----------
    pack : Pack

    kind : {"emg", "pose"}

    rows : int array of shape (n_recordings,)
        Rows of the recordings that the windows will name by 0, 1, ...

    verify : bool
        Compare each block with its checksum when it is first read.
    """

    def __init__(self, pack: Pack, kind: str, rows: IntArray, verify: bool) -> None:
        entries = [pack.entries[row] for row in rows]
        places = pack.layout.places()
        step = 1 if kind == "emg" else pack.coding.step
        checksums = [
            from_hex(entry["emg"] if kind == "emg" else entry["pose"])
            for entry in entries
        ]
        self.n_channels = KINDS[kind]
        self.folder = pack.folder.absolute()
        self.kind = kind
        self.verify = verify
        self.coding = pack.coding
        self.shard_sizes = pack.layout.shard_sizes
        self.names = [entry["filename"] for entry in entries]
        self.lengths = -(-np.array([entry["length"] for entry in entries]) // step)
        self.places = [places[row] for row in rows]
        self.scales = [entry["scale"] if kind == "emg" else None for entry in entries]
        self.checksums = np.concatenate(checksums)
        n_blocks = [len(crcs) for crcs in checksums]
        self.first_checksums = np.cumsum([0, *n_blocks])
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: x for name, x in state.items() if name not in _OF_A_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def _forget(self) -> None:
        """Map and check anew whatever is read from now on."""
        self._shards: dict[int, tuple[object, AnyArray]] = {}
        self._seen = np.full(len(self.checksums), not self.verify)

    def paths(self) -> list[Path]:
        """Shards of this kind."""
        shards = range(len(self.shard_sizes))
        return [shard_path(self.folder, self.kind, shard) for shard in shards]

    def fingerprint(self, recordings: Indices) -> str:
        """Digest of the checksums of samples, which a copy of the pack has in common."""
        block = (
            self.kind,
            str(self.coding.dtype(self.kind)),
            self.coding.block_times(self.kind),
        )
        crcs = np.split(self.checksums.astype("<u4"), self.first_checksums[1:-1])
        contents = [
            (int(self.lengths[k]), self.scales[k], crcs[k].tobytes())
            for k in recordings
        ]
        return digest(repr((block, contents)).encode())

    def read_into(
        self, recordings: Indices, starts: Indices, out: Float32Array
    ) -> None:
        """Read windows, in the order in which they lie in the files."""
        ends = starts + out.shape[2]
        outside = (starts < 0) | (ends > self.lengths[recordings])
        if outside.any():
            k = np.argmax(outside)
            raise ValueError(
                f"Window {starts[k]} to {ends[k]} lies outside the "
                f"{self.lengths[recordings[k]]} samples of recording {recordings[k]}."
            )
        if self._has_changed():
            self._forget()
        for k in np.lexsort((starts, recordings)).tolist():
            self._read_window(int(recordings[k]), int(starts[k]), out[k])

    def _has_changed(self) -> bool:
        """Whether a file that is mapped was replaced or written."""
        mapped = list(self._shards.items())
        return any(
            stamp(shard_path(self.folder, self.kind, shard)) != known
            for shard, (known, _) in mapped
        )

    def _read_window(self, recording: int, start: int, out: Float32Array) -> None:
        times = self.coding.block_times(self.kind)
        shard, first = self.places[recording]
        blocks = self._map(shard)
        halves = blocks.dtype.kind == "i"
        target = out.view(np.int32) if halves else out
        filled = 0
        while filled < out.shape[1]:
            block, begin = divmod(start + filled, times)
            n = min(times - begin, out.shape[1] - filled)
            samples = blocks[first + block]
            self._check(recording, block, samples)
            target[:, filled : filled + n] = samples[:, begin : begin + n]
            filled += n
        if halves:
            widen_halves(out)
        if self.scales[recording] is not None:
            out *= np.array(self.scales[recording], dtype=np.float32)[:, None]

    def _map(self, shard: int) -> AnyArray:
        """Blocks of a shard; those in half precision as their bits."""
        _, blocks = self._shards.get(shard, (None, None))
        if blocks is None:
            shape = self.coding.shard_shape(self.kind, self.shard_sizes[shard])
            dtype = self.coding.dtype(self.kind)
            path = shard_path(self.folder, self.kind, shard)
            found = stamp(path)
            blocks = map_shard(path, shape, dtype)
            blocks = np.asarray(blocks.view("<i2") if dtype.itemsize == 2 else blocks)
            self._shards[shard] = found, blocks
        return blocks

    def _check(self, recording: int, block: int, samples: AnyArray) -> None:
        """Compare a block with its checksum, unless it has been."""
        n = self.first_checksums[recording] + block
        if self._seen[n]:
            return
        if zlib.crc32(samples.data) != self.checksums[n]:
            times = self.coding.block_times(self.kind)
            raise ValueError(
                f"{self.folder}: {self.kind} of {self.names[recording]}, samples "
                f"{block * times} to {(block + 1) * times}, is damaged: its checksum "
                f"does not match. {AGAIN}"
            )
        self._seen[n] = True
