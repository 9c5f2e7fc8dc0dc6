"""Steps in half precision, compiled, and replayed, against the plain float32 step."""

import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_objectives import make_alignment, make_reconstruction
from torch import nn

from sk_cpep import MAE
from sk_cpep.training import GraphedStep, Objective, TrainingStep

SIZES = dict(patch_length=10, d_model=32, n_layers=2, n_decoder_layers=1, n_heads=4)
CPU = torch.device("cpu")


def waves(n=32, seed=0):
    """EMG-like windows (n, 4, 120) whose parts tell of each other, and poses."""
    rng = np.random.default_rng(seed)
    times = np.arange(120) / 120
    phase, rate = rng.uniform(0, 2 * np.pi, (n, 4, 1)), rng.uniform(1, 4, (n, 1, 1))
    X = np.sqrt(2) * np.sin(2 * np.pi * rate * times + phase)
    P = np.cos(2 * np.pi * rate * times[::2] + phase[:, :3])
    return torch.tensor(X, dtype=torch.float32), torch.tensor(P, dtype=torch.float32)


def reconstruction():
    return make_reconstruction((4, 120), **SIZES)


def alignment():
    return make_alignment([(4, 120), (3, 60)], SIZES)


def make_step(objective, lr=1e-3, **options):
    objective.train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=lr, weight_decay=1e-5)
    return TrainingStep(objective, optimizer, device=CPU, **options)


def losses(step, batches, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return np.array([step(list(batch), generator).item() for batch in batches])


def batches_of(kind, n_steps):
    batches = [waves(seed=seed) for seed in range(n_steps)]
    return [batch[:1] for batch in batches] if kind is reconstruction else batches


@pytest.mark.parametrize("kind", [reconstruction, alignment])
def test_loss_curves_of_the_precisions_agree(kind):
    batches = batches_of(kind, 200)
    curves = [
        losses(make_step(kind(), lr=3e-4, dtype=dtype), batches)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert curves[0][-50:].mean() < 0.9 * curves[0][:20].mean()
    assert_allclose(curves[1][-50:].mean(), curves[0][-50:].mean(), rtol=0.01)
    assert not np.array_equal(*curves)


@pytest.mark.parametrize("kind", [reconstruction, alignment])
def test_what_learns_is_float32(kind):
    step = make_step(kind(), dtype=torch.bfloat16)
    seen = {}
    for name, module in step.module.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(
                lambda _, args, out, name=name: seen.__setitem__(name, out.dtype)
            )
    losses(step, batches_of(kind, 2))
    assert seen.pop("alignment.head", torch.float32) == torch.float32
    assert set(seen.values()) == {torch.bfloat16}
    for p in step.module.parameters():
        assert p.dtype == torch.float32
        if p.grad is not None:
            assert p.grad.dtype == torch.float32
    for state in step.optimizer.state.values():
        assert {v.dtype for v in state.values()} == {torch.float32}


def test_master_weights_learn_what_bfloat16_would_lose():
    """A step far below the resolution of bfloat16 is not lost to rounding."""

    class Line(Objective):
        half_weights = True

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 1))

        def draw(self, x, generator=None):
            return (x,)

        def compute(self, x):
            return (x.to(self.weight.dtype) @ self.weight).float().mean()

    line = Line()
    step = TrainingStep(
        line,
        torch.optim.SGD(line.parameters(), lr=1e-4),
        device=CPU,
        dtype=torch.bfloat16,
    )
    for _ in range(100):
        step([torch.ones(4, 1)], None)
    assert_allclose(line.weight.item(), 1 - 100 * 1e-4, rtol=1e-5)


def test_gradients_of_the_precisions_agree():
    (x,), generator = batches_of(reconstruction, 1)[0], torch.Generator()
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        step = make_step(reconstruction(), dtype=dtype)
        step.backward([x], generator.manual_seed(3))
        gradients.append(
            torch.cat([p.grad.flatten() for p in step.module.parameters()])
        )
    cosine = torch.cosine_similarity(*gradients, dim=0)
    assert cosine > 0.99
    assert_allclose(gradients[1].norm(), gradients[0].norm(), rtol=0.03)


def test_gradients_of_earlier_steps_do_not_add_up():
    batch, generator = batches_of(alignment, 1)[0], torch.Generator()
    for dtype in (torch.float32, torch.bfloat16):
        step = make_step(alignment(), dtype=dtype)
        norms = []
        for _ in range(2):
            step.backward(list(batch), generator.manual_seed(0))
            norms.append([p.grad.norm().item() for p in step.module.parameters()])
        assert norms[0] == norms[1]


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_windows_stored_in_half_precision(stored, dtype):
    batches = [[x.to(stored)] for (x,) in batches_of(reconstruction, 20)]
    expected = losses(make_step(reconstruction()), batches_of(reconstruction, 20))
    found = losses(make_step(reconstruction(), dtype=dtype), batches)
    assert_allclose(found, expected, rtol=0.02 if dtype == torch.bfloat16 else 2e-3)


