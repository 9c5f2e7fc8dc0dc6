import numpy as np
import pytest
from numpy.testing import assert_allclose

from sk_cpep.plotting._hand import _LENGTHS, hand_points, project_points


def bend(**joints):
    """Angles (20,) with some bent, by index: j5=90 is 90 degrees."""
    angles = np.zeros(20)
    for name, degrees in joints.items():
        angles[int(name[1:])] = np.deg2rad(degrees)
    return angles


def test_a_flat_hand_lies_in_the_palm():
    points = hand_points(np.zeros(20))
    assert points.shape == (5, 5, 3)
    assert_allclose(points[..., 2], 0)
    assert (np.diff(points[:, 1:, 1], axis=1) > 0).all()  # all fingers point up
    assert (np.diff(points[:, 1, 0]) > 0).all()  # thumb to little finger


def test_bones_keep_their_length():
    angles = np.random.default_rng(0).uniform(-1, 2, size=20)
    bones = np.diff(hand_points(angles)[:, 1:], axis=1)
    assert_allclose(np.linalg.norm(bones, axis=-1), _LENGTHS)


@pytest.mark.parametrize("finger", [1, 2, 3, 4])
def test_flexion_adds_up_along_a_finger(finger):
    first = 4 * finger
    bent = bend(**{f"j{first + 1}": 90, f"j{first + 2}": 90})
    bones = np.diff(hand_points(bent)[finger, 1:], axis=0)
    proximal, middle, distal = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    assert_allclose(proximal, [0, 0, 1], atol=1e-12)  # out of the palm
    assert_allclose(middle, [0, -1, 0], atol=1e-12)  # back to the wrist
    assert_allclose(distal, middle, atol=1e-12)
    others = np.delete(hand_points(bent) - hand_points(np.zeros(20)), finger, axis=0)
    assert_allclose(others, 0)


def test_abduction_leads_to_the_thumb():
    flat = hand_points(np.zeros(20))
    for joint, finger in ((1, 0), (4, 1), (8, 2), (12, 3), (16, 4)):
        moved = hand_points(bend(**{f"j{joint}": 20})) - flat
        assert moved[finger, -1, 0] < -0.1
        assert moved[finger, -1, 2] == pytest.approx(0)


def test_thumb_flexion_leads_across_the_palm():
    moved = hand_points(bend(j0=60)) - hand_points(np.zeros(20))
    assert (moved[0, -1, [0, 2]] > 0.1).all()


def test_projection_is_a_rotation_seen_flat():
    eye = project_points(np.eye(3))
    # the two rows of an orthonormal matrix
    assert_allclose(eye.T @ eye, np.eye(2), atol=1e-12)
