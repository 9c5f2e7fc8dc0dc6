"""The arrays that are cut together: what each of them is, and its rate."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._ids import (
    MISSING,
    NUMBERS,
    TEXT,
    as_column,
    kinds_of,
    read_ids,
    read_value,
    refuse_mixture,
)
from .._typing import AnyArray, BoolArray, IntArray
from ._labels import is_text, read_labels
from ._recordings import as_recordings

# Lengths that ought to agree may differ by this many samples of the slower array:
# Ninapro's EMG and glove end a sample or two apart.
TOLERANCE = 2


@dataclass
class Track:
    """One of the arrays, and how its samples relate to those of the first.

    Parameters
    ----------
    name : str
        What error messages call it.

    kind : {"signal", "labels", "fact"}
    data : list or ndarray
        Recordings, labels of each recording's samples, or one fact of each recording.

    lengths : ndarray of shape (n_recordings,)
        Samples of each recording; none for facts.

    rate : Fraction
        Its sampling rate over that of the first array.

    size : int
        Samples of a window.
    """

    name: str
    kind: Literal["signal", "labels", "fact"]
    data: Any
    lengths: IntArray = field(default_factory=lambda: np.empty(0, dtype=int))
    rate: Fraction = Fraction(1)
    size: int = 1

    def scale(self, n: Any) -> IntArray:
        """`n` samples of the first array, in samples of this one; halves to even."""
        whole, rest = multiply(n, self.rate)
        up = (2 * rest + whole % 2 > self.rate.denominator) & (rest > 0)
        return (whole + up).astype(np.int64)

    def starts(self, plan: AnyArray) -> IntArray:
        """First sample of each planned window."""
        last = self.lengths[plan["recording"]] - self.size
        return np.minimum(self.scale(plan["start"]), last)

    def fits(self, plan: AnyArray) -> BoolArray:
        """Which windows are wholly there, starting a sample earlier if rounded up."""
        last = self.lengths[plan["recording"]] - self.size
        return (last >= 0) & (multiply(plan["start"], self.rate)[0] <= last)

    def agrees(self, first: "Track") -> BoolArray:
        """Which recordings have the length that the first array's lengths ask for."""
        ratio = float(self.rate)
        slack = TOLERANCE * max(1, ratio) + 1e-6
        return np.abs(self.lengths - first.lengths * ratio) <= slack


def multiply(n: ArrayLike, rate: Fraction) -> tuple[AnyArray, AnyArray]:
    """Whole part of `n` times a fraction, and the numerator of what is left."""
    n, largest = np.asarray(n), max(rate.numerator, rate.denominator)
    if largest * (1 + int(n.max(initial=0))) >= 2**61:
        n = n.astype(object)
    product = n * rate.numerator
    return product // rate.denominator, product % rate.denominator


def read_tracks(
    arrays: Sequence[Any],
    rates: Sequence[float | None] | None,
    size: int,
    finite: bool,
    names: Sequence[str] | None = None,
) -> list[Track]:
    """Read the arrays of :func:`make_windows`, and set their rates and window sizes.

    Parameters
    ----------
    arrays, rates, size
        As of :func:`make_windows`.

    finite : bool
        Refuse NaN and infinite values in signals.

    names : sequence of str, default=None
        What error messages call the arrays. None are ``arrays[0]``, ``arrays[1]``, ...
    """
    rates = _check_rates(rates, len(arrays))
    names = names or [f"arrays[{j}]" for j in range(len(arrays))]
    if not arrays:
        raise ValueError("make_windows needs at least one array.")
    _check_entries(arrays[0], names[0])
    first = _read_signal(arrays[0], names[0], finite)
    first.size = size
    tracks = [first]
    for j, (array, rate) in enumerate(zip(arrays[1:], rates[1:]), start=1):
        ratio = None if rate is None else exact_ratio(rate, rates[0])
        track = _read_track(array, names[j], first, ratio, finite)
        if track.kind != "fact":
            _set_rate(track, first, ratio)
        tracks.append(track)
    return tracks


