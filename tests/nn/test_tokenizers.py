"""Tokenizers and targets of the autoencoder, those of the package and of a user."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import erf

from sk_cpep.nn import (
    ConvTokenizer,
    Encoder,
    MAEConfig,
    MaskedAutoencoder,
    patchify,
)

# 5 patches of 5, 1 sample left over
CONFIG = MAEConfig(2, 26, 5, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2)


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(3, 2, 26)).astype(np.float32))


class Spectra(torch.nn.Module):
    """Cuts windows into spectra of twice the length of a patch."""

    def __init__(self, n_channels, n_times, patch_length, d_model):
        super().__init__()
        self.patch_length = patch_length
        self.layer = torch.nn.Linear(n_channels * (patch_length + 1), d_model)

    def split(self, x):
        S = self.patch_length
        frames = x[:, :, : x.shape[2] // S * S].unfold(2, S, S)  # (B, C, K, S)
        return torch.fft.rfft(frames, n=2 * S).abs().transpose(1, 2).flatten(2)

    def forward(self, pieces):
        return self.layer(pieces)


class Squares(torch.nn.Module):
    """Gets patches, and has a layer whose size follows from them."""

    def __init__(self, n_channels, n_times, patch_length, d_model):
        super().__init__()
        self.layer = torch.nn.LazyLinear(d_model)

    def forward(self, patches):
        return self.layer(patches.square())


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def convolve(x, weight, bias, padding):
    """Convolution of x (C, T) in steps of 2, one sample at a time."""
    x = np.pad(x, ((0, 0), (padding, padding)))
    size = weight.shape[2]
    starts = range(0, x.shape[1] - size + 1, 2)
    columns = [(weight * x[:, s : s + size]).sum(axis=(1, 2)) + bias for s in starts]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("patch_length", [1, 5, 8])
def test_convolutional_stem_against_float64(patch_length):
    torch.manual_seed(0)
    tokenizer = ConvTokenizer(2, 24, patch_length, 6)
    patches = torch.randn(3, 4, 2 * patch_length)
    weights = {k: v.double().numpy() for k, v in tokenizer.state_dict().items()}
    with torch.no_grad():
        tokens = tokenizer(patches)
    for b, k in np.ndindex(3, 4):
        x = patches[b, k].double().numpy().reshape(2, patch_length)
        x = gelu(convolve(x, weights["stem.0.weight"], weights["stem.0.bias"], 3))
        x = gelu(convolve(x, weights["stem.2.weight"], weights["stem.2.bias"], 2))
        expected = weights["out.weight"] @ x.mean(axis=1) + weights["out.bias"]
        assert_allclose(tokens[b, k], expected, atol=1e-5)


@pytest.mark.parametrize("tokenizer", ["patches", "conv", Spectra, Squares])
def test_hidden_patches_are_not_seen(windows, tokenizer):
    torch.manual_seed(0)
    encoder = Encoder(replace(CONFIG, tokenizer=tokenizer)).eval()
    kept = torch.tensor([[1, 2, 4]]).expand(3, -1)
    changed = windows.clone()
    changed[:, :, :5] += 100
    changed[:, :, 15:20] *= -7
    with torch.no_grad():
        seen = [
            encoder.forward_tokens(encoder.split(x), kept) for x in (windows, changed)
        ]
        assert encoder(windows).shape == (3, 8)
    assert torch.equal(*seen)
    assert not torch.equal(encoder(windows), encoder(changed))


@pytest.mark.parametrize("tokenizer", ["conv", Spectra, Squares])
def test_training_reaches_every_weight(windows, tokenizer):
    torch.manual_seed(0)
    network = MaskedAutoencoder(replace(CONFIG, tokenizer=tokenizer))
    network(windows).backward()
    dead = [name for name, p in network.named_parameters() if not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("tokenizer", ["patches", "conv", Spectra])
def test_raw_patches_are_rebuilt_whatever_the_tokenizer(windows, tokenizer):
    network = MaskedAutoencoder(replace(CONFIG, tokenizer=tokenizer)).eval()
    mask = torch.tensor([[True, False, False, True, False]]).expand(3, -1)
    _, target = network.rebuild(windows, mask, 2)
    assert torch.equal(target, patchify(windows, 5))


def log_power(patches):
    return patches.square().mean(dim=-1).log()


def test_another_target_against_float64(windows):
    torch.manual_seed(0)
    network = MaskedAutoencoder(replace(CONFIG, target=log_power)).eval()
    kept, hidden = torch.tensor([[1, 2, 4]] * 3), torch.tensor([[3, 0]] * 3)
    mask = torch.tensor([[True, False, False, True, False]]).expand(3, -1)
    with torch.no_grad():
        loss = network.loss(windows, kept, hidden)
        rebuilt, _ = network.rebuild(windows, mask, 2)
        errors = network.errors(windows, mask, 2)
    assert rebuilt.shape == (3, 5, 2)
    x = windows.double().numpy()
    expected = []
    for b, k in np.ndindex(3, 2):
        patch = x[b, :, 5 * hidden[b, k] : 5 * hidden[b, k] + 5]
        power = np.log((patch**2).mean(axis=1))
        found = rebuilt[b, hidden[b, k]].double().numpy()
        expected.append(((found - power) ** 2).mean())
    assert_allclose(loss, np.mean(expected), rtol=1e-5)
    assert_allclose(errors, np.reshape(expected, (3, 2)).sum(axis=1), rtol=1e-5)


def test_a_target_of_another_shape_is_refused():
    config = replace(CONFIG, target=lambda patches: patches.mean(dim=(1, 2, 3)))
    with pytest.raises(ValueError, match=r"^target must take patches .* \(2,\)\.$"):
        MaskedAutoencoder(config)


class WrongWidth(Squares):
    def __init__(self, d_model, **sizes):
        super().__init__(d_model=d_model + 1, **sizes)


class WrongNumber(Squares):
    def split(self, x):
        return patchify(x, 13)


@pytest.mark.parametrize(
    "tokenizer, message",
    [
        (
            WrongWidth,
            r"WrongWidth.forward gave shape \(2, 5, 9\), expected \(2, 5, 8\)",
        ),
        (WrongNumber, r"WrongNumber.split gave shape \(2, 2\), expected \(2, 5\)"),
    ],
)
def test_a_tokenizer_that_gives_other_tokens_is_refused(tokenizer, message):
    with pytest.raises(ValueError, match=message):
        Encoder(replace(CONFIG, tokenizer=tokenizer))
