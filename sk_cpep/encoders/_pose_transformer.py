"""The transformer of the masked autoencoder as a pose regressor."""

from dataclasses import field
from functools import partial
from typing import Any

from ..nn import (
    Encoder,
    MAEConfig,
    PoseLoss,
    PoseTransformer,
    PoseTransformerConfig,
    mean_squared_error,
)
from ._encoder_protocol import Recipe
from ._mae import check_encoder
from ._parameters import Size
from ._pose_regressor import PoseRegressor
from ._trained_estimator import CosineTraining
from ._transformer_sizes import TransformerSizes


class PoseT(TransformerSizes, PoseRegressor, CosineTraining):
    """Transformer that regresses pose from EMG, the encoder of :class:`MAE`.

    The paper's supervised baseline: the same patches, transformer and training as the
    masked autoencoder, but no patch hidden, and the mean squared error of the pose as
    loss. How tokens become poses is not given there: here, a linear layer takes each
    token to the pose of its own span of time.

    Parameters
    ----------
    patch_length : int
        Samples of the EMG per patch. Samples left over at the end of a window are not
        used; the last pose is held there.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.PoseTransformer`).

    sizes_ : dict
        The sizes used: `patch_length` (samples), `n_tokens`, and `pose_patch_length`,
        the samples of the pose that a token gives.

    loss_terms_ : tuple of str
        ``("squared angle",)``.

    pose_start_ : int
        0: the whole window is predicted.

    See Also
    --------
    MAE : Self-supervised, with the same encoder.
    EMG2Pose, VEMG2Pose, NeuroPose : Published pose regressors.

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture Generalization
       on EMG Signals", arXiv:2509.04699, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import PoseT
    >>> X, P = np.random.default_rng(0).normal(size=(2, 16, 8, 200))
    >>> model = PoseT(20, d_model=32, n_layers=1,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 8, 200)
    """

    patch_length: Size = field(default=50, kw_only=False)

    module_: PoseTransformer = field(init=False)
    config_: PoseTransformerConfig = field(init=False)

    def _loss(self) -> PoseLoss:
        return PoseLoss(mean_squared_error)

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        return partial(Encoder, self._encoder_config(n_channels, n_times))

    def _fitted_recipe(self) -> Recipe:
        return partial(Encoder, self.config_.encoder)

    def _encoder_config(self, n_channels: int, n_times: int) -> MAEConfig:
        encoder = MAEConfig(
            n_channels=n_channels,
            n_times=n_times,
            patch_length=self.patch_length,
            **self._transformer_sizes(),
        )
        check_encoder(encoder)
        return encoder

    def _make_config(self) -> PoseTransformerConfig:
        encoder = self._encoder_config(self.n_channels_in_, self.n_times_in_)
        return PoseTransformerConfig(encoder, self.n_joints_in_, self.n_pose_times_in_)

    def _build_module(self) -> PoseTransformer:
        return PoseTransformer(self.config_)

    def _sizes(self) -> dict[str, Any]:
        return {
            "patch_length": self.config_.encoder.patch_length,
            "n_tokens": self.config_.encoder.n_tokens,
            "pose_patch_length": self.config_.pose_patch_length,
        }

    @property
    def _n_features_out(self) -> int:
        return self.config_.encoder.d_model
