"""What a filter is, in plain values that are the same in every process."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from joblib import Memory
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from ..._content_digest import OURS, describe_content, known_name, package_of

_WITHOUT_EFFECT = {"n_jobs", "verbose"}


def describe_filter(filter: BaseEstimator) -> dict[str, Any]:
    """Class and parameters of a filter, as they go into the manifest of a pack.

    Parameters
    ----------
    filter : estimator

    Returns
    -------
    description : dict
        Ready for JSON: `class`, and `parameters` by name. Where something cannot be
        told from another, such as code that was compiled at hand, it is described in
        words that no other call gives again.
    """
    parameters = filter.get_params()
    named = sorted(set(parameters) - _WITHOUT_EFFECT)
    return {
        "class": _name_class(type(filter)),
        "parameters": {name: describe(parameters[name]) for name in named},
    }


def describe(value: Any) -> Any:
    """A parameter's value as JSON has it, 60, 60.0 and [60] alike."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Real):
        number = value if isinstance(value, int) else float(value)
        if not math.isfinite(number):
            return repr(value)
        return int(number) if number == int(number) else number
    if isinstance(value, Memory):  # without effect
        return None
    if isinstance(value, (list, tuple)):
        plain = [describe(v) for v in value]
        return plain[0] if len(plain) == 1 else plain
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: describe(v) for key, v in value.items()}
    if _is_estimator(value) and not isinstance(value, FrozenEstimator):
        return repr(value) if _is_shown_whole(value) else describe_filter(value)
    return describe_content(value)


def _is_estimator(value: object) -> bool:
    """Whether a value has parameters as scikit-learn's estimators have."""
    return hasattr(value, "get_params") and not isinstance(value, type)


def _is_shown_whole(value: Any) -> bool:
    """Whether the text that stands for a value tells all: plain values and our classes."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_shown_whole, value))
    if _is_estimator(value) and not isinstance(value, FrozenEstimator):
        is_ours = package_of(type(value)) in OURS and known_name(type(value))
        parameters = value.get_params(deep=False).values()
        return bool(is_ours) and all(map(_is_shown_whole, parameters))
    return value is None or isinstance(value, (bool, str, Real))


def _name_class(cls: type) -> str:
    """Name of a class, with a checksum where it is not of scikit-learn or ours."""
    if package_of(cls) in OURS and known_name(cls):
        return cls.__qualname__
    return describe_content(cls)
