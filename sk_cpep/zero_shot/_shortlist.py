"""Which rows of the gallery may be among the nearest, and which of them are."""

import numpy as np
import torch
from torch import Tensor

from .._typing import Float32Array, Float64Array, IntArray
from ._gallery import Gallery, slices

Pairs = tuple[Tensor, Tensor, Tensor]  # rows, columns and values
Neighbours = tuple[IntArray, IntArray, IntArray, Float64Array]

# Columns that are skipped together if the largest of their similarities is too low.
GROUP = 64
# Rows of the gallery kept of a query beyond those it looks for.
_MAX_TIES = 256
# Numbers of a chunk that is ranked in main memory.
_CHUNK_SIZE = 2**17
# Less than any similarity of rows of unit length.
_LOWEST = -2.0


class Shortlist:
    """Columns that may be among the k nearest of each query, tile after tile.

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float32
        A block of queries.

    gallery : Gallery
    k : int
        Number of neighbours.

    Attributes
    ----------
    row, col : tensors of shape (n_pairs,)
        Queries and columns of the gallery that may be neighbours.

    value : tensor of shape (n_pairs,)
        Their similarities, each right to within half of the gallery's margin.

    floor : tensor of shape (n_queries,)
        No column below it is a neighbour.

    crowded : bool tensor of shape (n_queries,)
        Queries with too many columns within the margin of float32. Nothing is kept of
        them: they have to be searched for in float64.
    """

    def __init__(self, Q: Float32Array, gallery: Gallery, k: int) -> None:
        self.Q, self.gallery, self.k = Q, gallery, k
        dtype, device = gallery.dtype, gallery.device
        self.floor = torch.full((len(Q),), _LOWEST, dtype=dtype, device=device)
        self.crowded = torch.zeros(len(Q), dtype=torch.bool, device=device)
        self.row = self.col = torch.empty(0, dtype=torch.long, device=device)
        self.value = torch.empty(0, dtype=dtype, device=device)
        self._new: list[Pairs] = []

    def look_at(self, S: Tensor, start: int) -> None:
        """Keep the columns of a tile that reach the floor.

        Parameters
        ----------
        S : tensor of shape (n_queries, n_groups * GROUP)
            Similarities; -inf where there is no column.

        start : int
            First column of the tile.
        """
        top = S.view(len(S), -1, GROUP).amax(2)  # (n_queries, n_groups)
        row, group = torch.nonzero(top >= self.floor[:, None], as_tuple=True)
        if 4 * len(row) > top.numel():
            found = self._look_everywhere(S)
        else:
            found = self._look_into(S, row, group)
        self._new.append((found[0], start + found[1], found[2]))
        if sum(len(row) for row, _, _ in self._new) > 4 * len(S) * self.k:
            self.prune()

    def _look_into(self, S: Tensor, row: Tensor, group: Tensor) -> Pairs:
        """Pairs and values (n_pairs,) that reach the floor in some groups (n_hits,)."""
        value = S.view(len(S), -1, GROUP)[row, group]  # (n_hits, GROUP)
        hit, slot = torch.nonzero(value >= self.floor[row, None], as_tuple=True)
        return row[hit], group[hit] * GROUP + slot, value[hit, slot]

    def _look_everywhere(self, S: Tensor) -> Pairs:
        """Pairs and values (n_pairs,) that reach the floor; it is raised if many do."""
        reaching = self.floor[:, None] <= S
        if 8 * torch.count_nonzero(reaching) > S.numel() and self.k <= S.shape[1]:
            kth = S.topk(self.k, sorted=False).values.amin(1)
            self.floor = torch.maximum(self.floor, kth - self.gallery.margin)
            reaching = self.floor[:, None] <= S
            if self.gallery.dtype == torch.float32:
                self._give_up(reaching.sum(1, dtype=torch.int32))
                reaching &= ~self.crowded[:, None]
        row, col = torch.nonzero(reaching, as_tuple=True)
        return row, col, S[row, col]

    def prune(self) -> None:
        """Raise the floor to the k-th best so far, and drop what is below."""
        parts = [(self.row, self.col, self.value), *self._new]
        self._new = []
        row, col, value = map(torch.cat, zip(*parts))
        if not len(row):
            return
        order = value.argsort(descending=True)
        order = order[row[order].argsort(stable=True)]
        row, col, value = row[order], col[order], value[order]
        counts = self._counts(row)
        kth = (counts.cumsum(0) - counts + self.k - 1).clamp(max=len(row) - 1)
        floor = torch.maximum(self.floor, value[kth] - self.gallery.margin)
        self.floor = torch.where(counts >= self.k, floor, self.floor)
        self._keep(value >= self.floor[row], (row, col, value))
        counts = self._counts(self.row)
        if self.gallery.dtype == torch.float32:
            self._give_up(counts)
        elif (counts > self.k + _MAX_TIES).any():
            self._relieve(counts > self.k + _MAX_TIES)

    def ranked(self) -> Neighbours:
        """Find the k nearest of each query.

        Returns
        -------
        row, place, index, similarity : ndarrays of shape (n_neighbors,)
            Queries, ranks from 0 on, rows of the gallery and similarities in float64.
        """
        row, col = self.row.cpu().numpy(), self.col.cpu().numpy()
        similarity = self._exact(row, col)
        order, place = first_k(row, col, similarity, self.k)
        return row[order], place, self.gallery.index(col[order]), similarity[order]

    def _counts(self, row: Tensor) -> Tensor:
        """Number of pairs of each query."""
        return torch.bincount(row, minlength=len(self.Q))

    def _keep(self, chosen: Tensor, pairs: Pairs | None = None) -> None:
        """Keep the chosen ones of some pairs, by default of those there are."""
        pairs = pairs or (self.row, self.col, self.value)
        self.row, self.col, self.value = (x[chosen] for x in pairs)

    def _exact(self, row: IntArray, col: IntArray) -> Float64Array:
        """Similarities of pairs in float64."""
        return paired_dots(self.Q, row, self.gallery.G, self.gallery.index(col))

    def _give_up(self, counts: Tensor) -> None:
        """Drop queries with too many columns, (n_queries,), that reach the floor."""
        crowd = counts > self.k + _MAX_TIES
        if crowd.any():
            self.crowded |= crowd
            self.floor[crowd] = torch.inf
            self._keep(~crowd[self.row])

    def _relieve(self, crowd: Tensor) -> None:
        """Rank the columns of crowded queries (n_queries,), and keep the k nearest."""
        crowded = crowd[self.row]
        pairs = crowded.nonzero()[:, 0].numpy()
        row, col = self.row.numpy()[pairs], self.col.numpy()[pairs]
        similarity = self._exact(row, col)
        order, _ = first_k(row, col, similarity, self.k)
        kth = torch.from_numpy(similarity[order[self.k - 1 :: self.k]])
        self.floor[crowd] = torch.maximum(self.floor[crowd], kth - self.gallery.margin)
        crowded[torch.from_numpy(pairs[order])] = False
        self._keep(~crowded)


def paired_dots(
    Q: Float32Array, rows: IntArray, G: Float32Array, cols: IntArray
) -> Float64Array:
    """Dot products of Q[rows] with G[cols] in float64, a bounded chunk at a time.

    Every product is summed in the same order, so that equal rows tie exactly.
    """
    dots = np.empty(len(rows))
    for part in slices(len(rows), max(1, _CHUNK_SIZE // Q.shape[1])):
        dots[part] = (Q[rows[part]].astype(np.float64) * G[cols[part]]).sum(axis=1)
    return dots


def first_k(
    row: IntArray, col: IntArray, similarity: Float64Array, k: int
) -> tuple[IntArray, IntArray]:
    """Order pairs (n,) by row, similarity and column; the first k of each row.

    Returns
    -------
    order, place : ndarrays of shape (n_kept,)
        Positions of the pairs, and their ranks within their rows.
    """
    order = np.lexsort((col, -similarity, row))
    row = row[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    return order[place < k], place[place < k]
