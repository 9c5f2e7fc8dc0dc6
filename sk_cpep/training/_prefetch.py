"""Results that are made while the ones before are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from threading import Thread
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

PREFETCHED = 2


def prefetch(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    n_prefetched: int = PREFETCHED,
) -> Generator[Result, None, None]:
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
    ahead: deque[_Result[Job, Result]] = deque()

    def begin(job: Job) -> None:
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


def _take(ahead: deque[_Result[Job, Result]]) -> Result:
    """The oldest result, once it is there."""
    ahead[0].join()
    return ahead.popleft().get()


class _Result(Thread, Generic[Job, Result]):
    """A thread that calls a function once, after the result before."""

    def __init__(
        self,
        function: Callable[[Job], Result],
        job: Job,
        before: _Result[Job, Result] | None,
    ) -> None:
        super().__init__(name="sk_cpep prefetch")
        self.work: tuple[Callable[[Job], Result], Job] | None = function, job
        self.before = before
        self.cancelled = False
        self.values: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Wait for the result before, then make this one."""
        if self.before is not None:
            self.before.join()
        work, self.work, self.before = self.work, None, None
        try:
            if not self.cancelled and work is not None:
                function, job = work
                self.values.append(function(job))
        except BaseException as error:
            self.error = error

    def get(self) -> Result:
        """The result, which is given up here."""
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.values.pop()
