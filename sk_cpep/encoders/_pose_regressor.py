"""What the estimators share that learn to predict pose from EMG."""

from numbers import Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from .._all_or_nothing import all_or_nothing
from .._callback_support import (
    CallbackSupportMixin,
    end_task,
    fit_task,
    with_callbacks,
)
from ..nn import Augmentation, PoseLoss
from ..training import (
    PoseRegression,
    existing_device,
    map_batches,
    new_module,
    seeded,
)
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._hand_model import load_hand_model
from ._identity import identify, starting_generator
from ._persistence import PickledWeightsMixin
from ._scores import mean_over_windows
from ._training_parameters import training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import (
    PairedPoseMixin,
    is_lazy,
    read_groups,
    read_ring,
    read_windows,
)

_FINGERTIP_SFREQ = 50.0


class PoseRegressor(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    PairedPoseMixin,
    PickledWeightsMixin,
    BaseEstimator,
):
    """Base of the pose regressors.

    A subclass has ``_make_config()``, which settles the sizes of the network,
    ``_build_module()``, which makes it from `config_`, and may have others of the
    methods in the middle.
    """

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, groups=None, validation_groups=None):
        """Train on pairs of EMG and pose.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows, best of unit variance. An object with a 3-D `shape` that
            takes an array of indices (or has ``__getitems__``) is read batch by
            batch, never into main memory whole.

        y : array-like of shape (n_windows, n_joints, n_pose_times)
            The pose windows ``P`` of the same moments, one a row of `X`, at any rate;
            joint angles in radians. Whatever `pose_transformer` takes, if there is
            one. Two dimensions are one joint, one is one joint at one time.

        groups : array-like of shape (n_windows,), default=None
            The person of each window. Given, `early_stopping` sets whole people
            aside, not windows of people that are trained on.

        validation_groups : array-like of shape (n_windows,), default=None
            What `early_stopping` sets aside as a whole instead, such as the recording
            of each window. Without either, it is recordings where `X` knows them; see
            :meth:`CPEP.fit`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If rows do not pair, windows are too short for the network, the loss is no
            longer finite, or all checkpoints of this fit in `run_dir` are damaged.

        OSError
            If a checkpoint cannot be written. Earlier ones are left as they are.
        """
        recordings = recordings_of(X, y)
        X, P = self._read_pairs(X, y, reset=True)
        self._remember_pose_type(y, P)
        self._check_number(X.shape[0])
        plan = self._plan()
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        rng = starting_generator(self, plan)
        self.fit_identity_ = identify(
            self, plan, rng, X=X, P=P, groups=groups, validation_groups=sets
        )
        run = FitRun(self, plan, self.fit_identity_)
        valid_rows = held_out_rows(sets, plan, rng)
        self.config_ = self._make_config()
        loss = self._loss()
        task = fit_task(self, self.max_epochs)
        with seeded(rng.randint(2**31)) as generator:
            module = new_module(self._build_module, generator)
            self.history_ = run.train(
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
        self.n_iter_ = len(self.history_)
        end_task(task, self)
        return self

    def _check_number(self, n_windows):
        """Refuse windows that are too few to train on."""

    def _plan(self):
        return training_plan(self)

    def _loss(self):
        return PoseLoss()

    def _augmentation(self):
        ring = read_ring(self.ring_channels, self.n_channels_in_)
        return Augmentation(channel_rotation=self.channel_rotation, ring=ring)

    def _remember_pose_type(self, y, P):
        """Predictions are of as many dimensions as `y`, and as precise."""
        windowed = self.pose_transformer is not None or is_lazy(y)
        self._pose_ndim = 3 if windowed else np.asarray(y).ndim
        self._pose_dtype = np.result_type(getattr(P, "dtype", np.float32), np.float32)

    def predict(self, X):
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

    def _predict_batch(self, x, initial_pose=None):
        """Poses of whole windows: in the left context, the first is held."""
        pose = self.module_(x, initial_pose)
        return F.pad(pose, (self.pose_start_, 0), mode="replicate")

    def _as_given(self, P):
        """Poses (n, J, T) in the shape and type of the pose given to fit."""
        P = P.astype(self._pose_dtype, copy=False)
        return P[(slice(None), *[0] * (3 - self._pose_ndim))]

    def transform(self, X):
        """Embed EMG windows, for a probe.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, n_dims)
            What the network makes of the EMG before it decodes poses, averaged over
            time.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        return self._map(self.module_.embed, X)

    def score(self, X, y, sample_weight=None):
        """Negative mean absolute error of the predicted poses.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        y : array-like of shape (n_windows, n_joints, n_pose_times)
            Their pose windows ``P``, or what `pose_transformer` takes.

        sample_weight : array-like of shape (n_windows,), default=None
            How much each window counts, from 0 on. None counts all alike.

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

    def _error_batch(self, x, p):
        """Mean absolute error of each window."""
        p = p[:, :, self.pose_start_ :]
        initial_pose = p[:, :, 0] if self.module_.needs_initial_pose else None
        return (self.module_(x, initial_pose) - p).abs().mean(dim=(1, 2))

    def _map(self, function, *arrays):
        return map_batches(
            function,
            *arrays,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            fewest=4,  # fewer rows of a product are summed in another order
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.regressor_tags.poor_score = True  # which is no R2
        return tags


class BaselineRegressor(PoseRegressor):
    """Base of the baselines of emg2pose: how they are trained."""

    def _plan(self):
        return training_plan(
            self, optimizer="adam", schedule="constant", weight_decay=0.0
        )

    def _loss(self):
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


def read_sizes(name, values, n):
    """So many whole numbers from 1 on as a tuple."""
    given = np.asarray(values, dtype=object)
    sizes = given.ravel().tolist()
    if given.shape != (n,) or not all(map(is_size, sizes)):
        shown = tuple(values) if given.ndim else values
        raise ValueError(f"{name} must be {n} whole numbers from 1 on, got {shown}.")
    return tuple(map(int, sizes))


def is_size(value):
    """Whether a value is a whole number from 1 on, of any type but bool."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and value >= 1 and value % 1 == 0
