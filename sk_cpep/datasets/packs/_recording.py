"""One recording on its way into a pack: read, filtered, rounded, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, clone

from ..._typing import AnyArray, Float32Array, IntArray
from ..emg2pose._file import open_timeseries, read_recording
from ..emg2pose._format import METADATA_FILE
from ..emg2pose._metadata import recording_path
from ._blocks import checksums, cut_blocks, to_float16, to_hex
from ._files import append_entry
from ._format import JOURNAL, KINDS, Coding, skipped_entry
from ._shards import shard_path, write_blocks


@dataclass(frozen=True)
class Job:
    """What holds for all recordings of a pack.

    Parameters
    ----------
    root, out : pathlib.Path
        Folders of the corpus and of the pack.

    filter : transformer or None

    coding : Coding

    skip : bool
        Whether a recording that cannot be packed is left out, rather than an error.
    """

    root: Path
    out: Path
    filter: BaseEstimator | None
    coding: Coding
    skip: bool

    def reason(self, row: int, error: Exception) -> str:
        """What an error says, where it only means that the recording is left out."""
        if self.skip:
            return str(error)
        raise type(error)(f"row {row} of {METADATA_FILE}: {error}") from error


def measure(job: Job, row: int, name: str) -> int | str:
    """Length of a recording in samples, or the reason why it is left out.

    Parameters
    ----------
    job : Job

    row : int
        In the metadata.

    name : str
        From the metadata.
    """
    try:
        with open_timeseries(recording_path(job.root, name)) as series:
            return len(series)
    except (OSError, ValueError) as error:
        return job.reason(row, error)


def pack_recording(
    job: Job, row: int, name: str, n_times: int, place: tuple[int, int]
) -> None:
    """Pack a recording, and note it in the journal once it is on disk.

    Parameters
    ----------
    job : Job

    row : int
        In the metadata.

    name : str
        From the metadata.

    n_times : int
        Length when the pack was begun.

    place : tuple of int
        Where it goes: number of the shard, and block within it.
    """
    try:
        runs, scale, blocks = encode_recording(job, name, n_times)
    except (OSError, ValueError) as error:
        entry = skipped_entry(row, name, n_times, job.reason(row, error))
    else:
        shard, first = place
        for kind in KINDS:
            write_blocks(shard_path(job.out, kind, shard), first, blocks[kind])
        entry = {
            "row": row,
            "filename": name,
            "length": n_times,
            "runs": runs.tolist(),
            "scale": None if (scale == 1).all() else scale.tolist(),
            "emg": to_hex(checksums(blocks["emg"])),
            "pose": to_hex(checksums(blocks["pose"])),
        }
    append_entry(job.out / JOURNAL, entry)


def encode_recording(
    job: Job, name: str, n_times: int
) -> tuple[IntArray, Float32Array, dict[str, AnyArray]]:
    """Read a recording, filter it, and bring it into the form of the pack.

    Parameters
    ----------
    job : Job

    name : str

    n_times : int
        Length that it has to have.

    Returns
    -------
    runs : ndarray of shape (n_runs, 2)
        Where inverse kinematics did not fail.

    scale : float32 ndarray of shape (16,)
        What the EMG on disk has to be multiplied with.

    blocks : dict of str to ndarray of shape (n_blocks, n_channels, n_times)
        Of "emg" and "pose".

    Raises
    ------
    OSError, ValueError
        If it cannot be read or filtered, or has another length.
    """
    path = recording_path(job.root, name)
    emg, angles, runs = read_recording(path)
    if emg.shape[1] != n_times:
        raise ValueError(
            f"{path} has {emg.shape[1]} samples, and had {n_times} when the pack was "
            "begun. Put the former file back, or pack into another folder."
        )
    stored: dict[str, AnyArray] = {
        "emg": _filtered(job.filter, emg, path),
        "pose": angles[:, :: job.coding.step],
    }
    scale = np.ones(len(emg), np.float32)
    if job.coding.emg_dtype == "float16":
        stored["emg"], scale = to_float16(stored["emg"])
    blocks = {
        kind: cut_blocks(
            x.astype(job.coding.dtype(kind), copy=False), job.coding.block_times(kind)
        )
        for kind, x in stored.items()
    }
    return runs, scale, blocks


def _filtered(
    filter: BaseEstimator | None, emg: Float32Array, path: Path
) -> Float32Array:
    """EMG that went through the filter, (16, n_times) float32."""
    if filter is None:
        return emg
    try:
        (filtered,) = clone(filter).fit_transform([emg])
        filtered = np.asarray(filtered, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the filter {filter} failed: {error}") from error
    if filtered.shape != emg.shape or not np.isfinite(filtered).all():
        raise ValueError(
            f"{path}: the filter {filter} made of shape {emg.shape} the shape "
            f"{filtered.shape}, {np.count_nonzero(~np.isfinite(filtered))} values not "
            "finite; expected the same shape, all finite."
        )
    return filtered
