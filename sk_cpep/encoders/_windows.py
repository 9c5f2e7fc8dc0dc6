"""Reading windows: what the encoders accept, and what they say when they don't."""

from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from .._ids import read_ids
from .._typing import AnyArray, LazyWindows, WindowsLike
from ..training import check_magnitude

if TYPE_CHECKING:
    from ._trained_estimator import TrainedEstimator

# Windows that were read: of three dimensions, in memory or not.
Windows: TypeAlias = AnyArray | LazyWindows


def read_windows(
    estimator: "TrainedEstimator", X: WindowsLike, *, reset: bool
) -> Windows:
    """Validate EMG windows and remember (or compare) their shape.

    Parameters
    ----------
    estimator : TrainedEstimator
        Gets `n_features_in_`, `n_channels_in_` and `n_times_in_` if `reset`.

    X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
        Anything with a 3-D `shape` that is no array is taken as it is, to be read
        batch by batch.

    reset : bool
        Whether the estimator is being fitted.

    Returns
    -------
    X : array-like of shape (n_windows, n_channels, n_times)
        Windows in memory as an array, others as they are.
    """
    refuse_recordings(X, "X")
    windows: Windows
    if is_lazy(X):
        windows = X
        if reset:  # names of an earlier fit are forgotten
            validate_data(estimator, X, reset=True, skip_check_array=True)
    else:
        array: AnyArray = validate_data(
            estimator, X, reset=reset, allow_nd=True, ensure_min_samples=1
        )
        windows = as_windows(array, "X")
        check_magnitude(windows, "X")
    refuse_empty(windows, "X")
    _check_shape(estimator, windows.shape, reset)
    return windows


def read_groups(
    groups: ArrayLike | None, X: Windows, name: str = "groups"
) -> AnyArray | None:
    """Groups as ids, one for each window, none of them missing; or None."""
    if groups is None:
        return None
    ids: AnyArray = read_ids(groups, name)
    if len(ids) != X.shape[0]:
        raise ValueError(
            f"{name} has {len(ids)} entries for {X.shape[0]} windows: give the "
            "person of each window."
        )
    return ids


def refuse_recordings(X: object, name: str) -> None:
    """Refuse a list of arrays of unequal shapes, which windows never are."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if not isinstance(X, (list, tuple)):
        return
    shapes = list(dict.fromkeys(x.shape for x in X if hasattr(x, "shape")))
    if len(shapes) > 1:
        raise ValueError(
            f"{name} holds arrays of unequal shapes, such as {shapes[0]} and "
            f"{shapes[1]}. Cut recordings into windows first: make_windows, or a "
            "Windower in the pipeline and pose_transformer=Windower(...) for the pose."
        )


def refuse_empty(X: Windows, name: str) -> None:
    """Refuse windows without a channel or without a sample."""
    if 0 in X.shape[1:]:
        raise ValueError(
            f"{name} has windows of {X.shape[1]} channels x {X.shape[2]} samples, 0 "
            "feature(s): expected (n_windows, n_channels, n_times), with at least one "
            "channel and one sample."
        )


def is_lazy(X: object) -> TypeGuard[LazyWindows]:
    """Whether X is a window array that is not in memory."""
    if isinstance(X, np.ndarray) or hasattr(X, "iloc"):
        return False
    return hasattr(X, "__getitem__") and len(getattr(X, "shape", ())) == 3


def as_windows(X: AnyArray, name: str) -> AnyArray:
    """Windows of one channel, (n, T), as (n, 1, T); others must be (n, C, T)."""
    if X.ndim == 2:
        return X[:, np.newaxis]
    if X.ndim != 3:
        raise ValueError(
            f"Found array {name} with dim {X.ndim}, while windows of shape "
            "(n_windows, n_channels, n_times) or (n_windows, n_times) were expected. "
            "Cut recordings into windows first: make_windows or Windower."
        )
    return X


def _check_shape(
    estimator: "TrainedEstimator", shape: tuple[int, ...], reset: bool
) -> None:
    if reset:
        estimator.n_channels_in_, estimator.n_times_in_ = shape[1:]
        return
    expected = (estimator.n_channels_in_, estimator.n_times_in_)
    if tuple(shape[1:]) != expected:
        raise ValueError(
            f"X has windows of {shape[1]} channels x {shape[2]} samples, but "
            f"{type(estimator).__name__} was fitted on {expected[0]} x {expected[1]}. "
            "Window the recordings as they were windowed for fit."
        )
