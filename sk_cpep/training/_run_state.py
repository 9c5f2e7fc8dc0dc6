"""All that the next epochs of a run depend on, taken from a net and given to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from skorch.callbacks import LRScheduler

if TYPE_CHECKING:
    from ._net import LossNet

State: TypeAlias = dict[str, Any]

_PLAIN = (bool, int, float, str, type(None))


def run_state(net: LossNet) -> State:
    """What the next epochs depend on.

    Parameters
    ----------
    net : LossNet
        Between two epochs. What is read of it: `module_`, `optimizer_`, `callbacks_`,
        `history`, `generator_`, `order_rng` and `seed`.

    Returns
    -------
    state : dict
        Nested; of tensors and plain values, as PyTorch's safe reader takes them.
        Callbacks that have ``state_dict`` and ``load_state_dict`` are part of it.
    """
    return {
        "module": dict(net.module_.state_dict()),
        "optimizer": {
            "state": net.optimizer_.state_dict()["state"],
            "rates": rates_of(net.optimizer_),
        },
        "schedules": {
            name: plain(schedule.state_dict(), name, keep_tensors=False)
            for name, schedule in schedules_of(net).items()
        },
        "callbacks": {
            name: plain(callback.state_dict(), name)
            for name, callback in stateful_callbacks(net).items()
        },
        "random": random_of(net),
        "history": [plain_record(epoch) for epoch in net.history],
    }


def begin_from(net: LossNet, state: State) -> None:
    """Give a net, before ``on_train_begin``, what is made before it."""
    net.module_.load_state_dict(state["module"])
    load_optimizer(net.optimizer_, state["optimizer"])
    restore_random(net, state["random"])
    net.history.extend({**epoch, "batches": []} for epoch in state["history"])


def resume_from(net: LossNet, state: State) -> None:
    """Give a net, after ``on_train_begin``, what is made in it."""
    restore_parts(schedules_of(net), state["schedules"])
    restore_parts(stateful_callbacks(net), state["callbacks"])
    # A schedule sets a rate when it is made.
    set_rates(net.optimizer_, state["optimizer"]["rates"])


def schedules_of(net: LossNet) -> State:
    """The schedules of the learning rate, by the names of their callbacks."""
    return {
        name: callback.lr_scheduler_
        for name, callback in net.callbacks_
        if isinstance(callback, LRScheduler)
    }


def stateful_callbacks(net: LossNet) -> State:
    """The callbacks that can be asked for their state and given one, by name."""
    return {
        name: callback
        for name, callback in net.callbacks_
        if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict")
    }


def restore_parts(parts: State, states: State) -> None:
    """Give their states to the parts that were there before."""
    for name, part in parts.items():
        if name in states:
            part.load_state_dict(states[name])


def plain(value: Any, name: str, keep_tensors: bool = True) -> Any:
    """The state of a callback as plain values, and tensors if they are kept.

    Raises
    ------
    TypeError
        If there is anything else.
    """
    if isinstance(value, dict):
        return {k: plain(v, name, keep_tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(item, name, keep_tensors) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    is_tensor = isinstance(value, torch.Tensor)
    if isinstance(value, np.generic) or (is_tensor and not keep_tensors):
        return value.item()
    if is_tensor or isinstance(value, _PLAIN):
        return value
    raise TypeError(
        f"A checkpoint cannot hold the state of the callback {name!r}, which has a "
        f"{type(value).__name__}: its state_dict() may give numbers, text, tensors, "
        "and lists and dicts of these."
    )


def plain_record(epoch: Mapping[str, Any]) -> State:
    """The numbers and texts that were recorded of an epoch."""
    values = {k: v.item() if isinstance(v, np.generic) else v for k, v in epoch.items()}
    return {k: v for k, v in values.items() if isinstance(v, _PLAIN)}


def rates_of(optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """Learning rates of an optimizer's groups as floats."""
    return [
        {name: float(group[name]) for name in ("lr", "initial_lr") if name in group}
        for group in optimizer.param_groups
    ]


def set_rates(optimizer: torch.optim.Optimizer, rates: list[dict[str, float]]) -> None:
    """Set learning rates; those that are tensors stay where they are."""
    for group, values in zip(optimizer.param_groups, rates):
        for name, value in values.items():
            if isinstance(group.get(name), torch.Tensor):
                group[name].fill_(value)
            else:
                group[name] = value


def load_optimizer(optimizer: torch.optim.Optimizer, saved: State) -> None:
    """Give an optimizer its moments and rates; its options stay those of the device."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    set_rates(optimizer, saved["rates"])


def random_of(net: LossNet) -> State:
    """State of all generators that are drawn from."""
    device = torch.device(net.device)
    return {
        "order": pack_generator(net.order_rng),
        "torch": torch.get_rng_state(),
        "on_device": generators_of(device).get_rng_state(*_index(device)),
        "masks": net.generator_.get_state(),
    }


def restore_random(net: LossNet, saved: State) -> None:
    """Set all generators as they were, on the kind of device that they were on."""
    net.order_rng.set_state(unpack_generator(saved["order"]))
    torch.set_rng_state(saved["torch"])
    device = torch.device(net.device)
    generators_of(device).set_rng_state(saved["on_device"], *_index(device))
    net.generator_.set_state(saved["masks"])


def generators_of(device: torch.device) -> Any:
    """The module that keeps torch's global generator of a device."""
    return torch.random if device.type == "cpu" else torch.get_device_module(device)


def _index(device: torch.device) -> tuple[torch.device, ...]:
    """The device, where its generators are several."""
    return (device,) if device.type == "cuda" else ()


def pack_generator(rng: np.random.RandomState) -> list[Any]:
    """State of a RandomState as a tensor and plain values."""
    state: Any = rng.get_state(legacy=True)
    if isinstance(state, dict):
        raise ValueError(
            "run_dir keeps generators of the kind numpy.random.RandomState(seed); "
            f"random_state has a {state['bit_generator']}: give an int."
        )
    return [state[0], torch.from_numpy(state[1].astype(np.int64)), *state[2:]]


def unpack_generator(packed: list[Any]) -> tuple[Any, ...]:
    """State of a RandomState, as it takes it."""
    name, keys, *rest = packed
    return (name, keys.numpy().astype(np.uint32), *rest)
