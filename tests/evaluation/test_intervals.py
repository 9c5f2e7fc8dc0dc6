import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_rel

from sk_cpep.evaluation import bootstrap_interval, paired_difference


def percentile_interval(values, confidence):
    """Percentiles of the means of every possible resample, at the widened level."""
    n = len(values)
    reach = np.sqrt(n / (n - 1)) * t.ppf(1 - (1 - confidence) / 2, n - 1)
    means = [np.mean(draw) for draw in product(values, repeat=n)]
    return np.percentile(means, [100 * norm.cdf(-reach), 100 * norm.cdf(reach)])


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_interval_against_every_resample(confidence):
    values = [0.3, 0.45, 0.5, 0.8, 0.84, 0.9]
    found = bootstrap_interval(values, confidence=confidence, n_resamples=40000)
    assert found == pytest.approx(percentile_interval(values, confidence), abs=0.008)
    of_dict = dict(zip("abcdef", values, strict=True))
    same = bootstrap_interval(of_dict, confidence=confidence, n_resamples=40000)
    assert same == found


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.beta(8, 3, size=(300, 10))
    intervals = [bootstrap_interval(x, n_resamples=999) for x in draws]
    hits = [low <= 8 / 11 <= high for low, high in intervals]
    assert 0.91 <= np.mean(hits) <= 0.98


def test_interval_of_few_people():
    assert bootstrap_interval({"anna": 0.5}) is None
    assert bootstrap_interval([0.7] * 4) == [0.7, 0.7]
    assert bootstrap_interval([0.2, 0.6]) == [0.2, 0.6]


def test_interval_is_reproducible_and_leaves_the_global_generator_alone():
    values = np.random.default_rng(1).normal(size=20)
    state = np.random.get_state()[1].copy()
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values, random_state=0)
    assert found != bootstrap_interval(values, random_state=1)
    assert (np.random.get_state()[1] == state).all()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "values, options, message",
    [
        ([], {}, "at least one person"),
        ({"a": 0.1, "b": np.nan}, {}, "one finite number"),
        ([[1.0, 2.0]], {}, "one finite number"),
        ([1.0, 2.0], {"confidence": 95}, "between 0 and 1, got 95"),
        ([1.0, 2.0], {"n_resamples": 0}, "n_resamples must be"),
    ],
)
def test_interval_refuses(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)


def records_of(n, seed=0):
    rng = np.random.default_rng(seed)
    people = rng.normal(0.6, 0.2, size=n)
    a, b = people + rng.normal(0.05, 0.02, size=n), people + rng.normal(0, 0.02, size=n)
    return a, b, *({"per_user": dict(zip(map(str, range(n)), x))} for x in (a, b))


def test_paired_difference_against_the_paired_t_test():
    a, b, record_a, record_b = records_of(15)
    found = paired_difference(record_a, record_b)
    expected = ttest_rel(a, b)
    assert found["mean"] == pytest.approx(np.mean(a) - np.mean(b))
    assert found["mean"] / found["se"] == pytest.approx(expected.statistic)
    limits = expected.confidence_interval()
    assert found["interval"] == pytest.approx([limits.low, limits.high], abs=0.002)
    assert found["n_users"] == 15
    each = dict(zip(map(str, range(15)), a - b, strict=True))
    assert found["per_user"] == pytest.approx(each)


def test_a_difference_is_clear_where_single_intervals_overlap():
    _, _, record_a, record_b = records_of(15)
    low_a = bootstrap_interval(record_a["per_user"])[0]
    high_b = bootstrap_interval(record_b["per_user"])[1]
    assert low_a < high_b
    assert paired_difference(record_a, record_b)["interval"][0] > 0


def test_people_are_paired_by_name():
    a = {"per_user": {"anna": 0.9, "ben": 0.5}}
    b = {"per_user": {"ben": 0.25, "anna": 0.75}}
    found = paired_difference(a, b)
    assert found["per_user"] == pytest.approx({"anna": 0.15, "ben": 0.25})
    one = paired_difference({"per_user": {"x": 1.0}}, {"per_user": {"x": 0.5}})
    assert (one["mean"], one["se"], one["interval"]) == (0.5, None, None)


@pytest.mark.parametrize(
    "record, message",
    [
        ({"per_user": {"a": 1.0, "c": 1.0}}, "in one of them only: b, c"),
        ({"per_user": {"a": 1.0, "b": 1.0}, "unit": "deg"}, "different units"),
        ({"converged": False, "method": "mine"}, "'mine' did not converge"),
        ({"per_user": {}}, "no `per_user`"),
    ],
)
def test_what_cannot_be_paired(record, message):
    with pytest.raises(ValueError, match=message):
        paired_difference({"per_user": {"a": 0.5, "b": 0.5}}, record)
