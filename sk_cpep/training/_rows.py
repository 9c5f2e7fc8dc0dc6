"""Rows of windows as arrays of float32, wherever the windows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import AnyArray, Float32Array, IntArray

# The square root of the largest number in float32.
LARGEST = float(np.sqrt(np.finfo(np.float32).max))


def fetch_rows(
    array: Any, rows: IntArray, out: Float32Array | None = None
) -> Float32Array:
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
        If the rows hold NaN, infinity or values that are too large. (Arrays in memory
        were checked as a whole.)
    """
    if isinstance(array, np.ndarray):
        return _fetch_from_memory(array, rows, out)
    if out is not None and hasattr(array, "read_into"):
        array.read_into(rows, out)
        batch = out
    elif hasattr(array, "__getitems__"):
        batch = np.asarray(array.__getitems__(rows))
    else:  # in order, which is all that h5py datasets take
        order = np.argsort(rows)
        batch = np.asarray(array[rows[order]])[np.argsort(order)]
    if not np.isfinite(batch).all():
        n = int((~np.isfinite(batch)).any(axis=tuple(range(1, batch.ndim))).sum())
        raise ValueError(
            f"Input contains NaN or infinity: {n} of the {len(rows)} windows in this "
            "batch do. Drop those windows, or interpolate the gaps, before fitting."
        )
    check_magnitude(batch, "Input")
    return (
        batch if batch is out else _hand_over(batch.astype(np.float32, copy=False), out)
    )


def check_magnitude(X: AnyArray, name: str) -> None:
    """Refuse finite values that float32 cannot hold or square.

    Parameters
    ----------
    X : ndarray of shape (n, ...)

    name : str
        What the error calls it.

    Raises
    ------
    ValueError
        If there are any. The message says how many, and where the first is.
    """
    if X.dtype.kind != "f" or X.size == 0:
        return
    if max(float(X.max()), -float(X.min())) <= LARGEST:
        return
    large = (np.abs(X) > LARGEST).reshape(len(X), -1).any(axis=1)
    if not large.any():  # NaN, where the caller looked for none
        return
    first = int(large.argmax())
    raise ValueError(
        f"{name} has values that float32 cannot square: {np.count_nonzero(large)} of "
        f"{len(X)} windows go beyond {LARGEST:.3g}, the first of them window {first} "
        f"with {np.abs(X[first]).max():.6g}. Replace fill values, or scale the data to "
        "unit variance (InstanceNorm)."
    )


def _fetch_from_memory(
    array: AnyArray, rows: IntArray, out: Float32Array | None
) -> Float32Array:
    """Rows of an array in memory, into `out` if it is given."""
    if out is not None and array.dtype == np.float32 and array.flags.c_contiguous:
        # With mode="raise", take makes a copy first.
        np.take(array, rows, axis=0, out=out, mode="clip")
        return out
    return _hand_over(np.asarray(array[rows], dtype=np.float32), out)


def _hand_over(batch: Float32Array, out: Float32Array | None) -> Float32Array:
    """A batch, copied to `out` if that is given."""
    if out is None:
        return batch
    np.copyto(out, batch)
    return out


def is_in_memory(array: object) -> bool:
    """Whether rows of an array are there at once: not read, nor mapped from a file."""
    if not isinstance(array, np.ndarray):
        return False
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return not isinstance(array, np.memmap)
