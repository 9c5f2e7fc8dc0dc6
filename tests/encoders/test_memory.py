"""Stages are trained once for all fits that need the same, and give the same bits."""

import io
import os
import pickle
import threading
import warnings
from collections import Counter
from pathlib import Path

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
from sk_cpep.encoders import _cpep, _mae, _stage_cache
from sk_cpep.encoders._checkpoint_dir import windows_fact
from sk_cpep.encoders._stage_cache import StageCache, content_hash, train_stage
from sk_cpep.fit import normalised
from sk_cpep.fit._windows import windows_of_file
from sk_cpep.training import StopTraining
from sk_cpep.training._distributed import SingleProcess

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
    counts = Counter()
    for module in (_mae, _cpep):

        def counted(*args, _train=module.train, **options):
            counts[options["description"]] += 1
            return _train(*args, **options)

        monkeypatch.setattr(module, "train", counted)
    return counts


@pytest.fixture
def fitted(small_cpep, windows, tmp_path):
    """``fitted(**parameters)``: a small CPEP, fitted with memory."""

    def fit(*encoders, **parameters):
        memory = parameters.pop("memory", str(tmp_path / "memory"))
        return small_cpep(*encoders, memory=memory, **parameters).fit(*windows[:2])

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
    plain = fitted(memory=None)
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
    cpep = small_cpep(memory=str(tmp_path)).fit(*windows[:2])
    trained.clear()
    changed = clone(cpep).set_params(**parameters).fit(*windows[:2])
    assert trained == dict.fromkeys(stages, 1)
    plain = clone(changed).set_params(memory=None).fit(*windows[:2])
    assert_same_fit(changed, plain, weights_of, seconds=False)


@pytest.mark.parametrize(
    "change, stages",
    [
        (lambda X, P: (X[::-1].copy(), P), {EMG, ALIGNMENT}),
        (lambda X, P: (X, P + np.float32(1)), {POSE, ALIGNMENT}),
        (lambda X, P: (X.astype(np.float64), P), {EMG, ALIGNMENT}),
        (lambda X, P: (X[:-1], P[:-1]), {EMG, POSE, ALIGNMENT}),
        (lambda X, P: (X.copy(), P.copy()), set()),
    ],
)
def test_data_are_known_by_their_content(
    change, stages, small_cpep, windows, trained, tmp_path
):
    small_cpep(memory=str(tmp_path)).fit(*windows[:2])
    trained.clear()
    small_cpep(memory=str(tmp_path)).fit(*change(*windows[:2]))
    assert trained == dict.fromkeys(stages, 1)


def test_groups_change_the_alignment(small_cpep, windows, trained, tmp_path):
    X, P, _, users = windows
    small_cpep(memory=str(tmp_path)).fit(X, P)
    trained.clear()
    for _ in range(2):
        small_cpep(memory=str(tmp_path)).fit(X, P, groups=users)
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
    search = GridSearchCV(small_cpep(memory=str(tmp_path)), grid, **options).fit(X, P)
    assert (trained[EMG], trained[POSE], trained[ALIGNMENT]) == expected
    plain = GridSearchCV(small_cpep(), grid, **options).fit(X, P)
    for key in search.cv_results_:
        if key.startswith(("split", "mean_test", "rank")):
            assert_array_equal(search.cv_results_[key], plain.cv_results_[key])


def test_refit_trains_once_more(small_cpep, windows, trained, tmp_path, weights_of):
    grid = {"temperature": [0.02, 0.1]}
    search = GridSearchCV(small_cpep(memory=str(tmp_path)), grid, cv=KFold(2))
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

    cpep = Probed(**small_cpep(memory=str(tmp_path)).get_params(deep=False))
    pipe = Pipeline([("cpep", cpep), ("probe", LogisticRegression())])
    grid = {"cpep__embedding": ["projection", "encoder"], "probe__C": [0.1, 1.0]}
    GridSearchCV(pipe, grid, cv=KFold(2), refit=False).fit(X, y)
    assert trained == {EMG: 2, POSE: 2, ALIGNMENT: 2}


