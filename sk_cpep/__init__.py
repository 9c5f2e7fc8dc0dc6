"""Contrastive Pose-EMG Pre-training (CPEP) as scikit-learn estimators."""

from ._version import __version__
from .encoders import (
    CPEP,
    MAE,
    EMG2Pose,
    ModuleEncoder,
    NeuroPose,
    PoseT,
    VEMG2Pose,
)
from .preprocessing import BandpassNotch, InstanceNorm, Windower, make_windows
from .zero_shot import ZeroShotClassifier

__all__ = [
    "CPEP",
    "MAE",
    "BandpassNotch",
    "EMG2Pose",
    "InstanceNorm",
    "ModuleEncoder",
    "NeuroPose",
    "PoseT",
    "VEMG2Pose",
    "Windower",
    "ZeroShotClassifier",
    "__version__",
    "make_windows",
]
