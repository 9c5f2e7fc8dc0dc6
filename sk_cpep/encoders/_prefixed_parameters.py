"""Parameters of what an estimator makes, as skorch names them: ``module__width``."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Self

from ._parameters import DeclaredParameters


class PrefixedParameters(DeclaredParameters):
    """Base of the estimators that take ``module__*`` and the like by any name.

    They are parameters as the declared ones: they are stored under their names, and
    ``get_params``, ``set_params``, ``clone`` and searches know them.
    """

    _prefixes: ClassVar[tuple[str, ...]] = ("module__", "objective__")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        init = _storing_prefixed(cls.__init__, cls._prefixes)
        cls.__init__ = init  # type: ignore[method-assign]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add those of parameters that are estimators.

        Returns
        -------
        params : dict
        """
        declared: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        names = [name for name in vars(self) if name.startswith(self._prefixes)]
        return declared | {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self : object
        """
        own = {k: v for k, v in params.items() if k.startswith(self._prefixes)}
        others = {k: v for k, v in params.items() if k not in own}
        super().set_params(**others)  # type: ignore[misc]
        vars(self).update(own)
        return self

    def parameters_of(self, prefix: str) -> dict[str, Any]:
        """The parameters that begin with a prefix.

        Parameters
        ----------
        prefix : str
            Such as ``"module__"``.

        Returns
        -------
        parameters : dict
            By their names without the prefix.
        """
        return {
            name.removeprefix(prefix): value
            for name, value in vars(self).items()
            if name.startswith(prefix)
        }


def _storing_prefixed(
    init: Callable[..., None], prefixes: tuple[str, ...]
) -> Callable[..., None]:
    """A constructor that stores parameters with a prefix, and passes on all others."""

    @wraps(init)
    def stored(self: Any, *args: Any, **parameters: Any) -> None:
        own = {k: v for k, v in parameters.items() if k.startswith(prefixes)}
        init(self, *args, **{k: v for k, v in parameters.items() if k not in own})
        vars(self).update(own)

    return stored
