"""The samples of a pack: shards of blocks that are made, written, mapped and checked."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..._typing import AnyArray
from ..._whole_file import sync
from ._blocks import from_hex
from ._format import HEADER_BYTES, KINDS, Coding, Entry, Layout, npy_header

AGAIN = "Copy the pack again, or pack again."


def shard_path(folder: Path, kind: str, shard: int) -> Path:
    """Path of a shard's file."""
    return folder / f"{kind}-{shard:04d}.npy"


def make_shards(folder: Path, coding: Coding, layout: Layout, resumed: bool) -> None:
    """Make files for all blocks, filled with zeros, which take no space yet.

    Parameters
    ----------
    folder : pathlib.Path

    coding : Coding

    layout : Layout

    resumed : bool
        Whether some recordings are in them already, so that none may be missing.

    Raises
    ------
    OSError
        If a file is not as it was made.
    """
    for shard, n_blocks in enumerate(layout.shard_sizes):
        for kind in KINDS:
            path = shard_path(folder, kind, shard)
            size = HEADER_BYTES + n_blocks * coding.block_bytes(kind)
            if path.exists() and path.stat().st_size == size:
                continue
            if path.exists() or resumed:
                raise OSError(
                    f"{path} was removed or changed since the pack was begun. Delete "
                    f"{folder} and pack again."
                )
            draft = path.with_name(f".{path.name}.tmp")
            with draft.open("wb") as file:
                shape = coding.shard_shape(kind, n_blocks)
                file.write(npy_header(shape, coding.dtype(kind)))
                file.truncate(size)
                sync(file)
            os.replace(draft, path)


def write_blocks(path: Path, first: int, blocks: AnyArray) -> None:
    """Put blocks into a shard, on disk when this returns.

    Parameters
    ----------
    path : pathlib.Path

    first : int
        Where, in blocks.

    blocks : ndarray of shape (n_blocks, n_channels, n_times)
    """
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + first * blocks[0].nbytes)
        file.write(blocks.data)
        sync(file)


def map_shard(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
    """Memory-map the blocks of a shard.

    Parameters
    ----------
    path : pathlib.Path

    shape : tuple of int
        (n_blocks, n_channels, n_times) that it has to have.

    dtype : numpy.dtype
        Type that it has to have.

    Returns
    -------
    blocks : memmap of shape `shape`
        Read-only.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, or is not what it has to be.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the pack is not whole. {AGAIN}")
    header = npy_header(shape, dtype)
    size = HEADER_BYTES + math.prod(shape) * dtype.itemsize
    with path.open("rb") as file:
        found = file.read(HEADER_BYTES)
    if found != header or path.stat().st_size != size:
        raise ValueError(
            f"{path} is damaged: it has {path.stat().st_size} bytes and begins with "
            f"{found[10:].rstrip()!r}; expected {size} bytes and "
            f"{header[10:].rstrip()!r}. {AGAIN}"
        )
    return np.memmap(path, dtype, "r", HEADER_BYTES, shape)


def damaged_rows(
    folder: Path, coding: Coding, layout: Layout, entries: Iterable[Entry]
) -> Iterator[int]:
    """Rows of the recordings whose checksums do not match what is on disk.

    Parameters
    ----------
    folder : pathlib.Path

    coding : Coding

    layout : Layout

    entries : iterable of Entry
        Of all recordings.

    Yields
    ------
    row : int
    """
    for entry, (shard, first) in zip(entries, layout.places()):
        if "skipped" in entry:
            continue
        for kind, crcs in (("emg", entry["emg"]), ("pose", entry["pose"])):
            path = shard_path(folder, kind, shard)
            if not _matches(path, first, coding.block_bytes(kind), crcs):
                yield entry["row"]
                break


def _matches(path: Path, first: int, n_bytes: int, crcs: str) -> bool:
    """Whether the blocks of a recording are those of its checksums."""
    # Read, not mapped: pages of a mapping would count as memory of this process.
    with path.open("rb") as file:
        file.seek(HEADER_BYTES + first * n_bytes)
        return all(
            zlib.crc32(file.read(n_bytes)) == crc for crc in from_hex(crcs).tolist()
        )
