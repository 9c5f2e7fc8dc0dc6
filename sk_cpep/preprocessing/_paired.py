"""Several arrays that belong together, cut into windows that stay paired."""

import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Rational, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

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
from ._labels import is_text, join_labels, majority, mark_labels, read_labels
from ._recordings import as_recordings
from ._window import count_windows, empty_windows, warn_empty

# Lengths that ought to agree may differ by this many samples of the slower array:
# Ninapro's EMG and glove end a sample or two apart.
TOLERANCE = 2

PROVENANCE = np.dtype(
    [
        ("recording", np.int64),
        ("start", np.int64),
        ("stop", np.int64),
        ("purity", float),
    ]
)


@validate_params(
    {
        "size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left"), None],
        "purity": [Interval(Real, 0, 1, closed="both")],
        "impure": [StrOptions({"drop", "mark"})],
        "impure_label": [Integral, str, bytes, None],
        "nan": [StrOptions({"raise", "drop"})],
        "rates": ["array-like", None],
        "return_provenance": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_windows(
    *arrays,
    size,
    stride=None,
    purity=0.5,
    impure="drop",
    impure_label=None,
    nan="raise",
    rates=None,
    return_provenance=False,
):
    """Cut recordings, and what belongs to them, into windows that stay paired.

    The counterpart of :func:`sklearn.model_selection.train_test_split` for
    recordings: every array that goes in comes out with one row per window, and a
    window that is left out is left out of all of them.

    Parameters
    ----------
    *arrays : sequence of array-likes, all with one entry per recording
        The first are the EMG recordings: a list of arrays of shape
        (n_channels, n_times_i), or an array of shape (n_recordings, n_channels,
        n_times). Each further one is told by its entries:

        - arrays of shape (n_joints, n_pose_times_i) are a signal, such as the pose,
          at a rate of its own;
        - 1-D arrays of shape (n_times_i,) are a label per sample, integers or
          strings; so are columns (n_times_i, 1) of these, as MATLAB files give them,
          and rows (1, n_times_i) of strings. Rows of integers, as long as the first
          array, may as well be a signal of one channel and are refused: give labels
          as 1-D arrays, a signal as floats;
        - scalars are facts of a recording, such as its user, repeated per window.

        Labels and facts keep their type. Numbers and strings don't mix.

    size : int
        Length of a window in samples of the first array.

    stride : int, default=None
        Samples of the first array from one start to the next. None takes `size`.

    purity : float, default=0.5
        Smallest share of a window's samples that its majority label may hold.
        Of labels with an equal share the first in sort order is taken.

    impure : {"drop", "mark"}, default="drop"
        Leave windows below `purity` out, or give them `impure_label`.

    impure_label : int, str or bytes, default=None
        What ``impure="mark"`` writes. None takes -1 among numbers and ``"impure"``
        among strings. Integers stay integers and bytes stay bytes, as long as need
        be; among bools True and False become 1 and 0.

    nan : {"raise", "drop"}, default="raise"
        What to do about NaN and infinite values in the first array or a further
        signal: raise, or leave the windows that hold them out, with a warning.

    rates : sequence of float or None, default=None
        Sampling rate of each array in Hz, None for those without. Where a signal's
        rate is not given, it follows from the lengths, which must agree over all
        recordings; give the rates where exact starts matter, and where there is one
        recording only, which no other can contradict. A label per sample without a
        rate has that of the first array.

    return_provenance : bool, default=False
        Also return where each window comes from.

    Returns
    -------
    windows : list of ndarrays, one per array
        Signals as (n_windows, n_channels, n_samples) in their own unit, the rest as
        (n_windows,). float32 stays float32. A signal at `ratio` times the rate of
        the first has ``round(size * ratio)`` samples from ``round(start * ratio)``,
        or one sample earlier where rounding up alone would run past its end; a window
        that is not wholly there is left out. With
        `return_provenance` a structured array follows, with the fields `recording`
        (index), `start` and `stop` (samples of the first array) and `purity` (the
        least over the arrays of labels, NaN where there are none).

    Warns
    -----
    UserWarning
        If recordings are too short for a window, or windows are dropped for NaN.

    Raises
    ------
    ValueError
        If the arrays do not belong together (other numbers of recordings, lengths
        further apart than 2 samples of the slower array), if a signal holds NaN or
        infinite values, if labels are missing (NaN, None) or mixed of numbers and
        strings, if no type holds labels and mark, or if no window is left.

    See Also
    --------
    Windower : Windows as a step of a pipeline.

    Notes
    -----
    Recordings whose lengths differ by up to 2 samples, as in Ninapro, are read up to
    the end of the shortest.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.preprocessing import make_windows
    >>> X = [np.zeros((16, 6000)), np.zeros((16, 4500))]  # EMG at 2 kHz
    >>> P = [np.zeros((20, 180)), np.zeros((20, 135))]  # pose at 60 Hz
    >>> y = [np.repeat([0, 3], 3000), np.repeat(5, 4500)]
    >>> Xw, Pw, yw, users = make_windows(
    ...     X, P, y, ["anna", "ben"], size=2000, rates=[2000, 60, None, None]
    ... )
    >>> Xw.shape, Pw.shape
    ((5, 16, 2000), (5, 20, 60))
    >>> yw.tolist(), users.tolist()
    ([0, 0, 3, 5, 5], ['anna', 'anna', 'anna', 'ben', 'ben'])
    """
    rates = _check_rates(rates, len(arrays))
    tracks = _read_tracks(arrays, rates, finite=nan == "raise")
    _set_rates(tracks, rates, size)
    plan = _plan_windows(tracks, size, size if stride is None else stride)
    if nan == "drop":
        plan = _drop_nonfinite(tracks, plan)
    _vote(tracks, plan)
    if impure == "drop":
        plan = _drop_impure(tracks, plan, purity)
    else:
        _mark_impure(tracks, purity, impure_label)
    windows = [_cut(track, plan) for track in tracks]
    return [*windows, plan] if return_provenance else windows


