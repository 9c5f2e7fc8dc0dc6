import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.training import BatchIterator, WindowBatches, _batches, map_batches
from sk_cpep.training import _residence as residence

CPU = torch.device("cpu")
GIB = 2**30


class OnDisk:
    """Windows that are read by the batch; counts the rows that were."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.n_read = 0

    def __getitems__(self, rows):
        self.n_read += len(rows)
        return self.data[rows]


class Shape:
    def __init__(self, *shape):
        self.shape = shape


def place(sizes, budget, dtype=torch.float32, halves_do=True, rest=(1, 1)):
    """What is put on the device of arrays of so many values, and as what."""
    tried = []

    def upload(array, kept):
        tried.append((array.shape[0], kept))
        return kept if kept != torch.float16 or halves_do else None

    arrays = [Shape(size, *rest) for size in sizes]
    return residence.make_resident(arrays, dtype, budget, upload), tried


f16, f32, bf16 = torch.float16, torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("sizes", "budget", "dtype", "expected"),
    [
        ([10, 20], 120, f32, [f32, f32]),
        ([10, 20], 119, f32, [None, f32]),
        ([20, 10], 79, f32, [None, f32]),
        ([10, 20], 39, f32, [None, None]),
        ([10, 20], 0, bf16, [None, None]),
        ([10, 20], 60, bf16, [f16, f16]),
        ([10, 20, 5], 50, bf16, [None, f16, f16]),
    ],
)
def test_what_fits_is_resident_the_largest_first(sizes, budget, dtype, expected):
    assert place(sizes, budget, dtype)[0] == expected


def test_float32_where_halves_do_not():
    assert place([10], 40, bf16, halves_do=False) == ([f32], [(10, f16), (10, f32)])
    assert place([10], 39, bf16, halves_do=False) == ([None], [(10, f16)])
    assert place([10], 40, f32, halves_do=False) == ([f32], [(10, f32)])


def test_embeddings_are_never_halves():
    assert place([10], 40, bf16, rest=(1,)) == ([f32], [(10, f32)])
    assert place([10], 39, bf16, rest=(1,)) == ([None], [])


def test_what_is_spared():
    assert residence.spare_bytes(80 * GIB, 80 * GIB) == 60 * GIB
    assert residence.spare_bytes(30 * GIB, 80 * GIB) == 10 * GIB
    assert residence.spare_bytes(7 * GIB, 8 * GIB) == 3 * GIB
    assert residence.spare_bytes(2 * GIB, 8 * GIB) == 0
    assert residence.free_memory(CPU) == 0
    assert residence.free_memory(torch.device("mps")) == 0


def suffices(x):
    return residence.float16_suffices(torch.from_numpy(np.asarray(x, np.float32)))


def test_float16_keeps_what_bfloat16_computes_with():
    """Its rounding is finer, by about three bits, but for one value in a thousand."""
    rng = np.random.default_rng(0)
    for scale in (0.05, 1.0, 100.0, 1e4):
        x = (scale * rng.normal(size=100_000)).clip(-65000, 65000).astype(np.float32)
        assert suffices(x)
        half = np.abs(x.astype(np.float16).astype(np.float64) - x)
        brain = np.abs(torch.from_numpy(x).bfloat16().double().numpy() - x)
        assert np.sqrt((half**2).mean()) < np.sqrt((brain**2).mean()) / 7
        coarser = half > np.abs(x) * 2.0**-9
        assert coarser.mean() <= 1e-3


@pytest.mark.parametrize("scale", [1e-4, 1e-5, 1e-8])
def test_float16_is_too_coarse_for_small_values(scale):
    """Volts, for example; also in one channel of sixteen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4000))
    assert suffices(x)
    assert not suffices(scale * x)
    x[3] *= scale
    assert not suffices(x)
    x[3] = 0
    assert suffices(x)


def test_float16_is_too_short_for_large_values():
    x = np.ones(1000)
    x[7] = 65504
    assert suffices(x)
    x[7] = -65520  # rounds to infinity
    assert not suffices(x)


def test_chunks_of_rows():
    chunks = residence.chunk_rows((10, 3, 4), n_bytes=4 * 3 * 12)
    assert [chunk.tolist() for chunk in chunks] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [9],
    ]
    assert [len(chunk) for chunk in residence.chunk_rows((2, 9), n_bytes=1)] == [1, 1]
    assert [len(chunk) for chunk in residence.chunk_rows((5,))] == [5]


