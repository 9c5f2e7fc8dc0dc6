"""The networks against the same maths in float64 numpy, written another way."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf, softmax

from sk_cpep.nn import Encoder, MAEConfig, MaskedAutoencoder, patchify, random_mask
from sk_cpep.nn._masking import kept_indices

CONFIG = MAEConfig(
    n_channels=2,
    n_times=26,  # 5 patches of 5, 1 sample left over
    patch_length=5,
    d_model=8,
    n_layers=2,
    n_decoder_layers=2,
    n_heads=2,
)


class Reference:
    """A pre-norm transformer on one window at a time, with the weights of a module."""

    def __init__(self, module):
        state = module.state_dict()
        self.weights = {k: v.numpy().astype(np.float64) for k, v in state.items()}

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        z = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(
            x.var(axis=-1, keepdims=True) + 1e-5
        )
        return z * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, x, name):  # (N, D)
        D = x.shape[1]
        q, k, v = np.split(self.linear(x, f"{name}.qkv"), 3, axis=1)
        width = D // CONFIG.n_heads
        heads = []
        for h in range(CONFIG.n_heads):
            part = slice(h * width, (h + 1) * width)
            scores = q[:, part] @ k[:, part].T / np.sqrt(width)
            heads.append(softmax(scores, axis=1) @ v[:, part])
        return self.linear(np.concatenate(heads, axis=1), f"{name}.out")

    def mlp(self, x, name):
        hidden = self.linear(x, f"{name}.0")
        hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        return self.linear(hidden, f"{name}.2")

    def transformer(self, x, name, n_layers):
        for i in range(n_layers):
            block = f"{name}.blocks.{i}"
            x = x + self.attention(self.norm(x, f"{block}.norm1"), f"{block}.attention")
            x = x + self.mlp(self.norm(x, f"{block}.norm2"), f"{block}.mlp")
        return self.norm(x, f"{name}.norm")

    def encode(self, window, kept, prefix=""):
        """(C, T) to (1 + N, D)."""
        S, D = CONFIG.patch_length, CONFIG.d_model
        tokens = [self.weights[f"{prefix}cls"]]
        for k in kept:
            patch = window[:, k * S : (k + 1) * S].ravel()
            tokens.append(self.linear(patch, f"{prefix}embed") + position(k, D))
        return self.transformer(
            np.array(tokens), f"{prefix}transformer", CONFIG.n_layers
        )

    def decode(self, z, kept):
        """(1 + N, D) to (K, C * S)."""
        z = self.linear(z, "decoder.embed")
        tokens = [z[0]]
        for k in range(CONFIG.n_tokens):
            hidden = self.weights["decoder.mask_token"]
            token = z[1 + list(kept).index(k)] if k in kept else hidden
            tokens.append(token + position(k, CONFIG.d_model))
        z = self.transformer(
            np.array(tokens), "decoder.transformer", CONFIG.n_decoder_layers
        )
        return self.linear(z[1:], "decoder.rebuild")


def position(k, d_model):
    angle = k / 10_000 ** (np.arange(0, d_model, 2) / d_model)
    return np.concatenate([np.sin(angle), np.cos(angle)])


def randomised(module, seed=0):
    """No weight or bias at a value that would hide its use."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.3 * noise)
    return module.eval()


@pytest.fixture
def windows():
    return np.random.default_rng(0).normal(size=(3, 2, 26)).astype(np.float32)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return randomised(MaskedAutoencoder(CONFIG))


def test_sizes():
    assert CONFIG.n_tokens == 5
    assert CONFIG.n_masked == 2
    assert CONFIG.patch_size == 10
    paper = MAEConfig(n_channels=16, n_times=4000)
    assert (paper.n_tokens, paper.n_masked, paper.patch_size) == (80, 40, 800)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_encoder(windows, pooling):
    torch.manual_seed(0)
    encoder = randomised(Encoder(CONFIG))
    reference = Reference(encoder)
    with torch.no_grad():
        embeddings = encoder(torch.from_numpy(windows), pooling)
    for embedding, window in zip(embeddings, windows, strict=True):
        tokens = reference.encode(window.astype(np.float64), range(5))
        expected = tokens[0] if pooling == "cls" else tokens[1:].mean(axis=0)
        assert_allclose(embedding, expected, atol=1e-5)


