"""From joint angles to surface EMG: routing, activation, interference, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft
from scipy.signal import lfilter

from ..._typing import Float32Array, Float64Array
from .._tables import read_table
from ._gestures import JOINT_LIMITS

_MUSCLES = read_table(__package__, "muscles.toml")["muscles"]
MUSCLE_NAMES = tuple(muscle["name"] for muscle in _MUSCLES)
MUSCLE_ANGLES = np.deg2rad([muscle["angle"] for muscle in _MUSCLES])
MUSCLE_DEPTHS = np.array([muscle["depth"] for muscle in _MUSCLES])
# Pulls on the joints of the thumb, then on those of each finger.
_PULLS = np.stack(
    [
        np.concatenate([m["thumb"], np.outer(m["fingers"], m["joints"]).ravel()])
        for m in _MUSCLES
    ]
)
MUSCLE_ROUTING = np.hstack([np.maximum(_PULLS, 0), np.maximum(-_PULLS, 0)])

FULL_EFFORT = 150.0
"""RMS of a superficial muscle at full activation right under an electrode, uV."""


@dataclass
class Forearm:
    """One person's muscles and how the electrodes sit on them.

    Attributes
    ----------
    routing : ndarray of shape (n_muscles, 40)
        Muscle drive per demand for flexion (first 20) and extension.
    angles : ndarray of shape (n_muscles,)
        Where the muscles lie, radians.
    depths : ndarray of shape (n_muscles,)
        0 = under the skin, 1 = at the bone.
    tonus : ndarray of shape (n_muscles,)
        Activation at rest.
    time_constant, delay : float
        Of the activation dynamics, and how far the muscles lead the pose,
        both in seconds.
    sharpness : float
        Concentration of the electrodes' angular sensitivity; fat blurs it.
    rotation : float
        Of the electrode ring, radians.
    gains : ndarray of shape (n_channels,)
        Per electrode.
    """

    routing: Float64Array
    angles: Float64Array
    depths: Float64Array
    tonus: Float64Array
    time_constant: float
    delay: float
    sharpness: float
    rotation: float
    gains: Float64Array


def draw_forearm(
    n_channels: int, variability: float, rng: np.random.Generator
) -> Forearm:
    """Draw a person's forearm around the textbook one.

    Parameters
    ----------
    n_channels : int
        Electrodes on the ring; drawn last, so that it changes nothing else.
    variability : float
        0 gives everyone the same forearm, 1 is realistic.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    forearm : Forearm
        The person's muscles and electrodes.
    """
    v, (n_muscles, n_demands) = variability, MUSCLE_ROUTING.shape
    normal = rng.standard_normal
    strength = np.exp(0.2 * v * normal((n_muscles, 1)))
    routing = (
        MUSCLE_ROUTING * strength * np.exp(0.25 * v * normal((n_muscles, n_demands)))
    )
    routing += 0.04 * v * rng.exponential(size=routing.shape)
    return Forearm(
        routing=routing,
        angles=MUSCLE_ANGLES + 0.12 * v * normal(n_muscles),
        depths=np.clip(MUSCLE_DEPTHS + 0.12 * v * normal(n_muscles), 0, 1),
        tonus=0.02 * np.exp(0.5 * v * normal(n_muscles)),
        time_constant=0.05 * np.exp(0.15 * v * normal()),
        delay=0.08 * np.exp(0.2 * v * normal()),
        sharpness=5 * np.exp(0.2 * v * normal()),
        rotation=0.17 * v * normal(),
        gains=np.exp(0.3 * v * normal()) * np.exp(0.15 * v * normal(n_channels)),
    )


def don_band(forearm: Forearm, variability: float, rng: np.random.Generator) -> Forearm:
    """Put the band on anew: a little turned, its electrodes in other contact.

    Parameters
    ----------
    forearm : Forearm
        The person's muscles and usual seat of the band.
    variability : float
        0 puts it on alike each time, 1 is realistic.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    forearm : Forearm
        With this rotation and these gains.
    """
    turn = 0.08 * variability * rng.standard_normal()
    contact = np.exp(0.1 * variability * rng.standard_normal(len(forearm.gains)))
    return replace(
        forearm, rotation=forearm.rotation + turn, gains=forearm.gains * contact
    )


def joint_demand(pose: Float64Array, rest: Float64Array, sfreq: float) -> Float64Array:
    """What the muscles have to do for a pose: hold it, and move it.

    Parameters
    ----------
    pose : ndarray of shape (20, n_times)
        Joint angles, radians.
    rest : ndarray of shape (20,)
        Relaxed posture, which needs no muscle.
    sfreq : float
        Rate of `pose`, Hz.

    Returns
    -------
    demand : ndarray of shape (40, n_times)
        Flexion of each joint, then extension, as a share of the range of
        motion on that side plus a share of a fast movement; not negative.
    """
    away = pose - rest[:, None]
    room = np.abs(JOINT_LIMITS - rest[:, None]).clip(min=0.1)
    speed = np.gradient(pose, 1 / sfreq, axis=1) / 12.0
    flexion = np.maximum(away / room[:, 1:], 0) + np.maximum(speed, 0)
    extension = np.maximum(-away / room[:, :1], 0) + np.maximum(-speed, 0)
    return np.vstack([flexion, extension])


def muscle_drive(
    demand: Float64Array,
    routing: Float64Array,
    tonus: Float64Array,
    effort: float | Float64Array = 1.0,
) -> Float64Array:
    """Neural drive of the muscles, saturating at 1.

    Parameters
    ----------
    demand : ndarray of shape (n_demands, n_times)
        See `joint_demand`.
    routing : ndarray of shape (n_muscles, n_demands)
        Drive per demand.
    tonus : ndarray of shape (n_muscles,)
        Drive at rest.
    effort : float or ndarray of shape (n_times,), default=1.0
        How strongly the person grips; the pose does not show it.

    Returns
    -------
    drive : ndarray of shape (n_muscles, n_times)
        Between 0 and 1.
    """
    return -np.expm1(-(effort * (0.6 * routing @ demand) + tonus[:, None]))


def activation_dynamics(
    drive: Float64Array, sfreq: float, time_constant: float
) -> Float64Array:
    """First-order low-pass from neural drive to muscle activation.

    Parameters
    ----------
    drive : ndarray of shape (n_muscles, n_times)
        Neural drive; taken to have been constant before its first sample.
    sfreq : float
        Rate, Hz.
    time_constant : float
        Seconds until 63 % of a step is reached.

    Returns
    -------
    activation : ndarray of shape (n_muscles, n_times)
        Between the drive's extremes.
    """
    keep = np.exp(-1 / (sfreq * time_constant))
    return lfilter([1 - keep], [1, -keep], drive, zi=keep * drive[:, :1])[0]


def carrier_band(sfreq: float) -> tuple[float, float]:
    """Edges in Hz of the EMG noise carrier at a sampling rate of `sfreq` Hz.

    20 to 450 Hz where the rate allows, otherwise up to 90 % of Nyquist and
    from a quarter of that.
    """
    high = min(450.0, 0.45 * sfreq)
    return min(20.0, high / 4), high


def carrier_gain(
    frequencies: Float64Array, sfreq: float, depth: float = 0.0
) -> Float64Array:
    """Amplitude spectrum of an interference EMG within its band [1]_.

    Parameters
    ----------
    frequencies : ndarray of shape (n_frequencies,)
        Hz.
    sfreq : float
        Sampling rate, Hz.
    depth : float, default=0.0
        Of the muscle, 0 to 1: the tissue above it takes the high frequencies.

    Returns
    -------
    gain : ndarray of shape (n_frequencies,)
        0 outside `carrier_band`.

    References
    ----------
    .. [1] E. Shwedyk, R. Balasubramanian, R. N. Scott, "A nonstationary model
       for the electromyogram", IEEE Trans. Biomed. Eng. 24 (1977).
    """
    low, high = carrier_band(sfreq)
    f_low, f_high = 60.0, 140.0 * (1 - 0.4 * depth)
    gain = frequencies / (
        np.hypot(frequencies, f_low) * (1 + (frequencies / f_high) ** 2)
    )
    return np.where((frequencies >= low) & (frequencies <= high), gain, 0)


def interference_carrier(
    n_times: int, sfreq: float, depth: float, rng: np.random.Generator
) -> Float32Array:
    """Band-limited Gaussian noise with the spectrum of an EMG, of variance 1.

    Parameters
    ----------
    n_times : int
        Samples.
    sfreq : float
        Sampling rate, Hz.
    depth : float
        Of the muscle, see `carrier_gain`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    carrier : ndarray of shape (n_times,), float32
        Without unit.
    """
    n_fft = fft.next_fast_len(n_times + round(sfreq), real=True)
    gain = carrier_gain(fft.rfftfreq(n_fft, 1 / sfreq), sfreq, depth)
    gain /= np.sqrt(2 * np.sum(gain**2) / n_fft)
    spectrum = fft.rfft(rng.standard_normal(n_fft, dtype=np.float32))
    return fft.irfft(spectrum * gain.astype(np.float32), n_fft)[:n_times]


def electrode_angles(n_channels: int, rotation: float = 0.0) -> Float64Array:
    """Angles in radians of `n_channels` electrodes equally spaced on a ring."""
    return rotation + 2 * np.pi * np.arange(n_channels) / n_channels


def ring_mixing(
    electrodes: Float64Array,
    muscles: Float64Array,
    depths: Float64Array,
    sharpness: float,
) -> Float64Array:
    """How strongly each electrode sees each muscle.

    Parameters
    ----------
    electrodes : ndarray of shape (n_channels,)
        Angles, radians.
    muscles : ndarray of shape (n_muscles,)
        Angles, radians.
    depths : ndarray of shape (n_muscles,)
        0 = under the skin, 1 = at the bone: weaker, and seen by more.
    sharpness : float
        Concentration of the von Mises kernel for a superficial muscle.

    Returns
    -------
    mixing : ndarray of shape (n_channels, n_muscles)
        1 for a superficial muscle under the electrode.
    """
    kappa = sharpness * (1 - 0.75 * depths)
    offset = np.cos(electrodes[:, None] - muscles) - 1
    return (1 - 0.7 * depths) * np.exp(kappa * offset)


def interference_emg(
    activation: Float64Array,
    activation_sfreq: float,
    times: Float64Array,
    sfreq: float,
    forearm: Forearm,
    rng: np.random.Generator,
) -> Float32Array:
    """Surface EMG of active muscles at a ring of electrodes, without noise.

    Parameters
    ----------
    activation : ndarray of shape (n_muscles, n_control)
        Muscle activations, sampled at `activation_sfreq` from time 0.
    activation_sfreq : float
        Hz.
    times : ndarray of shape (n_times,)
        Of the EMG samples, seconds.
    sfreq : float
        Rate of `times`, Hz.
    forearm : Forearm
        The person.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    emg : ndarray of shape (n_channels, n_times), float32
        uV.
    """
    control = np.arange(activation.shape[1]) / activation_sfreq
    sources = np.empty((len(activation), len(times)), np.float32)
    for m, (level, depth) in enumerate(zip(activation, forearm.depths)):
        sources[m] = interference_carrier(len(times), sfreq, depth, rng)
        sources[m] *= np.interp(times, control, level)
    electrodes = electrode_angles(len(forearm.gains), forearm.rotation)
    mixing = ring_mixing(electrodes, forearm.angles, forearm.depths, forearm.sharpness)
    return (FULL_EFFORT * forearm.gains[:, None] * mixing).astype(np.float32) @ sources


def mains_hum(
    n_channels: int,
    times: Float64Array,
    sfreq: float,
    frequency: float,
    rng: np.random.Generator,
) -> Float32Array:
    """Hum of the mains and its third harmonic, RMS about 1 in each channel.

    Parameters
    ----------
    n_channels : int
        Channels; each has its own strength and phase.
    times : ndarray of shape (n_times,)
        Seconds.
    sfreq : float
        Sampling rate, Hz. What lies above Nyquist is left out, as an
        anti-aliasing filter does.
    frequency : float
        Hz.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    hum : ndarray of shape (n_channels, n_times), float32
        Without unit.
    """
    hum = np.zeros((n_channels, len(times)), np.float32)
    for harmonic, level in ((1, 1.0), (3, 0.25)):
        strength = (
            level * np.sqrt(2) * np.exp(0.3 * rng.standard_normal((n_channels, 1)))
        )
        phase = rng.uniform(0, 2 * np.pi, (n_channels, 1))
        if harmonic * frequency < sfreq / 2:
            angle = 2 * np.pi * harmonic * frequency * times
            # One sine and one cosine for all channels: sin(a + p).
            waves = np.stack([np.sin(angle), np.cos(angle)]).astype(np.float32)
            weights = np.hstack([strength * np.cos(phase), strength * np.sin(phase)])
            hum += weights.astype(np.float32) @ waves
    return hum


def slow_drift(
    n_channels: int, times: Float64Array, rng: np.random.Generator, rate: float = 1.0
) -> Float32Array:
    """Drift of the baseline below about 1 Hz, RMS about 1, (n_channels, n_times) float32."""
    n_knots = int(np.ceil(times[-1] * rate)) + 2
    knots = np.arange(n_knots) / rate
    values = lfilter([0.6], [1, -0.8], rng.standard_normal((n_channels, n_knots)))
    return np.stack([np.interp(times, knots, row) for row in values]).astype(np.float32)


def recording_noise(
    n_channels: int,
    times: Float64Array,
    sfreq: float,
    level: float,
    mains_frequency: float | None,
    rng: np.random.Generator,
) -> Float32Array:
    """Sensor noise, mains hum and drift.

    Parameters
    ----------
    n_channels : int
        Channels.
    times : ndarray of shape (n_times,)
        Seconds.
    sfreq : float
        Sampling rate, Hz.
    level : float
        Factor; at 1 the sensors' noise is 4 uV, the hum 3 uV and the drift
        8 uV (RMS).
    mains_frequency : float or None
        Hz; None for no hum.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    noise : ndarray of shape (n_channels, n_times), float32
        uV.
    """
    noise = 4 * rng.standard_normal((n_channels, len(times)), dtype=np.float32)
    noise += 8 * slow_drift(n_channels, times, rng)
    if mains_frequency is not None:
        noise += 3 * mains_hum(n_channels, times, sfreq, mains_frequency, rng)
    return np.float32(level) * noise
