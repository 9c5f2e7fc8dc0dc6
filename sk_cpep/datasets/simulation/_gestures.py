"""Hand kinematics: named gestures as joint angles, and sessions of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from ..._typing import Float64Array, IntArray
from .._tables import read_table

# Range of motion of an adult hand, rounded outwards from the textbook values.
_THUMB_LIMITS = ((-25, 55), (-10, 70), (-15, 65), (-20, 85))
_FINGER_LIMITS = ((-25, 25), (-30, 95), (-5, 115), (-5, 85))
JOINT_LIMITS = np.deg2rad(_THUMB_LIMITS + 4 * _FINGER_LIMITS)

_TABLES = read_table(__package__, "postures.toml")
# gesture: thumb, index, middle, ring, pinky, spread
GESTURES: dict[str, list[str]] = _TABLES["gestures"]
STAGE_POSTURES: dict[str, list[str]] = GESTURES | _TABLES["stage_postures"]
STAGE_GESTURES: dict[str, list[str]] = _TABLES["stages"]


def posture(
    thumb: str, index: str, middle: str, ring: str, pinky: str, spread: str
) -> Float64Array:
    """Joint angles, (20,) radians, of a row of the gesture table."""
    fingers = (
        (abduction, *_TABLES["finger"][shape])
        for abduction, shape in zip(
            _TABLES["spread"][spread], (index, middle, ring, pinky)
        )
    )
    return np.deg2rad(np.concatenate([_TABLES["thumb"][thumb], *fingers]))


REST_POSTURE = posture("relaxed", "relaxed", "relaxed", "relaxed", "relaxed", "none")
GESTURE_ANGLES = np.stack([posture(*row) for row in GESTURES.values()])
STAGE_ANGLES = np.stack([posture(*row) for row in STAGE_POSTURES.values()])


def stage_indices(stage: str) -> IntArray:
    """Rows of `STAGE_ANGLES` that a stage of emg2pose mixes, (n_gestures,)."""
    known = list(STAGE_POSTURES)
    return np.array([known.index(name) for name in STAGE_GESTURES[stage]])


def gesture_indices(gestures: int | Sequence[str] | None) -> IntArray:
    """Rows of the gesture table that a user's choice means.

    Parameters
    ----------
    gestures : None, int or sequence of str
        All, the first so many, or these.

    Returns
    -------
    indices : ndarray of shape (n_gestures,)
        Rows of `GESTURES`.

    Raises
    ------
    ValueError
        If there are no such gestures, or one is named twice.
    """
    known = list(GESTURES)
    if gestures is None:
        return np.arange(len(known))
    if isinstance(gestures, int | np.integer):
        if not 1 <= gestures <= len(known):
            raise ValueError(
                f"gestures={gestures}: the simulator knows {len(known)} gestures; "
                f"ask for 1 to {len(known)} of them, or name them."
            )
        return np.arange(gestures)
    names = check_names(
        gestures, known, "gestures", " ('rest' is always recorded and not listed)"
    )
    return np.array([known.index(name) for name in names])


def check_names(
    given: Sequence[str], known: Sequence[str], what: str, note: str = ""
) -> list[str]:
    """Names as a list.

    Raises
    ------
    ValueError
        If there is none, one is unknown or named twice, or text is given in place of
        a list.
    """
    if isinstance(given, str):
        raise ValueError(f"{what}={given!r}: pass a list of names, [{given!r}].")
    names = list(given)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        fault = f"unknown {what} {unknown}" if names else f"no {what}"
        raise ValueError(f"{fault}; choose from {list(known)}{note}.")
    if len(set(names)) < len(names):
        raise ValueError(f"{what} names one twice: {names}.")
    return names


@dataclass
class Hand:
    """How one person's hand forms the gestures.

    Attributes
    ----------
    rest : ndarray of shape (20,)
        Relaxed posture, radians.
    targets : ndarray of shape (n_gestures, 20)
        Posture of each gesture, radians.
    tempo : float
        Factor on every duration.
    """

    rest: Float64Array
    targets: Float64Array
    tempo: float


def draw_hand(
    variability: float,
    rng: np.random.Generator,
    postures: Float64Array = GESTURE_ANGLES,
) -> Hand:
    """Draw a person's hand around the textbook one.

    Parameters
    ----------
    variability : float
        0 gives everyone the same hand, 1 is realistic.
    rng : numpy.random.Generator
        Source of randomness.
    postures : ndarray of shape (n_gestures, 20), default=GESTURE_ANGLES
        What the hand can form, radians.

    Returns
    -------
    hand : Hand
        The person's postures and tempo.
    """
    shape = postures.shape
    rest = REST_POSTURE + np.deg2rad(5) * variability * rng.standard_normal(shape[1])
    reach = np.exp(0.10 * variability * rng.standard_normal())
    reach = reach * (1 + 0.12 * variability * rng.standard_normal(shape[1]))
    style = np.deg2rad(14) * variability * rng.standard_normal(shape)
    targets = rest + reach * (postures - REST_POSTURE) + style
    tempo = np.exp(0.15 * variability * rng.standard_normal())
    return Hand(rest, np.clip(targets, *JOINT_LIMITS.T), tempo)


def minimum_jerk(phase: ArrayLike) -> Float64Array:
    """Minimum-jerk profile, 0 before and 1 after the movement [1]_.

    Parameters
    ----------
    phase : array-like
        Time since onset over the movement's duration.

    Returns
    -------
    progress : ndarray
        Share of the way covered, of the same shape.

    References
    ----------
    .. [1] T. Flash, N. Hogan, "The coordination of arm movements: an
       experimentally confirmed mathematical model", J. Neurosci. 5 (1985).
    """
    p = np.clip(phase, 0, 1)
    return p**3 * (10 + p * (6 * p - 15))


@dataclass
class Session:
    """A planned recording, continuous in time: sampled at any rate later.

    Attributes
    ----------
    postures : ndarray of shape (n_moves + 1, 20)
        Posture before the first and after each move, radians.
    starts : ndarray of shape (n_moves,)
        When each move starts, seconds.
    onsets, lengths : ndarray of shape (n_moves, 20)
        Each joint's delay after the start and its movement time, seconds.
    stops : ndarray of shape (n_moves,)
        When every joint has arrived, seconds.
    codes, repetitions : ndarray of shape (n_trials,)
        What is done, and for which time; trial i is moves 2i and 2i + 1.
    wobble : CubicSpline
        Involuntary movement of the joints, radians over seconds.
    duration : float
        Seconds.
    """

    postures: Float64Array
    starts: Float64Array
    onsets: Float64Array
    lengths: Float64Array
    stops: Float64Array
    codes: IntArray
    repetitions: IntArray
    wobble: CubicSpline
    duration: float


def trial_order(
    n_gestures: int, n_repetitions: int, order: str, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Codes (1-based) and repetitions (1-based) of the trials of a session.

    Parameters
    ----------
    n_gestures, n_repetitions : int
        How many, and how often each.
    order : {"shuffled", "blocked"}
        Rounds of all gestures, each in a new order, or gesture after gesture.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    codes, repetitions : ndarray of shape (n_gestures * n_repetitions,)
        The trials in time.
    """
    codes = np.arange(1, n_gestures + 1)
    rounds = np.arange(1, n_repetitions + 1)
    if order == "blocked":
        return np.repeat(codes, n_repetitions), np.tile(rounds, n_gestures)
    shuffled = [rng.permutation(codes) for _ in rounds]
    return np.concatenate(shuffled), np.repeat(rounds, n_gestures)


