"""The engine against a bare PyTorch loop, and what it does around it."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, EarlyStopping
from small_objectives import (
    Recorder,
    make_alignment,
    make_reconstruction,
    make_windows,
)
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from sk_cpep.nn import Augmentation
from sk_cpep.training import (
    Reconstruction,
    StopTraining,
    TrainingPlan,
    resolve_device,
    resolve_precision,
    seeded,
    train,
)
from sk_cpep.training._device import has_bfloat16_units
from sk_cpep.training._step import autocast
from sk_cpep.training._train import split_rows


class Lines(nn.Module):
    """Fit a line through (x, 3 x): a module whose loss is known at any weight."""

    def __init__(self, start=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(start)))

    def forward(self, x, generator=None):
        return ((self.weight - 3) * x).square().mean()


class Spy(Callback):
    """Records the learning rate of each batch and the weights after each epoch."""

    def __init__(self):
        self.rates, self.weights, self.batches = [], [], []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])
        self.batches.append((training, batch[0].clone()))

    def on_epoch_end(self, net, **kwargs):
        self.weights.append(deepcopy(net.module_.state_dict()))


class Raises(Callback):
    """Raises after an epoch."""

    def __init__(self, error, epoch=2):
        self.error = error
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


def alignment(**options):
    return make_alignment(augment=Augmentation(channel_rotation=1), **options)


def fit(module, arrays, *, seed=0, callbacks=(), groups=None, **plan):
    plan = TrainingPlan(**{"batch_size": 8, "max_epochs": 4, "lr": 1e-2} | plan)
    rng = np.random.RandomState(seed)
    return train(module, arrays, plan, rng=rng, callbacks=callbacks, groups=groups)


@pytest.mark.parametrize("restart_period", [None, 2])
@pytest.mark.parametrize("kind", [make_reconstruction, alignment])
def test_equals_a_bare_loop(kind, restart_period):
    arrays = make_windows() if kind is alignment else make_windows()[:1]
    recorder = Recorder(kind())
    bare = deepcopy(recorder.objective).train()
    history = fit(recorder, arrays, weight_decay=0.1, restart_period=restart_period)

    named = list(bare.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if "log_scale" in n], "weight_decay": 0.0},
            {"params": [p for n, p in named if "log_scale" not in n]},
        ],
        lr=1e-2,
        weight_decay=0.1,
        fused=True,
    )
    n_batches = 3
    period = (restart_period or 4) * n_batches
    schedule = CosineAnnealingWarmRestarts(optimizer, T_0=period)
    generator = torch.Generator()
    losses = []
    assert len(recorder.calls) == 4 * n_batches
    for batch, state, training in recorder.calls:
        assert training
        generator.set_state(state)
        optimizer.zero_grad()
        loss = bare(*batch, generator=generator)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append((loss.item(), len(batch[0])))
    for (name, ours), theirs in zip(
        recorder.objective.named_parameters(), bare.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    for epoch, record in enumerate(history):
        values, sizes = zip(*losses[3 * epoch : 3 * epoch + 3], strict=True)
        assert_allclose(
            record["train_loss"], np.average(values, weights=sizes), rtol=1e-6
        )


def test_masks_differ_from_batch_to_batch():
    recorder = Recorder(make_reconstruction())
    fit(recorder, make_windows()[:1])
    states = {state.numpy().tobytes() for _, state, _ in recorder.calls}
    assert len(states) == len(recorder.calls)


@pytest.mark.parametrize("period", [None, 1, 2, 3])
def test_learning_rate_is_a_cosine_with_warm_restarts(period):
    spy = Spy()
    history = fit(
        Lines(),
        make_windows()[:1],
        restart_period=period,
        callbacks=[spy],
        max_epochs=6,
    )
    length = 3 * (period or 6)
    step = np.arange(18) % length
    expected = 1e-2 * (1 + np.cos(np.pi * step / length)) / 2
    assert_allclose(spy.rates, expected, rtol=1e-9)
    assert_allclose([record["lr"] for record in history], expected[::3], rtol=1e-9)


def test_log_scale_does_not_decay():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(torch.tensor(3.0))
            self.other = nn.Parameter(torch.tensor(3.0))

        def forward(self, x, generator=None):
            return 0 * (self.log_scale + self.other) * x.mean()

    module = Still()
    fit(module, make_windows()[:1], weight_decay=1.0, max_epochs=1)
    rates = 1e-2 * (1 + np.cos(np.pi * np.arange(3) / 3)) / 2
    assert module.log_scale.item() == 3
    assert_allclose(module.other.item(), 3 * np.prod(1 - rates), rtol=1e-6)


def test_history():
    history = fit(Lines(), make_windows()[:1])
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    assert all(set(r) == {"epoch", "train_loss", "lr", "seconds"} for r in history)
    early = fit(Lines(), make_windows()[:1], early_stopping=True)
    assert all("valid_loss" in record for record in early)


def test_batches_hold_one_group():
    X = np.repeat(np.arange(4.0), 6).reshape(24, 1, 1)
    groups = X.ravel().astype(int)
    spy = Spy()
    fit(Lines(), [X], groups=groups, callbacks=[spy], batch_size=4)
    assert len(spy.batches) == 4 * 8
    assert all(len(batch.unique()) == 1 for _, batch in spy.batches)


def test_no_batch_left():
    with pytest.raises(ValueError, match="No batch holds 2 windows: give more windows"):
        fit(Lines(), make_windows(3)[:1], groups=np.arange(3), min_batch=2)


@pytest.mark.parametrize(
    "fraction, n_valid", [(0.1, 2), (0.25, 5), (0.5, 10), (0.001, 1)]
)
def test_split(fraction, n_valid):
    plan = TrainingPlan(early_stopping=True, validation_fraction=fraction)
    rows, valid = split_rows(20, plan, np.random.RandomState(0))
    assert len(valid) == n_valid
    assert sorted([*rows, *valid]) == list(range(20))
    other = split_rows(20, plan, np.random.RandomState(1))[1]
    assert fraction < 0.05 or list(other) != list(valid)


def test_no_split_without_early_stopping():
    rows, valid = split_rows(20, TrainingPlan(), np.random.RandomState(0))
    assert valid is None
    assert_array_equal(rows, np.arange(20))


def test_split_that_leaves_nothing_to_train_on():
    plan = TrainingPlan(early_stopping=True, validation_fraction=0.9, min_batch=2)
    with pytest.raises(ValueError, match=r"validation_fraction=0\.9 leaves 1 of 10"):
        split_rows(10, plan, np.random.RandomState(0))


def test_validation_has_the_same_masks_in_every_epoch():
    recorder = Recorder(make_reconstruction())
    fit(recorder, make_windows()[:1], early_stopping=True, validation_fraction=0.5)
    valid = [(batch[0], s) for batch, s, training in recorder.calls if not training]
    assert len(valid) == 2 * 4
    for i in range(2):
        epochs = valid[i::2]
        assert all(torch.equal(x, epochs[0][0]) for x, _ in epochs)
        assert all(torch.equal(state, epochs[0][1]) for _, state in epochs)
    trained = {x.numpy().tobytes() for b, _, t in recorder.calls if t for x in b[0]}
    tested = {x.numpy().tobytes() for x, _ in valid for x in x}
    assert len(trained) == len(tested) == 11
    assert not trained & tested


class Scripted(nn.Module):
    """Validation losses as written down; the weight counts training steps."""

    def __init__(self, losses):
        super().__init__()
        self.losses = iter(losses)
        self.steps = nn.Parameter(torch.tensor(0.0))

    def forward(self, x, generator=None):
        if self.training:
            return self.steps - self.steps.detach() + 1
        return torch.tensor(next(self.losses))


def test_early_stopping_keeps_the_best_weights():
    module, spy = Scripted([5.0, 3.0, 2.0, 2.5, 2.2, 2.1, 1.0]), Spy()
    history = fit(
        module,
        make_windows()[:1],
        early_stopping=True,
        n_iter_no_change=3,
        max_epochs=7,
        batch_size=22,
        callbacks=[spy],
    )
    assert_allclose([r["valid_loss"] for r in history], [5, 3, 2, 2.5, 2.2, 2.1])
    assert torch.equal(module.steps, spy.weights[2]["steps"])
    assert not torch.equal(module.steps, spy.weights[5]["steps"])


def test_early_stopping_wants_improvements_of_tol():
    losses = [1.0, 0.99, 0.98, 0.97, 0.5]
    options = dict(early_stopping=True, n_iter_no_change=2, max_epochs=5, batch_size=22)
    assert len(fit(Scripted(losses), make_windows()[:1], tol=0.05, **options)) == 3
    assert len(fit(Scripted(losses), make_windows()[:1], tol=0.001, **options)) == 5


@pytest.mark.parametrize("when", ["on_epoch_end", "on_batch_end", "on_train_begin"])
def test_ctrl_c_goes_through(when):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    callback = Callback()
    setattr(callback, when, interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(Lines(), make_windows()[:1], callbacks=[callback])


def test_skorchs_early_stopping_ends_the_fit():
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    module = Lines()
    history = fit(module, make_windows()[:1], callbacks=[stop], max_epochs=20)
    assert len(history) == 3
    assert not module.training


def test_stop_training_ends_the_fit():
    module = Lines()
    assert len(fit(module, make_windows()[:1], callbacks=[Raises(StopTraining())])) == 2
    assert not module.training


def test_other_errors_go_through():
    with pytest.raises(ZeroDivisionError):
        fit(Lines(), make_windows()[:1], callbacks=[Raises(ZeroDivisionError())])


@pytest.mark.parametrize("start", [np.inf, np.nan, 1e30])
def test_divergence_is_named(start):
    with pytest.raises(
        ValueError, match=r"Training diverged: the loss is (inf|nan) after"
    ):
        fit(Lines(start), make_windows()[:1])


def test_global_generators_are_left_alone():
    torch_state = torch.get_rng_state()
    numpy_state = check_random_state(None).get_state()
    with seeded(3):
        first = torch.rand(3)
        fit(make_reconstruction(), make_windows()[:1], early_stopping=True)
    with seeded(3):
        again = torch.rand(3)
    assert torch.equal(first, again)
    assert torch.equal(torch_state, torch.get_rng_state())
    for now, before in zip(check_random_state(None).get_state(), numpy_state):
        assert_array_equal(now, before)


@pytest.mark.parametrize("kind", [make_reconstruction, alignment])
def test_the_seed_decides(kind):
    arrays = make_windows() if kind is alignment else make_windows()[:1]
    runs = []
    for seed in (1, 1, 2):
        module = kind()
        fit(module, arrays, seed=seed, max_epochs=2)
        runs.append(torch.cat([p.detach().ravel() for p in module.parameters()]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_frozen_encoders_do_not_train():
    X, P = make_windows()
    module = alignment(poses_embedded=True, train_emg=False)
    before = deepcopy(module.alignment.state_dict())
    with torch.no_grad():
        V = module.alignment.embed_pose(torch.from_numpy(P)).numpy()
    fit(module, [X, V], weight_decay=1.0)
    changed = {
        name.split(".")[0]
        for name, value in module.alignment.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"head", "log_scale"}


def test_frozen_encoders_have_no_dropout():
    module = alignment(poses_embedded=True, train_emg=False).train()
    assert not module.alignment.emg_encoder.training
    assert not module.alignment.pose_encoder.training
    assert module.alignment.head.training
    module = alignment().train()
    assert module.alignment.emg_encoder.training
    assert module.alignment.pose_encoder.training


def test_augmentation_only_while_training():
    x = torch.from_numpy(make_windows()[0])
    seen = []

    class Inner(nn.Module):
        def draw_tokens(self, x, generator):
            return None, None

        def loss(self, x, kept, hidden):
            seen.append(x)

    objective = Reconstruction(Inner(), Augmentation(noise=1.0))
    objective.train()(x, generator=torch.Generator())
    objective.eval()(x, generator=torch.Generator())
    assert not torch.equal(seen[0], x)
    assert torch.equal(seen[1], x)


def test_progress(capsys):
    fit(Lines(), make_windows()[:1], verbose=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.replace("\r", "\n").strip().splitlines()[-1]
    assert "12/12" in last
    assert "epoch=4/4" in last
    assert "train=" in last
    assert "<00:00" in last  # time left


def test_silence(capsys):
    fit(Lines(), make_windows()[:1], verbose=0, early_stopping=True)
    assert capsys.readouterr() == ("", "")


def test_device():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    for device in ("toaster", "cuda:99", "meta"):
        with pytest.raises(ValueError, match=f"device='{device}' cannot be used here"):
            resolve_device(device)


def test_auto_device_is_the_best(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_precision(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert resolve_precision("float32", cpu) is torch.float32
    assert resolve_precision("bfloat16", cpu) is torch.bfloat16
    for capability, dtype in [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]:
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda d, c=capability: c
        )
        assert resolve_precision("auto", cuda) is dtype
    for amx in (True, False):
        monkeypatch.setattr(
            torch.cpu, "_is_amx_tile_supported", lambda a=amx: a, raising=False
        )
        assert has_bfloat16_units(cpu) is amx
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert resolve_precision("auto", cpu) is torch.float32


def test_autocast():
    a = torch.ones(2, 2)
    with autocast(torch.bfloat16, torch.device("cpu")):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(torch.float32, torch.device("cpu")):
        assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize("kind", [make_reconstruction, alignment])
def test_bfloat16_is_close_to_float32(kind):
    arrays = make_windows() if kind is alignment else make_windows()[:1]
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        history = fit(kind(), arrays, dtype=dtype, max_epochs=2, lr=1e-3)
        losses.append([record["train_loss"] for record in history])
    assert_allclose(losses[1], losses[0], rtol=0.05)
    assert losses[0] != losses[1]