@dataclass
class _Track:
    """One of the arrays, and how its samples relate to those of the first."""

    name: str
    kind: str
    data: object
    lengths: np.ndarray | None = None
    rate: Fraction = Fraction(1)
    size: int = 1
    votes: np.ndarray | None = None
    shares: np.ndarray | None = None

    def scale(self, n):
        """`n` samples of the first array, in samples of this one; halves to even."""
        whole, rest = _multiply(n, self.rate)
        up = (2 * rest + whole % 2 > self.rate.denominator) & (rest > 0)
        return (whole + up).astype(np.int64)

    def starts(self, plan):
        last = self.lengths[plan["recording"]] - self.size
        return np.minimum(self.scale(plan["start"]), last)


def _multiply(n, rate):
    """Whole part of `n` times a fraction, and the numerator of what is left."""
    n, largest = np.asarray(n), max(rate.numerator, rate.denominator)
    if largest * (1 + int(n.max(initial=0))) >= 2**61:
        n = n.astype(object)
    product = n * rate.numerator
    return product // rate.denominator, product % rate.denominator


def _read_tracks(arrays, rates, finite):
    if not arrays:
        raise ValueError("make_windows needs at least one array.")
    _check_entries(arrays[0], "arrays[0]")
    data = as_recordings(arrays[0], name="arrays[0]", finite=finite, min_times=0)
    first = _signal("arrays[0]", data)
    tracks = [first]
    for j, (array, rate) in enumerate(zip(arrays[1:], rates[1:]), start=1):
        ratio = Fraction(1) if rate is None else _ratio(rate, rates[0])
        tracks.append(_read_track(array, f"arrays[{j}]", first, ratio, finite))
    return tracks


def _signal(name, data):
    if not isinstance(data, list) and data.ndim == 2:
        data = data[:, np.newaxis]
    return _Track(name, "signal", data, np.array([x.shape[-1] for x in data]))


def _check_entries(array, name):
    is_list = hasattr(array, "__len__") and getattr(array, "ndim", 1) > 0
    if not is_list or isinstance(array, (str, bytes, Mapping, Set)):
        shown = array if np.isscalar(array) else f"a {type(array).__name__}"
        raise ValueError(
            f"{name} has to be a list, or an array, with one entry per recording, got "
            f"{shown!r}."
        )
    if len(array) == 0:
        raise ValueError(f"{name} is empty: give at least one recording.")


def _read_track(array, name, first, ratio, finite):
    _check_entries(array, name)
    if len(array) != len(first.data):
        raise ValueError(
            f"{name} has {len(array)} entries, but there are {len(first.data)} "
            "recordings in arrays[0]: each array needs one entry per recording."
        )
    entries = np.asarray(array, dtype=object) if hasattr(array, "iloc") else array
    shapes = [np.shape(entry) for entry in entries]
    dims = set(map(len, shapes))
    if dims == {0} or (set(shapes) == {(1,)} and first.lengths.max() > 1 + TOLERANCE):
        return _Track(name, "fact", _read_facts(array, name))
    if dims == {2} and not _are_labels(entries, shapes, name, first, ratio):
        return _signal(
            name, as_recordings(entries, name=name, finite=finite, min_times=0)
        )
    if dims <= {1, 2}:
        return _read_labels(entries, name)
    raise ValueError(
        f"The entries of {name} have {sorted(dims)} dimensions; expected 2 throughout "
        "for a signal, 1 for a label per sample, or 0 for a fact of each recording."
    )


