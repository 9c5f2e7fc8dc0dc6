"""emg2pose and vemg2pose: features of the EMG, decoded step by step.

A decoder gets the features of a step and the pose before it, and gives the pose or
its change. The EMG of the left context is only looked at: poses begin after it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._resampling import Interpolation, first_pose, pose_positions
from ._tds import PUBLISHED_SFREQ, TDSConfig, TDSFeaturizer


@dataclass(frozen=True)
class RolloutConfig:
    """Sizes and choices of a :class:`PoseRollout`.

    Parameters
    ----------
    n_times : int
        Samples of a window; more than the left context.

    n_joints, n_pose_times : int
        Shape of the pose of a window.

    tds : TDSConfig

    sfreq : float, default=2000.0
        Rate of the EMG in Hz.

    rollout_sfreq : float, default=50.0
        Steps a second.

    decoder : {"mlp", "lstm"}, default="mlp"

    output : {"position", "velocity", "hybrid"}, default="position"
        Whether the decoder gives the pose, its change since the step before, or
        both: the pose for the first `position_seconds`, its change afterwards.

    tracking : bool, default=False
        Whether the first pose is given. Otherwise it is zero.

    d_hidden : int, default=512
        Width of the decoder.

    n_lstm_layers : int, default=2

    output_scale : float, default=0.01
        What the decoder's output is multiplied by.

    position_seconds : float, default=0.25
    """

    n_times: int
    n_joints: int = 20
    n_pose_times: int = 1
    tds: TDSConfig = field(default_factory=TDSConfig)
    sfreq: float = PUBLISHED_SFREQ
    rollout_sfreq: float = 50.0
    decoder: str = "mlp"
    output: str = "position"
    tracking: bool = False
    d_hidden: int = 512
    n_lstm_layers: int = 2
    output_scale: float = 0.01
    position_seconds: float = 0.25

    @property
    def n_steps(self) -> int:
        """Steps from the end of the left context to the end of the window."""
        seconds = (self.n_times - self.tds.left_context) / self.sfreq
        return max(1, round(seconds * self.rollout_sfreq))

    @property
    def n_position_steps(self) -> int:
        """Steps of a hybrid rollout that give the pose itself."""
        return round(self.position_seconds * self.rollout_sfreq)

    @property
    def pose_start(self) -> int:
        """The first sample of the pose that is predicted."""
        return first_pose(self.tds.left_context, self.n_times, self.n_pose_times)

    @property
    def n_outputs(self) -> int:
        """What the decoder gives in a step."""
        return self.n_joints * (2 if self.output == "hybrid" else 1)


# Hidden and cell state of each layer, and what a decoder gives of a step with them.
State: TypeAlias = list[tuple[Tensor, Tensor]] | None
Decoded: TypeAlias = tuple[Tensor, State]


class MLPDecoder(nn.Module):
    """Two hidden layers, each with layer norm and leaky ReLU; no memory."""

    def __init__(self, config: RolloutConfig) -> None:
        super().__init__()
        d_in, d_hidden = config.tds.d_features + config.n_joints, config.d_hidden
        self.layers = nn.Sequential(
            nn.Linear(d_in, d_hidden),
            nn.LayerNorm(d_hidden),
            nn.LeakyReLU(),
            nn.Linear(d_hidden, d_hidden),
            nn.LayerNorm(d_hidden),
            nn.LeakyReLU(),
            nn.Linear(d_hidden, config.n_outputs),
        )

    def forward(self, x: Tensor, state: None = None) -> Decoded:
        """(B, F + J) to (B, n_outputs), and no state."""
        return self.layers(x), None


class LSTMDecoder(nn.Module):
    """Stacked LSTM cells, leaky ReLU and a linear layer; starts from zero."""

    def __init__(self, config: RolloutConfig) -> None:
        super().__init__()
        d_in = config.tds.d_features + config.n_joints
        widths = (d_in, *[config.d_hidden] * config.n_lstm_layers)
        self.cells = nn.ModuleList(map(nn.LSTMCell, widths, widths[1:]))
        self.head = nn.Linear(config.d_hidden, config.n_outputs)

    def forward(self, x: Tensor, state: State = None) -> Decoded:
        """(B, F + J) to (B, n_outputs), and the state of each layer."""
        states: list[tuple[Tensor, Tensor]] = []
        for layer, cell in enumerate(self.cells):
            states.append(cell(x, None if state is None else state[layer]))
            x = states[-1][0]
        return self.head(F.leaky_relu(x)), states


_DECODERS: dict[str, Callable[[RolloutConfig], nn.Module]] = {
    "mlp": MLPDecoder,
    "lstm": LSTMDecoder,
}


class PoseRollout(nn.Module):
    """EMG windows to poses, one step after the other."""

    def __init__(self, config: RolloutConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TDSFeaturizer(config.tds)
        self.decoder = _DECODERS[config.decoder](config)
        positions = pose_positions(
            config.n_steps,
            config.n_times,
            config.n_pose_times,
            start=config.tds.left_context,
        )
        self.to_pose = Interpolation(positions[config.pose_start :], config.n_steps)

    @property
    def pose_start(self) -> int:
        """The first sample of the pose that is predicted."""
        return self.config.pose_start

    @property
    def needs_initial_pose(self) -> bool:
        """Whether the first pose is given."""
        return self.config.tracking

    def forward(self, x: Tensor, initial_pose: Tensor | None = None) -> Tensor:
        """Predict poses.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        initial_pose : tensor of shape (B, J), default=None
            Pose at the end of the left context. None is zero.

        Returns
        -------
        pose : tensor of shape (B, J, n_pose_times - pose_start)
        """
        features = self.encoder.features(x).float()  # (B, F, n_frames)
        features = F.interpolate(
            features, size=self.config.n_steps, mode="linear", align_corners=True
        )
        if initial_pose is None:
            initial_pose = features.new_zeros(len(x), self.config.n_joints)
        with torch.autocast(x.device.type, enabled=False):  # errors would add up
            poses = self.roll_out(features.permute(2, 0, 1), initial_pose)
        poses = self.to_pose(poses)
        return poses

    def roll_out(self, features: Tensor, pose: Tensor) -> Tensor:
        """Decode features (n_steps, B, F) from a pose (B, J) on, to (B, J, n_steps)."""
        state, poses = None, []
        for step, feature in enumerate(features):
            y, state = self.decoder(torch.cat([feature, pose], dim=1), state)
            pose = self._next_pose(step, pose, self.config.output_scale * y)
            poses.append(pose)
        return torch.stack(poses, dim=2)

    def _next_pose(self, step: int, pose: Tensor, y: Tensor) -> Tensor:
        """The pose (B, J) after a step, of what the decoder gave."""
        if self.config.output == "position":
            return y
        if self.config.output == "velocity":
            return pose + y
        position, velocity = y.chunk(2, dim=1)
        return position if step < self.config.n_position_steps else pose + velocity
