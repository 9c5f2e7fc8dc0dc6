"""Writer of simulated corpora in emg2pose's files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from numbers import Integral, Real
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from ..._param_validation import validate_params
from ..._typing import AnyArray, PathLike, RandomStateLike
from ..._whole_file import replace_file
from .._validation import COUNT
from ..emg2pose._format import (
    METADATA_COLUMNS,
    METADATA_FILE,
    N_CHANNELS,
    SFREQ,
    SIDES,
    STAGES,
    TIMESERIES,
)
from ._corpus_plan import (
    Recording,
    assign_splits,
    check_stages,
    metadata_rows,
    plan_corpus,
)
from ._corpus_signals import (
    MOCAP_SFREQ,
    count_samples,
    draw_person,
    plan_stage,
    plan_twin,
    record,
)
from ._muscles import don_band
from ._simulator import generator

# People of emg2pose: all, for validation, for testing.
_PUBLISHED_USERS = {"all": 193, "val": 15, "test": 20}
# The two hands of a real recording differ in length by a few samples.
_MAX_SHORTER = 8


def _record_hands(
    seed: int, variability: float, recording: Recording, share_failed: float
) -> Iterator[AnyArray]:
    """Samples of the left and of the right hand of a recording, in turn."""
    hand, forearm = draw_person(seed, recording.user, variability)
    key = recording.user, 3, recording.session, STAGES.index(recording.stage)
    duration = (recording.n_frames - 1) / MOCAP_SFREQ
    plan = plan_stage(hand, recording.stage, duration, generator(seed, *key))
    for k, side in enumerate(SIDES):
        band = generator(seed, recording.user, 2, recording.session, k)
        rng = generator(seed, *key, k)
        session = plan if side == "right" else plan_twin(plan, rng)
        n_times = count_samples(recording.n_frames) - int(rng.integers(_MAX_SHORTER))
        worn = don_band(forearm, variability, band)
        yield record(hand, worn, session, n_times, share_failed, rng)


def write_recording(
    path: PathLike, samples: AnyArray, row: np.void, compression: str | None = None
) -> None:
    """Write one hand's recording as emg2pose does.

    Parameters
    ----------
    path : path-like
        File to create; it must not exist.
    samples : ndarray of shape (n_times,), TIMESERIES_DTYPE
        Time, joint angles and EMG.
    row : numpy.void
        The recording's row of the metadata table.
    compression : {None, "gzip", "lzf"}, default=None
        HDF5 filter; None writes the samples in one piece.

    Notes
    -----
    As in emg2pose's own files the attributes say something else than the
    table: `session` continues with the number of the recording, `stage` with
    "_both".
    """
    with h5py.File(path, "x") as file:
        file.create_dataset(TIMESERIES, data=samples, compression=compression)
        file["emg2pose"].attrs.update(
            {
                "filename": row["filename"],
                "session": row["filename"].removesuffix(f"_{row['side']}"),
                "stage": f"{row['stage']}_both",
                "user": row["user"],
                "side": row["side"],
                "sample_rate": np.float64(SFREQ),
                "num_channels": np.int64(N_CHANNELS),
                "start": row["start"],
                "end": row["end"],
            }
        )


def write_metadata(path: Path, metadata: AnyArray) -> None:
    """Write the metadata table as a CSV file, whole or not at all.

    Parameters
    ----------
    path : Path
        File to create.
    metadata : ndarray of METADATA_DTYPE
        Rows.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(METADATA_COLUMNS)
    table.writerows(metadata.tolist())
    replace_file(path, text.getvalue().encode())


def _write_session(
    root: Path,
    seed: int,
    variability: float,
    recordings: Sequence[Recording],
    rows: Sequence[AnyArray],
    share_failed: float,
    compression: str | None,
) -> None:
    """Write all files of a session."""
    for recording, pair in zip(recordings, rows):
        hands = _record_hands(seed, variability, recording, share_failed)
        for row, samples in zip(pair, hands):
            samples["time"] += row["start"]
            path = root / f"{row['filename']}.hdf5"
            write_recording(path, samples, row, compression)


def _new_folder(root: PathLike) -> Path:
    """Make the folder, unless something is in it already."""
    root = Path(root)
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; pass a folder that is new or empty.")
    root.mkdir(parents=True, exist_ok=True)
    found = sorted(path.name for path in root.iterdir())
    if found:
        raise FileExistsError(
            f"{root} is not empty: it holds {len(found)} entries ({', '.join(found[:3])}"
            f"{', ...' if len(found) > 3 else ''}). Nothing was written; pass a folder "
            "that is new or empty."
        )
    return root


def _count_held_out(
    n_users: int, n_val: int | None, n_test: int | None
) -> tuple[int, int]:
    """Numbers of people for validation and testing."""
    all_users = _PUBLISHED_USERS["all"]
    if n_val is None:
        n_val = max(1, round(n_users * _PUBLISHED_USERS["val"] / all_users))
    if n_test is None:
        n_test = max(1, round(n_users * _PUBLISHED_USERS["test"] / all_users))
    if n_val + n_test >= n_users:
        raise ValueError(
            f"n_users={n_users} leaves nobody to train on beside {n_val} people for "
            f"validation and {n_test} for testing; raise n_users or give smaller "
            "n_val_users and n_test_users."
        )
    return n_val, n_test


_COUNT_OR_NONE = [None, Interval(Integral, 0, None, closed="left")]


