"""Which windows live on the device while a network trains, and as what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from .._typing import IntArray

RESERVE_BYTES = 2**32
RESERVE_SHARE = 0.25
CHUNK_BYTES = 2**26

_FLOAT16_MAX = torch.finfo(torch.float16).max
_FLOAT16_EXACT = 2.0**-16  # from here on no coarser than bfloat16: 2**-25 / 2**-9
_MAX_COARSE = 1e-3


def make_resident(
    arrays: Sequence[Any],
    dtype: torch.dtype,
    budget: int,
    upload: Callable[[Any, torch.dtype], torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """Put what fits on the device, the largest first.

    Parameters
    ----------
    arrays : sequence of array-likes
        With a `shape`.

    dtype : torch.dtype
        What a network computes in. With bfloat16, windows are kept as float16 where
        :func:`float16_suffices`; else, and with float32, as float32.

    budget : int
        Bytes that they may take.

    upload : callable
        ``upload(array, kept)`` is the array as a tensor of type `kept` on the device;
        None if that does not do, or there is no memory for it.

    Returns
    -------
    resident : list of tensor or None, one an array
        None is an array that stays where it is.
    """
    resident: list[torch.Tensor | None] = [None] * len(arrays)
    sizes = [math.prod(array.shape) for array in arrays]
    for number in np.argsort(sizes, kind="stable")[::-1].tolist():
        for kept in kinds(arrays[number], dtype):
            n_bytes = sizes[number] * kept.itemsize
            if resident[number] is None and n_bytes <= budget:
                resident[number] = upload(arrays[number], kept)
                budget -= 0 if resident[number] is None else n_bytes
    return resident


def kinds(array: Any, dtype: torch.dtype) -> tuple[torch.dtype, ...]:
    """Types that an array may be kept as; embeddings, (n, D), are never rounded."""
    if dtype == torch.bfloat16 and len(array.shape) == 3:
        return torch.float16, torch.float32
    return (torch.float32,)


def float16_suffices(x: torch.Tensor) -> bool:
    """Whether float16 keeps values at least as well as bfloat16 computes with them.

    Float16 has three bits of mantissa more than bfloat16, but fewer exponents: it
    ends at 65504, and below ``2**-16`` it is the coarser of the two.

    Parameters
    ----------
    x : float32 tensor

    Returns
    -------
    suffices : bool
        No value is too large, and at most one in a thousand is too small. Zeros are
        none of them.
    """
    size = x.abs()
    coarse = (size < _FLOAT16_EXACT) & (size > 0)
    fits = (size.amax() <= _FLOAT16_MAX) & (coarse.float().mean() <= _MAX_COARSE)
    return bool(fits)


def free_memory(device: torch.device) -> int:
    """Bytes of a device that windows may take.

    That is what is free of a CUDA device, less a reserve for the network and its
    steps: a quarter of its memory, and no less than 4 GiB. Windows never move to
    other devices as a whole; on most of these they would lie in the same memory twice.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    n_bytes : int
    """
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return spare_bytes(free + unused, total)


def spare_bytes(free: int, total: int) -> int:
    """What a reserve leaves of `free` bytes, of `total` that the device has."""
    return max(0, free - max(RESERVE_BYTES, int(RESERVE_SHARE * total)))


def fill_tensor(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    chunks: Iterable[torch.Tensor],
) -> torch.Tensor | None:
    """Make a tensor of chunks that come one after the other.

    Parameters
    ----------
    shape : tuple of int

    dtype : torch.dtype

    device : torch.device

    chunks : iterable of float32 tensors of shape (n, *shape[1:])
        Together of shape `shape`, on the device.

    Returns
    -------
    tensor : tensor of shape `shape`, or None
        None if there is no memory for it, or a chunk cannot be kept as `dtype`.
    """
    try:
        tensor = torch.empty(shape, dtype=dtype, device=device)
    except torch.OutOfMemoryError:
        return None
    start = 0
    for chunk in chunks:
        if dtype == torch.float16 and not float16_suffices(chunk):
            return None
        tensor[start : start + len(chunk)] = chunk
        start += len(chunk)
    return tensor


def chunk_rows(shape: tuple[int, ...], n_bytes: int = CHUNK_BYTES) -> list[IntArray]:
    """Rows of a float32 array of that shape, in chunks of about `n_bytes`."""
    n = max(1, n_bytes // (4 * max(1, math.prod(shape[1:]))))
    rows = np.arange(shape[0])
    return [rows[start : start + n] for start in range(0, shape[0], n)]
