"""Simulated signals as emg2pose would have released them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi, sosfiltfilt

from ..._typing import AnyArray, BoolArray, Float32Array, Float64Array, FloatArray
from ..emg2pose._format import N_CHANNELS, SFREQ, TIMESERIES_DTYPE
from . import _gestures as kinematics
from . import _muscles as muscles
from ._gestures import Hand, Session
from ._muscles import Forearm
from ._simulator import CONTROL_SFREQ, activate, generator

MOCAP_SFREQ = 60

_MAINS = 60.0
_HOLD, _REST, _MOVE = 0.6, 0.25, 0.3
_MEAN_FAILURE = 30  # frames
_TWIN_SPREAD = np.deg2rad(4)
_EMG_HIGHPASS = butter(4, 40, "highpass", fs=SFREQ, output="sos")
_POSE_LOWPASS = butter(4, 15, "lowpass", fs=MOCAP_SFREQ, output="sos")


def draw_person(seed: int, user: int, variability: float) -> tuple[Hand, Forearm]:
    """The hand and the forearm of a user, for all stages.

    Parameters
    ----------
    seed, user : int
        Of the corpus, and which person of it.
    variability : float
        How much people differ, 1 is realistic.

    Returns
    -------
    hand : Hand
        With the rows of `STAGE_ANGLES` as targets.
    forearm : Forearm
        Of 16 electrodes, of both arms.
    """
    rng = generator(seed, user, 0)
    hand = kinematics.draw_hand(variability, rng, kinematics.STAGE_ANGLES)
    return hand, muscles.draw_forearm(N_CHANNELS, variability, rng)


def plan_stage(
    hand: Hand, stage: str, duration: float, rng: np.random.Generator
) -> Session:
    """Plan a recording of a stage: its gestures in shuffled rounds.

    Parameters
    ----------
    hand : Hand
        Of `draw_person`.
    stage : str
        Name.
    duration : float
        Seconds.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    session : Session
        Plan of `duration` seconds, which begins somewhere in the first trial.
    """
    indices = kinematics.stage_indices(stage)
    trial = hand.tempo * (_HOLD + _REST + 2 * _MOVE)
    n_rounds = int(np.ceil(1.3 * (1 + duration / trial) / len(indices)))
    session = kinematics.plan_session(
        hand,
        indices,
        n_rounds,
        rng,
        hold=_HOLD,
        rest=_REST,
        move=_MOVE,
        order="shuffled",
        variability=1.0,
    )
    begin = rng.uniform(0, trial)
    return replace(
        session,
        starts=session.starts - begin,
        stops=session.stops - begin,
        duration=duration,
    )


def plan_twin(session: Session, rng: np.random.Generator) -> Session:
    """Plan of the other hand, which does the same at the same time, nearly."""
    shift = _TWIN_SPREAD * rng.standard_normal(session.postures.shape)
    postures = np.clip(session.postures + shift, *kinematics.JOINT_LIMITS.T)
    return replace(session, postures=postures)


def mocap_angles(session: Session, n_frames: int) -> Float64Array:
    """Joint angles as tracked by cameras: 60 Hz, low-passed at 15 Hz.

    Parameters
    ----------
    session : Session
        The plan.
    n_frames : int
        Camera frames, at least 16.

    Returns
    -------
    angles : ndarray of shape (n_frames, 20)
        Radians.
    """
    pose = kinematics.sample_pose(session, np.arange(n_frames) / MOCAP_SFREQ)
    filtered: Float64Array = sosfiltfilt(_POSE_LOWPASS, pose)
    return filtered.T


def count_samples(n_frames: int) -> int:
    """How many EMG samples lie between the first and the last camera frame."""
    return (n_frames - 1) * int(SFREQ) // MOCAP_SFREQ + 1


def interpolate_angles(frames: Float64Array, n_times: int) -> Float64Array:
    """Interpolate linearly from 60 Hz to 2 kHz.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_joints)
        Joint angles at 60 Hz.
    n_times : int
        Samples at 2 kHz, at most `count_samples(n_frames)`.

    Returns
    -------
    angles : ndarray of shape (n_times, n_joints)
        In the unit of `frames`.
    """
    position = np.arange(n_times) * (MOCAP_SFREQ / SFREQ)
    before = np.minimum(position.astype(int), len(frames) - 2)
    step = np.diff(frames, axis=0)
    return frames[before] + (position - before)[:, None] * step[before]


def draw_failures(n_frames: int, share: float, rng: np.random.Generator) -> BoolArray:
    """Draw the frames in which inverse kinematics fails.

    Parameters
    ----------
    n_frames : int
        Camera frames.
    share : float
        Of the frames that fail, on average; below 1.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    failed : ndarray of shape (n_frames,), bool
        In stretches of half a second on average.
    """
    failed = np.zeros(n_frames, bool)
    if share == 0:
        return failed
    means = _MEAN_FAILURE * (1 - share) / share, _MEAN_FAILURE
    fails, frame = rng.uniform() < share, 0
    while frame < n_frames:
        length = rng.geometric(1 / max(1, means[fails]))
        failed[frame : frame + length] = fails
        fails, frame = not fails, frame + length
    return failed


def released_emg(emg: FloatArray) -> Float32Array:
    """High-pass at 40 Hz and scale to a noise floor of SD 1.

    Parameters
    ----------
    emg : ndarray of shape (n_channels, n_times)
        As the electrodes see it, uV.

    Returns
    -------
    emg : ndarray of shape (n_channels, n_times), float32
        Without unit.
    """
    return (_highpass(emg) / _noise_floor()).astype(np.float32)


def _highpass(emg: FloatArray) -> FloatArray:
    """Causal high-pass that takes the first sample to have been there before."""
    start = sosfilt_zi(_EMG_HIGHPASS)[:, None] * emg[:, :1]
    return sosfilt(_EMG_HIGHPASS, emg, zi=start)[0]


@lru_cache(1)
def _noise_floor() -> float:
    """SD of the sensors' noise and the hum of the mains after the high-pass, uV."""
    rng = np.random.default_rng(0)
    times = kinematics.sample_times(10, SFREQ)
    noise = muscles.recording_noise(64, times, SFREQ, 1.0, _MAINS, rng)
    return float(_highpass(noise).std())


