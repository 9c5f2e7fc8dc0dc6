"""A finished pack: opened, and checked to be whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._typing import PathLike
from .._digest import digest
from ._files import read_entries, read_sealed
from ._format import (
    JOURNAL,
    KINDS,
    MANIFEST,
    PLAN,
    RECORDINGS,
    Coding,
    Entry,
    Layout,
)
from ._shards import AGAIN, damaged_rows, map_shard, shard_path


@dataclass(frozen=True)
class Pack:
    """A finished pack.

    Parameters
    ----------
    folder : pathlib.Path

    parameters : dict
        What it was made with.

    coding : Coding

    layout : Layout

    entries : list of Entry
        Of each recording, in the order of the metadata.
    """

    folder: Path
    parameters: dict[str, Any]
    coding: Coding
    layout: Layout
    entries: list[Entry]

    def verify(self) -> None:
        """Compare all samples with their checksums."""
        found = damaged_rows(self.folder, self.coding, self.layout, self.entries)
        names = [self.entries[row]["filename"] for row in found]
        if names:
            raise ValueError(
                f"{self.folder}: the checksums of {len(names)} recordings do not match "
                f"their samples: {', '.join(names[:5])}. {AGAIN}"
            )


def open_pack(folder: PathLike) -> Pack:
    """Open a pack and check that it is whole, but for the samples.

    Parameters
    ----------
    folder : str or path-like

    Returns
    -------
    pack : Pack

    Raises
    ------
    FileNotFoundError
        If there is no pack, or one of its files is missing.
    ValueError
        If it is not finished, damaged or of another version.
    """
    folder = Path(folder)
    _check_finished(folder)
    manifest = read_sealed(folder / MANIFEST)
    texts = {
        name: _read_listed(folder / name, d) for name, d in manifest["files"].items()
    }
    entries = [json.loads(line) for line in texts[RECORDINGS].splitlines()]
    coding = Coding(manifest["parameters"]["emg_dtype"], manifest["step"])
    layout = Layout([entry["length"] for entry in entries], manifest["shard_blocks"])
    for shard, n_blocks in enumerate(layout.shard_sizes):
        for kind in KINDS:
            shape, dtype = coding.shard_shape(kind, n_blocks), coding.dtype(kind)
            map_shard(shard_path(folder, kind, shard), shape, dtype)
    return Pack(folder, manifest["parameters"], coding, layout, entries)


def _check_finished(folder: Path) -> None:
    """Refuse a folder without a manifest."""
    if (folder / MANIFEST).is_file():
        return
    if (folder / PLAN).is_file():
        n_all = len(read_sealed(folder / PLAN)["lengths"])
        journal = folder / JOURNAL
        noted = read_entries(journal).values() if journal.is_file() else []
        n_done = sum("damaged" not in entry for entry in noted)
        raise ValueError(
            f"{folder} is a pack that is not finished: {n_done} of {n_all} recordings. "
            "Run the command that began it again: it resumes there."
        )
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {what}; pass what pack_emg2pose made.")
    found = sorted(path.name for path in folder.iterdir())[:5]
    raise FileNotFoundError(
        f"{folder} holds no pack: there is no {MANIFEST} (found {found or 'nothing'}). "
        "Pass a folder that pack_emg2pose made."
    )


def _read_listed(path: Path, expected: str) -> bytes:
    """Content of a file whose checksum the manifest holds."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the pack is not whole. {AGAIN}")
    content = path.read_bytes()
    if digest(content) != expected:
        raise ValueError(
            f"{path} was altered or damaged: its checksum does not match. {AGAIN}"
        )
    return content
