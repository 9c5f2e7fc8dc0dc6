"""How strong the channels of a window are, as a row of numbers."""

from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray, Float64Array
from ._base import RecordingTransformer
from ._moving import raised
from ._recordings import Recordings

_BATCH = 1024
# Of the window's root mean square: -60 dB.
_FLOOR = 1e-3
# Of a noisy channel's standard deviation: smaller steps are no crossings.
_THRESHOLD = 0.01
_EXTRAS = ("hudgins", "log_covariance")


class AmplitudeFeatures(RecordingTransformer):
    """Amplitudes of each channel of a window in time bins, as a row of features.

    The simple rival that every learned embedding of EMG has to be compared with: with
    the default parameters, the square root of the envelope in ten bins, which keeps the
    course of a movement. Recordings in a list may differ in length; each is one window.

    Parameters
    ----------
    n_bins : int, default=10
        Number of time bins, as equally long as can be. 1 averages the whole window.

    power : float or "log", default=0.5
        To which power amplitudes are raised; ``"log"`` takes the natural logarithm, of
        amplitudes to which a thousandth of the root mean square of the whole window is
        added, so that a dead channel stays finite.

    statistic : {"rms", "mav"}, default="rms"
        Root mean square, or mean absolute value, of the samples of a bin.

    extra : sequence of {"hudgins", "log_covariance"}, default=()
        What is appended, of each whole window:

        - "hudgins": the time-domain set of [1]_, for each channel: mean absolute value
          and waveform length (mean absolute step), both raised to `power`, and the
          shares of samples at which the signal crosses zero and at which its slope
          changes sign, steps below 1 % of the channel's root mean square apart. At
          least 3 samples are needed;
        - "log_covariance": the matrix logarithm of the channels' second moments [2]_,
          of which a thousandth of the mean power is added to the diagonal; its upper
          triangle, what is off the diagonal times the square root of 2.

    Attributes
    ----------
    n_features_in_ : int
        Number of channels (of samples, where `fit` saw a 2-D array).

    References
    ----------
    .. [1] B. Hudgins, P. Parker and R. N. Scott, "A new strategy for multifunction
       myoelectric control", IEEE Trans. Biomed. Eng. 40 (1993), 82-94.
    .. [2] V. Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on
       diffusion tensors", Magn. Reson. Med. 56 (2006), 411-421.

    See Also
    --------
    Envelope : Amplitudes as a curve.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import AmplitudeFeatures
    >>> X = np.array([[[4.0, -4.0, 9.0, 9.0], [1.0, 1.0, 0.0, 0.0]]])
    >>> AmplitudeFeatures(n_bins=2).fit_transform(X)
    array([[2., 3., 1., 0.]])
    """

    _parameter_constraints: dict[str, Any] = {
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="neither"), StrOptions({"log"})],
        "statistic": [StrOptions({"rms", "mav"})],
        "extra": ["array-like"],
    }

    def __init__(
        self,
        n_bins: int = 10,
        power: float | Literal["log"] = 0.5,
        *,
        statistic: Literal["rms", "mav"] = "rms",
        extra: Sequence[str] = (),
    ) -> None:
        self.n_bins = n_bins
        self.power = power
        self.statistic = statistic
        self.extra = extra

    def _learn(self, X: Recordings) -> None:
        """Check the windows."""
        unknown = [name for name in self.extra if name not in _EXTRAS]
        if isinstance(self.extra, str) or unknown:
            raise ValueError(f"extra must hold some of {_EXTRAS}, got {self.extra!r}.")
        self._n_channels: int = self._arrays(X)[0].shape[1]

    def _apply(self, X: Recordings) -> AnyArray:
        """Features of windows, batch by batch."""
        parts = [
            np.hstack([part for _, part in self._parts(x[rows].astype(np.float64))])
            for x in self._arrays(X)
            for rows in gen_batches(len(x), _BATCH)
        ]
        return np.concatenate(parts).astype(X[0].dtype)

    def _arrays(self, X: Recordings) -> list[AnyArray]:
        """Windows of one length (n, C, T) each; of a list, each recording is one."""
        if isinstance(X, list):
            arrays = [recording[np.newaxis] for recording in X]
        else:
            arrays = [X[:, np.newaxis] if X.ndim == 2 else X]
        least = max(self.n_bins, 3 if "hudgins" in self.extra else 1)
        shortest = min(x.shape[2] for x in arrays)
        if shortest < least:
            raise ValueError(
                f"Windows of {shortest} samples are too short for n_bins="
                f"{self.n_bins} and extra={tuple(self.extra)}, which take {least}. Give "
                "longer windows, or fewer bins."
            )
        return arrays

    def _parts(self, x: Float64Array) -> Iterator[tuple[list[str], Float64Array]]:
        """Names and values (n, n_values) of each kind of feature of windows (n, C, T)."""
        n_channels = x.shape[1]
        scale = np.abs(x).max(axis=(1, 2), keepdims=True)
        scale[scale == 0] = 1
        x = x / scale  # so that no square is too large
        level = np.sqrt(np.square(x).mean(axis=(1, 2)))[:, np.newaxis, np.newaxis]
        floor = _FLOOR * level + np.finfo(np.float64).tiny

        def rescaled(amplitude: Float64Array) -> Float64Array:
            found = raised(amplitude * scale, self.power, floor * scale)
            return found.reshape(len(x), -1)

        bins = np.array_split(x, self.n_bins, axis=2)
        yield (
            [
                f"channel{c}_bin{b}"
                for c in range(n_channels)
                for b in range(self.n_bins)
            ],
            rescaled(np.stack([amplitude(b, self.statistic) for b in bins], axis=2)),
        )
        if "hudgins" in self.extra:
            sizes, shares = hudgins(x)
            for name, values in sizes.items():
                names = [f"channel{c}_{name}" for c in range(n_channels)]
                yield names, rescaled(values[:, :, np.newaxis])
            for name, values in shares.items():
                yield [f"channel{c}_{name}" for c in range(n_channels)], values
        if "log_covariance" in self.extra:
            rows, columns = np.triu_indices(n_channels)
            pairs = zip(rows.tolist(), columns.tolist())
            values = log_covariance(x)
            values[:, rows == columns] += 2 * np.log(scale[:, :, 0])
            yield [f"log_covariance_{a}_{b}" for a, b in pairs], values

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> AnyArray:
        """Names of the features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Not used: names count channels.

        Returns
        -------
        names : ndarray of str
            Such as ``channel0_bin3``.
        """
        check_is_fitted(self)
        n_times = max(self.n_bins, 3)
        windows = np.ones((1, self._n_channels, n_times))
        parts = self._parts(windows)
        return np.array([name for names, _ in parts for name in names], dtype=object)


