"""The parameters of an estimator as a plan for the training engine."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..training import (
    TrainingPlan,
    resolve_device,
    resolve_precision,
    resolve_processes,
)

if TYPE_CHECKING:
    from ._trained_estimator import TrainedEstimator


def training_plan(
    estimator: "TrainedEstimator", *, min_batch: int = 1, **choices: Any
) -> TrainingPlan:
    """The estimator's parameters as a plan for the engine.

    Parameters
    ----------
    estimator : TrainedEstimator
        Its parameters that are fields of the plan are taken.

    min_batch : int, default=1
        Fewest windows of a batch.

    **choices
        Fields of the plan that are no parameters of the estimator.
    """
    check_callbacks(estimator.callbacks)
    processes = resolve_processes(resolve_device(estimator.device))
    names = {field.name for field in fields(TrainingPlan)} - {"device", *choices}
    given = {
        name: getattr(estimator, name) for name in names if hasattr(estimator, name)
    }
    return TrainingPlan(
        **given | choices,
        min_batch=min_batch,
        device=processes.device,
        dtype=resolve_precision(estimator.precision, processes.device),
        processes=processes,
    )


def check_callbacks(callbacks: Iterable[Any] | None) -> None:
    """Refuse what skorch cannot call, before anything is trained."""
    for callback in callbacks or ():
        is_named = isinstance(callback, tuple) and len(callback) == 2
        if not hasattr(callback[1] if is_named else callback, "on_epoch_end"):
            raise TypeError(
                "callbacks must hold skorch callbacks, or pairs of a name and one, got "
                f"{callback!r}."
            )
