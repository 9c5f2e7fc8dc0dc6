"""Contrastive Pose-EMG Pre-training (CPEP) as scikit-learn estimators."""

import logging
from importlib import import_module
from multiprocessing import current_process
from typing import TYPE_CHECKING

from ._lazy import attach
from ._version import __version__

if TYPE_CHECKING:
    from . import datasets as datasets
    from . import encoders as encoders
    from . import evaluation as evaluation
    from . import nn as nn
    from . import plotting as plotting
    from . import preprocessing as preprocessing
    from . import training as training
    from . import zero_shot as zero_shot
    from ._show_versions import show_versions
    from .encoders import (
        CPEP,
        MAE,
        EMG2Pose,
        EncoderClassifier,
        ModuleEncoder,
        NeuroPose,
        PoseT,
        VEMG2Pose,
    )
    from .preprocessing import (
        AmplitudeFeatures,
        BandpassNotch,
        Envelope,
        InstanceNorm,
        Windower,
        make_windows,
    )
    from .zero_shot import ZeroShotClassifier
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "_show_versions": ["show_versions"],
            "encoders": [
                "CPEP",
                "MAE",
                "EMG2Pose",
                "EncoderClassifier",
                "ModuleEncoder",
                "NeuroPose",
                "PoseT",
                "VEMG2Pose",
            ],
            "preprocessing": [
                "AmplitudeFeatures",
                "BandpassNotch",
                "Envelope",
                "InstanceNorm",
                "Windower",
                "make_windows",
            ],
            "zero_shot": ["ZeroShotClassifier"],
        },
        submodules=[
            "datasets",
            "encoders",
            "evaluation",
            "nn",
            "plotting",
            "preprocessing",
            "training",
            "zero_shot",
        ],
    )

__all__ = [
    "CPEP",
    "MAE",
    "AmplitudeFeatures",
    "BandpassNotch",
    "EMG2Pose",
    "EncoderClassifier",
    "Envelope",
    "InstanceNorm",
    "ModuleEncoder",
    "NeuroPose",
    "PoseT",
    "VEMG2Pose",
    "Windower",
    "ZeroShotClassifier",
    "__version__",
    "make_windows",
    "show_versions",
]

# Events are told to whoever listens to the logger "sk_cpep"; nobody does by default.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# joblib takes what a worker imports after its first task for a memory leak, replaces the
# worker, and may wait for it for ever: a worker imports torch at once.
if current_process().name.startswith("LokyProcess"):
    import_module(".encoders", __name__)
