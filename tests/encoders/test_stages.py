"""Stages are trained once for all fits that need the same, and give the same bits."""

import pickle
from collections import Counter

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sk_cpep import CPEP
from sk_cpep.datasets import WindowArray
from sk_cpep.encoders import _fit_run
from sk_cpep.training import StopTraining

EMG, POSE, ALIGNMENT = "MAE (4 channels)", "MAE (3 channels)", "CPEP alignment"


class Stop(Callback):
    """Ends a fit after so many epochs."""

    def __init__(self, after):
        self.after = after

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.after:
            raise StopTraining


class InMemory:
    """A source of windows that counts how many are read."""

    n_read = 0

    def __init__(self, data, n_channels):
        self.data = data
        self.n_channels = n_channels

    def __getstate__(self):
        return {"data": self.data, "n_channels": self.n_channels}

    def read(self, recordings, starts, n_times):
        self.n_read += len(starts)
        return self.data[recordings]


@pytest.fixture
def trained(monkeypatch):
    """Counts what is trained: ``Counter`` of descriptions."""
    counts, train = Counter(), _fit_run.train

    def counted(*args, **options):
        counts[options["description"]] += 1
        return train(*args, **options)

    monkeypatch.setattr(_fit_run, "train", counted)
    return counts


@pytest.fixture
def fitted(small_cpep, windows, tmp_path):
    """``fitted(**parameters)``: a small CPEP, fitted with run_dir."""

    def fit(*encoders, **parameters):
        run_dir = parameters.pop("run_dir", tmp_path / "runs")
        return small_cpep(*encoders, run_dir=run_dir, **parameters).fit(*windows[:2])

    return fit


def assert_same_fit(cpep, other, weights_of, seconds=True):
    for key, value in weights_of(other.module_).items():
        assert_array_equal(weights_of(cpep.module_)[key], value, key)
    histories = [cpep.history_, other.history_]
    if not seconds:
        histories = [
            {
                stage: [{k: v for k, v in r.items() if k != "seconds"} for r in h]
                for stage, h in history.items()
            }
            for history in histories
        ]
    assert histories[0] == histories[1]
    assert cpep.temperature_ == other.temperature_
    assert cpep.n_iter_ == other.n_iter_


def test_an_equal_fit_trains_nothing(fitted, trained, windows, weights_of):
    X, P = windows[:2]
    plain = fitted(run_dir=None)
    trained.clear()
    first = fitted()
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}
    again = fitted(verbose=0, embedding="encoder", device=torch.device("cpu"))
    assert trained.total() == 3
    assert_same_fit(first, plain, weights_of, seconds=False)
    assert_same_fit(again, first, weights_of)
    assert_array_equal(
        again.set_params(embedding="projection").transform(X), first.transform(X)
    )
    assert_array_equal(again.transform_pose(P), plain.transform_pose(P))
    assert again.score(X, P) == plain.score(X, P)


@pytest.mark.parametrize(
    "parameters, stages",
    [
        ({"temperature": 0.1}, {ALIGNMENT}),
        ({"lr": 1e-3}, {ALIGNMENT}),
        ({"pooling": "mean"}, {ALIGNMENT}),
        ({"train_emg": False}, {ALIGNMENT}),
        ({"train_pose": True}, {ALIGNMENT}),
        ({"center_pose": True}, {ALIGNMENT}),
        ({"emg_init": "random"}, {ALIGNMENT}),
        ({"max_epochs": 3}, {ALIGNMENT}),
        ({"callbacks": [Stop(1)]}, {ALIGNMENT}),
        ({"precision": "bfloat16"}, {ALIGNMENT}),
        ({"channel_rotation": 0}, {EMG, ALIGNMENT}),
        ({"noise": 0.1}, {EMG, ALIGNMENT}),
        ({"emg_encoder__patch_length": 4}, {EMG, ALIGNMENT}),
        ({"emg_encoder__n_heads": 1}, {EMG, ALIGNMENT}),
        ({"emg_encoder__precision": "bfloat16"}, {EMG, ALIGNMENT}),
        ({"emg_encoder__callbacks": [Stop(1)]}, {EMG, ALIGNMENT}),
        ({"pose_encoder__mask_ratio": 0.3}, {POSE, ALIGNMENT}),
        ({"pose_encoder__random_state": 9}, {POSE, ALIGNMENT}),
        ({"random_state": 1}, {EMG, POSE, ALIGNMENT}),
        ({"embedding": "encoder"}, set()),
    ],
)
def test_only_what_changed_is_trained(
    parameters, stages, small_cpep, windows, trained, tmp_path, weights_of
):
    cpep = small_cpep(run_dir=tmp_path).fit(*windows[:2])
    trained.clear()
    changed = clone(cpep).set_params(**parameters).fit(*windows[:2])
    assert trained == dict.fromkeys(stages, 1)
    plain = clone(changed).set_params(run_dir=None).fit(*windows[:2])
    assert_same_fit(changed, plain, weights_of, seconds=False)


