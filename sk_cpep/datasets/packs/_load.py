"""The loader of packs."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from ..._param_validation import validate_params
from ..._typing import PathLike
from .._window_array import WindowArray
from ..emg2pose._metadata import read_emg2pose_metadata
from ..emg2pose._windows import (
    PARAMETER_CONSTRAINTS,
    Choice,
    emg2pose_bunch,
    plan_windows,
    select_recordings,
)
from ._format import list_skipped
from ._pack import open_pack
from ._source import PackSource

_PACKED = """
As packed: EMG in {emg_dtype}, filter {filter};
pose picked at {pose_rate} Hz.
"""


@validate_params(
    PARAMETER_CONSTRAINTS
    | {"pack": [str, os.PathLike], "verify": ["boolean", StrOptions({"lazy"})]},
)
def load_pack(
    pack: PathLike,
    *,
    split: Choice = None,
    generalization: Choice = None,
    stages: Choice = None,
    users: Choice = None,
    sides: Choice = None,
    size: int = 4000,
    stride: int | None = None,
    reference_windows: bool = False,
    verify: bool | Literal["lazy"] = "lazy",
) -> Bunch:
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
    entries = [opened.entries[row] for row in rows]
    windows, recordings = plan_windows(
        [entry["length"] for entry in entries],
        [np.reshape(entry["runs"], (-1, 2)) for entry in entries],
        size,
        stride,
        reference_windows,
    )
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
