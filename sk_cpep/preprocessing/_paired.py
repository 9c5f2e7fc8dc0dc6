"""Several arrays that belong together, cut into windows that stay paired."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

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
        "impure_label": [Integral, str, None],
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
          strings;
        - scalars are facts of a recording, such as its user, repeated per window.

    size : int
        Length of a window in samples of the first array.

    stride : int, default=None
        Samples of the first array from one start to the next. None takes `size`.

    purity : float, default=0.5
        Smallest share of a window's samples that its majority label may hold.
        Of labels with an equal share the first in sort order is taken.

    impure : {"drop", "mark"}, default="drop"
        Leave windows below `purity` out, or give them `impure_label`.

    impure_label : int or str, default=None
        What ``impure="mark"`` writes. None takes -1 among numbers and ``"impure"``
        among strings.

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
        or one sample earlier where rounding up would run past its end. With
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
        infinite values, or if no window is left.

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
    tracks = _read_tracks(arrays, finite=nan == "raise")
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
    rate: tuple = (1, 1)
    size: int = 1
    votes: np.ndarray | None = None
    shares: np.ndarray | None = None

    def scale(self, n):
        """`n` samples of the first array, in samples of this one."""
        return np.rint(np.multiply(n, self.rate[0]) / self.rate[1]).astype(np.int64)

    def starts(self, plan):
        last = self.lengths[plan["recording"]] - self.size
        return np.minimum(self.scale(plan["start"]), last)


def _read_tracks(arrays, finite):
    if not arrays:
        raise ValueError("make_windows needs at least one array.")
    first = as_recordings(arrays[0], name="arrays[0]", finite=finite, min_times=0)
    tracks = [_signal("arrays[0]", first)]
    for j, array in enumerate(arrays[1:], start=1):
        tracks.append(_read_track(array, f"arrays[{j}]", len(first), finite))
    return tracks


def _signal(name, data):
    if not isinstance(data, list) and data.ndim == 2:
        data = data[:, np.newaxis]
    return _Track(name, "signal", data, np.array([x.shape[-1] for x in data]))


def _read_track(array, name, n_recordings, finite):
    if isinstance(array, str) or not hasattr(array, "__len__"):
        raise ValueError(f"{name} has to hold one entry per recording, got {array!r}.")
    if len(array) != n_recordings:
        raise ValueError(
            f"{name} has {len(array)} entries, but there are {n_recordings} recordings "
            "in arrays[0]: each array needs one entry per recording."
        )
    dims = {np.ndim(entry) for entry in array}
    if dims == {2}:
        return _signal(
            name, as_recordings(array, name=name, finite=finite, min_times=0)
        )
    if dims == {1}:
        return _read_labels(array, name)
    if dims == {0}:
        return _Track(name, "fact", np.asarray(array))
    raise ValueError(
        f"The entries of {name} have {sorted(dims)} dimensions; expected 2 throughout "
        "for a signal, 1 for a label per sample, or 0 for a fact of each recording."
    )


def _read_labels(array, name):
    labels = [np.asarray(entry) for entry in array]
    labels = [np.asarray(x.tolist()) if x.dtype == object else x for x in labels]
    for i, x in enumerate(labels):
        integral = x.dtype.kind in "biuUS" or (
            x.dtype.kind == "f" and np.all(x % 1 == 0)
        )
        if not integral:
            raise ValueError(
                f"{name} has one {x.dtype} per sample in recording {i}, which are no "
                "labels: labels are integers or strings. A signal of one channel needs "
                "the shape (1, n_times)."
            )
    if len({x.dtype.kind in "US" for x in labels}) > 1:
        raise ValueError(f"{name} mixes labels that are strings with numbers.")
    return _Track(name, "labels", labels, np.array([len(x) for x in labels]))


def _set_rates(tracks, rates, size):
    rates = [None] * len(tracks) if rates is None else list(rates)
    _check_rates(rates, len(tracks))
    first = tracks[0]
    first.size = size
    for track, rate in zip(tracks[1:], rates[1:]):
        if track.kind == "fact":
            continue
        if rate is not None:
            track.rate = (rate, rates[0])
        elif track.kind == "signal" and not _close(track, first).all():
            track.rate = (track.lengths.sum(), first.lengths.sum())
        _check_lengths(track, first, inferred=track.kind == "signal" and rate is None)
        track.size = int(track.scale(size))
        if track.size == 0:
            raise ValueError(
                f"A window of size={size} samples of arrays[0] holds no sample of "
                f"{track.name}, at {track.rate[0] / track.rate[1]:g} times its rate."
            )


def _check_rates(rates, n_arrays):
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


def _close(track, first):
    """Which recordings have the length in `track` that the one in `first` asks for."""
    ratio = track.rate[0] / track.rate[1]
    slack = TOLERANCE * max(1, ratio) + 1e-6
    return np.abs(track.lengths - first.lengths * ratio) <= slack


def _check_lengths(track, first, inferred):
    if _close(track, first).all():
        return
    ratio = _usual_ratio(track, first) if inferred else track.rate[0] / track.rate[1]
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
    return 1.0 if same.mean() >= 0.5 else np.median(track.lengths / first.lengths)


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
    last = track.lengths[plan["recording"]] - track.size
    rounding = 0 if track.rate[0] == track.rate[1] else 1
    return (last >= 0) & (track.scale(plan["start"]) <= last + rounding)


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
        track.votes, track.shares = map(np.concatenate, zip(*votes))
        plan["purity"] = np.fmin(plan["purity"], track.shares)


def majority(labels, starts, size):
    """Most frequent label of each window, and the share that it holds.

    Labels come in runs, so that a label's count up to a sample is linear between the
    runs' edges: the cost hardly depends on the number of samples.

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
    classes, codes = np.unique(labels[edges], return_inverse=True)
    edges = np.append(edges, len(labels))
    counts = np.empty((len(classes), len(starts)))
    for code in range(len(classes)):
        held = np.append(0, np.cumsum(np.diff(edges) * (codes == code)))
        counts[code] = np.interp(starts + size, edges, held)
        counts[code] -= np.interp(starts, edges, held)
    counts = np.rint(counts)
    return classes[counts.argmax(axis=0)], counts.max(axis=0) / size


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
        if track.kind != "labels":
            continue
        text = track.votes.dtype.kind in "US"
        mark = ("impure" if text else -1) if label is None else label
        if isinstance(mark, str) != text:
            raise ValueError(
                f"impure_label={mark!r} does not go with the labels of {track.name}, "
                f"which are {'strings' if text else 'numbers'}."
            )
        track.votes = np.where(track.shares < purity, np.asarray(mark), track.votes)


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
