"""The vote of the nearest poses."""

import numpy as np

from .._typing import AnyArray, Float64Array, IntArray


def count_votes(
    codes: IntArray, similarity: Float64Array, n_classes: int, keep: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Count the votes of each class and add up their similarities.

    Parameters
    ----------
    codes, similarity : ndarray of shape (n, k)
        Class and cosine similarity of the neighbours.

    n_classes : int
        Number of classes.

    keep : bool ndarray of shape (n, k)
        Which of the neighbours have a vote.

    Returns
    -------
    votes, total : ndarray of shape (n, n_classes)
        Number of neighbours in each class, and their summed similarity.
    """
    n = len(codes)
    cell = (codes + n_classes * np.arange(n)[:, None])[keep]
    size = n * n_classes
    votes = np.bincount(cell, minlength=size).reshape(n, n_classes)
    total = np.bincount(cell, weights=similarity[keep], minlength=size)
    return votes, total.reshape(n, n_classes)


def shares(votes: AnyArray, total: AnyArray) -> Float64Array:
    """Shares of votes (n, n_classes); the winner of a tie is nudged ahead."""
    share = votes / votes.sum(axis=1, keepdims=True)
    leading = votes == votes.max(axis=1, keepdims=True)
    winner = np.where(leading, total, -np.inf).argmax(axis=1)
    tied = np.flatnonzero(leading.sum(axis=1) > 1)
    cell = tied, winner[tied]
    share[cell] = np.nextafter(share[cell], 1.0)
    return share
