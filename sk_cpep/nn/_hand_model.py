"""Where the joints of a hand bring its landmarks: forward kinematics."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from .._typing import AnyArray, Float64Array

N_JOINTS = 20
N_FINGERS = 5
N_BONES = 2 + 3 * N_FINGERS
N_LANDMARKS = 21
TIPS = slice(0, N_FINGERS)


class HandModel(nn.Module):
    """A hand of five fingers with four joints each, and 21 landmarks on it.

    A joint turns what lies beyond it about its axis, through where it is at rest.
    Bones, to which landmarks are fixed, are the root, the wrist (neither moves), and
    for each finger those after its second, third and fourth joint.

    Parameters
    ----------
    axes : tensor of shape (20, 3)
        Rotation axes of the joints at rest, unit vectors; thumb, index, middle, ring,
        pinky, four each, outwards.

    centres : tensor of shape (20, 3)
        Rest positions of the joints.

    landmarks : tensor of shape (21, 3)
        Rest positions of the landmarks, the five tips first, in the same unit.

    weights : tensor of shape (21, 17)
        Share of each bone in each landmark.
    """

    axes: Tensor
    centres: Tensor
    rest: Tensor
    weights: Tensor

    def __init__(
        self, axes: Tensor, centres: Tensor, landmarks: Tensor, weights: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("axes", axes)
        self.register_buffer("centres", centres)
        self.register_buffer("rest", landmarks)
        self.register_buffer("weights", weights)

    def forward(self, angles: Tensor) -> Tensor:
        """Positions of the landmarks.

        Parameters
        ----------
        angles : tensor of shape (..., 20)
            Joint angles in radians.

        Returns
        -------
        positions : tensor of shape (..., 21, 3)
            In the unit of the rest positions.
        """
        rotations, shifts = self.bones(angles)  # (..., 17, 3, 3), (..., 17, 3)
        weighted = self.weights.unsqueeze(-1) * self.rest.unsqueeze(1)  # (21, 17, 3)
        turned = torch.einsum("...bij,lbj->...li", rotations, weighted)
        return turned + self.weights @ shifts

    def bones(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Rotation (..., 17, 3, 3) and shift (..., 17, 3) of each bone."""
        turn = rotation_matrices(self.axes, angles)  # (..., 20, 3, 3)
        shift = self.centres - apply(turn, self.centres)  # (..., 20, 3)
        turn, shift = (
            torch.unflatten(a, angles.ndim - 1, (5, 4)) for a in (turn, shift)
        )
        rotation, offset = turn[..., 0, :, :], shift[..., 0, :]  # (..., 5, 3[, 3])
        rotations, offsets = [], []
        for joint in (1, 2, 3):
            offset = offset + apply(rotation, shift[..., joint, :])
            rotation = rotation @ turn[..., joint, :, :]
            rotations.append(rotation)
            offsets.append(offset)
        return self._with_root(torch.stack(rotations, -3), torch.stack(offsets, -2))

    def _with_root(self, rotations: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Bones (..., 5, 3, ...) in one row behind the two that do not move."""
        rotations, offsets = rotations.flatten(-4, -3), offsets.flatten(-3, -2)
        still = _identity(rotations).expand(*rotations.shape[:-3], 2, 3, 3)
        return (
            torch.cat([still, rotations], dim=-3),
            torch.cat([torch.zeros_like(still[..., 0]), offsets], dim=-2),
        )

    def landmarks(self, angles: AnyArray | Sequence[object]) -> Float64Array:
        """Positions of the landmarks as a float64 array.

        Parameters
        ----------
        angles : array-like of shape (..., 20)
            Joint angles in radians.

        Returns
        -------
        positions : float64 ndarray of shape (..., 21, 3)
        """
        exact = torch.as_tensor(angles, dtype=torch.float64, device="cpu")
        positions: Tensor = deepcopy(self).cpu().double()(exact)
        return positions.numpy()

    def tips(self, angles: Tensor) -> Tensor:
        """Positions of the five fingertips, (..., 5, 3), of angles (..., 20)."""
        positions: Tensor = self(angles)
        return positions[..., TIPS, :]


def rotation_matrices(axes: Tensor, angles: Tensor) -> Tensor:
    """Rotations about axes, by the formula of Rodrigues.

    Parameters
    ----------
    axes : tensor of shape (J, 3)
        Unit vectors.

    angles : tensor of shape (..., J)
        Radians, counter-clockwise.

    Returns
    -------
    rotations : tensor of shape (..., J, 3, 3)
    """
    x, y, z = axes.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    cross = torch.unflatten(cross, -1, (3, 3))  # (J, 3, 3): cross @ v = axis x v
    angles = angles[..., None, None]
    turned = angles.sin() * cross + (1 - angles.cos()) * (cross @ cross)
    return _identity(axes) + turned


def apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (..., 3, 3) times vectors (..., 3)."""
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def _identity(like: Tensor) -> Tensor:
    """The rotation that turns nothing, in the type and on the device of a tensor."""
    return torch.eye(3, dtype=like.dtype, device=like.device)
