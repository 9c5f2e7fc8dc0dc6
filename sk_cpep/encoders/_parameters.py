"""Estimators that declare a parameter once: its type, default and constraints."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, field, make_dataclass
from functools import reduce
from inspect import cleandoc, get_annotations, isfunction, signature
from itertools import chain
from numbers import Integral, Real
from operator import or_
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions

from .._typing import PathLike

# In Annotated, a type is followed by scikit-learn's constraints of the parameter.
Flag: TypeAlias = Annotated[bool, "boolean"]
Count: TypeAlias = Annotated[int, Interval(Integral, 0, None, closed="left")]
Size: TypeAlias = Annotated[int, Interval(Integral, 1, None, closed="left")]
Amount: TypeAlias = Annotated[float, Interval(Real, 0, None, closed="left")]
Positive: TypeAlias = Annotated[float, Interval(Real, 0, None, closed="neither")]
Probability: TypeAlias = Annotated[float, Interval(Real, 0, 1, closed="left")]
Fraction: TypeAlias = Annotated[float, Interval(Real, 0, 1, closed="neither")]
Pooling: TypeAlias = Annotated[Literal["cls", "mean"], StrOptions({"cls", "mean"})]
Array: TypeAlias = Annotated[ArrayLike, "array-like"]
File: TypeAlias = Annotated[PathLike, str, os.PathLike]

_Fields: TypeAlias = dict[str, tuple[Any, Any]]  # annotation and Field, by name


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class DeclaredParameters:
    """Base of estimators that declare their parameters as a dataclass does its fields.

    A parameter is an annotated class attribute with a default; what follows its type
    in ``Annotated`` are its constraints. It is passed by name, unless it is declared
    with ``field(default=..., kw_only=False)``. Learned attributes are declared with
    ``field(init=False)``. A subclass inherits parameters, and declares one again to
    change its default (and, if it gives any, its constraints).

    Every subclass gets an ordinary constructor, which stores all of its parameters,
    and `_parameter_constraints`. Its docstring gets the entries of Parameters and
    Attributes that only its bases have, their References if it has none, and the
    defaults; the docstrings of its methods get the entries and sections that only the
    method of a base has. A subclass with its own constructor keeps that constructor,
    and its docstring as it is.

    It is not a dataclass, because some libraries take dataclasses apart into their
    fields, and what an estimator has learned would be lost.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    _own_parameters: ClassVar[_Fields] = {}
    _own_doc: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._own_doc = cls.__doc__
        cls._own_parameters = dict(_declared(cls))
        for name, method in vars(cls).items():
            if isfunction(method) and not name.startswith("_"):
                _complete_method(method, getattr(super(cls, cls), name, None))
        if cls.__init__ is object.__init__ or hasattr(cls.__init__, "fields"):
            fields = _inherited(cls)
            made = {
                "__init__": _constructor(cls, fields),
                "__doc__": _class_docstring(cls, fields),
                "_parameter_constraints": _constraints(cls),
            }
            for name, value in made.items():
                setattr(cls, name, value)


def _declared(cls: type) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Parameters that the body of a class declares; their defaults become its own."""
    for name, annotation in get_annotations(cls).items():
        value = vars(cls).get(name, MISSING)
        if isinstance(value, Field):
            delattr(cls, name)
        else:
            value = field(default=value)
        is_class_variable = ClassVar in (annotation, get_origin(annotation))
        if value.default is MISSING or is_class_variable or name.startswith("_"):
            continue
        value.kw_only = value.kw_only is not False
        setattr(cls, name, value.default)
        yield name, (annotation, value)


def _inherited(cls: type[DeclaredParameters]) -> _Fields:
    """All parameters as the class has them; those passed by position first, then its own."""
    fields: _Fields = {}
    for base in cls.__mro__:
        for name, declared in vars(base).get("_own_parameters", {}).items():
            fields[name] = fields.pop(name, declared)
    return dict(sorted(fields.items(), key=lambda item: item[1][1].kw_only))


def _constraints(cls: type[DeclaredParameters]) -> dict[str, list[Any]]:
    """Constraints by parameter, those that the nearest class gives."""
    constraints: dict[str, list[Any]] = {}
    for base in reversed(cls.__mro__):
        for name, (annotation, _) in vars(base).get("_own_parameters", {}).items():
            given = _type_and_constraints(annotation)[1]
            constraints |= {name: given} if given else {}
    return constraints


def _type_and_constraints(annotation: Any) -> tuple[Any, list[Any]]:
    """What an annotation says, without ``Annotated`` and without the type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return arguments[0], list(arguments[1:])
    if origin not in (Union, UnionType):
        return annotation, [None] if annotation is NoneType else []
    kinds, constraints = zip(*map(_type_and_constraints, arguments))
    allowed = list(chain(*constraints))
    return reduce(or_, kinds), [] if allowed == [None] else allowed


