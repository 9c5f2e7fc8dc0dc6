"""The networks and losses of the paper and its baselines, in plain ``torch.nn``."""

from ._alignment import AlignmentConfig, PoseEMGAlignment
from ._augmentation import (
    Augmentation,
    rotate_channels,
    shift_electrodes,
    shift_time,
)
from ._hand_model import HandModel
from ._losses import SigLIP, info_nce
from ._mae import Encoder, MAEConfig, MaskedAutoencoder
from ._masking import random_mask
from ._neuropose import (
    NeuroPoseConfig,
    NeuroPoseEncoder,
    NeuroPoseNet,
    neuropose_time_pools,
)
from ._patches import patchify, unpatchify
from ._pose_losses import (
    PoseLoss,
    fingertip_distance,
    mean_absolute_error,
    mean_squared_error,
)
from ._pose_transformer import PoseTransformer, PoseTransformerConfig
from ._rollout import PoseRollout, RolloutConfig
from ._targets import log_power, normalized_patches
from ._tds import TDSConfig, TDSFeaturizer, tds_sizes
from ._tokenizers import ConvTokenizer, LogPowerTokenizer
from ._window_classifier import WindowClassifier, WindowClassifierConfig
from ._window_encoder import NetworkEncoder, WindowEncoder, make_encoder

__all__ = [
    "AlignmentConfig",
    "Augmentation",
    "ConvTokenizer",
    "Encoder",
    "HandModel",
    "LogPowerTokenizer",
    "MAEConfig",
    "MaskedAutoencoder",
    "NetworkEncoder",
    "NeuroPoseConfig",
    "NeuroPoseEncoder",
    "NeuroPoseNet",
    "PoseEMGAlignment",
    "PoseLoss",
    "PoseRollout",
    "PoseTransformer",
    "PoseTransformerConfig",
    "RolloutConfig",
    "SigLIP",
    "TDSConfig",
    "TDSFeaturizer",
    "WindowClassifier",
    "WindowClassifierConfig",
    "WindowEncoder",
    "fingertip_distance",
    "info_nce",
    "log_power",
    "make_encoder",
    "mean_absolute_error",
    "mean_squared_error",
    "neuropose_time_pools",
    "normalized_patches",
    "patchify",
    "random_mask",
    "rotate_channels",
    "shift_electrodes",
    "shift_time",
    "tds_sizes",
    "unpatchify",
]