def _read_signal(array: Any, name: str, finite: bool) -> Track:
    """A track of recordings."""
    data = as_recordings(array, name=name, finite=finite, min_times=0)
    if not isinstance(data, list) and data.ndim == 2:
        data = data[:, np.newaxis]
    return Track(name, "signal", data, np.array([x.shape[-1] for x in data]))


def _check_entries(array: Any, name: str) -> None:
    """Raise a ValueError for what has no entries in an order."""
    is_list = hasattr(array, "__len__") and getattr(array, "ndim", 1) > 0
    if not is_list or isinstance(array, (str, bytes, Mapping, Set)):
        shown = array if np.isscalar(array) else f"a {type(array).__name__}"
        raise ValueError(
            f"{name} has to be a list, or an array, with one entry per recording, got "
            f"{shown!r}."
        )
    if len(array) == 0:
        raise ValueError(f"{name} is empty: give at least one recording.")


def _read_track(
    array: Any, name: str, first: Track, ratio: Fraction | None, finite: bool
) -> Track:
    """An array as a signal, as labels or as facts, whichever its entries are."""
    _check_entries(array, name)
    if len(array) != len(first.data):
        raise ValueError(
            f"{name} has {len(array)} entries, but there are {len(first.data)} "
            f"recordings in {first.name}: each array needs one entry per recording."
        )
    entries = np.asarray(array, dtype=object) if hasattr(array, "iloc") else array
    shapes = [np.shape(entry) for entry in entries]
    dims = set(map(len, shapes))
    if dims == {0} or (set(shapes) == {(1,)} and first.lengths.max() > 1 + TOLERANCE):
        return Track(name, "fact", _read_facts(array, name))
    if dims == {2} and not _are_labels(entries, shapes, name, first, ratio):
        return _read_signal(entries, name, finite)
    if dims <= {1, 2}:
        return _read_labels(entries, name)
    raise ValueError(
        f"The entries of {name} have {sorted(dims)} dimensions; expected 2 throughout "
        "for a signal, 1 for a label per sample, or 0 for a fact of each recording."
    )


def _read_facts(array: Any, name: str) -> AnyArray:
    """Facts in the type that numpy gives them, or as ids where it would change them."""
    column = as_column(array, name)
    if column.dtype != object:
        return column
    kinds = kinds_of(column)
    refuse_mixture(kinds, column, name, "facts")
    facts = np.asarray(array).reshape(len(column), -1)[:, 0]
    if _are_same(facts, column):
        return facts
    return read_ids(column, name) if set(kinds) in ({TEXT}, {NUMBERS}) else column


def _are_same(facts: AnyArray, column: AnyArray) -> bool:
    """Whether all are equal, and integers still integers."""
    if facts.dtype.kind == "f" and all(isinstance(x, Integral) for x in column):
        return False
    return all(
        kind == other and (kind == MISSING or one == two)
        for (kind, one), (other, two) in zip(
            map(read_value, facts), map(read_value, column)
        )
    )


def _are_labels(
    entries: Any,
    shapes: list[tuple[int, ...]],
    name: str,
    first: Track,
    ratio: Fraction | None,
) -> bool:
    """Whether 2-D entries are columns, or rows, of labels rather than signals."""
    rows, columns = (np.array(lengths) for lengths in zip(*shapes))
    kinds = {_kind(entry) for entry in entries if np.size(entry)}
    if kinds == {"text"}:
        return bool(np.all(rows == 1) or np.all(columns == 1))
    as_labels = Track(name, "labels", entries, rows, ratio or Fraction(1))
    if np.all(columns == 1) and rows.max() > 1:
        return "other" not in kinds and bool(as_labels.agrees(first).all())
    as_labels.lengths, as_labels.rate = columns, Fraction(1)
    is_array = isinstance(entries, np.ndarray) and entries.dtype != object
    is_row = np.all(rows == 1) and kinds == {"integer"} and not is_array
    if is_row and as_labels.agrees(first).all():
        raise ValueError(
            f"{name} has integers of shape (1, n_times), one for each sample of "
            f"{first.name}: these may be labels, or a signal of one channel. Give labels as "
            "1-D arrays (labels.ravel()), a signal as floats (x.astype(float))."
        )
    return False


