"""Threads that compute on one core each."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

_pools = {}
_lock = threading.Lock()


def on_one_core_each(function, items):
    """Apply a function to items, as many at a time as torch has threads here.

    A product that several threads share is added up in another order, depending on
    its size; one that one thread computes is not. The function runs in threads that
    know nothing of the caller's autocast, gradients and default device.

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


def _pool(n_threads):
    with _lock:
        if n_threads not in _pools:
            _pools[n_threads] = _make_pool(n_threads)
        return _pools[n_threads]


def _make_pool(n_threads):
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sk_cpep")
    all_there, defaults = threading.Barrier(n_threads), []

    def begin(_):
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


def _forget():
    # A forked child has none of its parent's threads, and may have its lock held.
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
