"""Zero mean and unit standard deviation per window."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils._param_validation import Interval, StrOptions

from .._typing import AnyArray, FloatArray
from ._base import RecordingTransformer
from ._recordings import BLOCK_SAMPLES, Recordings, count_dead, map_recordings


class InstanceNorm(OneToOneFeatureMixin, RecordingTransformer):
    """Zero mean and unit standard deviation of each window, or recording of a list.

    Nothing is carried from one window to another, so nothing leaks from training
    to test data. Statistics are taken in float64, and what is transformed has no unit.

    Parameters
    ----------
    over : {"channel", "window"}, default="channel"
        ``"channel"`` takes the mean and standard deviation of each channel over
        time: all channels come out equally strong.
        ``"window"`` takes one mean and one standard deviation over all channels
        and times of the window: how strong and how offset the channels are
        relative to one another survives.

    eps : float, default=1e-8
        What counts as flat: a channel (or window) whose standard deviation is at
        most `eps` times its largest absolute value, as of a dead electrode, becomes
        exact zeros. It is relative, so the unit of the recording does not matter.
        In float32 it is at least 1.2e-7, the resolution of such numbers.

    Attributes
    ----------
    n_dead_ : ndarray of shape (n_channels,)
        In how many of the windows that `fit` saw each channel had no signal: its
        range was at most `eps` times its largest absolute value.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import InstanceNorm
    >>> X = np.array([[[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]])
    >>> InstanceNorm().fit_transform(X).round(3)
    array([[[-1.225,  0.   ,  1.225],
            [ 0.   ,  0.   ,  0.   ]]])
    """

    _parameter_constraints: dict[str, Any] = {
        "over": [StrOptions({"channel", "window"})],
        "eps": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self, over: Literal["channel", "window"] = "channel", eps: float = 1e-8
    ) -> None:
        self.over = over
        self.eps = eps

    def _learn(self, X: Recordings) -> None:
        """Count the channels without a signal."""
        self.n_dead_ = count_dead(X, self.eps)

    def _apply(self, X: Recordings) -> Recordings:
        """Normalise each window, or each recording of a list."""
        whole = self.over == "window"
        return map_recordings(partial(standardise, eps=self.eps), X, whole=whole)


def standardise(x: FloatArray, out: FloatArray, eps: float) -> None:
    """Write rows (n_rows, n_samples) standardised in float64, flat ones as zeros."""
    if x.size > BLOCK_SAMPLES:
        _standardise_long(x, out, eps)
        return
    # A constant divided by itself is exactly 1, and so is the mean of ones: without
    # this step rounding leaves a constant with a standard deviation above zero.
    z = x / _peak(x)
    z -= z.mean(axis=1, keepdims=True)
    sd = np.sqrt(np.mean(np.square(z), axis=1, keepdims=True))
    np.multiply(z, _inverse(sd, x.dtype, eps), out=out, casting="same_kind")


def _standardise_long(x: FloatArray, out: FloatArray, eps: float) -> None:
    """The same for one long row, in the order of numpy's sums, piece by piece."""
    peak, n = _peak(x), x.shape[1]
    mean = _pairwise_sum(lambda start, stop: x[:, start:stop] / peak, 0, n) / n
    square = _pairwise_sum(
        lambda start, stop: np.square(x[:, start:stop] / peak - mean), 0, n
    )
    inverse = _inverse(np.sqrt(square / n), x.dtype, eps)
    for start in range(0, n, BLOCK_SAMPLES):
        part = slice(start, start + BLOCK_SAMPLES)
        out[:, part] = (x[:, part] / peak - mean) * inverse


def _pairwise_sum(
    piece: Callable[[int, int], FloatArray], start: int, stop: int
) -> AnyArray:
    """Sum of piece(start, stop), halved as numpy halves an array that it sums."""
    if stop - start <= BLOCK_SAMPLES:
        return piece(start, stop).sum(axis=1, keepdims=True)
    half = (stop - start) // 2
    middle = start + half - half % 8
    return _pairwise_sum(piece, start, middle) + _pairwise_sum(piece, middle, stop)


def _peak(x: FloatArray) -> FloatArray:
    """Largest absolute value of each row, 1 where it is zero."""
    peak = np.maximum(x.max(axis=1, keepdims=True), -x.min(axis=1, keepdims=True))
    return np.where(peak == 0, 1, peak).astype(np.float64)


def _inverse(sd: FloatArray, dtype: np.dtype[Any], eps: float) -> FloatArray:
    """What to multiply rows by, given their standard deviations; zero if flat."""
    flat = sd <= (max(eps, np.finfo(dtype).eps) if dtype == np.float32 else eps)
    return np.where(flat, 0, 1 / np.where(flat, 1, sd))
