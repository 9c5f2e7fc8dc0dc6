"""One training engine for every network of the package.

:func:`train` runs the epochs. Of skorch the package uses what its users know: its
callbacks, which are given a net and its ``history``, and its way of setting up module
and optimizer. The loop over the batches is the package's own.

Users need :class:`StopTraining`, which a callback raises to end a fit,
:class:`Objective`, to train networks in ways of their own, and :class:`LaunchError`.
The rest serves other parts of the package and may change.
"""

from ._batches import BatchIterator, WindowBatches
from ._callbacks import EpochHook, StopTraining
from ._checkpoint import Checkpoint, DamagedFile, read_state, write_state
from ._device import (
    existing_device,
    one_fit_at_a_time,
    resolve_device,
    resolve_precision,
    seeded,
)
from ._distributed import LaunchError, SingleProcess
from ._graph import GraphedStep
from ._launch import resolve_processes
from ._mapping import map_batches
from ._new_module import new_module
from ._objectives import (
    Alignment,
    Classification,
    Objective,
    PoseRegression,
    Reconstruction,
)
from ._own_state import own_state
from ._plan import TrainingPlan
from ._rows import check_magnitude, fetch_rows, is_in_memory
from ._run_state import (
    begin_from,
    pack_generator,
    resume_from,
    run_state,
    unpack_generator,
)
from ._step import TrainingStep
from ._train import train

__all__ = [
    "Alignment",
    "BatchIterator",
    "Checkpoint",
    "Classification",
    "DamagedFile",
    "EpochHook",
    "GraphedStep",
    "LaunchError",
    "Objective",
    "PoseRegression",
    "Reconstruction",
    "SingleProcess",
    "StopTraining",
    "TrainingPlan",
    "TrainingStep",
    "WindowBatches",
    "begin_from",
    "check_magnitude",
    "existing_device",
    "fetch_rows",
    "is_in_memory",
    "map_batches",
    "new_module",
    "one_fit_at_a_time",
    "own_state",
    "pack_generator",
    "read_state",
    "resolve_device",
    "resolve_precision",
    "resolve_processes",
    "resume_from",
    "run_state",
    "seeded",
    "train",
    "unpack_generator",
    "write_state",
]
