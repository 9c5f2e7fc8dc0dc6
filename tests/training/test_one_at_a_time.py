"""In a process one fit trains at a time, whatever its threads."""

import os
import pickle
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, KFold
from skorch.callbacks import Callback

from sk_cpep import CPEP, MAE, PoseT
from sk_cpep.training import one_fit_at_a_time, seeded

NETWORK = dict(d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, dropout=0.2)
TRAINING = dict(max_epochs=2, batch_size=8, device="cpu", precision="float32")
rng = np.random.default_rng(0)
X, P = (rng.normal(size=(16, c, t)).astype(np.float32) for c, t in ((4, 20), (3, 12)))


class Training:
    """How many fits train now, and at most."""

    now = most = 0


class Counted(Callback):
    """Counts fits that train, and gives other threads their turn."""

    def on_train_begin(self, net, **kwargs):
        Training.now += 1
        Training.most = max(Training.most, Training.now)

    def on_batch_end(self, net, **kwargs):
        time.sleep(0.002)

    def on_train_end(self, net, **kwargs):
        Training.now -= 1


@pytest.fixture(autouse=True)
def nothing_trains():
    Training.now = Training.most = 0


def make_mae(patch_length=5, **parameters):
    return MAE(patch_length, callbacks=[Counted()], **NETWORK | TRAINING | parameters)


def make_cpep(seed):
    encoders = make_mae(), make_mae(4)
    common = TRAINING | {"random_state": seed, "callbacks": [Counted()]}
    return CPEP(*encoders, **common)


def fit_and_embed(seed):
    return make_cpep(seed).fit(X, P).transform(X)


def in_threads(function, items):
    with joblib.parallel_config(backend="threading", n_jobs=4):
        return joblib.Parallel()(joblib.delayed(function)(item) for item in items)


def test_threads_take_turns_and_get_what_serial_fits_get():
    expected = [fit_and_embed(seed) for seed in range(4)]
    state = torch.get_rng_state()
    for Z, other in zip(in_threads(fit_and_embed, range(4)), expected):
        assert_array_equal(Z, other)
    assert Training.most == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_estimators_of_every_kind_share_the_turn():
    makers = [
        lambda: make_mae(random_state=0).fit(X),
        lambda: fit_and_embed(0),
        lambda: PoseT(
            patch_length=5,
            callbacks=[Counted()],
            random_state=0,
            **TRAINING | {"d_model": 8, "n_layers": 1, "n_heads": 2},
        ).fit(X, P),
    ]
    in_threads(lambda make: make(), makers * 2)
    assert Training.most == 1


def test_a_search_in_threads():
    grid = {"temperature": [0.02, 0.1], "emg_encoder__patch_length": [4, 5]}
    options = dict(cv=KFold(2), refit=False)
    plain = GridSearchCV(make_cpep(0), grid, **options).fit(X, P)
    with joblib.parallel_config(backend="threading"):
        search = GridSearchCV(make_cpep(0), grid, n_jobs=4, **options).fit(X, P)
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(search.cv_results_[key], plain.cv_results_[key])
    assert Training.most == 1


def test_a_fit_that_fails_gives_its_turn_back():
    with pytest.raises(ValueError, match="longer than the windows"):
        make_mae(50).fit(X)
    with pytest.raises(RuntimeError, match="inside"), seeded(0):
        raise RuntimeError("inside")
    assert len(in_threads(fit_and_embed, [0])) == 1


def test_a_fit_inside_another_does_not_wait_for_it():
    class Nested(Callback):
        def on_train_begin(self, net, **kwargs):
            self.inner_ = make_mae(random_state=1).fit(X).transform(X)

    nested = Nested()
    options = NETWORK | TRAINING
    outer = MAE(5, random_state=0, callbacks=[nested], **options).fit(X)
    alone = MAE(5, random_state=0, **options).fit(X)
    assert_array_equal(outer.transform(X), alone.transform(X))
    inner = make_mae(random_state=1).fit(X).transform(X)
    assert_array_equal(nested.inner_, inner)


def test_loading_does_not_wait_and_draws_nothing():
    saved = [pickle.dumps(make_cpep(0).fit(X, P)), pickle.dumps(make_mae().fit(X))]
    loaded = []
    with seeded(0):
        state = torch.get_rng_state()
        thread = threading.Thread(
            target=lambda: loaded.extend(map(pickle.loads, saved))
        )
        thread.start()
        thread.join(timeout=60)
        assert torch.equal(torch.get_rng_state(), state)
    assert [type(estimator).__name__ for estimator in loaded] == ["CPEP", "MAE"]


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="no fork here, so no lock to come through it"
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_does_not_wait_for_a_thread_it_has_not():
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with one_fit_at_a_time():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
    child = os.fork()
    if child == 0:
        waiter = threading.Thread(target=_take_turn_and_leave, daemon=True)
        waiter.start()
        waiter.join(20)
        os._exit(1)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _take_turn_and_leave():
    with one_fit_at_a_time():
        os._exit(0)
