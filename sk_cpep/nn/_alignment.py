"""Contrastive pose-EMG alignment (paper, section 3.2)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._losses import Criterion, Gather, PairLoss, make_criterion
from ._transformer import init_weights
from ._window_encoder import WindowEncoder

MAX_SCALE = 100.0
# The exponential of this is below 100, however it is rounded: it has a gradient.
_MAX_LOG_SCALE = math.log(MAX_SCALE) - 1e-6


@dataclass(frozen=True)
class AlignmentConfig:
    """Choices of a :class:`PoseEMGAlignment`; the defaults are the paper's.

    Parameters
    ----------
    temperature : float, default=0.02
        Where tau starts.

    learn_temperature : bool, default=True
        Whether tau is trained, at 0.01 or above; a fixed one may be less.

    pooling : {"cls", "mean"}, default="cls"
        What of the tokens is the embedding of a window.

    loss : {"info_nce", "siglip"} or callable, default="info_nce"
        See :func:`info_nce` and :class:`SigLIP`; or ``loss(u, v, 1 / tau)`` of
        embeddings (B, D), a scalar tensor. A module, or a class of one, is trained.

    duplicate_threshold, target_temperature : float, default=None
        See :func:`info_nce`.
    """

    temperature: float = 0.02
    learn_temperature: bool = True
    pooling: str = "cls"
    loss: str | PairLoss | type[nn.Module] = "info_nce"
    duplicate_threshold: float | None = None
    target_temperature: float | None = None


class PoseEMGAlignment(nn.Module):
    """``u = normalise(h(E_x(x)))`` and ``v = normalise(E_p(p))``, pulled together.

    Tau is kept as the logarithm of the scale 1 / tau. A learned one starts at a scale
    of at most 100, to which :meth:`constrain` brings it back after a step, as CLIP
    does, so that it keeps learning there. The buffer `pose_mean` is subtracted from
    pose embeddings before they are normalised; it is zero unless it is set.

    Parameters
    ----------
    emg_encoder, pose_encoder : WindowEncoder
        Modules, of any kind.

    config : AlignmentConfig, default=AlignmentConfig()
    """

    pose_mean: Tensor

    def __init__(
        self,
        emg_encoder: WindowEncoder,
        pose_encoder: WindowEncoder,
        config: AlignmentConfig | None = None,
    ) -> None:
        super().__init__()
        config = config or AlignmentConfig()
        self.config: AlignmentConfig = config
        self.emg_encoder = emg_encoder
        self.pose_encoder = pose_encoder
        self.head: nn.Linear = nn.Linear(emg_encoder.d_model, pose_encoder.d_model)
        self.head.apply(init_weights)
        self.log_scale: nn.Parameter = nn.Parameter(
            torch.tensor(-math.log(config.temperature)),
            requires_grad=config.learn_temperature,
        )
        self.constrain()
        self.register_buffer("pose_mean", torch.zeros(pose_encoder.d_model))  # (D,)
        self.criterion: Criterion = make_criterion(
            config.loss, config.duplicate_threshold, config.target_temperature
        )

    @property
    def encoder(self) -> WindowEncoder:
        """The encoder of the windows that are embedded later on: that of the EMG."""
        return self.emg_encoder

    @property
    def scale(self) -> Tensor:
        """``1 / tau``, at most 100 where it is learned."""
        scale = self.log_scale.exp()
        return scale.clamp(max=MAX_SCALE) if self.config.learn_temperature else scale

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring a learned scale that is above 100 back to it."""
        if self.config.learn_temperature:
            self.log_scale.clamp_(max=_MAX_LOG_SCALE)

    def encode_emg(self, x: Tensor) -> Tensor:
        """``E_x(x)``, before the head: (B, C, T) to (B, D)."""
        return self.emg_encoder(x, self.config.pooling)

    def encode_pose(self, p: Tensor) -> Tensor:
        """``E_p(p)``, not of unit length: (B, J, T) to (B, D)."""
        return self.pose_encoder(p, self.config.pooling)

    def project(self, z: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """``u`` of what the encoder gave, computed in a type: (B, D) to (B, D)."""
        with torch.autocast(z.device.type, enabled=False):
            weight, bias = self.head.weight.to(dtype), self.head.bias.to(dtype)
            return F.normalize(F.linear(z.to(dtype), weight, bias), dim=1).float()

    def embed_emg(self, x: Tensor) -> Tensor:
        """``u``, of unit length: (B, C, T) to (B, D).

        The head is computed in float64, where the device has it: a product in float32
        rounds a row by how many others there are.
        """
        double = torch.float32 if x.device.type == "mps" else torch.float64
        return self.project(self.encode_emg(x), double)

    def embed_pose(self, p: Tensor) -> Tensor:
        """``v``, of unit length: (B, J, T) to (B, D)."""
        return F.normalize(self.encode_pose(p).float() - self.pose_mean, dim=1)

    def loss(self, x: Tensor, v: Tensor, gather: Gather | None = None) -> Tensor:
        """Loss of EMG windows (B, C, T) against pose embeddings ``v`` (B, D).

        Where they are a share of a batch, `gather` gathers it; see :func:`info_nce`.
        """
        u = self.project(self.encode_emg(x))
        return self.criterion(u, v, self.scale, gather=gather)
