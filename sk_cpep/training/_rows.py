"""Rows of windows as arrays of float32, wherever the windows are."""

import numpy as np


def fetch_rows(array, rows, out=None):
    """Rows of an array-like as a float32 array.

    Parameters
    ----------
    array : array-like of shape (n, ...)

    rows : int array of shape (B,)

    out : float32 ndarray of shape (B, ...), default=None
        Where they go. None makes an array.

    Returns
    -------
    batch : float32 ndarray of shape (B, ...)

    Raises
    ------
    ValueError
        If the rows hold NaN or infinity. (Arrays in memory were checked as a whole.)
    """
    if isinstance(array, np.ndarray):
        return _fetch_from_memory(array, rows, out)
    if hasattr(array, "__getitems__"):
        batch = np.asarray(array.__getitems__(rows), dtype=np.float32)
    else:  # in order, which is all that h5py datasets take
        order = np.argsort(rows)
        batch = np.asarray(array[rows[order]], dtype=np.float32)[np.argsort(order)]
    if not np.isfinite(batch).all():
        n = int((~np.isfinite(batch)).any(axis=tuple(range(1, batch.ndim))).sum())
        raise ValueError(
            f"Input contains NaN or infinity: {n} of the {len(rows)} windows in this "
            "batch do. Drop those windows, or interpolate the gaps, before fitting."
        )
    return _hand_over(batch, out)


def _fetch_from_memory(array, rows, out):
    if out is not None and array.dtype == np.float32 and array.flags.c_contiguous:
        # With mode="raise", take makes a copy first.
        return np.take(array, rows, axis=0, out=out, mode="clip")
    return _hand_over(np.asarray(array[rows], dtype=np.float32), out)


def _hand_over(batch, out):
    if out is None:
        return batch
    np.copyto(out, batch)
    return out


def is_in_memory(array):
    """Whether rows of an array are there at once: not read, nor mapped from a file."""
    if not isinstance(array, np.ndarray):
        return False
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return not isinstance(array, np.memmap)