def _read_facts(array, name):
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


def _are_same(facts, column):
    """Whether all are equal, and integers still integers."""
    if facts.dtype.kind == "f" and all(isinstance(x, Integral) for x in column):
        return False
    return all(
        kind == other and (kind == MISSING or one == two)
        for (kind, one), (other, two) in zip(
            map(read_value, facts), map(read_value, column)
        )
    )


def _are_labels(entries, shapes, name, first, ratio):
    """Whether 2-D entries are columns, or rows, of labels rather than signals."""
    rows, columns = (np.array(lengths) for lengths in zip(*shapes))
    kinds = {_kind(entry) for entry in entries if np.size(entry)}
    if kinds == {"text"}:
        return bool(np.all(rows == 1) or np.all(columns == 1))
    as_labels = _Track(name, "labels", entries, rows, ratio)
    if np.all(columns == 1) and rows.max() > 1:
        return "other" not in kinds and bool(_close(as_labels, first).all())
    as_labels.lengths, as_labels.rate = columns, Fraction(1)
    is_array = isinstance(entries, np.ndarray) and entries.dtype != object
    is_row = np.all(rows == 1) and kinds == {"integer"} and not is_array
    if is_row and _close(as_labels, first).all():
        raise ValueError(
            f"{name} has integers of shape (1, n_times), one for each sample of "
            "arrays[0]: these may be labels, or a signal of one channel. Give labels as "
            "1-D arrays (labels.ravel()), a signal as floats (x.astype(float))."
        )
    return False


def _kind(entry):
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


def _read_labels(entries, name):
    columns = [_upright(entry) for entry in entries]
    labels = [read_labels(x, name, i) for i, x in enumerate(columns)]
    if len({is_text(x) for x in labels if len(x)}) > 1:
        raise ValueError(f"{name} mixes labels that are strings with numbers.")
    return _Track(name, "labels", labels, np.array([len(x) for x in labels]))


def _upright(entry):
    """A row (1, n_times) as a column."""
    shape = np.shape(entry)
    if len(shape) == 2 and shape[0] == 1:
        return np.asarray(entry, dtype=getattr(entry, "dtype", object)).T
    return entry


def _set_rates(tracks, rates, size):
    first = tracks[0]
    first.size = size
    for track, rate in zip(tracks[1:], rates[1:]):
        if track.kind == "fact":
            continue
        n_first = int(first.lengths.sum())
        if rate is not None:
            track.rate = _ratio(rate, rates[0])
        elif track.kind == "signal" and n_first and not _close(track, first).all():
            track.rate = Fraction(int(track.lengths.sum()), n_first)
        _check_lengths(track, first, inferred=track.kind == "signal" and rate is None)
        track.size = int(track.scale(size))
        if track.size == 0:
            raise ValueError(
                f"A window of size={size} samples of arrays[0] holds no sample of "
                f"{track.name}, at {float(track.rate):g} times its rate."
            )


def _ratio(rate, first):
    """A rate over that of the first array, exactly; 59.94 / 1998 is 3 / 100."""
    if isinstance(rate, Rational) and isinstance(first, Rational):
        return Fraction(rate) / Fraction(first)
    quotient = float(rate) / float(first)
    simple = Fraction(quotient).limit_denominator(10**6)
    if abs(float(simple) - quotient) <= 4 * np.finfo(float).eps * quotient:
        return simple
    return Fraction(float(rate)) / Fraction(float(first))


def _check_rates(rates, n_arrays):
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


def _close(track, first):
    """Which recordings have the length in `track` that the one in `first` asks for."""
    ratio = float(track.rate)
    slack = TOLERANCE * max(1, ratio) + 1e-6
    return np.abs(track.lengths - first.lengths * ratio) <= slack


