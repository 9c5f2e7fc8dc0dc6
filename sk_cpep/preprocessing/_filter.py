"""Band-pass and notch in one cascade of second-order sections."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import butter, iirnotch, tf2sos
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils._param_validation import Interval, StrOptions

from .._typing import Float64Array, FloatArray
from ._base import RecordingTransformer
from ._cascade import Cascade, pole_radii, ringing
from ._recordings import Recordings, count_dead, is_flat, map_recordings

# The padding ends where this share of the filter's slowest response is left.
PADDING = 1e-2

# Rows whose largest value has a binary exponent beyond this are filtered nearer to 1.
LARGE_EXPONENT = 512


class BandpassNotch(OneToOneFeatureMixin, RecordingTransformer):
    """Band-pass filter and power-line notch for recordings.

    A Butterworth band-pass and one notch per power-line frequency are merged into
    one cascade of second-order sections, which runs in float64 whatever the
    precision of the data. Filter recordings first, then cut them into windows: the
    filter needs the samples on both sides of a window's edge.

    A channel that is constant throughout, as of a dead electrode, gives exact zeros (a
    constant, where `low` is None). So does a constant part of a channel, from where the
    response to what came before (and with ``phase="zero"`` to what comes after) has
    died away to 1e-10.

    What `transform` returns has the unit and the shape of what it is given. NaN and
    infinite values are refused, as one of them would spoil its whole channel; so is a
    result beyond the largest number of its precision.

    Parameters
    ----------
    low : float or None, default=2.0
        Lower edge of the pass band in Hz, below `high`. None lets everything below
        `high` pass. Edges and notches must lie below half the sampling rate.

    high : float or None, default=250.0
        Upper edge of the pass band in Hz. None lets everything above `low` pass.

    notch : float, array-like of float or None, default=60.0
        Frequency or frequencies in Hz to cut out, the power line and its harmonics
        for instance.

    sfreq : float, default=2000.0
        Sampling rate of the recordings in Hz.

    order : int, default=4
        Order of the Butterworth filter as :func:`scipy.signal.butter` counts it: a
        band-pass has twice as many poles. ``phase="zero"`` runs it twice.

    notch_quality : float, default=30.0
        Notch frequency divided by the notch's width at -3 dB.

    phase : {"zero", "causal"}, default="zero"
        ``"zero"`` runs the cascade forwards and backwards
        (:func:`scipy.signal.sosfiltfilt`): no delay, twice the attenuation, so
        -6 dB at the edges, and every sample depends on later ones. A recording is
        continued at both ends by its mirror image, for `n_ringing_` samples.
        ``"causal"`` runs it forwards once, from the steady state of the first
        sample, as a device does that filters while it records.

    n_jobs : int, default=None
        Number of threads, over channels. The result does not depend on it.

    Attributes
    ----------
    sos_ : ndarray of shape (n_sections, 6)
        The cascade, in the form of :func:`scipy.signal.sosfilt`.

    n_ringing_ : int
        Samples until a hundredth of the slowest response is left, 1,937 (1 s) with the
        default parameters. A sample nearer to an end of a recording than this depends
        on the signal beyond the end, which is not known. At this distance from an end
        the result is right to about a hundredth of the signal, at twice the distance
        to about a ten-thousandth.

    n_dead_ : ndarray of shape (n_channels,)
        In how many of the recordings that `fit` saw each channel had no signal.

    See Also
    --------
    Windower : Cuts the filtered recordings into windows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import BandpassNotch
    >>> recordings = [np.random.randn(16, 6000), np.random.randn(16, 4500)]
    >>> bandpass = BandpassNotch(20, 450, (60, 120), sfreq=2000)
    >>> filtered = bandpass.fit_transform(recordings)
    >>> [x.shape for x in filtered]
    [(16, 6000), (16, 4500)]
    """

    _parameter_constraints: dict[str, Any] = {
        "low": [Interval(Real, 0, None, closed="neither"), None],
        "high": [Interval(Real, 0, None, closed="neither"), None],
        "notch": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "sfreq": [Interval(Real, 0, None, closed="neither")],
        "order": [Interval(Integral, 1, None, closed="left")],
        "notch_quality": [Interval(Real, 0, None, closed="neither")],
        "phase": [StrOptions({"zero", "causal"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        low: float | None = 2.0,
        high: float | None = 250.0,
        notch: ArrayLike | None = 60.0,
        *,
        sfreq: float = 2000.0,
        order: int = 4,
        notch_quality: float = 30.0,
        phase: Literal["zero", "causal"] = "zero",
        n_jobs: int | None = None,
    ) -> None:
        self.low = low
        self.high = high
        self.notch = notch
        self.sfreq = sfreq
        self.order = order
        self.notch_quality = notch_quality
        self.phase = phase
        self.n_jobs = n_jobs

    def _learn(self, X: Recordings) -> None:
        """Compute the filter, and count the channels without a signal."""
        self.sos_ = design_sos(
            self.low, self.high, self.notch, self.sfreq, self.order, self.notch_quality
        )
        self.n_ringing_ = ringing(self.sos_, PADDING)
        self.n_dead_ = count_dead(X)

    def _apply(self, X: Recordings) -> Recordings:
        """Filter along time."""
        cascade, zero_phase = Cascade(self.sos_), self.phase == "zero"
        function = partial(filter_rows, cascade=cascade, zero_phase=zero_phase)
        return map_recordings(function, X, self.n_jobs)


def design_sos(
    low: float | None,
    high: float | None,
    notch: ArrayLike | None,
    sfreq: float,
    order: int,
    notch_quality: float,
) -> Float64Array:
    """One cascade of sections for the pass band and all notches."""
    notches = read_notches(notch)
    _check_band(low, high, notches, sfreq)
    sections = [tf2sos(*iirnotch(f, notch_quality, fs=sfreq)) for f in notches]
    if low is not None and high is not None:
        band = butter(order, [low, high], "bandpass", fs=sfreq, output="sos")
        sections.insert(0, band)
    elif high is not None:
        sections.insert(0, butter(order, high, "lowpass", fs=sfreq, output="sos"))
    elif low is not None:
        sections.insert(0, butter(order, low, "highpass", fs=sfreq, output="sos"))
    sos = np.vstack(sections)
    if not (pole_radii(sos).max() < 1 and np.all(sos[:, 3:].sum(axis=1) > 0)):
        raise ValueError(
            "The filter is not stable in float64: an edge or a notch is too close to "
            f"0 Hz or too narrow for sfreq={sfreq:g} Hz. Take a higher edge, a lower "
            "order or notch_quality, or resample the recordings."
        )
    return sos


def read_notches(notch: ArrayLike | None) -> Float64Array:
    """The frequencies of all notches, float64 of shape (n_notches,)."""
    given = np.asarray([] if notch is None else notch)
    if given.ndim > 1 or (given.size and given.dtype.kind not in "iuf"):
        raise ValueError(
            f"notch must be a frequency in Hz or a list of them, got {notch!r}."
        )
    return np.atleast_1d(given).astype(np.float64)


def filter_rows(
    x: FloatArray, out: FloatArray, *, cascade: Cascade, zero_phase: bool
) -> None:
    """Filter rows in float64; a row without a signal gives exactly a constant.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_times)
    out : ndarray of shape (n_rows, n_times)
        Is written.
    cascade : Cascade
    zero_phase : bool
        Filter forwards and backwards, rather than forwards only.
    """
    flat = is_flat(x)
    if not flat.any():
        out[...] = _filtered(x, cascade, zero_phase)
        return
    level = x[flat, :1].astype(np.float64)
    for _ in range(1 + zero_phase):
        level = cascade.run_constant(level)
    out[flat] = level
    if not flat.all():
        out[~flat] = _filtered(x[~flat], cascade, zero_phase)


def _filtered(x: FloatArray, cascade: Cascade, zero_phase: bool) -> Float64Array:
    """Filtered rows of any size, scaled by a power of two where float64 requires it."""
    exponent = np.frexp(np.maximum(x.max(axis=1), -x.min(axis=1)))[1][:, np.newaxis]
    if np.abs(exponent).max() > LARGE_EXPONENT:
        small = _filtered(np.ldexp(x, -exponent), cascade, zero_phase)
        return np.ldexp(small, exponent)
    padlen = min(ringing(cascade.sos, PADDING), x.shape[1] - 1) if zero_phase else 0
    y = np.pad(x.astype(np.float64), ((0, 0), (padlen, padlen)), "reflect")
    cascade.run(y)
    if zero_phase:
        cascade.run(y[:, padlen:][:, ::-1])
    return y[:, padlen : padlen + x.shape[1]]


def _check_band(
    low: float | None, high: float | None, notches: Float64Array, sfreq: float
) -> None:
    """Raise a ValueError for edges that no filter can have."""
    if low is None and high is None and notches.size == 0:
        raise ValueError(
            "low, high and notch are all None: there is nothing to filter."
        )
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low has to be below high, got low={low} and high={high} Hz.")
    edges = [("low", low), ("high", high), *(("notch", f) for f in notches)]
    for name, edge in edges:
        if edge is not None and not 0 < edge < sfreq / 2:
            raise ValueError(
                f"{name}={edge:g} Hz has to lie above 0 and below the Nyquist limit of "
                f"{sfreq / 2:g} Hz, half of sfreq={sfreq:g} Hz."
            )
