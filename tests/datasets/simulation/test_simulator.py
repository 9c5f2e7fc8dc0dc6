"""The simulator against what anatomy, physics and hand calculation say."""

import numpy as np
import pytest
from scipy.signal import welch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GroupKFold, cross_val_score

from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.datasets.simulation import _gestures as kinematics
from sk_cpep.datasets.simulation import _muscles as muscles

SMALL = {"gestures": ["fist", "peace"], "n_repetitions": 2, "sfreq": 200.0}
STILL = {"user_variability": 0, "repetition_variability": 0, "noise_level": 0}


def small(**changes):
    return make_gesture_recordings(
        **{"n_users": 2, "random_state": 0, **SMALL, **changes}
    )


def assert_same(a, b):
    for field in ("emg", "pose", "labels", "repetitions"):
        for x, y in zip(a[field], b[field], strict=True):
            np.testing.assert_array_equal(x, y)


def test_seed_reproduces_bit_for_bit():
    assert_same(small(), small())
    assert_same(
        small(random_state=np.random.RandomState(3)),
        small(random_state=np.random.RandomState(3)),
    )
    assert not np.array_equal(
        small().emg[0][:, :100], small(random_state=1).emg[0][:, :100]
    )


def test_seed_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    small()
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_people_do_not_depend_on_how_many_there_are():
    few, many = small(n_users=2), small(n_users=4)
    for field in ("emg", "pose", "labels", "repetitions"):
        many[field] = many[field][:2]
    assert_same(few, many)


def test_people_are_the_same_in_other_gestures():
    still = {"repetition_variability": 0, "noise_level": 0}
    a = small(gestures=["fist", "open"], **still)
    b = small(gestures=["peace", "fist"], **still)
    for one, other in zip(a.pose, b.pose):
        np.testing.assert_array_equal(one[:, 0], other[:, 0])
    held_a = a.pose[0][:, np.flatnonzero(a.labels[0] == 1)[150]]
    held_b = b.pose[0][:, np.flatnonzero(b.labels[0] == 2)[150]]
    np.testing.assert_allclose(held_a, held_b, atol=1e-6)


@pytest.mark.parametrize(
    "sfreq, pose_sfreq", [(100, None), (2000, 60), (2000.5, 30.25), (50, 400)]
)
@pytest.mark.parametrize("n_channels", [1, 8])
def test_shapes_and_types_at_any_rate(sfreq, pose_sfreq, n_channels):
    data = small(sfreq=sfreq, pose_sfreq=pose_sfreq, n_channels=n_channels)
    assert data.sfreq == sfreq
    assert data.pose_sfreq == (pose_sfreq or sfreq)
    assert len(data.channel_names) == n_channels
    for emg, pose, labels, repetitions in zip(
        data.emg, data.pose, data.labels, data.repetitions
    ):
        assert emg.dtype == pose.dtype == np.float32
        assert labels.dtype == repetitions.dtype == np.int16
        n_times = emg.shape[1]
        assert emg.shape == (n_channels, n_times)
        assert labels.shape == repetitions.shape == (n_times,)
        assert pose.shape[0] == len(data.joint_names) == 20
        assert abs(pose.shape[1] / data.pose_sfreq - n_times / data.sfreq) < 1 / min(
            data.sfreq, data.pose_sfreq
        )
        assert np.isfinite(emg).all()
        assert np.isfinite(pose).all()


def test_movements_are_the_same_at_every_rate():
    slow, fast = small(sfreq=100), small(sfreq=1000)
    n = slow.pose[0].shape[1] - 1
    np.testing.assert_allclose(
        fast.pose[0][:, ::10][:, :n], slow.pose[0][:, :n], atol=1e-5
    )
    assert np.mean(fast.labels[0][::10][:n] != slow.labels[0][:n]) < 0.001


def test_several_recordings_per_person():
    data = small(n_recordings=2)
    assert data.users.tolist() == [0, 0, 1, 1]
    assert not np.array_equal(data.emg[0][:, :50], data.emg[1][:, :50])
    first = {
        field: data[field][:1] for field in ("emg", "pose", "labels", "repetitions")
    }
    assert_same(small(n_recordings=1, n_users=1), first)


