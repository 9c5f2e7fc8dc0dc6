"""The nearest rows of a gallery, some of which are held back."""

from typing import Any

import numpy as np

from .._typing import BoolArray, Float32Array, Float64Array, IntArray
from ._nearest import NearestRows


class PenalisedRows:
    """Find the k rows of G with the largest similarity, less a penalty of some rows.

    The nearest are found among the rows with the penalty and among the others, each
    exactly, and merged.

    Parameters
    ----------
    G : ndarray of shape (n_gallery, d), float32
        Gallery of unit length, or of zeros.

    k : int
        Number of neighbours, at most `n_gallery`.

    penalised : bool ndarray of shape (n_gallery,)
        Rows that the penalty is taken off.

    penalty : float
        What is taken off.

    groups : ndarray of shape (n_gallery,), integers, default=None
        Group of each row.

    **how : dict
        `batch_size` and `device` of :class:`NearestRows`.
    """

    def __init__(
        self,
        G: Float32Array,
        k: int,
        penalised: BoolArray,
        penalty: float,
        *,
        groups: IntArray | None = None,
        **how: Any,
    ) -> None:
        self.k = k
        self._parts: list[tuple[IntArray, float, NearestRows]] = []
        for mask, off in ((penalised, float(penalty)), (~penalised, 0.0)):
            if not mask.any():
                continue
            rows = np.flatnonzero(mask)
            of_rows = None if groups is None else groups[rows]
            nearest = NearestRows(G[rows], min(k, len(rows)), groups=of_rows, **how)
            self._parts.append((rows, off, nearest))

    def search(
        self, Q: Float32Array, groups: IntArray | None = None
    ) -> tuple[Float64Array, IntArray]:
        """Find the neighbours.

        Parameters
        ----------
        Q : ndarray of shape (n_queries, d), float32

        groups : ndarray of shape (n_queries,), integers, default=None
            Group of each query: rows of the same group are no neighbours of it.

        Returns
        -------
        similarity : ndarray of shape (n_queries, k), float64
            Less the penalty, largest first; -inf where fewer than `k` rows are of
            other groups.

        index : ndarray of shape (n_queries, k)
            Rows of `G`, the lower one first where similarities are equal; -1 where
            there is none.
        """
        found = []
        for rows, off, nearest in self._parts:
            similarity, index = nearest.search(Q, groups)
            found.append((similarity - off, np.where(index < 0, -1, rows[index])))
        similarity, index = (np.concatenate(each, axis=1) for each in zip(*found))
        order = np.lexsort((index, -similarity), axis=1)[:, : self.k]
        return (
            np.take_along_axis(similarity, order, axis=1),
            np.take_along_axis(index, order, axis=1),
        )
