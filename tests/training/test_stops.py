"""What ends a fit and keeps its result, and what is an error or a Ctrl-C."""

import ctypes
import errno
import functools
import io
import signal
import threading
import time

import numpy as np
import pytest
import skorch.callbacks.logging
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback, EarlyStopping
from small_estimators import small

from sk_cpep import CPEP, MAE
from sk_cpep.encoders import PoseT
from sk_cpep.training import StopTraining, _checkpoint
from sk_cpep.training._callbacks import is_stop
from sk_cpep.training._net import LossNet

X = np.random.default_rng(0).normal(size=(32, 2, 40)).astype(np.float32)
P = np.random.default_rng(1).normal(size=(32, 3, 20)).astype(np.float32)
NETWORK = dict(d_model=8, n_layers=1, n_heads=2)
TRAINING = dict(
    max_epochs=4, batch_size=8, device="cpu", precision="float32", random_state=0
)
interrupt = functools.partial(signal.raise_signal, signal.SIGINT)


def mae(**parameters):
    return MAE(
        **NETWORK | TRAINING | dict(patch_length=10, n_decoder_layers=1) | parameters
    )


def error_of(code, name, **names):
    """What a function of a module raises, with its traceback."""
    scope = {"__name__": name, "interrupt": interrupt, **names}
    exec(f"def run():\n{code}", scope)
    try:
        scope["run"]()
    except BaseException as error:
        return error


def wait_for_another_thread():
    """What a thread that is interrupted by another one runs: code of skorch."""
    main = ctypes.c_ulong(threading.get_ident())

    def raise_there():
        time.sleep(0.05)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            main, ctypes.py_object(KeyboardInterrupt)
        )

    threading.Thread(target=raise_there).start()


SKORCH = "skorch.callbacks.training"


@pytest.mark.parametrize(
    "code, module, stops",
    [
        ("  raise KeyboardInterrupt", SKORCH, True),
        ("  raise KeyboardInterrupt('stop')", SKORCH, True),
        ("  raise KeyboardInterrupt from None", SKORCH, True),
        ("  raise KeyboardInterrupt", "mine", False),
        ("  raise KeyboardInterrupt", "skorch.net", False),
        ("  raise KeyboardInterrupt", "skorch.callbacks_of_mine", False),
        ("  interrupt()", SKORCH, False),
        ("  for _ in range(10**9): interrupt()", SKORCH, False),
        ("  [interrupt() for _ in range(9)]", SKORCH, False),
        ("  sorted([1, 2], key=lambda _: interrupt())", SKORCH, False),
        ("  try: interrupt()\n  except KeyboardInterrupt: raise", SKORCH, False),
        ("  try: interrupt()\n  except BaseException as e: raise e", SKORCH, False),
        ("  try: interrupt()\n  finally: int()", SKORCH, False),
        ("  start()\n  while True: pass", SKORCH, False),
        ("  handler()", SKORCH, False),
        ("  raise RuntimeError", SKORCH, False),
        ("  raise SystemExit", SKORCH, False),
        ("  raise StopTraining", "mine", True),
        ("  raise StopTraining from ValueError()", SKORCH, True),
    ],
)
def test_what_stops(code, module, stops):
    def handler():  # of a user, written in Python
        raise KeyboardInterrupt

    names = dict(StopTraining=StopTraining, start=wait_for_another_thread)
    error = error_of(code, module, handler=handler, **names)
    assert is_stop(error) == stops
    assert isinstance(error, BaseException)


def test_an_error_without_a_traceback():
    assert not is_stop(KeyboardInterrupt())


class Clock:
    """Stands for `time` where skorch measures epochs; one answer is a Ctrl-C."""

    def __init__(self, at):
        self.n, self.at = 0, at

    @property
    def time(self):
        self.n += 1
        return interrupt if self.n == self.at else time.time


@pytest.mark.parametrize("at", [1, 2, 5, 8])  # at the beginning or end of an epoch
def test_ctrl_c_in_a_callback_of_skorch(at, tmp_path, monkeypatch):
    whole = mae().fit(X)
    with monkeypatch.context() as patched:
        patched.setattr(skorch.callbacks.logging, "time", Clock(at))
        with pytest.raises(KeyboardInterrupt):
            mae(run_dir=tmp_path).fit(X)
    again = mae(run_dir=tmp_path).fit(X)
    assert again.n_iter_ == 4
    assert_array_equal(again.transform(X), whole.transform(X))


class Raises(Callback):
    """Raises in one of the hooks, in an epoch."""

    observes_only = True

    def __init__(self, error, hook, at=2):
        self.error, self.at = error, at
        setattr(self, hook, self._raise)

    def _raise(self, net, *args, **kwargs):
        if len(net.history) == self.at:
            raise self.error


