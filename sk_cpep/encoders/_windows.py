"""Reading windows: what the encoders accept, and what they say when they don't."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data


def read_windows(estimator, X, *, reset):
    """Validate EMG windows and remember (or compare) their shape.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_`, `n_channels_in_` and `n_times_in_` if `reset`.

    X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
        Anything with a 3-D `shape` that is no array is taken as it is, to be read
        batch by batch.

    reset : bool

    Returns
    -------
    X : array-like of shape (n_windows, n_channels, n_times)
    """
    refuse_recordings(X, "X")
    if is_lazy(X):
        X = _read_lazy(estimator, X, reset)
    else:
        X = validate_data(
            estimator, X, reset=reset, allow_nd=True, ensure_min_samples=1
        )
        X = as_windows(X, "X")
    _check_shape(estimator, X.shape, reset)
    return X


def read_poses(P, *, name="P"):
    """Validate pose windows.

    Parameters
    ----------
    P : array-like of shape (n_windows, n_joints, n_pose_times), or 2-D or 1-D
        Two dimensions are one joint, one dimension is one joint at one time.

    Returns
    -------
    P : array-like of shape (n_windows, n_joints, n_pose_times)
    """
    if P is None:
        raise ValueError(
            "CPEP requires y to be passed, but the target y is None: give the pose "
            "windows, fit(X_emg, P_pose)."
        )
    refuse_recordings(P, name)
    if is_lazy(P):
        return P
    P = check_array(P, allow_nd=True, ensure_2d=False, input_name=name)
    return as_windows(P.reshape(-1, 1) if P.ndim == 1 else P, name)


def refuse_recordings(X, name):
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


def is_lazy(X):
    """Whether X is a window array that is not in memory."""
    if isinstance(X, np.ndarray) or hasattr(X, "iloc"):
        return False
    return hasattr(X, "__getitem__") and len(getattr(X, "shape", ())) == 3


def as_windows(X, name):
    """(n, T) to (n, 1, T); anything but two or three dimensions is an error."""
    if X.ndim == 2:
        return X[:, np.newaxis]
    if X.ndim != 3:
        raise ValueError(
            f"Found array {name} with dim {X.ndim}, while windows of shape "
            "(n_windows, n_channels, n_times) or (n_windows, n_times) were expected. "
            "Cut recordings into windows first: make_windows or Windower."
        )
    return X


def _read_lazy(estimator, X, reset):
    if reset:
        estimator.n_features_in_ = X.shape[1]
    return X


def _check_shape(estimator, shape, reset):
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
