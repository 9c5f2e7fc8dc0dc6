"""What an id is: people, recordings, sessions and groups, told apart in one way."""

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, date
from numbers import Complex, Number, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._typing import AnyArray

IdsLike: TypeAlias = ArrayLike | Set[Any]

NUMBERS, TEXT, MISSING = "numbers", "text", "missing values"
DATES, ZONED = "dates", "dates with a time zone"
_INT64 = np.iinfo(np.int64)


def read_ids(values: IdsLike, name: str) -> AnyArray:
    """Ids in a form in which they are equal if, and only if, their values are.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, 1), or set
        Numbers, text or dates, in whatever type: 1, 1.0, True and numpy's or pandas'
        ones are one id; text in bytes is read as UTF-8. 1 and "1" don't mix.

    name : str
        What error messages call them.

    Returns
    -------
    ids : ndarray of shape (n,)
        Whole numbers are int64, text is str and dates are datetime64; whatever numpy
        would round or cut off is kept as objects.

    Raises
    ------
    ValueError
        If the shape is another, if values are missing (None, NaN, NaT, NA or masked),
        if they are of several kinds, or none of these. The message names the first.
    """
    return read_comparable({name: values})[0]


def read_comparable(named: Mapping[str, IdsLike]) -> list[AnyArray]:
    """Ids that are compared with each other, each as of :func:`read_ids`.

    Parameters
    ----------
    named : dict of str to array-like
        Ids by what error messages call them.

    Returns
    -------
    ids : list of ndarrays

    Raises
    ------
    ValueError
        As of :func:`read_ids`, and if some are numbers and others text or dates.
    """
    read = {
        name: _read(as_column(values, name), name) for name, values in named.items()
    }
    first: dict[str, tuple[str, Any]] = {}
    for name, (kind, ids) in read.items():
        if kind is not None:
            first.setdefault(kind, (name, ids[0]))
    if len(first) > 1:
        (kind, (name, one)), (other_kind, (other, two)), *_ = first.items()
        raise ValueError(
            f"{name} holds {kind}, such as {_show(one)}, and {other} {other_kind}, such "
            f"as {_show(two)}, which cannot be compared: give both the same names."
        )
    return [ids for _, ids in read.values()]


def as_column(values: IdsLike, name: str) -> AnyArray:
    """Values of whatever type as an array of shape (n,), none of them changed."""
    column = _as_array(values)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise ValueError(
            f"{name} must be a 1-D array or a list, with one entry each; got "
            f"{'a single value' if column.ndim == 0 else f'the shape {column.shape}'}."
        )
    return column


def kinds_of(column: AnyArray) -> list[str]:
    """Kind of each value: numbers, text, dates, missing values, or what type it is."""
    return [read_value(value)[0] for value in column]


def refuse_several_kinds(values: IdsLike, name: str) -> None:
    """Raise if labels are numbers and text, or missing; all else is left to others."""
    column = _as_array(values)
    if column.ndim == 1 and column.dtype.kind in "OT":
        kinds = kinds_of(column)
        refuse_missing([kind == MISSING for kind in kinds], column, name)
        refuse_mixture(kinds, column, name, "labels")


def refuse_mixture(
    kinds: Sequence[str], column: AnyArray, name: str, what: str
) -> None:
    """Raise if values are of several of the kinds that ids may have."""
    first = {kind: kinds.index(kind) for kind in dict.fromkeys(kinds) if kind in _BUILD}
    if len(first) > 1:
        found = [f"{kind} ({_show(column[i])} at {i})" for kind, i in first.items()]
        raise ValueError(
            f"{name} mixes {what} that are {' with '.join(found)}: give all in one type."
        )


def refuse_missing(missing: ArrayLike, column: AnyArray, name: str) -> None:
    """Raise if there are missing values, which a mask tells."""
    n_missing = np.count_nonzero(missing)
    if n_missing:
        first = np.argmax(missing)
        raise ValueError(
            f"{name} has {n_missing} missing value(s) among {len(column)} entries, the "
            f"first at {first} ({_show(column[first])}). Fill them in, or leave out what "
            "they belong to."
        )


def read_value(value: Any) -> tuple[str, Any]:
    """Kind of one value, and the value in plain Python (dates in numpy's type)."""
    if isinstance(value, np.ndarray) and value.size == 1:  # a cell of MATLAB
        value = value.reshape(-1)[0]
    if isinstance(value, str):
        return TEXT, str(value)
    if isinstance(value, bytes):
        return TEXT, value.decode("utf-8", "surrogateescape")
    if _is_missing(value):
        return MISSING, value
    if isinstance(value, (date, np.datetime64)):
        return _read_date(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Number) and (
        isinstance(value, Real) or not isinstance(value, Complex)
    ):
        return NUMBERS, _read_number(value)
    return f"of type {type(value).__name__}", value


