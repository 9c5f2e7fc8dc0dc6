import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sk_cpep.nn import (
    Encoder,
    MAEConfig,
    PoseTransformer,
    PoseTransformerConfig,
    patchify,
)


def make(n_times=20, n_pose_times=20, patch_length=5):
    torch.manual_seed(0)
    encoder = MAEConfig(3, n_times, patch_length, d_model=8, n_layers=1, n_heads=2)
    return PoseTransformer(PoseTransformerConfig(encoder, 2, n_pose_times)).eval()


def tokens_of(network, x):
    with torch.no_grad():
        patches = patchify(x, network.config.encoder.patch_length)
        return network.encoder.forward_tokens(patches)[:, 1:].double().numpy()


def test_the_encoder_is_the_autoencoders():
    assert isinstance(make().encoder, Encoder)


@pytest.mark.parametrize("n_pose_times, length", [(20, 5), (4, 1), (12, 3)])
def test_each_token_gives_its_own_span(n_pose_times, length):
    network = make(n_pose_times=n_pose_times)
    x = torch.randn(3, 3, 20, generator=torch.Generator().manual_seed(1))
    tokens = tokens_of(network, x)
    weight, bias = (
        network.head.weight.detach().double().numpy(),
        network.head.bias.detach().double().numpy(),
    )
    expected = np.concatenate(
        [(tokens[:, k] @ weight.T + bias).reshape(3, 2, length) for k in range(4)],
        axis=2,
    )
    with torch.no_grad():
        pose = network(x)
        embedding = network.encoder(x, "mean")
    assert_allclose(pose, expected, atol=1e-5)
    assert_allclose(embedding, tokens.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    "n_times, n_pose_times", [(20, 11), (23, 23), (23, 7), (20, 1)]
)
def test_uneven_lengths_are_interpolated(n_times, n_pose_times):
    network = make(n_times, n_pose_times)
    length = network.config.pose_patch_length
    assert length == max(1, round(n_pose_times / 4))
    x = torch.randn(3, 3, n_times, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = torch.from_numpy(tokens_of(network, x)).float()
        steps = network.head(tokens).double().numpy()
        pose = network(x)
    steps = steps.reshape(3, 4, 2, length).transpose(0, 2, 1, 3).reshape(3, 2, -1)
    step_times = (np.arange(4 * length) + 0.5) * 5 / length  # EMG samples
    pose_times = (np.arange(n_pose_times) + 0.5) * n_times / n_pose_times
    expected = np.apply_along_axis(
        lambda s: np.interp(pose_times, step_times, s), 2, steps
    )
    assert_allclose(pose, expected, atol=1e-5)