def test_no_memory_after_all(monkeypatch):
    def refuse(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(residence.torch, "empty", refuse)
    assert residence.fill_tensor((3, 2), f32, CPU, iter([torch.ones(3, 2)])) is None


@pytest.fixture
def roomy(monkeypatch):
    """The CPU stands in for a device with so many bytes to spare."""

    def make(n_bytes):
        monkeypatch.setattr(_batches, "free_memory", lambda device: n_bytes)
        monkeypatch.setattr(_batches, "chunk_rows", lambda shape: chunks(shape[0]))

    def chunks(n):
        return [np.arange(k, min(k + 7, n)) for k in range(0, n, 7)]

    return make


def data(n=30):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2, 3)).astype(np.float32), rng.normal(size=(n, 4))


def epoch(*arrays, seed=0, **options):
    windows = WindowBatches(*arrays, device=CPU, **options)
    return list(BatchIterator(windows, 8, np.random.RandomState(seed)))


@pytest.mark.parametrize("n_bytes", [0, 600, 30 * 6 * 4, 10**6])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_same_batches_wherever_windows_are(roomy, n_bytes, lazy):
    X, P = data()
    expected = epoch(X, P)
    roomy(n_bytes)
    batches = epoch(OnDisk(X) if lazy else X, P)
    assert len(batches) == len(expected) == 4
    for batch, other in zip(batches, expected):
        for x, y in zip(batch, other):
            assert x.dtype == torch.float32
            assert_array_equal(x, y)


def test_halves_on_the_device(roomy):
    X, P = data()
    P[3, 2] = 1e6
    roomy(10**6)
    for (x, p), (x32, p32) in zip(epoch(X, P, dtype=bf16), epoch(X, P)):
        assert x.dtype == torch.float16 and p.dtype == torch.float32
        assert_array_equal(x, x32.numpy().astype(np.float16))
        assert_array_equal(p, p32)
    roomy(0)
    assert {x.dtype for batch in epoch(X, P, dtype=bf16) for x in batch} == {f32}


def test_uploaded_once_for_training_and_validation(roomy):
    X = OnDisk(data()[0])
    roomy(10**6)
    windows = WindowBatches(X, device=CPU)
    train, valid = windows.of_rows(np.arange(20)), windows.of_rows(np.arange(20, 30))
    assert X.n_read == 0
    for _ in range(3):
        rows = [torch.cat([b[0] for b in BatchIterator(w, 8)]) for w in (train, valid)]
        assert_array_equal(torch.cat(rows), X.data)
    assert_array_equal(valid.__getitems__([1, 0])[0], X.data[[21, 20]])
    assert X.n_read == 30


def test_halves_that_do_not_are_found_before_all_is_read(roomy):
    X = OnDisk(1e-6 * data()[0])
    roomy(30 * 6 * 4 - 1)
    windows = WindowBatches(X, device=CPU, dtype=bf16)
    assert_array_equal(windows.__getitems__([4])[0], X.data[[4]])
    assert X.n_read <= 3 * 7 + 1


def test_of_rows_keeps_groups():
    groups = np.arange(10) // 5
    windows = WindowBatches(np.zeros((10, 1)), device=CPU, groups=groups)
    part = windows.of_rows(np.array([1, 7, 8]))
    assert len(part) == 3 and len(windows) == 10
    assert part.groups.tolist() == [0, 1, 1]
    assert windows.groups.tolist() == groups.tolist()


def test_nan_is_found_on_the_way_to_the_device(roomy):
    X = data()[0]
    X[[8, 12], 0, 1] = np.nan
    roomy(10**6)
    threads = threading.active_count()
    with pytest.raises(ValueError, match="NaN or infinity: 2 of the 7 windows"):
        epoch(OnDisk(X))
    assert threading.active_count() == threads


def test_what_is_read_once_is_not_kept(roomy):
    X = OnDisk(data()[0])
    roomy(10**6)
    result = map_batches(lambda x: x.sum(dim=2), X, device=CPU, batch_size=8)
    np.testing.assert_allclose(result, X.data.astype(np.float64).sum(axis=2), atol=1e-6)
    assert X.n_read == 30


def test_no_windows():
    with pytest.raises(ValueError, match="0 windows were given"):
        map_batches(torch.sum, np.zeros((0, 1, 2)), device=CPU, batch_size=4)
