"""What skorch's callbacks find in a fit, and what is logged of it."""

import logging

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    ProgressBar,
)
from small_objectives import make_reconstruction, make_windows
from torch import nn

from sk_cpep import MAE
from sk_cpep.training import TrainingPlan, train

PLAN = dict(batch_size=8, max_epochs=3, lr=1e-2, early_stopping=True)


def fit(*callbacks, module=None, arrays=None, **plan):
    """The module, and the net's history, rates and gradients as callbacks see them."""
    module = make_reconstruction() if module is None else module
    arrays = make_windows()[:1] if arrays is None else arrays
    seen = Seen()
    plan = TrainingPlan(**PLAN | plan)
    rng = np.random.RandomState(0)
    train(module, arrays, plan, rng=rng, callbacks=[*callbacks, seen])
    return module, seen


class Seen(Callback):
    """Notes every hook, and what the net is then."""

    def __init__(self):
        self.hooks, self.rates, self.norms = [], [], []

    def on_train_begin(self, net, **kwargs):
        self.hooks.append("train begins")
        self.net_ = net

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        self.hooks.append(f"epoch of {len(dataset_train)} and {len(dataset_valid)}")
        self.rates.append(net.optimizer_.param_groups[0]["lr"])

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.hooks.append(f"batch of {len(batch[0])}")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        gradients = [p.grad for _, p in named_parameters if p.grad is not None]
        self.norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())

    def on_batch_end(self, net, training, loss, **kwargs):
        self.hooks.append("trained" if training else "validated")

    def on_epoch_end(self, net, **kwargs):
        self.hooks.append(f"epoch {net.history[-1, 'epoch']} ends")

    def on_train_end(self, net, **kwargs):
        self.hooks.append("train ends")


def test_hooks_are_called_in_skorchs_order():
    trained = ["batch of 10", "trained"] * 2
    epochs = [
        ["epoch of 20 and 2", *trained, "batch of 2", "validated", f"epoch {n} ends"]
        for n in (1, 2)
    ]
    _, seen = fit(max_epochs=2, batch_size=10)
    assert seen.hooks == ["train begins", *epochs[0], *epochs[1], "train ends"]


def test_history():
    net = fit()[1].net_
    assert net.history[:, "epoch"] == [1, 2, 3]
    for name in ("train_loss", "valid_loss", "lr", "dur"):
        assert np.isfinite(net.history[:, name]).all()


def test_callbacks_with_and_without_names():
    two = [Callback(), Callback(), ("mine", Callback())]
    names = [name for name, _ in fit(*two)[1].net_.callbacks_]
    assert names[0] == "epoch_timer"
    assert [n for n in names if "Callback" in n or n == "mine"] == [
        "Callback_1",
        "Callback_2",
        "mine",
    ]
    with pytest.raises(ValueError, match="duplicate user-set callback name 'mine'"):
        fit(("mine", Callback()), ("mine", Callback()))


def test_a_score_of_ones_own():
    def weight(net, X, y=None):
        return net.module_.autoencoder.encoder.embed.weight.abs().sum().item()

    score = EpochScoring(weight, name="weight", use_caching=False, lower_is_better=True)
    module, seen = fit(score)
    assert seen.net_.history[-1, "weight"] == weight(seen.net_, None)
    assert "weight_best" in seen.net_.history[-1]


def test_checkpoints_of_skorch(tmp_path):
    module, _ = fit(Checkpoint(monitor=None, dirname=tmp_path))
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, value in module.state_dict().items():
        assert_array_equal(saved[name], value)
    assert len(list(tmp_path.iterdir())) == 4  # optimizer, criterion, history


@pytest.mark.parametrize("monitor", ["train_loss", "valid_loss"])
def test_early_stopping_of_skorch(monitor):
    stop = EarlyStopping(monitor=monitor, patience=2, threshold=10.0)
    assert len(fit(stop, max_epochs=9)[1].net_.history) == 3


def test_schedules_of_skorch():
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    _, seen = fit(schedule, schedule="constant")
    assert seen.rates == [1e-2, 5e-3, 2.5e-3]


def test_gradients_are_clipped_by_skorch():
    norms = fit()[1].norms
    clipped = fit(GradientNormClipping(0.1))[1].norms
    assert min(norms) > 0.1
    assert max(clipped) == pytest.approx(0.1, rel=1e-4)


def test_frozen_by_skorch():
    start = make_reconstruction().state_dict()
    module, _ = fit(Freezer("*encoder.embed*"))
    for name, value in module.state_dict().items():
        assert torch.equal(value, start[name]) == ("encoder.embed" in name), name


def test_progress_of_skorch(capsys):
    lines = []
    fit(ProgressBar(), PrintLog(sink=lines.append))
    assert [line.split()[0] for line in lines[-3:]] == ["1", "2", "3"]
    assert "0/4" in capsys.readouterr().err


def test_a_score_of_predictions_has_nothing_to_score():
    with pytest.raises(ValueError, match="must return exactly 2 values"):
        fit(BatchScoring(lambda net, X, y: 0.0, name="score"))


def messages(caplog, *args, **kwargs):
    caplog.clear()
    with caplog.at_level(logging.INFO, "sk_cpep"):
        fit(*args, **kwargs)
    assert {record.name for record in caplog.records} == {"sk_cpep"}
    return caplog.messages


def test_what_is_logged(caplog):
    assert messages(caplog) == [
        "Training a network for 3 epochs of 3 batches, on cpu in float32, as process 0 "
        "of 1.",
        "Windows of shape (22, 3, 16) are in memory.",
    ]


def test_mixed_precision_is_logged(caplog):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 1)

        def forward(self, x, generator=None):
            return self.linear(x).float().square().mean()

    logged = messages(caplog, dtype=torch.bfloat16)
    assert "on cpu in bfloat16" in logged[0]
    assert (
        "Mixed precision: torch.bfloat16 by copies of float32 master weights." in logged
    )
    logged = messages(caplog, module=Plain(), dtype=torch.bfloat16)
    assert "Mixed precision: torch.bfloat16 by autocast." in logged


def test_compiling_is_logged(caplog, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    logged = messages(caplog, compile=True)
    assert "Steps of full batches are compiled." in logged
    assert logged[-1] == (
        "Steps are not replayed as a CUDA graph, which takes one process on a CUDA "
        "device: there are 1 on cpu."
    )

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x, generator=None):
            return (self.weight * x).square().mean()

    logged = messages(caplog, module=Plain(), compile=True)
    assert "Steps are not compiled: Plain is no Objective, of which a part can be." in (
        logged
    )


def test_what_is_read_from_files_is_logged(caplog, tmp_path):
    np.save(tmp_path / "emg.npy", make_windows()[0])
    mapped = np.load(tmp_path / "emg.npy", mmap_mode="r")
    logged = messages(caplog, arrays=[mapped])
    assert "Windows of shape (22, 3, 16) are read while training." in logged


def test_nothing_is_logged_unasked(capfd):
    MAE(4, d_model=8, n_layers=1, n_heads=2, max_epochs=1, device="cpu").fit(
        make_windows()[0]
    )
    assert capfd.readouterr() == ("", "")
    handlers = logging.getLogger("sk_cpep").handlers
    assert all(isinstance(handler, logging.NullHandler) for handler in handlers)
