import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.training import BatchIterator, WindowBatches

CPU = torch.device("cpu")


class Lazy:
    """Windows out of reach as a whole; remembers what was asked for."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.requests = []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        assert isinstance(index, np.ndarray), "fetched one by one"
        self.requests.append(index)
        return self.data[index]

    def __array__(self, *args, **kwargs):
        raise AssertionError("copied whole")


class Batched(Lazy):
    def __getitem__(self, index):
        raise AssertionError("fetched one by one")

    def __getitems__(self, indices):
        return Lazy.__getitem__(self, indices)


def rows_of(batches):
    """Windows that hold their own row number tell which rows are in each batch."""
    return [batch[0][:, 0, 0].int().tolist() for batch in batches]


def numbered(n):
    return np.arange(n, dtype=np.float32).reshape(n, 1, 1)


def test_every_row_once_an_epoch():
    dataset = WindowBatches(numbered(23), device=CPU)
    iterator = BatchIterator(dataset, 5, np.random.RandomState(0))
    epochs = [rows_of(iterator) for _ in range(3)]
    for epoch in epochs:
        assert sorted(map(len, epoch)) == [3, 5, 5, 5, 5]
        assert sorted(sum(epoch, [])) == list(range(23))
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(iterator) == 5


def test_without_a_source_of_order_rows_stay_in_order():
    dataset = WindowBatches(numbered(7), device=CPU)
    assert rows_of(BatchIterator(dataset, 3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_same_seed_gives_the_same_order():
    dataset = WindowBatches(numbered(20), device=CPU)
    runs = [
        rows_of(BatchIterator(dataset, 6, np.random.RandomState(s))) for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_batches_of_one_group():
    groups = np.array(list("abbacabcab"))
    dataset = WindowBatches(numbered(10), device=CPU, groups=groups)
    iterator = BatchIterator(dataset, 3, np.random.RandomState(0))
    for _ in range(5):
        batches = rows_of(iterator)
        assert all(len(set(groups[batch])) == 1 for batch in batches)
        assert sorted(sum(batches, [])) == list(range(10))
        assert len(iterator) == len(batches) == 5  # 3 + 1 a, 3 + 1 b, 2 c


def test_batches_of_groups_come_in_random_order():
    groups = np.repeat([0, 1], 30)
    iterator = BatchIterator(
        WindowBatches(numbered(60), device=CPU, groups=groups),
        3,
        np.random.RandomState(0),
    )
    order = [groups[batch[0]] for batch in rows_of(iterator)]
    assert len(set(np.flatnonzero(np.diff(order)))) > 3


def test_min_batch():
    dataset = WindowBatches(numbered(7), device=CPU)
    iterator = BatchIterator(dataset, 3, min_batch=2)
    assert rows_of(iterator) == [[0, 1, 2], [3, 4, 5]]
    assert len(iterator) == 2
    groups = np.array([0, 0, 1, 0, 0, 2, 2])
    grouped = WindowBatches(numbered(7), device=CPU, groups=groups)
    assert rows_of(BatchIterator(grouped, 3, min_batch=2)) == [[0, 1, 3], [5, 6]]


def test_rows_that_take_part():
    rows = np.array([8, 2, 5])
    groups = np.arange(10) % 2
    dataset = WindowBatches(
        numbered(10), 10 * numbered(10), device=CPU, rows=rows, groups=groups
    )
    assert len(dataset) == 3
    assert_array_equal(dataset.groups, [0, 0, 1])
    first, second = dataset.__getitems__([2, 0])
    assert first.ravel().tolist() == [5, 8]
    assert second.ravel().tolist() == [50, 80]
    assert [x.item() for x in dataset[1]] == [2, 20]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int16, np.float32])
def test_batches_are_float32(dtype):
    X = np.arange(12).reshape(3, 2, 2).astype(dtype)
    (batch,) = WindowBatches(X, device=CPU).__getitems__([2, 1])
    assert batch.dtype == torch.float32
    assert_array_equal(batch, X[[2, 1]])


@pytest.mark.parametrize("kind", [Lazy, Batched])
def test_lazy_windows_are_fetched_by_the_batch(kind):
    lazy = kind(numbered(23))
    iterator = BatchIterator(
        WindowBatches(lazy, device=CPU), 5, np.random.RandomState(0)
    )
    batches = rows_of(iterator)
    assert sorted(sum(batches, [])) == list(range(23))
    assert len(lazy.requests) == 5
    assert max(map(len, lazy.requests)) == 5
    assert [sorted(rows) for rows in lazy.requests] == [sorted(b) for b in batches]


def test_h5py_dataset(tmp_path):
    X = numbered(23)
    with h5py.File(tmp_path / "windows.h5", "w") as file:
        dataset = file.create_dataset("X", data=X)
        batches = WindowBatches(dataset, device=CPU)
        assert_array_equal(batches.__getitems__([7, 2, 19])[0].numpy(), X[[7, 2, 19]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_lazy_batch(bad):
    X = numbered(9)
    X[[4, 5]] = bad
    iterator = BatchIterator(WindowBatches(Lazy(X), device=CPU), 3)
    with pytest.raises(ValueError, match="NaN or infinity: 2 of the 3 windows"):
        list(iterator)


def test_the_array_is_not_written_to():
    X = numbered(6)
    X.flags.writeable = False
    dataset = WindowBatches(X, device=CPU)
    (batch,) = dataset.__getitems__(np.arange(6))
    batch += 1
    assert_array_equal(X, numbered(6))


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_shards_are_the_parts_of_each_batch(n_parts):
    groups = np.random.RandomState(1).randint(3, size=41)

    def batches(shard, X):
        dataset = WindowBatches(X, device=CPU, groups=groups)
        rng = np.random.RandomState(0)
        iterator = BatchIterator(dataset, 8, rng, min_batch=3, shard=shard)
        epochs = [rows_of(iterator) for _ in range(2)]
        assert {len(epoch) for epoch in epochs} == {len(iterator)}
        return epochs

    whole = batches((0, 1), numbered(41))
    lazy = [Batched(numbered(41)) for _ in range(n_parts)]
    parts = [batches((part, n_parts), lazy[part]) for part in range(n_parts)]
    for epoch, *epoch_parts in zip(whole, *parts):
        for batch, *pieces in zip(epoch, *epoch_parts):
            assert sum(pieces, []) == batch
            assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
    n_read = [sum(map(len, array.requests)) for array in lazy]
    assert sum(n_read) == sum(len(batch) for epoch in whole for batch in epoch)


def test_a_batch_smaller_than_its_parts_is_left_out():
    dataset = WindowBatches(numbered(13), device=CPU)
    iterators = [BatchIterator(dataset, 5, shard=(part, 4)) for part in range(4)]
    assert list(map(len, iterators)) == [2, 2, 2, 2]  # of 5, 5 and 3
    assert [rows_of(iterator) for iterator in iterators] == [
        [[0, 1], [5, 6]],
        [[2], [7]],
        [[3], [8]],
        [[4], [9]],
    ]


@pytest.mark.parametrize(("rank", "expected"), [(0, 3), (1, 2)])
def test_full_batch(rank, expected):
    dataset = WindowBatches(numbered(12), device=CPU)
    assert BatchIterator(dataset, 5).full_batch == 5
    assert BatchIterator(dataset, 20).full_batch == 12
    assert BatchIterator(dataset, 5, shard=(rank, 2)).full_batch == expected
