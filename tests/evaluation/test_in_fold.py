"""Protocols that fit inside each fold: to whom, to what, and what comes of it."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import Bunch

from sk_cpep import CPEP, MAE, BandpassNotch, Windower, make_windows
from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.evaluation import (
    GestureWindows,
    cross_validate_gestures,
    fold_users,
    generalised_zero_shot,
    label_efficiency,
    linear_probe,
    merge_records,
    zero_shot,
)
from sk_cpep.evaluation._in_fold import folds_of, is_fitted
from sk_cpep.evaluation._named_recordings import Cutting, find_stretches

GESTURES = np.array(["fist", "ok", "point", "shaka"])
UNSEEN = ["ok", "shaka"]
NAMES = np.array(["rest", *GESTURES])
N_USERS, N_EACH = 6, 5
SIZE, POSE_SIZE = 40, 8  # the pose has a fifth of the rate
PROTOCOLS = [linear_probe, zero_shot]
OPTIONS = {linear_probe: {"C": 0.5}, zero_shot: {"n_neighbors": 3}}

# One penalty, as a choice among several takes its time.
probe = partial(linear_probe, C=0.5)


class Means(TransformerMixin, BaseEstimator):
    """Embeds windows by means over time, less those of what it was fitted to."""

    fits = []  # noqa: RUF012

    def __init__(self, pose_transformer=None):
        self.pose_transformer = pose_transformer

    def fit(self, X, y):
        self.pose_transformer_ = None
        if self.pose_transformer is not None:
            self.pose_transformer_ = clone(self.pose_transformer).fit(y)
        P = self._cut(y)
        assert len(P) == len(X)
        self.mean_ = np.asarray(X).mean(axis=(0, 2))
        self.pose_mean_ = P.mean(axis=(0, 2))
        self.fits.append((X, P))
        return self

    def _cut(self, P):
        transformer = self.pose_transformer_
        return np.asarray(P if transformer is None else transformer.transform(P))

    def transform(self, X):
        return np.asarray(X).mean(axis=2) - self.mean_

    def transform_pose(self, P):
        return self._cut(P).mean(axis=2) - self.pose_mean_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class Spy(TransformerMixin, BaseEstimator):
    """Leaves recordings as they are, and remembers those it was fitted to."""

    fits = []  # noqa: RUF012

    def fit(self, X, y=None):
        self.fits.append((X, y))
        self.n_fits_ = len(self.fits)
        return self

    def transform(self, X):
        return X


@pytest.fixture(autouse=True)
def forget():
    Means.fits.clear()
    Spy.fits.clear()


def windows(seed=0):
    """Windows of all gestures, as many of each person."""
    rng = np.random.default_rng(seed)
    code = np.tile(np.repeat(np.arange(4), N_EACH), N_USERS)
    users = np.repeat(np.arange(N_USERS), 4 * N_EACH)
    centres = rng.normal(size=(4, 3, 1))
    X, P = (centres[code] + 0.7 * rng.normal(size=(len(code), 3, n)) for n in (8, 6))
    return X, P, GESTURES[code], users


def recordings(seed=0):
    """Two unequal recordings of each person: EMG, pose, codes of samples, people.

    Channel 0 of both tells the person, channel 1 the gesture of the very sample.
    """
    rng = np.random.default_rng(seed)
    emg, pose, labels, people = [], [], [], []
    for user in np.repeat(np.arange(N_USERS), 2):
        order = rng.permutation(np.repeat(np.arange(1, 5), 2))
        pieces = [np.repeat([0, code], rng.integers([23, 83], 157)) for code in order]
        y = np.concatenate([*pieces, np.zeros(31, int)])
        y = np.append(y, np.zeros(-len(y) % 5, int))
        moved = rng.normal(size=(5, 2, 1))[y][..., 0].T
        emg.append(
            np.vstack([np.full(len(y), user), y, moved + rng.normal(size=moved.shape)])
        )
        pose.append(np.vstack([np.full(len(y), user), y, moved])[:, ::5])
        labels.append(y)
        people.append(f"person {user}")
    return emg, pose, labels, people


def bunch():
    emg, pose, labels, users = recordings()
    return Bunch(
        emg=emg, pose=pose, labels=labels, users=users, gesture_names=NAMES.tolist(),
        sfreq=500.0, pose_sfreq=100.0,
    )  # fmt: skip


def pipeline(*before, stride=20):
    means = Means(Windower(POSE_SIZE, stride // 5))
    return make_pipeline(*before, Windower(SIZE, stride), means)


def by_hand(protocol, data, held_out, unseen=(), **options):
    """The records of a fold: fit, embed, name, in distribution and unseen."""
    X, P, y, users = data
    tested = np.isin(users, held_out)
    new = np.isin(y, unseen)
    means = Means().fit(X[~tested & ~new], P[~tested & ~new])
    Z, V = means.transform(X), means.transform_pose(P)
    records = []
    for gestures, rows in (("in_distribution", ~new), ("unseen", new)):
        if not rows.any():
            continue
        train, test = ~tested & rows, tested & rows
        learned = (V if protocol is zero_shot else Z)[train]
        record = protocol(
            None,
            (learned, y[train], users[train]),
            (Z[test], y[test], users[test]),
            method="Means",
            gestures=gestures,
            **options,
        )
        records.append(record)
    return records


def assert_same(record, expected):
    assert record.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(record[key], value)
        elif isinstance(value, float):
            assert_allclose(record[key], value, rtol=1e-12)
        else:
            assert record[key] == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("unseen", [(), UNSEEN, {"ok", "shaka"}])
@pytest.mark.parametrize("cv", [3, [[0, 5], [1, 2], [3, 4]], GroupKFold(2)])
def test_windows_are_what_one_does_by_hand(protocol, cv, unseen):
    data = windows()
    X, P, y, users = data
    if cv == 3:
        folds = [[0, 3], [1, 4], [2, 5]]
    elif isinstance(cv, list):
        folds = cv
    else:
        folds = [np.unique(users[test]) for _, test in cv.split(X, y, users)]
    options = OPTIONS[protocol]
    found = protocol(Means(), data, cv=cv, unseen=unseen, **options)
    runs = [by_hand(protocol, data, out, list(unseen), **options) for out in folds]
    expected = merge_records(runs)
    if not unseen:
        assert isinstance(found, dict)
        found = [found]
    assert len(found) == len(expected) == (2 if unseen else 1)
    for record, other in zip(found, expected):
        assert_same(record, other)


def test_kinds_of_data_are_one():
    X, P, y, users = windows()
    expected = probe(Means(), (X, P, y, users), cv=2)
    assert probe(Means(), GestureWindows(X, P, y, users), cv=2) == expected
    lists = (X.tolist(), P.tolist(), y.tolist(), users.tolist())
    assert_same(probe(Means(), lists, cv=2), expected)
    few = linear_probe(FunctionTransformer(_flat), (X, y, users), cv=2, C=1.0)
    more = linear_probe(FunctionTransformer(_flat), (X, P, y, users), cv=2, C=1.0)
    assert few == more


def _flat(X):
    return np.reshape(X, (len(X), -1))


def test_as_cross_validate_gestures():
    data = windows()
    records = cross_validate_gestures(
        Means(), *data, cv=3, unseen=UNSEEN, C=0.5, n_neighbors=3
    )
    for protocol in PROTOCOLS:
        found = protocol(Means(), data, cv=3, unseen=UNSEEN, **OPTIONS[protocol])
        same = [r for r in records if r["protocol"] == protocol.__name__]
        assert found == same


@pytest.mark.parametrize("unseen", [(), UNSEEN])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_held_out_and_no_unseen_sample_is_fitted_to(protocol, unseen):
    data = bunch()
    protocol(pipeline(Spy()), data, cv=3, unseen=unseen, **OPTIONS[protocol])
    folds = fold_users(data.users, 3)
    assert len(Spy.fits) == len(Means.fits) == 3
    codes = np.flatnonzero(np.isin(NAMES, unseen))
    for (emg, pose), (X, P), held_out in zip(Spy.fits, Means.fits, folds):
        people = {int(name.split()[1]) for name in held_out}
        for signals in (emg, pose, X, P):
            for signal in signals:
                assert not people & set(signal[0])
                assert not np.isin(signal[1], codes).any()
        seen = {user for x in emg for user in x[0]}
        assert seen == set(range(N_USERS)) - people
        everything = {code for x in emg for code in np.unique(x[1])}
        assert everything == set(range(5)) - set(codes)
        assert len(X) == len(P) > 50
        # EMG and pose of the same moments: the pose is every fifth sample of codes.
        assert_array_equal(np.asarray(X)[:, 1, ::5], np.asarray(P)[:, 1])
        for x, p in zip(emg, pose):
            assert len(p[0]) == len(x[0]) // 5 or not unseen


def test_windows_of_unseen_gestures_are_not_fitted_to():
    X, P, y, users = windows()
    probe(Means(), (X, P, y, users), cv=2, unseen=UNSEEN)
    for (seen, poses), held_out in zip(Means.fits, fold_users(users, 2)):
        rows = ~np.isin(y, UNSEEN) & ~np.isin(users, held_out)
        assert_array_equal(seen, X[rows])
        assert_array_equal(poses, P[rows])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recordings_are_windows_that_are_cut_by_hand(protocol):
    emg, pose, labels, users = recordings()
    cut = make_windows(emg, pose, labels, users, size=SIZE, stride=20, purity=0.0)
    data = (emg, pose, labels, users)
    for cv in (3, GroupKFold(2)):
        options = {"cv": cv} | OPTIONS[protocol]
        found = protocol(pipeline(), data, purity=0.0, rest=None, **options)
        expected = protocol(Means(), tuple(cut), **options)
        assert_same(found, expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recordings_are_what_one_does_by_hand(protocol):
    data = bunch()
    options = OPTIONS[protocol]
    found = protocol(pipeline(), data, cv=3, unseen=UNSEEN, purity=0.7, **options)
    codes = np.flatnonzero(np.isin(NAMES, UNSEEN))
    *parts, plan = make_windows(
        data.emg, data.pose, data.labels, data.users,
        size=SIZE, stride=20, purity=0.0, return_provenance=True,
    )  # fmt: skip
    X, P, y, users = parts
    named = (plan["purity"] >= 0.7) & (y > 0)
    new = np.isin(y, codes)
    runs = []
    for held_out in fold_users(data.users, 3):
        emg, pose = [], []
        for i in np.flatnonzero(~np.isin(data.users, held_out)):
            # One sample of the pose after another, while it and its EMG may be seen.
            allowed = ~np.isin(data.labels[i], codes)
            start = 0
            while start < len(allowed):
                if not allowed[start]:
                    start += 1
                    continue
                stop = start
                while stop < len(allowed) and allowed[stop]:
                    stop += 1
                first = start + -start % 5
                if stop - first >= SIZE:
                    emg.append(data.emg[i][:, first:stop])
                    pose.append(
                        data.pose[i][:, first // 5 : first // 5 + (stop - first) // 5]
                    )
                start = stop
        fitted = Means().fit(
            Windower(SIZE, 20).fit_transform(emg),
            Windower(POSE_SIZE, 4).fit_transform(pose),
        )
        Z, V = fitted.transform(X), fitted.transform_pose(P)
        tested = np.isin(users, held_out)
        run = []
        for gestures, rows in (("in_distribution", ~new), ("unseen", new)):
            train, test = named & ~tested & rows, named & tested & rows
            run.append(
                protocol(
                    None,
                    ((V if protocol is zero_shot else Z)[train], NAMES[y[train]],
                     users[train]),
                    (Z[test], NAMES[y[test]], users[test]),
                    method="Means", gestures=gestures, **options,
                )
            )  # fmt: skip
        runs.append(run)
    for record, expected in zip(found, merge_records(runs), strict=True):
        assert_same(record, expected)


def test_recordings_of_whatever_rates_and_lengths_pair():
    rng = np.random.default_rng(1)
    for _ in range(300):
        ratio = Fraction(int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        size, stride = rng.integers(1, 8, size=2) * ratio.denominator
        slack = int(rng.integers(-1, 2))
        pose_cut = int(size * ratio) + max(slack, 1 - int(size * ratio))
        cutting = Cutting((int(size), int(stride)), (pose_cut, int(stride * ratio)))
        n_times = int(rng.integers(1, 400))
        n_pose_times = max(0, int(n_times * ratio) + int(rng.integers(-2, 3)))
        is_unseen = np.zeros(n_times, bool)
        for _ in range(rng.integers(1, 5)):
            start = rng.integers(n_times)
            is_unseen[start : start + rng.integers(1, 60)] = True
        covered = np.zeros(n_times, bool)
        for here, there in find_stretches(is_unseen, n_pose_times, ratio, cutting):
            assert not is_unseen[here].any() and not covered[here].any()
            covered[here] = True
            n_emg, n_pose = here.stop - here.start, there.stop - there.start
            assert 0 <= here.stop <= n_times and there.stop <= n_pose_times
            moments = np.arange(there.start, there.stop) / float(ratio)
            assert not is_unseen[np.floor(moments + 1e-9).astype(int)].any()
            assert 0 <= here.start - there.start / ratio < 1
            counts = [
                1 + (n - length) // step
                for n, (length, step) in zip(
                    (n_emg, n_pose), (cutting.emg, cutting.pose)
                )
            ]
            assert counts[0] == counts[1] >= 1


def test_stretches_by_hand():
    is_unseen = np.zeros(100, bool)
    is_unseen[[*range(33, 41), *range(60, 71)]] = True
    cutting = Cutting((20, 10), (4, 2))
    found = find_stretches(is_unseen, 20, Fraction(1, 5), cutting)
    # 41 to 60 is 19 samples: shorter than a window. 71 is no moment of the pose: 75.
    assert found == [
        (slice(0, 33), slice(0, 6)),
        (slice(75, 100), slice(15, 20)),
    ]
    alone = find_stretches(is_unseen, None, Fraction(1), Cutting((20, 10)))
    assert [here for here, _ in alone] == [slice(0, 33), slice(71, 100)]


def test_recordings_too_short_for_a_window_are_left_out_with_a_warning():
    emg, pose, labels, users = recordings()
    expected = probe(pipeline(), (emg, pose, labels, users), cv=2)
    short = ([*emg, emg[0][:, :30]], [*pose, pose[0][:, :6]])
    data = (*short, [*labels, labels[0][:30]], [*users, users[0]])
    with pytest.warns(UserWarning, match="1 of 13 recordings are too short"):
        record = probe(pipeline(), data, cv=2)
    assert_same(record, expected)


def test_pose_that_ends_a_window_earlier():
    emg, pose, labels, users = recordings()
    emg[0], labels[0] = emg[0][:, :400], labels[0][:400]
    pose[0] = pose[0][:, :79]  # 80 would be the last whole window
    record = zero_shot(pipeline(), (emg, pose, labels, users), cv=2, n_neighbors=3)
    emg[0], labels[0], pose[0] = emg[0][:, :380], labels[0][:380], pose[0][:, :76]
    expected = zero_shot(pipeline(), (emg, pose, labels, users), cv=2, n_neighbors=3)
    assert_same(record, expected)


def test_labels_that_end_two_samples_earlier():
    emg, pose, labels, users = recordings()
    whole = probe(pipeline(), (emg, pose, labels, users), cv=2)
    shorter = [label[:-2] for label in labels]
    record = probe(pipeline(), (emg, pose, shorter, users), cv=2)
    assert record["n_test"] <= whole["n_test"]
    assert record["n_users"] == N_USERS


@pytest.mark.parametrize(
    ("rest", "left_out"), [("auto", {0}), (None, set()), (0, {0}), (3, {3})]
)
def test_rest_is_not_named(rest, left_out):
    emg, pose, codes, users = recordings()
    record = probe(pipeline(), (emg, pose, codes, users), cv=2, rest=rest)
    assert set(record["classes"]) == set(range(5)) - left_out
    names = [NAMES[code] for code in codes]
    rest = NAMES[rest] if isinstance(rest, int) else rest
    record = probe(pipeline(), (emg, pose, names, users), cv=2, rest=rest)
    assert set(record["classes"]) == set(NAMES[list(set(range(5)) - left_out)])


def test_rest_of_windows_is_named_unless_told():
    X, P, y, users = windows()
    y = np.where(y == "ok", "rest", y)
    assert "rest" in probe(Means(), (X, P, y, users), cv=2)["classes"]
    Means.fits.clear()
    record = probe(Means(), (X, P, y, users), cv=2, rest="rest")
    assert record["classes"] == ["fist", "point", "shaka"]
    assert sum(len(seen) for seen, _ in Means.fits) == len(y)


def test_purity_says_which_windows_are_named():
    emg, pose, labels, users = recordings()
    for purity in (0.6, 0.9):
        n = 0
        for label in labels:
            for start in range(0, len(label) - SIZE + 1, 20):
                values, counts = np.unique(
                    label[start : start + SIZE], return_counts=True
                )
                n += counts.max() >= purity * SIZE and values[counts.argmax()] > 0
        record = probe(pipeline(), (emg, pose, labels, users), cv=2, purity=purity)
        assert record["n_test"] == n


def test_what_is_fitted_is_used_as_it_is():
    X, P, y, users = windows()
    others = windows(seed=1)
    fitted = Means().fit(*others[:2])
    Z = fitted.transform(X)
    expected = probe(None, (Z, y, users), cv=3, method="Means")
    Means.fits.clear()
    kinds = (
        fitted,
        FrozenEstimator(fitted),
        make_pipeline(FunctionTransformer(), fitted),
        make_pipeline(FunctionTransformer(), FrozenEstimator(fitted)),
        FrozenEstimator(make_pipeline(fitted)),
    )
    for encoder in kinds:
        assert is_fitted(encoder)
        assert probe(encoder, (X, P, y, users), cv=3) == expected
        found = zero_shot(encoder, (X, P, y, users), cv=3)
        V = fitted.transform_pose(P)
        assert found == zero_shot(None, (Z, V, y, users), cv=3, method="Means")
    assert probe(fitted.transform, (X, y, users), cv=3) == expected
    assert not Means.fits


def test_what_is_frozen_stays_and_the_rest_is_fitted():
    X, P, y, users = windows()
    fitted = Means().fit(*windows(seed=1)[:2])
    Means.fits.clear()
    encoder = make_pipeline(Spy(), FrozenEstimator(fitted), StandardScaler())
    assert not is_fitted(encoder)
    found = linear_probe(encoder, (X, P, y, users), cv=3, C=0.5)
    assert len(Spy.fits) == 3 and not Means.fits
    for (seen, _), held_out in zip(Spy.fits, fold_users(users, 3)):
        assert_array_equal(seen, X[~np.isin(users, held_out)])
    runs = []
    for held_out in fold_users(users, 3):
        test = np.isin(users, held_out)
        Z = fitted.transform(X)
        Z = StandardScaler().fit(Z[~test]).transform(Z)
        sets = ((Z[rows], y[rows], users[rows]) for rows in (~test, test))
        runs.append([linear_probe(None, *sets, C=0.5, method="StandardScaler")])
    assert_same(found, merge_records(runs)[0])


def test_frozen_behind_steps_that_are_not_fitted():
    fitted = Means().fit(*windows(seed=1)[:2])
    encoder = make_pipeline(Spy(), FunctionTransformer(), FrozenEstimator(fitted))
    assert not is_fitted(encoder)
    probe(encoder, windows(), cv=3)
    assert len(Spy.fits) == 3
    assert not hasattr(encoder[0], "n_fits_")
    assert not is_fitted(make_pipeline(Spy(), make_pipeline(FrozenEstimator(fitted))))


def test_a_frozen_pipeline_on_recordings():
    data, others = bunch(), recordings(seed=1)
    fitted = pipeline(Spy()).fit(others[0], others[1])
    Spy.fits.clear()
    for protocol in PROTOCOLS:
        how = dict(cv=3, unseen=UNSEEN, **OPTIONS[protocol])
        found = protocol(FrozenEstimator(fitted), data, **how)
        assert found == protocol(fitted, data, **how)
        assert [record["gestures"] for record in found] == ["in_distribution", "unseen"]
    assert not Spy.fits


def test_the_package_s_own_steps():
    data = make_gesture_recordings(
        4, ["fist", "open", "point", "peace"], n_repetitions=2, sfreq=250,
        pose_sfreq=50, random_state=0,
    )  # fmt: skip
    common = dict(max_epochs=1, random_state=0, device="cpu", precision="float32")
    small = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2) | common
    encoder = make_pipeline(
        BandpassNotch(20, 100, None, sfreq=250),
        make_pipeline(FunctionTransformer(), Windower(125, 50)),
        CPEP(
            MAE(25, **small), MAE(5, **small), pose_transformer=Windower(25, 10),
            **common,
        ),
    )  # fmt: skip
    for protocol in PROTOCOLS:
        records = protocol(
            encoder, data, cv=2, unseen=["open", "peace"], **OPTIONS[protocol]
        )
        assert [r["gestures"] for r in records] == ["in_distribution", "unseen"]
        assert [r["classes"] for r in records] == [["fist", "point"], ["open", "peace"]]
        assert {r["method"] for r in records} == {"CPEP"}
        assert {r["n_users"] for r in records} == {4}
        assert [len(r["fits"]) for r in records] == [2, 2]
        assert len({fit["CPEP"] for fit in records[0]["fits"]}) == 2
    assert not is_fitted(encoder)


def test_other_protocols_take_the_folds():
    data = windows()
    for fold in folds_of(Means(), data, 2, unseen=UNSEEN):
        train, test = fold.train["unseen"], fold.test["unseen"]
        records = label_efficiency(
            {"mine": fold.encoder}, train, test, n_people=[1, "all"], n_neighbors=3
        )
        assert [r["n_people"] for r in records] == [0, 1, "all"]
        gallery, queries = (
            tuple(
                np.concatenate([getattr(part, key) for part in sets.values()])
                for key in (modality, "y", "users")
            )
            for sets, modality in ((fold.train, "P"), (fold.test, "X"))
        )
        seen = np.unique(fold.train["in_distribution"].y)
        records = generalised_zero_shot(fold.encoder, gallery, queries, seen=seen)
        assert {r["method"] for r in records} == {"Means"}
    (fold, _) = folds_of(Means(), data, 2, poses=False)
    assert fold.train["in_distribution"].P is None


class Halve(FunctionTransformer):
    """Every second sample of recordings."""

    def __init__(self):
        super().__init__(_halve)


def _halve(X):
    return [x[:, ::2] for x in X]


def test_folds_are_checked_before_anything_is_fitted():
    data = windows()
    cases = {
        r"cv holds out \[9\], who have no window": [[0, 9], [1, 2]],
        r"cv holds out \[1\] in more than one fold": [[0, 1], [1, 2]],
        "nobody left has a window of in_distribution": 1,
        r"that holds out \[\], nobody held out": [[0], []],
    }
    for message, cv in cases.items():
        with pytest.raises(ValueError, match=message):
            probe(Means(), data, cv=cv)
    with pytest.raises(ValueError, match="C must be"):
        linear_probe(Means(), data, cv=2, C=-1)
    X, P, y, users = data
    mine = users == 0
    few = tuple(part[~mine | ~np.isin(y, UNSEEN)] for part in data)
    with pytest.raises(ValueError, match="nobody held out has a window of unseen"):
        probe(Means(), few, cv=6, unseen=UNSEEN)
    assert not Means.fits


def test_parameters_that_do_not_go_together_are_refused():
    data = windows()
    X, P, y, users = data
    for name in ("test", "train_windows", "test_windows"):
        with pytest.raises(ValueError, match=f"With cv, .* {name} means nothing"):
            probe(Means(), data, cv=2, **{name: (X, y, users)})
    with pytest.raises(ValueError, match="exclude means nothing"):
        zero_shot(Means(), data, cv=2, exclude=(users, users))
    with pytest.raises(ValueError, match="allow_shared_users means nothing"):
        zero_shot(Means(), data, cv=2, allow_shared_users=True)
    for protocol in PROTOCOLS:
        with pytest.raises(ValueError, match="Give `test`.* or cv"):
            protocol(None, (X, y, users))
        with pytest.raises(ValueError, match="need cv"):
            protocol(None, (X, y, users), (X, y, users), unseen=UNSEEN)
        with pytest.raises(ValueError, match="need cv"):
            protocol(None, (X, y, users), (X, y, users), rest=None)
        with pytest.raises(ValueError, match=r"no window is of: \['wave'\]"):
            protocol(Means(), data, cv=2, unseen=["ok", "wave"])
        with pytest.raises(ValueError, match="unseen has one gesture"):
            protocol(Means(), data, cv=2, unseen=["ok"])
        with pytest.raises(ValueError, match="unseen has one gesture"):
            protocol(pipeline(), bunch(), cv=2, unseen=["ok"])
        with pytest.raises(ValueError, match=r"no window is of: \['wave'\]"):
            protocol(pipeline(), bunch(), cv=2, unseen=["ok", "wave"])
    with pytest.raises(ValueError, match="Means learns from poses"):
        probe(Means(), (X, y, users), cv=2)
    with pytest.raises(ValueError, match="purity must be a number from 0 to 1"):
        probe(pipeline(), bunch(), cv=2, purity=60)
    with pytest.raises(ValueError, match="rest='pause', but no sample"):
        probe(pipeline(), bunch(), cv=2, rest="pause")
    with pytest.raises(ValueError, match="rest='pause', but no window"):
        probe(Means(), data, cv=2, rest="pause")
    with pytest.raises(TypeError, match="transform_pose"):
        zero_shot(StandardScaler(), data, cv=2)
    assert not Means.fits


def test_data_that_do_not_go_together_are_refused():
    emg, pose, labels, users = data = recordings()
    with pytest.raises(ValueError, match="a Pipeline with a Windower"):
        probe(Means(), data, cv=2)
    with pytest.raises(ValueError, match="has 2 Windowers"):
        probe(pipeline(Windower(40)), data, cv=2)
    with pytest.raises(ValueError, match="y has one label each"):
        probe(pipeline(), (emg, pose, np.arange(12) % 4, users), cv=2)
    of_windows = np.repeat(users, 5)
    with pytest.raises(ValueError, match="users has 60 entries, but there are 12"):
        probe(pipeline(), (emg, pose, labels, of_windows), cv=2)
    of_samples = [np.full(len(y), i) for i, y in enumerate(labels)]
    with pytest.raises(ValueError, match="users must hold one person for each"):
        probe(pipeline(), (emg, pose, labels, of_samples), cv=2)
    with pytest.raises(ValueError, match="P has 11 entries, but there are 12"):
        probe(pipeline(), (emg, pose[1:], labels, users), cv=2)
    with pytest.raises(ValueError, match="y has .* where X has"):
        shorter = [y[:-9] for y in labels]
        probe(pipeline(), (emg, pose, shorter, users), cv=2)
    with pytest.raises(ValueError, match="P has .* where X has"):
        probe(pipeline(), (emg, [p[:, ::2] for p in pose], labels, users), cv=2)
    with pytest.raises(ValueError, match="labels is missing"):
        probe(pipeline(), Bunch(emg=emg, users=users), cv=2)
    with pytest.raises(ValueError, match="go from 0 to 4, but there are 3"):
        probe(pipeline(), bunch() | {"gesture_names": ["rest", "a", "b"]}, cv=2)
    with pytest.raises(ValueError, match=r"the data are \(X, P, y, users\)"):
        probe(pipeline(), np.zeros((3, 4)), cv=2)
    with pytest.raises(ValueError, match="None of the .* windows is named"):
        silence = [np.zeros(len(y), int) for y in labels]
        probe(pipeline(), (emg, pose, silence, users), cv=2)
    assert not Means.fits
    halved = make_pipeline(
        Halve(), Windower(SIZE, 20), FunctionTransformer(_means), StandardScaler()
    )
    with pytest.raises(ValueError, match="before the Windower changes the number"):
        probe(halved, data, cv=2)


def _means(X):
    return np.asarray(X).mean(axis=2)
