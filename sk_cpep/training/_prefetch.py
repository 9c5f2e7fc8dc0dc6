"""Results that are made while the ones before are used."""

from collections import deque
from threading import Thread

PREFETCHED = 2


def prefetch(function, jobs, n_prefetched=PREFETCHED):
    """Yield ``function(job)`` of each job, in order, made by a thread beside the caller.

    Parameters
    ----------
    function : callable
        Is called in threads of its own, but never twice at a time.

    jobs : iterable

    n_prefetched : int, default=2
        Results that are made before they are asked for.

    Yields
    ------
    result : object

    Raises
    ------
    BaseException
        What `function` raised, in place of that result.

    Notes
    -----
    Each result has a thread, which ends with it: nothing waits for a caller that does
    not come back. A generator that is closed, dropped or left by an error waits for
    the result in the making, and makes no more.
    """
    ahead = deque()

    def begin(job):
        result = _Result(function, job, ahead[-1] if ahead else None)
        result.start()
        ahead.append(result)

    try:
        for job in jobs:
            begin(job)
            if len(ahead) > n_prefetched:
                yield _take(ahead)
        while ahead:
            yield _take(ahead)
    finally:
        for result in ahead:
            result.cancelled = True
        for result in ahead:
            result.join()


def _take(ahead):
    """The oldest result, once it is there."""
    ahead[0].join()
    return ahead.popleft().get()


class _Result(Thread):
    """A thread that calls a function once, after the result before."""

    def __init__(self, function, job, before):
        super().__init__(name="sk_cpep prefetch")
        self.function, self.job, self.before = function, job, before
        self.cancelled = False
        self.value, self.error = None, None

    def run(self):
        if self.before is not None:
            self.before.join()
        try:
            if not self.cancelled:
                self.value = self.function(self.job)
        except BaseException as error:
            self.error = error
        finally:
            self.function = self.job = self.before = None

    def get(self):
        value, error = self.value, self.error
        self.value = self.error = None
        if error is not None:
            raise error
        return value
