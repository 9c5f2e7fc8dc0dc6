"""Windows of emg2pose: selected, planned, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval

from ..._ids import read_ids
from ..._typing import AnyArray, IntArray
from .._valid_runs import lost_windows, window_starts
from .._window_array import WindowArray
from ._format import (
    CHANNEL_NAMES,
    GENERALIZATIONS,
    JOINT_NAMES,
    SFREQ,
    SIDES,
    SPLITS,
    STAGES,
)

WINDOWS_DTYPE = np.dtype([(name, np.int64) for name in ("recording", "start", "stop")])
RECORDINGS_DTYPE = np.dtype(
    [
        (name, np.int64)
        for name in ("n_times", "n_failed", "n_windows", "n_grid", "n_lost")
    ]
)
# What the loaders take to select recordings, and to cut windows from them.
COUNT = Interval(Integral, 1, 2**53, closed="both")
PARAMETER_CONSTRAINTS: dict[str, list[Any]] = {
    name: [None, str, "array-like"]
    for name in ("split", "generalization", "stages", "users", "sides")
} | {"size": [COUNT], "stride": [COUNT, None], "reference_windows": ["boolean"]}
Choice = str | ArrayLike | None


class Skipped(TypedDict):
    """A recording that could not be read."""

    row: int
    filename: str
    reason: str


_DESCR = """\
emg2pose
========
{n_windows} windows from {n_recordings} recordings of {n_users} people in {n_stages} stages.
{n_skipped} recordings were skipped. Of {n_grid} windows on an even grid {n_lost} hold
samples at which inverse kinematics failed.

emg     {n_channels} channels of a wristband, {sfreq:g} Hz, in units of the noise floor's
        standard deviation; high-passed at 40 Hz, polarity of left hands made
        that of right ones, by the publishers
pose    {n_joints} joint angles, radians, {pose_sfreq:g} Hz (motion capture at 60 Hz, interpolated)

