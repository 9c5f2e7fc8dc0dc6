"""The paper's protocols: linear probe, zero-shot, and what keeps them honest."""

from ._classifiers import linear_classifiers
from ._convergence import converged, embedding_spread
from ._folds import GestureFold, fold_users, split_gestures
from ._galleries import recording_moments, zero_shot_gallery
from ._generalised import generalised_zero_shot, tune_seen_penalty
from ._gesture_windows import (
    GestureWindows,
    cut_gesture_windows,
    cut_rest_windows,
    cut_session_windows,
)
from ._guard import check_disjoint
from ._intervals import bootstrap_interval, paired_difference
from ._label_efficiency import label_efficiency
from ._methods import (
    Method,
    cross_validate_gestures,
    evaluate_methods,
    fit_estimators,
)
from ._metrics import (
    macro_accuracy,
    per_class_recall,
    per_user_accuracy,
    summarise_people,
)
from ._own_repetition import own_repetition
from ._pose_metrics import angular_error, landmark_distance, mean_pose, pose_regression
from ._protocols import linear_probe, supervised, zero_shot
from ._published import published
from ._records import load_records, merge_records, save_records
from ._splits import GESTURE_STAGES, check_splits, paper_splits
from ._tables import format_differences, format_markdown, to_frame

__all__ = [
    "GESTURE_STAGES",
    "GestureFold",
    "GestureWindows",
    "Method",
    "angular_error",
    "bootstrap_interval",
    "check_disjoint",
    "check_splits",
    "converged",
    "cross_validate_gestures",
    "cut_gesture_windows",
    "cut_rest_windows",
    "cut_session_windows",
    "embedding_spread",
    "evaluate_methods",
    "fit_estimators",
    "fold_users",
    "format_differences",
    "format_markdown",
    "generalised_zero_shot",
    "label_efficiency",
    "landmark_distance",
    "linear_classifiers",
    "linear_probe",
    "load_records",
    "macro_accuracy",
    "mean_pose",
    "merge_records",
    "own_repetition",
    "paired_difference",
    "paper_splits",
    "per_class_recall",
    "per_user_accuracy",
    "pose_regression",
    "published",
    "recording_moments",
    "save_records",
    "split_gestures",
    "summarise_people",
    "supervised",
    "to_frame",
    "tune_seen_penalty",
    "zero_shot",
    "zero_shot_gallery",
]
