"""emg2pose packed: filtered once, in half precision, memory-mapped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeVar

from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from tqdm.auto import tqdm

from ..._param_validation import validate_params
from ..._typing import PathLike
from ..._version import __version__
from ..._whole_file import replace_file
from .._digest import digest
from ..emg2pose._format import METADATA_FILE, SFREQ
from ..emg2pose._metadata import read_emg2pose_metadata
from ._files import (
    append_entry,
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
    Entry,
    Layout,
    list_skipped,
    skipped_entry,
)
from ._pack import open_pack
from ._recording import Job, measure, pack_recording
from ._shards import damaged_rows, make_shards

T = TypeVar("T")

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
)
def pack_emg2pose(
    root: PathLike,
    out: PathLike,
    *,
    filter: BaseEstimator | None,
    emg_dtype: Literal["float16", "float32"] = "float16",
    pose_rate: int = 200,
    n_jobs: int | None = None,
    verify: bool = True,
    on_error: Literal["raise", "skip"] = "raise",
    verbose: int = 0,
) -> Bunch:
    """Pack emg2pose: every recording filtered once, then memory-mapped.

    The EMG is filtered on whole recordings, so that windows can be cut at any size
    and stride afterwards, and rounded to `emg_dtype`. Of the joint angles every n-th
    sample is kept: emg2pose's are low-passed at 15 Hz and interpolated from 60 Hz, so
    that picking samples loses nothing. Where inverse kinematics failed is noted from
    all of them, at 2 kHz.

    A kill at any moment costs the recordings that were being worked on: the same call
    resumes with the others. An interrupted pack, finished, has the same bytes as one
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
        not resumed with another; under another version of Python its code counts
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
        raise its error, after which the same call resumes where it was, or leave it
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
    job = Job(Path(root), Path(out), filter, coding, on_error == "skip")
    packing = _Packing(job, names, parameters, n_jobs, verbose)
    begun = _find_begun(job.out, parameters)
    if begun == MANIFEST:
        return packing.look_over(verify)
    if begun is None:
        packing.begin()
    return packing.resume(table, verify)


