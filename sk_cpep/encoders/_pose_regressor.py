"""What the estimators share that learn to predict pose from EMG."""

from collections.abc import Callable
from dataclasses import field
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from .._callback_support import end_task, fit_task, whole_fit
from .._sklearn_bases import RegressorMixin
from .._typing import AnyArray, Float32Array, WindowsLike
from ..nn import PoseLoss
from ..training import (
    PoseRegression,
    TrainingPlan,
    existing_device,
    map_batches,
    new_module,
    seeded,
)
from ._encoder_protocol import EncoderMixin
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._hand_model import load_hand_model
from ._identity import FitIdentity, identify, starting_generator
from ._paired_poses import PairedPoseMixin
from ._parameters import Amount, File, Flag, Positive, Size
from ._ring import RingAugmented
from ._scores import mean_over_windows
from ._trained_estimator import TrainedEstimator
from ._training_plan import training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import Windows, is_lazy, read_groups, read_windows

_FINGERTIP_SFREQ = 50.0


class PoseRegressor(
    RegressorMixin, RingAugmented, PairedPoseMixin, EncoderMixin, TrainedEstimator
):
    """Base of the pose regressors.

    A subclass has ``_make_config()``, which settles the sizes of the network, and
    ``_build_module()``, which makes it from `config_`.

    Attributes
    ----------
    sizes_ : dict
        The sizes used.

    n_parameters_ : int
        Number of weights.

    loss_terms_ : tuple of str
        What is added up.

    pose_start_ : int
        The first sample of the pose that is predicted.
    """

    sizes_: dict[str, Any] = field(init=False)
    n_parameters_: int = field(init=False)
    loss_terms_: tuple[str, ...] = field(init=False)
    pose_start_: int = field(init=False)

    @whole_fit
    def fit(
        self,
        X: WindowsLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        validation_groups: ArrayLike | None = None,
    ) -> Self:
        """Train on pairs of EMG and pose."""
        recordings = recordings_of(X, y)
        X, P = self._read_pairs(X, y, reset=True)
        self._remember_pose_type(y, P)
        self._check_number(X.shape[0])
        plan = self._plan()
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        rng = starting_generator(self, plan)
        self.fit_identity_: FitIdentity = identify(
            self, plan, rng, X=X, P=P, groups=groups, validation_groups=sets
        )
        run = FitRun(self, plan, self.fit_identity_)
        valid_rows = held_out_rows(sets, plan, rng)
        self.config_: Any = self._make_config()
        loss = self._loss()
        task = fit_task(self, self.max_epochs)
        with seeded(rng.randint(2**31)) as generator:
            module: Any = new_module(self._build_module, generator)
            self.history_: list[dict[str, Any]] = run.train(
                PoseRegression(module, loss, self._augmentation()),
                lambda: [X, P],
                rng=rng,
                valid_rows=valid_rows,
                description=f"{type(self).__name__} ({self.n_channels_in_} channels)",
                callbacks=[*(self.callbacks or ()), epoch_hook(task, self)],
            )
        self.module_ = module
        self.loss_terms_ = loss.terms
        self.pose_start_ = module.pose_start
        self.n_parameters_ = sum(p.numel() for p in module.parameters())
        self.sizes_ = self._sizes()
        self.n_iter_: int = len(self.history_)
        end_task(task, self)
        return self

    def _make_config(self) -> Any:
        """Settle the sizes of the network."""
        raise NotImplementedError

    def _build_module(self) -> nn.Module:
        """Make the network of `config_`."""
        raise NotImplementedError

    def _sizes(self) -> dict[str, Any]:
        """The sizes that `sizes_` tells."""
        raise NotImplementedError

    def _check_number(self, n_windows: int) -> None:
        """Refuse windows that are too few to train on."""

    def _plan(self) -> TrainingPlan:
        return training_plan(self)

    def _loss(self) -> PoseLoss:
        return PoseLoss()

    def _remember_pose_type(self, y: ArrayLike, P: Windows) -> None:
        """Predictions are of as many dimensions as `y`, and as precise."""
        windowed = self.pose_transformer is not None or is_lazy(y)
        self._pose_ndim = 3 if windowed else np.asarray(y).ndim
        self._pose_dtype = np.result_type(getattr(P, "dtype", np.float32), np.float32)

    def predict(self, X: WindowsLike) -> AnyArray:
        """Predict poses.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        P : ndarray of shape (n_windows, n_joints, n_pose_times)
            Poses in the unit of those seen in :meth:`fit`, and of as many dimensions.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        return self._as_given(self._map(self._predict_batch, X))

    def _predict_batch(self, x: Tensor, initial_pose: Tensor | None = None) -> Tensor:
        """Poses of whole windows: the first one is held in the left context."""
        pose = self.module_(x, initial_pose)
        return F.pad(pose, (self.pose_start_, 0), mode="replicate")

    def _as_given(self, P: AnyArray) -> AnyArray:
        """Poses (n, J, T) in the shape and type of the pose given to fit."""
        index: tuple[Any, ...] = (slice(None), *[0] * (3 - self._pose_ndim))
        return P.astype(self._pose_dtype, copy=False)[index]

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed EMG windows, for a probe.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, n_dims)
            What the network makes of the EMG before it decodes poses, averaged over
            time.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        return self._map(lambda x: self.encoder_(x, "mean"), X)

    def score(
        self, X: WindowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Negative mean absolute error of the predicted poses.

        Returns
        -------
        score : float
            In the unit of the pose (radians); higher is better, 0 is perfect. Only
            samples from `pose_start_` on count: before them nothing is predicted.
            Where the network tracks, it is told the first of them.
        """
        check_is_fitted(self)
        X, P = self._read_pairs(X, y, reset=False)
        errors = self._map(self._error_batch, X, P)
        return -mean_over_windows(errors, sample_weight)

    def _error_batch(self, x: Tensor, p: Tensor) -> Tensor:
        """Mean absolute error of each window."""
        p = p[:, :, self.pose_start_ :]
        initial_pose = p[:, :, 0] if self.module_.needs_initial_pose else None
        return (self.module_(x, initial_pose) - p).abs().mean(dim=(1, 2))

    def _map(self, function: Callable[..., Tensor], *arrays: Windows) -> Float32Array:
        return map_batches(
            function,
            *arrays,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            fewest=4,  # fewer rows of a product are summed in another order
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # which is no R2
        return tags


class BaselineRegressor(PoseRegressor):
    """Base of the baselines of emg2pose: Adam at a constant rate, and their loss.

    Parameters
    ----------
    sfreq : float
        Rate of the EMG in Hz.

    hand_model : str or path-like
        JSON file of a hand (:func:`~sk_cpep.encoders.load_hand_model`), for the part
        of the published loss that compares fingertips. It needs the 20 joint angles of
        emg2pose in radians. None leaves that part out, and `loss_terms_` says so.

    fingertip_weight : float
        Weight of the mean distance of the fingertips in mm, at 50 Hz, beside the mean
        absolute error of the angles.

    lr : float
        Learning rate of Adam, constant.

    gradient_clip : float
        Largest norm of the gradient. None does not clip.

    Attributes
    ----------
    loss_terms_ : tuple of str
        What is added up: ``("angle",)``, or with a hand model ``("angle",
        "fingertip")``.
    """

    sfreq: Positive = 2000.0
    hand_model: File | None = None
    fingertip_weight: Amount = 0.01
    lr: Positive = 1e-3
    batch_size: Size = 64
    max_epochs: Size = 500
    early_stopping: Flag = True
    n_iter_no_change: Size = 50
    tol: Amount = 0.0

    def _plan(self) -> TrainingPlan:
        return training_plan(
            self, optimizer="adam", schedule="constant", weight_decay=0.0
        )

    def _loss(self) -> PoseLoss:
        """Error of the angles; with a hand model, of the fingertips at 50 Hz too."""
        if self.hand_model is None:
            return PoseLoss()
        hand = load_hand_model(self.hand_model)
        n_joints = len(hand.axes)
        if self.n_joints_in_ != n_joints:
            raise ValueError(
                f"hand_model has {n_joints} joints, but P has {self.n_joints_in_}. Give "
                "the 20 joint angles of emg2pose in radians, or hand_model=None."
            )
        rate = self.sfreq * self.n_pose_times_in_ / self.n_times_in_
        every = max(1, round(rate / _FINGERTIP_SFREQ))
        return PoseLoss(hand=hand, weight=self.fingertip_weight, every=every)


def read_sizes(name: str, values: ArrayLike, n: int) -> tuple[int, ...]:
    """A tuple of `n` whole numbers from 1 on."""
    given = np.asarray(values, dtype=object)
    sizes = given.ravel().tolist()
    if given.shape != (n,) or not all(map(is_size, sizes)):
        raise ValueError(f"{name} must be {n} whole numbers from 1 on, got {values!r}.")
    return tuple(map(int, sizes))


def is_size(value: Any) -> bool:
    """Whether a value is a whole number from 1 on, of any type but bool."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and value >= 1 and value % 1 == 0
