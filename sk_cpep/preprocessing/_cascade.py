"""A cascade of second-order sections over rows: in place, and fast where they rest.

Where a row holds one value for long, what is left of the filter's response is first
denormal numbers, on which a processor takes many times as long, and then rounding. So
responses are dropped there once they have died away.
"""

from collections.abc import Iterator

import numpy as np
from scipy.signal import sosfilt, sosfilt_zi

from .._typing import AnyArray, Float64Array

# A response has died away when this share of it is left.
RUNG_OUT = 1e-10

# Samples that are filtered at once: 2 MiB, near a core's cache.
PIECE_SAMPLES = 2**18

# Below this, numbers are denormal; poles of up to this radius leave them behind soon.
LEAST_NORMAL = 1e-300
SLOW_RADIUS = 0.5

# A state below this share of the largest value has no visible effect any more.
NEGLIGIBLE = 1e-30

# Runs of equal values are searched for at every so many samples first.
STEP = 64


class Cascade:
    """Second-order sections with their steady state, gain and times of decay.

    Parameters
    ----------
    sos : ndarray of shape (n_sections, 6)
    """

    def __init__(self, sos: Float64Array) -> None:
        # scipy refuses a read-only array, such as one that joblib has memory-mapped.
        self.sos = np.array(sos)
        # Of a constant input of 1: the state, of shape (n_sections, 1, 2), the output.
        self.steady = sosfilt_zi(self.sos)[:, np.newaxis]
        self.gain = np.prod(self.sos[:, :3].sum(axis=1) / self.sos[:, 3:].sum(axis=1))
        self.rung_out = ringing(self.sos, RUNG_OUT)
        radii = pole_radii(self.sos)
        fastest = min(radii[radii > SLOW_RADIUS], default=SLOW_RADIUS)
        self.denormal = int(np.log(LEAST_NORMAL) / np.log(fastest))
        self.shortest_rest = max(4 * STEP, min(self.denormal, self.rung_out))

    def run(self, x: Float64Array) -> None:
        """Filter rows in place, each from the steady state of its first sample.

        Where a row holds one value for longer than its response to what came before
        lasts (:data:`RUNG_OUT`), the output is that of a constant exactly. Anything
        else is what :func:`scipy.signal.sosfilt` computes, to the last bit.

        Parameters
        ----------
        x : float64 ndarray of shape (n_rows, n_times)
        """
        rests = self._find_rests(x)
        for i, runs in rests.items():
            self._run_with_rests(x[i : i + 1], runs)
        if not rests:
            self._advance(x, self.steady * x[:, :1])
        elif len(rests) < len(x):
            busy = np.setdiff1d(np.arange(len(x)), list(rests))
            rows = x[busy]
            self._advance(rows, self.steady * rows[:, :1])
            x[busy] = rows

    def run_constant(self, x: Float64Array) -> Float64Array:
        """The output of `run` for rows that are constant."""
        return x * self.gain + 0.0  # never -0.0

    def _find_rests(self, x: Float64Array) -> dict[int, list[tuple[int, int]]]:
        """Long runs of equal values, by the rows that have any."""
        points = x[:, :: self.shortest_rest // 2]
        rows = np.flatnonzero((points[:, 1:] == points[:, :-1]).any(axis=1))
        rests = {i: equal_runs(x[i], self.shortest_rest) for i in rows.tolist()}
        return {i: runs for i, runs in rests.items() if runs}

    def _run_with_rests(self, x: Float64Array, rests: list[tuple[int, int]]) -> None:
        """Filter one row, (1, n_times), in place, of which some runs are constant."""
        state, position = self.steady * x[:, :1], 0
        floor = NEGLIGIBLE * max(x.max(), -x.min())
        for cut, stop in self._cuts(rests):
            state = self._advance(x[:, position:cut], state)
            if stop is None:
                state[np.abs(state) < floor] = 0
                position = cut
            else:
                state = self.steady * x[0, cut]
                x[:, cut:stop] = self.run_constant(x[0, cut])
                position = stop
        self._advance(x[:, position:], state)

    def _cuts(self, rests: list[tuple[int, int]]) -> Iterator[tuple[int, int | None]]:
        """Where to interrupt the filter, and up to where the output is then constant.

        Fast sections come to rest long before slow ones. So the interruptions within a
        rest (those with None, at which negligible states are set to zero) are ever
        further apart: every section is stopped before its state becomes denormal.
        """
        for start, stop in rests:
            if start == 0:
                yield start, stop
                continue
            last = min(stop - start, self.rung_out)
            age = self.denormal // 2
            while last > self.denormal and age < last:
                yield start + age, None
                age *= 4
            if stop - start > self.rung_out:
                yield start + self.rung_out, stop

    def _advance(self, x: Float64Array, state: Float64Array) -> Float64Array:
        """Filter rows in place, from `state` on; return the state after them."""
        size = max(1, PIECE_SAMPLES // len(x))
        for start in range(0, x.shape[1], size):
            piece = x[:, start : start + size]
            piece[...], state = sosfilt(self.sos, piece, axis=-1, zi=state)
        return state


def pole_radii(sos: Float64Array) -> Float64Array:
    """Largest radius of a pole of each section."""
    return np.array([np.abs(np.roots(section[3:])).max() for section in sos])


def ringing(sos: Float64Array, share: float) -> int:
    """Samples until no more than `share` of the slowest response is left."""
    slowest = np.clip(pole_radii(sos).max(), 1e-3, 1 - 1e-15)
    return int(np.ceil(np.log(share) / np.log(slowest)))


def equal_runs(x: AnyArray, length: int) -> list[tuple[int, int]]:
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


def _runs(x: AnyArray, length: int) -> list[tuple[int, int]]:
    """Starts and stops of runs of equal values, by looking at each of them."""
    edges = np.flatnonzero(x[1:] != x[:-1]) + 1
    edges = np.concatenate([[0], edges, [len(x)]])
    long = np.flatnonzero(np.diff(edges) >= length)
    return [(int(edges[i]), int(edges[i + 1])) for i in long]
