import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import zscore

from sk_cpep.preprocessing import standardise_groups


@pytest.mark.parametrize("shape", [(40, 5), (40, 3, 11)])
def test_is_the_z_score_of_each_group(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * 7 + 3
    groups = rng.permutation(np.repeat(["a", "b", "c"], [20, 15, 5]))
    Z = standardise_groups(X, groups)
    for group in "abc":
        here = groups == group
        columns = np.moveaxis(X[here], 1, -1).reshape(-1, shape[1])
        expected = zscore(columns)
        assert_allclose(np.moveaxis(Z[here], 1, -1).reshape(-1, shape[1]), expected)
    assert standardise_groups(X.astype(np.float32), groups).dtype == np.float32


def test_what_does_not_vary_is_zero():
    X = np.array([[1e6 + 0.1, 2.0], [1e6 + 0.1, 3.0], [5.0, 5.0]])
    Z = standardise_groups(X, [1, 1, 2])
    assert_array_equal(Z, [[0, -1], [0, 1], [0, 0]])


def test_errors():
    with pytest.raises(ValueError, match="inconsistent"):
        standardise_groups(np.ones((3, 2)), [1, 2])
    with pytest.raises(ValueError, match="groups"):
        standardise_groups(np.ones((2, 2)), [1, np.nan])
    with pytest.raises(ValueError, match="NaN"):
        standardise_groups([[np.nan, 1.0], [1, 2]], [1, 2])