@validate_params(
    {
        "root": [str, os.PathLike],
        "n_users": [COUNT],
        "stages": [None, str, "array-like"],
        "n_sessions": [COUNT],
        "seconds": [Interval(Real, 0.5, None, closed="left")],
        "n_val_users": _COUNT_OR_NONE,
        "n_test_users": _COUNT_OR_NONE,
        "ik_failures": [Interval(Real, 0, 1, closed="left")],
        "user_variability": [Interval(Real, 0, None, closed="left")],
        "compression": [None, StrOptions({"gzip", "lzf"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    },
)
def write_emg2pose_corpus(
    root: PathLike,
    n_users: int = 10,
    *,
    stages: Sequence[str] | None = None,
    n_sessions: int = 2,
    seconds: float = 6.0,
    n_val_users: int | None = None,
    n_test_users: int | None = None,
    ik_failures: float = 0.06,
    user_variability: float = 1.0,
    compression: Literal["gzip", "lzf"] | None = None,
    random_state: RandomStateLike = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Path:
    """Write simulated recordings in exactly the files of emg2pose [1]_.

    A flat folder with one HDF5 file per hand and recording and with
    `metadata.csv`, for whoever has not downloaded the data set, and for tests.
    The people and movements are those of
    :func:`~sk_cpep.datasets.make_gesture_recordings`: each of emg2pose's stages
    mixes three to five simulated gestures, so that a window's pose tells its
    stage across people, and its EMG does so less well.

    Parameters
    ----------
    root : str or path-like
        Folder to write to; it must be empty, or not exist yet.
    n_users : int, default=10
        People, 193 in emg2pose. Adding people leaves the movements and muscles
        of the earlier ones as they were, but may move them to another split.
    stages : sequence of str, default=None
        Stages that everyone does in every session, by emg2pose's names; None
        for all 29.
    n_sessions : int, default=2
        Sessions of each person; the band is put on anew for each.
    seconds : float, default=6.0
        Shortest duration of a recording; they last up to a quarter longer.
        emg2pose's last about a minute.
    n_val_users, n_test_users : int, default=None
        People held out for validation and testing; None for as many as in
        emg2pose, 15 and 20 of 193, at least one each.
    ik_failures : float, default=0.06
        Share of the time in which inverse kinematics fails and all 20 angles
        are 0, in stretches of half a second on average. The default costs about
        a quarter of the windows of 2 s, as emg2pose's failures seem to do.
    user_variability : float, default=1.0
        How much people differ; 0 makes them all alike.
    compression : {None, "gzip", "lzf"}, default=None
        HDF5 filter. None stores the samples in one piece, 464 kB per second and
        hand; the published files are compressed to about three quarters.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same samples and table on every call.
    n_jobs : int, default=None
        Processes that write; None for one unless in a
        :obj:`joblib.parallel_backend` context, -1 for all processors. It does
        not change what is written.
    verbose : int, default=0
        1 or more shows a progress bar over the sessions.

    Returns
    -------
    root : pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        If `root` is a file or holds anything already. Nothing is overwritten.
    ValueError
        If a parameter is out of range, a stage unknown or named twice, or
        nobody is left to train on.

    Notes
    -----
    *Table.* `metadata.csv` is written last, so that a folder without it is an
    unfinished corpus. The splits are emg2pose's: of those who train, the six
    held-out stages are test rows of the generalization `stage`; those held out
    have rows of `user` and `user_stage` in their own split.

    *Files.* The group `emg2pose` holds the compound dataset `timeseries` of 232
    bytes a sample: `time` (unix seconds), 20 `joint_angles` (radians) and `emg`
    of 16 channels, at 2 kHz. Angles are made at 60 Hz, low-passed at 15 Hz and
    interpolated linearly; the EMG is high-passed at 40 Hz and scaled to a noise
    floor of SD 1. Left hands are as released: polarity and order of the channels
    are those of right hands. Left and right do nearly the same at the same time,
    and their files differ in length by a few samples.

    References
    ----------
    .. [1] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS (2024).

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sk_cpep.datasets import write_emg2pose_corpus
    >>> stages = ["ShakaVulcanPeace", "HandClawGraspFlicks"]
    >>> with TemporaryDirectory() as folder:
    ...     root = write_emg2pose_corpus(
    ...         folder, 3, stages=stages, n_sessions=1, seconds=1.0, random_state=0
    ...     )
    ...     len(list(root.glob("*.hdf5"))), (root / "metadata.csv").exists()
    (12, True)
    """
    stages = check_stages(stages)
    n_val, n_test = _count_held_out(n_users, n_val_users, n_test_users)
    root = _new_folder(root)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    recordings = plan_corpus(seed, n_users, stages, n_sessions, seconds)
    splits = assign_splits(seed, n_users, n_val, n_test)
    metadata = metadata_rows(seed, recordings, splits)
    pairs = zip(recordings, metadata.reshape(-1, len(SIDES)))
    sessions = groupby(pairs, lambda pair: pair[0].session_name)
    jobs = (
        delayed(_write_session)(
            root, seed, user_variability, *zip(*members), ik_failures, compression
        )
        for _, members in sessions
    )
    done = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    bar = tqdm(
        done, "Writing", n_users * n_sessions, unit="session", disable=verbose < 1
    )
    for _ in bar:
        pass
    write_metadata(root / METADATA_FILE, metadata)
    return root
