"""One fit at a time in a process."""

import os
import threading
from contextlib import contextmanager


@contextmanager
def one_fit_at_a_time():
    """Wait until no other thread of this process trains; may be nested.

    Threads that train at once would share torch's global generators, and take cores
    and memory of the device from each other: a worker of a search, with however many
    threads, fits one encoder after the other.
    """
    with _lock:
        yield


def _make_lock():
    # A forked child has none of the threads that may hold its parent's lock.
    global _lock
    _lock = threading.RLock()


_make_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)