@pytest.mark.parametrize(
    "change, stages",
    [
        (lambda X, P: (X[::-1].copy(), P), {EMG, ALIGNMENT}),
        (lambda X, P: (X, P + np.float32(1)), {POSE, ALIGNMENT}),
        (lambda X, P: (X.astype(np.float64), P), set()),  # computed in float32
        (lambda X, P: (X[:-1], P[:-1]), {EMG, POSE, ALIGNMENT}),
        (lambda X, P: (X.copy(), P.copy()), set()),
    ],
)
def test_data_are_known_by_their_content(
    change, stages, small_cpep, windows, trained, tmp_path
):
    small_cpep(run_dir=tmp_path).fit(*windows[:2])
    trained.clear()
    small_cpep(run_dir=tmp_path).fit(*change(*windows[:2]))
    assert trained == dict.fromkeys(stages, 1)


def test_groups_change_the_alignment(small_cpep, windows, trained, tmp_path):
    X, P, _, users = windows
    small_cpep(run_dir=tmp_path).fit(X, P)
    trained.clear()
    for _ in range(2):
        small_cpep(run_dir=tmp_path).fit(X, P, groups=users)
    assert trained == {ALIGNMENT: 1}


@pytest.mark.parametrize(
    "grid, expected",
    [
        ({"temperature": [0.02, 0.1, 0.5]}, (3, 3, 9)),
        ({"emg_encoder__patch_length": [4, 5, 6]}, (9, 3, 9)),
        ({"pose_encoder__mask_ratio": [0.4, 0.6, 0.8]}, (3, 9, 9)),
        ({"center_pose": [False, True], "lr": [1e-2, 1e-3]}, (3, 3, 12)),
    ],
)
def test_a_search_trains_each_stage_once_a_fold(
    grid, expected, small_cpep, windows, trained, tmp_path, weights_of
):
    X, P = windows[:2]
    options = dict(cv=KFold(3), refit=False)
    search = GridSearchCV(small_cpep(run_dir=tmp_path), grid, **options).fit(X, P)
    assert (trained[EMG], trained[POSE], trained[ALIGNMENT]) == expected
    plain = GridSearchCV(small_cpep(), grid, **options).fit(X, P)
    for key in search.cv_results_:
        if key.startswith(("split", "mean_test", "rank")):
            assert_array_equal(search.cv_results_[key], plain.cv_results_[key])


def test_refit_trains_once_more(small_cpep, windows, trained, tmp_path, weights_of):
    grid = {"temperature": [0.02, 0.1]}
    search = GridSearchCV(small_cpep(run_dir=tmp_path), grid, cv=KFold(2))
    search.fit(*windows[:2])
    assert trained == {EMG: 3, POSE: 3, ALIGNMENT: 5}
    best = small_cpep(**search.best_params_).fit(*windows[:2])
    assert_same_fit(search.best_estimator_, best, weights_of, seconds=False)


def test_a_search_over_the_probe_trains_nothing_anew(
    small_cpep, windows, trained, tmp_path
):
    X, P, y, _ = windows
    P = dict(zip(map(np.ndarray.tobytes, X), P))

    class Probed(CPEP):
        """Takes the poses that belong to the windows; y is for the probe."""

        def fit(self, X, y):
            return super().fit(X, np.stack([P[x.tobytes()] for x in X]))

    cpep = Probed(**small_cpep(run_dir=tmp_path).get_params(deep=False))
    pipe = Pipeline([("cpep", cpep), ("probe", LogisticRegression())])
    grid = {"cpep__embedding": ["projection", "encoder"], "probe__C": [0.1, 1.0]}
    GridSearchCV(pipe, grid, cv=KFold(2), refit=False).fit(X, y)
    assert trained == {EMG: 2, POSE: 2, ALIGNMENT: 2}


def test_in_parallel(small_cpep, windows, trained, tmp_path):
    X, P = windows[:2]
    cpep = small_cpep(run_dir=tmp_path)
    options = dict(param_grid={"temperature": [0.02, 0.1]}, cv=KFold(2), refit=False)
    search = GridSearchCV(cpep, n_jobs=2, **options).fit(X, P)
    again = GridSearchCV(cpep, **options).fit(X, P)
    assert not trained  # here, what the workers trained is found
    plain = GridSearchCV(small_cpep(), **options).fit(X, P)
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(search.cv_results_[key], plain.cv_results_[key])
        assert_array_equal(again.cv_results_[key], plain.cv_results_[key])
    assert len(list(tmp_path.rglob("fitted.pt"))) == 2 + 2 + 4


