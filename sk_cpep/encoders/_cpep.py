"""Contrastive pose-EMG pre-training as an estimator."""

from collections.abc import Callable, Sequence
from dataclasses import field
from numbers import Real
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._callback_support import (
    begin_task,
    end_task,
    fit_task,
    leaf_task,
    propagated,
    whole_fit,
)
from .._typing import AnyArray, Float32Array, WindowsLike
from ..nn import AlignmentConfig, Augmentation, PoseEMGAlignment, WindowEncoder
from ..nn._losses import PairLoss, make_criterion
from ..training import (
    Alignment,
    existing_device,
    map_batches,
    new_module,
    seeded,
)
from ._augmented import Augmented
from ._blocks import blocks_of_encoder
from ._encoder_protocol import (
    EncoderMixin,
    Recipe,
    check_importable,
    needed_recipe_of,
)
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._given_encoder import GivenEncoder
from ._identity import FitIdentity, identify, starting_generator
from ._mae import MAE
from ._paired_poses import PairedPoseMixin
from ._parameters import Flag, Pooling, Positive
from ._scores import mean_over_windows
from ._trained_estimator import CosineTraining
from ._training_plan import training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import Windows, read_groups, read_windows

_Encoder: TypeAlias = Annotated[Any, HasMethods(["fit", "transform"]), None]
_Embedding: TypeAlias = Annotated[
    Literal["projection", "encoder"], StrOptions({"projection", "encoder"})
]
_Init: TypeAlias = Annotated[
    Literal["pretrained", "random"], StrOptions({"pretrained", "random"})
]


