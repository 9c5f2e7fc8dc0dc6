"""Names of a package that are imported when they are first used, as SPEC 1 describes."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def attach(
    package: str, names: Mapping[str, Sequence[str]], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package with lazy names.

    Parameters
    ----------
    package : str
        The package's ``__name__``.

    names : mapping of str to sequence of str
        Public names by the submodule that defines them.

    submodules : sequence of str, default=()
        Submodules that are attributes of the package themselves.

    Returns
    -------
    getattr, dir : callables
    """
    homes = {name: module for module, defined in names.items() for name in defined}

    def getattr_(name: str) -> object:
        if name in submodules:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def dir_() -> list[str]:
        return sorted({*sys.modules[package].__all__, *submodules})

    return getattr_, dir_
