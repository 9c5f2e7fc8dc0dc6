"""The way to a CUDA device, watched on stand-ins for streams."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.training import BatchIterator, WindowBatches, _batches, map_batches
from sk_cpep.training import _transfer as transfer
from sk_cpep.training._rows import fetch_rows

CPU = torch.device("cpu")


class OnDisk:
    def __init__(self, data):
        self.data = data
        self.shape = data.shape

    def __getitems__(self, rows):
        return self.data[rows]


def data(n=50):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3, 5)).astype(np.float32), rng.normal(size=(n, 2, 4))


class FakeStream:
    """A stream whose work is noted."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def record_event(self):
        event = FakeEvent(sum(kind == "event" for kind, *_ in self.log), self.log)
        self.log.append(("event", self.name, event.number, thread()))
        return event

    def wait_event(self, event):
        self.log.append(("wait", self.name, event.number, thread()))


class FakeEvent:
    def __init__(self, number, log):
        self.number, self.log = number, log

    def synchronize(self):
        self.log.append(("synchronize", self.number))


def thread():
    return "main" if threading.current_thread() is MAIN else "reader"


MAIN = threading.main_thread()


@pytest.fixture
def log(monkeypatch):
    """What happens on streams, with the CPU in place of a CUDA device."""
    log = []
    local = threading.local()
    main = FakeStream("compute", log)

    @contextmanager
    def on_stream(stream):
        local.stream = stream
        yield
        local.stream = main

    def current_stream(device=None):
        return getattr(local, "stream", main)

    def pinned(shape):
        return torch.empty(shape)

    def copy(tensor, device, non_blocking):
        log.append(("copy", current_stream().name, tuple(tensor.shape), thread()))
        assert non_blocking
        return tensor.clone()

    def record_stream(tensor, stream):
        log.append(("used by", stream.name, tuple(tensor.shape)))

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream("copy", log))
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", copy)
    monkeypatch.setattr(transfer, "empty_pinned", pinned)
    monkeypatch.setattr(_batches, "transfer_to", transfer.CudaTransfer)
    return log


@pytest.mark.parametrize("lazy", [False, True])
def test_copies_beside_the_network(log, lazy):
    X, P = data(20)
    arrays = (OnDisk(X), P) if lazy else (X, P)
    # Not of type "cpu": there, arrays in memory are not read ahead.
    windows = WindowBatches(*arrays, device=torch.device("meta"))
    for start, batch in zip((0, 8, 16), BatchIterator(windows, 8)):
        stop = min(start + 8, 20)
        assert_array_equal(batch[0], X[start:stop])
        assert_array_equal(batch[1], P[start:stop].astype(np.float32))
        log.append(("step",))
    copies = [entry for entry in log if entry[0] == "copy"]
    assert {entry[1] for entry in copies} == {"copy"}
    assert {entry[3] for entry in copies} == {"reader"}
    reader = [entry for entry in log if entry[-1] == "reader"]
    for number, n in enumerate((8, 8, 4)):
        last = reader.index(("event", "copy", number, "reader"))
        shapes = {entry[2] for entry in reader[last - 2 : last]}
        assert shapes == {(n, 3, 5), (n, 2, 4)}
        copied = log.index(("event", "copy", number, "reader"))
        waited = log.index(("wait", "compute", number, "main"))
        steps = [k for k, entry in enumerate(log) if entry == ("step",)]
        assert copied < waited < steps[number]
        in_use = [k for k, e in enumerate(log) if e[:2] == ("used by", "compute")]
        assert waited < in_use[2 * number] < in_use[2 * number + 1] < steps[number]
    assert len([entry for entry in log if entry[0] == "synchronize"]) == 0


def test_rows_of_what_is_on_the_device(log, monkeypatch):
    X, P = data(20)
    monkeypatch.setattr(_batches, "free_memory", lambda device: 4 * 20 * 15)
    windows = WindowBatches(X, P, device=CPU)
    assert windows.__getitems__([4])[0].shape == (1, 3, 5)  # now X is on the device
    log.clear()
    rows = np.random.RandomState(0).permutation(20)
    for start, (x, p) in zip((0, 8, 16), BatchIterator(windows.of_rows(rows), 8)):
        assert_array_equal(x, X[rows[start : start + 8]])
        assert_array_equal(p, P[rows[start : start + 8]].astype(np.float32))
    shapes = [entry[2] for entry in log if entry[0] == "copy"]
    assert sorted(shapes) == [(4,), (4, 2, 4), (8,), (8,), (8, 2, 4), (8, 2, 4)]
    assert "synchronize" not in {entry[0] for entry in log}


def test_results_are_fetched_when_the_next_are_on_their_way(log):
    X, _ = data(20)

    def double(x):
        log.append(("network", len(x)))
        return 2 * x

    result = map_batches(double, X, device=torch.device("meta"), batch_size=8)
    assert_array_equal(result, 2 * X)
    work = [e for e in log if e[0] in ("network", "synchronize")]
    assert [kind for kind, _ in work] == [
        "network",
        "network",
        "synchronize",
        "network",
        "synchronize",
        "synchronize",
    ]


def test_rows_into_given_memory():
    X, P = data(9)
    rows = np.array([7, 0, 3])
    for array in (X, P, X[:, ::2], np.asfortranarray(X), OnDisk(X)):
        out = np.full((3, *array.shape[1:]), np.nan, np.float32)
        assert fetch_rows(array, rows, out) is out
        assert_array_equal(out, fetch_rows(array, rows))
