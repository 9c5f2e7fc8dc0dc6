"""PoseT: the encoder of the masked autoencoder, regressing pose."""

from dataclasses import dataclass

from torch import nn

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
    def pose_patch_length(self):
        """Samples of the pose that a token stands for, rounded, at least 1."""
        return max(1, round(self.n_pose_times / self.encoder.n_tokens))


class PoseTransformer(nn.Module):
    """EMG windows to poses: each token gives the pose of its own span of time.

    Where tokens and poses do not divide evenly, poses are interpolated linearly; the
    last one is held for EMG that belongs to no patch.

    Parameters
    ----------
    config : PoseTransformerConfig
    """

    pose_start = 0
    needs_initial_pose = False

    def __init__(self, config):
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

    def encode(self, x):
        """(B, C, T) to the tokens (B, K, D), without ``[CLS]``."""
        return self.encoder.forward_tokens(self.encoder.patches(x))[:, 1:]

    def embed(self, x):
        """Mean of the tokens: (B, C, T) to (B, D)."""
        return self.encode(x).mean(dim=1)

    def forward(self, x, initial_pose=None):
        """Predict poses.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        initial_pose : None
            Not used.

        Returns
        -------
        pose : tensor of shape (B, J, n_pose_times)
        """
        patches = self.head(self.encode(x)).float()  # (B, K, J * length)
        return self.to_pose(unpatchify(patches, self.config.n_joints))
