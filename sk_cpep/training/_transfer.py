"""How batches go from the host to the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .._typing import Float32Array, IntArray
from ._rows import fetch_rows

Sent = tuple[list[torch.Tensor], torch.cuda.Event]


def transfer_to(device: torch.device) -> HostTransfer | CudaTransfer:
    """How batches get to a device: beside its computations where it is a CUDA one."""
    return CudaTransfer(device) if device.type == "cuda" else HostTransfer(device)


class HostTransfer:
    """Batches that stay on the CPU, or are copied when the network asks for them.

    Each is in memory of its own: a callback may keep one.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, arrays: Sequence[Any], rows: IntArray) -> list[torch.Tensor]:
        """Read rows of arrays; may be called in a thread of its own."""
        batches = (fetch_rows(array, rows) for array in arrays)
        return [torch.from_numpy(np.ascontiguousarray(batch)) for batch in batches]

    def receive(self, sent: list[torch.Tensor]) -> list[torch.Tensor]:
        """The batch as float32 tensors on the device, in the thread that computes."""
        return [tensor.to(self.device) for tensor in sent]

    def send_index(self, rows: IntArray) -> torch.Tensor:
        """Rows as a tensor on the device."""
        return torch.from_numpy(rows).to(self.device)

    def fetch(self, result: torch.Tensor) -> Callable[[], Float32Array]:
        """Begin to copy a result to the host; what is returned gives it as an array."""
        result = result.float().cpu()
        return result.numpy


class CudaTransfer:
    """Batches in pinned memory, copied by a stream of their own.

    The host waits for none of it. Pinned memory is PyTorch's: given up while a copy
    reads it, it is not given out again before the copy is done.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, arrays: Sequence[Any], rows: IntArray) -> Sent:
        """Read rows of arrays and begin to copy them; in a thread of its own."""
        with torch.cuda.stream(self.stream):
            tensors = [self._send_rows(array, rows) for array in arrays]
            return tensors, self.stream.record_event()

    def _send_rows(self, array: Any, rows: IntArray) -> torch.Tensor:
        pinned = empty_pinned((len(rows), *array.shape[1:]))
        fetch_rows(array, rows, out=pinned.numpy())
        return pinned.to(self.device, non_blocking=True)

    def receive(self, sent: Sent) -> list[torch.Tensor]:
        """The batch as float32 tensors, which the current stream may use from now."""
        tensors, copied = sent
        current = torch.cuda.current_stream(self.device)
        current.wait_event(copied)
        for tensor in tensors:
            tensor.record_stream(current)
        return tensors

    def send_index(self, rows: IntArray) -> torch.Tensor:
        """Rows as a tensor on the device."""
        return torch.from_numpy(rows).pin_memory().to(self.device, non_blocking=True)

    def fetch(self, result: torch.Tensor) -> Callable[[], Float32Array]:
        """Begin to copy a result to the host; what is returned gives it as an array."""
        pinned = empty_pinned(result.shape)
        pinned.copy_(result.float(), non_blocking=True)
        copied = torch.cuda.current_stream(self.device).record_event()

        def get() -> Float32Array:
            copied.synchronize()
            return pinned.numpy()

        return get


def empty_pinned(shape: Sequence[int]) -> torch.Tensor:
    """A float32 tensor on the host, from and to which a device copies by itself."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=True)