@pytest.mark.parametrize("order", ["shuffled", "blocked"])
def test_every_gesture_and_repetition_is_there_once(order):
    data = small(gestures=5, n_repetitions=3, order=order)
    labels, repetitions = data.labels[0], data.repetitions[0]
    starts = np.flatnonzero(np.diff(labels) > 0) + 1
    trials = list(zip(labels[starts].tolist(), repetitions[starts].tolist()))
    assert sorted(trials) == [(g, r) for g in range(1, 6) for r in range(1, 4)]
    assert (trials == sorted(trials)) == (order == "blocked")
    np.testing.assert_array_equal(labels == 0, repetitions == 0)


def test_gesture_names():
    assert small().gesture_names == ["rest", "fist", "peace"]
    assert len(small(gestures=None, n_users=1, n_repetitions=1).gesture_names) == 19
    assert small(gestures=3).gesture_names == ["rest", *list(kinematics.GESTURES)[:3]]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"gestures": ["fist", "salute"]}, "salute.*thumbs_up"),
        ({"gestures": ["rest"]}, "'rest' is always recorded"),
        ({"gestures": ["fist", "fist"]}, "twice"),
        ({"gestures": []}, "no gestures"),
        ({"gestures": "fist"}, r"\['fist'\]"),
        ({"gestures": 99}, "1 to 18"),
        ({"gestures": 0}, "1 to 18"),
        ({"n_users": 0}, "n_users"),
        ({"sfreq": 0}, "sfreq"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"hold": -1.0}, "hold"),
        ({"noise_level": -1}, "noise_level"),
        ({"order": "sorted"}, "order"),
    ],
)
def test_wrong_parameters_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_gesture_table_is_anatomical():
    low, high = kinematics.JOINT_LIMITS.T
    for postures in (kinematics.GESTURE_ANGLES, kinematics.REST_POSTURE):
        assert (postures >= low).all()
        assert (postures <= high).all()
    between = np.abs(
        kinematics.GESTURE_ANGLES[:, None] - kinematics.GESTURE_ANGLES
    ).max(-1)
    assert between[~np.eye(len(between), dtype=bool)].min() > np.deg2rad(15)


def test_poses_stay_within_the_limits_however_different_people_are():
    data = small(
        gestures=None, n_repetitions=1, user_variability=3, repetition_variability=3
    )
    low, high = kinematics.JOINT_LIMITS.T[:, :, None]
    for pose in data.pose:
        assert (pose >= low - 1e-6).all()
        assert (pose <= high + 1e-6).all()


def test_the_hand_is_where_the_label_says():
    data = small(gestures=["point"], n_users=1, **STILL)
    away = np.abs(np.rad2deg(data.pose[0].T - data.pose[0][:, 0])).max(axis=1)
    resting = data.labels[0] == 0
    assert away[resting].max() < 0.01
    assert away[~resting].min() < 1  # the first moments of a movement
    assert np.median(away[~resting]) > 50
    assert np.mean(away[~resting] > 0.5) > 0.95
    names = data.joint_names
    held = np.rad2deg(data.pose[0][:, np.flatnonzero(~resting)[200]])
    assert held[names.index("INDEX_PIP_FE")] < 10
    assert held[names.index("MIDDLE_PIP_FE")] > 80


def test_durations_without_variability():
    data = small(n_users=1, hold=1.5, rest=1.0, move=0.25, n_repetitions=3, **STILL)
    assert data.emg[0].shape[1] == 200 * (6 * (1.0 + 0.25 + 1.5 + 0.25) + 1.0)
    assert abs((data.labels[0] > 0).sum() - 6 * 400) <= 6


def test_minimum_jerk_against_its_conditions():
    phase = np.linspace(-0.5, 1.5, 2001)
    progress = kinematics.minimum_jerk(phase)
    speed, force = (
        np.gradient(progress, phase),
        np.gradient(np.gradient(progress, phase), phase),
    )
    assert progress[phase <= 0].max() == 0
    np.testing.assert_allclose(progress[phase >= 1], 1)
    assert speed.max() == pytest.approx(1.875, abs=1e-3)  # 15/8, the known peak
    assert np.abs(force[[500, 1500]]).max() < 0.1