def test_the_gradient_is_clipped():
    batch = list(batches_of(alignment, 1)[0])
    step = make_step(alignment(), gradient_clip=1e-3)
    step.backward(batch, None)
    free = torch.cat([p.grad.flatten().clone() for p in step.module.parameters()])
    step.update()
    clipped = torch.cat([p.grad.flatten() for p in step.module.parameters()])
    expected = free.double() * 1e-3 / free.double().norm()
    assert_allclose(clipped, expected, rtol=1e-4, atol=1e-12)


def test_compiled_steps_learn_the_same(monkeypatch):
    """Batches that are not full are computed without, though one comes first.

    Traced as for any compiler, but run by PyTorch itself: quicker to begin.
    """
    compiled_for, real_compile = [], torch.compile

    def compile_and_count(function, **options):
        compiled = real_compile(function, backend="aot_eager", **options)
        return lambda x, *rest: compiled_for.append(len(x)) or compiled(x, *rest)

    monkeypatch.setattr(torch, "compile", compile_and_count)
    batches = batches_of(reconstruction, 6)
    for short in (0, 3):
        batches[short] = [batches[short][0][:5]]
    for dtype, rtol in [(torch.float32, 1e-4), (torch.bfloat16, 0.01)]:
        expected = losses(make_step(reconstruction(), dtype=dtype), batches)
        step = make_step(reconstruction(), dtype=dtype, compile=True, batch_size=32)
        assert_allclose(losses(step, batches), expected, rtol=rtol)
    assert compiled_for == 2 * 4 * [32]


def test_compile_is_a_parameter_of_the_estimator():
    X = waves(24)[0].numpy()
    options = dict(device="cpu", precision="float32", random_state=0, batch_size=8)
    sizes = dict(SIZES, n_layers=1, max_epochs=2, **options)
    plain, compiled = (MAE(**sizes, compile=c).fit(X) for c in (False, True))
    for a, b in zip(plain.history_, compiled.history_):
        assert_allclose(b["train_loss"], a["train_loss"], rtol=1e-4)


def test_advice_to_be_less_exact_is_not_passed_on(monkeypatch):
    def compiled_on_a_gpu(function, dynamic):
        def run(*args):
            warnings.warn("TensorFloat32 tensor cores", UserWarning, stacklevel=2)
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compiled_on_a_gpu)
    X = waves(8)[0].numpy()
    options = dict(device="cpu", precision="float32", random_state=0, max_epochs=1)
    with pytest.warns(UserWarning, match="TensorFloat32"):
        MAE(**SIZES, compile=True, batch_size=4, **options).fit(X)  # at the second step
    assert MAE(**SIZES, compile=True, batch_size=8, **options).fit(X).n_iter_ == 1


class Tape:
    """Stands for CUDA's recorder: what is recorded is run, anew, at each replay.

    The recording itself changes nothing, as on a GPU.
    """

    def __init__(self, step, generator):
        self.step, self.generator = step, generator
        self.calls = []

    def on_side_stream(self, function):
        self.calls.append("warm up")
        return function()

    def record(self, function):
        self.calls.append("record")
        module, optimizer = self.step.module, self.step.optimizer
        before = deepcopy((module.state_dict(), optimizer.state_dict()))
        random = self.generator.get_state()
        result = function().clone()
        module.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        self.generator.set_state(random)
        if self.step.computation is not None:
            self.step.computation.copy_master_weights()

        def replay():
            self.calls.append("replay")
            result.copy_(function())

        return result, replay


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_steps_learn_the_same(dtype):
    """CUDA's own recording is run by ``make test-gpu``."""
    batches = batches_of(alignment, 8)
    for short in (0, 6):  # the last batch of an epoch may come first
        batches[short] = [x[:7] for x in batches[short]]
    expected = losses(make_step(alignment(), dtype=dtype), batches)
    step = make_step(alignment(), dtype=dtype, batch_size=32)
    generator = torch.Generator().manual_seed(0)
    tape = Tape(step, generator)
    graphed = GraphedStep(step, generator, tape)
    kept = [x.clone() for x in batches[0]]
    found = [graphed(list(batch)) for batch in batches]
    assert_allclose([x.item() for x in found], expected, rtol=1e-6)
    assert tape.calls == ["warm up"] * 3 + ["record"] + ["replay"] * 3
    for x, y in zip(batches[0], kept):  # the caller's batches are left alone
        assert torch.equal(x, y)
