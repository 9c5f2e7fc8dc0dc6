"""What is done to emg2pose's windows before an encoder sees them."""

import numpy as np
from sklearn.utils import gen_batches

from sk_cpep.preprocessing import AmplitudeFeatures

_BATCH = 1024


def binned(X, n_bins):
    """Root mean square of each channel in time bins.

    Parameters
    ----------
    X : WindowArray of shape (n, n_channels, n_times)

    n_bins : int

    Returns
    -------
    envelope : float32 ndarray of shape (n, n_channels, n_bins)
    """
    n, n_channels, _ = X.shape
    envelope = np.empty((n, n_channels, n_bins), np.float32)
    step = AmplitudeFeatures(n_bins, 1.0)
    for rows in gen_batches(n, _BATCH):
        batch = X.__getitems__(np.arange(n)[rows])
        features = step.fit_transform(np.asarray(batch, np.float32))
        envelope[rows] = features.reshape(-1, n_channels, n_bins)
    return envelope
