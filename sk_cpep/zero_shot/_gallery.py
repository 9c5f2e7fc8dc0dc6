"""A gallery as it is searched: in tiles, of one type, on one device."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._typing import AnyArray, Float32Array, IntArray

# Numbers of a chunk that is compared in main memory.
_CHUNK_SIZE = 2**20


class Gallery:
    """The whole gallery in float32, put on the device once.

    Parameters
    ----------
    G : ndarray of shape (n_gallery, d), float32
        Rows of unit length, or of zeros.

    groups : ndarray of shape (n_gallery,), or None
        Group of each row.

    device : torch.device
    """

    dtype = torch.float32
    max_columns = 2**16

    def __init__(
        self, G: Float32Array, groups: IntArray | None, device: torch.device
    ) -> None:
        self.G, self.device = G, device
        self._rows = _as_tensor(G).to(device)
        self._groups = None if groups is None else self.codes(groups)

    def __len__(self) -> int:
        return len(self.G)

    @property
    def margin(self) -> float:
        """Twice the largest difference of a product of this type from one in float64.

        Rounding in a dot product of d numbers, in whatever order, is at most d / 2
        epsilons times the two lengths; a few more stand for what a length is above 1.
        """
        epsilon = torch.finfo(self.dtype).eps + torch.finfo(torch.float64).eps
        return (self.G.shape[1] + 16) * epsilon

    def tiles(self, size: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield the first column of a tile, its rows (n, d), and their groups (n,)."""
        for part in slices(len(self), size):
            groups = None if self._groups is None else self._groups[part]
            yield part.start, self._tile(part), groups

    def queries(self, Q: Float32Array) -> Tensor:
        """Queries (n, d), in this type, on this device."""
        return _as_tensor(Q).to(self.device, self.dtype)

    def codes(self, groups: IntArray) -> Tensor:
        """Groups (n,), on this device."""
        return _as_tensor(groups).to(self.device)

    def index(self, col: IntArray) -> IntArray:
        """Rows of `G` that columns, as counted in the tiles, stand for."""
        return col

    def _tile(self, part: slice) -> Tensor:
        """Rows (n, d) of some columns."""
        return self._rows[part]


class DistinctGallery(Gallery):
    """The gallery in float64 on the CPU, without copies that can be no neighbours.

    Of equal rows (of one group), those after the k-th are behind k others.

    Parameters
    ----------
    G, groups
        As of :class:`Gallery`.

    k : int
        Number of neighbours.
    """

    dtype = torch.float64
    max_columns = 2**10

    def __init__(self, G: Float32Array, groups: IntArray | None, k: int) -> None:
        self.G, self.device = G, torch.device("cpu")
        self._kept = first_copies(G, groups, k)
        self._groups = None if groups is None else self.codes(groups[self._kept])

    def __len__(self) -> int:
        return len(self._kept)

    def index(self, col: IntArray) -> IntArray:
        """Rows of `G` that columns, as counted in the tiles, stand for."""
        return self._kept[col]

    def _tile(self, part: slice) -> Tensor:
        """Rows (n, d) of some columns."""
        return torch.from_numpy(self.G[self._kept[part]].astype(np.float64))


def slices(n: int, size: int) -> Iterator[slice]:
    """Cut 0 to n into slices of a size; none where n is 0."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def first_copies(G: Float32Array, groups: IntArray | None, k: int) -> IntArray:
    """Find the rows of which fewer than k equal ones come before.

    Parameters
    ----------
    G : ndarray of shape (n, d), float32
    groups : ndarray of shape (n,), integers, or None
        Rows are equal only within a group.

    k : int

    Returns
    -------
    kept : ndarray of shape (n_kept,)
        In ascending order.
    """
    key = _hash_rows(G)
    if groups is not None:
        key ^= _hash_rows(groups.astype(np.float64)[:, None].view(np.float32), seed=1)
    order = key.argsort(kind="stable")
    starts = np.ones(len(G), dtype=bool)  # of runs of equal rows
    same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    for part in slices(len(same), max(1, _CHUNK_SIZE // G.shape[1])):
        before, after = order[same[part]], order[same[part] + 1]
        equal = (G[before] == G[after]).all(axis=1)
        if groups is not None:
            equal &= groups[before] == groups[after]
        starts[same[part] + 1] = ~equal
    place = np.arange(len(G))
    place -= np.maximum.accumulate(np.where(starts, place, 0))
    return np.sort(order[place < k])


def _hash_rows(G: Float32Array, seed: int = 0) -> AnyArray:
    """Mix the bits of each row (n, d), float32, into one number (n,)."""
    rng = np.random.default_rng(seed)
    odd = 2 * rng.integers(2**63, size=G.shape[1], dtype=np.uint64) + np.uint64(1)
    key = np.empty(len(G), dtype=np.uint64)
    for part in slices(len(G), max(1, _CHUNK_SIZE // G.shape[1])):
        key[part] = (np.ascontiguousarray(G[part]).view(np.uint32) * odd).sum(axis=1)
    return key


def _as_tensor(array: AnyArray) -> Tensor:
    """The array as a tensor; nothing is written to one that is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The given NumPy array is not writ", UserWarning
        )
        return torch.from_numpy(np.ascontiguousarray(array))
