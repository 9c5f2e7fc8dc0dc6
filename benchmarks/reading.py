"""How fast windows are read: from a pack, and from where else they could lie.

``python -m benchmarks.reading`` writes a small corpus in emg2pose's format, packs it,
and reads the same random windows of 2 s (EMG of 16 channels, pose of 20 joints at
200 Hz, both as float32 batches) from

* the pack, as :func:`sk_cpep.datasets.load_pack` gives it, when each block is read for
  the first time and compared with its checksum, and from then on;
* the published files: slices of rows by h5py, all files held open;
* one memory-mapped ``.npy`` file per recording and kind, in the pack's precision;
* arrays in memory, in float32.

Everything is in the page cache: what is compared is the work, not the disk. All fill one
batch that is made before, as the transfer to a GPU does; what a new batch each time costs
the pack is a row of its own. The limit is a plain copy: as many bytes read as the pack
stores, as many written as a batch holds, at the fastest that memory allows with all
threads. It prints windows per second, and the ratio of the pack to each.
``--compression gzip`` stores the corpus as the published one seems to be, in compressed
chunks.
"""

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from sk_cpep.datasets import (
    load_pack,
    pack_emg2pose,
    read_emg2pose_metadata,
    write_emg2pose_corpus,
)

from .limits import copy_bandwidth
from .table import Table, finish, table_file
from .timing import in_turn

POSE_STEP = 10
STAGES = ["ShakaVulcanPeace", "HandClawGraspFlicks"]
PACK, FIRST = "pack", "pack, first reading"
FRESH = "pack, a new array a batch"
H5PY = "h5py, rows of the published files"
NPY, RAM = ".npy, memory-mapped", "in memory"


