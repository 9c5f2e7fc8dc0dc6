"""Forward kinematics against homogeneous matrices in float64."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from sk_cpep.nn import HandModel
from sk_cpep.nn._hand_model import rotation_matrices


def made_up_hand(seed=0):
    """Arrays of a hand that nobody has: axes, centres, landmarks, weights."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    centres, landmarks = 40 * rng.normal(size=(20, 3)), 60 * rng.normal(size=(21, 3))
    weights = np.zeros((21, 17))
    weights[np.arange(20), rng.integers(17, size=20)] = 1
    weights[20, [1, 5, 8]] = 0.5, 0.2, 0.3
    return axes, centres, landmarks, weights


def hand_of(arrays):
    return HandModel(*(torch.from_numpy(a) for a in arrays))


def about(axis, centre, angle):
    """Turn about an axis through a point, as a 4 x 4 matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(angle * axis).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def by_hand(arrays, angles):
    axes, centres, landmarks, weights = arrays
    bones = [np.eye(4), np.eye(4)]
    for finger in range(5):
        frame = np.eye(4)
        for joint in range(4):
            j = 4 * finger + joint
            frame = frame @ about(axes[j], centres[j], angles[j])
            if joint:
                bones.append(frame)
    homogeneous = np.c_[landmarks, np.ones(21)]
    return np.einsum("lb,bij,lj->li", weights, np.array(bones), homogeneous)[:, :3]


def test_against_homogeneous_matrices():
    arrays = made_up_hand()
    angles = np.random.default_rng(1).uniform(-2, 2, size=(6, 20))
    expected = np.stack([by_hand(arrays, a) for a in angles])
    hand = hand_of(arrays)
    assert_allclose(hand(torch.from_numpy(angles)), expected, atol=1e-10)
    assert_allclose(hand.landmarks(angles), expected, atol=1e-10)
    many = hand(torch.from_numpy(angles).reshape(2, 3, 20))
    assert_allclose(many, expected.reshape(2, 3, 21, 3), atol=1e-10)
    assert_allclose(hand.tips(torch.from_numpy(angles)), expected[:, :5], atol=1e-10)
    single = hand_of([a.astype(np.float32) for a in arrays])
    assert_allclose(single(torch.from_numpy(angles).float()), expected, atol=1e-3)
    assert_allclose(single.landmarks(angles), expected, atol=1e-3)
    assert single.axes.dtype == torch.float32  # as it was


def test_rest():
    arrays = made_up_hand()
    assert_allclose(hand_of(arrays).landmarks(np.zeros(20)), arrays[2], atol=1e-10)


def test_a_right_angle():
    """A finger along x, its second joint at x = 10, turned towards y."""
    axes, centres = np.tile([0.0, 0, 1], (20, 1)), np.zeros((20, 3))
    centres[5] = 10, 0, 0
    landmarks, weights = np.zeros((21, 3)), np.zeros((21, 17))
    weights[:, 1] = 1
    landmarks[1], weights[1] = (30, 0, 0), np.eye(17)[5]  # index, after joint 2
    angles = np.zeros(20)
    angles[5] = np.pi / 2
    positions = hand_of((axes, centres, landmarks, weights)).landmarks(angles)
    assert_allclose(positions[1], [10, 20, 0], atol=1e-12)
    assert_allclose(np.delete(positions, 1, axis=0), 0, atol=1e-12)


def test_each_finger_moves_by_its_own_joints():
    axes, centres, landmarks, _ = made_up_hand()
    weights = np.zeros((21, 17))
    weights[np.arange(5), 4 + 3 * np.arange(5)] = 1  # tips at the last bones
    weights[5:, 1] = 1
    hand = hand_of((axes, centres, landmarks, weights))
    for joint in range(20):
        angles = np.zeros(20)
        angles[joint] = 0.3
        moved = np.linalg.norm(hand.landmarks(angles) - landmarks, axis=1) > 1e-6
        assert np.flatnonzero(moved).tolist() == [joint // 4]


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1.0, -2.5, np.pi])
def test_rotations(angle):
    axes = made_up_hand()[0]
    rotations = rotation_matrices(
        torch.from_numpy(axes), torch.full((20,), angle, dtype=torch.float64)
    )
    expected = Rotation.from_rotvec(angle * axes).as_matrix()
    assert_allclose(rotations, expected, atol=1e-12)
