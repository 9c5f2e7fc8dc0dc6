"""New modules of the same weights, whatever torch was told and whoever draws."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module")


def new_module(
    build: Callable[[], Module], generator: torch.Generator | None = None
) -> Module:
    """A module of float32 weights on the CPU.

    Neither torch's default type and device nor its global generators have a part in
    it: they belong to the caller, and other threads draw from them. It is made in a
    thread of its own, so that a Ctrl-C leaves none of what is set for it behind.

    Parameters
    ----------
    build : callable
        Called without arguments; makes the module.

    generator : torch.Generator, default=None
        Source of the weights; torch's global one continues from where it ends. None
        draws none, for a module that is about to be loaded.

    Returns
    -------
    module : torch.nn.Module
    """
    with ThreadPoolExecutor(1) as apart:
        module = apart.submit(_make_module, build, generator).result()
    if generator is not None:
        torch.set_rng_state(generator.get_state())
    return module


def _make_module(
    build: Callable[[], Module], generator: torch.Generator | None
) -> Module:
    """Build a module within the mode."""
    with _Making(generator):
        return build()


class _Making(TorchFunctionMode):
    """Context in which tensors are made in float32 on the CPU, and filled from here."""

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            return _make(func, args, kwargs)
        if not _is_fill(func):
            return func(*args, **kwargs)
        if self.generator is None:
            return args[0] if args else kwargs["tensor"]
        if kwargs.get("generator") is None and _takes_generator(func):
            kwargs = kwargs | {"generator": self.generator}
        return func(*args, **kwargs)


_FACTORIES = {
    torch.arange,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.tensor,
    torch.zeros,
}
_FILLS_AT_RANDOM = {"normal_", "uniform_"}


def _make(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A new tensor on the CPU, of float32 unless a type is given."""
    kwargs = kwargs | {"device": kwargs.get("device") or "cpu"}
    made = func(*args, **kwargs)
    if kwargs.get("dtype") is None and made.is_floating_point():
        return func(*args, **kwargs | {"dtype": torch.float32})
    return made


def _is_fill(func: Any) -> bool:
    """Whether a function gives a new tensor its first values."""
    by_method = getattr(func, "__name__", None) in _FILLS_AT_RANDOM
    return by_method or getattr(func, "__module__", None) == "torch.nn.init"


def _takes_generator(func: Any) -> bool:
    """Whether a function that fills a tensor can be given a generator."""
    if getattr(func, "__name__", None) in _FILLS_AT_RANDOM:
        return True
    return "generator" in inspect.signature(func).parameters
