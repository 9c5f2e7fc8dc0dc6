"""What early stopping sets aside: whole people or recordings, where they are known."""

from functools import partial

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from small_estimators import small

from sk_cpep import InstanceNorm, Windower
from sk_cpep.datasets import WindowArray
from sk_cpep.encoders import PoseT, _fit_run
from sk_cpep.encoders._validation_rows import held_out_rows
from sk_cpep.training import TrainingPlan

STOPS = dict(early_stopping=True, validation_fraction=0.3)
MOST = STOPS | {"validation_fraction": 0.9}
RECORDINGS = np.arange(20) // 3  # six of three windows, one of two


@pytest.fixture
def small_poset():
    """Make a small PoseT: ``small_poset(**parameters)``."""
    options = dict(d_model=8, n_layers=1, n_heads=2, max_epochs=1, batch_size=8)
    on_cpu = dict(device="cpu", precision="float32", random_state=0)
    return lambda **parameters: PoseT(5, **options | on_cpu | parameters)


@pytest.fixture(params=["MAE", "CPEP", "EncoderClassifier", "PoseT"])
def fit(request, windows, small_mae, small_cpep, small_poset):
    """Fit one of the estimators on `windows`, or on others, with early stopping."""
    makers = {"MAE": small_mae, "CPEP": small_cpep, "PoseT": small_poset}
    make = makers.get(request.param, partial(small, request.param))

    def run(*data, parameters=STOPS, **options):
        X, P = data or windows[:2]
        others = {"MAE": None, "EncoderClassifier": np.arange(len(P)) % 2}
        y = others.get(request.param, P)
        return make(**parameters).fit(X, y, **options)

    return run


@pytest.fixture
def held_out(monkeypatch):
    """The rows that each training was told to validate on, in order."""
    seen = []

    def spied(train):
        def spy(*args, valid_rows=None, **kwargs):
            seen.append(valid_rows)
            return train(*args, valid_rows=valid_rows, **kwargs)

        return spy

    monkeypatch.setattr(_fit_run, "train", spied(_fit_run.train))
    return seen


def whole(rows, groups):
    """The groups that rows are all of; an error if some are of a part of a group."""
    names = np.unique(groups[rows])
    assert_array_equal(np.flatnonzero(np.isin(groups, names)), rows)
    return set(names)


