"""What is done to emg2pose's windows before an encoder sees them."""

import numpy as np
from sklearn.utils import gen_batches

_BATCH = 1024


def binned(X, size):
    """Root mean square in bins of `size` samples.

    Parameters
    ----------
    X : WindowArray of shape (n, n_channels, n_times)

    Returns
    -------
    envelope : float32 ndarray of shape (n, n_channels, n_times // size)
    """
    n, n_channels, n_times = X.shape
    n_bins = n_times // size
    envelope = np.empty((n, n_channels, n_bins), np.float32)
    for rows in gen_batches(n, _BATCH):
        batch = X.__getitems__(np.arange(n)[rows])[:, :, : n_bins * size]
        bins = batch.reshape(len(batch), n_channels, n_bins, size)
        envelope[rows] = np.sqrt(np.square(bins, dtype=np.float32).mean(axis=3))
    return envelope
