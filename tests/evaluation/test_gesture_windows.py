"""Windows of movements, of the rest before them, and of whole sessions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import butter, sosfiltfilt
from sklearn.utils import Bunch

from sk_cpep.evaluation import (
    cut_gesture_windows,
    cut_rest_windows,
    cut_session_windows,
)
from sk_cpep.evaluation._gesture_windows import count_repetitions

NAMES = ["rest", "fist", "ok"]


def recording(seed, runs):
    """Envelope at 20 Hz, pose at 10 Hz, labels of runs (code, seconds)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([c for c, _ in runs], [round(20 * s) for _, s in runs])
    emg = np.abs(rng.normal(size=(3, len(labels)))) * (1 + labels) + 0.2
    pose = rng.normal(size=(2, len(labels) // 2)) + labels[::2]
    return emg.astype(np.float32), pose.astype(np.float32), labels.astype(np.int16)


RUNS = [
    [(0, 3), (1, 2), (0, 1), (2, 2), (0, 3), (1, 2), (0, 2)],
    [(0, 0.5), (2, 2), (0, 4), (2, 3), (1, 2), (0, 3)],
]


@pytest.fixture
def recordings():
    emg, pose, labels = zip(*(recording(i, runs) for i, runs in enumerate(RUNS)))
    return Bunch(
        emg=list(emg),
        pose=list(pose),
        labels=list(labels),
        users=np.array([7, 9]),
        gesture_names=NAMES,
        sfreq=20.0,
        pose_sfreq=10.0,
    )


def standardised(x):
    x = x.astype(float)
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def test_rest_before_movements_by_hand(recordings):
    rest = cut_rest_windows(recordings, window=1.0, margin=0.5)
    # Of person 7: before the fists at 3 s and 11 s, not the ok after 1 s of rest. Of
    # person 9: before the ok at 6.5 s only; a fist follows it without any rest.
    expected = [(0, 1.5, "fist", 7), (0, 9.5, "fist", 7), (1, 5.0, "ok", 9)]
    assert rest.y.tolist() == [name for _, _, name, _ in expected]
    assert rest.users.tolist() == [user for *_, user in expected]
    for i, (r, start, _, _) in enumerate(expected):
        first = round(20 * start)
        emg = standardised(recordings.emg[r])[:, first : first + 20]
        assert_allclose(rest.X[i], emg, atol=1e-5)
        pose = standardised(recordings.pose[r])[:, first // 2 : first // 2 + 10]
        assert_allclose(rest.P[i], pose, atol=1e-5)
        assert not recordings.labels[r][first : first + 30].any()


def test_too_little_rest_is_said(recordings):
    with pytest.raises(ValueError, match=r"No movement has 4.25 s of rest before it"):
        cut_rest_windows(recordings, window=4.0)


def test_every_window_of_the_sessions(recordings):
    every = cut_session_windows(recordings, window=1.0, stride=0.5)
    expected, people = [], []
    for labels, user in zip(recordings.labels, recordings.users, strict=True):
        for start in range(0, len(labels) - 20 + 1, 10):
            counts = np.bincount(labels[start : start + 20], minlength=3)
            ties = np.flatnonzero(counts == counts.max())
            expected.append({NAMES[code] for code in ties})
            people.append(user)
    assert len(every) == len(expected)
    assert all(y in names for y, names in zip(every.y, expected, strict=True))
    assert_array_equal(every.users, people)
    assert "rest" in set(every.y)


def test_features_are_the_root_of_the_envelope_in_ten_bins(recordings):
    _, named = cut_gesture_windows(
        recordings, window=1.0, stride=0.5, probe_stride=0.25, purity=0.9
    )
    assert named.features.shape == (len(named), 30)
    for row, w in zip(named.features, named.windows, strict=True):
        root = standardised(np.sqrt(recordings.emg[w["recording"]]))
        window = root[:, w["start"] : w["stop"]]
        assert_allclose(row, window.reshape(3, 10, 2).mean(axis=2).ravel(), atol=1e-5)


def test_repetitions(recordings):
    _, named = cut_gesture_windows(recordings, window=1.0, purity=0.9)
    turns = {
        (user, name): set(named.repetitions[(named.users == user) & (named.y == name)])
        for user in (7, 9)
        for name in NAMES[1:]
    }
    assert turns == {
        (7, "fist"): {1, 2},
        (7, "ok"): {1},
        (9, "ok"): {1, 2},
        (9, "fist"): {1},
    }
    assert count_repetitions([0, 1, 1, 0, 2, 1, 1, 0]).tolist() == [
        1,
        1,
        1,
        2,
        1,
        2,
        2,
        3,
    ]
    assert count_repetitions([]).tolist() == []


def test_a_baseline_is_taken_off(recordings):
    plain = cut_gesture_windows(recordings, window=1.0)[1]
    _, named = cut_gesture_windows(recordings, window=1.0, baseline=4.0)
    assert_array_equal(named.windows, plain.windows)
    for x, w in zip(named.X, named.windows, strict=True):
        emg = recordings.emg[w["recording"]].astype(float)
        n = emg.shape[1]
        grid = np.arange(0, n, 4)
        level = [
            np.quantile(emg[:, max(0, t - 40) : t + 40], 0.25, axis=1) for t in grid
        ]
        slow = [np.interp(np.arange(n), grid, row) for row in np.transpose(level)]
        expected = standardised(emg - np.stack(slow))
        assert_allclose(x, expected[:, w["start"] : w["stop"]], atol=1e-4)


def test_selected_together(recordings):
    _, named = cut_gesture_windows(recordings, window=1.0)
    rows = np.arange(len(named))[::-2]
    some = named.select(rows)
    for part in ("X", "P", "y", "users", "windows", "features", "repetitions"):
        assert_array_equal(getattr(some, part), getattr(named, part)[rows])


def smoothed(emg, sfreq, edge):
    """Low-passed rectified EMG, forwards and backwards."""
    sos = butter(2, edge, "lowpass", fs=sfreq, output="sos")
    return sosfiltfilt(sos, np.abs(emg.astype(float)), axis=1)


def test_signals_are_filtered_before_they_are_cut(recordings):
    """Of the whole recording, edges aside, against scipy."""
    long = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    recordings.emg, recordings.users = [long], np.array([7])
    recordings.pose = [np.zeros((2, 2000)) + np.arange(2000)]
    recordings.labels = [np.tile(np.repeat([0, 1], [60, 40]), 40)]
    signals = {"envelope": 3.0}
    rest = cut_rest_windows(recordings, window=1.0, margin=0.5, **signals)
    every = cut_session_windows(recordings, window=1.0, stride=1.0, **signals)
    envelope = smoothed(long, 20.0, 3.0)
    whole = standardised(envelope)
    root = standardised(np.sqrt(np.abs(envelope)))
    for windows, starts in (
        (rest, 60 + 100 * np.arange(40) - 30),
        (every, 20 * np.arange(200)),
    ):
        assert len(windows) == len(starts)
        for i in range(5, len(starts) - 5):
            here = slice(starts[i], starts[i] + 20)
            assert_allclose(windows.X[i], whole[:, here], atol=2e-3)
            bins = root[:, here].reshape(2, 10, 2).mean(axis=2)
            assert_allclose(windows.features[i], bins.ravel(), atol=2e-3)


@pytest.mark.parametrize("pose_sfreq", [8.0, 10.0, 13.0])
def test_poses_at_rest_are_those_that_sessions_are_cut_with(recordings, pose_sfreq):
    """At any start and rate, the same moment gives the same pose."""
    recordings.pose_sfreq = pose_sfreq
    recordings.pose = [
        np.arange(2 * round(pose_sfreq * emg.shape[1] / 20)).reshape(2, -1) * 1.0
        for emg in recordings.emg
    ]
    options = {"window": 1.0}
    every = cut_session_windows(recordings, stride=0.05, **options)
    starts = {
        (user, start): i
        for i, (user, start) in enumerate(
            zip(every.users, every.windows["start"], strict=True)
        )
    }
    for margin in (0.25, 0.3, 0.35, 0.5):
        rest = cut_rest_windows(recordings, margin=margin, **options)
        onsets = [(7, 60), (7, 220), (9, 130)]
        for i, (user, onset) in enumerate(onsets):
            other = starts[user, onset - round(20 * (1.0 + margin))]
            assert_array_equal(rest.X[i], every.X[other])
            assert_array_equal(rest.P[i], every.P[other])
            assert_array_equal(rest.features[i], every.features[other])
