"""The method's estimators, and the supervised ones beside them."""

from ._cpep import CPEP
from ._emg2pose import EMG2Pose
from ._encoder_classifier import EncoderClassifier
from ._encoder_protocol import WindowEstimator
from ._hand_model import load_hand_model
from ._mae import MAE
from ._module_encoder import ModuleEncoder
from ._neuropose import NeuroPose
from ._pose_transformer import PoseT
from ._vemg2pose import VEMG2Pose

__all__ = [
    "CPEP",
    "MAE",
    "EMG2Pose",
    "EncoderClassifier",
    "ModuleEncoder",
    "NeuroPose",
    "PoseT",
    "VEMG2Pose",
    "WindowEstimator",
    "load_hand_model",
]
