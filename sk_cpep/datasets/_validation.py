"""How the functions of this folder check what they are given."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, TypeVar

from sklearn.utils._param_validation import Interval, validate_params

F = TypeVar("F", bound=Callable[..., Any])

COUNT = Interval(Integral, 1, None, closed="left")


def validated(constraints: dict[str, list[Any]]) -> Callable[[F], F]:
    """Decorate a function so that its parameters are checked as estimators' are.

    Parameters
    ----------
    constraints : dict of str to list
        What each parameter may be, as in scikit-learn's `_parameter_constraints`.
    """
    decorate: Callable[[F], F] = validate_params(
        constraints, prefer_skip_nested_validation=True
    )
    return decorate