def _trial_postures(
    hand: Hand, indices: IntArray, variability: float, rng: np.random.Generator
) -> Float64Array:
    """Postures before and after each move, (2 * n_trials + 1, 20) radians."""
    n_trials, n_joints = len(indices), len(hand.rest)
    wanted = hand.targets[indices] - hand.rest
    wanted = wanted * (1 + 0.18 * variability * rng.standard_normal((n_trials, 1)))
    wanted += np.deg2rad(7) * variability * rng.standard_normal((n_trials, n_joints))
    previous = np.vstack([np.zeros(n_joints), wanted[:-1]])
    blend = 0.12 * variability * rng.uniform(size=(2, n_trials, 1))
    postures = np.tile(hand.rest, (2 * n_trials + 1, 1))
    postures[1::2] += wanted + blend[0] * (previous - wanted)
    postures[2::2] += blend[1] * wanted
    return np.clip(postures, *JOINT_LIMITS.T)


def _smooth_noise(
    duration: float, n_series: int, rng: np.random.Generator, rate: float = 4.0
) -> CubicSpline:
    """Unit-variance random curves over [0, duration] seconds, as a spline."""
    n_knots = int(np.ceil(duration * rate)) + 4
    knots = (np.arange(n_knots) - 1) / rate
    return CubicSpline(knots, rng.standard_normal((n_knots, n_series)))


