"""Products in float32 that keep all their bits, whatever the process was told."""

import threading
from contextlib import contextmanager

import torch


@contextmanager
def exact_products(device):
    """Multiply and convolve float32 without TF32 or bfloat16 inside; then as before.

    The switches belong to the whole process. They are set while any thread is inside,
    and the last one to leave sets them back.

    Parameters
    ----------
    device : torch.device
    """
    entered = []
    try:
        for switch in _switches.get(device.type, ()):
            switch.enter()
            entered.append(switch)
        yield
    finally:
        for switch in entered:
            switch.leave()


class Switch:
    """A precision of the whole process, ``"ieee"`` as long as anybody needs that.

    Parameters
    ----------
    owner : object
        Has `fp32_precision`: ``"ieee"``, ``"tf32"``, ``"bf16"``, or ``"none"``, which
        takes that of a more general switch.
    """

    def __init__(self, owner):
        self.owner = owner
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before = None

    def enter(self):
        """Set it, unless it is set."""
        with self._lock:
            self._n_inside += 1
            found = self.owner.fp32_precision
            if found not in ("none", "ieee"):
                self._before = found
                self.owner.fp32_precision = "ieee"

    def leave(self):
        """Set it back, if nobody needs it any more and nobody has set it since."""
        with self._lock:
            self._n_inside -= 1
            if self._n_inside or self._before is None:
                return
            if self.owner.fp32_precision == "ieee":
                self._set_back()
            self._before = None

    def _set_back(self):
        self.owner.fp32_precision = "none"  # as a general switch says, if that did
        if self.owner.fp32_precision != self._before:
            self.owner.fp32_precision = self._before


class LegacyMatmul:
    """The switch of matrix products up to torch 2.8, in the terms of the later one."""

    @property
    def fp32_precision(self):
        """What it is set to."""
        names = {"highest": "ieee", "high": "tf32", "medium": "bf16"}
        return names[torch.get_float32_matmul_precision()]

    @fp32_precision.setter
    def fp32_precision(self, value):
        names = {"ieee": "highest", "none": "highest", "tf32": "high", "bf16": "medium"}
        torch.set_float32_matmul_precision(names[value])


class LegacyCudnn:
    """The switch of cuDNN up to torch 2.8, in the terms of the later ones."""

    @property
    def fp32_precision(self):
        """What it is set to."""
        return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, value):
        torch.backends.cudnn.allow_tf32 = value == "tf32"


def _make_switches():
    """The switches of each type of device."""
    backends = torch.backends
    if hasattr(backends, "fp32_precision"):
        owners = {
            "cpu": [
                getattr(backends.mkldnn, name) for name in ("matmul", "conv", "rnn")
            ],
            "cuda": [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn],
        }
    else:
        owners = {"cpu": [LegacyMatmul()], "cuda": [LegacyMatmul(), LegacyCudnn()]}
    return {kind: [Switch(owner) for owner in of_it] for kind, of_it in owners.items()}


_switches = _make_switches()