def record(
    hand: Hand,
    forearm: Forearm,
    session: Session,
    n_times: int,
    share_failed: float,
    rng: np.random.Generator,
) -> AnyArray:
    """Record one hand in one stage.

    Parameters
    ----------
    hand, forearm : Hand, Forearm
        The person, with the band on.
    session : Session
        What is done.
    n_times : int
        Samples at 2 kHz.
    share_failed : float
        Of the time in which the joint angles are lost, on average.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    samples : ndarray of shape (n_times,), TIMESERIES_DTYPE
        `time` is left in seconds since the recording's start, `joint_angles`
        are in radians and all 0 where inverse kinematics failed.
    """
    samples = np.empty(n_times, TIMESERIES_DTYPE)
    samples["time"] = times = np.arange(n_times) / SFREQ
    n_frames = round(session.duration * MOCAP_SFREQ) + 1
    failed = draw_failures(n_frames, share_failed, rng)
    angles = interpolate_angles(mocap_angles(session, n_frames), n_times)
    angles[failed[np.arange(n_times) * MOCAP_SFREQ // int(SFREQ)]] = 0
    samples["joint_angles"] = angles
    activation = activate(session, hand, forearm, 1.0, rng)
    emg = muscles.interference_emg(
        activation, CONTROL_SFREQ, times, SFREQ, forearm, rng
    )
    emg += muscles.recording_noise(N_CHANNELS, times, SFREQ, 1.0, _MAINS, rng)
    samples["emg"] = released_emg(emg).T
    return samples
