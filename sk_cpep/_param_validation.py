"""scikit-learn's validation of parameters by decorators, which keep what they decorate typed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils import _param_validation as _of_sklearn

Function = TypeVar("Function", bound=Callable[..., Any])


def validate_fit(method: Function) -> Function:
    """Check the estimator's parameters before `method`, but not those of what it nests."""
    validated: Function = _fit_context(prefer_skip_nested_validation=True)(method)
    return validated


def validate_params(
    constraints: Mapping[str, Sequence[object]],
) -> Callable[[Function], Function]:
    """Check the arguments of a function against constraints of scikit-learn."""
    decorate: Callable[[Function], Function] = _of_sklearn.validate_params(
        constraints, prefer_skip_nested_validation=True
    )
    return decorate
