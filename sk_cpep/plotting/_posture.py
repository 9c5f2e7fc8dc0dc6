"""Which posture of a pose window a hand is drawn in: angles of an instant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._typing import AnyArray, Float64Array
from ._hand import JOINT_NAMES

# Radians, in the order of emg2pose: a relaxed hand, and how far joints go.
RELAXED = np.deg2rad([10, 25, 12, 15, *4 * [0, 28, 35, 18]])
_LIMITS = np.deg2rad(
    [(-25, 55), (-10, 70), (-15, 65), (-20, 85)]
    + 4 * [(-25, 25), (-30, 95), (-5, 115), (-5, 85)]
)

# Sensors of Ninapro's glove that are drawn, and degrees for a standard deviation.
# Those of fingers rise with flexion and those of the thumb fall, in all 15 people of
# DB1 whose flexion was compared with their extension.
_FLEXION = {
    "THUMB_CMC_FE": ("thumb roll", -12),
    "THUMB_CMC_AA": ("thumb-index abduction", 10),
    "THUMB_MCP_FE": ("thumb MCP", -15),
    "THUMB_IP_FE": ("thumb IP", -20),
}
for _joint, _sensor in zip(
    ("INDEX", "MIDDLE", "RING", "PINKY"), ("index", "middle", "ring", "little")
):
    _FLEXION[f"{_joint}_MCP_FE"] = (f"{_sensor} MCP", 20)
    _FLEXION[f"{_joint}_PIP_FE"] = (f"{_sensor} PIP", 20)
    # An end joint bends with the one before it; its own sensor does not say so.
    _FLEXION[f"{_joint}_DIP_FE"] = (f"{_sensor} PIP", 13)

_SENSORS = {sensor for sensor, _ in _FLEXION.values()}


def can_be_hand(joint_names: Sequence[str]) -> bool:
    """Whether hands can be drawn from joints, or sensors, of these names."""
    return set(joint_names) >= set(JOINT_NAMES) or set(joint_names) >= _SENSORS


def hand_angles(pose: AnyArray, joint_names: Sequence[str]) -> Float64Array:
    """Angles that a hand is drawn with.

    Joint angles of emg2pose and of the simulator are put in order by their names.

    Ninapro's glove is not calibrated: its sensors, standardised over a session, are
    drawn schematically, as a relaxed hand of which each joint is bent by so many
    degrees for a standard deviation. It shows which finger bends or stretches, not how
    far. End joints follow the middle ones. Sensors between the fingers, of the palm
    and of the wrist are left out.

    Parameters
    ----------
    pose : ndarray of shape (n_joints, n_times)
        Radians; of a glove, standard deviations from the mean.

    joint_names : sequence of length n_joints
        Names as of :func:`~sk_cpep.datasets.make_gesture_recordings` or
        :func:`~sk_cpep.datasets.load_ninapro_db1`.

    Returns
    -------
    angles : ndarray of shape (20, n_times)
        Radians, in the order of emg2pose.
    """
    row = {name: i for i, name in enumerate(joint_names)}
    pose = np.asarray(pose, dtype=float)
    if set(JOINT_NAMES) <= set(row):
        return pose[[row[name] for name in JOINT_NAMES]]
    angles = np.repeat(RELAXED[:, None], pose.shape[1], axis=1)
    for joint, (sensor, degrees) in _FLEXION.items():
        angles[JOINT_NAMES.index(joint)] += np.deg2rad(degrees) * pose[row[sensor]]
    return np.clip(angles, *_LIMITS.T[:, :, None])


def distinct_posture(angles: Float64Array) -> Float64Array:
    """The posture in which a hand is furthest from a relaxed one.

    Parameters
    ----------
    angles : ndarray of shape (20, n_times)
        Radians, in the order of emg2pose.

    Returns
    -------
    posture : ndarray of shape (20,)
        Mean over that quarter of the window, of all its stretches of this length,
        whose mean lies furthest from a relaxed hand.
    """
    size = max(1, angles.shape[1] // 4)
    means = sliding_window_view(angles, size, axis=1).mean(axis=2)  # (20, n_stretches)
    distances = np.linalg.norm(means - RELAXED[:, None], axis=0)
    return means[:, distances.argmax()]
