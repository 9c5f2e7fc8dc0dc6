"""NeuroPose as an estimator."""

from dataclasses import field, replace
from functools import partial
from typing import Any

from ..nn import (
    NeuroPoseConfig,
    NeuroPoseEncoder,
    NeuroPoseNet,
    neuropose_time_pools,
)
from ..training import TrainingPlan
from ._encoder_protocol import Recipe
from ._parameters import Array, Count, Positive, Probability
from ._pose_regressor import BaselineRegressor, read_sizes


class NeuroPose(BaselineRegressor):
    """Pose regression of NeuroPose: convolutions over time and electrodes.

    An encoder-decoder with residual blocks in between, which sees the whole window,
    past and future, at once. Time is cut to a multiple of the pooling factor (320
    samples as published), and the poses stretched to the whole window again: a small
    warp in time that is part of the published baseline. Layers, loss and training
    are as configured there, 6,354,903 weights at any number of channels up to 16.

    Parameters
    ----------
    sfreq : float
        Rate of the EMG in Hz. At other rates than 2000 Hz, poolings are scaled so that
        a frame lasts as long as published (160 ms), as nearly as whole samples allow;
        see `sizes_`.

    time_pools : array-like of 3 int
        Factors of the poolings, and of the upsamplings, in time. None scales the
        published (10, 8, 4) to `sfreq`.

    electrode_pools : array-like of 3 int
        Factors of the poolings across electrodes. Numbers of electrodes that are no
        multiple are rounded up: 10 become 5, 3 and 1.

    electrode_upsampling : array-like of 3 int
        Factors of the upsamplings across electrodes.

    kernel_size : array-like of 2 int
        Of all convolutions, in time and across electrodes.

    widths : array-like of 3 int
        Channels of the encoder; the last is the width of the embedding.

    n_residual_blocks : int
        Residual blocks between encoder and decoder.

    dropout : float
        Dropout after each convolution.

    batch_size : int
        Windows per step, over all processes that train together; each normalises over
        its own share, and in the end all have the statistics of the first.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.NeuroPoseNet`).

    sizes_ : dict
        The sizes used: `time_pools`, `electrode_pools`, `electrode_upsampling`,
        `time_factor` (samples) and `time_factor_seconds`, `n_frames` and
        `n_electrodes` of the bottleneck, `n_times_used` of the window.

    pose_start_ : int
        0: the whole window is predicted.

    See Also
    --------
    EMG2Pose : Uses the past only.
    PoseT : The same task with the transformer of :class:`MAE`.

    References
    ----------
    .. [1] Y. Liu et al., "NeuroPose: 3D Hand Pose Tracking Using EMG Wearables", WWW
       2021.
    .. [2] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import NeuroPose
    >>> X, P = np.random.default_rng(0).normal(size=(2, 16, 8, 200))
    >>> model = NeuroPose(sfreq=100, widths=(4, 8, 16), n_residual_blocks=1,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 8, 200)
    """

    time_pools: Array | None = None
    electrode_pools: Array = (2, 2, 4)
    electrode_upsampling: Array = (4, 4, 2)
    kernel_size: Array = (3, 2)
    widths: Array = (32, 128, 256)
    n_residual_blocks: Count = 5
    dropout: Probability = 0.05
    gradient_clip: Positive | None = None

    module_: NeuroPoseNet = field(init=False)
    config_: NeuroPoseConfig = field(init=False)

    def _check_number(self, n_windows: int) -> None:
        if n_windows < 2:
            raise ValueError(
                "NeuroPose normalises over batches and needs 2 windows at the least, "
                f"got n_samples={n_windows}."
            )

    def _plan(self) -> TrainingPlan:
        plan = super()._plan()
        return replace(plan, min_batch=2 * plan.processes.size)

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        return partial(NeuroPoseEncoder, self._encoder_config(n_channels, n_times))

    def _fitted_recipe(self) -> Recipe:
        return partial(NeuroPoseEncoder, self.config_)

    def _make_config(self) -> NeuroPoseConfig:
        config = self._encoder_config(self.n_channels_in_, self.n_times_in_)
        n_joints, n_pose_times = self.n_joints_in_, self.n_pose_times_in_
        return replace(config, n_joints=n_joints, n_pose_times=n_pose_times)

    def _encoder_config(self, n_channels: int, n_times: int) -> NeuroPoseConfig:
        time_pools = self.time_pools
        if time_pools is None:
            time_pools = neuropose_time_pools(self.sfreq)
        sizes: dict[str, Any] = {
            name: read_sizes(name, getattr(self, name), n)
            for name, n in (
                ("electrode_pools", 3),
                ("electrode_upsampling", 3),
                ("kernel_size", 2),
                ("widths", 3),
            )
        }
        config = NeuroPoseConfig(
            n_times=n_times,
            n_channels=n_channels,
            time_pools=read_sizes("time_pools", time_pools, 3),
            n_residual_blocks=self.n_residual_blocks,
            dropout=self.dropout,
            **sizes,
        )
        check_frames(config, self.sfreq)
        return config

    def _build_module(self) -> NeuroPoseNet:
        return NeuroPoseNet(self.config_)

    def _sizes(self) -> dict[str, Any]:
        config = self.config_
        return {
            "time_pools": config.time_pools,
            "electrode_pools": config.electrode_pools,
            "electrode_upsampling": config.electrode_upsampling,
            "time_factor": config.time_factor,
            "time_factor_seconds": config.time_factor / self.sfreq,
            "n_frames": config.n_frames,
            "n_electrodes": config.n_electrodes,
            "n_times_used": config.n_frames * config.time_factor,
        }

    @property
    def _n_features_out(self) -> int:
        return self.config_.widths[-1]


def check_frames(config: NeuroPoseConfig, sfreq: float) -> None:
    """Refuse windows that are shorter than a frame of the bottleneck."""
    if config.n_frames == 0:
        raise ValueError(
            f"Windows of {config.n_times} samples ({config.n_times / sfreq:g} s at "
            f"sfreq={sfreq:g}) are too short: time is pooled by {config.time_factor} "
            "samples. Use longer windows, set sfreq to their rate, or give smaller "
            "time_pools."
        )
