"""A fit that happens as a whole, or not at all."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

Self_ = TypeVar("Self_")
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def all_or_nothing(
    method: Callable[Concatenate[Self_, Given], Returned],
) -> Callable[Concatenate[Self_, Given], Returned]:
    """Let a method that raises anything leave its object as it was before.

    What the object held is put back as it was, not copied: the method may replace it,
    but must not change it in place.

    Parameters
    ----------
    method : callable
        Such as `fit`; of an object that keeps its attributes in a ``__dict__``.

    Returns
    -------
    method : callable
    """

    @wraps(method)
    def whole(self: Self_, /, *args: Given.args, **kwargs: Given.kwargs) -> Returned:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            # One assignment: there is no moment in which another Ctrl-C could leave
            # half of the attributes.
            self.__dict__ = before
            raise

    return whole
