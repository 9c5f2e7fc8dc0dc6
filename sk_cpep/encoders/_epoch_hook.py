"""Epochs of the training engine as tasks of scikit-learn's callbacks."""

from .._callback_support import begin_task, end_task, leaf_task
from ..training import EpochHook


def epoch_hook(task, estimator):
    """A training callback that reports every epoch as a task below `task`."""
    current = []

    def begin():
        current[:] = [begin_task(leaf_task(task, "epoch"), estimator)]

    def end():
        return end_task(current[0], estimator)

    return EpochHook(begin, end)