def test_autoencoder(windows, autoencoder):
    reference = Reference(autoencoder)
    mask = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=bool)
    with torch.no_grad():
        rebuilt, patches = autoencoder.rebuild(
            torch.from_numpy(windows), torch.from_numpy(mask), 2
        )
    for i, window in enumerate(windows.astype(np.float64)):
        kept = np.flatnonzero(~mask[i])
        z = reference.encode(window, kept, "encoder.")
        assert_allclose(rebuilt[i], reference.decode(z, kept), atol=2e-5)
        for k in range(5):
            assert_array_equal(patches[i, k], window[:, 5 * k : 5 * k + 5].ravel())


def test_loss_is_over_hidden_patches(windows, autoencoder):
    with torch.no_grad():
        loss = autoencoder(torch.from_numpy(windows), torch.Generator().manual_seed(5))
    mask = random_mask(3, 5, 2, torch.Generator().manual_seed(5)).numpy()
    reference, errors = Reference(autoencoder), []
    for window, hidden in zip(windows.astype(np.float64), mask, strict=True):
        kept = np.flatnonzero(~hidden)
        rebuilt = reference.decode(reference.encode(window, kept, "encoder."), kept)
        for k in np.flatnonzero(hidden):
            errors.append((rebuilt[k] - window[:, 5 * k : 5 * k + 5].ravel()) ** 2)
    assert_allclose(loss, np.mean(errors), rtol=1e-5)


def test_encoder_sees_only_what_is_kept(windows, autoencoder):
    mask = torch.tensor([[True, False, False, True, False]]).expand(3, -1)
    kept = kept_indices(mask, 2)
    x = torch.from_numpy(windows).requires_grad_()
    z = autoencoder.encoder.forward_tokens(patchify(x, 5), kept)
    assert z.shape == (3, 1 + 3, 8)
    z.square().sum().backward()
    gradient = patchify(x.grad, 5)
    assert not gradient[:, [0, 3]].any()
    assert gradient[:, [1, 2, 4]].abs().min() > 0

    changed = windows.copy()
    changed[:, :, :5] += 100
    changed[:, :, 15:20] *= -7
    again = autoencoder.encoder.forward_tokens(
        patchify(torch.from_numpy(changed), 5), kept
    )
    assert torch.equal(again, z)


def test_samples_left_over_are_not_used(windows, autoencoder):
    changed = windows.copy()
    changed[:, :, 25:] += 100
    with torch.no_grad():
        first, second = (
            autoencoder.encoder(torch.from_numpy(x)) for x in (windows, changed)
        )
    assert torch.equal(first, second)


class EveryTokenForItself(torch.nn.Module):
    def forward(self, x, wanted):
        return x[:, wanted]


def test_decoder_puts_tokens_where_they_belong(autoencoder):
    decoder = autoencoder.decoder
    decoder.transformer = EveryTokenForItself()
    z = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([[0, 2, 3]])
    changed = z.clone()
    changed[0, 1 + 1] += 1  # the second kept token, which belongs at place 2
    with torch.no_grad():
        difference = (decoder(changed, kept) - decoder(z, kept)).abs().sum(dim=-1)[0]
        moved = (decoder(z, torch.tensor([[0, 1, 3]])) - decoder(z, kept)).abs().sum(-1)
    assert difference[2] > 0.1
    assert not difference[[0, 1, 3, 4]].any()
    assert moved[0, [1, 2]].min() > 0.1
    assert not moved[0, [0, 3, 4]].any()


def test_training_reaches_every_weight(windows, autoencoder):
    autoencoder(torch.from_numpy(windows)).backward()
    dead = [name for name, p in autoencoder.named_parameters() if not p.grad.any()]
    assert dead == []
