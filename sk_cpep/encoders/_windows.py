"""Reading windows: what the encoders accept, and what they say when they don't."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .._ids import read_ids
from ..preprocessing._origin import origin_of
from ..training import check_magnitude
from ._pairing import check_origins, check_recordings


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
        check_magnitude(X, "X")
    refuse_empty(X, "X")
    _check_shape(estimator, X.shape, reset)
    return X


def read_poses(P, *, reader, name="P"):
    """Validate pose windows.

    Parameters
    ----------
    P : array-like of shape (n_windows, n_joints, n_pose_times), or 2-D or 1-D
        Two dimensions are one joint, one dimension is one joint at one time.

    reader : str
        Name of the class that reads them.

    name : str, default="P"
        What they are called there.

    Returns
    -------
    P : array-like of shape (n_windows, n_joints, n_pose_times)
    """
    if P is None:
        raise ValueError(
            f"{reader} requires y to be passed, but the target y is None: give the "
            "pose windows, fit(X_emg, P_pose)."
        )
    refuse_recordings(P, name)
    if not is_lazy(P):
        P = check_array(P, allow_nd=True, ensure_2d=False, input_name=name)
        check_magnitude(P, name)
        P = as_windows(P.reshape(-1, 1) if P.ndim == 1 else P, name)
    refuse_empty(P, name)
    return P


class PairedPoseMixin:
    """Read the pose that is paired with EMG, by way of `pose_transformer`."""

    def _read_pairs(self, X, y, reset):
        """EMG and pose windows that pair row by row, and recording by recording."""
        emg = origin_of(X)
        X = read_windows(self, X, reset=reset)
        P = self._cut_poses(y, reset)
        pose = origin_of(P)
        P = self._check_poses(P, reset)
        if emg is not None and pose is not None and len(emg.counts) == len(pose.counts):
            check_recordings(emg, pose)
        check_pairs(X, P)
        n_given = 1 if self.pose_transformer_ is None else len(y)
        check_origins(emg, pose, X.shape[0], n_given)
        return X, P

    def _read_poses(self, P, reset):
        return self._check_poses(self._cut_poses(P, reset), reset)

    def _cut_poses(self, P, reset):
        """What `pose_transformer`, as it was fitted, makes of poses."""
        if reset:
            given = self.pose_transformer if P is not None else None
            self.pose_transformer_ = None if given is None else clone(given).fit(P)
        if self.pose_transformer_ is None or P is None:
            return P
        return self.pose_transformer_.transform(P)

    def _check_poses(self, P, reset):
        name = type(self).__name__
        P = read_poses(P, reader=name)
        if reset:
            self.n_joints_in_, self.n_pose_times_in_ = P.shape[1:]
        expected = (self.n_joints_in_, self.n_pose_times_in_)
        if tuple(P.shape[1:]) != expected:
            raise ValueError(
                f"P has windows of {P.shape[1]} joints x {P.shape[2]} samples, but "
                f"{name} was fitted on {expected[0]} x {expected[1]}."
            )
        return P


def read_ring(ring_channels, n_channels):
    """The channels of the ring of electrodes, in order, as a tuple; None is all.

    Parameters
    ----------
    ring_channels : int, 1-D array-like of int or None
        The first so many channels, or indices.

    n_channels : int
        Channels of a window.

    Returns
    -------
    ring : tuple of int or None

    Raises
    ------
    ValueError
        If it is anything else, such as a mask, or not of this window.
    """
    if ring_channels is None:
        return None
    given = np.asarray(ring_channels, dtype=object)
    entries = given.ravel().tolist()
    if given.ndim > 1 or not entries or not all(map(is_whole, entries)):
        raise ValueError(
            "ring_channels must be an int from 1 on, the number of channels round the "
            "limb, or a list of ints, their indices in order; got "
            f"{ring_channels!r}. (Of a mask, give np.flatnonzero(mask).)"
        )
    ring = tuple(map(int, entries))
    if given.ndim == 0:
        ring = tuple(range(min(ring[0], n_channels + 1)))
    if (
        not ring
        or len(set(ring)) < len(ring)
        or not set(ring) <= set(range(n_channels))
    ):
        shown = ring if given.ndim else entries[0]
        raise ValueError(
            f"ring_channels={shown} must be different channels among the {n_channels} "
            f"of the windows, 0 to {n_channels - 1}, or how many of them, from 1 on."
        )
    return ring


def is_whole(value):
    """Whether a value is an int of any kind; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.timedelta64))


def check_pairs(X, P):
    """Refuse EMG and pose windows that do not pair."""
    n_emg, n_pose = X.shape[0], P.shape[0]
    if n_emg != n_pose:
        raise ValueError(
            f"X and P must pair row by row, got {n_emg} EMG windows and {n_pose} pose "
            "windows. Window both in the same way: make_windows(X, P, ...), or "
            "pose_transformer=Windower(...) beside a Windower in the pipeline."
        )


def read_groups(groups, X, name="groups"):
    """Groups as ids, one a window, none of them missing; or None."""
    if groups is None:
        return None
    groups = read_ids(groups, name)
    if len(groups) != X.shape[0]:
        raise ValueError(
            f"{name} has {len(groups)} entries for {X.shape[0]} windows: give the "
            "person of each window."
        )
    return groups


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


def refuse_empty(X, name):
    """Refuse windows without a channel or without a sample."""
    if 0 in X.shape[1:]:
        raise ValueError(
            f"{name} has windows of {X.shape[1]} channels x {X.shape[2]} samples, 0 "
            "feature(s): expected (n_windows, n_channels, n_times), with at least one "
            "channel and one sample."
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
    if reset:  # names of an earlier fit are forgotten
        validate_data(estimator, X, reset=True, skip_check_array=True)
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
