"""The training parameters that every network estimator shares."""

import warnings
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from ..training import TrainingPlan, resolve_device, resolve_precision

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
    "callbacks": [list, tuple, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def training_plan(estimator, *, min_batch=1):
    """The estimator's parameters as a plan for the engine."""
    device = resolve_device(estimator.device)
    return TrainingPlan(
        lr=estimator.lr,
        weight_decay=estimator.weight_decay,
        batch_size=estimator.batch_size,
        max_epochs=estimator.max_epochs,
        restart_period=estimator.restart_period,
        early_stopping=estimator.early_stopping,
        validation_fraction=estimator.validation_fraction,
        n_iter_no_change=estimator.n_iter_no_change,
        tol=estimator.tol,
        min_batch=min_batch,
        device=device,
        dtype=resolve_precision(estimator.precision, device),
        verbose=estimator.verbose,
    )


def inference_device(estimator):
    """The estimator's device, or the CPU where that does not exist."""
    try:
        return resolve_device(estimator.device)
    except ValueError as error:
        warnings.warn(f"Using the CPU: {error}", UserWarning, stacklevel=3)
        return torch.device("cpu")
