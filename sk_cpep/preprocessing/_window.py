"""Recordings cut into windows."""

import warnings
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._typing import AnyArray, FloatArray, IntArray
from ._base import RecordingTransformer
from ._origin import Origin, with_origin
from ._recordings import Recordings


class Windower(RecordingTransformer):
    """Cut recordings into windows.

    The windows of a recording start at 0, `stride`, 2 `stride`, ... as long as a
    whole window fits, and follow those of the recording before. The number of
    samples changes: use :func:`make_windows` to cut labels or pose along.

    What `transform` returns is one array of shape (n_windows, n_channels, size), in the
    unit of the recordings; each row of a 2-D array is a recording of one channel. The
    array knows how many of its rows come from which recording, by which an encoder
    checks how EMG and pose pair. It keeps this in operations that leave rows in place:
    the package's own steps, operations element by element, a choice of channels, a
    pickle. Recordings shorter than `size` give no window, and a UserWarning; if all are,
    a ValueError is raised. NaN and infinite values are refused, as leaving windows out
    would break the pairing with the pose.

    Parameters
    ----------
    size : int
        Length of a window in samples.

    stride : int, default=None
        Samples from the start of one window to the start of the next. None takes
        `size`: windows touch and do not overlap.

    See Also
    --------
    make_windows : The same for arrays that belong together.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import Windower
    >>> recordings = [np.zeros((16, 6000)), np.zeros((16, 4500))]
    >>> Windower(2000, stride=1000).fit_transform(recordings).shape
    (8, 16, 2000)
    """

    _min_times: ClassVar[int] = 0
    _parameter_constraints: dict[str, Any] = {
        "size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, size: int, stride: int | None = None) -> None:
        self.size = size
        self.stride = stride

    def _learn(self, X: Recordings) -> None:
        """Note the number of channels."""
        self._n_features_out = X[0].shape[0] if X[0].ndim == 2 else 1

    def _apply(self, X: Recordings) -> AnyArray:
        """Cut recordings into windows."""
        recordings = X if isinstance(X, list) or X.ndim == 3 else X[:, np.newaxis]
        stride = self.size if self.stride is None else self.stride
        lengths = np.array([x.shape[-1] for x in recordings])
        counts = count_windows(lengths, self.size, stride)
        warn_empty(counts, lengths, self.size)
        windows = cut_windows(recordings, counts, self.size, stride)
        return with_origin(windows, Origin(counts, lengths, self.size, stride))

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> AnyArray:
        """Names of the channels of the windows.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of what `fit` saw; None takes ``x0``, ``x1``, ...

        Returns
        -------
        feature_names_out : ndarray of str of shape (n_channels,)
            As `input_features`, or ``windower0`` for the one channel of windows that
            were cut out of the rows of a 2-D array.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if self._n_features_out == self.n_features_in_:
            return names
        return np.array(["windower0"], dtype=object)


def count_windows(lengths: IntArray, size: int, stride: int) -> IntArray:
    """How many whole windows fit into each length."""
    return np.maximum(0, (lengths - size) // stride + 1)


def empty_windows(recordings: Recordings, n_windows: int, size: int) -> FloatArray:
    """Room for windows, in the widest precision of the recordings."""
    dtype = np.result_type(*{x.dtype for x in recordings})
    return np.empty((n_windows, recordings[0].shape[0], size), dtype=dtype)


def cut_windows(
    recordings: Recordings, counts: IntArray, size: int, stride: int
) -> FloatArray:
    """Copy evenly spaced windows of all recordings, in order, into one array.

    Parameters
    ----------
    recordings : sequence of ndarrays of shape (n_channels, n_times_i)
    counts : ndarray of shape (n_recordings,)
        Number of windows of each recording, from :func:`count_windows`.
    size, stride : int

    Returns
    -------
    windows : ndarray of shape (n_windows, n_channels, size)
    """
    out = empty_windows(recordings, counts.sum(), size)
    stops = np.cumsum(counts)
    for i in np.flatnonzero(counts):
        views = sliding_window_view(recordings[i], size, axis=-1)[:, ::stride]
        out[stops[i] - counts[i] : stops[i]] = views.swapaxes(0, 1)
    return out


def warn_empty(counts: IntArray, lengths: IntArray, size: int) -> None:
    """Warn of recordings without a window, raise where there is no window at all."""
    n_empty = np.count_nonzero(counts == 0)
    if n_empty == len(counts):
        raise ValueError(
            f"No window of size={size} samples fits: all {n_empty} recordings are too "
            f"short, the longest has {lengths.max()} samples. A recording has the "
            "shape (n_channels, n_times)."
        )
    if n_empty:
        warnings.warn(
            f"{n_empty} of {len(counts)} recordings are too short for a window of "
            f"size={size} samples and give none; the shortest has {lengths.min()}.",
            UserWarning,
            stacklevel=4,
        )
