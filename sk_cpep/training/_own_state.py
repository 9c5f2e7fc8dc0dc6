"""What torch was told by the caller, kept out of our computations."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def own_state(device: torch.device) -> Iterator[None]:
    """Compute as a process would that was told nothing; the caller's state returns.

    Inside, gradients are there to be computed, and autocast, inference mode and the
    coarser products of float32 are off, for this thread; the products, which are
    switched for the whole process, for as long as anybody is inside.

    Parameters
    ----------
    device : torch.device
        Where it is computed.
    """
    with ExitStack() as stack:
        for kind in filter(torch.amp.is_autocast_available, {"cpu", device.type}):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(exact_products(device))
        yield


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Multiply and convolve float32 without TF32 or bfloat16 inside; then as before.

    The switches belong to the whole process. They are set while any thread is inside,
    and the last one to leave sets them back.

    Parameters
    ----------
    device : torch.device
    """
    with ExitStack() as stack:
        for switch in _switches.get(device.type, ()):
            switch.enter()
            stack.callback(switch.leave)
        yield


class Switch:
    """A precision of the whole process, ``"ieee"`` as long as anybody needs that.

    Parameters
    ----------
    owner : object
        Has `fp32_precision`: ``"ieee"``, ``"tf32"``, ``"bf16"``, or ``"none"``, which
        takes that of a more general switch.
    """

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before: str | None = None

    def enter(self) -> None:
        """Set it, unless it is set."""
        with self._lock:
            self._n_inside += 1
            found = self.owner.fp32_precision
            if found not in ("none", "ieee"):
                self._before = found
                self.owner.fp32_precision = "ieee"

    def leave(self) -> None:
        """Set it back, if nobody needs it any more and nobody has set it since."""
        with self._lock:
            self._n_inside -= 1
            if self._n_inside or self._before is None:
                return
            before, self._before = self._before, None
            if self.owner.fp32_precision == "ieee":
                self.owner.fp32_precision = "none"  # as a general switch says, if any
                if self.owner.fp32_precision != before:
                    self.owner.fp32_precision = before


class LegacyMatmul:
    """The switch of matrix products up to torch 2.8, in the terms of the later one."""

    _NAMES = {"ieee": "highest", "tf32": "high", "bf16": "medium"}

    @property
    def fp32_precision(self) -> str:
        """What it is set to."""
        value = torch.get_float32_matmul_precision()
        return next(ours for ours, name in self._NAMES.items() if name == value)

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        torch.set_float32_matmul_precision(self._NAMES.get(value, "highest"))


class LegacyCudnn:
    """The switch of cuDNN up to torch 2.8, in the terms of the later ones."""

    @property
    def fp32_precision(self) -> str:
        """What it is set to."""
        return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        torch.backends.cudnn.allow_tf32 = value == "tf32"


def _make_switches() -> dict[str, list[Switch]]:
    """The switches of each type of device."""
    backends: Any = torch.backends  # of the later switches torch declares no types
    owners: dict[str, list[Any]] = {
        "cpu": [LegacyMatmul()],
        "cuda": [LegacyMatmul(), LegacyCudnn()],
    }
    if hasattr(backends, "fp32_precision"):
        owners = {
            "cpu": [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn],
            "cuda": [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn],
        }
    return {kind: [Switch(owner) for owner in of_it] for kind, of_it in owners.items()}


_switches = _make_switches()
