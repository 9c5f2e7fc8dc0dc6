"""Moving mean squares, and resting levels that are taken off."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._sklearn_bases import OneToOneFeatureMixin
from .._typing import Float64Array, FloatArray
from ._base import RecordingTransformer
from ._recordings import Recordings, map_recordings


class MovingTransformer(OneToOneFeatureMixin, RecordingTransformer):
    """Base of the steps that look at a stretch of time around each sample."""

    window: float
    sfreq: float
    phase: str

    def _learn(self, X: Recordings) -> None:
        """Check that the window has a sample."""
        self._size()

    def _size(self) -> int:
        """Length of the window in samples."""
        size = round(self.window * self.sfreq)
        if size < 1:
            raise ValueError(
                f"window={self.window:g} s is less than a sample at sfreq="
                f"{self.sfreq:g} Hz. Give a longer window."
            )
        return size

    def _apply(self, X: Recordings) -> Recordings:
        """Apply the step to each channel."""
        causal = self.phase == "causal"
        average = partial(moving_mean, size=self._size(), causal=causal)
        return map_recordings(partial(self._rows, average=average), X)

    def _rows(
        self,
        x: FloatArray,
        out: FloatArray,
        average: Callable[[FloatArray], Float64Array],
    ) -> None:
        """Write what the step makes of rows (n_rows, n_times)."""
        raise NotImplementedError


class Envelope(MovingTransformer):
    """Root mean square of each channel over a moving window.

    The amplitude of EMG as a curve, of which a small network learns more easily than of
    the raw signal, from less data. Filter first: an offset counts as signal here.

    What `transform` returns has the shape of what it is given; its unit is that of the
    recording, to the given power. A channel of zeros stays zero (with ``power="log"``,
    the logarithm of `floor`).

    Parameters
    ----------
    window : float, default=0.1
        Length of the moving window in seconds.

    sfreq : float, default=2000.0
        Sampling rate of the recordings in Hz.

    power : float or "log", default=1.0
        To which power the root mean square is raised. 0.5, a square root, makes strong
        and weak contractions more alike; ``"log"`` takes the natural logarithm.

    phase : {"zero", "causal"}, default="zero"
        ``"zero"`` centres the window on each sample; ``"causal"`` ends it there, as a
        device must while it records. At the ends of a recording the mean is taken over
        the samples there are.

    floor : float, default=1e-6
        What is added to the root mean square before the logarithm, in the unit of the
        recording; it is only used with ``power="log"``.

    Attributes
    ----------
    n_features_in_ : int
        Number of channels (of samples, where `fit` saw a 2-D array).

    See Also
    --------
    AmplitudeFeatures : Amplitudes of windows as a row of numbers.
    BandpassNotch : Filters before, or smooths a rectified signal.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import Envelope
    >>> X = [np.array([[3.0, -3.0, 3.0, 0.0, 0.0, 0.0]])]
    >>> Envelope(window=3, sfreq=1).fit_transform(X)[0].round(2)
    array([[3.  , 3.  , 2.45, 1.73, 0.  , 0.  ]])
    """

    _parameter_constraints: dict[str, Any] = {
        "window": [Interval(Real, 0, None, closed="neither")],
        "sfreq": [Interval(Real, 0, None, closed="neither")],
        "power": [Interval(Real, 0, None, closed="neither"), StrOptions({"log"})],
        "phase": [StrOptions({"zero", "causal"})],
        "floor": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        window: float = 0.1,
        *,
        sfreq: float = 2000.0,
        power: float | Literal["log"] = 1.0,
        phase: Literal["zero", "causal"] = "zero",
        floor: float = 1e-6,
    ) -> None:
        self.window = window
        self.sfreq = sfreq
        self.power = power
        self.phase = phase
        self.floor = floor

    def _rows(
        self,
        x: FloatArray,
        out: FloatArray,
        average: Callable[[FloatArray], Float64Array],
    ) -> None:
        scale = np.abs(x).max(axis=1, keepdims=True).astype(np.float64)
        scale[scale == 0] = 1
        # Of numbers up to 1, so that no square is too large.
        rms = np.sqrt(average(np.square(x / scale))) * scale
        out[...] = raised(rms, self.power, self.floor)


class RunningBaseline(MovingTransformer):
    """Take the resting level around each sample off each channel: what is slow goes.

    A control. Where all repetitions of a gesture are recorded one after the other, the
    slow part of an envelope (drift of electrodes, tension that is held) tells which
    gesture it was; see :func:`~sk_cpep.evaluation.cut_rest_windows`. Give it an
    envelope. Tension that is held as long as the window goes too.

    Parameters
    ----------
    window : float, default=10.0
        Length of the moving window in seconds. It has to hold rest and movement.

    sfreq : float, default=2000.0
        Sampling rate of the recordings in Hz.

    quantile : float or None, default=0.25
        Which quantile of the samples in the window is taken off: a low one is their
        level at rest. It is worked out at every twentieth of a window, and drawn
        through linearly. None takes the mean off, of which movements are a part: rest
        near a strong movement then comes out low, and tells the movement.

    phase : {"zero", "causal"}, default="zero"
        ``"zero"`` centres the window on each sample; ``"causal"`` ends it there, and
        draws no line to what comes. At the ends of a recording the samples there are
        count.

    Attributes
    ----------
    n_features_in_ : int
        Number of channels (of samples, where `fit` saw a 2-D array).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import RunningBaseline
    >>> X = [np.array([[5.0, 5.0, 8.0, 5.0, 5.0]])]
    >>> RunningBaseline(window=3, sfreq=1).fit_transform(X)[0]
    array([[0., 0., 3., 0., 0.]])
    >>> RunningBaseline(window=3, sfreq=1, quantile=None).fit_transform(X)[0]
    array([[ 0., -1.,  2., -1.,  0.]])
    """

    _parameter_constraints: dict[str, Any] = {
        "window": [Interval(Real, 0, None, closed="neither")],
        "sfreq": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="both"), None],
        "phase": [StrOptions({"zero", "causal"})],
    }

    def __init__(
        self,
        window: float = 10.0,
        *,
        sfreq: float = 2000.0,
        quantile: float | None = 0.25,
        phase: Literal["zero", "causal"] = "zero",
    ) -> None:
        self.window = window
        self.sfreq = sfreq
        self.quantile = quantile
        self.phase = phase

    def _rows(
        self,
        x: FloatArray,
        out: FloatArray,
        average: Callable[[FloatArray], Float64Array],
    ) -> None:
        if self.quantile is None:
            level = average(x)
        else:
            causal = self.phase == "causal"
            level = moving_quantile(x, self._size(), self.quantile, causal)
        np.subtract(x, level, out=out, casting="same_kind")


def moving_quantile(
    x: FloatArray, size: int, quantile: float, causal: bool
) -> Float64Array:
    """A quantile of the samples around a sample, or up to it, on a coarse grid.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_times)

    size : int
        Length of the window in samples.

    quantile : float

    causal : bool
        Whether windows end at each sample; between points of the grid, the last one
        counts.

    Returns
    -------
    level : float64 ndarray of shape (n_rows, n_times)
    """
    n_times = x.shape[1]
    before = size - 1 if causal else size // 2
    after = size - 1 - before
    step = max(1, size // 20)
    grid = np.arange(0, n_times, step)
    points = np.stack(
        [
            np.quantile(x[:, max(0, t - before) : t + after + 1], quantile, axis=1)
            for t in grid
        ],
        axis=1,
    ).astype(np.float64)
    if causal:
        return points[:, np.arange(n_times) // step]
    times = np.arange(n_times)
    return np.stack([np.interp(times, grid, row) for row in points])


def moving_mean(x: FloatArray, size: int, causal: bool) -> Float64Array:
    """Mean over `size` samples around each sample, or up to it.

    Sums of samples are added up, never taken off again: a quiet stretch after a burst
    is as exact as before it.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_times)

    size : int
        Length of the window in samples; a window of an even length has one sample more
        before its centre than after it.

    causal : bool
        Whether windows end at each sample.

    Returns
    -------
    mean : float64 ndarray of shape (n_rows, n_times)
        At the ends, of the samples there are.
    """
    n_rows, n_times = x.shape
    before = size - 1 if causal else size // 2
    after = size - 1 - before
    n_blocks = -(-(n_times + size - 1) // size)
    blocks = np.zeros((n_rows, n_blocks * size))
    blocks[:, before : before + n_times] = x
    blocks = blocks.reshape(n_rows, n_blocks, size)
    # Within each block: sums up to a sample, and from a sample on.
    upto = blocks.cumsum(axis=2).reshape(n_rows, -1)
    onward = blocks[:, :, ::-1].cumsum(axis=2)[:, :, ::-1].reshape(n_rows, -1)
    total = upto[:, size - 1 : size - 1 + n_times]
    inner = np.arange(n_times) % size != 0  # a window that lies in two blocks
    total = total + np.where(inner, onward[:, :n_times], 0)
    times = np.arange(n_times)
    count = np.minimum(times + after, n_times - 1) - np.maximum(times - before, 0) + 1
    return total / count


def raised(
    amplitude: Float64Array, power: float | str, floor: float | Float64Array
) -> Float64Array:
    """Amplitudes to a power; the logarithm of those above a floor, if it is "log"."""
    if isinstance(power, str):
        return np.log(amplitude + floor)
    return amplitude if power == 1 else amplitude**power
