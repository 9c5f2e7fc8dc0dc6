"""The paper's protocols: linear probe, zero-shot, and what keeps them honest."""

from ._guard import check_disjoint
from ._metrics import macro_accuracy, per_user_accuracy, summarise_people
from ._protocols import linear_probe, zero_shot

__all__ = [
    "check_disjoint",
    "linear_probe",
    "macro_accuracy",
    "per_user_accuracy",
    "summarise_people",
    "zero_shot",
]
