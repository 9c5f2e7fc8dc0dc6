"""Cross-validation over people: what is fitted to whom, and what comes of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_cpep import MAE
from sk_cpep.evaluation import (
    GestureWindows,
    Method,
    cross_validate_gestures,
    evaluate_methods,
    fit_estimators,
    fold_users,
    format_markdown,
    linear_probe,
    split_gestures,
)

GESTURES = np.array(["fist", "ok", "point", "shaka"])
N_USERS, N_EACH = 6, 5


class Means(TransformerMixin, BaseEstimator):
    """Embeds windows by means over time, less those it was fitted to."""

    fits = []  # noqa: RUF012

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y):
        self.mean_ = X.mean(axis=(0, 2))
        self.pose_mean_ = y.mean(axis=(0, 2))
        self.fits.append((X, y))
        return self

    def transform(self, X):
        return self.scale * (X.mean(axis=2) - self.mean_)

    def transform_pose(self, P):
        return P.mean(axis=2) - self.pose_mean_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


@pytest.fixture
def data():
    Means.fits.clear()
    rng = np.random.default_rng(0)
    code = np.tile(np.repeat(np.arange(4), N_EACH), N_USERS)
    users = np.repeat(np.arange(N_USERS), 4 * N_EACH)
    centres = rng.normal(size=(4, 3, 1))
    X, P = (
        (centres[code] + 0.7 * rng.normal(size=(len(code), 3, n))).astype(np.float32)
        for n in (8, 6)
    )
    return X, P, GESTURES[code], users


def by_hand(data, folds, unseen):
    """Mean over people of each one's mean recall, for each protocol and set."""
    X, P, y, users = data
    Z, V = X.mean(axis=2, dtype=float), P.mean(axis=2, dtype=float)
    found = {}
    for held_out in folds:
        tested = np.isin(users, held_out)
        learned = ~tested & ~np.isin(y, unseen)
        z = Z - X[learned].mean(axis=(0, 2))
        v = V - P[learned].mean(axis=(0, 2))
        for name, rows in (
            ("in_distribution", ~np.isin(y, unseen)),
            ("unseen", np.isin(y, unseen)),
        ):
            train, test = ~tested & rows, tested & rows
            if not rows.any():
                continue
            probe = make_pipeline(
                StandardScaler(), LogisticRegression(C=0.5, max_iter=2000)
            )
            nearest = KNeighborsClassifier(3, metric="cosine", algorithm="brute")
            predicted = {
                "linear_probe": probe.fit(z[train], y[train]).predict(z[test]),
                "zero_shot": nearest.fit(v[train], y[train]).predict(z[test]),
            }
            for protocol, names in predicted.items():
                for user in held_out:
                    mine = users[test] == user
                    recalls = recall_score(
                        y[test][mine], names[mine], average="macro", zero_division=0
                    )
                    found.setdefault((protocol, name), {})[str(user)] = recalls
    return found


@pytest.mark.parametrize("unseen", [(), ("shaka", "ok")])
@pytest.mark.parametrize("cv", [3, [[0, 5], [1, 2], [3, 4]], GroupKFold(2)])
def test_against_a_loop(data, cv, unseen):
    X, P, y, users = data
    if cv == 3:
        folds = [[0, 3], [1, 4], [2, 5]]
    elif isinstance(cv, list):
        folds = cv
    else:
        folds = [np.unique(users[test]) for _, test in cv.split(X, y, users)]
    records = cross_validate_gestures(
        Means(), *data, cv=cv, unseen=unseen, C=0.5, n_neighbors=3
    )
    expected = by_hand(data, folds, unseen)
    assert {(r["protocol"], r["gestures"]) for r in records} == expected.keys()
    for record in records:
        people = expected[record["protocol"], record["gestures"]]
        assert record["per_user"].keys() == people.keys()
        for user, accuracy in people.items():
            assert_allclose(record["per_user"][user], accuracy, rtol=1e-12)
        assert record["method"] == "Means"
    assert "Means" in format_markdown(records)


def test_nothing_of_people_held_out_or_unseen_gestures_is_seen(data):
    X, P, y, users = data
    moving = np.arange(len(y)) % 3 > 0
    cross_validate_gestures(
        Means(), *data, cv=2, unseen=["shaka", "ok"], pretrain=moving, n_neighbors=3
    )
    assert len(Means.fits) == 2
    for (seen, poses), held_out in zip(Means.fits, fold_users(users, 2)):
        rows = moving & ~np.isin(y, ["shaka", "ok"]) & ~np.isin(users, held_out)
        assert_array_equal(seen, X[rows])
        assert_array_equal(poses, P[rows])


