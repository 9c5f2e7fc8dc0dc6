"""scikit-learn's native callbacks (from 1.9 on), where there are any."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from ._all_or_nothing import all_or_nothing

Method = TypeVar("Method", bound=Callable[..., Any])

if TYPE_CHECKING:

    class CallbackSupportMixin:
        """An estimator that takes part."""

        def set_callbacks(self, *callbacks: object) -> Self:
            """Choose callbacks."""
            return self

    def with_callbacks(method: Method) -> Method:
        """Take part with a `fit`."""
        return method

else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:  # scikit-learn < 1.9 has no callbacks

        class CallbackSupportMixin:
            """Nothing to take part in."""

        def with_callbacks(method):
            """Leave the method as it is."""
            return method


class Task(Protocol):
    """What is used of scikit-learn's ``CallbackContext``."""

    def call_on_fit_task_begin(self, *, estimator: object) -> object: ...
    def call_on_fit_task_end(self, *, estimator: object) -> bool: ...
    def subcontext(self, *, task_name: str, max_subtasks: int) -> "Task": ...
    def propagate_callback_context(
        self, sub_estimator: object
    ) -> AbstractContextManager[object]: ...


def fit_task(estimator: Any, n_subtasks: int) -> Task | None:
    """Begin the task "fit" of an estimator; None where there are no callbacks."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    return begin_task(
        estimator._init_callback_context(max_subtasks=n_subtasks), estimator
    )


def leaf_task(task: Task | None, name: str, n_subtasks: int = 0) -> Task | None:
    """A task below `task`, not yet begun."""
    if task is None:
        return None
    return task.subcontext(task_name=name, max_subtasks=n_subtasks)


def begin_task(task: Task | None, estimator: object) -> Task | None:
    """Report the beginning of a task, and return it."""
    if task is not None:
        task.call_on_fit_task_begin(estimator=estimator)
    return task


def end_task(task: Task | None, estimator: object) -> bool:
    """Report the end of a task; whether a callback asks to stop."""
    return task is not None and task.call_on_fit_task_end(estimator=estimator)


def propagated(
    task: Task | None, sub_estimator: object
) -> AbstractContextManager[object]:
    """Context in which a sub-estimator's fit is a task below `task`."""
    if task is None:
        return nullcontext()
    return task.propagate_callback_context(sub_estimator)


def leaf_fit(fit: Method) -> Method:
    """Let a `fit` that has no parts take part as a single task, as a whole or not."""

    @wraps(fit)
    @all_or_nothing
    @with_callbacks
    def reported(estimator: Any, /, *args: Any, **kwargs: Any) -> Any:
        task = fit_task(estimator, 0)
        fit(estimator, *args, **kwargs)
        end_task(task, estimator)
        return estimator

    return cast(Method, reported)
