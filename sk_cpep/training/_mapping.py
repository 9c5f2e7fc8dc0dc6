"""A function of windows, computed batch by batch, without gradients."""

from functools import partial

import numpy as np
import torch

from ._batches import BatchIterator, WindowBatches
from ._one_core import on_one_core_each
from ._own_state import own_state
from ._transfer import transfer_to


def map_batches(function, *arrays, device, batch_size, module=None, fewest=2, most=64):
    """Apply a function to windows batch by batch, without gradients.

    On a CPU, parts of a batch are computed on a core each: sums that several threads
    share depend in their last bits on how many windows there are. With ``most=1`` a
    window's result is the same to the bit whatever is computed beside; with more, as
    long as the library of matrix products adds up a row alike in products of all sizes.
    (The number of torch's threads and the batch size on a GPU may change last bits.)

    Parameters
    ----------
    function : callable
        From float32 tensors of shape (B, C, T) to a tensor of shape (B, ...).

    *arrays : array-likes with the same number of rows
        What is not in memory is read ahead.

    device : torch.device

    batch_size : int
        Windows that are fetched at once.

    module : torch.nn.Module, default=None
        What the function computes with: put on the device, in evaluation mode.

    fewest, most : int, default=2 and 64
        Windows that the function gets on a CPU: at the least, some of them repeatedly
        if need be, as products of few rows and convolutions of one window are
        summed in another order; and at the most, on each core.

    Returns
    -------
    result : float32 ndarray of shape (n, ...)

    Raises
    ------
    ValueError
        If there is no window, or a result is not finite.
    """
    windows = WindowBatches(*arrays, device=device, keep=False)
    if not len(windows):
        raise ValueError("0 windows were given: give at least one.")
    transfer = transfer_to(device)
    apply = partial(_apply, function, fewest)
    if device.type == "cpu":
        apply = partial(_apply_in_blocks, apply, fewest, most)
    with own_state(device):
        if module is not None:
            module.to(device).eval()
        batches = BatchIterator(windows, batch_size)
        copies = (transfer.fetch(apply(batch)) for batch in batches)
        return _check_finite(_collect(copies, len(windows)))


def _apply_in_blocks(apply, fewest, most, batch):
    """Apply a function to parts of a batch, each on a core of its own."""
    n = len(batch[0])
    size = min(max(-(-n // torch.get_num_threads()), fewest), most)
    blocks = [[x[i : i + size] for x in batch] for i in range(0, n, size)]
    return torch.cat(on_one_core_each(apply, blocks))


@torch.inference_mode()
def _apply(function, fewest, batch):
    """Apply a function to a batch; where windows are few, they go in repeatedly."""
    n = len(batch[0])
    if n < fewest:
        batch = [torch.cat([x] * -(-fewest // n)) for x in batch]
    return function(*batch)[:n]


def _check_finite(result):
    if not np.isfinite(result).all():
        bad = ~np.isfinite(result).all(axis=tuple(range(1, result.ndim)))
        raise ValueError(
            f"The network gave NaN or infinity for {np.count_nonzero(bad)} of "
            f"{len(result)} windows, the first of them window {bad.argmax()}. Training "
            "diverged (scale its input to unit variance, or lower lr), or values there "
            "are far larger than those it was fitted to."
        )
    return result


def _collect(copies, n):
    """Put results together, each when the next one is on its way to the host."""
    whole, start = None, 0
    for get in _one_behind(copies):
        result = get()
        if whole is None:
            whole = np.empty((n, *result.shape[1:]), np.float32)
        whole[start : start + len(result)] = result
        start += len(result)
    return whole


def _one_behind(items):
    before = None
    for item in items:
        if before is not None:
            yield before
        before = item
    if before is not None:
        yield before
