"""Several arrays that belong together, cut into windows that stay paired."""

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._param_validation import validate_params
from .._typing import AnyArray, BoolArray, IntArray
from ._labels import join_labels, majority, mark_labels
from ._tracks import Track, read_tracks
from ._window import count_windows, empty_windows, warn_empty

PROVENANCE = np.dtype(
    [("recording", "i8"), ("start", "i8"), ("stop", "i8"), ("purity", "f8")]
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
)
def make_windows(
    *arrays: Any,
    size: int,
    stride: int | None = None,
    purity: float = 0.5,
    impure: Literal["drop", "mark"] = "drop",
    impure_label: int | str | bytes | None = None,
    nan: Literal["raise", "drop"] = "raise",
    rates: Sequence[float | None] | None = None,
    return_provenance: bool = False,
) -> list[AnyArray]:
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
          and rows (1, n_times_i) of strings. Rows of integers as long as the first
          array are refused, as they may be a signal of one channel as well: give
          labels as 1-D arrays, a signal as floats;
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
        among strings. Integers stay integers, and text and bytes become as long as
        the mark requires; beside a mark True and False become 1 and 0.

    nan : {"raise", "drop"}, default="raise"
        What to do about NaN and infinite values in the first array or a further
        signal: raise an error, or leave out the windows that hold them, with a warning.

    rates : sequence of float or None, default=None
        Sampling rate of each array in Hz, None for those without. Where a signal's
        rate is not given, it follows from the lengths, which must agree over all
        recordings. Give the rates where exact starts matter, and where there is only
        one recording, as a wrong length cannot be noticed then. A label per sample
        without a rate has that of the first array.

    return_provenance : bool, default=False
        Also return where each window comes from.

    Returns
    -------
    windows : list of ndarrays, one per array
        Signals as (n_windows, n_channels, n_samples) in their own unit, the rest as
        (n_windows,). float32 stays float32. A signal at `ratio` times the rate of
        the first has ``round(size * ratio)`` samples from ``round(start * ratio)``,
        or from one sample earlier where only rounding up makes it run past the end; a
        window that is not wholly within every array is left out. With
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
    tracks = read_tracks(arrays, rates, size, finite=nan == "raise")
    plan = _plan_windows(tracks, size, size if stride is None else stride)
    if nan == "drop":
        plan = _drop_nonfinite(tracks, plan)
    votes = {t.name: vote(t, plan) for t in tracks if t.kind == "labels"}
    for _, shares in votes.values():
        plan["purity"] = np.fmin(plan["purity"], shares)
    pure = ~(plan["purity"] < purity)
    if impure == "mark":
        pure[:] = True
    elif not pure.any():
        raise ValueError(
            f"None of the {len(plan)} windows is left at purity={purity}: the purest "
            f"holds {plan['purity'].max():.3g} of one label. Take shorter windows, a "
            'lower purity, or impure="mark".'
        )
    plan = plan[pure]
    windows = []
    for track in tracks:
        if track.kind != "labels":
            windows.append(_cut(track, plan))
            continue
        labels, shares = votes[track.name]
        if impure == "mark":
            labels = mark_labels(labels, shares < purity, impure_label, track.name)
        windows.append(labels[pure])
    return [*windows, plan] if return_provenance else windows


def _plan_windows(tracks: list[Track], size: int, stride: int) -> AnyArray:
    """The windows that fit into every array, as provenance."""
    lengths = tracks[0].lengths
    plan = plan_every_window(lengths, size, stride)
    for track in tracks:
        if track.kind != "fact":
            plan = plan[track.fits(plan)]
    warn_empty(_per_recording(plan, len(lengths)), lengths, size)
    return plan


def plan_every_window(lengths: IntArray, size: int, stride: int) -> AnyArray:
    """The windows that a Windower cuts out of recordings, as provenance."""
    counts = count_windows(lengths, size, stride)
    plan = np.zeros(counts.sum(), dtype=PROVENANCE)
    plan["recording"] = np.repeat(np.arange(len(lengths)), counts)
    order = np.arange(len(plan)) - np.repeat(np.cumsum(counts) - counts, counts)
    plan["start"] = order * stride
    plan["stop"] = plan["start"] + size
    plan["purity"] = np.nan
    return plan


def _per_recording(plan: AnyArray, n_recordings: int) -> IntArray:
    """Number of windows of each recording."""
    return np.bincount(plan["recording"], minlength=n_recordings)


def _starts(track: Track, plan: AnyArray) -> list[IntArray]:
    """First sample of each window, one array for each recording."""
    counts = _per_recording(plan, len(track.data))
    return np.split(track.starts(plan), np.cumsum(counts)[:-1])


def _drop_nonfinite(tracks: list[Track], plan: AnyArray) -> AnyArray:
    """Leave windows with NaN and infinite values out, with a warning."""
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


def _finite_windows(track: Track, plan: AnyArray) -> BoolArray:
    """Which windows of a signal hold finite values only."""
    finite = []
    for x, starts in zip(track.data, _starts(track, plan)):
        bad = np.append(0, np.cumsum(~np.isfinite(x).all(axis=0)))
        finite.append(bad[starts + track.size] == bad[starts])
    return np.concatenate(finite)


def vote(track: Track, plan: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Majority label of each window, and its share of the samples."""
    pairs = [(x, s) for x, s in zip(track.data, _starts(track, plan)) if len(s)]
    winners, shares = zip(*(majority(x, s, track.size) for x, s in pairs))
    return join_labels(winners, track.name), np.concatenate(shares)


def _cut(track: Track, plan: AnyArray) -> AnyArray:
    """The windows of a signal, or the fact of each window."""
    if track.kind == "fact":
        return track.data[plan["recording"]]
    out = empty_windows(track.data, len(plan), track.size)
    # Indexing with all starts at once takes a second copy, and three times as long.
    where = zip(out, plan["recording"].tolist(), track.starts(plan).tolist())
    for window, recording, start in where:
        window[...] = track.data[recording][:, start : start + track.size]
    return out
