"""Whether EMG and pose windows that were cut separately are of the same moments."""

import warnings

import numpy as np

from ..preprocessing._origin import Origin
from ..preprocessing._tracks import TOLERANCE


def check_recordings(emg: Origin, pose: Origin) -> None:
    """Refuse windows that do not pair recording by recording.

    Parameters
    ----------
    emg, pose : Origin
        Of as many recordings.
    """
    ratio = pose.stride / emg.stride
    slack = TOLERANCE * max(1, ratio) + 1e-6
    if abs(pose.size - emg.size * ratio) > slack:
        raise ValueError(
            f"EMG windows of {emg.size} samples every {emg.stride} and pose windows of "
            f"{pose.size} samples every {pose.stride} are not of the same moments: size "
            "and stride of both Windowers must be in the ratio of the rates."
        )
    expected = emg.lengths * ratio
    wrong = (emg.counts != pose.counts) | (np.abs(pose.lengths - expected) > slack)
    if wrong.any():
        i = np.argmax(wrong)
        raise ValueError(
            f"Recording {i} does not pair: {emg.lengths[i]} samples of EMG give "
            f"{emg.counts[i]} windows (one every {emg.stride}) and {pose.lengths[i]} of "
            f"pose {pose.counts[i]} (one every {pose.stride}); expected as many, of "
            f"{expected[i]:.6g} samples of pose within {TOLERANCE} of the slower of "
            "both. Cut the recording to what both cover, give size and stride of both "
            "Windowers in the ratio of the rates, or take make_windows(X, P, ...), "
            "which leaves out what has no partner."
        )


def check_origins(
    emg: Origin | None, pose: Origin | None, n_windows: int, n_given: int
) -> None:
    """Refuse windows of other recordings, as many as they are in all.

    Parameters
    ----------
    emg, pose : Origin or None
        None where it is not known.

    n_windows : int
        Of either.

    n_given : int
        Recordings or windows that the poses were cut from.

    Warns
    -----
    UserWarning
        If it can't be told which windows are of which recording.
    """
    if emg is not None and pose is not None:
        if len(emg.counts) != len(pose.counts):
            raise ValueError(
                f"The windows of {len(emg.counts)} recordings of EMG and "
                f"{len(pose.counts)} of pose do not pair, though they are {n_windows} "
                "of both: give both of each recording."
            )
        return
    known = [origin for origin in (emg, pose) if origin is not None]
    cut_up = any(len(o.counts) > 1 and (o.counts != 1).any() for o in known)
    if cut_up or n_given not in (1, n_windows):
        warnings.warn(
            f"The {n_windows} windows of EMG and pose are as many in all, but whether "
            "they pair in each recording is not known: of the "
            f"{'EMG' if emg is None else 'pose'} windows it is lost which recording "
            "they are of. Cut both with make_windows(X, P, ...); or both with a "
            "Windower, after which steps of your own return what numpy functions that "
            "work element by element give.",
            UserWarning,
            stacklevel=4,
        )
