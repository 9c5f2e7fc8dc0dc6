"""Where a network runs, in which precision, and from which seed."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolve_device(device: str | torch.device) -> torch.device:
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


def existing_device(device: str | torch.device) -> torch.device:
    """The device of something fitted elsewhere, or the CPU, with a warning."""
    try:
        return resolve_device(device)
    except ValueError as error:
        warnings.warn(f"Using the CPU: {error}", UserWarning, stacklevel=3)
        return torch.device("cpu")


def _best_device() -> str:
    """The name of the fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
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


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 there."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and has_amx()


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
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


@contextmanager
def one_fit_at_a_time() -> Iterator[None]:
    """Wait until no other thread of this process trains; may be nested.

    Threads that train at once would share torch's global generators, and take cores
    and memory of the device from each other: a worker of a search, with however many
    threads, fits one encoder after the other.
    """
    with _lock:
        yield


_lock = threading.RLock()


def _make_lock() -> None:
    """Make a new lock: in a forked child no thread would release the parent's."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)
