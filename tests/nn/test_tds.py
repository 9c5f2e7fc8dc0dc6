import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose

from sk_cpep.nn import TDSConfig, TDSFeaturizer, tds_sizes


def count(module):
    return sum(p.numel() for p in module.parameters())


def layer_norm(x, weight, bias):
    """Over the rows of x (B, C, T)."""
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    y = (x - mean) / np.sqrt(var + 1e-5)
    return y * weight[:, np.newaxis] + bias[:, np.newaxis]


def linear(x, weight, bias):
    return np.einsum("dc,bct->bdt", weight, x) + bias[:, np.newaxis]


def conv(x, weight, bias, stride):
    """Valid convolution of x (B, C, T) with a weight (D, C, k)."""
    frames = sliding_window_view(x, weight.shape[2], axis=2)[:, :, ::stride]
    return np.einsum("dck,bctk->bdt", weight, frames) + bias[:, np.newaxis]


def reference(x, weights, config):
    """The featurizer in float64, from its description."""

    def block(x, name, stride):
        y = conv(
            x, weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"], stride
        )
        y = np.maximum(y, 0)
        return layer_norm(
            y, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
        )

    def tds(x, name):
        width = config.d_model // config.block_channels
        kernel = weights[f"{name}.conv.weight"][:, :, 0]  # (C, C, k)
        grouped = x.reshape(len(x), config.block_channels, width, -1)
        y = np.stack(
            [
                conv(grouped[:, :, w], kernel, weights[f"{name}.conv.bias"], 1)
                for w in range(width)
            ],
            axis=2,
        )
        y = np.maximum(y, 0).reshape(len(x), config.d_model, -1)
        y = y + x[:, :, x.shape[2] - y.shape[2] :]
        y = layer_norm(
            y, weights[f"{name}.norm1.weight"], weights[f"{name}.norm1.bias"]
        )
        z = linear(y, weights[f"{name}.mlp.0.weight"], weights[f"{name}.mlp.0.bias"])
        z = np.maximum(z, 0)
        z = linear(z, weights[f"{name}.mlp.2.weight"], weights[f"{name}.mlp.2.bias"])
        return layer_norm(
            y + z, weights[f"{name}.norm2.weight"], weights[f"{name}.norm2.bias"]
        )

    x = block(x, "stem.0", config.strides[0])
    x = block(x, "stem.1", config.strides[1])
    for stage in (1, 2):
        x = block(x, f"stage{stage}.0", config.strides[1 + stage])
        for i in range(config.n_blocks):
            x = tds(x, f"stage{stage}.1.{i}")
    return linear(x, weights["project.weight"], weights["project.bias"])


SMALL = TDSConfig(
    n_channels=3,
    strides=(2, 1, 3, 2),
    kernel_sizes=(4, 2, 5, 3),
    block_kernel_sizes=(3, 2),
    d_model=12,
    block_channels=3,
    d_features=5,
)


def test_published_sizes():
    featurizer = TDSFeaturizer(TDSConfig())
    assert count(featurizer) == 2_633_856
    assert [count(block) for block in featurizer.stem] == [45_824, 328_448]
    assert count(featurizer.stage1) == 1_384_736
    assert count(featurizer.stage2) + count(featurizer.project) == 874_848


def test_published_times():
    config = TDSConfig()
    assert (config.left_context, config.stride) == (1790, 80)
    frames = {1790: 0, 1791: 1, 2000: 3, 4000: 28, 5790: 50, 10_000: 103, 11_790: 125}
    assert {n: config.n_frames(n) for n in frames} == frames


@pytest.mark.parametrize("n_times", [74, 85, 100])
def test_against_float64(n_times):
    torch.manual_seed(0)
    featurizer = TDSFeaturizer(SMALL)
    x = np.random.default_rng(0).normal(size=(2, 3, n_times))
    weights = {k: v.double().numpy() for k, v in featurizer.state_dict().items()}
    expected = reference(x, weights, SMALL)
    with torch.no_grad():
        features = featurizer.features(torch.from_numpy(x).float())
    assert features.shape == (2, 5, SMALL.n_frames(n_times))
    assert_allclose(features, expected, atol=1e-5)


def test_a_frame_sees_its_left_context_and_nothing_else():
    torch.manual_seed(0)
    featurizer = TDSFeaturizer(SMALL).double()
    n_times = SMALL.left_context + 1 + 2 * SMALL.stride
    x = torch.randn(1, 3, n_times, dtype=torch.float64, requires_grad=True)
    features = featurizer.features(x)
    for frame in range(3):
        (gradient,) = torch.autograd.grad(
            features[0, :, frame].sum(), x, retain_graph=True
        )
        seen = gradient.abs().sum(dim=(0, 1)).nonzero().ravel().tolist()
        assert seen[0] == frame * SMALL.stride
        assert seen[-1] == frame * SMALL.stride + SMALL.left_context


def test_sizes_at_the_published_rate():
    config = TDSConfig()
    assert tds_sizes() == {
        "strides": config.strides,
        "kernel_sizes": config.kernel_sizes,
        "block_kernel_sizes": config.block_kernel_sizes,
    }


def test_sizes_at_100_hz():
    assert tds_sizes(100) == {
        "strides": (1, 1, 2, 2),
        "kernel_sizes": (1, 2, 9, 9),
        "block_kernel_sizes": (9, 5),
    }


@pytest.mark.parametrize("sfreq", [100, 200, 250, 500, 1000, 1111.1, 2048, 4000])
def test_receptive_fields_last_as_long_at_any_rate(sfreq):
    config = TDSConfig(**tds_sizes(sfreq))
    assert_allclose(config.left_context / sfreq, 0.895, atol=0.025)
    assert_allclose(sfreq / config.stride, 25, rtol=0.12)


def test_kernels_follow_given_strides():
    config = TDSConfig(**tds_sizes(100, strides=(1, 1, 1, 1)))
    assert config.strides == (1, 1, 1, 1)
    assert_allclose(config.left_context / 100, 0.895, atol=0.02)
