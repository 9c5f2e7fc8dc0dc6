"""The last block computes only the tokens that are wanted: the same numbers."""

import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional as F

from sk_cpep.nn import MAEConfig, MaskedAutoencoder
from sk_cpep.nn._transformer import Transformer


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return Transformer(16, 3, 4, 2.0, 0.0).double()


@pytest.mark.parametrize(
    "wanted",
    [slice(0, 1), slice(1, None), torch.tensor([[3, 1], [0, 6]])],
    ids=["first", "others", "positions"],
)
def test_wanted_tokens(transformer, wanted):
    x = torch.randn(2, 7, 16, dtype=torch.float64, requires_grad=True)
    everything = transformer(x)
    if isinstance(wanted, slice):
        expected = everything[:, wanted]
    else:
        expected = torch.stack([e[w] for e, w in zip(everything, wanted)])
    weight = torch.randn_like(expected)
    parameters = [x, *transformer.parameters()]
    gradients = torch.autograd.grad((expected * weight).sum(), parameters)
    found = transformer(x, wanted)
    assert_allclose(found.detach(), expected.detach(), rtol=1e-12, atol=1e-13)
    again = torch.autograd.grad((found * weight).sum(), parameters)
    for a, b in zip(again, gradients):
        assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_loss_of_hidden_tokens():
    """The loss rebuilds hidden tokens only; here all are rebuilt, and compared."""
    torch.manual_seed(0)
    config = MAEConfig(
        3, 40, patch_length=4, d_model=16, n_layers=2, n_decoder_layers=2, n_heads=2
    )
    autoencoder = MaskedAutoencoder(config).double()
    x = torch.randn(5, 3, 40, dtype=torch.float64)
    kept, hidden = autoencoder.draw_tokens(x, torch.Generator().manual_seed(1))
    mask = torch.ones(5, 10, dtype=torch.bool).scatter(1, kept, False)
    assert mask.sum(dim=1).tolist() == [5] * 5
    assert torch.equal(mask.scatter(1, hidden, False), torch.zeros_like(mask))
    rebuilt, patches = autoencoder.rebuild(x, mask, config.n_masked)
    expected = F.mse_loss(rebuilt[mask], patches[mask])
    parameters = list(autoencoder.parameters())
    gradients = torch.autograd.grad(expected, parameters)
    loss = autoencoder.loss(x, kept, hidden)
    assert_allclose(loss.item(), expected.item(), rtol=1e-6)  # errors in float32
    for a, b in zip(torch.autograd.grad(loss, parameters), gradients):
        assert_allclose(a, b, rtol=1e-4, atol=1e-8)