def _check_lengths(track, first, inferred):
    if _close(track, first).all():
        return
    ratio = _usual_ratio(track, first) if inferred else float(track.rate)
    i = np.argmax(np.abs(track.lengths - first.lengths * ratio))
    raise ValueError(
        f"{track.name} has {track.lengths[i]} samples in recording {i}, where "
        f"arrays[0] has {first.lengths[i]}; at {ratio:.6g} times its rate, "
        f"expected {first.lengths[i] * ratio:.6g} within {TOLERANCE} samples of the "
        "slower array. Cut the recording to what both cover, or give the right rates."
    )


def _usual_ratio(track, first):
    """The ratio of rates that most recordings have, to tell which one is off."""
    same = np.abs(track.lengths - first.lengths) <= TOLERANCE
    if same.mean() >= 0.5 or not first.lengths.any():
        return 1.0
    filled = first.lengths > 0
    return np.median(track.lengths[filled] / first.lengths[filled])


def _plan_windows(tracks, size, stride):
    """The windows that fit into every array, as provenance."""
    lengths = tracks[0].lengths
    counts = count_windows(lengths, size, stride)
    plan = np.zeros(counts.sum(), dtype=PROVENANCE)
    plan["recording"] = np.repeat(np.arange(len(lengths)), counts)
    order = np.arange(len(plan)) - np.repeat(np.cumsum(counts) - counts, counts)
    plan["start"] = order * stride
    plan["stop"] = plan["start"] + size
    plan["purity"] = np.nan
    for track in tracks:
        if track.kind != "fact":
            plan = plan[_fits(track, plan)]
    warn_empty(_per_recording(plan, len(lengths)), lengths, size)
    return plan


def _fits(track, plan):
    """Which windows start in time; where rounding up made one late, it is undone."""
    last = track.lengths[plan["recording"]] - track.size
    return (last >= 0) & (_multiply(plan["start"], track.rate)[0] <= last)


def _per_recording(plan, n_recordings):
    return np.bincount(plan["recording"], minlength=n_recordings)


def _split(starts, plan, n_recordings):
    """`starts`, one array per recording."""
    return np.split(starts, np.cumsum(_per_recording(plan, n_recordings))[:-1])


def _drop_nonfinite(tracks, plan):
    clean = np.ones(len(plan), dtype=bool)
    for track in tracks:
        if track.kind == "signal":
            clean &= _finite_windows(track, plan)
    n_bad = np.count_nonzero(~clean)
    if n_bad == len(plan):
        raise ValueError(f"All {n_bad} windows hold NaN or infinite values.")
    if n_bad:
        warnings.warn(
            f"{n_bad} of {len(plan)} windows hold NaN or infinite values and are "
            "dropped.",
            UserWarning,
            stacklevel=4,
        )
    return plan[clean]


def _finite_windows(track, plan):
    finite = []
    for x, starts in zip(track.data, _split(track.starts(plan), plan, len(track.data))):
        bad = np.append(0, np.cumsum(~np.isfinite(x).all(axis=0)))
        finite.append(bad[starts + track.size] == bad[starts])
    return np.concatenate(finite)


def _vote(tracks, plan):
    """Label each window by majority, and note the purity in `plan`."""
    for track in tracks:
        if track.kind != "labels":
            continue
        starts = _split(track.starts(plan), plan, len(track.data))
        pairs = [(x, s) for x, s in zip(track.data, starts) if len(s)]
        votes = [majority(x, s, track.size) for x, s in pairs]
        winners, shares = zip(*votes)
        track.votes = join_labels(winners, track.name)
        track.shares = np.concatenate(shares)
        plan["purity"] = np.fmin(plan["purity"], track.shares)


def _drop_impure(tracks, plan, purity):
    pure = ~(plan["purity"] < purity)
    if not pure.any():
        raise ValueError(
            f"None of the {len(plan)} windows is left at purity={purity}: the purest "
            f"holds {plan['purity'].max():.3g} of one label. Take shorter windows, a "
            'lower purity, or impure="mark".'
        )
    for track in tracks:
        if track.kind == "labels":
            track.votes = track.votes[pure]
    return plan[pure]


def _mark_impure(tracks, purity, label):
    for track in tracks:
        if track.kind == "labels":
            impure = track.shares < purity
            track.votes = mark_labels(track.votes, impure, label, track.name)


def _cut(track, plan):
    if track.kind == "fact":
        return track.data[plan["recording"]]
    if track.kind == "labels":
        return track.votes
    out = empty_windows(track.data, len(plan), track.size)
    # Indexing with all starts at once takes a second copy, and three times as long.
    where = zip(out, plan["recording"].tolist(), track.starts(plan).tolist())
    for window, recording, start in where:
        window[...] = track.data[recording][:, start : start + track.size]
    return out
