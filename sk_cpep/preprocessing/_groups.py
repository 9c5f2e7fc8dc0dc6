"""What belongs together brought to the same level: sessions, people."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length

from .._ids import read_ids
from .._typing import AnyArray, FloatArray


def standardise_groups(X: ArrayLike, groups: ArrayLike) -> FloatArray:
    """Bring each feature to mean 0 and standard deviation 1 within each group.

    A calibration without labels: wearings of a wristband differ in level and spread,
    and a session that is over tells both. Everything is used that a group has, and so
    a person who is tested on has to have been recorded already.

    Parameters
    ----------
    X : array-like of shape (n_windows, n_features) or (n_windows, n_channels, n_times)
        Features, or windows, of which a channel counts as one feature over all times.

    groups : array-like of shape (n_windows,)
        Which rows belong together, such as the sessions of all people.

    Returns
    -------
    X_new : ndarray of the same shape
        float32 stays float32, everything else becomes float64. What does not vary
        within a group is 0.

    Raises
    ------
    ValueError
        If there is not one group for each row, a group is missing, or `X` holds NaN or
        infinite values.

    Examples
    --------
    >>> from sk_cpep.preprocessing import standardise_groups
    >>> standardise_groups([[1.0, 5], [3, 5], [10, 0], [30, 1]], ["a", "a", "b", "b"])
    array([[-1.,  0.],
           [ 1.,  0.],
           [-1., -1.],
           [ 1.,  1.]])
    """
    x: AnyArray = check_array(
        X, dtype=[np.float64, np.float32], allow_nd=True, input_name="X"
    )
    groups = read_ids(groups, "groups")
    check_consistent_length(x, groups)
    X_new = np.empty_like(x)
    over = (0, *range(2, x.ndim))
    for group in np.unique(groups):
        here = groups == group
        rows = x[here].astype(np.float64)
        rows -= rows.mean(axis=over, keepdims=True)
        sd = rows.std(axis=over, keepdims=True)
        flat = sd <= 1e-8 * np.abs(x[here]).max(axis=over, keepdims=True)
        X_new[here] = np.where(flat, 0, rows / np.where(flat, 1, sd))
    return X_new
