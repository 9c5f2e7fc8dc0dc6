"""From recordings to the windows that encoders learn from, and those that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._typing import AnyArray, BoolArray, Float32Array, FloatArray
from ..preprocessing import (
    BandpassNotch,
    InstanceNorm,
    RunningBaseline,
    make_windows,
)

N_BINS = 10


@dataclass
class GestureWindows:
    """Windows of EMG and pose, with the gesture and the person of each.

    Parameters
    ----------
    X, P : array-likes of shape (n, n_channels, n_times), (n, n_joints, n_pose_times)
        EMG and pose.

    y, users : ndarrays of shape (n,)
        Gesture (code or name) and person.

    windows : structured ndarray of shape (n,), default=None
        Where each lies: `recording`, `start`, `stop`, `purity`; if it is known.

    features : ndarray of shape (n, n_features), default=None
        What a simple rival reads of the same windows; if there is one.

    repetitions : int ndarray of shape (n,), default=None
        How often the recording has come to this gesture, from 1 on; if it is known.
    """

    X: Any
    P: Any
    y: AnyArray
    users: AnyArray
    windows: Any = None
    features: Any = None
    repetitions: Any = None

    def __len__(self) -> int:
        return len(self.y)

    def select(self, rows: AnyArray) -> GestureWindows:
        """Select windows.

        Parameters
        ----------
        rows : ndarray
            Indices, or a mask of shape (n_windows,).
        """
        parts: list[Any] = [getattr(self, field.name) for field in fields(self)]
        chosen: list[Any] = [None if part is None else part[rows] for part in parts]
        return GestureWindows(*chosen)


def cut_gesture_windows(
    recordings: Any,
    *,
    window: float = 2.0,
    stride: float = 0.5,
    probe_stride: float = 0.25,
    purity: float = 0.6,
    movement: float = 0.5,
    onset: bool = False,
    unseen: Sequence[str] = (),
    filter: Mapping[str, Any] | None = None,
    envelope: float | None = None,
    baseline: float | None = None,
) -> tuple[GestureWindows, GestureWindows]:
    """Cut recordings into windows to pre-train on, and windows to name.

    EMG is filtered before it is cut. Every channel of EMG and pose is standardised
    over its own recording, the whole session of a person, before this person is
    tested on: nothing is used of labels or of other people, but a session has to be
    over before it can be read so.

    Windows to name are cut with the labels of the person: they lie where a movement
    is known to be (`purity`, `onset`). See :func:`cut_session_windows` for what a
    wristband would be given, and :func:`cut_rest_windows` for a control.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`~sk_cpep.datasets.make_gesture_recordings` and
        :func:`~sk_cpep.datasets.load_ninapro_db1`: `emg`, `pose`, `labels` (0 is
        rest), `users`, `gesture_names`, `sfreq` and `pose_sfreq`.

    window : float, default=2.0
        Length of a window, in seconds.

    stride, probe_stride : float, default=0.5 and 0.25
        Distance of the starts of windows to pre-train on, and of those to name, in
        seconds.

    purity : float, default=0.6
        Smallest share of a window to name that is one gesture.

    movement : float, default=0.5
        Smallest share of a window to pre-train on in which the hand moves.

    onset : bool, default=False
        Whether windows to name must begin in rest, so that each holds the onset of its
        movement.

    unseen : sequence of str, default=()
        Gestures of which no window to pre-train on holds a sample.

    filter : dict, default=None
        Parameters of :class:`~sk_cpep.BandpassNotch`, without `sfreq`. None filters
        nothing.

    envelope : float, default=None
        Low-pass edge in Hz of the rectified EMG. None leaves it as it is.

    baseline : float, default=None
        Seconds over which the resting level of the EMG (of its envelope) is taken off,
        so that what changes slowly is gone: drift, and tension that is held; see
        :class:`~sk_cpep.preprocessing.RunningBaseline`. None takes nothing off.

    Returns
    -------
    pretraining, named : GestureWindows
        `y` of the latter are names; their `features` are the square root of the
        envelope, standardised as the rest is, in ten time bins of each channel.
    """
    names = np.array(recordings.gesture_names)
    signals = prepare_signals(recordings, filter, envelope, baseline)
    every = _cut(signals, recordings, window, stride)
    moving = label_share(recordings.labels, every.windows, range(1, len(names)))
    of_unseen = label_share(
        recordings.labels, every.windows, np.flatnonzero(np.isin(names, unseen))
    )
    named = _cut(signals, recordings, window, probe_stride)
    # 0 is rest.
    named = named.select((named.windows["purity"] >= purity) & (named.y > 0))
    if onset:
        named = named.select(begins_in_rest(recordings.labels, named.windows))
    named.y = names[named.y]
    return every.select((moving >= movement) & (of_unseen == 0)), named


def cut_session_windows(
    recordings: Any,
    *,
    window: float = 2.0,
    stride: float = 1.0,
    filter: Mapping[str, Any] | None = None,
    envelope: float | None = None,
    baseline: float | None = None,
) -> GestureWindows:
    """Cut every window of the sessions, rest a class of its own.

    What is named is chosen without the labels: each window carries the label that most
    of its samples have, and many hold the end of one movement or the beginning of
    another.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`cut_gesture_windows`.

    window, stride : float, default=2.0 and 1.0
        Length of a window, and distance of their starts, in seconds.

    filter, envelope, baseline
        As of :func:`cut_gesture_windows`.

    Returns
    -------
    windows : GestureWindows
        `y` are names, `gesture_names[0]` that of rest.
    """
    signals = prepare_signals(recordings, filter, envelope, baseline)
    windows = _cut(signals, recordings, window, stride)
    windows.y = np.array(recordings.gesture_names)[windows.y]
    return windows


def cut_rest_windows(
    recordings: Any,
    *,
    window: float = 2.0,
    margin: float = 0.25,
    filter: Mapping[str, Any] | None = None,
    envelope: float | None = None,
    baseline: float | None = None,
) -> GestureWindows:
    """Cut the rest before each movement, named after the movement that follows.

    A control: where the repetitions of a gesture are recorded one after the other, a
    session's slow changes give the gesture away. What a classifier reaches on these
    windows, in which nobody moves, it has not read off movements.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`cut_gesture_windows`.

    window : float, default=2.0
        Length of a window in seconds.

    margin : float, default=0.25
        Seconds between the end of a window and the first sample of the movement.

    filter, envelope, baseline
        As of :func:`cut_gesture_windows`.

    Returns
    -------
    windows : GestureWindows
        One for each movement before which there was so much rest; `y` are names of the
        movements.
    """
    signals = prepare_signals(recordings, filter, envelope, baseline)
    names = np.array(recordings.gesture_names)
    before = round((window + margin) * recordings.sfreq)
    size = round(window * recordings.sfreq)
    marked, movements = [], []
    for recording, labels in enumerate(recordings.labels):
        for onset in movement_onsets(labels):
            if onset >= before and not np.any(labels[onset - before : onset]):
                marked.append((recording, onset - before, onset - before + size))
                movements.append(names[labels[onset]])
    if not marked:
        raise ValueError(
            f"No movement has {window + margin:g} s of rest before it, which these "
            "windows are cut from: give a shorter window, or a smaller margin."
        )
    ratio = recordings.pose_sfreq / recordings.sfreq
    n_pose_times = round(window * recordings.pose_sfreq)
    X, root = (
        np.stack([signal[r][:, start:stop] for r, start, stop in marked])
        for signal in (signals.emg, signals.root)
    )
    P = np.stack(
        [
            signals.pose[r][:, round(start * ratio) :][:, :n_pose_times]
            for r, start, _ in marked
        ]
    )
    users = np.asarray(recordings.users)[[r for r, _, _ in marked]]
    return GestureWindows(
        X, P, np.array(movements), users, features=in_bins(root, N_BINS)
    )


def movement_onsets(labels: AnyArray) -> AnyArray:
    """First samples of movements that follow rest (label 0): indices (n,)."""
    moves = np.asarray(labels) > 0
    return np.flatnonzero(moves[1:] & ~moves[:-1]) + 1


@dataclass
class Signals:
    """Recordings as windows are cut from them, each channel standardised.

    Parameters
    ----------
    emg, root, pose : list of float32 ndarrays of shape (n_channels, n_times_i)
        EMG (its envelope); the square root of its absolute value; pose.
    """

    emg: list[Float32Array]
    root: list[Float32Array]
    pose: list[Float32Array]


def prepare_signals(
    recordings: Any,
    filter: Mapping[str, Any] | None,
    envelope: float | None,
    baseline: float | None = None,
) -> Signals:
    """Filter EMG, take its envelope, and standardise each channel over its recording."""
    emg = recordings.emg
    if filter is not None:
        emg = BandpassNotch(sfreq=recordings.sfreq, **filter).fit_transform(emg)
    if envelope is not None:
        low_pass = BandpassNotch(None, envelope, None, sfreq=recordings.sfreq, order=2)
        emg = low_pass.fit_transform([np.abs(recording) for recording in emg])
    root = [np.sqrt(np.abs(recording)) for recording in emg]
    if baseline is not None:
        slow = RunningBaseline(baseline, sfreq=recordings.sfreq)
        emg, root = slow.fit_transform(emg), slow.fit_transform(root)
    norm = InstanceNorm(over="channel")
    return Signals(*map(norm.fit_transform, (emg, root, recordings.pose)))


def _cut(
    signals: Signals, recordings: Any, window: float, stride: float
) -> GestureWindows:
    """All windows of the recordings, labelled by majority."""
    X, root, P, y, users, windows = make_windows(
        signals.emg,
        signals.root,
        signals.pose,
        recordings.labels,
        recordings.users,
        size=round(window * recordings.sfreq),
        stride=round(stride * recordings.sfreq),
        purity=0.0,
        rates=[recordings.sfreq, recordings.sfreq, recordings.pose_sfreq, None, None],
        return_provenance=True,
    )
    turns = [count_repetitions(labels) for labels in recordings.labels]
    where = zip(windows["recording"], windows["start"], windows["stop"], y)
    repetitions = [
        turns[recording][start:stop][recordings.labels[recording][start:stop] == code]
        for recording, start, stop, code in where
    ]
    last = np.array([turn[-1] if len(turn) else 0 for turn in repetitions], dtype=int)
    return GestureWindows(X, P, y, users, windows, in_bins(root, N_BINS), last)


def count_repetitions(labels: AnyArray) -> AnyArray:
    """How often each sample's label has come up: (n,), counting runs of it from 1."""
    labels = np.asarray(labels)
    first = np.concatenate([[True], labels[1:] != labels[:-1]])
    turns = np.zeros(len(labels), dtype=np.int64)
    for code in np.unique(labels):
        here = labels == code
        turns[here] = np.cumsum(first & here)[here]
    return turns


def in_bins(X: AnyArray, n_bins: int) -> AnyArray:
    """Means of windows (n, C, T) in time bins: (n, C * n_bins)."""
    bins = [part.mean(axis=2) for part in np.array_split(X, n_bins, axis=2)]
    return np.stack(bins, axis=2).reshape(len(X), -1)


def label_share(labels: Sequence[AnyArray], windows: Any, codes: Any) -> FloatArray:
    """Share of each window's samples whose label is among `codes`."""
    share = np.empty(len(windows))
    for recording, samples in enumerate(labels):
        count = np.concatenate([[0], np.cumsum(np.isin(samples, codes))])
        here = windows["recording"] == recording
        start, stop = windows["start"][here], windows["stop"][here]
        share[here] = (count[stop] - count[start]) / (stop - start)
    return share


def begins_in_rest(labels: Sequence[AnyArray], windows: Any) -> BoolArray:
    """Whether the first sample of each window is rest (label 0)."""
    firsts = [labels[w["recording"]][w["start"]] for w in windows]
    return np.array(firsts) == 0
