"""Windows in whole batches: never one by one, read while the network is busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from copy import copy
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import Dataset

from .._typing import AnyArray, IntArray
from ._prefetch import prefetch
from ._residence import chunk_rows, fill_tensor, free_memory, make_resident
from ._rows import is_in_memory
from ._transfer import transfer_to


class WindowBatches(Dataset[list[torch.Tensor]]):
    """Paired arrays of windows, fetched a batch at a time, on a device.

    Parameters
    ----------
    *arrays : array-likes with the same number of rows
        Arrays or anything with a `shape` that takes an array of indices, or has
        ``__getitems__(indices)`` to fetch a whole batch.

    device : torch.device
        Where the batches go.

    dtype : torch.dtype, default=torch.float32
        What the network computes in.

    rows : int array, default=None
        The rows that take part. None is all.

    groups : array of shape (n,), default=None
        Group of every row. Given, a batch holds rows of one group only.

    keep : bool, default=True
        Whether to keep what fits on a CUDA device, from the first batch on. Not worth
        it where all is read once.

    Notes
    -----
    Where the windows are is decided once, an array at a time:

    * On a CUDA device, what fits beside the network lives there, the largest arrays
      first. With `dtype` bfloat16 it is float16 where that keeps the values at least
      as well as bfloat16, and so are its batches; else float32.
    * What does not fit, or is not in memory, is prefetched by a thread while the
      network is busy with the batch before, up to two batches ahead; on the way to a CUDA
      device through pinned memory, by a stream of its own.
    * On the CPU, batches of an array in memory are gathered when they are asked for.

    All give the same batches in the same order.
    """

    def __init__(
        self,
        *arrays: Any,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        rows: IntArray | None = None,
        groups: AnyArray | None = None,
        keep: bool = True,
    ) -> None:
        self.arrays = arrays
        self.device = device
        self.rows = np.arange(arrays[0].shape[0]) if rows is None else rows
        self._all_groups = groups
        self._source = _BatchSource(arrays, device, dtype, keep)

    @property
    def groups(self) -> AnyArray | None:
        """Group of every row that takes part, or None."""
        return None if self._all_groups is None else self._all_groups[self.rows]

    def of_rows(self, rows: IntArray) -> Self:
        """The same arrays, of which other rows take part; nothing is copied.

        Parameters
        ----------
        rows : int array

        Returns
        -------
        batches : WindowBatches
        """
        other = copy(self)
        other.rows = rows
        return other

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return [batch[0] for batch in self.__getitems__([index])]

    def __getitems__(self, indices: Sequence[int]) -> list[torch.Tensor]:
        """Fetch a batch.

        Parameters
        ----------
        indices : sequence of int

        Returns
        -------
        batch : list of float32 (or float16) tensors, one an array, on the device
        """
        return self._source.fetch(self.rows[np.asarray(indices)])

    def stream(self, batches: Sequence[IntArray]) -> Iterator[list[torch.Tensor]]:
        """Fetch one batch after the other.

        Parameters
        ----------
        batches : sequence of sequences of int

        Yields
        ------
        batch : list of float32 (or float16) tensors, one an array, on the device
        """
        return self._source.stream([self.rows[np.asarray(b)] for b in batches])


class _BatchSource:
    """Batches of arrays that live on the device, or are on their way to it.

    Parameters
    ----------
    arrays, device, dtype, keep
        As :class:`WindowBatches`.
    """

    def __init__(
        self,
        arrays: Sequence[Any],
        device: torch.device,
        dtype: torch.dtype,
        keep: bool,
    ) -> None:
        self.arrays = arrays
        self.device = device
        self.dtype = dtype
        self.budget = free_memory if keep else _no_memory
        # Of either class, which take back what they have sent themselves.
        self.transfer: Any = transfer_to(device)

    @cached_property
    def resident(self) -> list[torch.Tensor | None]:
        """The arrays as tensors on the device; None for those that are not."""
        budget = self.budget(self.device)
        return make_resident(self.arrays, self.dtype, budget, self._upload)

    @cached_property
    def away(self) -> list[Any]:
        """The arrays that are not on the device."""
        pairs = zip(self.arrays, self.resident)
        return [array for array, tensor in pairs if tensor is None]

    def fetch(self, rows: IntArray) -> list[torch.Tensor]:
        """A batch, without prefetching."""
        sent = self.transfer.send(self.away, rows) if self.away else None
        return self._assemble(sent, rows)

    def stream(self, batches: Sequence[IntArray]) -> Iterator[list[torch.Tensor]]:
        """Batches of rows, in order; what has to be read is prefetched."""
        at_hand = self.device.type == "cpu" and all(map(is_in_memory, self.away))
        if at_hand or not self.away:
            yield from map(self.fetch, batches)
            return

        def send(rows: IntArray) -> Any:
            return self.transfer.send(self.away, rows)

        with closing(prefetch(send, batches)) as sent_batches:
            for rows in batches:
                yield self._assemble(next(sent_batches), rows)

    def _assemble(self, sent: Any, rows: IntArray) -> list[torch.Tensor]:
        """A batch of what was sent, and of rows of what is on the device."""
        received = iter(self.transfer.receive(sent) if sent is not None else ())
        if len(self.away) == len(self.arrays):
            return list(received)
        index = self.transfer.send_index(rows)
        return [
            next(received) if tensor is None else tensor.index_select(0, index)
            for tensor in self.resident
        ]

    def _upload(self, array: Any, kept: torch.dtype) -> torch.Tensor | None:
        """An array as a tensor on the device, read in chunks."""
        chunks = chunk_rows(array.shape)

        def send(rows: IntArray) -> Any:
            return self.transfer.send([array], rows)

        with closing(prefetch(send, chunks)) as sent_chunks:
            received = (self.transfer.receive(sent)[0] for sent in sent_chunks)
            return fill_tensor(array.shape, kept, self.device, received)


def _no_memory(device: torch.device) -> int:
    """No bytes of a device may be taken."""
    return 0


class BatchIterator:
    """Batches of a :class:`WindowBatches`, in a new order each epoch.

    Parameters
    ----------
    dataset : WindowBatches

    batch_size : int

    rng : numpy.random.RandomState, default=None
        Source of the order. None keeps the order of the rows.

    min_batch : int, default=1
        A last batch with fewer windows than this is left out.

    shard : tuple of int, default=(0, 1)
        Which part of each batch is given, and of how many about equal parts: each of
        several processes, with an equal `rng`, gets its own. A batch with fewer
        windows than parts is left out.
    """

    def __init__(
        self,
        dataset: WindowBatches,
        batch_size: int,
        rng: np.random.RandomState | None = None,
        min_batch: int = 1,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.rng = rng
        self.min_batch = min_batch
        self.shard = shard

    def __len__(self) -> int:
        return len(self._in_order(np.arange(len(self.dataset))))

    @property
    def full_batch(self) -> int:
        """Windows that are given of the largest batch."""
        part, n_parts = self.shard
        largest = max(map(len, self._in_order(np.arange(len(self.dataset)))))
        return len(np.array_split(np.arange(largest), n_parts)[part])

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        n = len(self.dataset)
        if self.rng is None:
            batches = self._in_order(np.arange(n))
        else:
            batches = self._in_order(self.rng.permutation(n))
            self.rng.shuffle(batches)
        part, n_parts = self.shard
        return self.dataset.stream([np.array_split(b, n_parts)[part] for b in batches])

    def _in_order(self, order: IntArray) -> list[IntArray]:
        """Cut an order of rows into batches, each within a group."""
        runs = [order]
        if self.dataset.groups is not None:
            groups = self.dataset.groups[order]
            runs = [order[groups == group] for group in np.unique(groups)]
        batches = [
            run[start : start + self.batch_size]
            for run in runs
            for start in range(0, len(run), self.batch_size)
        ]
        smallest = max(self.min_batch, self.shard[1])
        return [batch for batch in batches if len(batch) >= smallest]