def amplitude(x: Float64Array, statistic: str) -> Float64Array:
    """Root mean square or mean absolute value over the last axis."""
    if statistic == "rms":
        return np.sqrt(np.square(x).mean(axis=-1))
    return np.abs(x).mean(axis=-1)


def hudgins(
    x: Float64Array, threshold: float = _THRESHOLD
) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
    """Hudgins' time-domain features of windows (n, C, T).

    Returns
    -------
    sizes : dict of ndarray of shape (n, C)
        Mean absolute value, and mean absolute step.

    shares : dict of ndarray of shape (n, C)
        Of samples at which the signal crosses zero, and at which its slope changes sign,
        by steps of at least `threshold` times the root mean square.
    """
    step = np.diff(x, axis=2)
    least = threshold * amplitude(x, "rms")[:, :, np.newaxis]
    large = np.abs(step) >= least
    crosses = (x[:, :, 1:] * x[:, :, :-1] < 0) & large
    turns = (step[:, :, 1:] * step[:, :, :-1] < 0) & (
        large[:, :, 1:] | large[:, :, :-1]
    )
    sizes = {
        "mean_absolute_value": amplitude(x, "mav"),
        "waveform_length": np.abs(step).mean(axis=2),
    }
    shares = {
        "zero_crossings": crosses.mean(axis=2),
        "slope_changes": turns.mean(axis=2),
    }
    return sizes, shares


def log_covariance(x: Float64Array) -> Float64Array:
    """Logarithm of the second moments of windows (n, C, T): (n, C * (C + 1) / 2)."""
    n_channels, n_times = x.shape[1:]
    moments = x @ x.transpose(0, 2, 1) / n_times
    power = np.trace(moments, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] / n_channels
    # Nothing but zeros counts as the faintest signal there is.
    power = np.maximum(power, np.finfo(np.float64).tiny / _FLOOR)
    values, vectors = np.linalg.eigh(moments + _FLOOR * power * np.eye(n_channels))
    logarithm = (vectors * np.log(values)[:, np.newaxis]) @ vectors.transpose(0, 2, 1)
    rows, columns = np.triu_indices(n_channels)
    return logarithm[:, rows, columns] * np.where(rows == columns, 1, np.sqrt(2))
