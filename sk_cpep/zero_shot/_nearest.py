"""The nearest rows of a gallery: exact, at the speed of a product, in bounded memory."""

from functools import cached_property

import numpy as np
import torch

from .._typing import Float32Array, Float64Array, IntArray
from ..training import own_state
from ._gallery import DistinctGallery, Gallery, slices
from ._shortlist import GROUP, Shortlist

# Queries of a block, at most: on a CPU, and elsewhere.
_ROWS = 1024, 4096
# Columns of a tile, at least.
_MIN_COLUMNS = 1024
# Neighbours that a block of queries looks for, at most.
_MAX_WANTED = 2**17


class NearestRows:
    """Find the k rows of G with the largest dot product with each query.

    The gallery is gone through in tiles. Products in float32 tell which rows may be
    among the nearest, with a margin that no rounding exceeds; these are ranked by
    products in float64, all added up in the same order, so that equal rows tie.

    Parameters
    ----------
    G : ndarray of shape (n_gallery, d), float32
        Gallery of unit length, or of zeros.

    k : int
        Number of neighbours, at most `n_gallery`.

    batch_size : int, default=None
        Number of queries in a block, at most. None takes what suits the device.

    device : str or torch.device, default="cpu"
        Where the products in float32 are computed; the rest is done on the CPU.

    groups : ndarray of shape (n_gallery,), integers, default=None
        Group of each row.

    Notes
    -----
    *Memory.* Beside the gallery, the queries and what is returned, a search takes at
    most 256 MiB of main memory, and 200 bytes for each row of the gallery, whatever
    the data. A device that is no CPU holds a copy of the gallery, a tile of 128 MiB and
    what is kept of it.

    *Near-ties.* A query with more than 256 rows within the margin of its k-th
    (copies, an encoder that has collapsed) is searched for once more: in float64, on
    the CPU, in a gallery without the copies that can be no neighbours.
    """

    def __init__(
        self,
        G: Float32Array,
        k: int,
        *,
        batch_size: int | None = None,
        device: str | torch.device = "cpu",
        groups: IntArray | None = None,
    ) -> None:
        self.G, self.k = G, k
        self.batch_size, self.groups = batch_size, groups
        self._gallery = Gallery(G, groups, torch.device(device))

    def search(
        self, Q: Float32Array, groups: IntArray | None = None
    ) -> tuple[Float64Array, IntArray]:
        """Find the neighbours.

        Parameters
        ----------
        Q : ndarray of shape (n_queries, d), float32
            Queries of unit length, or of zeros.

        groups : ndarray of shape (n_queries,), integers, default=None
            Group of each query: rows of the same group are no neighbours of it.

        Returns
        -------
        similarity : ndarray of shape (n_queries, k), float64
            Largest first; -inf where fewer than `k` rows are of other groups.

        index : ndarray of shape (n_queries, k)
            Rows of `G`, the lower one first where similarities are equal; -1 where
            there is none.
        """
        result = np.full((len(Q), self.k), -np.inf), np.full((len(Q), self.k), -1)
        queries = np.arange(len(Q))
        with own_state(self._gallery.device):
            crowded = self._fill_in(result, Q, groups, queries, self._gallery)
        if len(crowded):
            self._fill_in(result, Q, groups, crowded, self._distinct)
        return result

    @cached_property
    def _distinct(self) -> DistinctGallery:
        """The gallery for crowded queries."""
        return DistinctGallery(self.G, self.groups, self.k)

    def _fill_in(
        self,
        result: tuple[Float64Array, IntArray],
        Q: Float32Array,
        groups: IntArray | None,
        queries: IntArray,
        gallery: Gallery,
    ) -> IntArray:
        """Fill in the neighbours of some queries (n,); return the crowded ones."""
        similarity, index = result
        n_rows, n_columns = _tile_shape(len(queries), self.k, self.batch_size, gallery)
        crowded = [queries[:0]]
        for block in slices(len(queries), n_rows):
            rows = queries[block]
            own = None if groups is None else groups[rows]
            shortlist = _scan(Q[rows], own, gallery, self.k, n_columns)
            row, place, col, exact = shortlist.ranked()
            similarity[rows[row], place] = exact
            index[rows[row], place] = col
            crowded.append(rows[shortlist.crowded.cpu().numpy()])
        return np.concatenate(crowded)


def _scan(
    Q: Float32Array, own: IntArray | None, gallery: Gallery, k: int, n_columns: int
) -> Shortlist:
    """Shortlist the neighbours of a block of queries.

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float32
    own : ndarray of shape (n_queries,) or None
        Groups of the queries.

    gallery : Gallery
    k : int
    n_columns : int
        Width of a tile, a multiple of `GROUP`.

    Returns
    -------
    shortlist : Shortlist
    """
    shortlist = Shortlist(Q, gallery, k)
    queries = gallery.queries(Q)
    own_codes = None if own is None else gallery.codes(own)[:, None]
    room = queries.new_empty(len(Q) * n_columns)
    for start, rows, groups in gallery.tiles(n_columns):
        n, width = len(rows), _round_up(len(rows))
        S = room[: len(Q) * width].view(len(Q), width)
        torch.mm(queries, rows.T, out=S[:, :n])
        S[:, n:] = -torch.inf
        if own_codes is not None and groups is not None:
            S[:, :n].masked_fill_(own_codes == groups, -torch.inf)
        shortlist.look_at(S, start)
    shortlist.prune()
    return shortlist


def _tile_shape(
    n_queries: int, k: int, batch_size: int | None, gallery: Gallery
) -> tuple[int, int]:
    """Queries and columns of a tile, so that it and what is kept of it are bounded."""
    size = _tile_size(gallery.device)
    n_rows = batch_size or _ROWS[gallery.device.type != "cpu"]
    n_rows = min(n_rows, size // _MIN_COLUMNS, max(1, _MAX_WANTED // k))
    n_rows = min(n_rows, max(1, n_queries))
    n_columns = min(size // n_rows // GROUP * GROUP, gallery.max_columns)
    return n_rows, min(n_columns, _round_up(len(gallery)))


def _tile_size(device: torch.device) -> int:
    """Number of similarities of a tile: what a CPU's caches hold, more on a GPU."""
    return 2**25 if device.type != "cpu" else 2**20 * min(4, torch.get_num_threads())


def _round_up(n_columns: int) -> int:
    """The next multiple of `GROUP`."""
    return -(-n_columns // GROUP) * GROUP