S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks (2024).
CC BY-NC-SA 4.0.
"""


def select_recordings(
    metadata: AnyArray,
    *,
    split: Choice = None,
    generalization: Choice = None,
    stages: Choice = None,
    users: Choice = None,
    sides: Choice = None,
) -> NDArray[np.int64]:
    """Rows of the metadata table that are asked for.

    Parameters
    ----------
    metadata : structured ndarray of shape (n_recordings,)

    split, generalization, stages, users, sides : str or sequence of str, default=None
        Values to keep. None keeps all.

    Returns
    -------
    rows : ndarray of shape (n_selected,), int64
        In ascending order.

    Raises
    ------
    ValueError
        If a value is unknown, or if nothing is left.
    """
    asked: dict[str, tuple[Choice, Iterable[str]]] = {
        "split": (split, SPLITS),
        "generalization": (generalization, GENERALIZATIONS),
        "stage": (stages, STAGES),
        "user": (users, metadata["user"]),
        "side": (sides, SIDES),
    }
    keep = np.ones(len(metadata), dtype=bool)
    for column, (values, known) in asked.items():
        if values is not None:
            keep &= np.isin(metadata[column], _checked(column, values, known))
    if not keep.any():
        said = {column: v for column, (v, _) in asked.items() if v is not None}
        raise ValueError(f"None of the {len(metadata)} recordings has {said}.")
    return np.flatnonzero(keep)


def _checked(column: str, given: str | ArrayLike, known: Iterable[str]) -> AnyArray:
    """Values that are asked for, all of them known."""
    values = [given] if isinstance(given, str) else read_ids(given, column).tolist()
    names = list(dict.fromkeys(known))
    unknown = [value for value in values if value not in names]
    if unknown or not values:
        shown = names if len(names) <= len(STAGES) else [*names[:5], "..."]
        raise ValueError(f"{column}: {unknown or values} given, expected of {shown}.")
    return np.array(values, dtype=object)


def plan_windows(
    lengths: Sequence[int],
    runs: Sequence[IntArray],
    size: int,
    stride: int | None = None,
    reference: bool = False,
) -> tuple[AnyArray, AnyArray]:
    """Cut windows from the valid runs of recordings.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each recording.

    runs : sequence of ndarrays of shape (n_runs, 2), int
        Valid runs of each recording: first sample, and the first after it.

    size : int
        Length of a window in samples.

    stride : int, default=None
        From the start of one window to that of the next. None takes `size`.

    reference : bool, default=False
        Count windows as the published benchmark does.

    Returns
    -------
    windows : structured ndarray of shape (n_windows,)
        `recording`, `start` and `stop` (excluded) of each window.

    recordings : structured ndarray of shape (n_recordings,)
        `n_times` and, of these, `n_failed` samples outside the runs; `n_windows`
        cut; windows of the plain grid from sample 0 on, `n_grid`, and of these,
        `n_lost` that hold failed samples.

    Raises
    ------
    ValueError
        If not one window fits.
    """
    stride = size if stride is None else stride
    table = np.zeros(len(lengths), RECORDINGS_DTYPE)
    starts = []
    for row, (n_times, valid) in enumerate(zip(lengths, runs)):
        starts.append(window_starts(valid, size, stride, reference))
        n_failed = n_times - int(np.diff(valid, axis=1).sum())
        lost, grid = lost_windows(valid, n_times, size, stride)
        table[row] = (n_times, n_failed, len(starts[-1]), grid, lost)
    windows = np.zeros(table["n_windows"].sum(), WINDOWS_DTYPE)
    if not len(windows):
        longest = max((np.diff(valid).max() for valid in runs if len(valid)), default=0)
        raise ValueError(
            f"No window of size={size} samples fits into the {len(lengths)} recordings: "
            f"the longest run without failed inverse kinematics has {longest} samples."
        )
    windows["recording"] = np.repeat(np.arange(len(table)), table["n_windows"])
    windows["start"] = np.concatenate(starts)
    windows["stop"] = windows["start"] + size
    return windows, table


def emg2pose_bunch(
    emg: WindowArray,
    pose: WindowArray,
    windows: AnyArray,
    recordings: AnyArray,
    metadata: AnyArray,
    skipped: list[Skipped],
    pose_sfreq: float,
) -> Bunch:
    """What the loaders of emg2pose return.

    Parameters
    ----------
    emg, pose : WindowArray of shapes (n, 16, T) and (n, 20, T_pose)

    windows, recordings : structured ndarrays
        From :func:`plan_windows`.

    metadata : structured ndarray of shape (n_recordings,)
        Rows of the recordings that were read.

    skipped : list of dict
        `row` in the metadata table, `filename` and `reason` of each recording that
        was skipped.

    pose_sfreq : float
        Hz.

    Returns
    -------
    data : Bunch
        As described in :func:`load_emg2pose`.
    """
    columns = ("user", "session", "side", "stage", "split", "generalization")
    report = _report(recordings, skipped)
    return Bunch(
        emg=emg,
        pose=pose,
        windows=windows,
        recordings=recordings,
        metadata=metadata,
        **{f"{name}s": metadata[name][windows["recording"]] for name in columns},
        sfreq=SFREQ,
        pose_sfreq=float(pose_sfreq),
        channel_names=list(CHANNEL_NAMES),
        joint_names=list(JOINT_NAMES),
        report=report,
        DESCR=_describe(metadata, report, pose_sfreq),
    )


def _report(recordings: AnyArray, skipped: list[Skipped]) -> dict[str, Any]:
    """Counts of recordings, samples and windows."""
    return {
        "recordings_selected": len(recordings) + len(skipped),
        "recordings_read": len(recordings),
        "recordings_without_windows": int(np.sum(recordings["n_windows"] == 0)),
        "recordings_skipped": skipped,
        "samples": int(recordings["n_times"].sum()),
        "samples_failed_ik": int(recordings["n_failed"].sum()),
        "windows_kept": int(recordings["n_windows"].sum()),
        "windows_on_grid": int(recordings["n_grid"].sum()),
        "windows_lost_to_failed_ik": int(recordings["n_lost"].sum()),
    }


def _describe(metadata: AnyArray, report: dict[str, Any], pose_sfreq: float) -> str:
    """What the bunch says of itself."""
    return _DESCR.format(
        n_windows=report["windows_kept"],
        n_recordings=len(metadata),
        n_users=len(set(metadata["user"])),
        n_stages=len(set(metadata["stage"])),
        n_skipped=len(report["recordings_skipped"]),
        n_grid=report["windows_on_grid"],
        n_lost=report["windows_lost_to_failed_ik"],
        n_channels=len(CHANNEL_NAMES),
        n_joints=len(JOINT_NAMES),
        sfreq=SFREQ,
        pose_sfreq=pose_sfreq,
    )
