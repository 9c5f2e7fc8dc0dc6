"""The harmonic mean of two accuracies, each a mean over people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from sklearn.utils import check_random_state

from .._typing import Record
from ._intervals import widened
from ._metrics import summarise_people


def harmonic_mean(a: Any, b: Any) -> Any:
    """Harmonic mean of two numbers, or element by element; 0 where both are 0."""
    total = np.asarray(a + b, dtype=np.float64)
    return np.divide(2 * a * b, total, out=np.zeros_like(total), where=total > 0)


def summarise_harmonic(
    first: Mapping[str, float], second: Mapping[str, float]
) -> Record:
    """Summarise the harmonic mean of two accuracies over people.

    Parameters
    ----------
    first, second : dict of str to float
        Macro accuracies of each person; of the same people.

    Returns
    -------
    summary : dict
        As of :func:`summarise_people`, of each person's harmonic mean, but for
        ``mean``: that of the two means over people, and ``interval``, its bootstrap
        interval, people drawn with both of their numbers.
    """
    people = [person for person in first if person in second]
    if not people:
        raise ValueError("Nobody has both seen and new gestures: nothing to average.")
    pairs = np.array([[each[person] for person in people] for each in (first, second)])
    per_user = dict(zip(people, harmonic_mean(*pairs).tolist()))
    mean = float(harmonic_mean(*pairs.mean(axis=1)))
    return summarise_people(per_user) | {"mean": mean, "interval": _interval(pairs)}


def _interval(pairs: Any) -> list[float] | None:
    """95 % interval of the harmonic mean of means, of pairs (2, n_people)."""
    n = pairs.shape[1]
    if n == 1:
        return None
    if np.ptp(pairs, axis=1).max() == 0:
        return [float(harmonic_mean(*pairs[:, 0]))] * 2
    found = bootstrap(
        tuple(pairs),
        lambda a, b, axis: harmonic_mean(a.mean(axis=axis), b.mean(axis=axis)),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        confidence_level=widened(0.95, n),
        method="percentile",
        random_state=check_random_state(0),
    ).confidence_interval
    return [float(found.low), float(found.high)]
