"""PoseT: the encoder of the masked autoencoder, regressing pose."""

from dataclasses import dataclass

from torch import Tensor, nn

from ._mae import Encoder, MAEConfig
from ._patches import unpatchify
from ._resampling import Interpolation, pose_positions
from ._transformer import init_weights


@dataclass(frozen=True)
class PoseTransformerConfig:
    """Sizes of a :class:`PoseTransformer`.

    Parameters
    ----------
    encoder : MAEConfig
        Of the EMG; what concerns masks and the decoder is not used.

    n_joints, n_pose_times : int
        Shape of the pose of a window.
    """

    encoder: MAEConfig
    n_joints: int = 20
    n_pose_times: int = 1

    @property
    def pose_patch_length(self) -> int:
        """Samples of the pose that a token stands for, rounded, at least 1."""
        return max(1, round(self.n_pose_times / self.encoder.n_tokens))


class PoseTransformer(nn.Module):
    """EMG windows to poses: each token gives the pose of its own span of time.

    Where tokens and poses do not divide evenly, poses are interpolated linearly; the
    last one is held for EMG that belongs to no patch.
    """

    pose_start = 0
    needs_initial_pose = False

    def __init__(self, config: PoseTransformerConfig) -> None:
        super().__init__()
        self.config = config
        encoder, length = config.encoder, config.pose_patch_length
        self.encoder = Encoder(encoder)
        self.head = nn.Linear(encoder.d_model, config.n_joints * length)
        self.head.apply(init_weights)
        n_steps = encoder.n_tokens * length
        positions = pose_positions(
            n_steps,
            encoder.n_times,
            config.n_pose_times,
            stop=encoder.n_tokens * encoder.patch_length,
        )
        self.to_pose = Interpolation(positions, n_steps)

    def forward(self, x: Tensor, initial_pose: None = None) -> Tensor:
        """Predict poses (B, J, n_pose_times) of windows (B, C, T)."""
        z = self.encoder.forward_tokens(self.encoder.split(x))[:, 1:]  # (B, K, D)
        patches: Tensor = self.head(z).float()  # (B, K, J * length)
        pose: Tensor = self.to_pose(unpatchify(patches, self.config.n_joints))
        return pose
