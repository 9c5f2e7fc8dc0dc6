"""The training parameters that every network estimator shares."""

import os
from dataclasses import fields
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..training import (
    TrainingPlan,
    resolve_device,
    resolve_precision,
    resolve_processes,
)

TRAINING_CONSTRAINTS = {
    "lr": [Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "restart_period": [Interval(Integral, 1, None, closed="left"), None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "compile": ["boolean"],
    "run_dir": [str, os.PathLike, None],
    "callbacks": [list, tuple, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

POSE_REGRESSOR_CONSTRAINTS = {
    "pose_transformer": [HasMethods(["fit", "transform"]), None],
    "channel_rotation": [Interval(Integral, 0, None, closed="left")],
    "ring_channels": [
        Interval(Integral, 1, None, closed="left"),
        "array-like",
        None,
    ],
}

# The baselines of emg2pose train with Adam at a constant rate, without weight decay.
BASELINE_CONSTRAINTS = {
    "sfreq": [Interval(Real, 0, None, closed="neither")],
    "hand_model": [str, os.PathLike, None],
    "fingertip_weight": [Interval(Real, 0, None, closed="left")],
    "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
    **POSE_REGRESSOR_CONSTRAINTS,
    **{
        name: constraint
        for name, constraint in TRAINING_CONSTRAINTS.items()
        if name not in ("weight_decay", "restart_period")
    },
}


def training_plan(estimator, *, min_batch=1, **choices):
    """The estimator's parameters as a plan for the engine.

    Parameters
    ----------
    estimator : estimator
        Its parameters that are fields of the plan are taken.

    min_batch : int, default=1

    **choices
        Fields of the plan that are no parameters of the estimator.
    """
    check_callbacks(estimator.callbacks)
    processes = resolve_processes(resolve_device(estimator.device))
    names = {field.name for field in fields(TrainingPlan)} - {"device", *choices}
    parameters = estimator.get_params(deep=False)
    given = {name: value for name, value in parameters.items() if name in names}
    return TrainingPlan(
        **given | choices,
        min_batch=min_batch,
        device=processes.device,
        dtype=resolve_precision(estimator.precision, processes.device),
        processes=processes,
    )


def check_callbacks(callbacks):
    """Refuse what skorch cannot call, before anything is trained."""
    for callback in callbacks or ():
        is_named = isinstance(callback, tuple) and len(callback) == 2
        if not hasattr(callback[1] if is_named else callback, "on_epoch_end"):
            raise TypeError(
                "callbacks must hold skorch callbacks, or pairs of a name and one, got "
                f"{callback!r}."
            )
