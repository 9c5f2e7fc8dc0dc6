"""Labels per sample: read without a change, and the majority of each window."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._ids import as_column, read_ids, refuse_missing, refuse_several_kinds
from .._typing import AnyArray, BoolArray, Float64Array, IntArray

_PAIRS = 2**17  # of windows and runs that are counted at once
_EXACT = 2**53  # float64 holds the whole numbers up to here


def read_labels(entry: ArrayLike, name: str, recording: int) -> AnyArray:
    """Labels of a recording's samples.

    Parameters
    ----------
    entry : array-like of shape (n_times,) or (n_times, 1)

    name : str
        What error messages call the array that holds the entry.

    recording : int
        Index of the entry.

    Returns
    -------
    labels : ndarray of shape (n_times,)
        In their own type: bool, integers, whole floats, str or bytes, or objects that
        numpy has no type for.
    """
    where = f"{name} in recording {recording}"
    labels = as_column(entry, where)
    if labels.dtype.kind in "OT":
        labels = _read_objects(labels, where)
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
        if missing.any() and np.all(missing | (labels == np.rint(labels))):
            refuse_missing(missing, labels, where)
    if not _are_labels(labels):
        raise ValueError(
            f"{name} has one {labels.dtype} per sample in recording {recording}, which "
            "are no labels: labels are integers or strings. A signal of one channel "
            "needs the shape (1, n_times)."
        )
    return labels


def is_text(labels: AnyArray) -> bool:
    """Whether labels are str or bytes."""
    if labels.dtype.kind == "O":
        return isinstance(labels[0], (str, bytes))
    return labels.dtype.kind in "US"


def majority(
    labels: AnyArray, starts: IntArray, size: int
) -> tuple[AnyArray, Float64Array]:
    """Most frequent label of each window, and the share that it holds.

    Labels come in runs: the time that this takes grows with the runs in the windows,
    not with the number of different labels.

    Parameters
    ----------
    labels : ndarray of shape (n_times,)
    starts : integer ndarray of shape (n_windows,)
    size : int

    Returns
    -------
    winners : ndarray of shape (n_windows,)
        The first in sort order where several are equally frequent.
    shares : ndarray of shape (n_windows,)
    """
    edges = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    classes, codes = _classify(labels[edges])
    first = np.searchsorted(edges, starts, side="right") - 1
    n_runs = np.searchsorted(edges, starts + size, side="left") - first
    edges = np.append(edges, len(labels))
    winners = np.empty(len(starts), dtype=np.intp)
    counts = np.empty(len(starts), dtype=np.int64)
    for part in _parts(n_runs, most=2**62 // (len(classes) * (size + 1))):
        runs, windows = _pairs(first[part], n_runs[part])
        begin = np.maximum(edges[runs], starts[part][windows])
        end = np.minimum(edges[runs + 1], starts[part][windows] + size)
        keys = windows * len(classes) + codes[runs]
        summed, held = _sum_of_equals(keys, end - begin, size + 1)
        winners[part], counts[part] = _most(*np.divmod(summed, len(classes)), held)
    return classes[winners], counts / size


def join_labels(parts: Sequence[AnyArray], name: str) -> AnyArray:
    """Labels of several recordings as one array, with their values as they are."""
    if is_text(parts[0]):
        kinds = {part.dtype.kind for part in parts}
        if "S" in kinds and len(kinds) > 1:
            parts = [read_ids(part, name) for part in parts]
        return np.concatenate(parts)
    exact = _exact_type(np.result_type(*parts), parts, name)
    return np.concatenate([part.astype(exact, copy=False) for part in parts])


def mark_labels(
    labels: AnyArray, rows: BoolArray, mark: int | str | bytes | None, name: str
) -> AnyArray:
    """Labels with a mark in some rows.

    Parameters
    ----------
    labels : ndarray of shape (n_windows,)

    rows : bool ndarray of shape (n_windows,)

    mark : int, str, bytes or None
        None is -1 among numbers and "impure" among text.

    name : str
        What error messages call the labels.

    Returns
    -------
    labels : ndarray of shape (n_windows,)
        Of a type that holds both; bytes stay bytes.
    """
    text = is_text(labels)
    mark = ("impure" if text else -1) if mark is None else mark
    if isinstance(mark, (str, bytes)) != text:
        raise ValueError(
            f"impure_label={mark!r} does not go with the labels of {name}, "
            f"which are {'strings' if text else 'numbers'}."
        )
    if isinstance(mark, (str, bytes)):
        return np.where(rows, np.asarray(_as_labels(mark, labels)), labels)
    marked = np.where(rows, np.asarray(mark), labels)
    exact = _exact_type(marked.dtype, [labels, np.asarray([mark])], name)
    if exact != marked.dtype:
        marked = labels.astype(exact)
        marked[rows] = mark
    return marked


def _are_labels(labels: AnyArray) -> bool:
    """Whether all are whole numbers, or text."""
    if labels.dtype.kind == "f":
        return bool(np.all(np.isfinite(labels) & (labels == np.rint(labels))))
    if labels.dtype.kind == "O":
        return all(isinstance(label, (int, str, bytes)) for label in labels)
    return labels.dtype.kind in "biuUS"


def _read_objects(labels: AnyArray, where: str) -> AnyArray:
    """Labels in the type that numpy has for all of them, if that changes none."""
    values = labels.tolist()
    if len(labels) == 0:
        return np.asarray(values)
    if set(map(type, values)) not in ({int}, {str}, {bytes}):
        refuse_several_kinds(labels, where)
    plain = np.asarray(values)
    is_same = plain.dtype.kind in "biufSU" and plain.tolist() == values
    return plain if is_same else read_ids(labels, where)


def _classify(labels: AnyArray) -> tuple[AnyArray, IntArray]:
    """Labels in ascending order, some perhaps unused, and the number of each label."""
    if labels.dtype.kind in "iu":
        low, high = int(labels.min()), int(labels.max())
        if high - low < 2 * len(labels) and high <= np.iinfo(np.int64).max:  # dense
            classes = np.arange(low, high + 1).astype(labels.dtype)
            return classes, labels.astype(np.int64) - low
    return np.unique(labels, return_inverse=True)


def _parts(n_runs: IntArray, most: int) -> Iterator[slice]:
    """Slices of at most `most` windows, with as many runs as are counted at once."""
    stops = np.cumsum(n_runs)
    start = 0
    while start < len(n_runs):
        before = stops[start] - n_runs[start]
        stop = np.searchsorted(stops, before + _PAIRS, side="right")
        stop = max(start + 1, min(stop, start + most))
        yield slice(start, stop)
        start = stop


def _pairs(first: IntArray, n_runs: IntArray) -> tuple[IntArray, IntArray]:
    """Each run of each window, as the numbers of the run and of the window."""
    windows = np.repeat(np.arange(len(first)), n_runs)
    offsets = first - (np.cumsum(n_runs) - n_runs)
    return np.arange(len(windows)) + np.repeat(offsets, n_runs), windows


def _sum_of_equals(
    keys: IntArray, amounts: IntArray, base: int
) -> tuple[IntArray, IntArray]:
    """Keys in ascending order, each once, and the sum of their amounts below `base`."""
    # One array of numbers is sorted several times as fast as one by another.
    keys, amounts = np.divmod(np.sort(keys * base + amounts), base)
    new = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[new], np.add.reduceat(amounts, new)


def _most(
    windows: IntArray, codes: IntArray, held: IntArray
) -> tuple[IntArray, IntArray]:
    """The most frequent code of each window, the lowest of equals, and its samples."""
    begin = np.flatnonzero(np.append(True, windows[1:] != windows[:-1]))
    most = np.maximum.reduceat(held, begin)
    best = np.flatnonzero(held == np.repeat(most, np.diff(np.append(begin, len(held)))))
    best = best[np.flatnonzero(np.append(True, np.diff(windows[best])))]
    return codes[best], most


def _exact_type(
    dtype: np.dtype[Any], parts: Sequence[AnyArray], name: str
) -> np.dtype[Any]:
    """`dtype`, or an integer one where it is of floats that would change integers."""
    parts = [part for part in parts if part.size]
    integers = [part for part in parts if part.dtype.kind in "biu"]
    if dtype.kind != "f" or not integers:
        return dtype
    low = min(int(part.min()) for part in parts)
    high = max(int(part.max()) for part in parts)
    if len(integers) < len(parts) and max(-low, high) <= _EXACT:
        return dtype
    for exact in (np.int64, np.uint64):
        if np.iinfo(exact).min <= low and high <= np.iinfo(exact).max:
            return np.dtype(exact)
    raise ValueError(
        f"The labels of {name} go from {low} to {high}, the mark included, and no type "
        "of integers holds both: give smaller labels, or an impure_label from 0 on."
    )


def _as_labels(mark: str | bytes, labels: AnyArray) -> str | bytes:
    """A mark in the type of text that the labels have."""
    if labels.dtype.kind == "S" or isinstance(labels[0], bytes):
        return mark.encode() if isinstance(mark, str) else mark
    return mark.decode() if isinstance(mark, bytes) else mark
