"""Contrastive pose-EMG alignment (paper, section 3.2)."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ._losses import info_nce
from ._mae import Encoder, MAEConfig
from ._transformer import init_weights

MAX_SCALE = 100.0
# The exponential of this is below 100, however it is rounded: it has a gradient.
_MAX_LOG_SCALE = math.log(MAX_SCALE) - 1e-6


@dataclass(frozen=True)
class AlignmentConfig:
    """Sizes and choices of a :class:`PoseEMGAlignment`; the defaults are the paper's.

    Parameters
    ----------
    emg, pose : MAEConfig
        Sizes of the encoders.

    temperature : float, default=0.02
        Where tau starts.

    learn_temperature : bool, default=True
        Whether tau is trained, at 0.01 or above; a fixed one may be less.

    pooling : {"cls", "mean"}, default="cls"
        What of the tokens is the embedding of a window.

    duplicate_threshold, target_temperature : float, default=None
        See :func:`info_nce`.
    """

    emg: MAEConfig
    pose: MAEConfig
    temperature: float = 0.02
    learn_temperature: bool = True
    pooling: str = "cls"
    duplicate_threshold: float | None = None
    target_temperature: float | None = None


class PoseEMGAlignment(nn.Module):
    """``u = normalise(h(E_x(x)))`` and ``v = normalise(E_p(p))``, pulled together.

    Tau is kept as the logarithm of the scale 1 / tau. A learned one starts at a scale
    of at most 100, to which :meth:`constrain` brings it back after a step, as CLIP
    does: it goes on learning there. The
    buffer `pose_mean` is subtracted from pose embeddings before they are normalised;
    it is zero unless it is set.

    Parameters
    ----------
    config : AlignmentConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.emg_encoder = Encoder(config.emg)
        self.pose_encoder = Encoder(config.pose)
        self.head = nn.Linear(config.emg.d_model, config.pose.d_model)
        self.head.apply(init_weights)
        self.log_scale = nn.Parameter(
            torch.tensor(-math.log(config.temperature)),
            requires_grad=config.learn_temperature,
        )
        self.constrain()
        self.register_buffer("pose_mean", torch.zeros(config.pose.d_model))  # (D,)

    @property
    def scale(self):
        """``1 / tau``, at most 100 where it is learned."""
        scale = self.log_scale.exp()
        return scale.clamp(max=MAX_SCALE) if self.config.learn_temperature else scale

    @torch.no_grad()
    def constrain(self):
        """Bring a learned scale that is above 100 back to it."""
        if self.config.learn_temperature:
            self.log_scale.clamp_(max=_MAX_LOG_SCALE)

    def encode_emg(self, x):
        """``E_x(x)``, before the head: (B, C, T) to (B, D)."""
        return self.emg_encoder(x, self.config.pooling)

    def encode_pose(self, p):
        """``E_p(p)``, not of unit length: (B, J, T) to (B, D)."""
        return self.pose_encoder(p, self.config.pooling)

    def embed_emg(self, x):
        """``u``, of unit length: (B, C, T) to (B, D)."""
        z = self.encode_emg(x).to(self.head.weight.dtype)
        return F.normalize(self.head(z).float(), dim=1)

    def embed_pose(self, p):
        """``v``, of unit length: (B, J, T) to (B, D)."""
        return F.normalize(self.encode_pose(p).float() - self.pose_mean, dim=1)

    def loss(self, x, v, gather=None):
        """InfoNCE of EMG windows (B, C, T) against pose embeddings ``v`` (B, D).

        Where they are a share of a batch, `gather` gathers it; see :func:`info_nce`.
        """
        return info_nce(
            self.embed_emg(x),
            v,
            self.scale,
            duplicate_threshold=self.config.duplicate_threshold,
            target_temperature=self.config.target_temperature,
            gather=gather,
        )
