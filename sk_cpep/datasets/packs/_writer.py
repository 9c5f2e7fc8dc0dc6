"""emg2pose packed: filtered once, in half precision, memory-mapped."""

import json
import os
import shutil
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from joblib import Parallel, delayed
from sklearn.utils import Bunch
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from tqdm.auto import tqdm

from ..._version import __version__
from ..._whole_file import replace_file, sync
from ..emg2pose._format import METADATA_FILE, SFREQ
from ..emg2pose._metadata import read_emg2pose_metadata
from ._files import (
    append_entry,
    digest,
    held_journal,
    read_entries,
    read_sealed,
    to_line,
    write_sealed,
)
from ._filter_digest import describe_filter
from ._format import (
    BLOCK,
    JOURNAL,
    KINDS,
    MANIFEST,
    PLAN,
    RECORDINGS,
    SHARD_BLOCKS,
    Coding,
    Layout,
    headed,
    list_skipped,
    npy_header,
    shard_path,
    skipped_entry,
)
from ._reader import damaged_rows, open_pack
from ._recording import Job, measure, pack_recording

_LOWEST_POSE_RATE = 30  # Hz; the published angles go up to 15 Hz


@validate_params(
    {
        "root": [str, os.PathLike],
        "out": [str, os.PathLike],
        "filter": [HasMethods(["fit_transform", "get_params"]), None],
        "emg_dtype": [StrOptions({"float16", "float32"})],
        "pose_rate": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "verify": ["boolean"],
        "on_error": [StrOptions({"raise", "skip"})],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def pack_emg2pose(
    root,
    out,
    *,
    filter,
    emg_dtype="float16",
    pose_rate=200,
    n_jobs=None,
    verify=True,
    on_error="raise",
    verbose=0,
):
    """Pack emg2pose: every recording filtered once, then memory-mapped.

    The EMG is filtered on whole recordings, so that windows can be cut at any size
    and stride afterwards, and rounded to `emg_dtype`. Of the joint angles every n-th
    sample is kept: emg2pose's are low-passed at 15 Hz and interpolated from 60 Hz, so
    that picking samples loses nothing. Where inverse kinematics failed is noted from
    all of them, at 2 kHz.

    A kill at any moment costs the recordings that were being worked on: the same call
    goes on with the others. An interrupted pack, finished, has the same bytes as one
    made in one go.

    Parameters
    ----------
    root : str or path-like
        Folder of the corpus: `metadata.csv` and the HDF5 files.

    out : str or path-like
        Folder of the pack: new, empty, or begun by the same call.

    filter : transformer or None
        What the EMG goes through, such as
        :class:`~sk_cpep.preprocessing.BandpassNotch`: its `fit_transform` is called on
        a list of one recording, of shape (16, n_times), and has to keep the shape.
        None keeps the EMG as published. A filter of one's own is known by its code
        and all that it refers to, not by its name, so that a pack begun with one is
        not gone on with by another; under another version of Python its code counts
        as another.

    emg_dtype : {"float16", "float32"}, default="float16"
        Precision of the EMG. float16 keeps 11 significant bits, of a signal that was
        converted with 12, in half the space.

    pose_rate : int, default=200
        Rate of the joint angles in Hz, a divisor of 2000 not below 30.

    n_jobs : int, default=None
        Number of processes. The pack does not depend on it.

    verify : bool, default=True
        Read the finished pack back and compare the checksums.

    on_error : {"raise", "skip"}, default="raise"
        What to do with a recording that is missing, damaged or cannot be filtered:
        raise its error, after which the same call goes on where it was, or leave it
        out and report it.

    verbose : int or bool, default=0
        Show progress.

    Returns
    -------
    report : :class:`~sklearn.utils.Bunch`
        out : pathlib.Path
            The folder.
        n_recordings, n_packed, n_resumed : int
            Recordings in the metadata; in the pack; of these, those that were there
            when the call began.
        skipped : list of dict
            `row`, `filename` and `reason` of each recording that was left out.
        hours : float
            Length of the packed recordings.
        failed_share : float
            Share of their samples at which inverse kinematics failed.
        nbytes : int
            Size of the packed samples.

    Raises
    ------
    FileExistsError
        If `out` holds anything but this pack: other files, or a pack made with other
        parameters or of another corpus. Nothing in it is changed.
    FileNotFoundError
        If there is no such corpus, or a recording is missing.
    ValueError
        If a parameter is out of range, the metadata are wrong, or a recording is
        damaged. The message names it.
    OSError
        If there is too little space, if another process is packing into `out`, or if
        the pack does not read back as it was written.

    See Also
    --------
    load_pack : Windows of a pack.
    load_emg2pose : Windows of the corpus as published, unfiltered.

    Examples
    --------
    >>> from sk_cpep.datasets import load_pack, pack_emg2pose
    >>> from sk_cpep.preprocessing import BandpassNotch
    >>> report = pack_emg2pose(
    ...     "emg2pose_dataset", "packed", filter=BandpassNotch(2, 250, 60), n_jobs=8
    ... )  # doctest: +SKIP
    >>> data = load_pack("packed", split="train")  # doctest: +SKIP
    """
    coding = Coding(emg_dtype, _pose_step(pose_rate))
    names = read_emg2pose_metadata(root)["filename"].tolist()
    table = (Path(root) / METADATA_FILE).read_bytes()
    parameters = {
        "emg_dtype": emg_dtype,
        "pose_rate": int(pose_rate),
        "filter": _describe_filter(filter),
        "metadata_checksum": digest(table),
        "sk_cpep": __version__,
    }
    job = Job(str(root), str(out), filter, coding, on_error == "skip")
    packing = _Packing(job, names, parameters, n_jobs, verbose)
    begun = _find_begun(packing.out, parameters)
    if begun == MANIFEST:
        return packing.look_over(verify)
    if begun is None:
        packing.begin()
    return packing.go_on(table, verify)


@dataclass
class _Packing:
    """A pack in the making."""

    job: Job
    names: list
    parameters: dict
    n_jobs: int
    verbose: int

    @property
    def out(self):
        return Path(self.job.out)

    def begin(self):
        """Measure the recordings, and write down where each will lie."""
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(measure)(self.job, row, name) for row, name in enumerate(self.names)
        )
        found = list(self.progress(results, "Measuring"))
        lengths = [n if isinstance(n, int) else 0 for n in found]
        skipped = {n: why for n, why in zip(self.names, found) if isinstance(why, str)}
        if not any(lengths):
            raise ValueError(
                f"{self.job.root} has no recording that can be read; the first: "
                f"{skipped[self.names[0]]}"
            )
        self.out.mkdir(parents=True, exist_ok=True)
        _check_space(self.out, Layout(tuple(lengths), SHARD_BLOCKS), self.job.coding)
        plan = {"lengths": lengths, "shard_blocks": SHARD_BLOCKS, "skipped": skipped}
        write_sealed(self.out / PLAN, headed(self.parameters) | plan)

    def go_on(self, table, verify):
        """Pack what is not packed yet, and finish."""
        plan = read_sealed(self.out / PLAN)
        self.check_skipped(plan["skipped"])
        layout = Layout(tuple(plan["lengths"]), plan["shard_blocks"])
        with held_journal(self.out / JOURNAL):
            done = self.read_done(plan["skipped"])
            _make_shards(self.out, self.job.coding, layout, resumed=bool(_packed(done)))
            self.pack_rest(layout, done)
            entries = self.read_done(plan["skipped"])
            if not _packed(entries):
                raise ValueError(
                    f"No recording of {self.job.root} could be packed; the first: "
                    f"{entries[0]['skipped']}"
                )
            entries = [entries[row] for row in range(len(self.names))]
            if verify:
                self.verify(layout, entries)
            self.finish(table, layout, entries)
        return _report(self.out, self.job.coding, layout, entries, len(_packed(done)))

    def look_over(self, verify):
        """Verify a pack that is finished already."""
        for leftover in (PLAN, JOURNAL):
            (self.out / leftover).unlink(missing_ok=True)
        pack = open_pack(self.out)
        self.check_skipped(
            {e["filename"]: e["skipped"] for e in pack.entries if "skipped" in e}
        )
        if verify:
            self.verify(pack.layout, pack.entries, finished=True)
        n_packed = len(_packed(dict(enumerate(pack.entries))))
        return _report(self.out, pack.coding, pack.layout, pack.entries, n_packed)

    def check_skipped(self, skipped):
        """Refuse to go on without recordings, unless that is asked for."""
        if skipped and not self.job.skip:
            name, reason = next(iter(skipped.items()))
            raise ValueError(
                f"{self.out} was begun without {len(skipped)} of {len(self.names)} "
                f'recordings, such as {name} ({reason}). Pass on_error="skip", or pack '
                "into another folder."
            )

    def read_done(self, skipped):
        """Entries of the recordings that need no more work, by row."""
        entries = {
            row: skipped_entry(row, name, 0, skipped[name])
            for row, name in enumerate(self.names)
            if name in skipped
        }
        for row, entry in read_entries(self.out / JOURNAL).items():
            if "emg" in entry or ("skipped" in entry and self.job.skip):
                entries[row] = entry
        return entries

    def pack_rest(self, layout, done):
        """Pack the recordings that are not done."""
        left = [row for row in range(len(self.names)) if row not in done]
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(pack_recording)(
                self.job, row, self.names[row], layout.lengths[row], *layout.place(row)
            )
            for row in left
        )
        for _ in self.progress(results, "Packing", len(done)):
            pass

    def verify(self, layout, entries, finished=False):
        """Compare what is on disk with the checksums."""
        entries = self.progress(entries, "Verifying")
        damaged = list(damaged_rows(self.out, self.job.coding, layout, entries))
        if not damaged:
            return
        names = [self.names[row] for row in damaged]
        said = (
            f"{self.out}: {len(names)} recordings do not read back as they were "
            f"written, such as {names[0]}. "
        )
        if finished:
            raise OSError(f"{said}Delete the folder and pack again.")
        for row in damaged:
            append_entry(self.out / JOURNAL, {"row": row, "damaged": True})
        raise OSError(f"{said}Run the same again: it packs these anew.")

    def finish(self, table, layout, entries):
        """Write the manifest, which makes it a pack."""
        lines = b"".join(map(to_line, entries))
        replace_file(self.out / RECORDINGS, lines)
        replace_file(self.out / METADATA_FILE, table)
        manifest = headed(self.parameters) | {
            "block": BLOCK,
            "step": self.job.coding.step,
            "shard_blocks": layout.shard_blocks,
            "n_recordings": len(entries),
            "n_packed": len(_packed(dict(enumerate(entries)))),
            "shards": layout.shard_sizes,
            "files": {RECORDINGS: digest(lines), METADATA_FILE: digest(table)},
        }
        write_sealed(self.out / MANIFEST, manifest)
        for leftover in (PLAN, JOURNAL):
            (self.out / leftover).unlink(missing_ok=True)

    def progress(self, results, what, n_before=0):
        """Results, with a bar that moves as they come."""
        n = len(self.names)
        return tqdm(
            results, what, n, initial=n_before, unit="file", disable=not self.verbose
        )