class PackReader:
    """Windows of the pack, by the package."""

    def __init__(self, folder, size):
        self.data = load_pack(folder, size=size)

    def __call__(self, recordings, starts, batch):
        emg, pose = self.data.emg.source, self.data.pose.source
        emg.read_into(recordings, starts, batch[0])
        pose.read_into(recordings, starts // POSE_STEP, batch[1])


class FreshReader(PackReader):
    """Windows of the pack, in a new array for each batch."""

    def __call__(self, recordings, starts, batch):
        emg, pose = self.data.emg.source, self.data.pose.source
        emg.read(recordings, starts, batch[0].shape[2])
        pose.read(recordings, starts // POSE_STEP, batch[1].shape[2])


class SliceReader:
    """Windows of one array per recording and kind."""

    def __init__(self, emg, pose):
        self.emg, self.pose = emg, pose

    def __call__(self, recordings, starts, batch):
        size = batch[0].shape[2]
        for k, (recording, start) in enumerate(zip(recordings, starts)):
            batch[0][k] = self.emg[recording][:, start : start + size]
            first = start // POSE_STEP
            batch[1][k] = self.pose[recording][:, first : first + size // POSE_STEP]


class H5pyReader:
    """Windows of the published files, a slice of rows each."""

    def __init__(self, paths):
        self.series = [h5py.File(path, "r")["emg2pose/timeseries"] for path in paths]

    def __call__(self, recordings, starts, batch):
        size = batch[0].shape[2]
        for k, (recording, start) in enumerate(zip(recordings, starts)):
            rows = self.series[recording][start : start + size]
            batch[0][k] = rows["emg"].T
            batch[1][k] = rows["joint_angles"][::POSE_STEP].T


def empty_batch(n_windows, size):
    """Room for EMG and pose."""
    return (
        np.empty((n_windows, 16, size), dtype=np.float32),
        np.empty((n_windows, 20, size // POSE_STEP), dtype=np.float32),
    )


def read_whole(paths):
    """EMG and pose of whole recordings, float32."""
    emg, pose = [], []
    for path in paths:
        with h5py.File(path, "r") as file:
            rows = file["emg2pose/timeseries"][:]
        emg.append(np.ascontiguousarray(rows["emg"].T))
        angles = rows["joint_angles"][::POSE_STEP].T
        pose.append(np.ascontiguousarray(angles, dtype=np.float32))
    return emg, pose


def save_npy(folder, arrays, dtype):
    """Arrays as ``.npy`` files, memory-mapped."""
    folder.mkdir()
    for number, x in enumerate(arrays):
        np.save(folder / f"{number}.npy", x.astype(dtype))
    return [np.load(folder / f"{n}.npy", mmap_mode="r") for n in range(len(arrays))]


def random_windows(lengths, n_windows, size, seed=0):
    """Recordings and first samples, on the grid of the pose."""
    rng = np.random.default_rng(seed)
    recordings = rng.integers(len(lengths), size=n_windows)
    starts = rng.integers((np.array(lengths)[recordings] - size) // POSE_STEP + 1)
    return recordings, starts * POSE_STEP


def read_all(reader, recordings, starts, size, batch_size):
    """Read windows in batches; seconds."""
    whole = empty_batch(batch_size, size)
    for x in whole:
        x.fill(0)  # so that the system has given the memory
    started = time.perf_counter()
    for first in range(0, len(starts), batch_size):
        chosen = slice(first, first + batch_size)
        n = len(starts[chosen])
        reader(recordings[chosen], starts[chosen], [x[:n] for x in whole])
    return time.perf_counter() - started


def check_same(readers, recordings, starts, size):
    """Every reader gives the same windows, up to half precision."""
    expected = empty_batch(len(starts), size)
    readers[RAM](recordings, starts, expected)
    for name in (H5PY, NPY, PACK):
        batch = empty_batch(len(starts), size)
        readers[name](recordings, starts, batch)
        for x, reference in zip(batch, expected):
            if not np.allclose(x, reference, rtol=1e-3, atol=1e-4):
                raise RuntimeError(f"{name} does not read the same windows.")


def measure(folder, args):
    """Seconds of every way to read, one a repeat."""
    root = folder / "corpus"
    write_emg2pose_corpus(
        root,
        3,
        stages=STAGES,
        n_sessions=1,
        seconds=args.seconds,
        compression=None if args.compression == "none" else args.compression,
        random_state=0,
    )
    pack_emg2pose(root, folder / "pack", filter=None, emg_dtype=args.emg_dtype)
    paths = [root / f"{n}.hdf5" for n in read_emg2pose_metadata(root)["filename"]]
    emg, pose = read_whole(paths)
    readers = {
        H5PY: H5pyReader(paths),
        NPY: SliceReader(
            save_npy(folder / "emg", emg, args.emg_dtype),
            save_npy(folder / "pose", pose, np.float32),
        ),
        RAM: SliceReader(emg, pose),
        PACK: PackReader(folder / "pack", args.size),
        FRESH: FreshReader(folder / "pack", args.size),
    }
    lengths = [x.shape[1] for x in emg]
    windows = random_windows(lengths, args.windows, args.size)
    check_same(readers, *(w[:8] for w in windows), args.size)

    def reading(name):
        # Each first reading is of a pack opened anew, whose blocks nobody has checked.
        reader = readers.get(name) or PackReader(folder / "pack", args.size)
        return read_all(reader, *windows, args.size, args.batch_size)

    jobs = {name: lambda name=name: reading(name) for name in (FIRST, *readers)}
    return in_turn(jobs, args.repeats)


def least_bytes(size, emg_dtype):
    """Bytes of a window that are read from the pack, and written to a batch."""
    emg, pose = 16 * size, 20 * (size // POSE_STEP)
    return emg * (np.dtype(emg_dtype).itemsize + 4) + pose * (4 + 4)


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("--windows", type=int, default=1024)
    parser.add_argument("--size", type=int, default=4000, help="samples of a window")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="length of the 12 recordings"
    )
    parser.add_argument("--emg-dtype", default="float16")
    parser.add_argument(
        "--compression", choices=["none", "gzip", "lzf"], default="none"
    )
    parser.add_argument(
        "--json", type=table_file, metavar="FILE", help="write the figures there too"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), args)
    finish(report(seconds, args), args.json)


def report(seconds, args):
    """The table, of medians over the repeats."""
    title = (
        f"Reading EMG and pose, {args.size} samples; corpus compressed by "
        f"{args.compression}, pack in {args.emg_dtype}"
    )
    table = Table(title, "windows/s")
    table.add_seconds(args.windows, seconds)
    bandwidth = copy_bandwidth("cpu")
    limit = bandwidth / least_bytes(args.size, args.emg_dtype)
    table.add("limit: copying", limit, f"at {bandwidth / 1e9:.1f} GB/s")
    for peer in (H5PY, NPY, RAM, FRESH):
        table.add_speed(seconds, PACK, peer)
    table.ratios["share of the limit, pack"] = table.rates[PACK] / limit
    return table


if __name__ == "__main__":
    main()