@pytest.mark.parametrize(
    "groups",
    [RECORDINGS, RECORDINGS.astype(str), RECORDINGS[::-1] + 0.5, RECORDINGS.tolist()],
)
def test_validation_groups_are_set_aside_whole(fit, held_out, groups):
    fit(validation_groups=groups)
    fit(validation_groups=groups)
    first, again = held_out[len(held_out) // 2 - 1], held_out[-1]
    assert_array_equal(first, again)
    assert len(whole(again, np.asarray(groups))) == 2  # of seven: 0.3 * 7 = 2.1


def test_another_seed_sets_others_aside(fit, held_out):
    for seed in range(8):
        fit(parameters=STOPS | {"random_state": seed}, validation_groups=RECORDINGS)
    assert len({tuple(r) for r in held_out if r is not None}) > 3


def test_people_unless_there_are_validation_groups(fit, held_out, windows):
    users = windows[3]
    fit(groups=users)
    assert len(whole(held_out[-1], users)) == 2
    fit(groups=users, validation_groups=RECORDINGS)
    assert len(whole(held_out[-1], RECORDINGS)) == 2


def test_batches_are_still_of_one_person(small_cpep, windows, monkeypatch):
    X, P, _, users = windows
    seen = []
    monkeypatch.setattr(
        _fit_run,
        "train",
        lambda *args, groups=None, **options: seen.append(groups) or [],
    )
    small_cpep(**STOPS).fit(X, P, groups=users, validation_groups=RECORDINGS)
    assert seen[:2] == [None, None]  # the autoencoders
    assert_array_equal(seen[2], users)


def test_windows_that_tell_nothing_are_drawn_one_by_one(fit, held_out):
    fit()
    rng = np.random.default_rng(0)
    X = Windower(20).fit_transform(rng.normal(size=(12, 4, 25)))
    P = np.zeros((12, 3, 8), np.float32)
    fit(X, P)  # a window of each recording
    fit(Windower(20).fit_transform(rng.normal(size=(1, 4, 240))), P)
    assert held_out == [None] * len(held_out)


def test_nothing_is_set_aside_without_early_stopping(fit, held_out):
    with_groups = fit(parameters={}, validation_groups=RECORDINGS).transform
    without = fit(parameters={}).transform
    assert held_out == [None] * len(held_out)
    X = np.random.default_rng(1).normal(size=(5, 4, 22)).astype(np.float32)
    assert_array_equal(with_groups(X), without(X))


def numbered(n_recordings, n_times, n_channels):
    """Recordings of which no two samples are alike."""
    samples = np.arange(n_recordings * n_channels * n_times, dtype=np.float32)
    return list(samples.reshape(n_recordings, n_channels, n_times) / 1e4)


def shared_samples(X, rows):
    X = np.asarray(X)
    return set(X[rows].ravel()) & set(np.delete(X, rows, axis=0).ravel())


def test_overlapping_windows_of_a_windower(fit, held_out):
    X = Windower(20, stride=5).fit_transform(numbered(6, 40, 4))  # 5 of each
    P = Windower(20, stride=5).fit_transform(numbered(6, 40, 3))
    with_step = InstanceNorm().fit_transform(X)
    fit(X, P)
    fit(with_step, P)
    assert_array_equal(held_out[-1], held_out[len(held_out) // 2 - 1])
    rows = held_out[-1]
    assert len(whole(rows, np.arange(30) // 5)) == 2
    assert not shared_samples(X, rows)
    fit(np.asarray(X), np.asarray(P))
    assert held_out[-1] is None  # rows are drawn, and share samples
    assert shared_samples(X, np.arange(0, 30, 3))


class Numbers:
    n_channels = 4

    def read(self, recordings, starts, n_times):
        times = 100 * recordings[:, None, None] + starts[:, None, None]
        times = times + np.arange(n_times) + 1000 * np.arange(4)[:, None]
        return times.astype(np.float32) / 1e3


def test_overlapping_windows_of_a_window_array(fit, held_out):
    recordings = np.repeat([3, 5, 6, 8], 5)
    lazy = WindowArray(Numbers(), recordings, np.tile(np.arange(0, 50, 10), 4), 22)
    fit(lazy, np.zeros((20, 3, 22), np.float32))
    assert len(whole(held_out[-1], recordings)) == 1
    assert not shared_samples(lazy, held_out[-1])
    if len(held_out) > 1:  # encoders that stop early
        assert held_out[:2] == [None, None]


def test_in_a_pipeline_of_recordings(small_cpep, held_out):
    X, P = numbered(6, 66, 4), numbered(6, 36, 3)
    model = small_cpep(**STOPS, pose_transformer=Windower(12))
    model.set_params(pose_encoder__early_stopping=True)
    pipe = make_pipeline(Windower(22), model).fit(X, P)
    emg, pose, pairs = held_out
    assert emg is None
    for rows in (pose, pairs):
        whole(rows, np.arange(18) // 3)
    pipe.fit(X, P, cpep__validation_groups=np.arange(18) // 9)
    assert len(whole(held_out[-1], np.arange(18) // 9)) == 1


def test_routed(windows, small_mae, held_out):
    X, users = windows[0], windows[3]
    with sklearn.config_context(enable_metadata_routing=True):
        mae = small_mae(**STOPS).set_fit_request(validation_groups=True)
        params = {"validation_groups": users}
        cross_validate(mae, X, cv=2, params=params, error_score="raise")
    for rows, part in zip(held_out, (users[10:], users[:10])):
        assert len(whole(rows, part)) == 1


def test_encoders_validate_on_people_too(small_cpep, small_mae, windows, held_out):
    X, P, _, users = windows
    encoders = small_mae(4, **STOPS), small_mae(4, random_state=0, **STOPS)
    small_cpep(*encoders).fit(X, P, groups=users)
    emg, pose, pairs = held_out
    assert pairs is None
    for rows in (emg, pose):
        assert len(whole(rows, users)) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(validation_groups=RECORDINGS[:5]),
            "validation_groups has 5 entries for 20 windows",
        ),
        (
            dict(validation_groups=np.zeros(20)),
            "sets 1 of 1 groups aside and leaves none to train on",
        ),
        (dict(groups=np.zeros(20)), "sets 1 of 1 groups aside and leaves none"),
        (
            dict(validation_groups=np.arange(20) // 10, parameters=MOST),
            r"validation_fraction=0\.9 sets 2 of 2 groups aside",
        ),
    ],
)
def test_groups_that_leave_nothing(fit, options, message):
    with pytest.raises(ValueError, match=message):
        fit(**options)


@pytest.mark.parametrize("smallest, expected", [(1, 1), (2, 2), (3, 3)])
def test_enough_to_validate_on(smallest, expected):
    plan = TrainingPlan(early_stopping=True, min_batch=smallest)
    rows = held_out_rows(np.arange(9), plan, np.random.RandomState(0))
    assert len(rows) == expected


def test_order_of_windows_does_not_matter():
    plan = TrainingPlan(**STOPS)
    order = np.random.default_rng(0).permutation(20)
    rows = held_out_rows(RECORDINGS, plan, np.random.RandomState(3))
    others = held_out_rows(RECORDINGS[order], plan, np.random.RandomState(3))
    assert whole(rows, RECORDINGS) == whole(others, RECORDINGS[order])


def test_a_run_is_resumed_with_the_same_groups(fit, tmp_path):
    def run(folder, max_epochs, groups):
        own = dict(run_dir=tmp_path / folder, max_epochs=max_epochs)
        own["restart_period"] = 3
        return fit(parameters=STOPS | own, validation_groups=groups).history_

    def losses(history):
        history = history["alignment"] if isinstance(history, dict) else history
        return [(epoch["train_loss"], epoch["valid_loss"]) for epoch in history]

    run("a", 1, RECORDINGS)
    names = RECORDINGS.astype(str)
    assert losses(run("a", 3, names)) == losses(run("b", 3, RECORDINGS))
    for others in (np.arange(20) // 2, None):
        assert losses(run("a", 3, others)) == losses(run(str(others), 3, others))


def test_stages_are_known_by_their_groups(
    windows, small_cpep, small_mae, held_out, tmp_path
):
    X, P = windows[:2]

    def n_trained(**options):
        held_out.clear()
        emg = small_mae(random_state=1, **STOPS)
        pose = small_mae(4, random_state=2)
        small_cpep(emg, pose, run_dir=tmp_path, **STOPS).fit(X, P, **options)
        return len(held_out)

    assert n_trained() == 3
    assert n_trained() == 0
    assert n_trained(validation_groups=RECORDINGS) == 2  # not the pose encoder
    assert n_trained(validation_groups=RECORDINGS) == 0
    assert n_trained(validation_groups=np.arange(20) // 2) == 2