def test_muscles_respond_to_the_right_movement():
    rest = kinematics.REST_POSTURE
    postures = dict(zip(kinematics.GESTURES, kinematics.GESTURE_ANGLES))
    levels = {}
    for name in ("fist", "open", "thumbs_up"):
        pose = np.repeat(postures[name][:, None], 5, axis=1)
        demand = muscles.joint_demand(pose, rest, 200.0)
        drive = muscles.muscle_drive(
            demand, muscles.MUSCLE_ROUTING, 0 * muscles.MUSCLE_ANGLES
        )
        levels[name] = dict(zip(muscles.MUSCLE_NAMES, drive[:, 0]))
    assert levels["fist"]["FDS middle-ring"] > 0.5
    assert levels["fist"]["EDC middle"] == 0
    assert levels["open"]["EDC middle"] > 0.5
    assert levels["open"]["FDS middle-ring"] == 0
    assert levels["thumbs_up"]["EPL"] > 0.3
    assert levels["thumbs_up"]["FPL"] == 0


def test_demand_of_rest_and_of_a_steady_movement():
    rest = kinematics.REST_POSTURE
    assert muscles.joint_demand(np.repeat(rest[:, None], 4, 1), rest, 100.0).max() == 0
    pose = rest[:, None] - 3.0 * np.arange(4) / 100.0
    demand = muscles.joint_demand(pose, rest, 100.0)
    assert demand[:20].max() == 0
    np.testing.assert_allclose(demand[20:, 0], 3.0 / 12.0)


def test_activation_follows_a_step_exponentially():
    drive = np.r_[np.zeros(100), np.ones(900)][None]
    activation = muscles.activation_dynamics(drive, 1000.0, 0.05)[0]
    assert activation[99] == 0
    expected = 1 - np.exp(-np.arange(1, 901) / 50.0)
    np.testing.assert_allclose(activation[100:], expected, atol=1e-9)
    constant = muscles.activation_dynamics(np.full((2, 50), 0.3), 100.0, 0.05)
    np.testing.assert_allclose(constant, 0.3)


@pytest.mark.parametrize("sfreq", [100.0, 500.0, 2000.0])
def test_carrier_has_unit_variance_and_stays_in_its_band(sfreq):
    rng = np.random.default_rng(0)
    carrier = muscles.interference_carrier(40_000, sfreq, 0.3, rng)
    low, high = muscles.carrier_band(sfreq)
    assert high < sfreq / 2
    assert carrier.std() == pytest.approx(1, abs=0.03)
    frequencies, power = welch(carrier, sfreq, nperseg=1024)
    inside = (frequencies > low - sfreq / 500) & (frequencies < high + sfreq / 500)
    assert power[inside].sum() > 0.99 * power.sum()


def test_spectrum_of_the_recorded_emg():
    data = small(n_users=1, sfreq=2000.0, mains_frequency=None)
    frequencies, power = welch(data.emg[0][:, data.labels[0] > 0], 2000.0, nperseg=2048)
    power = power.mean(axis=0)
    band = (frequencies >= 20) & (frequencies <= 450)
    assert power[band].sum() > 0.9 * power.sum()
    median = frequencies[band][
        np.searchsorted(np.cumsum(power[band]) / power[band].sum(), 0.5)
    ]
    assert 50 < median < 150  # what is measured on forearms


