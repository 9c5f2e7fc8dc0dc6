"""Where a network runs, in which precision, and from which seed."""

import warnings
from contextlib import contextmanager

import torch

from ._one_at_a_time import one_fit_at_a_time


def resolve_device(device):
    """Turn a `device` parameter into a device.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` is the first GPU (CUDA, then Apple's MPS), else the CPU.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If the device does not exist on this machine.
    """
    if device == "auto":
        return torch.device(_best_device())
    try:
        torch.empty(0, device=device).tolist()  # which "meta" cannot
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here: {error}. Give a device of this "
            f"machine, or 'auto', which is {_best_device()!r} here."
        ) from error
    return torch.device(device)


def existing_device(device):
    """The same of something fitted elsewhere: the CPU, with a warning, if need be."""
    try:
        return resolve_device(device)
    except ValueError as error:
        warnings.warn(f"Using the CPU: {error}", UserWarning, stacklevel=3)
        return torch.device("cpu")


def _best_device():
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_precision(precision, device):
    """Turn a `precision` parameter into the type of the matrix products.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16"}
        ``"auto"`` is bfloat16 where `device` has units for it (CUDA from Ampere
        on; CPUs with AMX), else float32.

    device : torch.device

    Returns
    -------
    dtype : torch.dtype
    """
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16_units(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def has_bfloat16_units(device):
    """Whether matrix products in bfloat16 are faster than in float32 there."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and has_amx()


@contextmanager
def autocast(dtype, device):
    """Context in which matrix products run in `dtype`; float32 changes nothing.

    Weights are converted once inside, and anew the next time: PyTorch by itself keeps
    what it converted for as long as it is within another such context.
    """
    if dtype == torch.float32:
        yield
        return
    try:
        with torch.autocast(device.type, dtype=dtype):
            yield
    finally:
        torch.clear_autocast_cache()


@contextmanager
def seeded(seed):
    """Seed torch's global generators inside, and leave them as they were.

    As they belong to the whole process, one thread at a time is inside.

    Yields
    ------
    generator : torch.Generator
        Another one on the CPU, of the same seed, from which nobody else draws.
    """
    devices = range(torch.cuda.device_count())
    with one_fit_at_a_time(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator("cpu").manual_seed(seed)
