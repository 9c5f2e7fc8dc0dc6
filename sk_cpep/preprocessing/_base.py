"""What all steps share: recordings in, arrays, lists or data frames out."""

from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from .._callback_support import CallbackSupportMixin, leaf_fit
from .._typing import RecordingsLike
from ._recordings import Recordings, as_recordings


class RecordingTransformer(  # type: ignore[call-arg]  # it is a keyword of scikit-learn's
    CallbackSupportMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """A step that learns at most which channels there are.

    A result of two dimensions becomes a data frame where `set_output` asks for one;
    windows and lists of recordings, which no frame can hold, stay as they are.

    Attributes
    ----------
    n_features_in_ : int
        Number of channels, or of time samples where `fit` saw a 2-D array.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, only where `fit` saw a data frame.
    """

    # Least number of samples of a recording.
    _min_times: ClassVar[int] = 1

    @_fit_context(prefer_skip_nested_validation=True)
    @leaf_fit
    def fit(self, X: RecordingsLike, y: object = None) -> Self:
        """Check the parameters and the data.

        Parameters
        ----------
        X : list of array-likes of shape (n_channels, n_times_i), or array-like of \
                shape (n, n_channels, n_times) or (n, n_times)
            Recordings, or windows, in any unit.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or if `X` holds NaN or infinite values.
        """
        self._learn(as_recordings(X, estimator=self, min_times=self._min_times))
        return self

    def transform(self, X: RecordingsLike) -> Any:
        """Apply the step to each recording, or to each window.

        Parameters
        ----------
        X : list of array-likes of shape (n_channels, n_times_i), or array-like of \
                shape (n, n_channels, n_times) or (n, n_times)
            Recordings, or windows, in the unit of those that `fit` saw. Each row of a
            2-D array has one channel.

        Returns
        -------
        X_new : ndarray, list of ndarrays or data frame
            What the class says of its results. float32 stays float32, everything else
            becomes float64.

        Raises
        ------
        ValueError
            If `X` holds NaN or infinite values, or has other channels than `fit` saw.
        """
        check_is_fitted(self)
        read = as_recordings(X, estimator=self, reset=False, min_times=self._min_times)
        Z = self._apply(read)
        if getattr(Z, "ndim", None) != 2:
            return Z
        return _wrap_data_with_container("transform", Z, X, self)

    def fit_transform(
        self, X: RecordingsLike, y: object = None, **fit_params: Any
    ) -> Any:
        """Fit to the data, then transform them.

        Parameters
        ----------
        X : list of array-likes of shape (n_channels, n_times_i), or array-like of \
                shape (n, n_channels, n_times) or (n, n_times)
            As in `fit`.

        y : Ignored
            Not used, present for API consistency by convention.

        **fit_params : dict
            Further parameters of `fit`.

        Returns
        -------
        X_new : ndarray, list of ndarrays or data frame
            As returned by `transform`.
        """
        return self.fit(X, y, **fit_params).transform(X)

    def _learn(self, X: Recordings) -> None:
        """Learn from recordings that were read."""
        raise NotImplementedError

    def _apply(self, X: Recordings) -> Recordings:
        """Transform recordings that were read."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
