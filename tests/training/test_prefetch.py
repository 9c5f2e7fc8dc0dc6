import gc
import threading
import time

import numpy as np
import pytest
import torch

from sk_cpep.training import (
    BatchIterator,
    EpochHook,
    TrainingPlan,
    WindowBatches,
    _batches,
    map_batches,
    train,
)
from sk_cpep.training._prefetch import prefetch

CPU = torch.device("cpu")


class Unread:
    """Windows that hold their row number, and what was done to read them."""

    def __init__(self, n, error=None, bad_row=None):
        self.shape = (n, 1, 2)
        self.error, self.bad_row = error, bad_row
        self.requests, self.threads = [], set()

    def __getitems__(self, rows):
        self.requests.append(list(rows))
        self.threads.add(threading.current_thread())
        if self.bad_row in rows:
            raise self.error
        return np.repeat(rows, 2).reshape(-1, 1, 2).astype(np.float32)


def wait_until(condition):
    """Wait for what another thread is about to do; give up after 10 s."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


@pytest.fixture(autouse=True)
def no_thread_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_results_in_order():
    assert list(prefetch(lambda job: -job, range(9))) == [-k for k in range(9)]
    assert list(prefetch(str, [])) == []
    assert list(prefetch(str, [1, None], n_prefetched=5)) == ["1", "None"]


def test_never_twice_at_a_time():
    busy = threading.Lock()

    def function(job):
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        busy.release()
        return job

    assert list(prefetch(function, range(20), n_prefetched=4)) == list(range(20))


@pytest.mark.parametrize("n_prefetched", [1, 2, 3])
def test_so_far_ahead_and_no_further(n_prefetched):
    made = []
    results = prefetch(made.append, range(8), n_prefetched)
    assert made == []
    for taken in range(1, 8):
        next(results)
        # The threads end by themselves: none waits for a caller to come back.
        wait_until(lambda: not reading_threads())
        assert made == list(range(min(8, taken + n_prefetched)))
    results.close()


def reading_threads():
    return [t for t in threading.enumerate() if t.name == "sk_cpep prefetch"]


def test_next_results_are_made_while_one_is_used():
    began = threading.Event()

    def function(job):
        if job == 1:
            began.set()
        return job

    results = prefetch(function, range(3))
    assert next(results) == 0
    assert began.wait(timeout=10)
    assert list(results) == [1, 2]


def test_an_error_comes_in_place_of_its_result():
    def function(job):
        if job == 3:
            raise OSError(5, "Input/output error", "pack/emg-000.npy")
        return job

    results = prefetch(function, range(9))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="Input/output error.*emg-000") as caught:
        next(results)
    assert caught.value.errno == 5
    assert list(results) == []


def test_what_is_not_asked_for_any_more_is_not_made():
    made, go_on = [], threading.Event()

    def function(job):
        made.append(job)
        assert job == 0 or go_on.wait(timeout=10)

    results = prefetch(function, range(9))
    next(results)
    wait_until(lambda: made == [0, 1])
    timer = threading.Timer(0.02, go_on.set)
    timer.start()
    results.close()  # waits for 1, does not make 2
    timer.join()
    assert made == [0, 1]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_of_the_caller(error):
    windows = Unread(100)
    iterator = BatchIterator(WindowBatches(windows, device=CPU), 5)
    with pytest.raises(error):
        for batch in iterator:
            if batch[0][0, 0, 0] == 10:
                raise error
    assert not reading_threads()
    assert len(windows.requests) <= 5  # three that were used, two ahead


def test_dropped_half_way():
    windows = Unread(100)
    batches = iter(BatchIterator(WindowBatches(windows, device=CPU), 5))
    next(batches)
    del batches
    gc.collect()
    assert not reading_threads()
    for _ in BatchIterator(WindowBatches(windows, device=CPU), 5):
        break
    assert not reading_threads()


def test_only_what_is_not_in_memory_is_read_by_a_thread(tmp_path, monkeypatch):
    jobs = []

    def spy(function, batches):
        jobs.append(len(batches))
        return prefetch(function, batches)

    monkeypatch.setattr(_batches, "prefetch", spy)
    np.save(tmp_path / "windows.npy", np.arange(40.0).reshape(20, 1, 2))
    mapped = np.load(tmp_path / "windows.npy", mmap_mode="r")
    for n_jobs, *arrays in [
        ([], np.array(mapped)),
        ([], np.array(mapped)[:, :, ::2], np.zeros((20, 1))),
        ([4], mapped),
        ([4], np.asarray(mapped)[:, :, ::2]),
        ([4], np.zeros((20, 1)), Unread(20)),
    ]:
        jobs.clear()
        iterator = BatchIterator(WindowBatches(*arrays, device=CPU), 5)
        for array, *batches in zip(arrays, *iterator):
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(torch.cat(batches), array)
        assert jobs == n_jobs
    windows = Unread(20)
    map_batches(lambda x: x, windows, device=CPU, batch_size=5)
    assert (
        len(windows.threads) == 4 and threading.current_thread() not in windows.threads
    )


@pytest.mark.parametrize("seed", [None, 0])
def test_the_same_as_without_a_thread(seed):
    X = np.random.default_rng(0).normal(size=(23, 3, 4)).astype(np.float32)

    class Lazy:
        shape = X.shape

        def __getitems__(self, rows):
            return X[rows]

    def epochs(array):
        rng = None if seed is None else np.random.RandomState(seed)
        iterator = BatchIterator(WindowBatches(array, device=CPU), 4, rng)
        return [[batch[0].numpy() for batch in iterator] for _ in range(2)]

    for lazy, in_memory in zip(epochs(Lazy()), epochs(X)):
        assert len(lazy) == len(in_memory) == 6
        for a, b in zip(lazy, in_memory):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        IndexError("index 7 is out of range for 7 windows."),
        ValueError("pack: emg of a, samples 0 to 4000, is damaged"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_reading_reach_the_caller(error):
    windows = Unread(40, error, bad_row=12)
    batches = WindowBatches(windows, device=CPU)
    used = []
    with pytest.raises(type(error)) as caught:
        used += [batch[0][0, 0, 0].item() for batch in BatchIterator(batches, 5)]
    assert caught.value is error
    with pytest.raises(type(error)):
        map_batches(lambda x: x, windows, device=CPU, batch_size=5)
    assert not reading_threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_fit_that_is_stopped_leaves_no_thread(error):
    windows = Unread(100)

    class Stopped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, generator=None):
            if x[0, 0, 0] >= 15:
                raise error("stopped")
            return (self.weight * x).square().mean()

    plan = TrainingPlan(batch_size=5, max_epochs=1)
    with pytest.raises(error, match="stopped"):
        train(Stopped(), [windows], plan, rng=np.random.RandomState(0))
    assert not reading_threads()
    assert sum(map(len, windows.requests)) < 100


def test_a_thread_for_no_longer_than_an_epoch():
    """So a fork or a pickle between epochs meets none."""
    seen = []

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, generator=None):
            return (self.weight * x).square().mean()

    plan = TrainingPlan(batch_size=5, max_epochs=3, early_stopping=True)
    hook = EpochHook(
        lambda: seen.append(reading_threads()), lambda: seen.append(reading_threads())
    )
    rng = np.random.RandomState(0)
    train(Module(), [Unread(100)], plan, rng=rng, callbacks=[hook])
    assert seen == 6 * [[]]
