"""A function of windows, computed batch by batch, without gradients."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from .._typing import AnyArray, Float32Array, LazyWindows
from ._batches import BatchIterator, WindowBatches
from ._own_state import own_state
from ._step import Batch
from ._transfer import transfer_to

Item = TypeVar("Item")
Result = TypeVar("Result")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def map_batches(
    function: Callable[..., Tensor],
    *arrays: AnyArray | LazyWindows,
    device: torch.device,
    batch_size: int,
    module: nn.Module | None = None,
    fewest: int = 2,
    most: int = 64,
) -> Float32Array:
    """Apply a function to windows batch by batch, without gradients.

    On a CPU, parts of a batch are computed on a core each: sums that several threads
    share depend in their last bits on how many windows there are. With ``most=1`` a
    window's result is the same to the bit whatever is computed beside; with more, as
    long as the library of matrix products adds up a row the same way in all sizes.
    (The number of torch's threads and the batch size on a GPU may change last bits.)

    Parameters
    ----------
    function : callable
        From float32 tensors of shape (B, C, T) to a tensor of shape (B, ...).

    *arrays : array-likes with the same number of rows
        What is not in memory is prefetched.

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
    apply: Callable[[Batch], Tensor] = partial(_apply, function, fewest)
    if device.type == "cpu":
        apply = partial(_apply_in_blocks, apply, fewest, most)
    with own_state(device):
        if module is not None:
            module.to(device).eval()
        batches = BatchIterator(windows, batch_size)
        copies = (transfer.fetch(apply(batch)) for batch in batches)
        return _check_finite(_collect(copies, len(windows)))


def _apply_in_blocks(
    apply: Callable[[Batch], Tensor], fewest: int, most: int, batch: Batch
) -> Tensor:
    """Apply a function to parts of a batch, each on a core of its own."""
    n = len(batch[0])
    size = min(max(-(-n // torch.get_num_threads()), fewest), most)
    blocks = [[x[i : i + size] for x in batch] for i in range(0, n, size)]
    return torch.cat(on_one_core_each(apply, blocks))


@torch.inference_mode()
def _apply(function: Callable[..., Tensor], fewest: int, batch: Batch) -> Tensor:
    """Apply a function to a batch; where windows are few, they go in repeatedly."""
    n = len(batch[0])
    if n < fewest:
        batch = [torch.cat([x] * -(-fewest // n)) for x in batch]
    return function(*batch)[:n]


def _check_finite(result: Float32Array) -> Float32Array:
    """The result, unless it holds NaN or infinity."""
    if not np.isfinite(result).all():
        bad = ~np.isfinite(result).all(axis=tuple(range(1, result.ndim)))
        raise ValueError(
            f"The network gave NaN or infinity for {np.count_nonzero(bad)} of "
            f"{len(result)} windows, the first of them window {bad.argmax()}. Training "
            "diverged (scale its input to unit variance, or lower lr), or values there "
            "are far larger than those it was fitted to."
        )
    return result


def _collect(copies: Iterator[Callable[[], Float32Array]], n: int) -> Float32Array:
    """Put results together, each when the next one is on its way to the host."""
    whole, start = np.empty(0, np.float32), 0
    for get in _one_behind(copies):
        result = get()
        if not start:
            whole = np.empty((n, *result.shape[1:]), np.float32)
        whole[start : start + len(result)] = result
        start += len(result)
    return whole


def _one_behind(items: Iterator[Item]) -> Iterator[Item]:
    """Items, each of them when the next one has been made."""
    before = next(items)
    for item in items:
        yield before
        before = item
    yield before


def on_one_core_each(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """Apply a function to items, as many at a time as torch has threads here.

    A product that several threads share is added up in another order, depending on
    its size; one that one thread computes is not. The caller's autocast, gradient mode
    and default device do not hold in the threads.

    Parameters
    ----------
    function : callable

    items : list

    Returns
    -------
    results : list
        In the order of the items.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return [function(item) for item in items]
    futures = [_pool(n_threads).submit(function, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _pool(n_threads: int) -> ThreadPoolExecutor:
    """The threads that compute, made once."""
    with _lock:
        if n_threads not in _pools:
            _pools[n_threads] = _make_pool(n_threads)
        return _pools[n_threads]


def _make_pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that torch gives one core each, all of them begun."""
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sk_cpep")
    all_there = threading.Barrier(n_threads)
    defaults: list[int] = []

    def begin(_: int) -> None:
        defaults.append(torch.get_num_threads())
        torch.set_num_threads(1)
        all_there.wait()

    list(pool.map(begin, range(n_threads)))
    # It is set for the thread that asks, and for those that have still to begin: the
    # latter is taken back.
    last = threading.Thread(target=torch.set_num_threads, args=(max(defaults),))
    last.start()
    last.join()
    return pool


def _forget_threads() -> None:
    """Begin without threads: a forked child has none, and may have the lock held."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
