"""A search on Dask's workers: one fit in each at a time, and the data sent once."""

import os
import time
from collections import Counter

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sk_cpep import CPEP, MAE, InstanceNorm, Windower
from sk_cpep.datasets import WindowArray

dask = pytest.importorskip(
    "dask", reason="Dask is not installed: pip install 'sk_cpep[dask]'"
)
distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed: pip install 'sk_cpep[dask]'"
)

NETWORK = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, dropout=0.2)
TRAINING = dict(
    max_epochs=1, batch_size=32, device="cpu", precision="float32", random_state=0
)
GRID = {"temperature": [0.02, 0.1], "emg_encoder__patch_length": [4, 5]}
rng = np.random.default_rng(0)
X, P = (rng.normal(size=(96, c, t)).astype(np.float32) for c, t in ((4, 20), (3, 12)))


@pytest.fixture(scope="module")
def client():
    """Two workers, of one thread and of three."""
    workers = {
        n_threads: {"cls": distributed.Nanny, "options": {"nthreads": n_threads}}
        for n_threads in (1, 3)
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"dashboard": False, "dashboard_address": ":0"},
    }
    patience = {f"distributed.comm.timeouts.{k}": "600s" for k in ("connect", "tcp")}
    with (
        dask.config.set(patience),  # on a machine that is busy with something else
        distributed.SpecCluster(workers, scheduler, silence_logs=True) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def make_cpep(callbacks=None, **parameters):
    encoders = [
        MAE(patch_length, callbacks=callbacks, **NETWORK | TRAINING)
        for patch_length in (5, 4)
    ]
    return CPEP(*encoders, callbacks=callbacks, **TRAINING | parameters)


def search(cpep, *data, grid=GRID, **options):
    return GridSearchCV(cpep, grid, cv=KFold(2), refit=False).fit(*data, **options)


def assert_same_scores(one, other):
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(one.cv_results_[key], other.cv_results_[key])


# Classes that workers need are made here, to be sent along: they cannot import a test.


def make_logging_callback(log):
    class Logged(Callback):
        """Writes down when training begins and ends; lets other threads in."""

        def __init__(self, log):
            self.log = log

        def write(self, event):
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {event}\n")

        def on_train_begin(self, net, **kwargs):
            self.write("begin")

        def on_batch_end(self, net, **kwargs):
            time.sleep(0.005)

        def on_train_end(self, net, **kwargs):
            self.write("end")

    return Logged(str(log))


def make_lazy(data, name, log):
    class Source:
        """Windows in memory; writes down each process that it is sent to."""

        def __init__(self, data, name, log):
            self.data, self.name, self.log = data, name, log
            self.n_channels = data.shape[1]

        def __setstate__(self, state):
            vars(self).update(state)
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {self.name}\n")

        def read(self, recordings, starts, n_times):
            return self.data[recordings]

    n_windows, _, n_times = data.shape
    starts = np.zeros(n_windows, int)
    return WindowArray(
        Source(data, name, str(log)), np.arange(n_windows), starts, n_times
    )


def test_one_fit_in_each_worker_at_a_time(client, log):
    with joblib.parallel_config(backend="dask"):
        found = search(make_cpep([make_logging_callback(log)]), X, P)
    assert_same_scores(found, search(make_cpep(), X, P))
    events = {}
    for line in log.read_text().splitlines():
        pid, event = line.split()
        events.setdefault(pid, []).append(event)
    assert sum(map(len, events.values())) == 8 * 3 * 2  # fits, stages, begin and end
    for happened in events.values():
        assert happened == ["begin", "end"] * (len(happened) // 2)


@pytest.mark.parametrize("scattered", [False, True])
def test_window_arrays_are_not_sent_with_every_candidate(client, log, scattered):
    lazy = make_lazy(X, "X", log), make_lazy(P, "P", log)
    options = {"scatter": list(lazy)} if scattered else {}
    with joblib.parallel_config(backend="dask", **options):
        found = search(make_cpep(), *lazy)
    assert_same_scores(found, search(make_cpep(), X, P))
    counts = Counter(log.read_text().splitlines())
    workers = client.run(os.getpid).values()
    sent = [counts[f"{pid} {name}"] for pid in workers for name in "XP"]
    assert max(sent) <= 2  # of 8 fits; a worker may have it from another one, too
    assert sum(sent) >= 2


def arrays_received(client):
    """Arrays that came to each worker apart from a task, ever."""
    return client.run(
        lambda dask_worker: [
            key
            for key, event, *_ in dask_worker.state.log
            if event == "put-in-memory" and key.startswith("ndarray")
        ]
    )


def test_arrays_are_sent_to_each_worker_once(client):
    before = arrays_received(client)
    with joblib.parallel_config(backend="dask"):
        search(make_cpep(), X, P)
    new = [keys[len(before[at]) :] for at, keys in arrays_received(client).items()]
    assert len(set().union(*new)) == 2
    for keys in new:
        assert len(keys) == len(set(keys))


def test_with_a_folder_of_runs(client, tmp_path):
    cpep = make_cpep(run_dir=tmp_path)
    grid = {"temperature": [0.02, 0.1, 0.3]}
    for _ in range(2):
        with joblib.parallel_config(backend="dask"):
            found = search(cpep, X, P, grid=grid)
    assert_same_scores(found, search(make_cpep(), X, P, grid=grid))
    assert len(list(tmp_path.rglob("fitted.pt"))) == 2 + 2 + 6


def test_recordings_through_a_pipeline(client):
    recordings = [
        [np.concatenate(a[i : i + 16], axis=1) for i in range(0, 96, 16)]
        for a in (X, P)
    ]
    pipe = Pipeline(
        [
            ("windows", Windower(20)),
            ("norm", InstanceNorm(over="window")),
            ("cpep", make_cpep(pose_transformer=Windower(12))),
        ]
    )
    expected = cross_val_score(pipe, *recordings, cv=KFold(3))
    with joblib.parallel_config(backend="dask", scatter=recordings):
        assert_array_equal(cross_val_score(pipe, *recordings, cv=KFold(3)), expected)
