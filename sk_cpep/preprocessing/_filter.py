"""Band-pass and notch in one cascade of second-order sections."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy.signal import butter, iirnotch, tf2sos
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._callback_support import CallbackSupportMixin, leaf_fit
from ._cascade import Cascade, pole_radii, ringing
from ._frames import FrameOutputMixin, OneToOneFeatureMixin
from ._recordings import as_recordings, count_dead, is_flat, map_recordings

# The padding ends where this share of the filter's slowest response is left.
PADDING = 1e-2

# Values are brought nearer to 1 where a power of two beyond this one leads to them.
LARGE_EXPONENT = 512


class BandpassNotch(
    CallbackSupportMixin, OneToOneFeatureMixin, FrameOutputMixin, BaseEstimator
):
    """Band-pass filter and power-line notch for recordings.

    A Butterworth band-pass and one notch per power-line frequency are merged into
    one cascade of second-order sections, which runs in float64 whatever the
    precision of the data. Filter recordings first, then cut them into windows: the
    filter needs the samples on both sides of a window's edge.

    What has no signal gives zeros: a channel that is constant throughout, as of a
    dead electrode, comes out as exact zeros (as a constant, where `low` is None), and
    so does a constant part of it, from where the response to what came before (and
    with ``phase="zero"`` to what comes after) has died away to 1e-10.

    Parameters
    ----------
    low : float or None, default=2.0
        Lower edge of the pass band in Hz. None lets everything below `high` pass.

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
        -6 dB at the edges, and every sample depends on later ones. A recording goes
        on at both ends as its mirror image, for `n_ringing_` samples.
        ``"causal"`` runs it forwards once, from the steady state of the first
        sample, as a device would that filters while it records.

    n_jobs : int, default=None
        Number of threads, over channels. The result does not depend on it.

    Attributes
    ----------
    sos_ : ndarray of shape (n_sections, 6)
        The cascade, in the form of :func:`scipy.signal.sosfilt`.

    n_ringing_ : int
        Samples until a hundredth of the slowest response is left, 1,937 (1 s) with the
        default parameters. Nearer to an end of a recording than this a sample depends
        on what is not known of the signal beyond it. So many samples from an end it is
        right to about a hundredth of the signal, twice as many to a ten-thousandth.

    n_dead_ : ndarray of shape (n_channels,)
        In how many of the recordings that `fit` saw each channel had no signal.

    n_features_in_ : int
        Number of channels, or of time samples where `fit` saw a 2-D array.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, only where `fit` saw a data frame.

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

    _parameter_constraints: dict = {
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
        low=2.0,
        high=250.0,
        notch=60.0,
        *,
        sfreq=2000.0,
        order=4,
        notch_quality=30.0,
        phase="zero",
        n_jobs=None,
    ):
        self.low = low
        self.high = high
        self.notch = notch
        self.sfreq = sfreq
        self.order = order
        self.notch_quality = notch_quality
        self.phase = phase
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    @leaf_fit
    def fit(self, X, y=None):
        """Compute the filter; nothing is learned from the data.

        Parameters
        ----------
        X : list of array-likes of shape (n_channels, n_times_i), or array-like of \
                shape (n, n_channels, n_times) or (n, n_times)
            Recordings in their own unit.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The estimator itself.

        Raises
        ------
        ValueError
            If an edge or a notch is not below half the sampling rate, if `low` is
            not below `high`, if there is nothing to filter out, or if `X` holds
            NaN or infinite values.
        """
        sos = design_sos(
            self.low, self.high, self.notch, self.sfreq, self.order, self.notch_quality
        )
        X = as_recordings(X, estimator=self)
        self.sos_ = sos
        self.n_ringing_ = ringing(sos, PADDING)
        self.n_dead_ = count_dead(X)
        return self

    def transform(self, X):
        """Filter along time.

        Parameters
        ----------
        X : list of array-likes of shape (n_channels, n_times_i), or array-like of \
                shape (n, n_channels, n_times) or (n, n_times)
            Recordings in their own unit, at `sfreq`.

        Returns
        -------
        X_filtered : list of ndarrays or ndarray
            As `X`, in the same unit and shape; float32 stays float32, everything
            else becomes float64.

        Raises
        ------
        ValueError
            If `X` holds NaN or infinite values, of which one would spoil its whole
            channel, or if the result is beyond the largest number of its precision.
        """
        check_is_fitted(self)
        X = as_recordings(X, estimator=self, reset=False)
        run = ZeroPhase if self.phase == "zero" else Causal
        return map_recordings(partial(write_filtered, run(self.sos_)), X, self.n_jobs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def design_sos(low, high, notch, sfreq, order, notch_quality):
    """One cascade of sections for the pass band and all notches."""
    notches = read_notches(notch)
    _check_band(low, high, notches, sfreq)
    sections = [tf2sos(*iirnotch(f, notch_quality, fs=sfreq)) for f in notches]
    if low is not None or high is not None:
        sections.insert(0, _butterworth(low, high, sfreq, order))
    sos = np.vstack(sections)
    _check_stable(sos, sfreq)
    return sos


def read_notches(notch):
    """The frequencies of all notches, float64 of shape (n_notches,)."""
    given = np.asarray([] if notch is None else notch)
    if given.ndim > 1 or (given.size and given.dtype.kind not in "iuf"):
        raise ValueError(
            f"notch must be a frequency in Hz or a list of them, got {notch!r}."
        )
    return np.atleast_1d(given).astype(np.float64)


class Causal(Cascade):
    """Rows filtered forwards, from the steady state of their first sample."""

    def __call__(self, x):
        """From rows of any precision to a new array in float64."""
        y = x.astype(np.float64)
        self.run(y)
        return y

    def constant(self, x):
        """What becomes of rows of which each is one value."""
        return self.run_constant(x.astype(np.float64))


class ZeroPhase(Causal):
    """Rows filtered forwards and backwards, with their mirror images at both ends."""

    def __call__(self, x):
        """From rows of any precision to a new array in float64."""
        n_times = x.shape[1]
        padlen = min(ringing(self.sos, PADDING), n_times - 1)
        y = _mirrored(x, padlen)
        self.run(y)
        self.run(y[:, padlen:][:, ::-1])
        return y[:, padlen : padlen + n_times]

    def constant(self, x):
        """What becomes of rows of which each is one value."""
        return self.run_constant(super().constant(x))


def write_filtered(run, x, out):
    """Write what :func:`filter_rows` returns."""
    out[...] = filter_rows(run, x)


def filter_rows(run, x):
    """Filter rows in float64: those without a signal as the constants they are.

    Parameters
    ----------
    run : Causal or ZeroPhase
    x : ndarray of shape (n_rows, n_times)

    Returns
    -------
    y : float64 ndarray of shape (n_rows, n_times)
    """
    flat = is_flat(x)
    if flat.any():
        y = np.empty(x.shape)
        y[flat] = run.constant(x[flat, :1])
        if not flat.all():
            y[~flat] = filter_rows(run, x[~flat])
        return y
    exponent = np.frexp(np.maximum(x.max(axis=1), -x.min(axis=1)))[1][:, np.newaxis]
    if np.abs(exponent).max() <= LARGE_EXPONENT:
        return run(x)
    return np.ldexp(run(np.ldexp(x, -exponent)), exponent)


def _mirrored(x, padlen):
    """Rows in float64 that go on as their mirror image at both ends."""
    n_times = x.shape[1]
    y = np.empty((len(x), n_times + 2 * padlen))
    y[:, :padlen] = x[:, padlen:0:-1]
    y[:, padlen : padlen + n_times] = x
    y[:, padlen + n_times :] = x[:, -2 : -2 - padlen : -1]
    return y


def _butterworth(low, high, sfreq, order):
    if low is None:
        return butter(order, high, "lowpass", fs=sfreq, output="sos")
    if high is None:
        return butter(order, low, "highpass", fs=sfreq, output="sos")
    return butter(order, [low, high], "bandpass", fs=sfreq, output="sos")


def _check_band(low, high, notches, sfreq):
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


def _check_stable(sos, sfreq):
    if pole_radii(sos).max() < 1 and np.all(sos[:, 3:].sum(axis=1) > 0):
        return
    raise ValueError(
        "The filter is not stable in float64: an edge or a notch is too close to 0 Hz "
        f"or too narrow for sfreq={sfreq:g} Hz. Take a higher edge, a lower order or "
        "notch_quality, or resample the recordings."
    )
