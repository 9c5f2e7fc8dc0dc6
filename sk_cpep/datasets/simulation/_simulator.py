"""Simulated recordings of people making gestures."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from ..._param_validation import validate_params
from ..._typing import AnyArray, Float64Array, RandomStateLike
from .._validation import COUNT
from ..emg2pose._format import JOINT_NAMES
from . import _gestures as kinematics
from . import _muscles as muscles
from ._gestures import Hand, Session
from ._muscles import Forearm

CONTROL_SFREQ = 200.0

_DESCR = """\
Simulated surface EMG and hand pose
===================================
{n_users} people, {n_gestures} gestures, {n_repetitions} repetitions in each of
{n_recordings} recordings a person (sk_cpep.datasets.make_gesture_recordings).

emg     {n_channels} electrodes on a ring round the forearm, uV, {sfreq:g} Hz: interference
        of {n_muscles} muscles, sensor noise, mains hum, drift
pose    20 joint angles, radians, {pose_sfreq:g} Hz, in the order of `joint_names`;
        FE flexes towards the palm, MCP_AA moves a finger to the thumb's side
labels  per EMG sample, 0 = rest, codes into `gesture_names`; a gesture lasts
        from the first joint's departure to the last joint's return
"""


def _person(
    seed: int, user: int, recording: int, n_channels: int, variability: float
) -> tuple[Hand, Forearm]:
    """The hand and the forearm of a user, the band put on anew per recording."""
    rng = generator(seed, user, 0)
    hand = kinematics.draw_hand(variability, rng)
    forearm = muscles.draw_forearm(n_channels, variability, rng)
    return hand, muscles.don_band(
        forearm, variability, generator(seed, user, 1, recording)
    )


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for each thing that is drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _effort(
    session: Session, times: Float64Array, variability: float, rng: np.random.Generator
) -> Float64Array:
    """How strongly the person grips, (n_times,); new at each trial."""
    middles = (session.stops[1:-1:2] + session.starts[2::2]) / 2
    per_trial = np.exp(0.35 * variability * rng.standard_normal(len(session.codes)))
    return per_trial[np.searchsorted(middles, times)]


def activate(
    session: Session,
    hand: Hand,
    forearm: Forearm,
    variability: float,
    rng: np.random.Generator,
) -> Float64Array:
    """Muscle activations at the control rate, (n_muscles, n_control)."""
    times = (
        kinematics.sample_times(session.duration + 0.1, CONTROL_SFREQ) + forearm.delay
    )
    pose = kinematics.sample_pose(session, times)
    demand = muscles.joint_demand(pose, hand.rest, CONTROL_SFREQ)
    effort = _effort(session, times, variability, rng)
    drive = muscles.muscle_drive(demand, forearm.routing, forearm.tonus, effort)
    return muscles.activation_dynamics(drive, CONTROL_SFREQ, forearm.time_constant)


def _record(
    hand: Hand,
    forearm: Forearm,
    session: Session,
    rng: np.random.Generator,
    *,
    sfreq: float,
    pose_sfreq: float,
    noise: float,
    mains: float | None,
    variability: float,
) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """EMG, pose, labels and repetitions of one session."""
    times = kinematics.sample_times(session.duration, sfreq)
    pose_times = kinematics.sample_times(session.duration, pose_sfreq)
    activation = activate(session, hand, forearm, variability, rng)
    emg = muscles.interference_emg(
        activation, CONTROL_SFREQ, times, sfreq, forearm, rng
    )
    emg += muscles.recording_noise(len(emg), times, sfreq, noise, mains, rng)
    pose = kinematics.sample_pose(session, pose_times).astype(np.float32)
    return emg, pose, *kinematics.sample_labels(session, times)


_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


@validate_params(
    {
        "n_users": [COUNT],
        "gestures": [None, Integral, str, "array-like"],
        "n_repetitions": [COUNT],
        "n_recordings": [COUNT],
        "hold": [_POSITIVE],
        "rest": [_POSITIVE],
        "move": [_POSITIVE],
        "order": [StrOptions({"shuffled", "blocked"})],
        "sfreq": [_POSITIVE],
        "pose_sfreq": [None, _POSITIVE],
        "n_channels": [COUNT],
        "noise_level": [_NOT_NEGATIVE],
        "mains_frequency": [None, _POSITIVE],
        "user_variability": [_NOT_NEGATIVE],
        "repetition_variability": [_NOT_NEGATIVE],
        "random_state": ["random_state"],
    },
)
def make_gesture_recordings(
    n_users: int = 6,
    gestures: int | Sequence[str] | None = None,
    *,
    n_repetitions: int = 5,
    n_recordings: int = 1,
    hold: float = 1.5,
    rest: float = 1.0,
    move: float = 0.35,
    order: str = "shuffled",
    sfreq: float = 2000.0,
    pose_sfreq: float | None = None,
    n_channels: int = 16,
    noise_level: float = 1.0,
    mains_frequency: float | None = 50.0,
    user_variability: float = 1.0,
    repetition_variability: float = 1.0,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate forearm EMG and hand pose of people making gestures.

    Joint angles go from rest to a gesture, hold it and return, along
    minimum-jerk paths. Their flexion, extension and velocity drive the muscles
    of the forearm, whose interference EMG is seen by a ring of electrodes.
    People differ in posture, tempo, muscles and the seat of the band, so that
    pose tells gestures apart across people far better than EMG does.

    Parameters
    ----------
    n_users : int, default=6
        People. Adding people leaves the earlier ones as they were.
    gestures : int or sequence of str, default=None
        The first so many gestures of the table, or gestures by name; None
        takes all 18. Rest is always recorded and not counted. For the same
        `random_state` the people are the same whatever gestures they make.
    n_repetitions : int, default=5
        How often each gesture is made in a recording.
    n_recordings : int, default=1
        Recordings per person; the band is put on anew for each.
    hold, rest, move : float, default=1.5, 1.0, 0.35
        Mean seconds of holding a gesture, of the rest between two, and of
        each way there and back. Everyone has a tempo of their own.
    order : {"shuffled", "blocked"}, default="shuffled"
        Rounds of all gestures, each in a new order, or all repetitions of one
        gesture after the other.
    sfreq : float, default=2000.0
        Rate of EMG and labels in Hz. The EMG fills 20 to 450 Hz, or what lies
        below 90 % of Nyquist.
    pose_sfreq : float, default=None
        Rate of the pose in Hz; None for `sfreq`. The movements of a
        `random_state` are the same at every rate.
    n_channels : int, default=16
        Electrodes on the ring.
    noise_level : float, default=1.0
        Factor on sensor noise (4 uV), hum (3 uV) and drift (8 uV RMS).
    mains_frequency : float or None, default=50.0
        Of the hum in Hz; None for none. Hum above Nyquist is left out.
    user_variability : float, default=1.0
        How much people differ; 0 makes them all alike.
    repetition_variability : float, default=1.0
        How much the repetitions of a person differ in reach, speed, effort,
        wobble and the trace that the gesture before leaves; 0 for not at all.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same recordings, bit for bit, on every call.

    Returns
    -------
    recordings : :class:`~sklearn.utils.Bunch`
        emg : list of ndarray of shape (n_channels, n_times_i), float32
            In uV; one recording after the other of each person.
        pose : list of ndarray of shape (20, n_pose_times_i), float32
            Joint angles in radians. The EMG leads the pose by about 80 ms.
        labels : list of ndarray of shape (n_times_i,), int16
            Per EMG sample; 0 = rest, other codes index `gesture_names`.
        repetitions : list of ndarray of shape (n_times_i,), int16
            1 to `n_repetitions`; 0 in rest.
        users : ndarray of shape (n_users * n_recordings,)
            Whose recording it is, from 0.
        sfreq, pose_sfreq : float
            Hz.
        channel_names, joint_names, gesture_names : list of str
            In the order of the rows and codes; `gesture_names[0]` is "rest".
        units : dict
            Of "emg" and "pose".
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If a parameter is out of range, or a gesture unknown or named twice.

    Examples
    --------
    >>> from sk_cpep.datasets import make_gesture_recordings
    >>> data = make_gesture_recordings(
    ...     2, ["fist", "peace"], sfreq=200, pose_sfreq=50, random_state=0
    ... )
    >>> len(data.emg), data.emg[0].shape[0], data.pose[0].shape[0]
    (2, 16, 20)
    >>> data.gesture_names
    ['rest', 'fist', 'peace']
    """
    indices = kinematics.gesture_indices(gestures)
    pose_sfreq = sfreq if pose_sfreq is None else pose_sfreq
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    users = np.repeat(np.arange(n_users), n_recordings)
    rows = []
    recordings = list(range(n_recordings)) * n_users
    for user, recording in zip(users.tolist(), recordings):
        hand, forearm = _person(seed, user, recording, n_channels, user_variability)
        key = (user, 2, recording, *indices)
        session = kinematics.plan_session(
            hand,
            indices,
            n_repetitions,
            generator(seed, *key),
            hold=hold,
            rest=rest,
            move=move,
            order=order,
            variability=repetition_variability,
        )
        rows.append(
            _record(
                hand,
                forearm,
                session,
                generator(seed, *key, 3),
                sfreq=sfreq,
                pose_sfreq=pose_sfreq,
                noise=noise_level,
                mains=mains_frequency,
                variability=repetition_variability,
            )
        )
    emg, pose, labels, repetitions = map(list, zip(*rows))
    names = list(kinematics.GESTURES)
    return Bunch(
        emg=emg,
        pose=pose,
        labels=labels,
        repetitions=repetitions,
        users=users,
        sfreq=float(sfreq),
        pose_sfreq=float(pose_sfreq),
        channel_names=[f"EMG{channel:02d}" for channel in range(1, n_channels + 1)],
        joint_names=list(JOINT_NAMES),
        gesture_names=["rest"] + [names[index] for index in indices],
        units={"emg": "uV", "pose": "rad"},
        DESCR=_DESCR.format(
            n_users=n_users,
            n_gestures=len(indices),
            n_repetitions=n_repetitions,
            n_recordings=n_recordings,
            n_channels=n_channels,
            n_muscles=len(muscles.MUSCLE_NAMES),
            sfreq=sfreq,
            pose_sfreq=pose_sfreq,
        ),
    )
