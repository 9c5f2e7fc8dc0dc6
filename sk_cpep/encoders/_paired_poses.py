"""Pose windows that are paired with EMG windows."""

from dataclasses import field
from typing import Annotated, Any

from sklearn.base import clone
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples

from .._typing import AnyArray, WindowsLike
from ..preprocessing._origin import origin_of
from ..training import check_magnitude
from ._pairing import check_origins, check_recordings
from ._trained_estimator import TrainedEstimator
from ._windows import (
    Windows,
    as_windows,
    is_lazy,
    read_windows,
    refuse_empty,
    refuse_recordings,
)


def read_poses(P: WindowsLike | None, *, reader: str, name: str = "P") -> Windows:
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
        Windows in memory as an array, others as they are.
    """
    if P is None:
        raise ValueError(
            f"{reader} requires y to be passed, but the target y is None: give the "
            "pose windows, fit(X_emg, P_pose)."
        )
    refuse_recordings(P, name)
    poses: Windows
    if is_lazy(P):
        poses = P
    else:
        array: AnyArray = check_array(
            P, allow_nd=True, ensure_2d=False, input_name=name
        )
        check_magnitude(array, name)
        poses = as_windows(array.reshape(-1, 1) if array.ndim == 1 else array, name)
    refuse_empty(poses, name)
    return poses


class PairedPoseMixin(TrainedEstimator):
    """Base of the estimators that read pose windows which are paired with EMG windows.

    Parameters
    ----------
    pose_transformer : transformer
        Applied to the pose in :meth:`fit` and :meth:`score`; see :class:`CPEP`.

    Attributes
    ----------
    pose_transformer_ : transformer
        The fitted `pose_transformer`, or None.

    n_joints_in_, n_pose_times_in_ : int
        Shape of the pose windows seen in :meth:`fit`.
    """

    pose_transformer: Annotated[Any, HasMethods(["fit", "transform"]), None] = None

    pose_transformer_: Any = field(init=False)
    n_joints_in_: int = field(init=False)
    n_pose_times_in_: int = field(init=False)

    def _read_pairs(
        self, X: WindowsLike, y: WindowsLike | None, reset: bool
    ) -> tuple[Windows, Windows]:
        """EMG and pose windows that pair row by row, and recording by recording."""
        emg = origin_of(X)
        X = read_windows(self, X, reset=reset)
        P = self._cut_poses(y, reset)
        pose = origin_of(P)
        P = self._check_poses(P, reset)
        if emg is not None and pose is not None and len(emg.counts) == len(pose.counts):
            check_recordings(emg, pose)
        check_pairs(X, P)
        n_given = 1 if self.pose_transformer_ is None else _num_samples(y)
        check_origins(emg, pose, X.shape[0], n_given)
        return X, P

    def _read_poses(self, P: WindowsLike | None, reset: bool) -> Windows:
        return self._check_poses(self._cut_poses(P, reset), reset)

    def _cut_poses(self, P: WindowsLike | None, reset: bool) -> WindowsLike | None:
        """What `pose_transformer`, as it was fitted, makes of poses."""
        if reset:
            given = self.pose_transformer if P is not None else None
            self.pose_transformer_ = None if given is None else clone(given).fit(P)
        if self.pose_transformer_ is None or P is None:
            return P
        return self.pose_transformer_.transform(P)

    def _check_poses(self, P: WindowsLike | None, reset: bool) -> Windows:
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


def check_pairs(X: Windows, P: Windows) -> None:
    """Refuse EMG and pose windows that do not pair."""
    n_emg, n_pose = X.shape[0], P.shape[0]
    if n_emg != n_pose:
        raise ValueError(
            f"X and P must pair row by row, got {n_emg} EMG windows and {n_pose} pose "
            "windows. Window both in the same way: make_windows(X, P, ...), or "
            "pose_transformer=Windower(...) beside a Windower in the pipeline."
        )
