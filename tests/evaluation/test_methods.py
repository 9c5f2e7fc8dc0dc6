"""Cross-validation over people: what is fitted to whom, and what comes of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted

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
from sk_cpep.evaluation._label_efficiency import draw_people

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


# Few labels, one gallery of all gestures, other galleries, supervised classifiers


NEW = ["ok", "shaka"]
MEANS = Method(
    probe=lambda f, w: w.X.mean(axis=2),
    query=lambda f, w: w.X.mean(axis=2),
    gallery=lambda f, w: w.P.mean(axis=2),
)


@pytest.fixture
def fold(data):
    windows = GestureWindows(*data)
    seen = windows.select(~np.isin(windows.y, NEW))
    return split_gestures(seen, windows, [1, 4], NEW)


def averages(part):
    """Means over time of EMG and of pose, gestures and people, in float64."""
    return part.X.mean(axis=2), part.P.mean(axis=2), part.y, part.users


def recalls_of(y, y_pred, users):
    return {
        str(user): recall_score(
            y[users == user],
            y_pred[users == user],
            labels=np.unique(y[users == user]),
            average="macro",
        )
        for user in np.unique(users)
    }


def records_at(records, **wanted):
    return [r for r in records if all(r[k] == v for k, v in wanted.items())]


def test_probes_on_few_labels(fold):
    other = Method(probe=lambda f, w: w.P.mean(axis=2))
    options = {"C": 0.2, "n_draws": 3, "random_state": 4}
    records = evaluate_methods(
        fold, {}, {"a": MEANS, "b": other}, n_people=(1, 3, 4, 5, "all"), **options
    )
    found = [
        (r["gestures"], r["method"], r["protocol"], r["n_people"]) for r in records
    ]
    assert found == [
        (gestures, method, protocol, n)
        for gestures in ("in_distribution", "unseen")
        for method in "ab"
        for protocol, numbers in (
            ("linear_probe", (1, 3, 4, "all")),
            ("zero_shot", (0,) if method == "a" else ()),
        )
        for n in numbers
    ]
    for gestures in ("in_distribution", "unseen"):
        Z, V, y, users = averages(fold.train[gestures])
        Z_test, V_test, y_test, users_test = averages(fold.test[gestures])
        for n in (1, 3, "all"):
            people = [np.unique(users)]
            if n != "all":
                people = draw_people(users, [n], 3, 4)[n]
            for method, part, test in (("a", Z, Z_test), ("b", V, V_test)):
                each = []
                for some in people:
                    rows = np.isin(users, some)
                    probe = make_pipeline(
                        StandardScaler(), LogisticRegression(C=0.2, max_iter=2000)
                    )
                    probe.fit(part[rows].astype(float), y[rows])
                    y_pred = probe.predict(test.astype(float))
                    each.append(recalls_of(y_test, y_pred, users_test))
                (record,) = records_at(
                    records,
                    method=method,
                    gestures=gestures,
                    n_people=n,
                    protocol="linear_probe",
                )
                for user, accuracy in record["per_user"].items():
                    assert_allclose(accuracy, np.mean([draw[user] for draw in each]))
                assert record["n_labelled"] == len(people[0])


def test_classifiers_are_chosen_for_each_method(fold):
    class Constant(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    nonsense = Method(probe=lambda f, w: np.zeros((len(w), 2)))
    candidates = {"constant": Constant(), "nearest": KNeighborsClassifier(3)}
    records = evaluate_methods(
        fold,
        {},
        {"a": MEANS, "b": nonsense},
        n_people=(2, "all"),
        classifiers=candidates,
    )
    for method, name in (("a", "nearest"), ("b", "constant")):
        for record in records_at(records, method=method, protocol="linear_probe"):
            assert record["settings"] == {"classifier": name}


def test_one_gallery_of_all_gestures(fold):
    records = evaluate_methods(
        fold, {}, {"a": MEANS}, n_neighbors=3, seen_penalties=(0.0, 0.2)
    )
    _, V, y, _ = map(np.concatenate, zip(*map(averages, fold.train.values())))
    V = V / np.linalg.norm(V, axis=1, keepdims=True)
    for penalty in (0.0, 0.2):
        parts = {}
        for gestures, part in fold.test.items():
            Z, _, y_test, users = averages(part)
            near = Z / np.linalg.norm(Z, axis=1, keepdims=True) @ V.T
            near = near - penalty * ~np.isin(y, NEW)
            (record,) = [
                r
                for r in records_at(
                    records, protocol="generalised_zero_shot", gestures=gestures
                )
                if r["settings"]["seen_penalty"] == penalty
            ]
            order = np.argsort(-near, axis=1)[:, :3]
            for votes, named in zip(y[order], record["predictions"], strict=True):
                count = (votes == named).sum()
                assert count == max((votes == name).sum() for name in votes)
            parts[gestures] = recalls_of(y_test, np.array(record["predictions"]), users)
            assert record["per_user"] == pytest.approx(parts[gestures])
            assert record["n_classes"] == 4
        (both,) = [
            r
            for r in records_at(
                records, protocol="generalised_zero_shot", gestures="harmonic_mean"
            )
            if r["settings"]["seen_penalty"] == penalty
        ]
        a, b = (np.mean(list(people.values())) for people in parts.values())
        assert both["mean"] == pytest.approx(2 * a * b / (a + b))


def test_other_galleries(fold):
    """Queries are looked up among the windows that are given, none of theirs."""
    few = {name: part.select(part.users == 0) for name, part in fold.train.items()}
    records = evaluate_methods(fold, {}, {"a": MEANS}, n_neighbors=1, galleries=few)
    for gestures, part in fold.test.items():
        _, V, y, _ = averages(few[gestures])
        Z, _, y_test, users = averages(part)
        nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
        y_pred = nearest.fit(V, y).predict(Z)
        (record,) = records_at(records, protocol="zero_shot", gestures=gestures)
        assert record["predictions"] == y_pred.tolist()
        assert record["per_user"] == pytest.approx(recalls_of(y_test, y_pred, users))
        assert record["n_train"] == len(y)
        (probe,) = records_at(records, protocol="linear_probe", gestures=gestures)
        assert probe["n_train"] == len(fold.train[gestures])
    with pytest.raises(ValueError, match=r"share 2 user\(s\): 1, 4"):
        evaluate_methods(fold, {}, {"a": MEANS}, galleries=fold.test)


def test_supervised_among_methods(fold):
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    unfitted = make_pipeline(flat, KNeighborsClassifier(3))
    methods = {"net": Method(classifier=unfitted), "a": MEANS}
    records = evaluate_methods(fold, {}, methods, n_people=(1, "all"))
    for gestures, part in fold.train.items():
        test = fold.test[gestures]
        nearest = KNeighborsClassifier(3).fit(part.X.reshape(len(part), -1), part.y)
        (record,) = records_at(records, method="net", gestures=gestures)
        y_pred = nearest.predict(test.X.reshape(len(test), -1))
        assert record["predictions"] == y_pred.tolist()
        assert record["protocol"] == "supervised"
        assert (record["n_people"], record["n_labelled"]) == ("all", 4)
    with pytest.raises(NotFittedError):
        check_is_fitted(unfitted[-1])


def test_over_folds_by_number_of_people(data):
    X, P, y, users = data
    options = {"C": 0.5, "n_neighbors": 3, "n_draws": 2, "unseen": NEW}
    records = cross_validate_gestures(
        Means(), *data, cv=3, n_people=(1, 4, 5, "all"), seen_penalties=[0.1], **options
    )
    found = {(r["protocol"], r["n_people"]) for r in records}
    assert found == {
        *(("linear_probe", n) for n in (1, 4, "all")),
        ("zero_shot", 0),
        ("generalised_zero_shot", 0),
    }
    for record in records:
        assert sorted(record["per_user"]) == list("012345")
    folds = [[0, 3], [1, 4], [2, 5]]
    for gestures, rows in (
        ("in_distribution", ~np.isin(y, NEW)),
        ("unseen", np.isin(y, NEW)),
    ):
        (record,) = records_at(
            records, protocol="linear_probe", gestures=gestures, n_people=1
        )
        Z = X.mean(axis=2).astype(float)
        for held_out in folds:
            train = rows & ~np.isin(users, held_out)
            each = []
            for (one,) in draw_people(users[train], [1], 2, 0)[1]:
                mine = train & (users == one)
                probe = make_pipeline(
                    StandardScaler(), LogisticRegression(C=0.5, max_iter=2000)
                )
                test = rows & np.isin(users, held_out)
                y_pred = probe.fit(Z[mine], y[mine]).predict(Z[test])
                each.append(recalls_of(y[test], y_pred, users[test]))
            for user in map(str, held_out):
                expected = np.mean([draw[user] for draw in each])
                assert_allclose(record["per_user"][user], expected)


def test_numbers_that_people_with_windows_to_name_allow(data):
    """Who has nothing to name cannot be drawn, in any set of gestures."""
    *_, y, users = data
    named = (users != 5) & ~((users == 2) & np.isin(y, NEW))
    records = cross_validate_gestures(
        Means(),
        *data,
        cv=[[0], [1]],
        named=named,
        unseen=NEW,
        n_people=(3, 4, 5),
        C=1.0,
        n_neighbors=3,
    )
    probes = records_at(records, protocol="linear_probe")
    assert [(r["gestures"], r["n_people"]) for r in probes] == [
        ("in_distribution", 3),
        ("unseen", 3),
    ]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"C": -1.0}, "C must be 'auto' or a number above 0"),
        ({"n_people": (1, 0)}, "n_people must be ints from 1 on, or 'all'; got 0"),
        ({"seen_penalties": [0.1]}, "seen_penalties need .* none of unseen"),
    ],
)
def test_wrong_options_are_refused_before_any_fit(data, options, message):
    with pytest.raises(ValueError, match=message):
        cross_validate_gestures(Means(), *data, cv=2, **options)
    assert not Means.fits


def test_one_gallery_needs_both_kinds(data):
    windows = GestureWindows(*data)
    plain = split_gestures(windows, windows, [1, 4])
    with pytest.raises(ValueError, match="seen_penalties need .* none of unseen"):
        evaluate_methods(plain, {}, {"a": MEANS}, seen_penalties=[0.0])
