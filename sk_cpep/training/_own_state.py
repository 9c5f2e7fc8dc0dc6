"""What torch was told by the caller, kept out of our computations."""

from contextlib import ExitStack, contextmanager

import torch

from ._exact_products import exact_products


@contextmanager
def own_state(device):
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
