"""Reader of Ninapro DB1, exercise 1: forearm EMG and a data glove."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..._typing import AnyArray, Float32Array, PathLike
from .._tables import read_table
from ._matlab import read_numeric

_FILE_NAME = re.compile(r"S([1-9]\d*)_A1_E1\.mat")
_N_REPETITIONS = 10
_SFREQ = 100.0
_MAX_TRIM = 2
_IMPLAUSIBLE = 1e6

_NAMES = read_table(__package__, "db1.toml")
_CHANNELS: list[str] = _NAMES["channels"]
_SENSORS: list[str] = _NAMES["sensors"]
_GESTURES: list[str] = _NAMES["gestures"]
_DESCR = """\
Ninapro DB1, exercise 1
=======================
12 movements of single fingers, 10 repetitions each, {n} people: {users}.

emg     10 Otto Bock electrodes, volts, 100 Hz; rectified and smoothed by the
        hardware (an envelope). 8 equally spaced round the forearm, one over
        the finger flexors, one over the extensors
pose    22 CyberGlove II sensors, 100 Hz; uncalibrated counts, proportional to
        the joint angle, with a scale of their own per sensor and person
labels  {labels}

M. Atzori et al., "Electromyography data for non-invasive naturally-controlled
robotic hand prostheses", Scientific Data 1:140053 (2014),
doi:10.1038/sdata.2014.53. Research use with citation.
"""

Variables = dict[str, AnyArray]
Codes = NDArray[np.int16]
Subjects = int | Sequence[int] | None

_AGAIN = "Download or copy the file again."


def _matrix(path: Path, variables: Variables, name: str, n_columns: int) -> AnyArray:
    """A variable of shape (n_times, n_columns), finite and plausible."""
    values = variables[name]
    if n_columns == 1 and values.ndim == 2 and values.shape[0] == 1:
        values = values.T
    if values.ndim != 2 or values.shape[1] != n_columns or not len(values):
        raise ValueError(
            f"{path}: `{name}` has shape {values.shape}, expected (n_times, {n_columns}); "
            "is this a file of Ninapro DB1?"
        )
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{path}: `{name}` is not finite at row {where[0]}, column {where[1]}; "
            f"Ninapro's own files hold no NaN. {_AGAIN}"
        )
    if np.abs(values.astype(float)).max() > _IMPLAUSIBLE:
        raise ValueError(
            f"{path}: `{name}` has values beyond {_IMPLAUSIBLE:g}: the file is damaged. {_AGAIN}"
        )
    return values


def _codes(path: Path, variables: Variables, name: str, highest: int) -> Codes:
    """A variable of whole numbers from 0 to `highest`, (n_times,) int16."""
    values = _matrix(path, variables, name, 1)[:, 0]
    codes = values.astype(np.int16)
    wrong = (codes != values) | (values < 0) | (values > highest)
    if wrong.any():
        raise ValueError(
            f"{path}: `{name}` holds {np.unique(values[wrong])[:5].tolist()}, expected whole "
            f"numbers from 0 to {highest}; is this exercise 1 of DB1? {_AGAIN}"
        )
    return codes


def _check_identity(path: Path, variables: Variables, user: int) -> None:
    """Refuse a file that says it is another person's or another exercise's."""
    for name, expected in (("subject", user), ("exercise", 1)):
        if name not in variables:
            continue
        found = np.ravel(variables[name])
        if found.tolist() != [expected]:
            raise ValueError(
                f"{path}: the file name says {name} {expected}, the file's own `{name}` "
                f"says {found[:5].tolist()}; rename the file or fetch the right one."
            )


def _trim(path: Path, series: Variables) -> list[AnyArray]:
    """Cut series to the shortest, if they differ by no more than Ninapro's do."""
    lengths = {name: len(values) for name, values in series.items()}
    shortest, longest = min(lengths.values()), max(lengths.values())
    if longest - shortest > _MAX_TRIM:
        raise ValueError(
            f"{path}: lengths differ by {longest - shortest} samples ({lengths}), "
            f"at most {_MAX_TRIM} are trimmed. {_AGAIN}"
        )
    if longest > shortest:
        warnings.warn(
            f"{path}: lengths differ ({lengths}), trimmed to the first {shortest} samples.",
            UserWarning,
            stacklevel=4,
        )
    return [values[:shortest] for values in series.values()]


def _read_recording(
    path: Path, user: int, refined: bool
) -> tuple[Float32Array, Float32Array, Codes, Codes]:
    """EMG, pose, labels and repetitions of one file."""
    prefix = "re" if refined else ""
    needed = ["emg", "glove", f"{prefix}stimulus", f"{prefix}repetition"]
    variables = read_numeric(path, [*needed, "subject", "exercise"])
    missing = [name for name in needed if name not in variables]
    if missing:
        raise ValueError(
            f"{path} has no {missing}, found {sorted(variables)} of {needed}; "
            "is this a file of Ninapro DB1?"
        )
    _check_identity(path, variables, user)
    emg, glove, labels, repetitions = _trim(
        path,
        {
            "emg": _matrix(path, variables, "emg", len(_CHANNELS)),
            "glove": _matrix(path, variables, "glove", len(_SENSORS)),
            needed[2]: _codes(path, variables, needed[2], len(_GESTURES) - 1),
            needed[3]: _codes(path, variables, needed[3], _N_REPETITIONS),
        },
    )
    emg, pose = (np.ascontiguousarray(values.T, np.float32) for values in (emg, glove))
    return emg, pose, labels, np.where(labels > 0, repetitions, 0).astype(np.int16)


