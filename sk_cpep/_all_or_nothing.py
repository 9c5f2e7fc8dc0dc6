"""A fit that happens as a whole, or not at all."""

from functools import wraps


def all_or_nothing(method):
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
    def whole(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            # One assignment: there is no moment in which another Ctrl-C could leave
            # half of the attributes.
            self.__dict__ = before
            raise

    return whole
