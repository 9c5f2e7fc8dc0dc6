"""What a step has to compute, and what its operators move."""

from collections import Counter

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

MATRIX_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "linear"}
MOVES_NOTHING = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "_unsafe_view",
}


def count_flops(loss, batch):
    """Floating-point operations of the matrix products of a window.

    Parameters
    ----------
    loss : callable
        Of the batch; forward and backward passes are counted.

    batch : list of tensors of shape (B, ...)

    Returns
    -------
    flops : float
        A multiplication and an addition are two.
    """
    # The counter knows plain products, not every fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss(*batch).backward()
    return counter.get_total_flops() / len(batch[0])


class Traffic(TorchDispatchMode):
    """Count the bytes that operators other than matrix products read and write.

    Every operator reads what it is given and writes what it gives, once; a view
    moves nothing.

    Attributes
    ----------
    n_bytes : Counter
        Of each operator, by name.
    """

    def __init__(self):
        super().__init__()
        self.n_bytes = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if name not in MATRIX_PRODUCTS | MOVES_NOTHING and not is_view(function):
            self.n_bytes[name] += sum(map(size_of, tree_leaves((args, kwargs, out))))
        return out


def is_view(function):
    """Whether an operator gives its input seen otherwise."""
    aliases = [r.alias_info for r in function._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def size_of(x):
    """Bytes of a tensor in memory; 0 for what is none."""
    if not isinstance(x, torch.Tensor):
        return 0
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


def count_traffic(step):
    """Bytes that a step moves outside its matrix products, by operator."""
    with Traffic() as traffic:
        step()
    return traffic.n_bytes
