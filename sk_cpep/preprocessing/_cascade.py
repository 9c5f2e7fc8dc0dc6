"""A cascade of second-order sections over rows: in place, and quick where they rest.

Where a row holds one value for long, what is left of the filter's response is first
denormal numbers, on which a processor takes many times as long, and then rounding. So
responses are dropped there once they have died away.
"""

import numpy as np
from scipy.signal import sosfilt, sosfilt_zi

# A response has died away when this share of it is left.
RUNG_OUT = 1e-10

# Samples that are filtered at once: 512 KiB, which stay in a core's cache.
PIECE_SAMPLES = 2**16

# Denormal numbers begin here; halving poles and faster ones pass through them quickly.
LEAST_NORMAL = 1e-300
SLOW_RADIUS = 0.5

# What is below this share of the largest value can't become visible again.
NOTHING = 1e-30

# Runs of equal values are looked for at every so many samples first.
STEP = 64


def pole_radii(sos):
    """Largest radius of a pole of each section."""
    return np.array([np.abs(np.roots(section[3:])).max() for section in sos])


def ringing(sos, share):
    """Samples until no more than `share` of the slowest response is left."""
    slowest = np.clip(pole_radii(sos).max(), 1e-3, 1 - 1e-15)
    return int(np.ceil(np.log(share) / np.log(slowest)))


def steady_gain(sos):
    """Output for a constant input of 1."""
    return np.prod(sos[:, :3].sum(axis=1) / sos[:, 3:].sum(axis=1))


def run_cascade(sos, x):
    """Filter rows in place, each from the steady state of its first sample.

    Where a row holds one value for longer than its response to what came before lasts
    (:data:`RUNG_OUT`), the output is that of a constant exactly. Anything else is what
    :func:`scipy.signal.sosfilt` computes, to the last bit.

    Parameters
    ----------
    sos : ndarray of shape (n_sections, 6)
    x : float64 ndarray of shape (n_rows, n_times)
    """
    if x.shape[1] < 2:
        x[...] = x * steady_gain(sos) + 0.0  # never -0.0
        return
    length = _shortest_rest(sos)
    rests = {i: equal_runs(x[i], length) for i in _may_rest(x, length)}
    rests = {i: runs for i, runs in rests.items() if runs}
    for i, runs in rests.items():
        _run_with_rests(sos, x[i : i + 1], runs)
    busy = np.setdiff1d(np.arange(len(x)), list(rests))
    if len(busy) == len(x):
        _advance(sos, x, _steady_state(sos) * x[:, :1])
    elif len(busy):
        rows = x[busy]
        _advance(sos, rows, _steady_state(sos) * rows[:, :1])
        x[busy] = rows


def equal_runs(x, length):
    """Starts and stops of all runs of at least `length` equal values.

    Parameters
    ----------
    x : ndarray of shape (n_times,)
    length : int
        At least two times :data:`STEP`.

    Returns
    -------
    runs : list of tuple of int
    """
    found = []
    for first, last in _runs(x[::STEP], length // STEP):
        start = max(0, (first - 1) * STEP + 1)
        part = x[start : last * STEP]
        found += [(start + a, start + b) for a, b in _runs(part, length)]
    return found


def _runs(x, length):
    edges = np.flatnonzero(x[1:] != x[:-1]) + 1
    edges = np.concatenate([[0], edges, [len(x)]])
    long = np.flatnonzero(np.diff(edges) >= length)
    return [(int(edges[i]), int(edges[i + 1])) for i in long]


def _shortest_rest(sos):
    """From what length on a run of equal values is worth looking at."""
    fastest = np.clip(pole_radii(sos).min(), SLOW_RADIUS, 1 - 1e-15)
    denormal = np.log(LEAST_NORMAL) / np.log(fastest)
    return int(max(4 * STEP, min(denormal, ringing(sos, RUNG_OUT))))


def _may_rest(x, length):
    """Rows in which values half a run apart are equal."""
    points = x[:, :: length // 2]
    return np.flatnonzero((points[:, 1:] == points[:, :-1]).any(axis=1))


def _run_with_rests(sos, x, rests):
    steady = _steady_state(sos)
    state, position = steady * x[:, :1], 0
    floor = NOTHING * max(x.max(), -x.min())
    for start, stop in rests:
        state = _advance(sos, x[:, position:start], state)
        rest, value = x[:, start:stop], x[0, start]
        settled = _settle(sos, rest, state, floor) if start else 0
        if settled < rest.shape[1]:
            rest[:, settled:] = value * steady_gain(sos) + 0.0
            state = steady * value
        position = stop
    _advance(sos, x[:, position:], state)


def _settle(sos, rest, state, floor):
    """Filter the start of a rest, in place, until its response has died away.

    `state` is brought up to date. The fast sections are at rest long before the slow
    ones: pieces grow, so that each section is stopped between what counts and what is
    denormal.
    """
    end = min(rest.shape[1], ringing(sos, RUNG_OUT))
    start, stop = 0, _shortest_rest(sos) // 2
    while start < end:
        stop = min(stop, end)
        state[...] = _advance(sos, rest[:, start:stop], state)
        state[np.abs(state) < floor] = 0
        start, stop = stop, 4 * stop
    return end


def _steady_state(sos):
    """State of a constant input of 1, of shape (n_sections, 1, 2)."""
    return sosfilt_zi(sos)[:, np.newaxis]


def _advance(sos, x, state):
    """Filter rows in place, from `state` on; return the state after them."""
    size = max(1, PIECE_SAMPLES // len(x))
    for start in range(0, x.shape[1], size):
        piece = x[:, start : start + size]
        piece[...], state = sosfilt(sos, piece, axis=-1, zi=state)
    return state