def _constructor(cls: type, fields: _Fields) -> Callable[..., None]:
    """An ``__init__`` that stores the parameters, as a dataclass has it."""
    arguments = [
        (
            name,
            _type_and_constraints(annotation)[0],
            field(default=given.default, kw_only=given.kw_only),
        )
        for name, (annotation, given) in fields.items()
    ]
    stores: Any = make_dataclass("_", arguments, repr=False, eq=False)
    init = stores.__init__
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.fields = fields
    return init


def _class_docstring(cls: type[DeclaredParameters], fields: _Fields) -> str | None:
    """The docstring of a class, with what its bases alone document, and defaults."""
    if not cls._own_doc:
        return cls._own_doc  # python -OO
    docs = [vars(base).get("_own_doc") for base in cls.__mro__]
    sections = [_sections(doc) for doc in docs if doc]
    parameters, attributes = (
        _entries(section.get(title, "") for section in sections)
        for title in ("Parameters", "Attributes")
    )
    for name in parameters.keys() & fields:
        default = fields[name][1].default
        shown = json.dumps(default) if isinstance(default, str) else repr(default)
        head, newline, text = parameters[name].partition("\n")
        parameters[name] = f"{head}, default={shown}{newline}{text}"
    merged = {
        "Parameters": _joined(parameters, fields),
        "Attributes": _joined(attributes, attributes),
        "References": next(filter(None, (s.get("References") for s in sections)), ""),
    }
    titles = ("", "Parameters", "Attributes", "See Also", "Notes", "References")
    return _docstring(dict.fromkeys(titles, "") | sections[0] | merged)


def _complete_method(method: Any, of_base: Any) -> None:
    """Add the entries and sections that only the method of the base class has."""
    if not method.__doc__ or not getattr(of_base, "__doc__", None):
        return
    own, base = _sections(method.__doc__), _sections(of_base.__doc__)
    parameters, raises = (
        _entries(doc.get(title, "") for doc in (own, base))
        for title in ("Parameters", "Raises")
    )
    merged = {
        "Parameters": _joined(parameters, signature(method).parameters),
        "Raises": _joined(raises, raises),
    }
    method.__doc__ = _docstring({"": ""} | base | own | merged)


def _sections(doc: str) -> dict[str, str]:
    """Sections of a numpydoc docstring by title; what is before them has none."""
    head, *parts = re.split(r"^(\S.*)\n-{3,}\n", cleandoc(doc), flags=re.MULTILINE)
    return {"": head} | dict(zip(parts[::2], parts[1::2]))


def _entries(sections: Iterable[str]) -> dict[str, str]:
    """Entries by the names that they describe; the first section that has one counts."""
    entries: dict[str, str] = {}
    for section in sections:
        for entry in re.split(r"\n+(?=\S)", section.strip()):
            for name in entry.partition(" :")[0].split(", "):
                entries.setdefault(name.strip("* "), entry)
    return entries


def _joined(entries: dict[str, str], names: Iterable[str]) -> str:
    """Entries in the order of names, one that describes several names once."""
    return "\n\n".join(dict.fromkeys(entries[n] for n in names if entries.get(n)))


def _docstring(sections: dict[str, str]) -> str:
    parts = [
        f"{title}\n{'-' * len(title)}\n{text}" if title else text
        for title, text in sections.items()
        if text
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"