def test_amplitude_follows_activation():
    data = small(n_users=1, sfreq=1000.0)
    busy = data.labels[0] > 0
    inner = np.convolve(busy, np.ones(601), "same")
    rms = [
        np.sqrt((data.emg[0][:, part] ** 2).mean())
        for part in (inner == 601, inner == 0)
    ]
    assert rms[0] > 3 * rms[1]
    forearm = muscles.draw_forearm(8, 0, np.random.default_rng(0))
    times = np.arange(40_000) / 1000.0
    levels = np.full((len(forearm.angles), 2), 0.1) * [[1, 1]]
    weak, strong = (
        muscles.interference_emg(
            a, 1 / 40.0, times, 1000.0, forearm, np.random.default_rng(1)
        )
        for a in (levels, 3 * levels)
    )
    np.testing.assert_allclose(strong, 3 * weak, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_hum_peaks_at_the_mains_frequency(mains):
    times = np.arange(4000) / 1000.0
    noise = muscles.recording_noise(
        4, times, 1000.0, 1.0, mains, np.random.default_rng(0)
    )
    spectrum = np.abs(np.fft.rfft(noise))[:, 40:]
    frequencies = np.fft.rfftfreq(4000, 1 / 1000.0)[40:]
    np.testing.assert_array_equal(frequencies[spectrum.argmax(axis=1)], mains)
    without = muscles.recording_noise(
        4, times, 1000.0, 1.0, None, np.random.default_rng(0)
    )
    hum = noise - without
    assert 2 < np.sqrt((hum**2).mean()) < 5


def test_hum_above_nyquist_is_left_out():
    hum = muscles.mains_hum(
        3, np.arange(500) / 100.0, 100.0, 50.0, np.random.default_rng(0)
    )
    assert not hum.any()


def test_noise_level_scales_and_silences():
    args = (3, np.arange(1000) / 500.0, 500.0)
    one, two, none = (
        muscles.recording_noise(*args, level, 50.0, np.random.default_rng(0))
        for level in (1, 2, 0)
    )
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    assert not none.any()


def test_turning_the_ring_by_one_electrode_rolls_the_channels():
    step = 2 * np.pi / 16
    mixing = [
        muscles.ring_mixing(
            muscles.electrode_angles(16, rotation),
            muscles.MUSCLE_ANGLES,
            muscles.MUSCLE_DEPTHS,
            6.0,
        )
        for rotation in (0.0, step, step / 2)
    ]
    np.testing.assert_allclose(mixing[1], np.roll(mixing[0], -1, axis=0), atol=1e-12)
    assert np.abs(mixing[2] - mixing[0]).max() > 0.05
    peak = muscles.electrode_angles(16)[mixing[0].argmax(axis=0)]
    offset = np.angle(np.exp(1j * (peak - muscles.MUSCLE_ANGLES)))
    assert np.abs(offset).max() <= step / 2 + 1e-9


def test_deep_muscles_are_weaker_and_seen_by_more_electrodes():
    angles = muscles.electrode_angles(64)
    shallow, deep = muscles.ring_mixing(
        angles, np.zeros(2), np.array([0.0, 0.8]), 6.0
    ).T
    assert shallow[0] == 1
    assert deep[0] < shallow[0]
    assert (deep > deep.max() / 2).sum() > (shallow > shallow.max() / 2).sum()


def test_without_variability_everyone_moves_alike():
    data = small(n_users=3, order="blocked", **STILL)
    for pose in data.pose[1:]:
        np.testing.assert_array_equal(pose, data.pose[0])


def windows(data, n=200, step=100):
    """Log amplitudes, mean angles, labels and users of windows within a gesture."""
    rows = []
    for emg, pose, labels, user in zip(data.emg, data.pose, data.labels, data.users):
        for start in range(0, len(labels) - n, step):
            part = slice(start, start + n)
            if labels[start] and (labels[part] == labels[start]).all():
                amplitude = np.log(emg[:, part].std(axis=1))
                rows.append(
                    (amplitude, pose[:, part].mean(axis=1), labels[start], user)
                )
    return map(np.array, zip(*rows))


def test_pose_tells_gestures_across_people_and_emg_less_so():
    data = make_gesture_recordings(8, 8, n_repetitions=4, sfreq=400.0, random_state=2)
    emg, pose, labels, users = windows(data)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    by_pose, by_emg = (
        cross_val_score(lda, features, labels, groups=users, cv=GroupKFold(8)).mean()
        for features in (pose, emg)
    )
    assert by_pose > 0.85
    assert 2 / 8 < by_emg < by_pose - 0.2