def plan_session(
    hand: Hand,
    indices: IntArray,
    n_repetitions: int,
    rng: np.random.Generator,
    *,
    hold: float,
    rest: float,
    move: float,
    order: str,
    variability: float,
) -> Session:
    """Plan one recording of a person: rest, approach, hold, return, rest, ...

    Parameters
    ----------
    hand : Hand
        The person.
    indices : ndarray of shape (n_gestures,)
        Rows of the gesture table; gesture i gets the code i + 1.
    n_repetitions : int
        How often each gesture is done.
    rng : numpy.random.Generator
        Source of randomness.
    hold, rest, move : float
        Mean durations in seconds, before the person's tempo.
    order : {"shuffled", "blocked"}
        See `trial_order`.
    variability : float
        How much repetitions differ, 1 is realistic.

    Returns
    -------
    session : Session
        The plan.
    """
    codes, repetitions = trial_order(len(indices), n_repetitions, order, rng)
    n_trials, n_moves = len(codes), 2 * len(codes)
    postures = _trial_postures(hand, indices[codes - 1], variability, rng)
    jitter = np.exp(0.15 * variability * rng.standard_normal((3, n_moves)))
    total = hand.tempo * move * jitter[0]
    pauses = hand.tempo * np.tile([rest, hold], n_trials) * jitter[1]
    starts = np.cumsum(pauses + np.concatenate([[0], total[:-1]]))
    share = 0.2 * min(variability, 1) * rng.uniform(size=(2, n_moves, len(hand.rest)))
    duration = starts[-1] + total[-1] + hand.tempo * rest
    wobble = _smooth_noise(duration, len(hand.rest), rng)
    wobble.c *= np.deg2rad(1.5) * variability
    return Session(
        postures,
        starts,
        onsets=share[0] * total[:, None],
        lengths=(1 - share.sum(axis=0)) * total[:, None],
        stops=starts + total,
        codes=codes,
        repetitions=repetitions,
        wobble=wobble,
        duration=duration,
    )


def sample_times(duration: float, sfreq: float) -> Float64Array:
    """Times of the samples of a recording of `duration` seconds, at `sfreq` Hz."""
    return np.arange(max(1, round(duration * sfreq))) / sfreq


def sample_pose(session: Session, times: Float64Array) -> Float64Array:
    """Joint angles of a session.

    Parameters
    ----------
    session : Session
        The plan.
    times : ndarray of shape (n_times,)
        Ascending, seconds.

    Returns
    -------
    pose : ndarray of shape (20, n_times)
        Radians, within `JOINT_LIMITS`.
    """
    pose = session.wobble(times).T
    edges = np.searchsorted(times, session.starts[1:])
    for k, part in enumerate(np.split(np.arange(len(times)), edges)):
        since = times[part] - session.starts[k] - session.onsets[k][:, None]
        progress = minimum_jerk(since / session.lengths[k][:, None])
        before, after = session.postures[k : k + 2, :, None]
        pose[:, part] += before + (after - before) * progress
    return np.clip(pose, *JOINT_LIMITS.T[:, :, None], out=pose)


def sample_labels(
    session: Session, times: Float64Array
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Gesture codes and repetitions of a session, both 0 in rest.

    A trial lasts from the first joint's departure to the last one's return.

    Parameters
    ----------
    session : Session
        The plan.
    times : ndarray of shape (n_times,)
        Ascending, seconds.

    Returns
    -------
    labels, repetitions : ndarray of shape (n_times,), int16
        What is done, and for which time.
    """
    trial = np.searchsorted(session.starts[::2], times, side="right") - 1
    busy = (trial >= 0) & (times < session.stops[1::2][trial])
    labels, repetitions = (
        np.where(busy, values[trial], 0).astype(np.int16)
        for values in (session.codes, session.repetitions)
    )
    return labels, repetitions
