"""Windows of EMG and pose pair recording by recording, or are refused."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_cpep import InstanceNorm, Windower, make_windows
from sk_cpep.encoders import PoseT

# EMG at 200 Hz, pose at 50; windows of 20 and 5 samples.
EMG, POSE = Windower(20), Windower(5)


@pytest.fixture
def small_poset():
    """Make a small PoseT: ``small_poset(**parameters)``."""
    options = dict(d_model=8, n_layers=1, n_heads=2, max_epochs=1, batch_size=8)
    on_cpu = dict(device="cpu", precision="float32", random_state=0)
    return lambda **parameters: PoseT(10, **options | on_cpu | parameters)


@pytest.fixture
def small_cpep(small_cpep, small_mae):
    """Make a small CPEP for poses of five samples."""
    return lambda **parameters: small_cpep(pose_encoder=small_mae(2), **parameters)


@pytest.fixture(params=["CPEP", "PoseT"])
def model(request, small_cpep, small_poset):
    """Make one of the estimators that take pairs."""
    return small_cpep if request.param == "CPEP" else small_poset


def waves(*lengths, n_channels=4):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n_channels, n)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize(
    "emg, pose",
    [
        ((60, 80), (15, 20)),
        ((67, 95), (16, 23)),  # no end of a window
        ((60, 80), (17, 22)),  # two samples longer
        ((60,), (15,)),
        ((60, 60), (15, 15)),
    ],
)
def test_pairs_are_those_of_make_windows(model, emg, pose):
    X, P = waves(*emg), waves(*pose, n_channels=3)
    Xw, Pw = make_windows(X, P, size=20, rates=[200, 50])
    pipe = make_pipeline(EMG, model(pose_transformer=POSE)).fit(X, P)
    by_hand = model().fit(Xw, Pw)
    assert_array_equal(pipe.transform(X), by_hand.transform(Xw))
    assert pipe.score(X, P) == by_hand.score(Xw, Pw)


@pytest.mark.parametrize("kind", [tuple, "objects", "array"])
def test_recordings_of_every_kind(small_cpep, kind):
    X, P = waves(60, 60), waves(15, 15, n_channels=3)
    expected = make_pipeline(EMG, small_cpep(pose_transformer=POSE)).fit(X, P)

    def of_kind(recordings):
        if kind != "objects":
            return np.array(recordings) if kind == "array" else kind(recordings)
        objects = np.empty(len(recordings), dtype=object)
        objects[:] = recordings
        return objects

    pipe = make_pipeline(EMG, small_cpep(pose_transformer=POSE))
    pipe.fit(of_kind(X), of_kind(P))
    assert_array_equal(pipe.transform(X), expected.transform(X))


SHORT = "ignore:1 of 3 recordings are too short"


@pytest.mark.filterwarnings(SHORT)
@pytest.mark.parametrize(
    "emg, pose, message",
    [
        # as many in all
        (
            (60, 39),
            (14, 10),
            "Recording 0 does not pair: 60 .* 3 windows .* 14 of pose 2",
        ),
        (
            (40, 60, 40),
            (15, 10, 10),
            "Recording 0 does not pair: 40 .* 2 windows .* 15 of pose 3",
        ),
        (
            (60, 60, 19),
            (15, 10, 5),
            "Recording 1 does not pair: 60 .* 3 windows .* 10 of pose 2",
        ),
        ((80, 20, 20), (20, 10), "windows of 3 recordings of EMG and 2 of pose"),
        ((80,), (10, 10), "windows of 1 recordings of EMG and 2 of pose"),
        # as many in each, which drift apart or are of others
        ((60, 79), (19, 15), "Recording 0 .* expected as many, of 15 samples of pose"),
        ((60, 79), (15, 17), "Recording 1 .* and 17 of pose 3 .* 19.75 samples"),
        # not as many in all
        ((60, 60), (15, 14), "Recording 1 does not pair: 60 samples of EMG"),
        ((60, 60), (15,), "must pair row by row, got 6 EMG windows and 3 pose"),
    ],
)
def test_other_recordings_are_refused(model, emg, pose, message):
    X, P = waves(*emg), waves(*pose, n_channels=3)
    with pytest.raises(ValueError, match=message):
        make_pipeline(EMG, model(pose_transformer=POSE)).fit(X, P)
    fitted = make_pipeline(EMG, model(pose_transformer=POSE))
    fitted.fit(waves(60), waves(15, n_channels=3))
    with pytest.raises(ValueError, match=message):
        fitted.score(X, P)


@pytest.mark.parametrize(
    "emg, pose",
    [
        (Windower(20), Windower(4)),
        (Windower(20, stride=10), Windower(5, stride=3)),
        (Windower(20, stride=10), Windower(5)),
        (Windower(40, stride=20), Windower(5)),
        (Windower(20), Windower(15, stride=5)),
    ],
)
def test_windowers_that_do_not_correspond(model, emg, pose):
    X, P = waves(400, 300), waves(100, 75, n_channels=3)
    n = emg.fit(X).transform(X).shape[0], pose.fit(P).transform(P).shape[0]
    pipe = make_pipeline(emg, model(pose_transformer=pose))
    with pytest.raises(ValueError, match="does not pair|not of the same moments"):
        pipe.fit(X, P)
    assert n[0] > 10 and n[1] > 10


def test_overlapping_windows(small_cpep):
    X, P = waves(67, 95), waves(16, 23, n_channels=3)
    Xw, Pw = make_windows(X, P, size=24, stride=8, rates=[200, 50])
    emg, pose = Windower(24, stride=8), Windower(6, stride=2)
    pipe = make_pipeline(emg, small_cpep(pose_transformer=pose)).fit(X, P)
    assert_array_equal(pipe.transform(X), small_cpep().fit(Xw, Pw).transform(Xw))


def test_steps_around_the_windowers(small_cpep):
    X, P = waves(60, 80), waves(15, 20, n_channels=3)
    before = FunctionTransformer(lambda recordings: [2 * x for x in recordings])
    after = FunctionTransformer(lambda X: np.abs(X[:, :3]) - X.mean(axis=-1).mean())
    pipe = make_pipeline(
        before,
        EMG,
        InstanceNorm("window"),
        after,
        small_cpep(pose_transformer=make_pipeline(InstanceNorm(), POSE, after)),
    )
    assert pipe.fit(X, P).transform(X).shape == (7, 8)
    with pytest.raises(ValueError, match="Recording 1 does not pair"):
        pipe.fit(X, [P[0], P[1][:, :19]])
    with pytest.raises(ValueError, match="Recording 0 does not pair"):
        pipe.fit(X, P[::-1])


def foreign():
    return FunctionTransformer(lambda X: np.array(X))


@pytest.mark.parametrize(
    "before, transformer, unknown",
    [
        (make_pipeline(EMG, foreign()), POSE, "EMG"),
        (EMG, make_pipeline(POSE, foreign()), "pose"),
        (make_pipeline(EMG, foreign()), make_pipeline(POSE, foreign()), "EMG"),
    ],
)
def test_what_cannot_be_told_is_said(model, before, transformer, unknown):
    pipe = make_pipeline(before, model(pose_transformer=transformer))
    X, P = waves(60, 40), waves(10, 15, n_channels=3)  # 3 + 2 and 2 + 3
    warning = f"of the {unknown} windows it is lost which recording"
    with pytest.warns(UserWarning, match=warning):
        pipe.fit(X, P)
    with pytest.warns(UserWarning, match=warning):
        pipe.score(X, P)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.fit(X[:1], P[1:])  # one of each can only pair


def test_windows_and_recordings(small_cpep):
    X, P = waves(60, 40), waves(15, 10, n_channels=3)
    Xw, Pw = make_windows(X, P, size=20, rates=[200, 50])
    with pytest.warns(UserWarning, match="of the EMG windows it is lost"):
        small_cpep(pose_transformer=POSE).fit(Xw, P)
    with pytest.warns(UserWarning, match="of the pose windows it is lost"):
        make_pipeline(EMG, small_cpep()).fit(X, Pw)
    # A window of each recording, and windows that were cut by make_windows.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_pipeline(EMG, small_cpep()).fit(Xw, Pw)
        small_cpep(pose_transformer=FunctionTransformer(lambda P: 2 * P)).fit(Xw, Pw)
        make_pipeline(EMG, small_cpep(pose_transformer=POSE)).fit(Xw, list(Pw))


def test_folds_over_recordings_that_do_not_pair(small_poset):
    X = waves(60, 60, 60, 60)
    P = waves(15, 15, 14, 16, n_channels=3)
    pipe = make_pipeline(EMG, small_poset(pose_transformer=POSE))
    with pytest.raises(ValueError, match="Recording 2 does not pair|Recording 0 does"):
        cross_validate(pipe, X, P, cv=2, error_score="raise")
    P[2] = waves(15, n_channels=3)[0]
    assert len(cross_validate(pipe, X, P, cv=2, error_score="raise")["test_score"]) == 2
