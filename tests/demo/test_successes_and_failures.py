"""A query named rightly and one that is not, drawn as hands."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.demo._config import SIMULATED
from sk_cpep.demo._report import (
    draw_successes_and_failures,
    poses_as_recorded,
    typical_queries,
)
from sk_cpep.evaluation import GestureWindows, cut_gesture_windows, split_gestures
from sk_cpep.zero_shot import ZeroShotClassifier

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


class Votes:
    """Stands for a classifier: shares of the votes are the windows themselves."""

    classes_ = np.array(["fist", "ok", "point"])

    def predict_proba(self, X):
        return np.asarray(X)


class Means:
    """Embeds windows of EMG and pose alike: three means of theirs."""

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        return np.asarray(X)[:, :3].mean(axis=2)

    transform_pose = transform


@pytest.fixture(scope="module")
def recordings():
    return make_gesture_recordings(
        3,
        gestures=["fist", "open", "peace", "shaka"],
        n_repetitions=2,
        sfreq=100.0,
        pose_sfreq=50.0,
        random_state=0,
    )


@pytest.fixture(scope="module")
def data(recordings):
    unseen = ("peace", "shaka")
    windows = cut_gesture_windows(recordings, window=0.8, unseen=unseen)
    return split_gestures(*windows, [2], unseen)


@pytest.fixture
def result(data):
    galleries = {
        name: ZeroShotClassifier(Means(), 6).fit(train.P, train.y)
        for name, train in data.train.items()
    }
    return SimpleNamespace(zero_shot=galleries)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def votes_of(*rows):
    """Windows of (true name, shares of the votes)."""
    y, shares = zip(*rows)
    return GestureWindows(np.array(shares), None, np.array(y), np.zeros(len(y)))


def test_the_query_of_median_confidence():
    windows = votes_of(
        ("ok", (0.0, 1.0, 0.0)),
        ("fist", (0.5, 0.3, 0.2)),
        ("fist", (0.0, 0.9, 0.1)),
        ("fist", (0.7, 0.2, 0.1)),
        ("point", (0.2, 0.4, 0.4 - 1e-16)),
        ("fist", (0.2, 0.2, 0.6)),
    )
    # right: 1.0, .5, .7; wrong: .9, .4, .6
    assert typical_queries(Votes(), windows) == {"right": 3, "wrong": 5}
    # the lower of two middle ones: .5 and .7
    assert typical_queries(Votes(), windows.select([1, 3]))["right"] == 0
    # the earlier of equals
    equals = windows.select([3, 0, 1, 1, 1, 0])
    assert typical_queries(Votes(), equals)["right"] == 4


def test_no_query_of_a_kind():
    windows = votes_of(("ok", (0, 1, 0)), ("fist", (1, 0, 0)))
    assert typical_queries(Votes(), windows) == {"right": 0, "wrong": None}
    wrong = votes_of(("ok", (1, 0, 0)))
    assert typical_queries(Votes(), wrong) == {"right": None, "wrong": 0}


def test_poses_are_drawn_in_radians(data, recordings):
    test = data.test["unseen"]
    poses = poses_as_recorded(test, recordings)
    assert poses.shape == test.P.shape
    starts = test.windows["start"]
    assert np.any(starts % 4 == 1) and np.any(starts % 4 == 3)  # between two samples
    for pose, scaled, recording in zip(
        poses, test.P, test.windows["recording"], strict=True
    ):
        whole = recordings.pose[recording]
        mean, sd = (f(whole, axis=1, keepdims=True) for f in (np.mean, np.std))
        assert_allclose((pose - mean) / sd, scaled, atol=1e-4)


def test_poses_of_a_glove_stay_standardised(data, recordings):
    counts = SimpleNamespace(**recordings | {"units": {"pose": "uncalibrated counts"}})
    test = data.test["unseen"]
    assert_array_equal(poses_as_recorded(test, counts), test.P)


def titles(subfigure):
    return [ax.get_title() for ax in subfigure.axes]


def test_a_success_and_a_failure(data, recordings, result):
    test, classifier = data.test["unseen"], result.zero_shot["unseen"]
    predicted = classifier.predict(test.X)
    assert 0 < np.sum(predicted == test.y) < len(test)  # both kinds exist
    figure = draw_successes_and_failures(data, result, recordings)
    success, failure = figure.subfigs
    queries = typical_queries(classifier, test)
    for row, verdict in ((success, "Right"), (failure, "Wrong")):
        i = queries[verdict.lower()]
        assert (predicted[i] == test.y[i]) == (verdict == "Right")
        index = classifier.kneighbors(test.X[i : i + 1], 5, return_distance=False)[0]
        found = data.train["unseen"].y[index]
        shown = titles(row)
        assert shown[:5] == [
            title for title in shown if title.split("\n")[0] in found and "sim" in title
        ]
        assert [title.split("\n")[0] for title in shown[:5]] == found.tolist()
        for title, name in zip(shown[:5], found, strict=False):
            assert ("right" in title, "wrong" in title) == (
                name == test.y[i],
                name != test.y[i],
            )
        assert f"{verdict}: EMG of {test.y[i]}\nread as {predicted[i]}" in shown
        assert f"true pose\n{test.y[i]}" in shown
        hands = [ax for ax in row.axes if len(ax.lines) == 6]
        assert len(hands) == 6
    figure.canvas.draw()


def test_a_kind_that_does_not_exist_is_noted(data, recordings, result):
    test = data.test["unseen"]
    right = result.zero_shot["unseen"].predict(test.X) == test.y
    for kept, note in ((right, "wrongly"), (~right, "rightly")):
        some = SimpleNamespace(
            train=data.train, test={"unseen": test.select(np.flatnonzero(kept))}
        )
        figure = draw_successes_and_failures(some, result, recordings)
        rows = sorted(figure.subfigs, key=lambda row: len(row.axes))
        assert [len(row.axes) for row in rows] == [0, 7]
        (text,) = rows[0].texts
        assert text.get_text() == f"No unseen gesture was named {note}."


def test_the_demo_draws_seen_gestures_too(data, recordings, result):
    figure = draw_successes_and_failures(
        data, result, recordings, "in_distribution", n_neighbors=3
    )
    names = {"fist", "open"}
    for row in figure.subfigs:
        shown = [title.split("\n")[0] for title in titles(row) if "similarity" in title]
        assert len(shown) == 3 and set(shown) <= names
    assert SIMULATED.n_neighbors == 10  # more vote than are shown
