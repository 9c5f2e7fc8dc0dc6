"""Which processes were launched together, and the device of each."""

import multiprocessing
import os
from datetime import timedelta

import torch
import torch.distributed as dist

from ._distributed import Processes, SingleProcess

TIMEOUT = timedelta(minutes=15)


def resolve_processes(device: torch.device) -> SingleProcess:
    """The processes that train together, and the device of this one.

    A process group that there is already is taken as it is. Else, where the process
    was launched with others (``accelerate launch``, ``torchrun``), it is set up.

    Parameters
    ----------
    device : torch.device
        Without an index, ``cuda`` becomes this process's own GPU.

    Returns
    -------
    processes : SingleProcess or Processes

    Raises
    ------
    ImportError
        If it was launched with others, and accelerate is not installed.
    ValueError
        If the device cannot be shared.
    """
    if not is_launched():
        return SingleProcess(device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"Processes cannot train together on device={device.type!r}: give "
            "device='cpu', or launch one process."
        )
    if not dist.is_initialized():
        set_up_group(device)
    device = own_device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL passes objects on
    return Processes(device)


def is_launched() -> bool:
    """Whether this process is one of several that were launched together."""
    if not dist.is_available():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    # A worker of joblib inherits the environment of the process it works for.
    if "loky" in type(multiprocessing.current_process()).__module__:
        return False
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def set_up_group(device: torch.device) -> None:
    """Join the processes that were launched with this one."""
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            f"This is one of {os.environ['WORLD_SIZE']} processes launched to train "
            "together, which takes accelerate: pip install 'sk_cpep[distributed]'. To "
            "train in each by itself, unset WORLD_SIZE."
        ) from error
    PartialState(cpu=device.type == "cpu", timeout=TIMEOUT)


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, for a device without an index."""
    if device.type != "cuda" or device.index is not None:
        return device
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda", torch.cuda.current_device())
    local_rank = int(os.environ["LOCAL_RANK"])
    return torch.device("cuda", local_rank % torch.cuda.device_count())
