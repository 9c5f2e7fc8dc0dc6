"""How sure a mean over people is: bootstrap intervals, paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap, norm, t
from sklearn.utils import check_random_state

from .._typing import Float64Array, RandomStateLike, Record


def bootstrap_interval(
    per_user: Mapping[str, float] | ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 9999,
    random_state: RandomStateLike = 0,
) -> list[float] | None:
    """Confidence interval of a mean over people, by resampling the people.

    The percentile bootstrap of :func:`scipy.stats.bootstrap`, widened for few people
    as in [1]_: plain percentiles are too narrow by as much as the normal
    distribution and a standard deviation of divisor n are, against Student's t.

    Parameters
    ----------
    per_user : dict of str to float, or array-like of shape (n_users,)
        One number a person.

    confidence : float, default=0.95
        Share of such intervals that hold the true mean.

    n_resamples : int, default=9999
        Number of times that as many people are drawn with replacement.

    random_state : int, RandomState instance or None, default=0
        Source of the draws.

    Returns
    -------
    interval : list of two floats, or None
        Lower and upper limit. None for one person, who tells nothing of others; twice
        the same number where all people have it.

    Raises
    ------
    ValueError
        If there are no people, a number is not finite, or a parameter is out of range.

    Notes
    -----
    Measured on draws from skewed (beta) distributions, a nominal 95 % held the true
    mean in 94 to 95 % of the cases with 20 people, 91 to 95 % with 10, 88 to 93 % with
    5 (unwidened: 92 to 94, 87 to 91, 79 to 85). With 3 people the interval is at most
    their range, which held it in 75 %: do not lean on it.

    References
    ----------
    .. [1] T. C. Hesterberg, "What Teachers Should Know About the Bootstrap:
       Resampling in the Undergraduate Statistics Curriculum", The American
       Statistician 69 (2015), 371-386: the expanded percentile interval.

    Examples
    --------
    >>> from sk_cpep.evaluation import bootstrap_interval
    >>> bootstrap_interval({"anna": 0.5, "ben": 0.5})
    [0.5, 0.5]
    >>> low, high = bootstrap_interval([0.4, 0.5, 0.6, 0.7, 0.8])
    >>> low < 0.6 < high
    True
    """
    values = _check_values(per_user)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}.")
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(f"n_resamples must be an int from 1 on, got {n_resamples!r}.")
    if len(values) == 1:
        return None
    if values.min() == values.max():
        return [float(values[0])] * 2
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=n_resamples,
        confidence_level=widened(confidence, len(values)),
        method="percentile",
        random_state=check_random_state(random_state),
    ).confidence_interval
    return [float(found.low), float(found.high)]


def paired_difference(
    record_a: Mapping[str, Any],
    record_b: Mapping[str, Any],
    *,
    confidence: float = 0.95,
    n_resamples: int = 9999,
    random_state: RandomStateLike = 0,
) -> Record:
    """How much better one method is than another on the same people.

    Methods are compared person by person, so that what makes a person hard for every
    method cancels: the difference can be clear where the intervals of both overlap.

    Parameters
    ----------
    record_a, record_b : dict
        Records with ``per_user``, as of :func:`linear_probe` or
        :func:`pose_regression`, of the same people.

    confidence, n_resamples, random_state
        As of :func:`bootstrap_interval`.

    Returns
    -------
    difference : dict
        Ready for json: ``mean`` over people of a - b; ``se``, its standard error (None
        for one person); ``interval``, its bootstrap interval; ``n_users``;
        ``per_user``.

    Raises
    ------
    ValueError
        If the people are not the same, the units differ, or a training behind a
        record did not converge.

    Examples
    --------
    >>> from sk_cpep.evaluation import paired_difference
    >>> a, b = {"per_user": {"1": 0.75, "2": 1.0}}, {"per_user": {"1": 0.5, "2": 0.5}}
    >>> paired_difference(a, b)["mean"]
    0.375
    """
    a, b = _check_pair(record_a, record_b)
    per_user = {user: a[user] - b[user] for user in a}
    values = _check_values(per_user)
    n = len(values)
    return {
        "mean": float(values.mean()),
        "se": float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        "interval": bootstrap_interval(
            per_user,
            confidence=confidence,
            n_resamples=n_resamples,
            random_state=random_state,
        ),
        "n_users": n,
        "per_user": per_user,
    }


def widened(confidence: float, n: int) -> float:
    """Level at which percentiles of means of `n` give what `confidence` asks for."""
    reach = np.sqrt(n / (n - 1)) * t.ppf((1 + confidence) / 2, n - 1)
    return float(norm.cdf(reach) - norm.cdf(-reach))


def _check_values(per_user: Mapping[str, float] | ArrayLike) -> Float64Array:
    """Numbers (n_users,) in float64, all finite."""
    if isinstance(per_user, dict):
        per_user = list(per_user.values())
    values = np.asarray(per_user, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(
            "per_user must hold one finite number for each of at least one person, "
            f"got {per_user!r}."
        )
    return values


def _check_pair(
    record_a: Mapping[str, Any], record_b: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Numbers by person of two records that can be compared."""
    for record in (record_a, record_b):
        if record.get("converged", True) is False:
            raise ValueError(
                f"The training of {record.get('method')!r} did not converge: there is "
                "nothing to compare."
            )
        if not record.get("per_user"):
            raise ValueError("A record has no `per_user`: nothing to pair.")
    units = [record.get("unit") for record in (record_a, record_b)]
    if units[0] != units[1]:
        raise ValueError(f"The records are in different units: {units}.")
    a, b = record_a["per_user"], record_b["per_user"]
    strange = sorted(a.keys() ^ b.keys())
    if strange:
        raise ValueError(
            f"The records are not of the same people; in one of them only: "
            f"{', '.join(strange)}."
        )
    return a, b
