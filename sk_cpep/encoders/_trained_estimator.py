"""What all estimators share that train a network."""

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, Literal, Self

import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import StrOptions

from .._callback_support import CallbackSupportMixin
from .._typing import AnyArray, Float32Array, RandomStateLike, WindowsLike
from ._identity import FitIdentity
from ._parameters import (
    Amount,
    DeclaredParameters,
    File,
    Flag,
    Fraction,
    Positive,
    Size,
)
from ._persistence import PickledWeightsMixin


class TrainedEstimator(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    PickledWeightsMixin,
    DeclaredParameters,
    BaseEstimator,
):
    """Base of the estimators that train a network: how it is trained.

    Parameters
    ----------
    lr : float
        Highest learning rate of AdamW; it follows a cosine with warm restarts.

    batch_size : int
        Windows per step, over all processes that train together.

    max_epochs : int
        Passes over the windows.

    early_stopping : bool
        Set windows aside, stop when the loss on them no longer falls, and keep the
        best weights. People or recordings are set aside whole where :meth:`fit` is told
        them or finds them; otherwise windows are drawn one by one, and where windows
        overlap, those set aside share samples with those that are trained on.

    validation_fraction : float
        Share of the windows (people, recordings) set aside, with `early_stopping`.

    n_iter_no_change : int
        Epochs without an improvement of at least `tol` before stopping.

    tol : float
        See `n_iter_no_change`.

    device : str or torch.device
        Where to compute; ``"auto"`` takes a GPU if there is one.

    precision : {"auto", "float32", "bfloat16"}
        Type of the matrix products while training; ``"auto"`` is bfloat16 where
        the hardware has units for it. Embeddings are always computed in float32.

    compile : bool
        Compile the training step with :func:`torch.compile`; on one GPU, whole steps are
        replayed as a CUDA graph (skorch callbacks are then not told of gradients).
        It pays off from some hundreds of steps on.

    run_dir : path-like
        Folder of runs. Every epoch leaves a checkpoint in
        ``run_dir/<stage>-<identity>``, where the identity is a digest of everything
        that the result depends on: parameters, data, seed. A fit that finds its
        identity ended there takes its weights, one that was interrupted is resumed,
        and any other begins beside what is there. See the notes of :class:`MAE`.

    callbacks : list of skorch callbacks
        Called around epochs and batches.

    random_state : int, RandomState instance or None
        Pass an int for the same result in every fit; on a CPU, bit for bit.

    verbose : int
        From 1 on, a progress bar with the loss and the time left.

    Attributes
    ----------
    history_ : list of dict
        For each epoch `epoch`, `train_loss`, `valid_loss` (with `early_stopping`),
        `lr` and `seconds`.

    n_iter_ : int
        Number of epochs run.

    fit_identity_ : FitIdentity
        What the result depends on: `facts`, by name, and their `digest`.

    n_channels_in_, n_times_in_ : int
        Shape of the EMG windows seen in :meth:`fit`.

    n_features_in_ : int
        Number of channels (of samples, if the windows were two-dimensional).

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had any (a DataFrame).
    """

    lr: Positive = 1e-4
    batch_size: Size = 256
    max_epochs: Size = 100
    early_stopping: Flag = False
    validation_fraction: Fraction = 0.1
    n_iter_no_change: Size = 10
    tol: Amount = 1e-4
    device: Annotated[str | torch.device, str, torch.device] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        StrOptions({"auto", "float32", "bfloat16"}),
    ] = "auto"
    compile: Flag = False
    run_dir: File | None = None
    callbacks: Annotated[Sequence[Any] | None, list, tuple, None] = None
    random_state: Annotated[RandomStateLike, "random_state"] = None
    verbose: Annotated[int, "verbose"] = 0

    module_: Any = field(init=False)
    config_: Any = field(init=False)
    history_: Any = field(init=False)
    n_iter_: int = field(init=False)
    fit_identity_: FitIdentity = field(init=False)
    n_channels_in_: int = field(init=False)
    n_times_in_: int = field(init=False)
    n_features_in_: int = field(init=False)
    feature_names_in_: AnyArray = field(init=False)

    def fit(
        self,
        X: WindowsLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        validation_groups: ArrayLike | None = None,
    ) -> Self:
        """Train on windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows, best of unit variance. Two dimensions are one channel. An
            object with a 3-D `shape` that takes an array of indices (or has
            ``__getitems__``) is read batch by batch, never into main memory whole.

        y : array-like of shape (n_windows, n_joints, n_pose_times)
            The pose windows ``P`` of the same moments, one a row of `X`, at any rate;
            joint angles in radians. Whatever `pose_transformer` takes, if there is
            one. Two dimensions are one joint, one is one joint at one time.

        groups : array-like of shape (n_windows,), default=None
            The person of each window. Given, `early_stopping` sets whole people
            aside, not windows of people that are trained on.

        validation_groups : array-like of shape (n_windows,), default=None
            What `early_stopping` sets aside as a whole instead, such as the recording
            of each window. None takes `groups`; without these, recordings where `X`
            knows them (a :class:`~sk_cpep.datasets.WindowArray`, or windows of several
            recordings that a :class:`~sk_cpep.Windower` of the pipeline cut); otherwise
            windows are drawn one by one, and where they overlap, those set aside share
            samples with those that are trained on.

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
        raise NotImplementedError

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, n_dims)
            Embeddings.
        """
        raise NotImplementedError

    def score(
        self, X: WindowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """How well windows are done.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        y : array-like of shape (n_windows, n_joints, n_pose_times)
            Their pose windows ``P``, or what `pose_transformer` takes.

        sample_weight : array-like of shape (n_windows,), default=None
            How much each window counts, from 0 on. None counts them equally.

        Returns
        -------
        score : float
            Higher is better.
        """
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class CosineTraining(TrainedEstimator):
    """Base of the estimators that train as the paper does: AdamW, cosine, restarts.

    Parameters
    ----------
    weight_decay : float
        Weight decay of AdamW.

    restart_period : int
        Epochs from one warm restart to the next. None is `max_epochs`: one cosine. (A
        fit that is resumed with a larger `max_epochs` keeps the one it began with.)
    """

    weight_decay: Amount = 1e-5
    restart_period: Size | None = None
