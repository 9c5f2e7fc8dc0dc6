"""What an encoder makes of EMG and poses: aligned embeddings of unit length."""

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._gallery import slices

# Numbers that are held in float64 at once.
_CHUNK_SIZE = 2**20


def steps_of(encoder):
    """The steps in order, in whatever FrozenEstimator, Pipeline and search they are."""
    before = []
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


def pose_encoder(encoder):
    """Return the fitted step of `encoder` that embeds poses."""
    step = steps_of(encoder)[-1]
    if not (hasattr(step, "transform_pose") and hasattr(encoder, "transform")):
        raise TypeError(
            "ZeroShotClassifier needs an encoder with transform(X) for EMG and "
            "transform_pose(P) for poses: a fitted CPEP, a Pipeline that ends in one, "
            f"or FrozenEstimator around either. Got {encoder!r}."
        )
    _check_encoder_fitted(encoder)
    if getattr(step, "embedding", "projection") != "projection":
        raise ValueError(
            f"The encoder has embedding={step.embedding!r}: its EMG embeddings are those "
            "before the projection, which are not aligned with the poses. Use "
            "encoder.set_params(embedding='projection') (no training is needed)."
        )
    return step


def _check_encoder_fitted(encoder):
    """Raise NotFittedError, with the way out, for an encoder not fitted yet."""
    step = steps_of(encoder)[-1]
    if not hasattr(step, "fit"):
        return
    try:
        check_is_fitted(step)
    except NotFittedError as error:
        raise NotFittedError(
            f"The encoder {type(step).__name__} is not fitted. ZeroShotClassifier uses "
            "it as it is: fit it first, on EMG and poses, and wrap it as "
            "ZeroShotClassifier(FrozenEstimator(encoder)) so that it stays fitted when "
            "the classifier is cloned (cross_val_score, GridSearchCV)."
        ) from error


def normalise(Z):
    """Scale rows (n, d) to unit length, float32; rows of zeros stay zeros."""
    Z = np.asarray(Z)
    if Z.ndim != 2:
        raise ValueError(
            f"The encoder must give embeddings (n_windows, n_dims), got {Z.shape}."
        )
    parts = list(slices(len(Z), max(1, _CHUNK_SIZE // max(1, Z.shape[1]))))
    norm = np.empty((len(Z), 1))
    for part in parts:
        rows = Z[part].astype(np.float64, copy=False)
        norm[part] = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norm).all():
        raise ValueError(
            f"The encoder gave NaN or infinity for {(~np.isfinite(norm)).sum()} of "
            f"{len(Z)} rows: look for NaN in the data and for a training that diverged."
        )
    norm[norm == 0] = 1
    unit = np.empty(Z.shape, dtype=np.float32)
    for part in parts:
        unit[part] = Z[part] / norm[part]
    return unit
