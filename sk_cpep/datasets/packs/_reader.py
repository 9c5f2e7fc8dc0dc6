"""Windows of a pack: opened, checked, read in batches."""

import json
import math
import os
import zlib
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ..._file_identity import stamp
from .._batch_memory import BatchMemory
from .._window_array import WindowArray
from ..emg2pose._metadata import read_emg2pose_metadata
from ..emg2pose._windows import emg2pose_bunch, plan_windows, select_recordings
from ._blocks import from_hex, widen_halves
from ._files import digest, read_entries, read_sealed
from ._format import (
    HEADER_BYTES,
    JOURNAL,
    KINDS,
    MANIFEST,
    PLAN,
    RECORDINGS,
    Coding,
    Layout,
    list_skipped,
    npy_header,
    shard_path,
)

_PACKED = """
As packed: EMG in {emg_dtype}, filter {filter};
pose picked at {pose_rate} Hz.
"""
_AGAIN = "Copy the pack again, or pack again."
_OF_A_PROCESS = {"_shards", "_seen"}
_COUNT = Interval(Integral, 1, 2**53, closed="both")
_CHOICE = [None, str, "array-like"]


@validate_params(
    {
        "pack": [str, os.PathLike],
        "split": _CHOICE,
        "generalization": _CHOICE,
        "stages": _CHOICE,
        "users": _CHOICE,
        "sides": _CHOICE,
        "size": [_COUNT],
        "stride": [_COUNT, None],
        "reference_windows": ["boolean"],
        "verify": ["boolean", StrOptions({"lazy"})],
    },
    prefer_skip_nested_validation=True,
)
def load_pack(
    pack,
    *,
    split=None,
    generalization=None,
    stages=None,
    users=None,
    sides=None,
    size=4000,
    stride=None,
    reference_windows=False,
    verify="lazy",
):
    """Windows of a packed emg2pose.

    The same windows as :func:`load_emg2pose` finds, filtered and rounded as
    :func:`pack_emg2pose` was told. They are read from memory-mapped files when a batch
    is asked for.

    Parameters
    ----------
    pack : str or path-like
        Folder that :func:`pack_emg2pose` made.

    split : str or sequence of str, default=None
        "train", "val" or "test". None, here and below, takes all.

    generalization : str or sequence of str, default=None
        What training has not seen: "none", "user", "stage" or "user_stage".

    stages : str or sequence of str, default=None
        Stages by name, as in the table.

    users : str or sequence of str, default=None
        Users by name, as in the table.

    sides : str or sequence of str, default=None
        "left" or "right": which hands.

    size : int, default=4000
        Length of a window in samples of the EMG (2 kHz); a whole number of samples of
        the pose.

    stride : int, default=None
        Samples from the start of one window to that of the next. None takes `size`.

    reference_windows : bool, default=False
        Count windows as the published benchmark does, which leaves out the last two
        samples of each run of valid samples.

    verify : {"lazy", True, False}, default="lazy"
        Compare the samples with their checksums: each block of two seconds when it is
        first read in a process, all of them at once now, or never.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As :func:`load_emg2pose` returns, with `pose_sfreq` as packed and

        parameters : dict
            What the pack was made with.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no pack in it, or one of its files is missing.
    ValueError
        If the pack is not finished, damaged or of another version; if `size` is not a
        whole number of samples of the pose, a value asked for is unknown, nothing is
        left or no window fits. Reading a damaged block raises it as well.

    See Also
    --------
    pack_emg2pose : Makes the pack.
    load_emg2pose : Reads the corpus as published.

    Notes
    -----
    The pose of a window is what lies in it of the pose's own grid, which begins with
    the recording. Where a window starts between two samples of that grid, its first
    pose sample is up to one sample of the pose later: 5 ms at 200 Hz.

    Examples
    --------
    >>> from sk_cpep.datasets import load_pack
    >>> data = load_pack("packed", split="train")  # doctest: +SKIP
    >>> data.emg  # doctest: +SKIP
    WindowArray(shape=(312540, 16, 4000), dtype=float32, unread)
    """
    opened = open_pack(pack)
    step = opened.coding.step
    if size % step:
        raise ValueError(
            f"size={size} is no whole number of samples of the pose, which has one for "
            f"{step} of the EMG: give a multiple of {step}."
        )
    table = read_emg2pose_metadata(opened.folder)
    asked = dict(generalization=generalization, stages=stages, users=users, sides=sides)
    rows = select_recordings(table, split=split, **asked)
    skipped = list_skipped(opened.entries[row] for row in rows)
    rows = np.setdiff1d(rows, [entry["row"] for entry in skipped]).astype(np.int64)
    if not len(rows):
        raise ValueError(
            f"None of the {len(skipped)} selected recordings is in the pack; the first: "
            f"{skipped[0]['reason']}"
        )
    if verify is True:
        opened.verify()
    runs = [np.reshape(opened.entries[row]["runs"], (-1, 2)) for row in rows]
    lengths = [opened.entries[row]["length"] for row in rows]
    windows, recordings = plan_windows(lengths, runs, size, stride, reference_windows)
    emg, pose = (
        WindowArray(
            PackSource(opened, kind, rows, verify=verify == "lazy"),
            windows["recording"],
            -(-windows["start"] // n),
            size // n,
        )
        for kind, n in (("emg", 1), ("pose", step))
    )
    data = emg2pose_bunch(
        emg, pose, windows, recordings, table[rows], skipped, opened.coding.pose_sfreq
    )
    data.parameters = opened.parameters
    data.DESCR += _PACKED.format(**opened.parameters)
    return data


@dataclass
class Pack:
    """A finished pack.

    Parameters
    ----------
    folder : pathlib.Path

    parameters : dict
        What it was made with.

    coding : Coding

    layout : Layout

    entries : list of dict
        Of each recording, in the order of the metadata.
    """

    folder: Path
    parameters: dict
    coding: Coding
    layout: Layout
    entries: list

    def verify(self):
        """Compare all samples with their checksums."""
        damaged = list(
            damaged_rows(self.folder, self.coding, self.layout, self.entries)
        )
        if damaged:
            names = [self.entries[row]["filename"] for row in damaged]
            raise ValueError(
                f"{self.folder}: the checksums of {len(names)} recordings do not match "
                f"their samples: {', '.join(names[:5])}. {_AGAIN}"
            )


def open_pack(folder):
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
    parameters = manifest["parameters"]
    coding = Coding(parameters["emg_dtype"], manifest["step"])
    lengths = tuple(entry["length"] for entry in entries)
    layout = Layout(lengths, manifest["shard_blocks"])
    for shard, n_blocks in enumerate(layout.shard_sizes):
        for kind in KINDS:
            shape = (n_blocks, *coding.block_shape(kind))
            map_shard(shard_path(folder, kind, shard), shape, coding.dtype(kind))
    return Pack(folder, parameters, coding, layout, entries)


def map_shard(path, shape, dtype):
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
        raise FileNotFoundError(f"{path} is missing: the pack is not whole. {_AGAIN}")
    header = npy_header(shape, dtype)
    size = HEADER_BYTES + math.prod(shape) * dtype.itemsize
    with path.open("rb") as file:
        found = file.read(HEADER_BYTES)
    if found != header or path.stat().st_size != size:
        raise ValueError(
            f"{path} is damaged: it has {path.stat().st_size} bytes and begins with "
            f"{found[10:].rstrip()}; expected {size} bytes and {header[10:].rstrip()}. "
            f"{_AGAIN}"
        )
    return np.memmap(path, dtype, "r", HEADER_BYTES, shape)


def damaged_rows(folder, coding, layout, entries):
    """Rows of the recordings whose checksums do not match what is on disk.

    Parameters
    ----------
    folder : str or path-like

    coding : Coding

    layout : Layout

    entries : list of dict
        Of all recordings.

    Yields
    ------
    row : int
    """
    for row, entry in enumerate(entries):
        if "emg" in entry and not all(
            _matches(folder, coding, layout, entry, kind) for kind in KINDS
        ):
            yield row


def _matches(folder, coding, layout, entry, kind):
    """Whether the blocks of a recording are those of its checksums."""
    shard, first = layout.place(entry["row"])
    n_bytes = coding.block_bytes(kind)
    path = shard_path(folder, kind, shard)
    # Read, not mapped: pages of a mapping would count as memory of this process.
    with path.open("rb") as file:
        file.seek(HEADER_BYTES + first * n_bytes)
        return all(
            zlib.crc32(file.read(n_bytes)) == crc
            for crc in from_hex(entry[kind]).tolist()
        )


def _check_finished(folder):
    if (folder / MANIFEST).is_file():
        return
    if (folder / PLAN).is_file():
        n_all = len(read_sealed(folder / PLAN)["lengths"])
        journal = folder / JOURNAL
        noted = read_entries(journal).values() if journal.is_file() else []
        n_done = sum("damaged" not in entry for entry in noted)
        raise ValueError(
            f"{folder} is a pack that is not finished: {n_done} of {n_all} recordings. "
            "Run the command that began it again; it goes on from there."
        )
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {what}; pass what pack_emg2pose made.")
    found = sorted(path.name for path in folder.iterdir())[:5]
    raise FileNotFoundError(
        f"{folder} holds no pack: there is no {MANIFEST} (found {found or 'nothing'}). "
        "Pass a folder that pack_emg2pose made."
    )


def _read_listed(path, expected):
    """Content of a file whose checksum the manifest holds."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the pack is not whole. {_AGAIN}")
    content = path.read_bytes()
    if digest(content) != expected:
        raise ValueError(
            f"{path} was altered or damaged: its checksum does not match. {_AGAIN}"
        )
    return content


class PackSource:
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

    Attributes
    ----------
    n_channels : int
    """

    def __init__(self, pack, kind, rows, verify):
        entries = [pack.entries[row] for row in rows]
        step = 1 if kind == "emg" else pack.coding.step
        checksums = [from_hex(entry[kind]) for entry in entries]
        n_blocks = np.array([len(crcs) for crcs in checksums])
        self.n_channels = KINDS[kind]
        self.folder = os.path.abspath(pack.folder)
        self.kind = kind
        self.verify = verify
        self.memory = BatchMemory()
        self.coding = pack.coding
        self.shard_sizes = pack.layout.shard_sizes
        self.names = [entry["filename"] for entry in entries]
        self.lengths = -(-np.array([entry["length"] for entry in entries]) // step)
        self.places = [pack.layout.place(row) for row in rows]
        self.scales = [entry["scale"] if kind == "emg" else None for entry in entries]
        self.checksums = np.concatenate(checksums)
        self.first_checksums = np.cumsum(n_blocks) - n_blocks
        self._forget()

    def __getstate__(self):
        # What knows windows by their pickle, as a cache does, sees replaced files.
        shards = range(len(self.shard_sizes))
        stamps = [stamp(self._path(shard)) for shard in shards]
        kept = {k: v for k, v in vars(self).items() if k not in _OF_A_PROCESS}
        return kept | {"stamps": stamps}

    def __setstate__(self, state):
        vars(self).update({k: v for k, v in state.items() if k != "stamps"})
        self._forget()

    def _forget(self):
        self._shards = {}
        self._seen = np.full(len(self.checksums), not self.verify)

    def _path(self, shard):
        return shard_path(self.folder, self.kind, shard)

    def read(self, recordings, starts, n_times):
        """Windows of recordings.

        Parameters
        ----------
        recordings, starts : int arrays of shape (n,)
            Number of the recording, and first sample within it.

        n_times : int

        Returns
        -------
        windows : float32 ndarray of shape (n, n_channels, n_times)

        Raises
        ------
        ValueError
            If a block is damaged, or a window lies outside its recording.
        """
        recordings, starts = np.asarray(recordings), np.asarray(starts)
        outside = (starts < 0) | (starts + n_times > self.lengths[recordings])
        if outside.any():
            k = np.argmax(outside)
            raise ValueError(
                f"Window {starts[k]} to {starts[k] + n_times} lies outside the "
                f"{self.lengths[recordings[k]]} samples of recording {recordings[k]}."
            )
        if self._has_changed():
            self._forget()
        out = self.memory.empty((len(starts), self.n_channels, n_times))
        for k in np.lexsort((starts, recordings)).tolist():
            self._read_window(int(recordings[k]), int(starts[k]), out[k])
        return out

    def _has_changed(self):
        """Whether a file that is mapped was replaced or written."""
        mapped = list(self._shards.items())
        return any(stamp(self._path(shard)) != known for shard, (known, _) in mapped)

    def _read_window(self, recording, start, out):
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

    def _map(self, shard):
        """Blocks of a shard; those in half precision as their bits."""
        _, blocks = self._shards.get(shard, (None, None))
        if blocks is None:
            shape = (self.shard_sizes[shard], *self.coding.block_shape(self.kind))
            dtype = self.coding.dtype(self.kind)
            found = stamp(self._path(shard))
            blocks = map_shard(self._path(shard), shape, dtype)
            if dtype.itemsize == 2:
                blocks = blocks.view("<i2")
            blocks = np.asarray(blocks)
            self._shards[shard] = found, blocks
        return blocks

    def _check(self, recording, block, samples):
        """Compare a block with its checksum, unless it has been."""
        n = self.first_checksums[recording] + block
        if self._seen[n]:
            return
        if zlib.crc32(samples) != self.checksums[n]:
            times = self.coding.block_times(self.kind)
            raise ValueError(
                f"{self.folder}: {self.kind} of {self.names[recording]}, samples "
                f"{block * times} to {(block + 1) * times}, is damaged: its checksum "
                f"does not match. {_AGAIN}"
            )
        self._seen[n] = True