def _as_array(values: Any) -> AnyArray:
    """Values as an array, masked ones as None, and without a change of any type."""
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        filled = _filled(list(values.data.ravel()), object).reshape(mask.shape)
        filled[mask] = None
        return filled
    if isinstance(getattr(values, "dtype", None), np.dtype):
        return np.asarray(values)
    if isinstance(values, Set):
        values = list(values)
    # As objects: numpy would make text of numbers beside text, and round.
    return np.asarray(values, dtype=object)


def _read(column: AnyArray, name: str) -> tuple[str | None, AnyArray]:
    """Kind of the ids, None where there are none, and the ids."""
    if not len(column):
        return None, np.empty(0, dtype=object)
    if column.dtype.kind == "U":
        return TEXT, column
    if column.dtype.kind in "biu":
        return NUMBERS, _as_numbers(column)
    if column.dtype.kind == "f" and column.dtype.itemsize <= 8 and _are_int64(column):
        return NUMBERS, column.astype(np.int64)
    if set(map(type, column)) == {str}:
        return TEXT, _as_text(column.tolist())
    return _read_objects(column, name)


def _read_objects(column: AnyArray, name: str) -> tuple[str, AnyArray]:
    """Kind of the ids, and the ids, of values that are looked at one by one."""
    kinds, ids = zip(*map(read_value, column))
    refuse_missing([kind == MISSING for kind in kinds], column, name)
    refuse_mixture(kinds, column, name, "ids")
    for kind, value in zip(kinds, column):
        if kind not in _BUILD:
            raise ValueError(
                f"{name} holds {_show(value)}, which is {kind}: ids are numbers, text or "
                "dates."
            )
    return kinds[0], _BUILD[kinds[0]](ids)


def _are_int64(column: AnyArray) -> bool:
    """Whether floats are whole numbers that int64 holds."""
    column = column.astype(np.float64)
    return bool(np.all((column == np.floor(column)) & (np.abs(column) < 2.0**63)))


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT, NA or masked."""
    if value is None or value is np.ma.masked or type(value).__name__ == "NAType":
        return True
    return isinstance(value, (Number, date, np.generic)) and bool(value != value)


def _read_number(value: Any) -> Any:
    """A number as an int or a float, where one of them holds it exactly."""
    try:
        whole = int(value)
    except OverflowError:
        return float(value)
    if whole == value:
        return whole
    return float(value) if float(value) == value else value


def _read_date(value: Any) -> tuple[str, Any]:
    """Kind of a date, and the date in nanoseconds (UTC), where these hold it."""
    kind = DATES
    if getattr(value, "tzinfo", None) is not None:
        kind, value = ZONED, value.astimezone(UTC).replace(tzinfo=None)
    value = value.to_datetime64() if hasattr(value, "to_datetime64") else value
    value = np.datetime64(value)
    try:
        exact = value.astype("datetime64[ns]")
    except OverflowError:  # from numpy 2.5 on; before, another date
        return kind, value
    return kind, exact if exact.astype(value.dtype) == value else value


def _as_numbers(values: Any) -> AnyArray:
    """int64 where all are whole and fit, else objects."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind != "u" or values.max() <= _INT64.max:
            return values.astype(np.int64)
        values = values.tolist()
    fit = all(type(v) is int and _INT64.min <= v <= _INT64.max for v in values)
    return _filled(values, np.int64 if fit else object)


def _as_text(values: Sequence[str]) -> AnyArray:
    """Text in numpy's type, except where that would take a NUL at the end for its own."""
    return _filled(values, object if any(v.endswith("\0") for v in values) else str)


def _filled(values: Sequence[Any], dtype: type) -> AnyArray:
    """An array of shape (n,), whatever the values themselves hold."""
    if dtype is not object:
        return np.array(values, dtype=dtype)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


_BUILD: dict[str, Callable[[Any], AnyArray]] = {
    NUMBERS: _as_numbers,
    TEXT: _as_text,
    DATES: np.array,
    ZONED: np.array,
}


def _show(value: Any) -> str:
    """A value as Python writes it, without the name of numpy's type."""
    if isinstance(value, np.datetime64):
        return str(value)
    return repr(value.item() if isinstance(value, np.generic) else value)
