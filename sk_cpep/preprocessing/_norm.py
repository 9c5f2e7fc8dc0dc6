"""Zero mean and unit standard deviation per window."""

from functools import partial
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._callback_support import CallbackSupportMixin, leaf_fit
from ._recordings import as_recordings, map_recordings


class InstanceNorm(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Zero mean and unit standard deviation, each window by itself.

    Nothing is carried from one window to another, so nothing leaks from training
    to test data. Statistics are taken in float64.

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

    Attributes
    ----------
    n_features_in_ : int
        Number of channels, or of time samples where `fit` saw a 2-D array.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, only where `fit` saw a data frame.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import InstanceNorm
    >>> X = np.array([[[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]])
    >>> InstanceNorm().fit_transform(X).round(3)
    array([[[-1.225,  0.   ,  1.225],
            [ 0.   ,  0.   ,  0.   ]]])
    """

    _parameter_constraints: dict = {
        "over": [StrOptions({"channel", "window"})],
        "eps": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, over="channel", eps=1e-8):
        self.over = over
        self.eps = eps

    @_fit_context(prefer_skip_nested_validation=True)
    @leaf_fit
    def fit(self, X, y=None):
        """Check the data; nothing is learned from it.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or \
                (n_windows, n_times), or list of array-likes of shape \
                (n_channels, n_times_i)
            Windows, or recordings to be normalised as a whole, in any unit.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The estimator itself.

        Raises
        ------
        ValueError
            If `X` holds NaN or infinite values.
        """
        as_recordings(X, estimator=self)
        return self

    def transform(self, X):
        """Normalise each window, or each recording of a list.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or \
                (n_windows, n_times), or list of array-likes of shape \
                (n_channels, n_times_i)
            Windows, or recordings to be normalised as a whole, in any unit.

        Returns
        -------
        X_norm : ndarray or list of ndarrays
            As `X`, without unit; float32 stays float32, everything else becomes
            float64.

        Raises
        ------
        ValueError
            If `X` holds NaN or infinite values.
        """
        check_is_fitted(self)
        X = as_recordings(X, estimator=self, reset=False)
        one_channel = not isinstance(X, list) and X.ndim == 2
        axis = (-2, -1) if self.over == "window" and not one_channel else -1
        return map_recordings(partial(standardise, axis=axis, eps=self.eps), X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def standardise(x, axis, eps):
    """Zero mean and unit standard deviation over `axis`, in float64; flat is zero."""
    # A constant divided by itself is exactly 1, and so is the mean of ones: without
    # this step rounding leaves a constant with a standard deviation above zero.
    peak = np.max(np.abs(x), axis=axis, keepdims=True).astype(np.float64)
    z = x / np.where(peak == 0, 1, peak)
    z -= z.mean(axis=axis, keepdims=True)
    sd = np.sqrt(np.mean(np.square(z), axis=axis, keepdims=True))
    flat = sd <= eps
    z *= np.where(flat, 0, 1 / np.where(flat, 1, sd))
    return z
