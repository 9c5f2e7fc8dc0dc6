"""Real recordings that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import numpy as np
from sklearn.utils import Bunch

from ..._typing import AnyArray
from ..myo._load import describe_readings

_FINGERS = """\
EMG with fingers
================
Two and a half minutes of one person who moves the fingers of a hand, an OpenBCI board on
the forearm and a webcam on the hand, both recorded through LSL, 125 Hz.

emg     16 electrodes, microvolts, band-passed by those who recorded it; to 0.5 % of the
        root mean square of each. Electrodes 11 to 16 are cut off at 5 microvolts; 11 and
        15 are flat for parts of the time: leave these two out
pose    how far each finger is open, by MediaPipe: 0 is closed, 1 open, 96 % of the
        values one or the other. It follows the EMG by about 0.2 s

Samples are 8 ms apart, but for one in two hundred, which is a millisecond off. One
person and two and a half minutes: to learn the package on, no evidence of anything.

From the public repository SjDuque/EEG-EMG-Hands, MIT licence.
"""


def load_example(name: str) -> Bunch:
    """Load real recordings that come with the package.

    Parameters
    ----------
    name : {"fingers", "myo"}
        "fingers": EMG of one person with how far each finger is open, from a webcam,
        really paired; two and a half minutes. "myo": a session of one person with a
        wristband, raw EMG of rest and seven gestures, no pose; eight minutes.

    Returns
    -------
    recordings : :class:`~sklearn.utils.Bunch`
        Of new arrays, in every call. "myo" is as of :func:`load_myo_readings`;
        "fingers" has:

        emg : list of one ndarray of shape (16, 18736), float32
            Microvolts.
        pose : list of one ndarray of shape (5, 18736), float32
            From 0, closed, to 1, open.
        users : ndarray of shape (1,)
        sfreq, pose_sfreq : float
            125.0 Hz.
        channel_names, joint_names : list of str
        units : dict
            Of "emg" and "pose".
        DESCR : str
            Description, with the source and its licence.

    Raises
    ------
    ValueError
        If there is no such example.

    Examples
    --------
    >>> from sk_cpep.datasets import load_example
    >>> data = load_example("fingers")
    >>> data.emg[0].shape, data.pose[0].shape
    ((16, 18736), (5, 18736))
    """
    loaders: dict[str, Callable[[], Bunch]] = {"fingers": _fingers, "myo": _myo}
    if name not in loaders:
        raise ValueError(f"There is no example {name!r}; there are {list(loaders)}.")
    return loaders[name]()


def _read(name: str) -> dict[str, AnyArray]:
    """The arrays of a file beside this module."""
    with (
        (resources.files(__package__) / name).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


def _fingers() -> Bunch:
    arrays = _read("fingers.npz")
    emg = arrays["emg"].astype(np.float32) * arrays["step"][:, np.newaxis]
    return Bunch(
        emg=[emg],
        pose=[arrays["pose"].astype(np.float32)],
        users=np.array([1]),
        sfreq=125.0,
        pose_sfreq=125.0,
        channel_names=[f"EMG{i}" for i in range(1, len(emg) + 1)],
        joint_names=["thumb", "index", "middle", "ring", "little"],
        units={"emg": "µV", "pose": "openness, 0 to 1"},
        DESCR=_FINGERS,
    )


def _myo() -> Bunch:
    arrays = _read("myo.npz")
    ends = np.cumsum(arrays["lengths"])[:-1]
    emg = np.split(arrays["emg"], ends, axis=1)
    labels = np.split(arrays["labels"], ends)
    return describe_readings(
        [np.ascontiguousarray(part) for part in emg],
        labels,
        arrays["users"],
        arrays["sessions"],
        arrays["files"],
        np.zeros(len(emg), dtype=np.int64),
    )
