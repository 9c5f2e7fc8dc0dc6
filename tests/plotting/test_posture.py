"""Hands of a window: joints found by name, a glove drawn schematically."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.datasets import load_ninapro_db1, make_gesture_recordings
from sk_cpep.datasets.emg2pose._format import JOINT_NAMES
from sk_cpep.datasets.ninapro._load import _SENSORS
from sk_cpep.datasets.simulation._gestures import JOINT_LIMITS, REST_POSTURE
from sk_cpep.plotting import _hand
from sk_cpep.plotting._posture import (
    RELAXED,
    can_be_hand,
    distinct_posture,
    hand_angles,
)

_DEFAULT = Path(__file__).parents[2] / ".." / "shared" / "data" / "ninapro_db1"
REAL = Path(os.environ.get("SK_CPEP_NINAPRO_DB1", _DEFAULT))
needs_real = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="Ninapro DB1 is not at hand (set SK_CPEP_NINAPRO_DB1); the tests of single "
    "sensors cover the same code, with the signs as they were measured",
)
SENSORS = [
    "thumb roll",
    "thumb MCP",
    "thumb IP",
    "thumb-index abduction",
    "index MCP",
    "index PIP",
    "index DIP",
    "middle MCP",
    "middle PIP",
    "middle DIP",
    "index-middle abduction",
    "ring MCP",
    "ring PIP",
    "ring DIP",
    "middle-ring abduction",
    "little MCP",
    "little PIP",
    "little DIP",
    "ring-little abduction",
    "palm arch",
    "wrist flexion",
    "wrist abduction",
]
# emg2pose: thumb CMC flexion, CMC abduction, MCP, IP; a finger's abduction, MCP, PIP, DIP.
FINGERS = {"index": 4, "middle": 8, "ring": 12, "little": 16}


def glove(**sensors):
    """Angles (20,) of a glove, some of whose sensors are off their mean, in SD."""
    pose = np.zeros((22, 4))
    for name, value in sensors.items():
        pose[SENSORS.index(name.replace("_", " "))] = value
    angles = hand_angles(pose, SENSORS)
    assert_array_equal(angles, angles[:, :1] * np.ones(4))
    return angles[:, 0]


def test_names_and_hands_are_those_of_the_readers():
    assert _hand.JOINT_NAMES == JOINT_NAMES
    assert SENSORS == _SENSORS
    assert_allclose(RELAXED, REST_POSTURE)


def test_joints_are_found_by_name():
    recordings = make_gesture_recordings(
        1, gestures=1, n_repetitions=1, sfreq=100, pose_sfreq=50, random_state=0
    )
    pose, names = recordings.pose[0], recordings.joint_names
    assert_array_equal(hand_angles(pose, names), pose)
    assert_array_equal(hand_angles(pose[::-1], names[::-1]), pose)
    assert can_be_hand(names) and can_be_hand(SENSORS)
    assert not can_be_hand(names[1:]) and not can_be_hand([])


@pytest.mark.parametrize(("finger", "first"), FINGERS.items())
def test_sensors_of_a_finger_bend_it_alone(finger, first):
    flat = glove()
    bent = glove(**{f"{finger}_MCP": 1, f"{finger}_PIP": 1}) - flat
    assert_allclose(np.rad2deg(bent[first : first + 4]), [0, 20, 20, 13])
    assert_array_equal(np.delete(bent, range(first, first + 4)), 0)
    stretched = glove(**{f"{finger}_MCP": -1, f"{finger}_PIP": -1}) - flat
    assert (stretched[first + 1 : first + 4] < 0).all()


def test_the_thumb_bends_as_its_sensors_fall():
    moved = glove(thumb_roll=-1, thumb_MCP=-1, thumb_IP=-1) - glove()
    assert_allclose(np.rad2deg(moved[[0, 2, 3]]), [12, 15, 20])
    assert_array_equal(np.delete(moved, [0, 2, 3]), 0)


def test_other_sensors_are_left_out():
    others = dict.fromkeys(
        ("index_DIP", "middle-ring_abduction", "palm_arch", "wrist_flexion"), 2.0
    )
    assert_array_equal(glove(**others), glove())


def test_a_glove_never_breaks_a_hand():
    for far in (-50.0, 50.0):
        angles = hand_angles(np.full((22, 3), far), SENSORS)
        low, high = JOINT_LIMITS.T[:, :, None]
        assert ((angles >= low) & (angles <= high)).all()


def test_the_moment_furthest_from_a_relaxed_hand():
    rest = glove()
    angles = np.tile(rest[:, None], 40)
    angles[5, 12:26] += 1.0
    angles[9, 30:34] += 1.2  # shorter than a quarter: .48 in the mean
    expected = rest.copy()
    expected[5] += 1.0
    assert_allclose(distinct_posture(angles), expected)
    # by brute force
    angles += np.random.default_rng(0).normal(scale=0.3, size=angles.shape)
    means = [angles[:, i : i + 10].mean(axis=1) for i in range(31)]
    furthest = max(means, key=lambda mean: np.sum((mean - rest) ** 2))
    assert_allclose(distinct_posture(angles), furthest)


def test_windows_of_few_samples():
    angles = np.random.default_rng(0).normal(size=(20, 1))
    assert_allclose(distinct_posture(angles), angles[:, 0])


@needs_real
def test_gestures_of_ninapro_show_the_finger_that_moves():
    """The finger that is named is the one that bends, or stretches, most."""
    recordings = load_ninapro_db1(REAL, subjects=[1, 2])
    names = recordings.gesture_names
    means = []
    for pose, labels in zip(recordings.pose, recordings.labels, strict=True):
        pose = (pose - pose.mean(axis=1, keepdims=True)) / pose.std(
            axis=1, keepdims=True
        )
        means.append([pose[:, labels == code].mean(axis=1) for code in range(13)])
    mean = np.mean(means, axis=0)
    angles = hand_angles(mean.T, recordings.joint_names)  # (20, 13)
    flexion = angles[[5, 9, 13, 17]] + angles[[6, 10, 14, 18]]  # (4, 13)
    flexion -= flexion[:, :1]
    for i, finger in enumerate(FINGERS):
        assert flexion[:, names.index(f"{finger} flexion")].argmax() == i
        assert flexion[:, names.index(f"{finger} extension")].argmin() == i
    thumb = angles[[0, 2, 3]].sum(axis=0)
    assert thumb.argmax() in map(names.index, ("thumb flexion", "thumb adduction"))
    assert thumb.argmin() == names.index("thumb extension")
