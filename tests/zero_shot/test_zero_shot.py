import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from sk_cpep.zero_shot import ZeroShotClassifier, predict_excluding
from sk_cpep.zero_shot._encoder import normalise


class Stub(BaseEstimator):
    """Flatten: a stateless encoder of both modalities."""

    def transform(self, X):
        return np.reshape(X, (len(X), -1))

    transform_pose = transform


class Fitted(TransformerMixin, BaseEstimator):
    """Encoder that must be fitted; embeds the mean over time."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        check_is_fitted(self)
        return np.mean(X, axis=-1)

    def transform_pose(self, P):
        check_is_fitted(self)
        return np.mean(P, axis=-1)


class Lazy:
    """A 3-D array-like that is no ndarray and refuses to become one."""

    def __init__(self, X):
        self._X = X
        self.shape = X.shape

    def __len__(self):
        return len(self._X)

    def __getitem__(self, index):
        return self._X[index]

    def __array__(self, *args, **kwargs):
        raise AssertionError("a lazy array was read whole")


class LazyStub(BaseEstimator):
    def transform(self, X):
        return np.stack([X[i].ravel() for i in range(len(X))])

    transform_pose = transform


class Cutter(TransformerMixin, BaseEstimator):
    """Recordings to windows of `size` samples."""

    def __init__(self, size=4):
        self.size = size

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        n = self.size
        return np.stack(
            [x[:, i : i + n] for x in X for i in range(0, x.shape[1] - n + 1, n)]
        )


def make_poses(n, seed=0, n_classes=5, shape=(6,)):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    centres = np.random.default_rng(99).normal(size=(n_classes, *shape))
    return centres[y] + 0.8 * rng.normal(size=(n, *shape)), y


def on_circle(*degrees):
    """Points on the unit circle: the cosine similarities are known by hand."""
    radians = np.deg2rad(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)])


@pytest.mark.parametrize("n_neighbors", [1, 3, 10])
@pytest.mark.parametrize("n_gallery", [37, 700])
def test_agrees_with_sklearn(n_gallery, n_neighbors):
    P, y = make_poses(n_gallery)
    X, _ = make_poses(150, seed=1)
    reference = KNeighborsClassifier(n_neighbors, metric="cosine", algorithm="brute")
    reference.fit(P, y)
    zero_shot = ZeroShotClassifier(Stub(), n_neighbors).fit(P, y)

    distance, index = zero_shot.kneighbors(X)
    expected_distance, expected_index = reference.kneighbors(X)
    assert_array_equal(index, expected_index)
    assert_allclose(distance, expected_distance, atol=3e-7)
    proba = reference.predict_proba(X)
    assert_allclose(zero_shot.predict_proba(X), proba)
    clear = (proba == proba.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert clear.sum() > 100
    assert_array_equal(zero_shot.predict(X)[clear], reference.predict(X)[clear])


def test_votes_by_hand():
    P = on_circle(0, 10, 20, 30, 170)
    zero_shot = ZeroShotClassifier(Stub(), 3).fit(P, ["a", "b", "b", "c", "c"])
    X = 7 * on_circle(12, 160)
    distance, index = zero_shot.kneighbors(X)
    assert_array_equal(index, [[1, 2, 0], [4, 3, 2]])
    assert_allclose(
        distance[0], 1 - np.cos(np.deg2rad([2, 8, 12])), rtol=1e-4, atol=1e-7
    )
    assert_allclose(zero_shot.predict_proba(X), [[1 / 3, 2 / 3, 0], [0, 1 / 3, 2 / 3]])
    assert_array_equal(zero_shot.predict(X), ["b", "c"])
    assert zero_shot.score(X, ["b", "a"]) == 0.5


@pytest.mark.parametrize(
    "angles, winner", [((2, 40, -15, 20), "a"), ((2, 19, -15, 20), "z")]
)
def test_tied_votes_go_to_the_nearer_poses(angles, winner):
    # The query lies at 0 and "z" always holds the nearest pose.
    cosine = np.cos(np.deg2rad(angles))
    assert winner == ("z" if cosine[:2].sum() > cosine[2:].sum() else "a")
    zero_shot = ZeroShotClassifier(Stub(), 4).fit(on_circle(*angles), list("zzaa"))
    assert_array_equal(zero_shot.predict(on_circle(0)), [winner])
    assert_allclose(zero_shot.predict_proba(on_circle(0)), [[0.5, 0.5]])


def test_perfect_tie_goes_to_the_first_class():
    zero_shot = ZeroShotClassifier(Stub(), 2).fit([[1.0, 0], [1.0, 0]], ["z", "a"])
    assert_array_equal(zero_shot.predict([[1.0, 1.0]]), ["a"])


def test_equal_poses_keep_the_order_of_the_gallery():
    P, y = make_poses(30)
    P = np.concatenate([P] * 7)
    zero_shot = ZeroShotClassifier(Stub(), 14).fit(P, np.tile(y, 7))
    distance, index = zero_shot.kneighbors(make_poses(20, seed=3)[0])
    assert_array_equal(index % 30, np.repeat(index[:, [0, 7]] % 30, 7, axis=1))
    assert (np.diff(index.reshape(20, 2, 7)) == 30).all()
    assert (np.diff(distance) >= 0).all()


def test_collapsed_embeddings():
    X, y = np.ones((900, 3)), np.arange(900) % 3
    zero_shot = ZeroShotClassifier(Stub(), 4).fit(X, y)
    assert_array_equal(zero_shot.kneighbors(X, return_distance=False)[0], [0, 1, 2, 3])
    zero_shot.fit(np.zeros((9, 3)), y[:9])
    distance, index = zero_shot.kneighbors(X[:2])
    assert_array_equal(distance, np.ones((2, 4)))
    assert_array_equal(index, [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_blocks_change_nothing(batch_size):
    P, y = make_poses(1000)
    X, _ = make_poses(101, seed=1)
    whole = ZeroShotClassifier(Stub()).fit(P, y)
    blocked = ZeroShotClassifier(Stub(), batch_size=batch_size).fit(P, y)
    for a, b in zip(whole.kneighbors(X), blocked.kneighbors(X), strict=True):
        assert_array_equal(a, b)
    assert_array_equal(whole.predict_proba(X), blocked.predict_proba(X))


def test_partial_fit_equals_fit():
    P, y = make_poses(90)
    y = np.array(["fist", "point", "a longer name", "ok", "wave"])[y]
    X, _ = make_poses(40, seed=1)
    whole = ZeroShotClassifier(Stub()).fit(P, y)
    parts = ZeroShotClassifier(Stub())
    order = np.argsort(y, kind="stable")
    whole.fit(P[order], y[order])
    for part in np.array_split(order, 4):
        assert parts.partial_fit(P[part], y[part]) is parts
    assert_array_equal(parts.gallery_embeddings_, whole.gallery_embeddings_)
    assert_array_equal(parts.gallery_labels_, whole.gallery_labels_)
    assert_array_equal(parts.classes_, whole.classes_)
    assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    assert_array_equal(parts.predict(X), whole.predict(X))


def test_partial_fit_adds_a_gesture():
    zero_shot = ZeroShotClassifier(Stub(), 2).fit(on_circle(0, 5), ["fist", "fist"])
    zero_shot.partial_fit(on_circle(90, 95), ["a new gesture"] * 2)
    assert zero_shot.classes_.tolist() == ["a new gesture", "fist"]
    assert zero_shot.predict(on_circle(80, 10)).tolist() == ["a new gesture", "fist"]


def test_classes_keep_the_columns():
    zero_shot = ZeroShotClassifier(Stub(), 2)
    zero_shot.partial_fit(on_circle(0, 5), [1, 1], classes=[0, 1, 2])
    assert_array_equal(zero_shot.predict_proba(on_circle(1)), [[0, 1, 0]])
    zero_shot.partial_fit(on_circle(90), [3])
    assert_array_equal(zero_shot.classes_, [0, 1, 2, 3])


def test_partial_fit_refuses_mixed_labels():
    zero_shot = ZeroShotClassifier(Stub(), 2).fit(on_circle(0, 5), [1, 2])
    with pytest.raises(ValueError, match="Mix of label input types"):
        zero_shot.partial_fit(on_circle(90), ["1"])


def test_partial_fit_refuses_another_width():
    zero_shot = ZeroShotClassifier(LazyStub(), 2).fit(np.ones((2, 3, 4)), [1, 2])
    with pytest.raises(
        ValueError, match="embedded in 15 dimensions, the gallery in 12"
    ):
        zero_shot.partial_fit(np.ones((2, 3, 5)), [1, 2])


def test_a_small_gallery_votes_as_a_whole():
    zero_shot = ZeroShotClassifier(Stub()).fit(on_circle(0, 5, 90), ["a", "a", "b"])
    assert zero_shot.kneighbors(on_circle(90))[1].shape == (1, 3)
    assert_allclose(zero_shot.predict_proba(on_circle(90)), [[2 / 3, 1 / 3]])
    zero_shot.n_neighbors = 1
    assert zero_shot.predict(on_circle(90)).tolist() == ["b"]


def test_gallery_embeddings_are_unit_float32():
    P, y = make_poses(20, shape=(3, 4))
    zero_shot = ZeroShotClassifier(Stub()).fit(5 * P, y)
    assert zero_shot.gallery_embeddings_.dtype == np.float32
    assert_allclose(np.linalg.norm(zero_shot.gallery_embeddings_, axis=1), 1, rtol=1e-6)
    assert zero_shot.n_features_in_ == 3


def test_lazy_windows_pass_untouched():
    P, y = make_poses(30, shape=(2, 4))
    X, _ = make_poses(10, seed=1, shape=(2, 4))
    eager = ZeroShotClassifier(LazyStub()).fit(P, y)
    lazy = ZeroShotClassifier(LazyStub()).fit(Lazy(P), y)
    assert lazy.n_features_in_ == 2
    assert_array_equal(lazy.predict(Lazy(X)), eager.predict(X))
    lazy.partial_fit(Lazy(P), y)
    with pytest.raises(ValueError, match="X has 3 features, but ZeroShotClassifier"):
        lazy.partial_fit(Lazy(np.ones((4, 3, 4))), y[:4])


def test_recordings_and_pipeline():
    rng = np.random.default_rng(0)
    recordings = [rng.normal(size=(3, 8)), rng.normal(size=(3, 13))]
    windows = Cutter().fit_transform(recordings)
    scale = FunctionTransformer(lambda X: [100 + x for x in X])
    encoder = Pipeline(
        [("scale", scale), ("cut", Cutter()), ("inner", make_pipeline(Fitted()))]
    )
    encoder.fit(recordings)
    P, y = make_poses(30, shape=(3, 4))
    for fitted in (encoder, FrozenEstimator(encoder)):
        zero_shot = ZeroShotClassifier(fitted).fit(P, y)
        expected = normalise(P.mean(axis=-1))  # no EMG step on the poses
        assert_array_equal(zero_shot.gallery_embeddings_, expected)
        assert_array_equal(
            zero_shot.predict(recordings),
            ZeroShotClassifier(Fitted().fit(P)).fit(P, y).predict(100 + windows),
        )


def test_encoder_inside_a_search():
    class Scored(Fitted):
        def score(self, X, y=None):
            return 0.0

    P, y = make_poses(12, shape=(3, 4))
    search = GridSearchCV(Scored(), {}, cv=2).fit(P)
    zero_shot = ZeroShotClassifier(FrozenEstimator(search)).fit(P, y)
    assert_array_equal(zero_shot.kneighbors(P, 1)[1].ravel(), np.arange(12))


def test_unfitted_encoder():
    P, y = make_poses(12, shape=(3, 4))
    for encoder in (Fitted(), make_pipeline(Fitted()), FrozenEstimator(Fitted())):
        with pytest.raises(NotFittedError, match=r"fit it first.*FrozenEstimator"):
            ZeroShotClassifier(encoder).fit(P, y)
    zero_shot = ZeroShotClassifier(Fitted().fit(P)).fit(P, y)
    with pytest.raises(NotFittedError, match=r"FrozenEstimator"):
        clone(zero_shot).fit(P, y)
    with pytest.raises(NotFittedError, match="ZeroShotClassifier"):
        ZeroShotClassifier(Stub()).predict(P)


@pytest.mark.parametrize(
    "encoder", [FunctionTransformer(), make_pipeline(Cutter()), "cpep", None, Stub]
)
def test_wrong_encoder(encoder):
    if encoder is Stub:
        encoder = type(
            "PoseOnly", (BaseEstimator,), {"transform_pose": Stub.transform}
        )()
    with pytest.raises(
        TypeError, match=r"transform_pose\(P\) for poses: a fitted CPEP"
    ):
        ZeroShotClassifier(encoder).fit([[1.0], [2.0]], [0, 1])


def test_frozen_encoder_survives_clone_and_pickle():
    P, y = make_poses(12, shape=(3, 4))
    zero_shot = ZeroShotClassifier(FrozenEstimator(Fitted().fit(P)), 3)
    again = clone(zero_shot).fit(P, y)
    assert_array_equal(again.predict(P), zero_shot.fit(P, y).predict(P))
    loaded = pickle.loads(pickle.dumps(zero_shot))
    assert_array_equal(loaded.predict_proba(P), zero_shot.predict_proba(P))


def test_query_of_another_width():
    zero_shot = ZeroShotClassifier(Stub()).fit(np.ones((4, 2, 3)), [0, 0, 1, 1])
    message = (
        "X has 8 features, but ZeroShotClassifier is expecting 6 features as input"
    )
    with pytest.raises(ValueError, match=message):
        zero_shot.predict(np.ones((4, 2, 4)))


def test_bad_embeddings():
    P = np.ones((4, 2, 3))
    zero_shot = ZeroShotClassifier(Stub()).fit(P, [0, 0, 1, 1])
    with pytest.raises(ValueError, match="NaN or infinity for 1 of 4 rows"):
        zero_shot.predict(np.where(np.arange(4)[:, None, None] == 2, np.nan, P))
    with pytest.raises(ValueError, match="2 embeddings, but y has 4 labels"):
        encoder = Fitted().fit(P)
        encoder.transform_pose = lambda P: np.ones((2, 3))
        ZeroShotClassifier(encoder).fit(P, [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"n_windows, n_dims\), got \(4, 2, 3\)"):
        encoder.transform_pose = lambda P: P
        ZeroShotClassifier(encoder).fit(P, [0, 0, 1, 1])


def test_labels_per_sample():
    recordings = [np.ones((2, 6)), np.ones((2, 7))]
    with pytest.raises(ValueError, match="one label per window.*make_windows"):
        ZeroShotClassifier(Stub()).fit(recordings, [np.zeros(6), np.zeros(7)])


class Unaligned(Stub):
    """An encoder that was told to give what comes before the projection."""

    def __init__(self, embedding="encoder"):
        self.embedding = embedding


def test_unaligned_embeddings_are_refused():
    P, y = np.eye(4, dtype=np.float32), ["fist", "fist", "open", "open"]
    with pytest.raises(ValueError, match="not aligned with the poses"):
        ZeroShotClassifier(Unaligned()).fit(P, y)
    zero_shot = ZeroShotClassifier(Unaligned("projection"), 1).fit(P, y)
    assert zero_shot.predict(P).tolist() == y
    zero_shot.encoder.set_params(embedding="encoder")
    with pytest.raises(ValueError, match="not aligned with the poses"):
        zero_shot.predict(P)


def test_a_device_that_is_not_there():
    P, y = make_poses(12)
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        ZeroShotClassifier(Stub(), device="cuda:99").fit(P, y)
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        ZeroShotClassifier(Stub(), device="cuda:99").partial_fit(P, y)
    zero_shot = ZeroShotClassifier(Stub(), device="cpu").fit(P, y)
    expected = zero_shot.predict(P)
    loaded = pickle.loads(pickle.dumps(zero_shot.set_params(device="cuda:99")))
    with pytest.warns(UserWarning, match="Using the CPU: device='cuda:99'"):
        assert_array_equal(loaded.predict(P), expected)


@pytest.mark.parametrize("n_neighbors", [0, -1, 2.5])
def test_wrong_number_of_neighbours(n_neighbors):
    P, y = make_poses(12)
    with pytest.raises((ValueError, TypeError), match="n_neighbors"):
        ZeroShotClassifier(Stub()).fit(P, y).kneighbors(P, n_neighbors)


def test_votes_in_parts(monkeypatch):
    P, y = make_poses(300)
    X, _ = make_poses(50, seed=1)
    zero_shot = ZeroShotClassifier(Stub(), 7).fit(P, y)
    proba, winners = zero_shot.predict_proba(X), zero_shot.predict(X)
    monkeypatch.setattr("sk_cpep.zero_shot._classifier._VOTES", 30)
    assert_array_equal(zero_shot.predict_proba(X), proba)
    assert_array_equal(zero_shot.predict(X), winners)


@pytest.mark.parametrize("names", [["a", "b", "c"], [3, 5, 9]])
def test_excluding_against_a_gallery_without_the_group(names):
    names = np.array(names)
    P, y = make_poses(200)
    X, _ = make_poses(30, seed=1)
    groups = names[np.random.default_rng(0).choice(3, p=[0.9, 0.09, 0.01], size=200)]
    own = np.append(names, names[:1])[np.arange(30) % 4]
    zero_shot = ZeroShotClassifier(Stub(), 5).fit(P, y)
    predicted = predict_excluding(zero_shot, X, groups, own)
    for name in names:
        others, asking = groups != name, own == name
        alone = ZeroShotClassifier(Stub(), 5).fit(P[others], y[others])
        assert_array_equal(predicted[asking], alone.predict(X[asking]))


def test_excluding_with_nobody_else():
    zero_shot = ZeroShotClassifier(Stub(), 2).fit(on_circle(0, 5), ["fist", "ok"])
    groups = np.array(["first", "first"])
    assert predict_excluding(zero_shot, on_circle(1), groups, np.array(["other"])) == [
        "fist"
    ]
    with pytest.raises(ValueError, match="no pose outside the group first"):
        predict_excluding(zero_shot, on_circle(1, 2), groups, np.array(["b", "first"]))
