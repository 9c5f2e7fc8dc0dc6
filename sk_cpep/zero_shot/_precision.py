"""Products in float32 that keep all their bits, whatever the process was told."""

from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device):
    """Multiply float32 without TF32, bfloat16 or autocast inside; then as before.

    Parameters
    ----------
    device : torch.device
    """
    with torch.autocast(device.type, enabled=False), _without_tf32(device):
        yield


def _without_tf32(device):
    if not hasattr(torch.backends, "fp32_precision"):  # up to torch 2.8
        return _highest_precision()
    owner = {"cuda": torch.backends.cuda, "cpu": torch.backends.mkldnn}
    return _ieee(getattr(owner.get(device.type), "matmul", None))


@contextmanager
def _highest_precision():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _ieee(matmul):
    before = getattr(matmul, "fp32_precision", "none")
    if before in ("none", "ieee"):
        yield
        return
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = "none"  # as a general setting says, if that did
        if matmul.fp32_precision != before:
            matmul.fp32_precision = before
