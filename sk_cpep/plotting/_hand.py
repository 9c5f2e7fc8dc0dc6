"""A stick hand from 20 joint angles: generic proportions, simple kinematics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import AnyArray, Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

N_JOINTS = 20
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINT_NAMES = ("THUMB_CMC_FE", "THUMB_CMC_AA", "THUMB_MCP_FE", "THUMB_IP_FE") + tuple(
    f"{finger.upper()}_{joint}"
    for finger in FINGERS[1:]
    for joint in ("MCP_AA", "MCP_FE", "PIP_FE", "DIP_FE")
)

# In palm lengths; x points from thumb to little finger, y along the fingers,
# z out of the palm.
_BASES = np.array(
    [[-0.28, 0.25], [-0.25, 0.98], [0.0, 1.02], [0.22, 0.97], [0.42, 0.86]]
)
_LENGTHS = np.array(
    [
        [0.45, 0.36, 0.30],
        [0.46, 0.28, 0.22],
        [0.51, 0.32, 0.23],
        [0.47, 0.30, 0.23],
        [0.37, 0.22, 0.20],
    ]
)
_THUMB_REST = np.deg2rad(10)
# The thumb bends across the palm, about half way out of its plane.
_THUMB_BEND = np.deg2rad(50)
_TURN, _TILT = np.deg2rad(-35), np.deg2rad(20)


def hand_points(angles: ArrayLike) -> Float64Array:
    """Places of the joints of a hand.

    Each finger is a chain of three bones. Abduction turns it within the palm's
    plane, towards the thumb; flexions add up along the chain.

    Parameters
    ----------
    angles : array-like of shape (20,)
        Radians, in the order of emg2pose: thumb CMC flexion and abduction, MCP and
        IP flexion; then for each finger MCP abduction and MCP, PIP and DIP flexion.

    Returns
    -------
    points : ndarray of shape (5, 5, 3)
        By finger, thumb first: wrist, base, two joints and tip, in palm lengths.
    """
    angles = np.asarray(angles, dtype=float).reshape(5, 4)
    away = angles[:, 0].copy()  # abduction, (5,)
    flexion = angles[:, 1:].copy()  # (5, 3)
    away[0], flexion[0, 0] = angles[0, 1] + _THUMB_REST, angles[0, 0]
    bent = np.cumsum(flexion, axis=1)[..., None]  # (5, 3, 1)
    zeros = np.zeros(5)
    along = np.stack([-np.sin(away), np.cos(away), zeros], axis=1)[:, None]
    bend = np.tile([0.0, 0.0, 1.0], (5, 1, 1))  # where flexion leads
    across = np.array([np.cos(away[0]), np.sin(away[0]), 0])
    bend[0] = np.cos(_THUMB_BEND) * across + np.sin(_THUMB_BEND) * bend[0]
    bones = _LENGTHS[..., None] * (np.cos(bent) * along + np.sin(bent) * bend)
    bases = np.column_stack([_BASES, zeros])[:, None]
    return np.concatenate(
        [np.zeros((5, 1, 3)), bases, bases + np.cumsum(bones, axis=1)], axis=1
    )


def project_points(points: AnyArray) -> AnyArray:
    """See points (..., 3) obliquely, so that curled fingers show: (..., 2)."""
    x, y, z = np.moveaxis(points, -1, 0)
    across = np.cos(_TURN) * x - np.sin(_TURN) * z
    depth = np.sin(_TURN) * x + np.cos(_TURN) * z
    return np.stack([across, np.cos(_TILT) * y - np.sin(_TILT) * depth], axis=-1)


def draw_hand(ax: Axes, angles: ArrayLike) -> list[Line2D]:
    """Draw a stick hand on `ax`; return its lines, fingers first, then the palm."""
    points = project_points(hand_points(angles))  # (5, 5, 2)
    style: dict[str, Any] = {"marker": "o", "ms": 2.5, "lw": 2}
    style["solid_capstyle"] = "round"
    palm = np.concatenate([points[0, :1], points[:, 1], points[0, :1]])
    lines = ax.plot(*palm.T, color="0.7", lw=1.2, zorder=1)
    fingers = [
        ax.plot(*finger[1:].T, color=f"C{i}", label=name, **style)[0]
        for i, (name, finger) in enumerate(zip(FINGERS, points, strict=True))
    ]
    ax.set(xlim=(-1.4, 1.0), ylim=(-0.15, 2.1), aspect="equal")
    ax.axis("off")
    return fingers + lines