@pytest.mark.parametrize("stops", ["never", "StopEarly", "EarlyStopping"])
@pytest.mark.parametrize(
    "hook", ["on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"]
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("disk")])
def test_a_run_ends_once(stops, hook, error, tmp_path):
    """Whatever befalls a run: resumed, it comes to what it would have come to."""
    ending = {
        "never": {},
        "StopEarly": dict(early_stopping=True, n_iter_no_change=1, tol=1e9),
        "EarlyStopping": {},
    }[stops]

    def callbacks(*first):
        last = [EarlyStopping("train_loss", patience=1, threshold=1e9)]
        return [*first, *(last if stops == "EarlyStopping" else [])]

    whole = mae(callbacks=callbacks(), **ending).fit(X)
    assert whole.n_iter_ == (4 if stops == "never" else 2)
    broken = Raises(error, hook, at=whole.n_iter_)
    with pytest.raises(type(error)):
        mae(run_dir=tmp_path, callbacks=callbacks(broken), **ending).fit(X)
    (path,) = tmp_path.glob("*/checkpoint.pt")
    saved = torch.load(path, weights_only=True)
    has_ended = hook == "on_train_end" and stops != "never"
    assert saved["has_ended"] == has_ended
    if stops == "EarlyStopping" and not has_ended:
        return  # it has no state that could be resumed
    again = mae(run_dir=tmp_path, callbacks=callbacks(), **ending).fit(X)
    assert again.n_iter_ == whole.n_iter_
    assert_array_equal(again.transform(X), whole.transform(X))


def test_a_stop_that_cannot_be_saved(tmp_path, monkeypatch):
    ending = dict(early_stopping=True, n_iter_no_change=1, tol=1e9)
    write = _checkpoint.replace_file

    def full(path, data, *args):
        if torch.load(io.BytesIO(data), weights_only=True).get("has_ended"):
            raise OSError(errno.ENOSPC, "no space left on device")
        write(path, data, *args)

    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "replace_file", full)
        with pytest.raises(OSError, match="no space"):
            mae(run_dir=tmp_path, **ending).fit(X)
    again = mae(run_dir=tmp_path, **ending).fit(X)
    assert_array_equal(again.transform(X), mae(**ending).fit(X).transform(X))


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_begin", "on_batch_end"])
def test_a_stop_within_an_epoch_is_refused(hook, tmp_path):
    stop = Raises(StopTraining(), hook)
    with pytest.raises(RuntimeError, match="raise it in on_epoch_end"):
        mae(callbacks=[stop], run_dir=tmp_path).fit(X)
    assert mae(run_dir=tmp_path).fit(X).n_iter_ == 4


@pytest.mark.parametrize("at", [1, 2])
def test_the_best_weights_are_kept_whoever_stops(at):
    """Also those of the last epoch, of which early stopping does not hear."""

    class Weights(Callback):
        losses, weights = (), ()

        def on_epoch_end(self, net, **kwargs):
            state = {k: v.clone() for k, v in net.module_.state_dict().items()}
            self.losses += (net.history[-1, "valid_loss"],)
            self.weights += (state,)

    seen = Weights()
    callbacks = [seen, Raises(StopTraining(), "on_epoch_end", at)]
    fitted = mae(callbacks=callbacks, early_stopping=True).fit(X)
    best = seen.weights[int(np.argmin(seen.losses))]
    assert len(seen.losses) == at
    for name, value in fitted.module_.state_dict().items():
        assert_array_equal(value, best[f"autoencoder.{name}"])


def spoil_validation(monkeypatch, value):
    """Make validation losses of the networks what they never should be."""
    step = LossNet.validation_step

    def spoiled(self, batch):
        return step(self, batch) * 0 + value

    monkeypatch.setattr(LossNet, "validation_step", spoiled)


STOPS = dict(early_stopping=True, validation_fraction=0.3)
FITS = {
    "MAE": (mae(**STOPS), (X,)),
    "CPEP": (CPEP(mae(), mae(patch_length=5), **TRAINING, **STOPS), (X, P)),
    "CPEP, an encoder": (CPEP(mae(), mae(patch_length=5, **STOPS), **TRAINING), (X, P)),
    "EncoderClassifier": (
        small("EncoderClassifier", encoder=mae(), **STOPS),
        (X, np.arange(len(X)) % 2),
    ),
    "PoseT": (PoseT(10, **NETWORK, **TRAINING, **STOPS), (X, P)),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FITS)
def test_a_validation_loss_that_is_not_finite(name, value, monkeypatch):
    spoil_validation(monkeypatch, value)
    estimator, data = FITS[name]
    message = rf"the validation loss is {value} after epoch 1, .* sets aside"
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data)