@dataclass
class _Packing:
    """A pack in the making."""

    job: Job
    names: list[str]
    parameters: dict[str, Any]
    n_jobs: int | None
    verbose: int

    def begin(self) -> None:
        """Measure the recordings, and write down where each will lie."""
        found = list(self.run(measure, list(enumerate(self.names)), "Measuring"))
        lengths = [n if isinstance(n, int) else 0 for n in found]
        skipped = {n: why for n, why in zip(self.names, found) if isinstance(why, str)}
        if not any(lengths):
            raise ValueError(
                f"{self.job.root} has no recording that can be read; the first: "
                f"{skipped[self.names[0]]}"
            )
        out = self.job.out
        out.mkdir(parents=True, exist_ok=True)
        needed = _n_bytes(self.job.coding, Layout(lengths, SHARD_BLOCKS))
        free = shutil.disk_usage(out).free
        if needed > free:
            raise OSError(
                f"{out}: the pack takes {needed / 2**30:.1f} GiB, there are "
                f"{free / 2**30:.1f} GiB free. Give a folder on a larger disk."
            )
        plan = {"lengths": lengths, "shard_blocks": SHARD_BLOCKS, "skipped": skipped}
        write_sealed(out / PLAN, {"parameters": self.parameters, **plan})

    def resume(self, table: bytes, verify: bool) -> Bunch:
        """Pack what is not packed yet, and finish."""
        out, coding = self.job.out, self.job.coding
        plan = read_sealed(out / PLAN)
        self.check_skipped(plan["skipped"])
        layout = Layout(plan["lengths"], plan["shard_blocks"])
        with held_journal(out / JOURNAL):
            done = self.read_done(plan["skipped"])
            n_resumed = _count_packed(done.values())
            make_shards(out, coding, layout, resumed=n_resumed > 0)
            places = layout.places()
            jobs = [
                (row, name, layout.lengths[row], places[row])
                for row, name in enumerate(self.names)
                if row not in done
            ]
            for _ in self.run(pack_recording, jobs, "Packing"):
                pass
            found = self.read_done(plan["skipped"])
            entries = [found[row] for row in range(len(self.names))]
            if not _count_packed(entries):
                raise ValueError(
                    f"No recording of {self.job.root} could be packed; the first: "
                    f"{entries[0]['skipped']}"
                )
            if verify:
                self.verify(layout, entries)
            self.finish(table, layout, entries)
        return _report(out, coding, layout, entries, n_resumed)

    def look_over(self, verify: bool) -> Bunch:
        """Verify a pack that is finished already."""
        self.remove_leftovers()
        pack = open_pack(self.job.out)
        skipped = {e["filename"]: e["reason"] for e in list_skipped(pack.entries)}
        self.check_skipped(skipped)
        if verify:
            self.verify(pack.layout, pack.entries, finished=True)
        n_resumed = _count_packed(pack.entries)
        return _report(self.job.out, pack.coding, pack.layout, pack.entries, n_resumed)

    def check_skipped(self, skipped: dict[str, str]) -> None:
        """Refuse to resume without recordings, unless that is asked for."""
        if skipped and not self.job.skip:
            name, reason = next(iter(skipped.items()))
            raise ValueError(
                f"{self.job.out} was begun without {len(skipped)} of {len(self.names)} "
                f'recordings, such as {name} ({reason}). Pass on_error="skip", or pack '
                "into another folder."
            )

    def read_done(self, skipped: dict[str, str]) -> dict[int, Entry]:
        """Entries of the recordings that need no more work, by row."""
        entries = {
            row: skipped_entry(row, name, 0, skipped[name])
            for row, name in enumerate(self.names)
            if name in skipped
        }
        for row, entry in read_entries(self.job.out / JOURNAL).items():
            if "emg" in entry or ("skipped" in entry and self.job.skip):
                entries[row] = entry
        return entries

    def verify(
        self, layout: Layout, entries: list[Entry], finished: bool = False
    ) -> None:
        """Compare what is on disk with the checksums."""
        out = self.job.out
        shown = self.progress(entries, "Verifying", len(entries))
        damaged = list(damaged_rows(out, self.job.coding, layout, shown))
        if not damaged:
            return
        said = (
            f"{out}: {len(damaged)} recordings do not read back as they were written, "
            f"such as {self.names[damaged[0]]}. "
        )
        if finished:
            raise OSError(f"{said}Delete the folder and pack again.")
        for row in damaged:
            append_entry(out / JOURNAL, {"row": row, "damaged": True})
        raise OSError(f"{said}Run the same again: it packs these anew.")

    def finish(self, table: bytes, layout: Layout, entries: list[Entry]) -> None:
        """Write the manifest, which makes it a pack."""
        files = {RECORDINGS: b"".join(map(to_line, entries)), METADATA_FILE: table}
        for name, content in files.items():
            replace_file(self.job.out / name, content)
        manifest = {
            "parameters": self.parameters,
            "block": BLOCK,
            "step": self.job.coding.step,
            "shard_blocks": layout.shard_blocks,
            "n_recordings": len(entries),
            "n_packed": _count_packed(entries),
            "shards": layout.shard_sizes,
            "files": {name: digest(content) for name, content in files.items()},
        }
        write_sealed(self.job.out / MANIFEST, manifest)
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove what only an unfinished pack needs."""
        for name in (PLAN, JOURNAL):
            (self.job.out / name).unlink(missing_ok=True)
        for draft in self.job.out.glob(".*.tmp"):  # of a call that was killed
            draft.unlink(missing_ok=True)

    def run(
        self, function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], what: str
    ) -> Iterable[T]:
        """Results of a function of the job and further arguments, in processes."""
        parallel = Parallel(n_jobs=self.n_jobs, return_as="generator")
        results = parallel(delayed(function)(self.job, *args) for args in jobs)
        return self.progress(results, what, len(jobs))

    def progress(self, results: Iterable[T], what: str, n_left: int) -> Iterable[T]:
        """Results, with a bar that moves as they come."""
        n = len(self.names)
        bar: Iterable[T] = tqdm(
            results,
            what,
            n,
            initial=n - n_left,
            unit="file",
            disable=not self.verbose,
        )
        return bar


def _count_packed(entries: Iterable[Entry]) -> int:
    """How many entries stand for a recording in the pack."""
    return sum("emg" in entry for entry in entries)


def _pose_step(pose_rate: int) -> int:
    """Samples of EMG for one of pose."""
    step, rest = divmod(int(SFREQ), pose_rate)
    if rest or pose_rate < _LOWEST_POSE_RATE:
        rates = [n for n in range(_LOWEST_POSE_RATE, int(SFREQ) + 1) if SFREQ % n == 0]
        raise ValueError(
            f"pose_rate={pose_rate} Hz: every n-th sample of {SFREQ:g} Hz is kept, and "
            f"the angles go up to 15 Hz, so give one of {rates}."
        )
    return step


def _describe_filter(filter: BaseEstimator | None) -> dict[str, Any] | None:
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


def _find_begun(out: Path, parameters: dict[str, Any]) -> str | None:
    """The file that says how far the pack in a folder is, None where there is none."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise FileExistsError(f"{out} is a file: give a new or empty folder.")
    for name in (MANIFEST, PLAN):
        if (out / name).exists():
            _check_same(out, read_sealed(out / name)["parameters"], parameters)
            return name
    drafts = set(out.glob(f".{PLAN}*.tmp"))  # of a call that was killed
    strange = sorted(path.name for path in set(out.iterdir()) - drafts)
    if strange:
        raise FileExistsError(
            f"{out} holds {strange[:5]} and no pack: give a new or empty folder."
        )
    return None


def _check_same(out: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse a pack that was made with other parameters."""
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


def _n_bytes(coding: Coding, layout: Layout) -> int:
    """Size of all shards."""
    return sum(layout.shard_sizes) * sum(map(coding.block_bytes, KINDS))


def _report(
    out: Path, coding: Coding, layout: Layout, entries: list[Entry], n_resumed: int
) -> Bunch:
    """What :func:`pack_emg2pose` returns."""
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
        nbytes=_n_bytes(coding, layout),
    )
