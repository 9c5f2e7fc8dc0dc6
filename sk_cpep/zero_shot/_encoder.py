"""The encoder of both modalities, and its embeddings scaled to unit length."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._typing import Float32Array
from ._gallery import slices

# Numbers that are held in float64 at once.
_CHUNK_SIZE = 2**20


class AlignedEncoder(Protocol):
    """All that :class:`ZeroShotClassifier` needs of the encoder's last step.

    The source that `transform` embeds may be EMG, an IMU or anything else, and the
    poses may be of any body part: only that both methods embed into one space counts.
    An encoder that has a `fit` must have been fitted.
    """

    def transform(self, X: Any, /) -> ArrayLike:
        """Embed windows of the source: one row of shape (n_dims,) for each window."""
        ...

    def transform_pose(self, P: Any, /) -> ArrayLike:
        """Embed poses: one row of shape (n_dims,) for each pose."""
        ...


def steps_of(encoder: Any) -> list[Any]:
    """The steps in order, in whatever FrozenEstimator, Pipeline and search they are."""
    before: list[Any] = []
    while True:
        if isinstance(encoder, FrozenEstimator):
            encoder = encoder.estimator
        elif isinstance(encoder, Pipeline):
            before += [step for _, step in encoder.steps[:-1]]
            encoder = encoder.steps[-1][1]
        elif hasattr(encoder, "best_estimator_"):
            encoder = encoder.best_estimator_
        else:
            return [*before, encoder]


def fitted_pose_encoder(encoder: Any) -> AlignedEncoder:
    """Return the last step of `encoder`, which embeds poses, if it can be used.

    Raises
    ------
    TypeError
        If it does not embed both modalities.

    NotFittedError
        If it is not fitted.

    ValueError
        If it was told to return embeddings that are not aligned with the poses.
    """
    step = check_aligned(encoder)
    try:
        if hasattr(step, "fit"):
            check_is_fitted(step)
    except NotFittedError as error:
        raise NotFittedError(
            f"The encoder {type(step).__name__} is not fitted. ZeroShotClassifier does "
            "not fit its encoder: fit it first, on windows and poses, and wrap it as "
            "ZeroShotClassifier(FrozenEstimator(encoder)) so that it stays fitted when "
            "the classifier is cloned (cross_val_score, GridSearchCV)."
        ) from error
    return step


def check_aligned(encoder: Any) -> Any:
    """Return the last step of `encoder`, fitted or not, if it embeds poses alike.

    Raises
    ------
    TypeError
        If it does not embed both modalities.

    ValueError
        If it was told to return embeddings that are not aligned with the poses.
    """
    step = steps_of(encoder)[-1]
    if not (hasattr(step, "transform_pose") and hasattr(encoder, "transform")):
        raise TypeError(
            "ZeroShotClassifier needs an encoder with transform(X) for the windows and "
            "transform_pose(P) for poses: a fitted CPEP, a Pipeline that ends in one, "
            f"or FrozenEstimator around either. Got {encoder!r}."
        )
    if getattr(step, "embedding", None) == "encoder":
        raise ValueError(
            "The encoder has embedding='encoder': its embeddings are those before the "
            "projection, which are not aligned with the poses. Use "
            "encoder.set_params(embedding='projection') (no training is needed)."
        )
    return step


def normalise(Z: ArrayLike) -> Float32Array:
    """Scale rows (n, d) to unit length, float32; rows of zeros stay zeros."""
    Z = np.asarray(Z)
    if Z.ndim != 2:
        raise ValueError(
            f"The encoder must give embeddings (n_windows, n_dims), got {Z.shape}."
        )
    unit, n_bad = np.empty(Z.shape, dtype=np.float32), 0
    for part in slices(len(Z), max(1, _CHUNK_SIZE // max(1, Z.shape[1]))):
        rows = Z[part].astype(np.float64, copy=False)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        n_bad += int((~np.isfinite(norm)).sum())
        norm[norm == 0] = 1
        with np.errstate(invalid="ignore"):
            unit[part] = rows / norm
    if n_bad:
        raise ValueError(
            f"The encoder gave NaN or infinity for {n_bad} of {len(Z)} rows: look for "
            "NaN in the data and for a training that diverged."
        )
    return unit