def _kind(entry: ArrayLike) -> str:
    """What an entry holds: text, integers, floats that are whole, or something else."""
    values = np.asarray(entry)
    if values.dtype.kind == "O" and values.size:
        values = np.asarray(values.ravel()[:1].tolist())
    if values.dtype.kind in "UST":
        return "text"
    if values.dtype.kind in "biu":
        return "integer"
    is_whole = values.dtype.kind == "f" and np.all(values == np.rint(values))
    return "whole" if is_whole else "other"


def _read_labels(entries: Any, name: str) -> Track:
    """A track of labels per sample."""
    columns = [_upright(entry) for entry in entries]
    labels = [read_labels(x, name, i) for i, x in enumerate(columns)]
    if len({is_text(x) for x in labels if len(x)}) > 1:
        raise ValueError(f"{name} mixes labels that are strings with numbers.")
    return Track(name, "labels", labels, np.array([len(x) for x in labels]))


def _upright(entry: Any) -> Any:
    """A row (1, n_times) as a column."""
    shape = np.shape(entry)
    if len(shape) == 2 and shape[0] == 1:
        return np.asarray(entry, dtype=getattr(entry, "dtype", object)).T
    return entry


def _set_rate(track: Track, first: Track, ratio: Fraction | None) -> None:
    """Set the rate of a track, from the lengths if None, and its samples of a window."""
    inferred = ratio is None and track.kind == "signal"
    n_first = int(first.lengths.sum())
    if ratio is not None:
        track.rate = ratio
    elif inferred and n_first and not track.agrees(first).all():
        track.rate = Fraction(int(track.lengths.sum()), n_first)
    if not track.agrees(first).all():
        _refuse_lengths(track, first, inferred)
    track.size = int(track.scale(first.size))
    if track.size == 0:
        raise ValueError(
            f"A window of size={first.size} samples of {first.name} holds no sample of "
            f"{track.name}, at {float(track.rate):g} times its rate."
        )


def exact_ratio(rate: Any, first: Any) -> Fraction:
    """A rate over that of the first array, exactly; 59.94 / 1998 is 3 / 100."""
    if isinstance(rate, Rational) and isinstance(first, Rational):
        return Fraction(rate) / Fraction(first)
    quotient = float(rate) / float(first)
    simple = Fraction(quotient).limit_denominator(10**6)
    if abs(float(simple) - quotient) <= 4 * np.finfo(float).eps * quotient:
        return simple
    return Fraction(float(rate)) / Fraction(float(first))


def _check_rates(
    rates: Sequence[float | None] | None, n_arrays: int
) -> list[float | None]:
    """One rate for each array, None where it is not known."""
    rates = [None] * n_arrays if rates is None else list(rates)
    if len(rates) != n_arrays:
        raise ValueError(
            f"rates has {len(rates)} entries for {n_arrays} arrays; give one rate in "
            "Hz per array, and None for those without."
        )
    given = [rate for rate in rates if rate is not None]
    if not all(isinstance(rate, Real) and 0 < rate < np.inf for rate in given):
        raise ValueError(
            f"rates have to be positive numbers in Hz or None, got {rates}."
        )
    if given and rates[0] is None:
        raise ValueError(f"rates needs the rate of arrays[0] too, got {rates}.")
    return rates


def _refuse_lengths(track: Track, first: Track, inferred: bool) -> None:
    """Raise a ValueError that names the recording whose lengths agree least."""
    ratio = _usual_ratio(track, first) if inferred else float(track.rate)
    i = np.argmax(np.abs(track.lengths - first.lengths * ratio))
    raise ValueError(
        f"{track.name} has {track.lengths[i]} samples in recording {i}, where "
        f"{first.name} has {first.lengths[i]}; at {ratio:.6g} times its rate, "
        f"expected {first.lengths[i] * ratio:.6g} within {TOLERANCE} samples of the "
        "slower array. Cut the recording to what both cover, or give the right rates."
    )


def _usual_ratio(track: Track, first: Track) -> float:
    """The ratio of lengths that most recordings have, to find the one that differs."""
    same = np.abs(track.lengths - first.lengths) <= TOLERANCE
    if same.mean() >= 0.5 or not first.lengths.any():
        return 1.0
    filled = first.lengths > 0
    return float(np.median(track.lengths[filled] / first.lengths[filled]))
