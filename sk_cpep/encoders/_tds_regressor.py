"""What EMG2Pose and VEMG2Pose share: features at a low rate, decoded in steps."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..nn import PoseRollout, RolloutConfig, TDSConfig, tds_sizes
from ._pose_regressor import BaselineRegressor, read_sizes
from ._training_parameters import BASELINE_CONSTRAINTS
from ._windows import read_windows

_SIZE = Interval(Integral, 1, None, closed="left")

TDS_CONSTRAINTS = {
    "mode": [StrOptions({"regression", "tracking"})],
    "strides": ["array-like", None],
    "kernel_sizes": ["array-like", None],
    "block_kernel_sizes": ["array-like", None],
    "d_model": [_SIZE],
    "block_channels": [_SIZE],
    "n_blocks": [_SIZE],
    "d_features": [_SIZE],
    "d_hidden": [_SIZE],
    "rollout_sfreq": [Interval(Real, 0, None, closed="neither")],
    "output_scale": [Interval(Real, 0, None, closed="neither")],
    **BASELINE_CONSTRAINTS,
}


class TDSRegressor(BaselineRegressor):
    """Base of the pose regressors that decode TDS features step by step."""

    def _make_config(self):
        config = RolloutConfig(
            n_times=self.n_times_in_,
            n_joints=self.n_joints_in_,
            n_pose_times=self.n_pose_times_in_,
            tds=self._tds_config(),
            sfreq=self.sfreq,
            rollout_sfreq=self.rollout_sfreq,
            tracking=self.mode == "tracking",
            d_hidden=self.d_hidden,
            output_scale=self.output_scale,
            **self._decoder(),
        )
        check_context(config)
        return config

    def _tds_config(self):
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
        return TDSConfig(
            n_channels=self.n_channels_in_,
            n_blocks=self.n_blocks,
            d_model=self.d_model,
            block_channels=self.block_channels,
            d_features=self.d_features,
            **tds_sizes(self.sfreq, given.get("strides")) | given,
        )

    def _build_module(self):
        return PoseRollout(self.config_)

    def _sizes(self):
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

    def predict(self, X, initial_pose=None):
        """Predict poses.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

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

    def _read_initial_pose(self, initial_pose, n_windows):
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
        pose = check_array(initial_pose, dtype=np.float32, input_name="initial_pose")
        if pose.shape != (n_windows, self.n_joints_in_):
            raise ValueError(
                f"initial_pose has shape {pose.shape}, expected ({n_windows}, "
                f"{self.n_joints_in_}): windows x joints."
            )
        return pose

    @property
    def _n_features_out(self):
        return self.config_.tds.d_features


def check_context(config):
    """Refuse windows that end before the first feature."""
    context, sfreq = config.tds.left_context, config.sfreq
    if config.n_times <= context:
        raise ValueError(
            f"Windows of {config.n_times} samples ({config.n_times / sfreq:g} s at "
            f"sfreq={sfreq:g}) are too short: the network looks back {context} samples "
            f"and needs {context + 1} at the least. Use longer windows, set sfreq to "
            "their rate, or give smaller kernel_sizes."
        )
