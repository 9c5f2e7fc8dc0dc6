"""Windows in whole batches: never one by one, never copied as a whole."""

import numpy as np
import torch
from torch.utils.data import Dataset


class WindowBatches(Dataset):
    """Paired arrays of windows, fetched a batch at a time, as float32 on a device.

    Parameters
    ----------
    *arrays : array-likes with the same number of rows
        Arrays or anything with a `shape` that takes an array of indices, or has
        ``__getitems__(indices)`` to fetch a whole batch.

    device : torch.device
        Where the batches go.

    rows : int array, default=None
        The rows that take part. None is all.

    groups : array of shape (n,), default=None
        Group of every row. Given, a batch holds rows of one group only.
    """

    def __init__(self, *arrays, device, rows=None, groups=None):
        self.arrays = arrays
        self.device = device
        self.rows = np.arange(arrays[0].shape[0]) if rows is None else rows
        self.groups = None if groups is None else groups[self.rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return [batch[0] for batch in self.__getitems__([index])]

    def __getitems__(self, indices):
        """Fetch a batch.

        Parameters
        ----------
        indices : sequence of int

        Returns
        -------
        batch : list of float32 tensors, one an array, on the device
        """
        rows = self.rows[np.asarray(indices)]
        return [to_device(fetch_rows(a, rows), self.device) for a in self.arrays]


def fetch_rows(array, rows):
    """Rows of an array-like as a float32 array.

    Parameters
    ----------
    array : array-like of shape (n, ...)

    rows : int array of shape (B,)

    Returns
    -------
    batch : float32 ndarray of shape (B, ...)

    Raises
    ------
    ValueError
        If the rows hold NaN or infinity.
    """
    if isinstance(array, np.ndarray):
        return np.asarray(array[rows], dtype=np.float32)
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
    return batch


def to_device(batch, device):
    """A float32 array as a tensor on `device`, copied without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(batch))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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
    """

    def __init__(self, dataset, batch_size, rng=None, min_batch=1):
        self.dataset = dataset
        self.batch_size = batch_size
        self.rng = rng
        self.min_batch = min_batch

    def __len__(self):
        return len(self._in_order(np.arange(len(self.dataset))))

    def __iter__(self):
        n = len(self.dataset)
        if self.rng is None:
            batches = self._in_order(np.arange(n))
        else:
            batches = self._in_order(self.rng.permutation(n))
            self.rng.shuffle(batches)
        for indices in batches:
            yield self.dataset.__getitems__(indices)

    def _in_order(self, order):
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
        return [batch for batch in batches if len(batch) >= self.min_batch]


def map_batches(function, *arrays, device, batch_size):
    """Apply a function to windows batch by batch, without gradients.

    Parameters
    ----------
    function : callable
        From float32 tensors of shape (B, C, T) to a tensor of shape (B, ...).

    *arrays : array-likes with the same number of rows

    device : torch.device

    batch_size : int

    Returns
    -------
    result : float32 ndarray of shape (n, ...)
    """
    batches = BatchIterator(WindowBatches(*arrays, device=device), batch_size)
    with torch.inference_mode():
        return np.concatenate([_apply(function, batch) for batch in batches])


def _apply(function, batch):
    """Apply a function to a batch; a lone window goes in twice.

    Matrix products with a single row are summed in another order. So a window gives
    the same result on its own as among others.
    """
    n = len(batch[0])
    if n == 1:
        batch = [torch.cat([x, x]) for x in batch]
    return function(*batch)[:n].float().cpu().numpy()