def test_in_parallel(small_cpep, windows, trained, tmp_path):
    X, P = windows[:2]
    cpep = small_cpep(memory=str(tmp_path))
    options = dict(param_grid={"temperature": [0.02, 0.1]}, cv=KFold(2), refit=False)
    search = GridSearchCV(cpep, n_jobs=2, **options).fit(X, P)
    again = GridSearchCV(cpep, **options).fit(X, P)
    assert not trained  # here, what the workers trained is found
    plain = GridSearchCV(small_cpep(), **options).fit(X, P)
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(search.cv_results_[key], plain.cv_results_[key])
        assert_array_equal(again.cv_results_[key], plain.cv_results_[key])
    assert len(list(tmp_path.rglob("output.pkl"))) == 2 + 2 + 4


def test_threads_that_need_the_same_train_it_once(
    small_cpep, windows, trained, tmp_path, weights_of
):
    def fit():
        return small_cpep(memory=str(tmp_path)).fit(*windows[:2])

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
    memory = joblib.Memory(tmp_path, verbose=0)
    cpep = small_cpep(emg, pose, memory=memory)
    before = repr(cpep.get_params())
    for _ in range(2):
        cpep.fit(*windows[:2])
    assert repr(cpep.get_params()) == before
    assert cpep.memory is memory
    assert not hasattr(emg, "module_")
    assert not hasattr(pose, "module_")
    loaded = pickle.loads(pickle.dumps(cpep))
    assert_array_equal(loaded.transform(windows[0]), cpep.transform(windows[0]))


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_without_a_fixed_seed_nothing_is_reused(
    random_state, small_cpep, windows, trained, tmp_path
):
    for _ in range(2):
        cpep = small_cpep(memory=str(tmp_path), random_state=random_state)
        with pytest.warns(UserWarning, match="memory reuses nothing.*give an int") as w:
            cpep.fit(*windows[:2])
        assert len(w) == 1
    assert trained == {EMG: 2, POSE: 2, ALIGNMENT: 2}
    assert not list(tmp_path.rglob("output.pkl"))


def test_an_encoder_with_a_generator_is_trained_anew(
    small_cpep, small_mae, windows, trained, tmp_path
):
    for seed in (0, 0):
        emg = small_mae(random_state=np.random.RandomState(seed))
        with pytest.warns(UserWarning, match="memory reuses nothing of MAE"):
            small_cpep(emg, memory=str(tmp_path)).fit(*windows[:2])
    assert trained == {EMG: 2, POSE: 1, ALIGNMENT: 1}


def test_global_generators_stay(fitted):
    fitted()
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    fitted()
    assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_damaged_entry_is_trained_anew(fitted, trained, tmp_path, weights_of):
    first = fitted()
    for entry in tmp_path.rglob("output.pkl"):
        entry.write_bytes(entry.read_bytes()[:100])
    trained.clear()
    with pytest.warns(UserWarning, match="output.pkl.* is damaged or") as caught:
        again = fitted()
    assert len(caught) == 3
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}
    assert_same_fit(again, first, weights_of, seconds=False)
    fitted()
    assert trained.total() == 3


STAGE = {"w": np.arange(600, dtype=np.float32), "b": np.zeros(0)}, [{"loss": 0.1 + 0.2}]


@pytest.fixture
def stage(small_mae):
    """``stage(memory)``: a stage by way of `memory`, and whether it was trained."""

    def get(memory, random_state=0):
        mae, trained = small_mae(random_state=random_state), []

        def train():
            trained.append(True)
            return STAGE

        cache = StageCache(memory, mae, SingleProcess())
        (weights, history), (expected, expected_history) = cache.get(train, mae), STAGE
        assert weights.keys() == expected.keys()
        for name, value in weights.items():
            assert_array_equal(value, expected[name])
        assert history == expected_history
        return bool(trained)

    return get


class OwnMemory(joblib.Memory):
    """A user's own class."""


class Dictionary:
    """Offers of joblib.Memory what is needed, and nothing else."""

    def __init__(self):
        self.kept = {}

    def cache(self, function, ignore):
        def cached(key, train):
            if key not in self.kept:
                self.kept[key] = function(key, train)
            return self.kept[key]

        return cached


def is_kept(stage, memory):
    """Whether a stage is found, once it is there."""
    return not stage(memory)


MEMORIES = [
    str,
    lambda path: joblib.Memory(path, verbose=0, compress=True),
    lambda path: joblib.Memory(path, verbose=0, mmap_mode="r"),
    lambda path: OwnMemory(path, verbose=0),
]


