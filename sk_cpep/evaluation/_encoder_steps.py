"""The steps of an encoder: which are fitted, what they learn from, which one cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray
from ..preprocessing import Windower
from ..zero_shot._encoder import steps_of


def is_fitted(encoder: Any) -> bool:
    """Whether an encoder can be used as it is.

    So are those that `check_is_fitted` passes, a FrozenEstimator, and whatever has no
    `fit`. Of a pipeline, the last step tells that is neither frozen nor stateless.

    Parameters
    ----------
    encoder : encoder, callable or None
    """
    if isinstance(encoder, FrozenEstimator) or not hasattr(encoder, "fit"):
        return True
    if isinstance(encoder, Pipeline):
        steps = [step for _, step in encoder.steps if _learns(step)]
        return not steps or is_fitted(steps[-1])
    try:
        check_is_fitted(encoder)
    except NotFittedError:
        return False
    return True


def _learns(step: Any) -> bool:
    """Whether a step of a pipeline is changed by a fit of the pipeline."""
    if step is None or isinstance(step, (str, FrozenEstimator)):
        return False
    if isinstance(step, Pipeline):
        return any(_learns(inner) for _, inner in step.steps)
    return not hasattr(step, "__sklearn_tags__") or get_tags(step).requires_fit


def fit_clone(encoder: Any, X: Any, P: Any) -> Any:
    """A clone of an encoder, fitted to EMG, and to poses if it learns from them."""
    return clone(encoder).fit(X, P if learns_from_poses(encoder) else None)


def learns_from_poses(encoder: Any) -> bool:
    """Whether a step needs a target when it is fitted."""
    if isinstance(encoder, Pipeline):
        steps = [step for _, step in encoder.steps if _learns(step)]
        return any(map(learns_from_poses, steps))
    return bool(get_tags(encoder).target_tags.required)


def every_step(encoder: Any) -> list[Any]:
    """All steps in order, whatever they are nested in."""
    steps = [step for step in steps_of(encoder) if step not in (None, "passthrough")]
    if steps == [encoder]:
        return steps
    return [inner for step in steps for inner in every_step(step)]


def find_windower(encoder: Any) -> Windower | None:
    """The step that cuts recordings into windows, if there is one.

    Raises
    ------
    ValueError
        If there are several.
    """
    found = [step for step in every_step(encoder) if isinstance(step, Windower)]
    if len(found) > 1:
        raise ValueError(
            f"The encoder has {len(found)} Windowers, of which one can be meant only: "
            "labels are those of its windows."
        )
    return found[0] if found else None


def check_embeddings(Z: Any, n_windows: int, what: str) -> AnyArray:
    """Embeddings as an array of shape (n_windows, n_dims)."""
    Z = np.asarray(Z)
    if Z.ndim != 2 or len(Z) != n_windows:
        raise ValueError(
            f"Embeddings of {what} must be of shape ({n_windows}, n_dims), one row for "
            f"each window; the encoder gave {Z.shape}."
        )
    return Z
