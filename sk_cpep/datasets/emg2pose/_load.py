"""The loader of emg2pose: wristband EMG and the hand's joint angles."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from ..._param_validation import validate_params
from ..._typing import PathLike
from .._window_array import WindowArray
from ._format import SFREQ
from ._index import index_recordings
from ._metadata import read_emg2pose_metadata
from ._source import RecordingSource
from ._windows import (
    COUNT,
    PARAMETER_CONSTRAINTS,
    Choice,
    emg2pose_bunch,
    plan_windows,
    select_recordings,
)


@validate_params(
    PARAMETER_CONSTRAINTS
    | {
        "root": [str, os.PathLike],
        "pose_stride": [COUNT],
        "on_error": [StrOptions({"raise", "skip"})],
        "cache": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
)
def load_emg2pose(
    root: PathLike,
    *,
    split: Choice = None,
    generalization: Choice = None,
    stages: Choice = None,
    users: Choice = None,
    sides: Choice = None,
    size: int = 4000,
    stride: int | None = None,
    pose_stride: int = 1,
    reference_windows: bool = False,
    on_error: str = "raise",
    cache: PathLike | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Read emg2pose: wristband EMG and joint angles of the hand [1]_.

    Every selected file is read once from end to end, to find where inverse
    kinematics failed and whether the file is sound; windows are cut from the
    samples between. The windows themselves stay on disk until they are asked
    for.

    Parameters
    ----------
    root : str or path-like
        Folder that holds `metadata.csv` and the HDF5 files.

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
        Length of a window in samples of the EMG (2 kHz).

    stride : int, default=None
        Samples from the start of one window to that of the next. None takes
        `size`.

    pose_stride : int, default=1
        Of the pose, every `pose_stride`-th sample is kept. It was interpolated
        from 60 Hz, so that 10 (200 Hz) loses next to nothing.

    reference_windows : bool, default=False
        Count windows as the published benchmark does, which leaves out the last
        two samples of each run of valid samples.

    on_error : {"raise", "skip"}, default="raise"
        Whether to stop at a file that is missing, damaged or no recording of
        emg2pose, or to go on without it and list it in the report. Faults of the
        table always raise.

    cache : str or path-like, default=None
        File in which to keep what was found in the recordings, so that the next
        call need not read them again. It is made or added to; a recording whose
        size, time of modification or time of change (which a copy has not in
        common with what it is of) differs is read anew.

    n_jobs : int, default=None
        Processes that read the files; None is one, -1 all processors.

    verbose : int, default=0
        Draw a progress bar from 1 on.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        emg : WindowArray of shape (n_windows, 16, size), float32
            In units of the noise floor's standard deviation, 40 Hz high-passed.
        pose : WindowArray of shape (n_windows, 20, ceil(size / pose_stride)), float32
            Joint angles in radians at the times of the EMG.
        windows : structured ndarray of shape (n_windows,)
            `recording` (row of `metadata`), `start` and `stop` (excluded), in
            samples of the EMG.
        users, sessions, sides, stages, splits, generalizations : ndarray of shape \
                (n_windows,), object
            What the table says of each window's recording.
        metadata : structured ndarray of shape (n_recordings,)
            Rows of the table, as :func:`read_emg2pose_metadata` gives them, of
            the recordings that were read.
        recordings : structured ndarray of shape (n_recordings,)
            Of each: `n_times` and, of these samples, `n_failed` where inverse
            kinematics failed; `n_windows` kept; windows of the plain grid from
            sample 0 on, `n_grid`, and of these, `n_lost` to failures.
        sfreq, pose_sfreq : float
            2000.0 and 2000.0 / pose_stride, Hz.
        channel_names, joint_names : list of str
        report : dict
            Sums of `recordings`, and `recordings_skipped`: `row` of the table,
            `filename` and `reason` of each.
        DESCR : str
            Description, with whom to cite.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no table in it, or a recording's file is
        missing.
    ValueError
        If the table is faulty, a value asked for is unknown, nothing is left or
        no window fits; if a file is damaged, cut short or no recording of
        emg2pose.

    See Also
    --------
    read_emg2pose_metadata : The table alone.

    Notes
    -----
    At a sample where all 20 angles are zero (to 1e-8), inverse kinematics
    failed. No window holds such a sample: windows are cut from each run of
    valid samples on its own, the first window at the run's first sample.

    Left and right hands are read alike: the published EMG of left hands has its
    sign already turned, and the angles of both are in one convention.

    A damaged file is noticed by HDF5's structure and checksums, by chunks that
    are missing, by values that are not finite or impossibly large, and by time
    that runs backwards. A flipped bit that leaves a plausible value is noticed
    where the samples are compressed with gzip or have HDF5's `fletcher32`
    checksums, and cannot be elsewhere.

    References
    ----------
    .. [1] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks
       (2024).

    Examples
    --------
    >>> from sk_cpep.datasets import load_emg2pose
    >>> data = load_emg2pose(
    ...     "emg2pose_dataset", split="train", pose_stride=10, n_jobs=-1
    ... )  # doctest: +SKIP
    >>> data.emg.shape[1:], data.pose.shape[1:]  # doctest: +SKIP
    ((16, 4000), (20, 400))
    """
    root = Path(root)
    table = read_emg2pose_metadata(root)
    asked = dict(generalization=generalization, stages=stages, users=users, sides=sides)
    rows = select_recordings(table, split=split, **asked)
    found, skipped = index_recordings(
        root,
        table,
        rows,
        on_error=on_error,
        n_jobs=n_jobs,
        verbose=verbose,
        cache=cache,
    )
    if not found:
        raise ValueError(
            f"None of the {len(skipped)} selected recordings can be read; the first: "
            f"{skipped[0]['reason']}"
        )
    metadata = table[list(found)]
    windows, recordings = plan_windows(
        [index.n_times for index in found.values()],
        [index.runs for index in found.values()],
        size,
        stride,
        reference_windows,
    )
    emg, pose = (
        WindowArray(
            RecordingSource(root, metadata["filename"].tolist(), field, step),
            windows["recording"],
            windows["start"],
            -(-size // step),
        )
        for field, step in (("emg", 1), ("joint_angles", pose_stride))
    )
    return emg2pose_bunch(
        emg, pose, windows, recordings, metadata, skipped, SFREQ / pose_stride
    )