@pytest.mark.parametrize("make", MEMORIES)
def test_no_damage_is_used(make, stage, tmp_path):
    memory = make(tmp_path)
    assert stage(memory)
    assert is_kept(stage, memory)
    (entry,) = tmp_path.rglob("output.pkl")
    whole = entry.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in range(0, len(whole), len(whole) // 20)]
    damaged += [pickle.dumps({"checksum": "0" * 64, "content": b""})]
    damaged += [pickle.dumps(STAGE), pickle.dumps(None), b"text"]
    ends = [*range(120), *range(len(whole) - 20, len(whole))]
    for at in [*ends, *rng.integers(0, len(whole), 60).tolist()]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    n_noticed = 0
    for content in damaged:
        entry.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            noticed = stage(memory)
        # A bit that changes nothing, such as one of a frame's length, may pass.
        assert noticed == any(str(entry) in str(w.message) for w in caught)
        n_noticed += noticed
        assert is_kept(stage, memory)
    assert n_noticed > 0.9 * len(damaged)


@pytest.mark.parametrize("make", MEMORIES)
def test_an_entry_of_another_stage_is_not_used(make, stage, tmp_path):
    memory = make(tmp_path)
    stage(memory, random_state=0)
    (first,) = tmp_path.rglob("output.pkl")
    stage(memory, random_state=1)
    (second,) = set(tmp_path.rglob("output.pkl")) - {first}
    second.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match=second.parent.name):
        assert stage(memory, random_state=1)


