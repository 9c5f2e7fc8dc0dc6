"""scikit-learn's native callbacks (from 1.9 on), where there are any."""

from contextlib import nullcontext
from functools import wraps

from ._all_or_nothing import all_or_nothing

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


def leaf_fit(fit):
    """Let a `fit` that has no parts take part as a single task, as a whole or not."""

    @wraps(fit)
    @all_or_nothing
    @with_callbacks
    def reported(estimator, *args, **kwargs):
        task = fit_task(estimator, 0)
        fit(estimator, *args, **kwargs)
        end_task(task, estimator)
        return estimator

    return reported
