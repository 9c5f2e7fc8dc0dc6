"""What EMG2Pose and VEMG2Pose share: features at a low rate, decoded in steps."""

from dataclasses import field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray, Float32Array, WindowsLike
from ..nn import PoseRollout, RolloutConfig, TDSConfig, TDSFeaturizer, tds_sizes
from ._encoder_protocol import Recipe
from ._parameters import Array, Positive, Size
from ._pose_regressor import BaselineRegressor, read_sizes
from ._windows import read_windows


class TDSRegressor(BaselineRegressor):
    """Base of the pose regressors that decode TDS features step by step.

    Parameters
    ----------
    mode : {"regression", "tracking"}
        Whether the rollout starts from zeros, or is told the true pose at its start.
        Tracking needs it to predict as well: ``predict(X, initial_pose=...)``.

    sfreq : float
        Rate of the EMG in Hz. At other rates than 2000 Hz, strides and kernels are
        scaled so that receptive fields last as long as published (895 ms back,
        features at 25 Hz), as nearly as whole samples allow; see `sizes_`.

    strides, kernel_sizes : array-like of 4 int
        Of the convolutions between which the TDS blocks lie. None scales the published
        (5, 2, 4, 2) and (11, 5, 17, 9) to `sfreq`.

    block_kernel_sizes : array-like of 2 int
        Of the TDS blocks of both stages. None scales the published (9, 5).

    d_model : int
        Width of the convolutions, a multiple of `block_channels`.

    block_channels : int
        Channels of the convolutions in TDS blocks.

    n_blocks : int
        Pairs of TDS blocks a stage.

    d_features : int
        Features a frame, and width of the embedding.

    d_hidden : int
        Width of the decoder.

    rollout_sfreq : float
        Steps a second.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.PoseRollout`).

    sizes_ : dict
        The sizes used: `strides`, `kernel_sizes`, `block_kernel_sizes`,
        `left_context` (samples) and `left_context_seconds`, `stride` (samples) and
        `feature_sfreq` (Hz), `n_frames` of features, `n_steps` of the rollout,
        `pose_start`.

    pose_start_ : int
        The first sample of the pose that is predicted, the first after the left
        context; before it, predictions hold that one.

    References
    ----------
    .. [1] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks 2024.
    .. [2] A. Hannun et al., "Sequence-to-Sequence Speech Recognition with
       Time-Depth Separable Convolutions", Interspeech 2019.
    """

    mode: Annotated[
        Literal["regression", "tracking"], StrOptions({"regression", "tracking"})
    ] = field(default="regression", kw_only=False)
    strides: Array | None = None
    kernel_sizes: Array | None = None
    block_kernel_sizes: Array | None = None
    d_model: Size = 256
    block_channels: Size = 16
    n_blocks: Size = 2
    d_features: Size = 64
    d_hidden: Size = 512
    rollout_sfreq: Positive = 50.0
    output_scale: Positive = 0.01

    module_: PoseRollout = field(init=False)
    config_: RolloutConfig = field(init=False)

    def _decoder(self) -> dict[str, Any]:
        """Arguments of the configuration that say how steps are decoded."""
        raise NotImplementedError

    def _make_config(self) -> RolloutConfig:
        return RolloutConfig(
            n_times=self.n_times_in_,
            n_joints=self.n_joints_in_,
            n_pose_times=self.n_pose_times_in_,
            tds=self._tds_config(self.n_channels_in_, self.n_times_in_),
            sfreq=self.sfreq,
            rollout_sfreq=self.rollout_sfreq,
            tracking=self.mode == "tracking",
            d_hidden=self.d_hidden,
            output_scale=self.output_scale,
            **self._decoder(),
        )

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        return partial(TDSFeaturizer, self._tds_config(n_channels, n_times))

    def _fitted_recipe(self) -> Recipe:
        return partial(TDSFeaturizer, self.config_.tds)

    def _tds_config(self, n_channels: int, n_times: int) -> TDSConfig:
        """Sizes of the featurizer: those given, others scaled to the rate."""
        given = {
            name: read_sizes(name, getattr(self, name), n)
            for name, n in (
                ("strides", 4),
                ("kernel_sizes", 4),
                ("block_kernel_sizes", 2),
            )
            if getattr(self, name) is not None
        }
        if self.d_model % self.block_channels:
            raise ValueError(
                f"d_model={self.d_model} must be a multiple of "
                f"block_channels={self.block_channels}."
            )
        sizes: dict[str, Any] = tds_sizes(self.sfreq, given.get("strides")) | given
        config = TDSConfig(
            n_channels=n_channels,
            n_blocks=self.n_blocks,
            d_model=self.d_model,
            block_channels=self.block_channels,
            d_features=self.d_features,
            **sizes,
        )
        check_context(config, n_times, self.sfreq)
        return config

    def _build_module(self) -> PoseRollout:
        return PoseRollout(self.config_)

    def _sizes(self) -> dict[str, Any]:
        config, tds = self.config_, self.config_.tds
        return {
            "strides": tds.strides,
            "kernel_sizes": tds.kernel_sizes,
            "block_kernel_sizes": tds.block_kernel_sizes,
            "left_context": tds.left_context,
            "left_context_seconds": tds.left_context / self.sfreq,
            "stride": tds.stride,
            "feature_sfreq": self.sfreq / tds.stride,
            "n_frames": tds.n_frames(config.n_times),
            "n_steps": config.n_steps,
            "pose_start": config.pose_start,
        }

    def predict(
        self, X: WindowsLike, initial_pose: ArrayLike | None = None
    ) -> AnyArray:
        """Predict poses.

        Parameters
        ----------
        initial_pose : array-like of shape (n_windows, n_joints), default=None
            With ``mode="tracking"``, the true pose of each window at the sample
            `pose_start_`, ``P[:, :, pose_start_]``. Not for ``mode="regression"``.

        Returns
        -------
        P : ndarray of shape (n_windows, n_joints, n_pose_times)
            Poses in the unit of those seen in :meth:`fit`, and of as many dimensions.
            The samples before `pose_start_`, of whose EMG there is not enough, hold
            what is predicted there.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        if not self.module_.needs_initial_pose and initial_pose is None:
            return self._as_given(self._map(self._predict_batch, X))
        initial_pose = self._read_initial_pose(initial_pose, X.shape[0])
        return self._as_given(self._map(self._predict_batch, X, initial_pose))

    def _read_initial_pose(
        self, initial_pose: ArrayLike | None, n_windows: int
    ) -> Float32Array:
        name = type(self).__name__
        if not self.module_.needs_initial_pose:
            raise ValueError(
                f"initial_pose is for mode='tracking'; this {name} has "
                "mode='regression' and starts from zeros."
            )
        if initial_pose is None:
            raise ValueError(
                f"{name} with mode='tracking' needs the true pose to start from: "
                "predict(X, initial_pose=P[:, :, estimator.pose_start_])."
            )
        pose: Float32Array = check_array(
            initial_pose, dtype=np.float32, input_name="initial_pose"
        )
        if pose.shape != (n_windows, self.n_joints_in_):
            raise ValueError(
                f"initial_pose has shape {pose.shape}, expected ({n_windows}, "
                f"{self.n_joints_in_}): windows x joints."
            )
        return pose

    @property
    def _n_features_out(self) -> int:
        return self.config_.tds.d_features


def check_context(config: TDSConfig, n_times: int, sfreq: float) -> None:
    """Refuse windows that end before the first feature."""
    context = config.left_context
    if n_times <= context:
        raise ValueError(
            f"Windows of {n_times} samples ({n_times / sfreq:g} s at "
            f"sfreq={sfreq:g}) are too short: the network looks back {context} samples "
            f"and needs {context + 1} at the least. Use longer windows, set sfreq to "
            "their rate, or give smaller kernel_sizes."
        )