@pytest.mark.parametrize("content", [b"", b"\xff", b"# first line: x\n", b"[1]", b"3"])
@pytest.mark.parametrize("name", ["metadata.json", "func_code.py"])
def test_what_joblib_keeps_beside_may_be_damaged(name, content, stage, tmp_path):
    memory = str(tmp_path)
    joblib.memory._FUNCTION_HASHES.pop(train_stage, None)  # as in a new process
    stage(memory)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(content)
    joblib.memory._FUNCTION_HASHES.pop(train_stage, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stage(memory)
    assert is_kept(stage, memory)


def test_an_entry_that_is_a_folder(stage, tmp_path):
    stage(str(tmp_path))
    (entry,) = tmp_path.rglob("output.pkl")
    entry.unlink()
    entry.mkdir()
    with pytest.warns(UserWarning, match="output.pkl"):
        assert stage(str(tmp_path))
    assert is_kept(stage, str(tmp_path))


def test_other_memories(stage):
    assert stage(joblib.Memory(None))
    memory = Dictionary()
    assert stage(memory)
    assert is_kept(stage, memory)
    (key,) = memory.kept
    memory.kept[key]["content"] = memory.kept[key]["content"][:-9]
    with pytest.warns(UserWarning, match="is damaged or cannot be read"):
        assert stage(memory)


def test_nothing_is_run_of_what_is_damaged(stage, tmp_path):
    stage(str(tmp_path))
    (entry,) = tmp_path.rglob("output.pkl")
    evil = pickle.dumps(Evil(tmp_path / "ran"))
    sealed = joblib.load(entry)
    joblib.dump(sealed | {"content": evil}, entry)
    with pytest.warns(UserWarning, match="output.pkl"):
        assert stage(str(tmp_path))
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_interrupt_is_no_damage(stage, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    stage(str(tmp_path))
    monkeypatch.setattr(_stage_cache, "unseal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage(str(tmp_path))


def test_a_damaged_entry_among_several_processes(small_mae, tmp_path):
    mae = small_mae()

    def get(result, *told):
        processes = OneOfTwo(0, *told)
        return StageCache(str(tmp_path), mae, processes).get(lambda: result, mae)

    assert get(1) == 1
    (entry,) = tmp_path.rglob("output.pkl")
    entry.write_bytes(entry.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="output.pkl"):
        assert get(2) == 2
    assert get(3) == 2


def test_a_failed_fit_leaves_nothing_wrong(fitted, trained):
    with pytest.raises(ValueError, match="Training diverged"):
        fitted(lr=1e30)
    trained.clear()
    fitted()
    assert trained == {ALIGNMENT: 1}


def test_lazy_windows_are_not_read_to_know_them(windows, small_cpep, trained, tmp_path):
    X, P = windows[:2]
    sources = InMemory(X, 4), InMemory(P, 3)
    lazy = [
        WindowArray(s, np.arange(20), np.zeros(20, int), s.data.shape[2])
        for s in sources
    ]
    first = small_cpep(memory=str(tmp_path)).fit(*lazy)
    n_read = sources[0].n_read, sources[1].n_read
    assert min(n_read) > 0
    trained.clear()
    again = small_cpep(memory=str(tmp_path)).fit(*lazy)
    small_cpep(memory=str(tmp_path)).fit(*pickle.loads(pickle.dumps(lazy)))
    assert (sources[0].n_read, sources[1].n_read) == n_read
    assert not trained
    assert_array_equal(again.transform(X), first.transform(X))
    small_cpep(memory=str(tmp_path)).fit(lazy[0][1:], lazy[1][1:])
    assert trained == {EMG: 1, POSE: 1, ALIGNMENT: 1}


class OnDisk:
    """Lazy windows in a file, of which only the name is pickled."""

    def __init__(self, path, shape):
        self.path = path
        self.shape = shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return np.load(self.path)[rows]


def as_memmap(folder):
    return np.load(folder / "X.npy", mmap_mode="r")


def as_own(folder):
    return OnDisk(folder / "X.npy", (20, 4, 22))


def as_file(folder):
    return windows_of_file(folder / "X.npy")


def as_nested(folder):
    return normalised(windows_of_file(folder / "X.npy"))


def replaced(path, content):
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def written_in_place(path, content):
    with path.open("r+b") as file:
        file.write(content)


def copied_with_its_times(path, content):
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, written_in_place, copied_with_its_times])
@pytest.mark.parametrize("read", [as_memmap, as_own, as_file, as_nested])
def test_windows_in_files_that_change(read, change, windows, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, windows[0])
    X = read(tmp_path)
    first, begun_on = content_hash("X", X), windows_fact(X)
    assert content_hash("X", read(tmp_path)) == first
    assert content_hash("X", pickle.loads(pickle.dumps(X))) == first
    other = windows[0].copy()
    other[7] *= -1
    buffer = io.BytesIO()
    np.save(buffer, other)
    del X
    change(path, buffer.getvalue())
    assert content_hash("X", read(tmp_path)) != first
    assert windows_fact(read(tmp_path)) != begun_on  # by which checkpoints know them


class Unpicklable:
    """Lazy windows with a lock, which cannot be pickled."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.lock = threading.Lock()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, rows):
        return self.data[rows]


def test_what_cannot_be_pickled_is_refused_by_name(
    windows, small_cpep, trained, tmp_path
):
    X = Unpicklable(windows[0])
    with pytest.raises(TypeError, match="windows, of type Unpicklable, cannot be"):
        small_cpep(memory=str(tmp_path)).fit(X, windows[1])
    assert not trained
    small_cpep().fit(X, windows[1])
    local = type("Local", (Callback,), {})
    with pytest.raises(TypeError, match="callbacks, of type list, cannot be pickled"):
        small_cpep(memory=str(tmp_path), callbacks=[local()]).fit(*windows[:2])


class OneOfTwo(SingleProcess):
    """Stands for one of two processes; `told` is what the first one broadcasts."""

    size = 2

    def __init__(self, rank, *told):
        super().__init__()
        self.rank = rank
        self.told = list(told)

    def broadcast(self, value):
        if not self.is_main:
            return self.told.pop(0)
        self.told.append(value)
        return value


def test_several_processes_train_together_or_not_at_all(small_mae, tmp_path):
    mae = small_mae()
    results = iter(range(1, 10))

    def get(processes, memory=str(tmp_path)):
        stages = StageCache(memory, mae, processes)
        return stages.get(lambda: next(results), mae, windows=np.ones(3))

    assert get(SingleProcess()) == 1
    main = OneOfTwo(0)  # what one process learned is not what two learn
    assert get(main) == 2
    assert main.told == [True, None]
    again = OneOfTwo(0)
    assert get(again) == 2
    assert again.told == [True, 2]
    # The others do what the first one does, whatever they have themselves.
    assert get(OneOfTwo(1, True, None)) == 3
    assert get(OneOfTwo(1, True, 2)) == 2
    assert get(OneOfTwo(1, True, 2), memory=None) == 2
    assert get(OneOfTwo(1, False)) == 4
    assert get(OneOfTwo(0), memory=None) == 5