def test_threads_that_need_the_same_train_it_once(
    small_cpep, windows, trained, tmp_path, weights_of
):
    def fit():
        return small_cpep(run_dir=tmp_path).fit(*windows[:2])

    with joblib.parallel_config(backend="threading", n_jobs=4):
        fits = joblib.Parallel()(joblib.delayed(fit)() for _ in range(4))
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}
    for cpep in fits[1:]:
        assert_same_fit(cpep, fits[0], weights_of)


def test_frozen_encoders_are_known_by_their_weights(
    fitted, trained, small_mae, windows
):
    mae = small_mae().fit(windows[0])
    trained.clear()
    fitted(FrozenEstimator(mae))
    assert trained == {POSE: 1, ALIGNMENT: 1}
    fitted(FrozenEstimator(pickle.loads(pickle.dumps(mae))))
    assert trained == {POSE: 1, ALIGNMENT: 1}
    fitted(FrozenEstimator(small_mae(random_state=1).fit(windows[0])))
    assert trained == {POSE: 1, ALIGNMENT: 2, EMG: 1}


def test_parameters_stay_as_they_are(small_cpep, small_mae, windows, tmp_path):
    emg, pose = small_mae(random_state=None), small_mae(4, random_state=None)
    cpep = small_cpep(emg, pose, run_dir=tmp_path)
    before = repr(cpep.get_params())
    for _ in range(2):
        cpep.fit(*windows[:2])
    assert repr(cpep.get_params()) == before
    assert cpep.run_dir is tmp_path
    assert not hasattr(emg, "module_")
    assert not hasattr(pose, "module_")
    loaded = pickle.loads(pickle.dumps(cpep))
    assert_array_equal(loaded.transform(windows[0]), cpep.transform(windows[0]))


def test_without_a_seed_nothing_is_found_again(small_cpep, windows, trained, tmp_path):
    for _ in range(2):
        cpep = small_cpep(run_dir=tmp_path, random_state=None)
        with pytest.warns(UserWarning, match="random_state=None of CPEP.*give an int"):
            cpep.fit(*windows[:2])
    assert trained == {EMG: 2, POSE: 2, ALIGNMENT: 2}


def test_an_encoder_with_a_generator_is_known_by_its_state(
    small_cpep, small_mae, windows, trained, tmp_path
):
    for seed in (0, 0, 1):
        emg = small_mae(random_state=np.random.RandomState(seed))
        small_cpep(emg, run_dir=tmp_path).fit(*windows[:2])
    assert trained == {EMG: 2, POSE: 1, ALIGNMENT: 2}


def test_global_generators_stay(fitted):
    fitted()
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    fitted()
    assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_damaged_stages_are_trained_anew(fitted, trained, tmp_path, weights_of):
    first = fitted()
    for path in tmp_path.rglob("fitted.pt"):
        path.write_bytes(path.read_bytes()[:100])
    trained.clear()
    with pytest.warns(UserWarning, match=r"fitted\.pt is damaged") as caught:
        again = fitted()
    assert len(caught) == 3
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}
    assert_same_fit(again, first, weights_of, seconds=False)
    fitted()
    assert trained.total() == 3


def test_a_failed_fit_leaves_nothing_wrong(fitted, trained):
    with pytest.raises(ValueError, match="Training diverged"):
        fitted(lr=1e30)
    trained.clear()
    fitted()
    assert trained == {ALIGNMENT: 1}


def test_lazy_windows_are_read_in_part_to_know_them(
    windows, small_cpep, trained, tmp_path
):
    X, P = (np.repeat(a, 30, axis=0) for a in windows[:2])
    n_windows = len(X)
    sources = InMemory(X, 4), InMemory(P, 3)
    lazy = [
        WindowArray(s, np.arange(n_windows), np.zeros(n_windows, int), s.data.shape[2])
        for s in sources
    ]
    cpep = small_cpep(run_dir=tmp_path, batch_size=128, max_epochs=1)
    first = clone(cpep).fit(*lazy)
    before = [source.n_read for source in sources]
    trained.clear()
    again = clone(cpep).fit(*lazy)
    # For the identity of an autoencoder and of the alignment, which check both.
    assert [s.n_read - n for s, n in zip(sources, before)] == [2 * 256] * 2
    clone(cpep).fit(*pickle.loads(pickle.dumps(lazy)))
    assert not trained
    assert_array_equal(again.transform(X), first.transform(X))
    clone(cpep).fit(lazy[0][1:], lazy[1][1:])
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}