def test_what_is_named(data):
    X, P, y, users = data
    named = y != "ok"
    records = cross_validate_gestures(Means(), *data, cv=2, named=named, n_neighbors=3)
    assert all("ok" not in record["classes"] for record in records)
    assert len(np.concatenate([seen for seen, _ in Means.fits])) == len(y)


def test_a_pipeline_and_several_by_name(data):
    pipe = make_pipeline(FunctionTransformer(lambda X: 2 * X), Means(scale=0.5))
    records = cross_validate_gestures(
        {"plain": Means(), "piped": pipe}, *data, cv=2, n_neighbors=3
    )
    found = {(r["method"], r["protocol"]): r["per_user"] for r in records}
    assert len(found) == 4
    assert not hasattr(pipe[-1], "mean_")
    one = cross_validate_gestures(pipe, *data, cv=2, n_neighbors=3)
    assert [r["method"] for r in one] == ["Means", "Means"]
    for record in one:
        assert found["piped", record["protocol"]] == record["per_user"]


def test_records_say_which_fits_they_are_of(data):
    X, P, y, users = data
    mae = MAE(4, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, max_epochs=1)
    mae.set_params(random_state=0, device="cpu", precision="float32")
    records = cross_validate_gestures({"mae": mae}, *data, cv=2)
    digests = [
        clone(mae).fit(X[~np.isin(users, held_out)]).fit_identity_.digest
        for held_out in fold_users(users, 2)
    ]
    assert [record["fits"] for record in records] == [[{"mae": d} for d in digests]]
    fitted = clone(mae).fit(X[users < 3])
    train, test = ((X[rows], y[rows], users[rows]) for rows in (users < 3, users > 2))
    for encoder in (fitted, FrozenEstimator(fitted), fitted.transform):
        record = linear_probe(encoder, train, test)
        assert record["fits"] == {"MAE": fitted.fit_identity_.digest}


def test_methods_of_ones_own(data):
    X, P, y, users = data
    windows = GestureWindows(X, P, y, users)
    seen = windows.select(~np.isin(y, ["ok", "shaka"]))
    fold = split_gestures(seen, windows, [1, 4], ["ok", "shaka"])
    said = []
    fitted = fit_estimators(
        {"first": Means(), "second": lambda w, fitted: (len(w), fitted["first"])},
        fold.pretrain,
        say=said.append,
    )
    assert said == ["first", "second"]
    assert fitted["second"] == (4 * 2 * N_EACH, fitted["first"])
    methods = {"poses": Method(probe=lambda f, w: f["first"].transform_pose(w.P))}
    records = evaluate_methods(fold, fitted, methods)
    assert [(r["method"], r["gestures"]) for r in records] == [
        ("poses", "in_distribution"),
        ("poses", "unseen"),
    ]


def test_what_is_fitted_already_is_refused(data):
    X, P, _, _ = data
    with pytest.raises(ValueError, match="Means is fitted already.*inside each fold"):
        cross_validate_gestures(Means().fit(X, P), *data)


class Alternating:
    """A splitter that pays no attention to groups."""

    def split(self, X, y, groups):
        rows = np.arange(len(X))
        yield rows[::2], rows[1::2]


def test_a_single_unseen_gesture_is_refused(data):
    with pytest.raises(ValueError, match="unseen has one gesture"):
        cross_validate_gestures(Means(), *data, unseen=["ok"])


def test_what_holds_something_fitted_is_refused(data):
    X, P, _, _ = data
    pipe = make_pipeline(FrozenEstimator(Means().fit(X, P)), StandardScaler())
    with pytest.raises(
        ValueError, match="has frozenestimator, which is fitted already"
    ):
        cross_validate_gestures(pipe, *data)


def test_lengths_and_names_are_checked(data):
    X, P, y, users = data
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cross_validate_gestures(Means(), X, P, y[:20], users)
    with pytest.raises(ValueError, match=r"no window is of: \['wave'\]"):
        cross_validate_gestures(Means(), *data, unseen=["ok", "wave"])
    lists = (X.tolist(), P.tolist(), y.tolist(), users.tolist())
    options = dict(cv=np.int64(2), n_neighbors=3)
    plain = cross_validate_gestures(Means(), *data, **options)
    for record, other in zip(
        cross_validate_gestures(Means(), *lists, **options), plain, strict=True
    ):
        assert record["per_user"] == pytest.approx(other["per_user"])


def test_people_in_both_sets_of_a_fold_are_refused(data):
    with pytest.raises(ValueError, match=r"cv puts windows of \[.*GroupKFold"):
        cross_validate_gestures(Means(), *data, cv=Alternating())
