"""One training engine for every network of the package."""

from ._batches import BatchIterator, WindowBatches, map_batches
from ._callbacks import EpochHook, StopTraining
from ._device import resolve_device, resolve_precision, seeded
from ._objectives import Alignment, PoseRegression, Reconstruction
from ._train import TrainingPlan, train

__all__ = [
    "Alignment",
    "BatchIterator",
    "EpochHook",
    "PoseRegression",
    "Reconstruction",
    "StopTraining",
    "TrainingPlan",
    "WindowBatches",
    "map_batches",
    "resolve_device",
    "resolve_precision",
    "seeded",
    "train",
]
