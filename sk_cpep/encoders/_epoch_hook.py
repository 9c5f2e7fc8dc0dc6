"""Epochs of the training engine as tasks of scikit-learn's callbacks."""

from typing import Any

from sklearn.base import BaseEstimator

from .._callback_support import begin_task, end_task, leaf_task
from ..training import EpochHook


def epoch_hook(task: Any, estimator: BaseEstimator) -> EpochHook:
    """A training callback that reports every epoch as a task below `task`."""
    current: list[Any] = []

    def begin() -> None:
        current[:] = [begin_task(leaf_task(task, "epoch"), estimator)]

    def end() -> bool:
        return bool(end_task(current[0], estimator))

    return EpochHook(begin, end)
