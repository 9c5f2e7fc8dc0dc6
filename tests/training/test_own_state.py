"""What torch was told by the caller stays out, and is there again afterwards."""

import threading

import numpy as np
import pytest
import torch

from sk_cpep.training import TrainingStep, own_state
from sk_cpep.training._own_state import (
    LegacyCudnn,
    LegacyMatmul,
    Switch,
    exact_products,
)

CPU = torch.device("cpu")
HAS_GENERAL_SWITCH = hasattr(torch.backends, "fp32_precision")
needs_general_switch = pytest.mark.skipif(
    not HAS_GENERAL_SWITCH,
    reason="torch 2.8 has one switch, which test_switch_is_set_and_set_back is about",
)


class Owner:
    """Stands for a switch of torch, without a general one behind it."""

    def __init__(self, value):
        self.fp32_precision = value


@pytest.fixture
def precision_as_before():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("before", ["tf32", "bf16", "ieee", "none"])
def test_switch_is_set_and_set_back(before):
    owner = Owner(before)
    switch = Switch(owner)
    switch.enter()
    assert owner.fp32_precision == ("none" if before == "none" else "ieee")
    switch.enter()
    switch.leave()
    assert owner.fp32_precision == ("none" if before == "none" else "ieee")
    switch.leave()
    assert owner.fp32_precision == before


@pytest.mark.parametrize("before", ["tf32", "ieee"])
@pytest.mark.parametrize("entered_again", [False, True])
def test_what_the_caller_sets_meanwhile_returns(before, entered_again):
    owner = Owner(before)
    switch = Switch(owner)
    switch.enter()
    owner.fp32_precision = "bf16"
    if entered_again:
        switch.enter()
        assert owner.fp32_precision == "ieee"
        switch.leave()
        assert owner.fp32_precision == "ieee"
    switch.leave()
    assert owner.fp32_precision == "bf16"


def test_the_last_of_several_threads_sets_it_back():
    owner = Owner("bf16")
    switch = Switch(owner)
    second_is_in, first_is_out = threading.Event(), threading.Event()
    seen = []

    def second():
        switch.enter()
        second_is_in.set()
        first_is_out.wait(60)
        seen.append(owner.fp32_precision)
        switch.leave()

    thread = threading.Thread(target=second)
    switch.enter()
    thread.start()
    second_is_in.wait(60)
    switch.leave()
    first_is_out.set()
    thread.join(60)
    assert seen == ["ieee"]
    assert owner.fp32_precision == "bf16"


@pytest.mark.parametrize("told", ["medium", "high", "highest"])
def test_matrix_products(precision_as_before, told):
    torch.set_float32_matmul_precision(told)
    with exact_products(CPU):
        if HAS_GENERAL_SWITCH:
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        else:
            assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == told


@needs_general_switch
def test_a_general_switch_stays_in_charge():
    backends = torch.backends
    before = backends.fp32_precision
    try:
        backends.mkldnn.matmul.fp32_precision = "none"
        backends.fp32_precision = "tf32"
        with exact_products(CPU):
            for operation in ("matmul", "conv", "rnn"):
                owner = getattr(backends.mkldnn, operation)
                assert owner.fp32_precision == "ieee"
        assert backends.mkldnn.matmul.fp32_precision == "tf32"
        backends.fp32_precision = "ieee"
        assert backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = before


def test_legacy_switches(precision_as_before):
    matmul, cudnn = LegacyMatmul(), LegacyCudnn()
    for name, value in (("medium", "bf16"), ("high", "tf32"), ("highest", "ieee")):
        torch.set_float32_matmul_precision(name)
        assert matmul.fp32_precision == value
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = value
        assert torch.get_float32_matmul_precision() == name
    before = torch.backends.cudnn.allow_tf32
    for value in ("ieee", "tf32"):
        cudnn.fp32_precision = value
        assert cudnn.fp32_precision == value
        assert torch.backends.cudnn.allow_tf32 == (value == "tf32")
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda"])
@pytest.mark.parametrize(
    "told",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_own_state(told, device):
    def state():
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        )

    with told():
        before = state()
        with own_state(torch.device(device)):
            assert state() == (True, False, False)
            product = torch.ones(2, 2) @ torch.ones(2, 2)
            assert product.dtype == torch.float32
        assert state() == before


def test_an_error_inside_sets_everything_back(precision_as_before):
    torch.set_float32_matmul_precision("medium")
    with pytest.raises(ValueError, match="inside"), torch.no_grad(), own_state(CPU):
        raise ValueError("inside")
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.is_grad_enabled()
    assert np.isfinite(torch.ones(1).numpy()).all()


class SquaredError(torch.nn.Module):
    """Of a linear layer; `generator` is not used."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1, bias=False)

    def forward(self, x, generator=None):
        return self.linear(x).float().square().mean()


@pytest.mark.parametrize("inside", [False, True])
def test_every_step_computes_with_the_weights_of_the_step_before(inside):
    torch.manual_seed(0)
    module, x = SquaredError(), torch.randn(8, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    step = TrainingStep(module, optimizer, device=CPU, dtype=torch.bfloat16)
    with own_state(CPU) if inside else torch.enable_grad():
        for _ in range(3):
            weight = module.linear.weight.detach().bfloat16()
            expected = (x.bfloat16() @ weight.T).float().square().mean()
            assert step([x], None).item() == pytest.approx(expected.item(), rel=1e-6)
