"""Scores as weighted means over windows."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _check_sample_weight

from .._typing import AnyArray


def mean_over_windows(
    values: AnyArray, sample_weight: ArrayLike | None = None
) -> float:
    """Mean of what was computed for each window.

    Parameters
    ----------
    values : array of shape (n_windows,)

    sample_weight : array-like of shape (n_windows,) or float, default=None
        How much each window counts, from 0 on. None counts them equally.

    Returns
    -------
    mean : float

    Raises
    ------
    ValueError
        If weights are too few or too many, negative, not finite, or all zero.
    """
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    weights = _check_sample_weight(
        sample_weight, values, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():  # scikit-learn < 1.9 lets them pass
        raise ValueError("sample_weight is zero for every window: nothing counts.")
    return float(np.average(np.asarray(values, dtype=np.float64), weights=weights))
