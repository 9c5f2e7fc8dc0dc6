"""What is rebuilt of patches, against numpy in float64 and scipy."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.signal import periodogram

from sk_cpep.nn import (
    LogPowerTokenizer,
    MAEConfig,
    MaskedAutoencoder,
    log_power,
    normalized_patches,
    patchify,
)


@pytest.fixture
def patches():
    """(B, N, C, S) in float64, channels of several strengths."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 5, 4, 16)) * np.array([1, 5, 0.1, 3])[:, None] + 0.3


def float32(x):
    return torch.from_numpy(x.astype(np.float32))


def test_normalized_patches(patches):
    flat = patches.reshape(3, 5, -1)
    expected = flat - flat.mean(axis=2, keepdims=True)
    expected /= np.sqrt(flat.var(axis=2, ddof=1, keepdims=True) + 1e-6)
    assert_allclose(normalized_patches(float32(patches)), expected, atol=1e-5)


def test_log_power(patches):
    power = (patches**2).mean(axis=3)
    floor = 1e-4 * power.mean(axis=(1, 2), keepdims=True)
    assert_allclose(log_power(float32(patches)), np.log(power + floor), rtol=1e-4)


@pytest.mark.parametrize("n_bands", [2, 3, 9])
@pytest.mark.parametrize("n_samples", [16, 17])
def test_power_in_bands_against_a_periodogram(n_bands, n_samples):
    rng = np.random.default_rng(1)
    patches = rng.normal(size=(2, 3, 4, n_samples)) + 0.5
    # Its density, times the distance of frequencies, is power; nothing is detrended.
    _, power = periodogram(patches, 1.0, detrend=False, scaling="spectrum", axis=3)
    bands = np.stack(
        [part.sum(axis=3) for part in np.array_split(power, n_bands, axis=3)], axis=3
    )
    total = (patches**2).mean(axis=3)
    assert_allclose(bands.sum(axis=3), total)
    floor = 1e-4 * total.mean(axis=(1, 2))[:, None, None, None] / n_bands
    expected = np.log(bands + floor).reshape(2, 3, -1)
    assert_allclose(log_power(float32(patches), n_bands), expected, atol=2e-4)


@pytest.mark.parametrize("n_bands", [1, 4])
@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_a_scaled_window_is_shifted(patches, scale, n_bands):
    plain, scaled = (log_power(float32(patches * s), n_bands) for s in (1, scale))
    assert_allclose(scaled - plain, 2 * np.log(scale), atol=1e-3)


def test_dead_channels_stay_finite(patches):
    patches[:, :, 1] = 0
    patches[2] = 0
    for n_bands in (1, 4):
        assert torch.isfinite(log_power(float32(patches), n_bands)).all()
    assert torch.isfinite(normalized_patches(float32(patches))).all()


def config(**parameters):
    sizes = {"n_channels": 3, "n_times": 60, "patch_length": 10, "d_model": 8}
    sizes |= {"n_layers": 1, "n_decoder_layers": 1, "n_heads": 2}
    return MAEConfig(**sizes, **parameters)


@pytest.mark.parametrize("target", ["normalized", "log_power"])
@pytest.mark.parametrize("tokenizer", ["patches", "log_power"])
def test_the_loss_is_that_of_the_targets_of_hidden_patches(target, tokenizer):
    torch.manual_seed(0)
    module = MaskedAutoencoder(config(target=target, tokenizer=tokenizer, n_bands=2))
    x = torch.randn(4, 3, 60) * torch.tensor([1.0, 4.0, 0.2])[:, None]
    kept, hidden = module.draw_tokens(x)
    whole = torch.unflatten(patchify(x, 10), 2, (3, 10))
    targets = (
        normalized_patches(whole) if target == "normalized" else log_power(whole, 2)
    )
    pieces = module.encoder.split(x)
    z = module.encoder.forward_tokens(pieces, kept)
    rebuilt = module.decoder(z, kept, hidden).detach().double().numpy()
    wanted = np.stack([t[h] for t, h in zip(targets.numpy(), hidden.numpy())])
    expected = ((rebuilt - wanted.astype(float)) ** 2).mean()
    assert_allclose(module.loss(x, kept, hidden).item(), expected, rtol=1e-5)


def test_tokens_of_log_power():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64)
    tokenizer = LogPowerTokenizer(3, 64, 10, 8, n_bands=2)
    whole = torch.unflatten(patchify(x, 10), 2, (3, 10))
    pieces = tokenizer.split(x)
    assert_allclose(pieces, log_power(whole, 2), rtol=1e-6)
    weight, bias = (p.detach().double().numpy() for p in tokenizer.out.parameters())
    expected = pieces.double().numpy() @ weight.T + bias
    assert_allclose(tokenizer(pieces).detach(), expected, atol=1e-5)
