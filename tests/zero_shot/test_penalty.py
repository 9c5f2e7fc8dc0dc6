"""A penalty on seen gestures, against all similarities ranked at once."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone

from sk_cpep import ZeroShotClassifier
from sk_cpep.zero_shot import predict_excluding

NAMES = np.array(["fist", "ok", "point", "wave"])


class Given(BaseEstimator):
    """Embeddings as they are."""

    def transform(self, X):
        return np.asarray(X)

    transform_pose = transform


def unit(Z):
    Z = np.asarray(Z, np.float32)
    norm = np.linalg.norm(Z.astype(np.float64), axis=1, keepdims=True)
    return Z / np.where(norm > 0, norm, 1)


def brute(Z, G, y, seen, penalty, k, excluded=None):
    """Order of the gallery for each query, and shares of the votes."""
    similarity = unit(Z).astype(np.float64) @ unit(G).astype(np.float64).T
    similarity = similarity.round(12) - penalty * np.isin(y, seen)
    if excluded is not None:
        similarity[excluded] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    named = []
    for row, nearest in zip(similarity, order, strict=True):
        nearest = nearest[np.isfinite(row[nearest])]
        names = np.unique(y[nearest])
        votes = [(y[nearest] == name).sum() for name in names]
        total = [row[nearest][y[nearest] == name].sum() for name in names]
        best = max(range(len(names)), key=lambda i: (votes[i], total[i]))
        named.append(names[best])
    return order, np.array(named)


def drawn(seed, n=60, n_queries=40, d=6):
    rng = np.random.default_rng(seed)
    G, y = rng.normal(size=(n, d)), NAMES[rng.integers(4, size=n)]
    if seed % 2:
        G[n // 2 :] = G[: n - n // 2]  # copies, which tie
    return rng.normal(size=(n_queries, d)), G, y


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 7, 45, 100])
@pytest.mark.parametrize("penalty", [0.0, 0.13, 0.8, -0.2, 5.0])
def test_against_brute_force(seed, k, penalty):
    Z, G, y = drawn(seed)
    seen = ["fist", "wave"]
    zero = ZeroShotClassifier(Given(), k, seen=seen, seen_penalty=penalty).fit(G, y)
    order, named = brute(Z, G, y, seen, penalty, k)
    distance, index = zero.kneighbors(Z)
    assert_array_equal(index, order)
    cosine = 1 - unit(Z).astype(float) @ unit(G).astype(float).T
    assert_allclose(distance, np.take_along_axis(cosine, order, axis=1), atol=1e-6)
    assert_array_equal(zero.predict(Z), named)
    proba = zero.predict_proba(Z)
    assert_array_equal(zero.classes_[proba.argmax(axis=1)], named)
    assert_allclose(proba.sum(axis=1), 1)


@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_without_the_queries_group(penalty):
    Z, G, y = drawn(2)
    rng = np.random.default_rng(5)
    of_poses, own = rng.integers(3, size=60), rng.integers(3, size=40)
    zero = ZeroShotClassifier(Given(), 9, seen=["ok"], seen_penalty=penalty).fit(G, y)
    expected = brute(Z, G, y, ["ok"], penalty, 9, own[:, None] == of_poses)[1]
    assert_array_equal(predict_excluding(zero, Z, of_poses, own), expected)


def test_extremes():
    Z, G, y = drawn(0)
    zero = ZeroShotClassifier(Given(), 5, seen=["fist", "ok"]).fit(G, y)
    plain = zero.predict(Z)
    assert set(zero.set_params(seen_penalty=9.0).predict(Z)) <= {"point", "wave"}
    assert set(zero.set_params(seen_penalty=-9.0).predict(Z)) <= {"fist", "ok"}
    assert_array_equal(zero.set_params(seen_penalty=0.0).predict(Z), plain)


def test_where_all_or_none_are_seen_nothing_changes():
    Z, G, y = drawn(0)
    plain = ZeroShotClassifier(Given(), 5).fit(G, y)
    for seen in (NAMES, [], ["shaka"]):
        zero = ZeroShotClassifier(Given(), 5, seen=seen, seen_penalty=0.3).fit(G, y)
        assert_array_equal(zero.predict_proba(Z), plain.predict_proba(Z))
        assert_allclose(zero.kneighbors(Z)[0], plain.kneighbors(Z)[0], atol=1e-15)


def test_new_gestures_are_found_once_seen_ones_are_held_back():
    G = np.array([[1.0, 0.0], [0.8, 0.6]])
    zero = ZeroShotClassifier(Given(), 1, seen=["fist"]).fit(G, ["fist", "new"])
    query = [[0.97, 0.24]]  # similarity 0.97 and 0.92
    assert zero.predict(query) == "fist"
    assert zero.set_params(seen_penalty=0.1).predict(query) == "new"
    zero.partial_fit([[0.99, 0.14]], ["other"])
    assert zero.predict(query) == "other"


def test_kept_by_clone_pickle_and_a_shared_gallery():
    Z, G, y = drawn(0)
    zero = ZeroShotClassifier(Given(), 5, seen=("ok",), seen_penalty=0.4).fit(G, y)
    again = pickle.loads(pickle.dumps(zero))
    other = clone(zero).share_gallery(zero)
    for same in (again, other):
        assert_array_equal(same.predict(Z), zero.predict(Z))


def test_a_pickle_from_before_there_was_a_penalty():
    Z, G, y = drawn(0)
    zero = ZeroShotClassifier(Given(), 5).fit(G, y)
    older = pickle.loads(pickle.dumps(zero))
    del older.seen, older.seen_penalty
    older = pickle.loads(pickle.dumps(older))
    assert_array_equal(older.predict(Z), zero.predict(Z))
    assert clone(older).seen_penalty == 0


def test_errors():
    Z, G, y = drawn(0)
    with pytest.raises(ValueError, match=r"seen_penalty=0.1 .* name them as `seen`"):
        ZeroShotClassifier(Given(), seen_penalty=0.1).fit(G, y)
    zero = ZeroShotClassifier(Given()).fit(G, y)
    with pytest.raises(ValueError, match="name them as `seen`"):
        zero.set_params(seen_penalty=0.1).predict(Z)
    with pytest.raises(ValueError, match="Mix of label input types"):
        ZeroShotClassifier(Given(), seen=[1, 2], seen_penalty=0.1).fit(G, y)
    for wrong in (np.nan, np.inf, "much"):
        with pytest.raises(ValueError, match="seen_penalty"):
            ZeroShotClassifier(Given(), seen=["ok"], seen_penalty=wrong).fit(G, y)
