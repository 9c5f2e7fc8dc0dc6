"""How far predicted poses are from true ones: angles, and places on the hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches

from .._ids import read_ids
from .._typing import AnyArray, BoolArray, Float64Array, Record
from ..datasets.emg2pose._format import FINGER_JOINTS, JOINT_GROUPS, JOINT_NAMES
from ._guard import check_disjoint
from ._metrics import summarise_people

Groups: TypeAlias = Mapping[str, Sequence[str]]

_GENERALIZATIONS = ("user", "stage", "user_stage")
_TIPS = [0, 1, 2, 3, 4]
# The first frame of each finger (not the thumb's) does not move against the wrist.
_FIXED = [8, 11, 14, 17]
_MOVING = np.setdiff1d(np.arange(21), _FIXED)


def angular_error(
    P_true: Any,
    P_pred: Any,
    users: ArrayLike,
    *,
    joint_names: Sequence[str] | None = None,
    fingers: Groups | None = None,
    groups: Groups | None = None,
    mask: ArrayLike | None = None,
    unit: str = "rad",
    batch_size: int = 256,
) -> Record:
    """Mean absolute error of joint angles, averaged within each person first.

    Parameters
    ----------
    P_true, P_pred : array-like of shape (n_windows, n_joints, n_pose_times)
        True and predicted angles. Lazy arrays are read batch by batch.

    users : array-like of shape (n_windows,)
        Person each window was recorded from.

    joint_names : sequence of n_joints str, default=None
        None is emg2pose's where there are 20 joints, and "0", "1", ... elsewhere.

    fingers, groups : dict of str to sequence of str, default=None
        Joints, by name, that are also averaged together. None is emg2pose's: the five
        fingers; and proximal, mid and distal joints; nothing where the joints have
        other names.

    mask : bool array-like of shape (n_windows, n_pose_times), default=None
        Where the pose is valid. Other samples are left out. None is everywhere.

    unit : str, default="rad"
        Unit of the angles. Radians are reported in degrees, anything else as it is.

    batch_size : int, default=256
        Number of windows compared at once. It changes memory, not results.

    Returns
    -------
    record : dict
        Ready for json:

        - ``angular_error``: mean over people of each one's mean absolute error over
          valid samples and joints, also under ``mean``; beside it ``sd``,
          ``interval``, ``per_user``, ``percentile_90``, ``worst`` (the highest),
          ``worst_user`` and ``n_users`` as in :func:`per_user_accuracy`;
        - ``per_joint``, ``per_finger``, ``per_group``: mean over people, by name;
        - ``unit``: "deg" for radians; ``n_windows``; ``n_samples``, the valid ones.

    Raises
    ------
    ValueError
        If shapes do not match, names are unknown, a number is not finite at a valid
        sample, or a person has no valid sample.

    References
    ----------
    .. [1] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import angular_error
    >>> P = np.zeros((2, 20, 5))
    >>> record = angular_error(P, P + np.pi / 180, ["anna", "ben"])
    >>> round(record["angular_error"], 6), record["unit"]
    (1.0, 'deg')
    """
    P_true, P_pred = _as_poses(P_true), _as_poses(P_pred)
    _check_same_shape(P_true, P_pred)
    mask = _check_mask(mask, P_true)
    sums = _Sums(users, P_true.shape[0])
    for rows in gen_batches(P_true.shape[0], batch_size):
        truth, predicted, valid = _read(P_true, rows), _read(P_pred, rows), mask[rows]
        sums.add(*joint_sums(truth, predicted, valid))
    names = _joint_names(joint_names, P_true.shape[1])
    return _angular_record(sums, names, fingers, groups, unit)


def landmark_distance(
    P_true: Any,
    P_pred: Any,
    users: ArrayLike,
    hand_model: Any,
    *,
    every: int = 40,
    mask: ArrayLike | None = None,
    batch_size: int = 256,
) -> Record:
    """Distance between landmarks of the true and the predicted hand.

    Parameters
    ----------
    P_true, P_pred : array-like of shape (n_windows, 20, n_pose_times)
        True and predicted angles in radians, in the order of emg2pose. Lazy arrays
        are read batch by batch.

    users : array-like of shape (n_windows,)
        Person each window was recorded from.

    hand_model : object
        Has ``landmarks(angles)``, from angles (n, 20) to places (n, 21, 3) in mm: the
        five tips, wrist, then the joints of each finger, and the palm centre.

    every : int, default=40
        Only every so many samples are compared, from the first on; 40 are 50 Hz where
        poses have 2 kHz, as published.

    mask : bool array-like of shape (n_windows, n_pose_times), default=None
        Where the pose is valid. Other samples are left out. None is everywhere.

    batch_size : int, default=256
        Number of windows compared at once. It changes memory, not results.

    Returns
    -------
    record : dict
        Ready for json: ``landmark_distance``, over the 17 landmarks that can move
        against the wrist or are on it, and ``fingertip_distance``, over the five tips.
        Each is a dict of ``mean``, ``sd``, ``interval``, ``per_user``,
        ``percentile_90``, ``worst``, ``worst_user`` and ``n_users`` in mm, averaged
        within each person first.

    Raises
    ------
    ValueError
        If shapes do not match, or a person has no valid sample.
    """
    P_true, P_pred = _as_poses(P_true), _as_poses(P_pred)
    _check_same_shape(P_true, P_pred)
    mask = _check_mask(mask, P_true)
    sums = _Sums(users, P_true.shape[0])
    for rows in gen_batches(P_true.shape[0], batch_size):
        truth, predicted, valid = _read(P_true, rows), _read(P_pred, rows), mask[rows]
        sums.add(*landmark_sums(truth, predicted, valid, hand_model, every))
    return _landmark_record(sums)


def pose_regression(
    estimator: Any,
    test: Any,
    *,
    method: str | None = None,
    generalization: str = "user",
    initial_pose: ArrayLike | None = None,
    first: int | None = None,
    mask: ArrayLike | None = None,
    joint_names: Sequence[str] | None = None,
    fingers: Groups | None = None,
    groups: Groups | None = None,
    unit: str = "rad",
    hand_model: Any = None,
    every: int = 40,
    batch_size: int = 256,
    train_users: ArrayLike | None = None,
    train_windows: Any = None,
    test_windows: Any = None,
) -> Record:
    """Evaluate how well poses are predicted from EMG.

    Windows are predicted and compared batch by batch, so that predictions are never
    held whole.

    Parameters
    ----------
    estimator : fitted regressor, callable, ndarray of shape (n_joints,) or None
        What turns EMG windows into poses of shape (n_windows, n_joints,
        n_pose_times): an object with ``predict``, or a function. An array is one pose
        for every moment, such as :func:`mean_pose` of the training set; None holds
        the `initial_pose`. Both are called "Static".

    test : tuple (X, P, users)
        EMG windows of shape (n_windows, n_channels, n_times), true poses of shape
        (n_windows, n_joints, n_pose_times), and people, of shape (n_windows,).

    method : str, default=None
        Name of what is evaluated, by default that of the estimator's class.

    generalization : {"user", "stage", "user_stage"}, default="user"
        What is new to the estimator: the people, the stages, or both.

    initial_pose : array-like of shape (n_windows, n_joints), default=None
        True pose to begin with, passed to ``predict`` as `initial_pose`. The task is
        then tracking.

    first : int, default=None
        Number of pose samples at the beginning of each window that are not compared,
        as nothing is predicted in the left context of a network. The prediction may
        leave them out. None is the estimator's ``pose_start_``, or 0 without one.

    mask, joint_names, fingers, groups, unit, batch_size
        As of :func:`angular_error`.

    hand_model, every
        As of :func:`landmark_distance`. Without a `hand_model` there are no distances.

    train_users : array-like, default=None
        People the estimator was trained on: refused if they are in `test`, unless
        only the stages are new.

    train_windows, test_windows : default=None
        Where the windows lie in the recordings; see :func:`check_disjoint`.

    Returns
    -------
    record : dict
        Ready for json: ``method``, ``protocol`` ("pose_regression" or
        "pose_tracking"), ``generalization``, ``settings`` (with the estimator's
        ``loss_terms_``, if it has any), all of :func:`angular_error`, and
        ``landmark_distance`` and ``fingertip_distance`` of :func:`landmark_distance`
        or None.

    Raises
    ------
    ValueError
        If the sets share people or samples, or the predictions do not fit the poses.

    See Also
    --------
    published : What was published for this task.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import mean_pose, pose_regression
    >>> P = np.full((4, 20, 5), np.pi / 2)
    >>> X, users = np.zeros((4, 16, 10)), ["anna", "anna", "ben", "ben"]
    >>> record = pose_regression(mean_pose(P / 2), (X, P, users))
    >>> record["method"], round(record["angular_error"], 6)
    ('Static', 45.0)
    """
    if generalization not in _GENERALIZATIONS:
        raise ValueError(
            f"generalization must be one of {_GENERALIZATIONS}, got {generalization!r}."
        )
    X, P, users = test
    P = _as_poses(P)
    first = getattr(estimator, "pose_start_", 0) if first is None else first
    if not 0 <= first < P.shape[2]:
        raise ValueError(
            f"first must leave some of the {P.shape[2]} samples of a pose, got {first}."
        )
    if train_users is not None:
        check_disjoint(
            train_users,
            users,
            windows_train=train_windows,
            windows_test=test_windows,
            allow_shared_users=generalization == "stage",
        )
    mask = _check_mask(mask, P)
    predict, name = _predictor(estimator, P, initial_pose)
    angles, places = (_Sums(users, P.shape[0]) for _ in range(2))
    for rows in gen_batches(P.shape[0], batch_size):
        truth, valid = _read(P, rows)[..., first:], mask[rows, first:]
        predicted = _fit_length(predict(X, rows), P.shape, len(truth), first)
        angles.add(*joint_sums(truth, predicted, valid))
        if hand_model is not None:
            places.add(*landmark_sums(truth, predicted, valid, hand_model, every))
    no_places = {"landmark_distance": None, "fingertip_distance": None}
    names = _joint_names(joint_names, P.shape[1])
    settings = {"first": first, "every": every}
    if hasattr(estimator, "loss_terms_"):
        settings["loss_terms"] = list(estimator.loss_terms_)
    return {
        "method": name if method is None else str(method),
        "protocol": "pose_regression" if initial_pose is None else "pose_tracking",
        "generalization": generalization,
        "settings": settings,
        **_angular_record(angles, names, fingers, groups, unit),
        **(no_places if hand_model is None else _landmark_record(places)),
    }


def mean_pose(
    P: Any, *, mask: ArrayLike | None = None, batch_size: int = 256
) -> Float64Array:
    """Mean of each joint over windows and time: a pose to compare others with.

    Parameters
    ----------
    P : array-like of shape (n_windows, n_joints, n_pose_times)
        Poses of the training set. Lazy arrays are read batch by batch.

    mask : bool array-like of shape (n_windows, n_pose_times), default=None
        Where the pose is valid. None is everywhere.

    batch_size : int, default=256
        Number of windows read at once.

    Returns
    -------
    pose : ndarray of shape (n_joints,), float64
        In the unit of `P`; what :func:`pose_regression` takes as "Static".

    Examples
    --------
    >>> from sk_cpep.evaluation import mean_pose
    >>> mean_pose([[[0.0, 1.0], [2.0, 4.0]]])
    array([0.5, 3. ])
    """
    P = _as_poses(P)
    mask = _check_mask(mask, P)
    total = np.zeros(P.shape[1])
    for rows in gen_batches(P.shape[0], batch_size):
        total += np.where(mask[rows, None], _read(P, rows), 0).sum(axis=(0, 2))
    n_samples = mask.sum()
    if n_samples == 0:
        raise ValueError("There is no valid sample to average.")
    return total / n_samples


def joint_sums(
    truth: Float64Array, predicted: Any, valid: BoolArray
) -> tuple[Float64Array, AnyArray]:
    """Absolute errors of a batch, summed over valid samples.

    Parameters
    ----------
    truth, predicted : ndarray of shape (B, J, T)

    valid : bool ndarray of shape (B, T)

    Returns
    -------
    sums : ndarray of shape (B, J)
    counts : ndarray of shape (B,)
    """
    error = np.abs(predicted - truth)
    return np.where(valid[:, None], error, 0).sum(axis=2), valid.sum(axis=1)


def landmark_sums(
    truth: Float64Array, predicted: Any, valid: BoolArray, hand_model: Any, every: int
) -> tuple[Float64Array, AnyArray]:
    """Distances of a batch, summed over every so many samples where valid.

    Parameters
    ----------
    truth, predicted : ndarray of shape (B, 20, T)

    valid : bool ndarray of shape (B, T)

    hand_model : object with ``landmarks``

    every : int

    Returns
    -------
    sums : ndarray of shape (B, 2)
        Of the mean over the 17 landmarks, and of that over the five tips, in mm.
    counts : ndarray of shape (B,)
    """
    valid = valid[:, ::every]
    window, sample = np.nonzero(valid)
    a, b = (
        _landmarks(hand_model, pose[..., ::every][window, :, sample])
        for pose in (truth, predicted)
    )
    distance = np.linalg.norm(a - b, axis=2)  # (n, 21)
    means = (distance[:, _MOVING].mean(axis=1), distance[:, _TIPS].mean(axis=1))
    n = len(valid)
    sums = [np.bincount(window, weights=mean, minlength=n) for mean in means]
    return np.stack(sums, axis=1), valid.sum(axis=1)


class _Sums:
    """Sums over samples (n_windows, k) and their numbers, gathered by person."""

    def __init__(self, users: ArrayLike, n_windows: int) -> None:
        self.users = read_ids(users, "users")
        if len(self.users) != n_windows or n_windows == 0:
            raise ValueError(
                f"There are {n_windows} windows to evaluate and {len(self.users)} "
                "users: give at least one window, and the person of each."
            )
        self.sums: list[Float64Array] = []
        self.counts: list[AnyArray] = []

    def add(self, sums: Any, counts: AnyArray) -> None:
        """Add those of the next windows."""
        self.sums.append(sums)
        self.counts.append(counts)

    @property
    def n_samples(self) -> int:
        """Number of samples that count."""
        return int(np.concatenate(self.counts).sum())

    def per_user(self) -> tuple[list[str], Float64Array]:
        """Names of people and the mean over all samples of each (n_users, k)."""
        people, codes = by_name(self.users)
        sums, counts = np.concatenate(self.sums), np.concatenate(self.counts)
        if not np.isfinite(sums).all():
            n = (~np.isfinite(sums)).any(axis=1).sum()
            raise ValueError(
                f"{n} windows hold NaN or infinity in the true or the predicted pose "
                "at valid samples: look for failed poses that are not masked, and for "
                "a training that diverged."
            )
        n_samples = np.bincount(codes, weights=counts)
        empty = people[n_samples == 0]
        if len(empty):
            raise ValueError(
                f"No valid sample to evaluate of: {', '.join(empty)}. Leave out the "
                "windows of these people."
            )
        totals = np.zeros((len(people), sums.shape[1]))
        np.add.at(totals, codes, sums)
        return people.tolist(), totals / n_samples[:, None]


def by_name(users: ArrayLike) -> tuple[AnyArray, AnyArray]:
    """Names of people in the order of text (n_users,), and which one each row is of."""
    ids, codes = np.unique(users, return_inverse=True)
    names = np.array(list(map(str, ids)), dtype=object)
    order = np.argsort(names)
    return names[order], np.argsort(order)[codes]


def _angular_record(
    sums: Any,
    names: Sequence[str],
    fingers: Groups | None,
    groups: Groups | None,
    unit: str,
) -> Record:
    people, errors = sums.per_user()  # (n_users, J)
    if unit == "rad":
        errors, unit = np.rad2deg(errors), "deg"
    per_user = dict(zip(people, errors.mean(axis=1).tolist()))
    summary = summarise_people(per_user, lower_is_better=True)
    per_joint = dict(zip(names, errors.mean(axis=0).tolist()))
    return {
        "angular_error": summary["mean"],
        "unit": unit,
        **summary,
        "per_joint": per_joint,
        "per_finger": _average(per_joint, fingers, FINGER_JOINTS),
        "per_group": _average(per_joint, groups, JOINT_GROUPS),
        "n_windows": len(sums.users),
        "n_samples": sums.n_samples,
    }


def _landmark_record(sums: Any) -> Record:
    people, distances = sums.per_user()  # (n_users, 2)
    summaries = [
        summarise_people(dict(zip(people, column.tolist())), lower_is_better=True)
        for column in distances.T
    ]
    return dict(zip(("landmark_distance", "fingertip_distance"), summaries))


def _average(
    per_joint: Mapping[str, float], groups: Groups | None, default: Any
) -> dict[str, float]:
    """Mean over the joints of each group; of `default`, those that are all there."""
    if groups is None:
        named = {
            name.lower(): [JOINT_NAMES[j] for j in joints]
            for name, joints in default.items()
        }
        groups = {k: v for k, v in named.items() if per_joint.keys() >= set(v)}
    unknown = [j for joints in groups.values() for j in joints if j not in per_joint]
    if unknown:
        raise ValueError(
            f"Groups name joints that are not there: {', '.join(map(str, unknown))}. "
            f"There are {', '.join(per_joint)}."
        )
    return {
        name: float(np.mean([per_joint[j] for j in joints]))
        for name, joints in groups.items()
    }


def _joint_names(joint_names: Sequence[str] | None, n_joints: int) -> list[str]:
    """Names of the joints, as many as there are, each once."""
    if joint_names is None:
        known = n_joints == len(JOINT_NAMES)
        return list(JOINT_NAMES) if known else [str(j) for j in range(n_joints)]
    names = [str(name) for name in joint_names]
    if len(names) != n_joints or len(set(names)) != n_joints:
        raise ValueError(
            f"joint_names must be {n_joints} different names, one a joint; got {names}."
        )
    return names


def _as_poses(P: Any) -> Any:
    """Poses, lazy or not, of three dimensions."""
    P = P if hasattr(P, "shape") else np.asarray(P, dtype=np.float64)
    if len(P.shape) != 3:
        raise ValueError(
            "Poses must be of shape (n_windows, n_joints, n_pose_times), got "
            f"{tuple(P.shape)}."
        )
    return P


def _check_same_shape(P_true: Any, P_pred: Any) -> None:
    shapes = tuple(P_true.shape), tuple(P_pred.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(
            "True and predicted poses must be of one shape, got "
            f"{shapes[0]} and {shapes[1]}."
        )


def _check_mask(mask: ArrayLike | None, P: Any) -> BoolArray:
    """Mask (n_windows, n_pose_times), true everywhere if there is none."""
    expected = (P.shape[0], P.shape[2])
    if mask is None:
        return np.broadcast_to(True, expected)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != expected:
        raise ValueError(
            f"mask must be boolean of shape {expected} (n_windows, n_pose_times), got "
            f"{mask.dtype} of shape {mask.shape}."
        )
    return mask


def _read(P: Any, rows: Any) -> Float64Array:
    """Rows of poses, lazy or not, in float64."""
    return np.asarray(P[rows], dtype=np.float64)


def _predictor(
    estimator: Any, P: Any, initial_pose: ArrayLike | None
) -> tuple[Callable[[Any, slice], Any], str]:
    """A function of windows and rows that predicts poses, and its name."""
    if initial_pose is not None:
        initial_pose = np.asarray(initial_pose)
        if initial_pose.shape != tuple(P.shape[:2]):
            raise ValueError(
                f"initial_pose must be of shape {tuple(P.shape[:2])} (n_windows, "
                f"n_joints), got {initial_pose.shape}."
            )
    if estimator is None or isinstance(estimator, np.ndarray):
        return _static(estimator, P, initial_pose), "Static"
    predict = getattr(estimator, "predict", estimator)

    def predict_rows(X: Any, rows: Any) -> Any:
        more = {} if initial_pose is None else {"initial_pose": initial_pose[rows]}
        return predict(X[rows], **more)

    return predict_rows, getattr(estimator, "__name__", type(estimator).__name__)


def _static(
    pose: AnyArray | None, P: Any, initial_pose: AnyArray | None
) -> Callable[[Any, slice], Any]:
    """A function that predicts one pose for all moments of a window."""
    n_joints, n_times = P.shape[1:]
    if pose is None and initial_pose is None:
        raise ValueError("estimator=None holds the initial pose: give initial_pose.")
    if pose is not None and pose.shape != (n_joints,):
        raise ValueError(
            f"A static pose has one angle for each of the {n_joints} joints, got an "
            f"array of shape {pose.shape}."
        )

    def predict_rows(X: Any, rows: Any) -> Any:
        n_rows = rows.stop - rows.start
        poses: Any = [pose] * n_rows
        if pose is None and initial_pose is not None:
            poses = initial_pose[rows]
        return np.repeat(np.asarray(poses)[..., None], n_times, axis=2)

    return predict_rows


def _fit_length(
    predicted: Any, shape: tuple[int, ...], n_rows: int, first: int
) -> Float64Array:
    """Predictions of a batch without the first samples, which may be missing."""
    predicted = np.asarray(predicted, dtype=np.float64)
    n_joints, n_times = shape[1:]
    if predicted.shape == (n_rows, n_joints, n_times):
        return predicted[..., first:]
    if predicted.shape == (n_rows, n_joints, n_times - first):
        return predicted
    raise ValueError(
        f"The estimator predicted poses of shape {predicted.shape} where "
        f"{(n_rows, n_joints, n_times)}, or {n_times - first} samples of time, were "
        "expected. Poses must have the rate and length it was fitted with."
    )


def _landmarks(hand_model: Any, angles: AnyArray) -> Float64Array:
    """Places (n, 21, 3) of the landmarks of poses (n, 20), in mm."""
    places = np.asarray(hand_model.landmarks(angles), dtype=np.float64)
    if places.shape != (len(angles), 21, 3):
        raise ValueError(
            f"The hand model gave landmarks of shape {places.shape} for "
            f"{len(angles)} poses; expected ({len(angles)}, 21, 3)."
        )
    return places
