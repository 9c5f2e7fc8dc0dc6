"""What an object is, by its content: the same in every process, for code too.

What comes with Python, numpy, scipy, scikit-learn or this package is known by its name.
Of everything else the code counts, and all that it refers to: a function by another
name is the same function, another function of the same name is not.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import sys
import types
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

OURS = {"sk_cpep", "sklearn"}
_KNOWN = {*sys.stdlib_module_names, *OURS, "numpy", "scipy"} - {"__main__"}
_INSTALLED = {"site-packages", "dist-packages"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice)
_CODE = (
    *("co_code", "co_exceptiontable", "co_flags", "co_names", "co_varnames"),
    *("co_freevars", "co_cellvars", "co_argcount", "co_kwonlyargcount"),
    *("co_posonlyargcount", "co_consts"),
)
# What Python keeps in a class besides its code.
_OF_A_CLASS = {
    "__abstractmethods__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__module__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}


def describe_content(value: Any) -> str:
    """The name of what is known by it, else a checksum of code and content, in words.

    Something whose content cannot be known, such as a lock, is described in words that no
    other call gives again.
    """
    name = known_name(value)
    if name is not None:
        return name
    content = _Content()
    content.write(value)
    kind = (value if isinstance(value, type) else type(value)).__qualname__
    if content.unknown is not None:
        return (
            f"{kind} that holds a {content.unknown}, unlike any other: {uuid.uuid4()}"
        )
    python = ", Python {}.{}".format(*sys.version_info) if content.has_code else ""
    return f"{kind} of checksum {content.sum.hexdigest()[:16]}{python}"


class _Content:
    """A checksum of everything that a value refers to.

    Attributes
    ----------
    sum : hash object

    has_code : bool
        Whether Python's bytecode, which differs between its versions, went into it.

    unknown : str or None
        Type of something whose content cannot be known.
    """

    def __init__(self) -> None:
        self.sum = hashlib.sha256()
        self.has_code = False
        self.unknown: str | None = None
        self._seen: dict[int, tuple[int, object]] = {}

    def write(self, value: Any) -> None:
        """Add a value, what it refers to first of all."""
        name = None if isinstance(value, _PLAIN) else known_name(value)
        if name is not None:
            self._mark("name", name)
        elif type(value) in _PLAIN:
            self._mark(type(value).__name__, repr(value))
        elif type(value) is tuple or isinstance(value, (np.generic, np.ndarray)):
            self._write_new(value)
        elif id(value) in self._seen:
            self._mark("again", self._seen[id(value)][0])
        else:
            # With the value itself, so that its id stays its own.
            self._seen[id(value)] = len(self._seen), value
            self._write_new(value)

    def _mark(self, *words: object) -> None:
        self.sum.update(repr(words).encode("utf-8", "surrogatepass"))

    def _write_all(self, kind: str, given: Iterable[object]) -> None:
        values = list(given)
        self._mark(kind, len(values))
        for value in values:
            self.write(value)

    def _write_new(self, value: Any) -> None:
        if isinstance(value, (np.generic, np.ndarray)) and value.dtype.hasobject:
            self._write_all("objects", [np.shape(value), value.tolist()])
        elif isinstance(value, (np.generic, np.ndarray)):
            self._mark("array", value.dtype.str, value.shape)
            self.sum.update(value.tobytes())
        elif type(value) in (tuple, list):
            self._write_all(type(value).__name__, value)
        elif type(value) is dict:
            self._write_all("dict", [(k, value[k]) for k in sorted(value, key=_order)])
        elif type(value) in (set, frozenset):
            self._write_all("set", sorted(value, key=_order))
        elif _is_tensor(value):
            self._write_tensor(value)
        elif isinstance(value, type):
            self._write_class(value)
        elif isinstance(value, BaseException):
            # Not what others have hung on it since: notes, what it was raised from.
            self._write_all("exception", [type(value), *value.args])
        elif isinstance(value, types.ModuleType):
            self._mark("module", value.__name__, *_source(value.__name__))
        elif type(value) in _PARTS:
            self._write_all(type(value).__name__, _PARTS[type(value)](value))
            self.has_code |= isinstance(value, types.CodeType)
        else:
            self._write_object(value)

    def _write_tensor(self, tensor: Any) -> None:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        self._mark("tensor", str(tensor.dtype), tuple(tensor.shape))
        self.sum.update(flat.view(sys.modules["torch"].uint8).numpy().tobytes())

    def _write_class(self, cls: type) -> None:
        names = sorted(set(vars(cls)) - _OF_A_CLASS)
        self._write_all("class", [type(cls), *cls.__bases__, *names])
        for name in names:
            self.write(vars(cls)[name])

    def _write_object(self, value: object) -> None:
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            parts: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:
            parts = type(value).__name__
        if isinstance(parts, str):  # known by its name, which is not known
            self.unknown = type(value).__name__
            return
        parts = [list(x) if hasattr(x, "__next__") else x for x in parts]
        self._write_all("object", parts)


def _order(value: object) -> str:
    """What to sort values of any kind by."""
    content = _Content()
    content.write(value)
    return content.sum.hexdigest()


def _parts_of_function(function: types.FunctionType) -> list[object]:
    """Code of a function, what it was given, and the globals that it speaks of."""
    cells = [_inside(cell) for cell in function.__closure__ or ()]
    names = sorted(_global_names(function.__code__))
    found = {n: function.__globals__[n] for n in names if n in function.__globals__}
    given = (function.__defaults__, function.__kwdefaults__)
    return [function.__code__, *given, *cells, list(found), *found.values()]


def _parts_of_method(method: types.MethodType) -> list[object]:
    """What a method is bound to; and the function, where that has another by its name."""
    function, name = method.__func__, method.__name__
    own = getattr(type(method.__self__), name, None)
    codes = [getattr(f, "__code__", None) for f in (own, function)]
    is_own = codes[0] is not None and codes[0] == codes[1]
    return [method.__self__, name, None if is_own else function]


def _inside(cell: types.CellType) -> object:
    """What a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _global_names(code: types.CodeType) -> set[str]:
    """Names of globals in code, and in the functions within it."""
    names = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return names.union(*map(_global_names, inner))


