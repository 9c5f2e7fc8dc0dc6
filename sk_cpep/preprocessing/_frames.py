"""Data frames out of steps whose results are windows or rows."""

from functools import wraps

from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._set_output import _wrap_data_with_container

__all__ = ["FrameOutputMixin", "OneToOneFeatureMixin"]


class FrameOutputMixin(TransformerMixin, auto_wrap_output_keys=None):
    """`set_output` for a transformer whose results have two dimensions or others.

    A result of two dimensions becomes a data frame where one is asked for; windows
    and lists of recordings, which none can hold, stay as they are.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)
        cls._sklearn_auto_wrap_output_keys = {"transform"}
        if "transform" in cls.__dict__:
            cls.transform = _framed(cls.transform)

    def fit_transform(self, X, y=None, **fit_params):
        """Fit to the data, then transform them.

        Parameters
        ----------
        X : array-like or list of array-likes
            As of `fit`.

        y : Ignored
            Not used, present for API consistency by convention.

        **fit_params : dict
            Further parameters of `fit`.

        Returns
        -------
        X_new : ndarray, list of ndarrays or data frame
            As of `transform`.
        """
        return self.fit(X, y, **fit_params).transform(X)


def _framed(transform):
    @wraps(transform)
    def framed(self, X):
        Z = transform(self, X)
        if getattr(Z, "ndim", None) != 2:
            return Z
        return _wrap_data_with_container("transform", Z, X, self)

    return framed
