"""scikit-learn's native callbacks (from 1.9 on), where there are any."""

from contextlib import nullcontext

from ..training import EpochHook

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class CallbackSupportMixin:
        """Nothing to take part in."""

    def with_callbacks(method):
        """Leave the method as it is."""
        return method


def fit_task(estimator, n_subtasks):
    """Begin the task "fit" of an estimator; None where there are no callbacks."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    return begin_task(
        estimator._init_callback_context(max_subtasks=n_subtasks), estimator
    )


def leaf_task(task, name, n_subtasks=0):
    """A task below `task`, not yet begun."""
    if task is None:
        return None
    return task.subcontext(task_name=name, max_subtasks=n_subtasks)


def begin_task(task, estimator):
    """Report the beginning of a task, and return it."""
    if task is not None:
        task.call_on_fit_task_begin(estimator=estimator)
    return task


def end_task(task, estimator):
    """Report the end of a task; whether a callback asks to stop."""
    return task is not None and task.call_on_fit_task_end(estimator=estimator)


def propagated(task, sub_estimator):
    """Context in which a sub-estimator's fit is a task below `task`."""
    if task is None:
        return nullcontext()
    return task.propagate_callback_context(sub_estimator)


def epoch_hook(task, estimator):
    """A training callback that reports every epoch as a task below `task`."""
    current = []

    def begin():
        current[:] = [begin_task(leaf_task(task, "epoch"), estimator)]

    def end():
        return end_task(current[0], estimator)

    return EpochHook(begin, end)