_PARTS: dict[type, Callable[[Any], list[object]]] = {
    types.FunctionType: _parts_of_function,
    types.CodeType: lambda code: [getattr(code, name) for name in _CODE],
    types.MethodType: _parts_of_method,
    types.BuiltinMethodType: lambda method: [method.__name__, method.__self__],
    types.MemberDescriptorType: lambda member: [member.__name__],
    types.MappingProxyType: lambda mapping: [dict(mapping)],
    functools.cached_property: lambda value: [value.func],
    type(functools.lru_cache(len)): lambda cached: [cached.__wrapped__],
    staticmethod: lambda method: [method.__func__],
    classmethod: lambda method: [method.__func__],
    property: lambda value: [value.fget, value.fset, value.fdel],
}


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor of torch, which is not imported to find out."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _torchs_name(value: Any) -> str | None:
    """The name of a function of torch that is compiled, and has no module."""
    torch: Any = sys.modules.get("torch")
    name = getattr(value, "__name__", None)
    if torch is None or not isinstance(name, str):
        return None
    homes = {"torch": torch, "torch.Tensor": torch.Tensor, "torch._C._nn": torch._C._nn}
    found = (home for home, of in homes.items() if getattr(of, name, None) is value)
    home = next(found, None)
    return None if home is None else f"{home}.{name} {torch.__version__}"


def known_name(value: Any) -> str | None:
    """The name of what Python or an installed package has by that name, or None."""
    if isinstance(value, (types.BuiltinFunctionType, types.MethodDescriptorType)):
        name = _torchs_name(value)
        if name is not None:
            return name
    if isinstance(value, np.ufunc):
        return f"ufunc {value.__name__}" if _is_numpys(value) else None
    if isinstance(value, types.ModuleType):
        return value.__name__ if _root_of(value.__name__) in _KNOWN else None
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return None
    public = module.partition("._")[0]
    if value is not _find(module, name) and value is not _find(public, name):
        return None
    if _root_of(module) in _KNOWN:
        return f"{public}.{name}"
    version, source = _source(module)
    return f"{module}.{name} {version}, source {source}" if version else None


def _find(module: str, name: str) -> object:
    """What a module that is imported has by a name, or None."""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _is_numpys(ufunc: np.ufunc) -> bool:
    """Whether a ufunc is numpy's or scipy's, rather than made at hand."""
    modules = [m for m in list(sys.modules) if _root_of(m) in ("numpy", "scipy")]
    return any(vars(sys.modules[m]).get(ufunc.__name__) is ufunc for m in modules)


def _source(name: str) -> tuple[str | None, str | None]:
    """Version of an installed module's package, or None, and a checksum of its file."""
    module, package = sys.modules.get(name), sys.modules.get(_root_of(name))
    path = getattr(module, "__file__", None)
    if path is None or not Path(path).is_file():
        return None, None
    version = None
    if _INSTALLED & set(Path(path).parts):
        version = str(getattr(package, "__version__", "of unknown version"))
    return version, hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def package_of(value: Any) -> str:
    """Package that something comes from."""
    return _root_of(str(value.__module__))


def _root_of(module: str) -> str:
    """Package that a module is in."""
    return module.partition(".")[0]