class CPEP(EncoderMixin, Augmented, PairedPoseMixin, CosineTraining):
    """Contrastive pose-EMG pre-training.

    ``fit(X_emg, P_pose)`` trains a masked autoencoder on each modality, freezes the
    pose encoder, and pulls the EMG encoder's embedding of a window towards the pose
    embedding of the same window, away from those of the other windows of the batch.
    Afterwards ``transform(X_emg)`` is enough for a linear probe, and, with the poses
    of :meth:`transform_pose`, for zero-shot classification.

    Parameters
    ----------
    emg_encoder : estimator, or FrozenEstimator of a fitted one
        Pre-trained on the EMG windows, or, if frozen, taken as it is. (The fitted
        estimator is never changed: alignment trains a copy of its network.) An
        :class:`MAE`; a :class:`ModuleEncoder` of a network of your own; a pose
        regressor such as :class:`PoseT`, which is pre-trained to predict the poses; or
        anything else that is a :class:`~sk_cpep.encoders.WindowEstimator`. None is
        ``MAE(patch_length=50)``. The windows need not be of EMG: an encoder of another
        sensor is aligned with the same poses (then set ``channel_rotation=0``).

    pose_encoder : estimator, or FrozenEstimator of a fitted one
        The same for the pose. None is ``MAE(patch_length=200)``.

    pose_transformer : transformer
        Applied to the pose in :meth:`fit`, :meth:`score` and :meth:`transform_pose`,
        as :class:`~sklearn.compose.TransformedTargetRegressor` does with its target:
        a :class:`~sk_cpep.Windower` when the pipeline windows its recordings. Windows
        then pair recording by recording; recordings that give more windows of one
        than of the other are refused, and a warning says where that can't be told.

    temperature : float
        Where the temperature tau of the similarities starts.

    learn_temperature : bool
        Whether tau is learned; 1 / tau is at most 100.

    pooling : {"cls", "mean"}
        What of the tokens is aligned: ``[CLS]``, or the mean of the others.

    embedding : {"projection", "encoder"}
        What :meth:`transform` returns: the projection of unit length that is aligned
        with the pose, or the encoder's embedding before the projection head, which
        only a probe can use. May be changed after fitting.

    emg_init, pose_init : {"pretrained", "random"}
        Whether an encoder is pre-trained, or starts from random weights.

    train_emg : bool
        Whether alignment trains the EMG encoder, or only the projection head.

    train_pose : bool
        Whether alignment trains the pose encoder too.

    channel_rotation : int
        While training, that is while pre-training the EMG encoder and aligning, the
        ring of electrodes is rolled by up to this many positions either way, at random.
        0 for none.

    duplicate_threshold : float
        Poses of the batch whose cosine similarity with a window's own pose is above
        this are not used as its negatives. None uses all, as the paper.

    target_temperature : float
        Share the target of a window among the like poses of the batch, by
        ``softmax(cosine / target_temperature)``. None is the paper's.

    loss : {"info_nce", "siglip"} or callable
        What pulls the two embeddings of a window together: the symmetric cross-entropy
        over a batch, as in the paper (:func:`sk_cpep.nn.info_nce`); every pair on its
        own (:class:`sk_cpep.nn.SigLIP`), with the same temperature and a learned bias;
        or a function of the embeddings of EMG and pose, (n_windows, d_model), of unit
        length, and of the scale ``1 / tau`` that gives a scalar tensor. The parameters
        of a module, or of a class of one, are trained as well. Where several processes
        share a batch, each is given all of it.

    center_pose : bool
        Subtract the mean pose embedding of the training windows before normalising,
        so that the similarities of poses spread around zero. False is the paper's.

    lr : float
        Highest learning rate of AdamW while aligning (as all that follow; the
        encoders bring their own parameters for pre-training).

    weight_decay : float
        Weight decay of AdamW; the temperature has none.

    batch_size : int
        Pairs per step, over all processes that train together: each has
        ``batch_size - 1`` negatives.

    max_epochs : int
        Passes over the pairs.

    callbacks : list of skorch callbacks
        Called around epochs and batches of the alignment.

    random_state : int, RandomState instance or None
        Pass an int for the same result in every fit; encoders without one of their
        own get theirs from it.

    Attributes
    ----------
    module_ : torch.nn.Module
        Both encoders, the projection head and the temperature
        (:class:`sk_cpep.nn.PoseEMGAlignment`). The autoencoders' decoders are not
        kept: to use them, fit the MAE first and pass it as ``FrozenEstimator(mae)``.

    temperature_ : float
        The learned temperature.

    history_ : dict of list of dict
        ``"emg_encoder"``, ``"pose_encoder"`` (empty where nothing was trained) and
        ``"alignment"``: for each epoch `epoch`, `train_loss`, `valid_loss` (with
        `early_stopping`), `lr` and `seconds`.

    n_iter_ : int
        Number of epochs of the alignment.

    See Also
    --------
    MAE : The encoders.
    ZeroShotClassifier : Names gestures by their nearest poses.

    Notes
    -----
    Processes that were launched together (``accelerate launch``, ``torchrun``; extra
    `distributed`) train together: each calls :meth:`fit` with the same parameters and
    all of the data, and takes its share of every batch. A window's negatives are the
    whole batch, in whichever process they are; only what is drawn at random differs
    from a fit in one process. Afterwards all hold the same weights. The same goes for
    every estimator of the package that trains a network.

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture Generalization
       on EMG Signals", arXiv:2509.04699, section 3.2 and Table 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import CPEP, MAE
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(64, 8, 200)).astype("float32")
    >>> P = rng.normal(size=(64, 20, 60)).astype("float32")
    >>> small = dict(d_model=32, n_layers=1, n_decoder_layers=1, max_epochs=1)
    >>> cpep = CPEP(MAE(20, **small), MAE(12, **small), max_epochs=2, random_state=0)
    >>> cpep.fit(X, P).transform(X).shape
    (64, 32)
    """

    emg_encoder: _Encoder = field(default=None, kw_only=False)
    pose_encoder: _Encoder = field(default=None, kw_only=False)
    temperature: Positive = 0.02
    learn_temperature: Flag = True
    pooling: Pooling = "cls"
    embedding: _Embedding = "projection"
    emg_init: _Init = "pretrained"
    pose_init: _Init = "pretrained"
    train_emg: Flag = True
    train_pose: Flag = False
    duplicate_threshold: (
        Annotated[float, Interval(Real, -1, 1, closed="both")] | None
    ) = None
    target_temperature: Positive | None = None
    loss: Annotated[
        str | PairLoss | type[nn.Module], StrOptions({"info_nce", "siglip"}), callable
    ] = "info_nce"
    center_pose: Flag = False

    module_: PoseEMGAlignment = field(init=False)
    config_: AlignmentConfig = field(init=False)
    temperature_: float = field(init=False)

    @whole_fit
    def fit(
        self,
        X: WindowsLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        validation_groups: ArrayLike | None = None,
    ) -> Self:
        """Pre-train both encoders, then align EMG with pose.

        Parameters
        ----------
        groups : array-like of shape (n_windows,), default=None
            The person of each window. Given, a batch of the alignment holds windows
            of one person only, so that EMG cannot be told apart by who it is of, but
            only by what the hand does; that helps where people are few. None mixes
            all, as the paper. In a Pipeline: ``pipe.fit(X, P, cpep__groups=users)``.
            `early_stopping` then sets whole people aside.

        Raises
        ------
        ValueError
            If rows do not pair, windows do not fit the encoders, the loss is no longer
            finite, or all checkpoints of a stage in `run_dir` are damaged.
        """
        recordings = recordings_of(X, y)
        X, P = self._read_pairs(X, y, reset=True)
        check_contrast(X)
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        if self.center_pose and self.train_pose:
            raise ValueError(
                "center_pose=True needs a frozen pose encoder: set train_pose=False."
            )
        plan = training_plan(self, min_batch=2)
        rng = starting_generator(self, plan)
        identity = identify(
            self, plan, rng, X=X, P=P, groups=groups, validation_groups=sets
        )
        given = self._given_encoders(rng)
        self._check_loss()
        emg, pose = given
        emg.settle(X)
        pose.settle(P)
        rows = {"groups": groups, "valid_rows": held_out_rows(sets, plan, rng)}
        task = fit_task(self, emg.needs_fit + pose.needs_fit + 1)
        self.history_: dict[str, list[dict[str, Any]]] = {
            "emg_encoder": self._pretrain(task, emg, X, P, self._augmentation(), sets),
            "pose_encoder": self._pretrain(task, pose, P, X, Augmentation(), sets),
        }
        with seeded(rng.randint(2**31)) as generator:
            self._start_alignment(given, generator)
            self.fit_identity_: FitIdentity = identity.with_facts(
                **self._starting_points(given)
            )
            plan.processes.check_same("CPEP.fit", dict(self.fit_identity_.facts))
            run = FitRun(self, plan, self.fit_identity_, stage="alignment")
            self.history_["alignment"] = self._align(run, X, P, rng, task, **rows)
        self.temperature_ = 1 / self.module_.scale.item()
        self.n_iter_: int = len(self.history_["alignment"])
        end_task(task, self)
        return self

    def _given_encoders(self, rng: np.random.RandomState) -> list[GivenEncoder]:
        """The encoder of each modality, with a seed and a folder where it has none."""
        shared = ("device", "precision", "compile", "verbose")
        common = {name: getattr(self, name) for name in shared}
        seeds = rng.randint(2**31, size=2)
        return [
            GivenEncoder(
                name,
                MAE(patch_length, **common) if encoder is None else encoder,
                init,
                {"random_state": int(seed), "run_dir": self.run_dir},
            )
            for name, encoder, init, patch_length, seed in (
                ("emg_encoder", self.emg_encoder, self.emg_init, 50, seeds[0]),
                ("pose_encoder", self.pose_encoder, self.pose_init, 200, seeds[1]),
            )
        ]

    def _check_loss(self) -> None:
        """Refuse a loss that a pickle could not find again, or without these options."""
        check_importable("loss", self.loss)
        make_criterion(self.loss, self.duplicate_threshold, self.target_temperature)

    def _pretrain(
        self,
        task: Any,
        encoder: GivenEncoder,
        windows: Windows,
        partners: Windows,
        augment: Augmentation,
        sets: AnyArray | None,
    ) -> list[dict[str, Any]]:
        """Train an encoder on windows, if it needs it; the history of its fit."""
        if not encoder.needs_fit:
            return []
        stage = leaf_task(task, encoder.name)
        with propagated(stage, encoder.estimator):
            begin_task(stage, self)
            encoder.fit(windows, partners, augment, sets)
            end_task(stage, self)
        return list(getattr(encoder.estimator, "history_", ()))

    def _starting_points(self, given: Sequence[GivenEncoder]) -> dict[str, Any]:
        """What the alignment begins with, for its identity."""
        facts: dict[str, Any] = {}
        for encoder in given:
            facts |= encoder.starting_facts(getattr(self.module_, encoder.name))
        return facts

    def _start_alignment(
        self, given: Sequence[GivenEncoder], generator: torch.Generator
    ) -> None:
        """Make `module_`, its encoders as pre-trained or new."""
        self.config_ = AlignmentConfig(
            temperature=self.temperature,
            learn_temperature=self.learn_temperature,
            pooling=self.pooling,
            loss=self.loss,
            duplicate_threshold=self.duplicate_threshold,
            target_temperature=self.target_temperature,
        )
        self._recipes = [encoder.settle_copy() for encoder in given]
        self.module_ = new_module(self._build_module, generator)
        for encoder in given:
            encoder.start(getattr(self.module_, encoder.name))

    def _align(
        self,
        run: FitRun,
        X: Windows,
        P: Windows,
        rng: np.random.RandomState,
        task: Any,
        **rows: Any,
    ) -> list[dict[str, Any]]:
        """Train `module_` on pairs; its history."""
        plan = run.plan
        frozen_pose = not self.train_pose

        def read_arrays() -> list[Any]:
            self.module_.to(plan.device)
            if self.center_pose:
                self._center_pose(P)
            if self.train_pose:
                return [X, P]
            return [X, self._map_poses(self.module_.embed_pose, P)]

        stage = begin_task(leaf_task(task, "alignment", plan.max_epochs), self)
        objective = Alignment(
            self.module_,
            self._augmentation(),
            poses_embedded=frozen_pose,
            train_emg=self.train_emg,
            gather=plan.processes.whole_batch(plan.batch_size),
        )
        history = run.train(
            objective,
            read_arrays,
            rng=rng,
            **rows,
            description="CPEP alignment",
            callbacks=[*(self.callbacks or ()), epoch_hook(stage, self)],
        )
        end_task(stage, self)
        return history

    def _center_pose(self, P: Windows) -> None:
        mean = self._map_poses(self.module_.encode_pose, P).mean(
            axis=0, dtype=np.float64
        )
        self.module_.pose_mean.copy_(torch.from_numpy(mean))

    def _build_module(self) -> PoseEMGAlignment:
        emg_encoder, pose_encoder = (recipe() for recipe in self._recipes)
        return PoseEMGAlignment(emg_encoder, pose_encoder, self.config_)

    def _fitted_recipe(self) -> Recipe:
        return self._recipes[0]

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        encoder = MAE(50) if self.emg_encoder is None else self.emg_encoder
        return needed_recipe_of(encoder, n_channels, n_times)

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed EMG windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            Projections of unit length, aligned with :meth:`transform_pose`; or, with
            ``embedding="encoder"``, what the encoder gives before the projection.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        module, projected = self.module_, self.embedding == "projection"
        function = module.embed_emg if projected else module.encode_emg
        return self._map(function, X, module.emg_encoder)

    def transform_pose(self, P: ArrayLike) -> Float32Array:
        """Embed poses.

        Parameters
        ----------
        P : array-like of shape (n_windows, n_joints, n_pose_times)
            Pose windows, or what `pose_transformer` takes.

        Returns
        -------
        V : float32 ndarray of shape (n_windows, d_model)
            Embeddings of unit length.
        """
        check_is_fitted(self)
        return self._map_poses(
            self.module_.embed_pose, self._read_poses(P, reset=False)
        )

    def score(
        self, X: WindowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Top-1 retrieval accuracy among the pairs given.

        Returns
        -------
        score : float
            Share of EMG windows whose most similar pose, of all poses given, is
            their own. Chance is ``1 / n_windows``: compare scores of sets of one size.
        """
        check_is_fitted(self)
        X, P = self._read_pairs(X, y, reset=False)
        check_contrast(X)
        module = self.module_
        U = self._map(module.embed_emg, X, module.emg_encoder)
        V = self._map_poses(module.embed_pose, P)
        found = nearest_rows(U, V) == np.arange(len(U))
        return mean_over_windows(found, sample_weight)

    def _embedding_parts(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What embeds poses, and what embeds EMG, for those who keep embeddings."""
        module = self.module_
        pooling = module.config.pooling
        pose = module.pose_encoder, module.pose_mean, self.pose_transformer_, pooling
        return pose, (module.emg_encoder, module.head, pooling)

    def _map_poses(
        self, function: Callable[[Tensor], Tensor], P: Windows
    ) -> Float32Array:
        return self._map(function, P, self.module_.pose_encoder)

    def _map(
        self,
        function: Callable[[Tensor], Tensor],
        windows: Windows,
        encoder: WindowEncoder,
    ) -> Float32Array:
        return map_batches(
            function,
            windows,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            **blocks_of_encoder(encoder),
        )

    @property
    def _n_features_out(self) -> int:
        if self.embedding == "encoder":
            return self.module_.emg_encoder.d_model
        return self.module_.pose_encoder.d_model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def check_contrast(X: Windows) -> None:
    """Refuse windows that are too few to tell apart."""
    if X.shape[0] < 2:
        raise ValueError(
            f"CPEP contrasts windows with each other and needs 2 at the least, got "
            f"n_samples={X.shape[0]}."
        )


def nearest_rows(U: AnyArray, V: AnyArray, block: int = 1024) -> AnyArray:
    """Index of the row of V with the highest inner product, for each row of U."""
    blocks = np.split(U, range(block, len(U), block))
    return np.concatenate([np.argmax(u @ V.T, axis=1) for u in blocks])
