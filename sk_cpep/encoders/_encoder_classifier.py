"""An encoder with a linear head, trained on labels."""

from dataclasses import field
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.frozen import FrozenEstimator
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import check_is_fitted

from .._callback_support import end_task, fit_task, whole_fit
from .._sklearn_bases import ClassifierMixin
from .._typing import AnyArray, Float32Array, Float64Array, WindowsLike
from ..nn import WindowClassifier, WindowClassifierConfig
from ..training import (
    Classification,
    existing_device,
    map_batches,
    new_module,
    seeded,
)
from ._augmented import Augmented
from ._blocks import blocks_of_encoder
from ._encoder_protocol import EncoderMixin, Recipe, needed_recipe_of
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._given_encoder import GivenEncoder
from ._identity import FitIdentity, identify, starting_generator
from ._labels import read_labels
from ._mae import MAE
from ._parameters import Pooling, Probability
from ._trained_estimator import CosineTraining
from ._training_plan import training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import read_groups, read_windows

_Init: TypeAlias = Annotated[
    Literal["pretrained", "random"], StrOptions({"pretrained", "random"})
]
_ClassWeight: TypeAlias = Annotated[Any, StrOptions({"balanced"}), dict, None]


class EncoderClassifier(ClassifierMixin, EncoderMixin, Augmented, CosineTraining):
    """Encoder of EMG windows with a linear head, trained end to end on labels.

    The supervised rival of :class:`CPEP`: the same encoder, engine and augmentation,
    but each window comes with its label, and the loss is the cross-entropy of a linear
    layer on the encoder's embedding. No pose is seen.

    Parameters
    ----------
    encoder : estimator, or FrozenEstimator of a fitted one
        Says how the encoder is made: an :class:`MAE`, a :class:`PoseT`, a
        :class:`ModuleEncoder`, or anything else that is a
        :class:`~sk_cpep.encoders.WindowEstimator` with ``encoder_recipe``. It is not
        fitted here: of its parameters only those of the network count. A
        FrozenEstimator of a fitted one gives its weights too (a copy of them is
        trained, the fitted estimator is never changed); of a fitted :class:`CPEP`,
        those of its EMG encoder. None is ``MAE(patch_length=50)``.

    init : {"pretrained", "random"}
        Whether training starts from the weights of a fitted encoder. One that is not
        fitted starts from random weights either way.

    pooling : {"cls", "mean"}
        What of the tokens the head is given: ``[CLS]``, or the mean of the others.

    class_weight : "balanced", dict of label to float, or None
        What the loss of a window is multiplied by, by its class; ``"balanced"`` is
        ``n_windows / (n_classes * n_windows_of_the_class)``. The loss of a batch is the
        mean over its windows, whatever they weigh.

    label_smoothing : float
        Share of the target that all classes have in equal parts [1]_.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.WindowClassifier`).

    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    See Also
    --------
    CPEP : Learns from poses, without labels.
    PoseT : The same encoder, trained on poses.

    Notes
    -----
    Everything learns: to train only a linear layer on embeddings, give those of a
    fitted encoder to :class:`~sklearn.linear_model.LogisticRegression`.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer
       Vision", CVPR 2016, section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import MAE, EncoderClassifier
    >>> y = np.array(["fist", "point"] * 16)
    >>> X = np.random.default_rng(0).normal(size=(32, 4, 100)).astype("float32")
    >>> X[y == "fist", :2] *= 3
    >>> encoder = MAE(20, d_model=32, n_layers=1)
    >>> classifier = EncoderClassifier(
    ...     encoder, channel_rotation=0, lr=1e-2, max_epochs=30, random_state=0)
    >>> float(classifier.fit(X, y).score(X, y))
    1.0
    """

    encoder: Annotated[Any, HasMethods(["fit", "transform"]), None] = field(
        default=None, kw_only=False
    )
    init: _Init = "pretrained"
    pooling: Pooling = "cls"
    class_weight: _ClassWeight = None
    label_smoothing: Probability = 0.0

    module_: WindowClassifier = field(init=False)
    config_: WindowClassifierConfig = field(init=False)
    classes_: AnyArray = field(init=False)

    @whole_fit
    def fit(
        self,
        X: WindowsLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        validation_groups: ArrayLike | None = None,
    ) -> Self:
        """Train on windows and their labels.

        Parameters
        ----------
        y : array-like of shape (n_windows,)
            The label of each window, numbers or text, of 2 classes at the least.
            (Labels per sample become labels per window with
            :func:`~sk_cpep.make_windows`.)

        Raises
        ------
        ValueError
            If there is not one label a window, if labels are missing, of several kinds
            or of a single class, windows do not fit the encoder, the loss is no longer
            finite, or all checkpoints of this fit in `run_dir` are damaged.
        """
        recordings = recordings_of(X)
        X = read_windows(self, X, reset=True)
        labels = read_labels(y, X.shape[0], reader=type(self).__name__)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        plan = training_plan(self)
        rng = starting_generator(self, plan)
        identity = identify(
            self,
            plan,
            rng,
            X=X,
            y=codes,
            validation_groups=sets,
            facts={"classes": self.classes_},
        )
        given = self._given_encoder()
        given.settle(X)
        class_weights = self._class_weights(labels)
        valid_rows = held_out_rows(sets, plan, rng)
        task = fit_task(self, self.max_epochs)
        with seeded(rng.randint(2**31)) as generator:
            module = self._start(given, generator)
            self.fit_identity_: FitIdentity = identity.with_facts(
                **given.starting_facts(getattr(module, given.name))
            )
            plan.processes.check_same(
                "EncoderClassifier.fit", dict(self.fit_identity_.facts)
            )
            objective = Classification(
                module,
                self._augmentation(),
                class_weights=class_weights,
                label_smoothing=self.label_smoothing,
            )
            self.history_: list[dict[str, Any]] = FitRun(
                self, plan, self.fit_identity_
            ).train(
                objective,
                lambda: [X, codes],
                rng=rng,
                valid_rows=valid_rows,
                description=f"{type(self).__name__} ({self.n_channels_in_} channels)",
                callbacks=[*(self.callbacks or ()), epoch_hook(task, self)],
            )
        self.module_ = module
        self.n_iter_: int = len(self.history_)
        end_task(task, self)
        return self

    def _given_encoder(self) -> GivenEncoder:
        """The encoder, which has weights to start from only if it is a fitted one."""
        encoder = self._encoder_or_default()
        init = self.init if isinstance(encoder, FrozenEstimator) else "random"
        return GivenEncoder("encoder", encoder, init, {})

    def _encoder_or_default(self) -> Any:
        return MAE() if self.encoder is None else self.encoder

    def _class_weights(self, labels: AnyArray) -> torch.Tensor | None:
        """What the loss of each class is multiplied by; None for nothing."""
        if self.class_weight is None:
            return None
        weights = compute_class_weight(
            self.class_weight, classes=self.classes_, y=labels
        )
        if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise ValueError(
                "class_weight must hold finite weights from 0 on, not all of them 0, "
                f"got {self.class_weight!r}."
            )
        return torch.from_numpy(weights.astype(np.float32))

    def _start(
        self, given: GivenEncoder, generator: torch.Generator
    ) -> WindowClassifier:
        """A new network, its encoder as it was fitted, or new too."""
        self.config_ = WindowClassifierConfig(len(self.classes_), self.pooling)
        self._recipe = given.settle_copy()
        module = new_module(self._build_module, generator)
        given.start(getattr(module, given.name))
        return module

    def _build_module(self) -> WindowClassifier:
        return WindowClassifier(self._recipe(), self.config_)

    def _fitted_recipe(self) -> Recipe:
        return self._recipe

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        return needed_recipe_of(self._encoder_or_default(), n_channels, n_times)

    def predict(self, X: WindowsLike) -> AnyArray:
        """Name the class of each window.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        y : ndarray of shape (n_windows,)
            That of the largest logit.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: WindowsLike) -> Float64Array:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        proba : ndarray of shape (n_windows, n_classes)
            Softmax of the logits, in the order of `classes_`.
        """
        logits = self._logits(X)
        with np.errstate(under="ignore"):  # whatever the caller has set
            return np.asarray(softmax(logits))

    def decision_function(self, X: WindowsLike) -> Float64Array:
        """Logits of the classes.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            EMG windows.

        Returns
        -------
        logits : ndarray of shape (n_windows, n_classes) or (n_windows,)
            In the order of `classes_`; of two classes, that of the second less that of
            the first.
        """
        logits = self._logits(X)
        return logits if len(self.classes_) > 2 else logits[:, 1] - logits[:, 0]

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            What the encoder gives to the head.
        """
        check_is_fitted(self)
        return self._map(self.module_.encode, X)

    def _logits(self, X: WindowsLike) -> Float64Array:
        check_is_fitted(self)
        return self._map(self.module_.logits, X).astype(np.float64)

    def _map(self, function: Any, X: WindowsLike) -> Float32Array:
        X = read_windows(self, X, reset=False)
        return map_batches(
            function,
            X,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            **blocks_of_encoder(self.module_.encoder),
        )

    @property
    def _n_features_out(self) -> int:
        return self.module_.encoder.d_model