def _find_files(folder: Path) -> dict[int, Path]:
    """Path of each subject's file in a folder, by subject in ascending order."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"{folder} {what}; pass the folder that holds Ninapro DB1's S1_A1_E1.mat, ..."
        )
    matches = ((_FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    files = {int(match[1]): path for match, path in matches if match and path.is_file()}
    if not files:
        found = sorted(path.name for path in folder.iterdir())[:5]
        raise FileNotFoundError(
            f"{folder} holds no S<n>_A1_E1.mat (found {found or 'nothing'}); unpack Ninapro "
            "DB1's archives into it, without subfolders."
        )
    return dict(sorted(files.items()))


def _choose_subjects(
    subjects: Subjects, files: dict[int, Path], folder: Path
) -> list[int]:
    """The subjects to read, checked against those that there are."""
    if subjects is None:
        return list(files)
    chosen: list[int] = []
    if isinstance(subjects, int | np.integer):
        chosen = [subjects]
    elif isinstance(subjects, Iterable):
        chosen = list(subjects)
    if not chosen or not all(
        isinstance(s, Integral) and not isinstance(s, bool) for s in chosen
    ):
        raise ValueError(
            f"subjects={subjects!r}: pass whole numbers, at least one, of {list(files)}."
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"subjects={subjects!r} names one twice.")
    missing = [int(subject) for subject in chosen if subject not in files]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no S{missing[0]}_A1_E1.mat (missing subjects: {missing}); "
            f"there are {list(files)}."
        )
    return [int(subject) for subject in chosen]


def load_ninapro_db1(
    folder: PathLike, subjects: Subjects = None, *, refined: bool = True
) -> Bunch:
    """Read Ninapro DB1, exercise 1: EMG envelope and data glove [1]_.

    Parameters
    ----------
    folder : str or path-like
        Where the files `S<n>_A1_E1.mat` lie.
    subjects : int or sequence of int, default=None
        Whose files to read, in this order; None for all there are.
    refined : bool, default=True
        Take the labels that Ninapro moved to where the movement really is
        (`restimulus`, `rerepetition`), else those of the screen's prompt.

    Returns
    -------
    recordings : :class:`~sklearn.utils.Bunch`
        emg : list of ndarray of shape (10, n_times_i), float32
            Rectified and smoothed by the hardware, in volts; one per subject.
        pose : list of ndarray of shape (22, n_times_i), float32
            Uncalibrated counts of the glove. They follow the EMG by 0 to
            300 ms.
        labels : list of ndarray of shape (n_times_i,), int16
            0 = rest, 1 to 12 index `gesture_names`.
        repetitions : list of ndarray of shape (n_times_i,), int16
            1 to 10; 0 in rest.
        users : ndarray of shape (n_recordings,)
            Subject numbers.
        sfreq, pose_sfreq : float
            100.0, Hz.
        channel_names, joint_names, gesture_names : list of str
            In the order of the rows and codes; `gesture_names[0]` is "rest".
        units : dict
            Of "emg" and "pose".
        DESCR : str
            Description, with whom to cite.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no such file in it, or no such subject.
    ValueError
        If a file is damaged, cut short or no Ninapro DB1 file; if it belongs
        to another subject or exercise than its name says; if a value is not
        finite, a label is outside 0 to 12, or lengths differ by more than
        two samples.

    Warns
    -----
    UserWarning
        If lengths differ by one or two samples, as they do in some of
        Ninapro's files, and are trimmed to the shortest.

    Notes
    -----
    Ninapro's files are compressed, with a checksum for each variable that is
    verified here: damage to the data raises. An uncompressed MATLAB file has
    no checksum, so that an altered sample in it cannot be told from a true one
    unless its value is impossible.

    References
    ----------
    .. [1] M. Atzori et al., "Electromyography data for non-invasive
       naturally-controlled robotic hand prostheses", Scientific Data 1:140053
       (2014), doi:10.1038/sdata.2014.53.

    Examples
    --------
    >>> from sk_cpep.datasets import load_ninapro_db1
    >>> data = load_ninapro_db1("ninapro_db1", subjects=[1, 2])  # doctest: +SKIP
    >>> data.emg[0].shape, data.pose[0].shape  # doctest: +SKIP
    ((10, 101014), (22, 101014))
    """
    folder = Path(folder)
    files = _find_files(folder)
    users = _choose_subjects(subjects, files, folder)
    rows = []
    for user in users:  # no comprehension: the warnings count the calls
        rows.append(_read_recording(files[user], user, refined))
    emg, pose, labels, repetitions = map(list, zip(*rows))
    kind = "moved to the real movement" if refined else "as prompted on the screen"
    return Bunch(
        emg=emg,
        pose=pose,
        labels=labels,
        repetitions=repetitions,
        users=np.array(users),
        sfreq=_SFREQ,
        pose_sfreq=_SFREQ,
        channel_names=list(_CHANNELS),
        joint_names=list(_SENSORS),
        gesture_names=list(_GESTURES),
        units={"emg": "V", "pose": "uncalibrated counts"},
        DESCR=_DESCR.format(n=len(users), users=users, labels=kind),
    )
