"""Pickles that hold weights, not modules, and know the version they are of."""

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from .._typing import AnyArray
from .._version import __version__
from ..training import new_module

Module = TypeVar("Module", bound=torch.nn.Module)


def weights_of(module: torch.nn.Module) -> dict[str, AnyArray]:
    """A module's weights and buffers as float32 arrays in main memory."""
    return {k: v.detach().cpu().numpy() for k, v in module.state_dict().items()}


def load_weights(module: Module, weights: Mapping[str, AnyArray]) -> Module:
    """Fill a new module with weights and set it to evaluation mode."""
    module.load_state_dict(
        {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}
    )
    return module.eval()


def weights_digest(module: torch.nn.Module | dict[str, AnyArray]) -> str:
    """SHA-256 of the weights and buffers of a module, or of weights by name."""
    weights = module if isinstance(module, dict) else weights_of(module)
    total = hashlib.sha256()
    for name, value in weights.items():
        total.update(f"{name} {value.dtype.str} {value.shape}".encode())
        total.update(np.ascontiguousarray(value).data)
    return total.hexdigest()


class PickledWeightsMixin:
    """Pickle `module_` as its weights; build it anew, on the CPU, when loaded.

    The class has ``_build_module()``, which makes the module from fitted attributes
    other than `module_`.
    """

    module_: Any

    def _build_module(self) -> Any:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        if "module_" in state:
            weights = state["module_"] = weights_of(state["module_"])
            state["_weights_digest"] = weights_digest(weights)
        return state | {"_sk_cpep_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop("_sk_cpep_version", "unknown")
        weights = state.pop("module_", None)
        known = state.pop("_weights_digest", None)  # earlier versions have none
        if known is not None and weights_digest(weights) != known:
            raise ValueError(
                f"The weights of this {type(self).__name__} are not as they were "
                "pickled: its file is damaged. Bring back an intact copy."
            )
        super().__setstate__(state)  # type: ignore[misc]
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was pickled by sk_cpep {version}, and is "
                f"loaded by {__version__}: check its output, or fit it again.",
                UserWarning,
                stacklevel=2,
            )
        if weights is not None:
            module = new_module(self._build_module)
            self.module_ = load_weights(module, weights)