def _packed(entries):
    """Those entries that stand for a recording in the pack."""
    return {row: entry for row, entry in entries.items() if "emg" in entry}


def _pose_step(pose_rate):
    step, rest = divmod(int(SFREQ), pose_rate)
    if rest or pose_rate < _LOWEST_POSE_RATE:
        rates = [n for n in range(_LOWEST_POSE_RATE, int(SFREQ) + 1) if SFREQ % n == 0]
        raise ValueError(
            f"pose_rate={pose_rate} Hz: every n-th sample of {SFREQ:g} Hz is kept, and "
            f"the angles go up to 15 Hz, so give one of {rates}."
        )
    return step


def _describe_filter(filter):
    """The filter as it goes into the manifest."""
    if filter is None:
        return None
    for name, value in filter.get_params().items():
        if name.split("__")[-1] == "sfreq" and value != SFREQ:
            raise ValueError(
                f"filter={filter} is for recordings of {value} Hz, but emg2pose has "
                f"{SFREQ:g} Hz: give it {name}={SFREQ:g}."
            )
    return describe_filter(filter)


def _find_begun(out, parameters):
    """The file that says how far the pack in a folder is, None where there is none."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise FileExistsError(f"{out} is a file: give a new or empty folder.")
    for name in (MANIFEST, PLAN):
        if (out / name).exists():
            _check_same(out, read_sealed(out / name)["parameters"], parameters)
            return name
    drafts = {f".{name}.tmp" for name in (MANIFEST, PLAN)}
    strange = sorted({path.name for path in out.iterdir()} - drafts)
    if strange:
        raise FileExistsError(
            f"{out} holds {strange[:5]} and no pack: give a new or empty folder."
        )
    return None


def _check_same(out, there, asked):
    asked = json.loads(json.dumps(asked))
    differences = [
        f"{name}={there.get(name)!r} there, {asked[name]!r} now"
        for name in asked
        if there.get(name) != asked[name]
    ]
    if differences:
        raise FileExistsError(
            f"{out} holds a pack made otherwise: {'; '.join(differences)}. Give another "
            "folder, or the same parameters."
        )


def _check_space(out, layout, coding):
    needed = sum(layout.shard_sizes) * sum(map(coding.block_bytes, KINDS))
    free = shutil.disk_usage(out).free
    if needed > free:
        raise OSError(
            f"{out}: the pack takes {needed / 2**30:.1f} GiB, there are "
            f"{free / 2**30:.1f} GiB free. Give a folder on a larger disk."
        )


def _make_shards(out, coding, layout, resumed):
    """Files for all blocks, filled with zeros, which take no space yet."""
    for shard, n_blocks in enumerate(layout.shard_sizes):
        for kind in KINDS:
            path = shard_path(out, kind, shard)
            start = npy_header(
                (n_blocks, *coding.block_shape(kind)), coding.dtype(kind)
            )
            size = len(start) + n_blocks * coding.block_bytes(kind)
            if path.exists() and path.stat().st_size == size:
                continue
            if path.exists() or resumed:
                raise OSError(
                    f"{path} was removed or changed since the pack was begun. Delete "
                    f"{out} and pack again."
                )
            draft = path.with_name(f".{path.name}.tmp")
            with draft.open("wb") as file:
                file.write(start)
                file.truncate(size)
                sync(file)
            os.replace(draft, path)


def _report(out, coding, layout, entries, n_resumed):
    packed = [entry for entry in entries if "emg" in entry]
    n_times = sum(entry["length"] for entry in packed)
    n_valid = sum(stop - start for entry in packed for start, stop in entry["runs"])
    return Bunch(
        out=out,
        n_recordings=len(entries),
        n_packed=len(packed),
        n_resumed=n_resumed,
        skipped=list_skipped(entries),
        hours=n_times / SFREQ / 3600,
        failed_share=1 - n_valid / n_times,
        nbytes=sum(layout.shard_sizes) * sum(map(coding.block_bytes, KINDS)),
    )
