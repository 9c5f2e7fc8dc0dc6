"""New modules: the weights that torch would draw, whatever it was told."""

import threading

import pytest
import torch

from sk_cpep.nn import MAEConfig, MaskedAutoencoder
from sk_cpep.training import new_module, seeded

CONFIG = MAEConfig(4, 40, patch_length=8, d_model=8, n_layers=1, n_heads=2)


def autoencoder():
    return MaskedAutoencoder(CONFIG)


def layers():
    """Of every kind that the package's networks hold."""
    return torch.nn.ModuleList(
        [
            torch.nn.Conv1d(3, 4, 5),
            torch.nn.LSTM(3, 4),
            torch.nn.BatchNorm2d(3),
            torch.nn.Embedding(3, 4),
        ]
    )


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def assert_same(module, expected):
    found, expected = module.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
        assert torch.equal(value, expected[name]), name


@pytest.fixture(params=[autoencoder, layers])
def build(request):
    return request.param


@pytest.fixture
def plain(build):
    """As torch makes it when it was told nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build()


def test_as_torch_draws_it(build, plain):
    assert_same(new_module(build, generator()), plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_default_type(build, plain, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        module = new_module(build, generator())
    finally:
        torch.set_default_dtype(before)
    assert_same(module, plain)


def test_default_device(build, plain):
    with torch.device("meta"):
        module = new_module(build, generator())
    assert_same(module, plain)


def test_inference_mode(build, plain):
    with torch.inference_mode():
        module = new_module(build, generator())
    assert_same(module, plain)
    assert not any(p.is_inference() for p in module.parameters())


def test_others_who_draw_meanwhile(build, plain):
    def disturbed():
        thread = threading.Thread(target=torch.rand, args=(7,))
        thread.start()
        thread.join()
        torch.rand(5)
        return build()

    assert_same(new_module(disturbed, generator()), plain)


def test_the_global_generator_goes_on_from_there():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        autoencoder()
        expected = torch.rand(4)
    before = torch.get_rng_state()
    with seeded(3) as own:
        new_module(autoencoder, own)
        assert torch.equal(torch.rand(4), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_to_be_loaded_draws_nothing(build):
    before = torch.get_rng_state()
    new_module(build)
    assert torch.equal(torch.get_rng_state(), before)
