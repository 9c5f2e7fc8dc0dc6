"""One recording on its way into a pack: read, filtered, rounded, written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, clone

from ..._whole_file import sync
from ..emg2pose._file import open_timeseries, read_recording
from ..emg2pose._format import METADATA_FILE
from ..emg2pose._metadata import recording_path
from ._blocks import checksums, cut_blocks, to_float16, to_hex
from ._files import append_entry
from ._format import (
    HEADER_BYTES,
    JOURNAL,
    KINDS,
    Coding,
    shard_path,
    skipped_entry,
)


@dataclass(frozen=True)
class Job:
    """What holds for all recordings of a pack.

    Parameters
    ----------
    root, out : str
        Folders of the corpus and of the pack.

    filter : transformer or None

    coding : Coding

    skip : bool
        Whether a recording that cannot be packed is left out, rather than an error.
    """

    root: str
    out: str
    filter: BaseEstimator
    coding: Coding
    skip: bool


def measure(job, row, name):
    """Length of a recording.

    Parameters
    ----------
    job : Job

    row : int
        In the metadata.

    name : str
        From the metadata.

    Returns
    -------
    n_times : int or str
        Samples, or the reason why it is skipped.
    """
    try:
        with open_timeseries(str(recording_path(job.root, name))) as series:
            return len(series)
    except (OSError, ValueError) as error:
        return _reason(job, row, error)


def pack_recording(job, row, name, n_times, shard, first):
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

    shard, first : int
        Where it goes: number of the shard, and block within it.
    """
    try:
        runs, scale, blocks = encode_recording(job, name, n_times)
    except (OSError, ValueError) as error:
        entry = skipped_entry(row, name, n_times, _reason(job, row, error))
    else:
        entry = {"row": row, "filename": name, "length": n_times, "runs": runs.tolist()}
        entry["scale"] = None if (scale == 1).all() else scale.tolist()
        for kind in KINDS:
            entry[kind] = to_hex(checksums(blocks[kind]))
            write_blocks(shard_path(job.out, kind, shard), first, blocks[kind])
    append_entry(Path(job.out) / JOURNAL, entry)


def encode_recording(job, name, n_times):
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
    path = str(recording_path(job.root, name))
    emg, angles, runs = read_recording(path)
    if emg.shape[1] != n_times:
        raise ValueError(
            f"{path} has {emg.shape[1]} samples, and had {n_times} when the pack was "
            "begun. Put the former file back, or pack into another folder."
        )
    emg, scale = _filtered(job.filter, emg, path), np.ones(len(emg), np.float32)
    if job.coding.emg_dtype == "float16":
        emg, scale = to_float16(emg)
    pose = angles[:, :: job.coding.step]
    stored = {"emg": emg, "pose": pose}
    blocks = {
        kind: cut_blocks(
            x.astype(job.coding.dtype(kind), copy=False), job.coding.block_times(kind)
        )
        for kind, x in stored.items()
    }
    return runs, scale, blocks


def write_blocks(path, first, blocks):
    """Put blocks into a shard, on disk when this returns.

    Parameters
    ----------
    path : pathlib.Path

    first : int
        Where, in blocks.

    blocks : ndarray of shape (n_blocks, n_channels, n_times)
    """
    offset = HEADER_BYTES + first * blocks[0].nbytes
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(blocks.data)
        sync(file)


def _reason(job, row, error):
    """What the error says, where it only means that the recording is left out."""
    if job.skip:
        return str(error)
    raise type(error)(f"row {row} of {METADATA_FILE}: {error}") from error


def _filtered(filter, emg, path):
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
