"""The networks and losses of the paper, in plain ``torch.nn``."""

from ._alignment import AlignmentConfig, PoseEMGAlignment
from ._augmentation import Augmentation, rotate_channels, shift_time
from ._losses import info_nce, masked_mse
from ._mae import Encoder, MAEConfig, MaskedAutoencoder
from ._masking import n_masked_tokens, random_mask
from ._patches import n_patches, patchify, unpatchify

__all__ = [
    "AlignmentConfig",
    "Augmentation",
    "Encoder",
    "MAEConfig",
    "MaskedAutoencoder",
    "PoseEMGAlignment",
    "info_nce",
    "masked_mse",
    "n_masked_tokens",
    "n_patches",
    "patchify",
    "random_mask",
    "rotate_channels",
    "shift_time",
    "unpatchify",
]
