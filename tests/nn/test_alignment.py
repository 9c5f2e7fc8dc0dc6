import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.nn import (
    AlignmentConfig,
    Encoder,
    MAEConfig,
    PoseEMGAlignment,
    info_nce,
)

SIZES = dict(n_layers=1, n_heads=2, patch_length=5)
EMG = MAEConfig(3, 20, d_model=8, **SIZES)
POSE = MAEConfig(4, 15, d_model=12, **SIZES)


def alignment(**options):
    torch.manual_seed(0)
    config = AlignmentConfig(**options)
    return PoseEMGAlignment(Encoder(EMG), Encoder(POSE), config).eval()


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, 20, generator=generator)
    return x, torch.randn(6, 4, 15, generator=generator)


@pytest.mark.parametrize("temperature", [0.02, 0.5, 3.0])
def test_scale_starts_at_the_temperature(temperature):
    assert_allclose(
        alignment(temperature=temperature).scale.item(), 1 / temperature, rtol=1e-5
    )


@pytest.mark.parametrize("log_scale", [np.log(100), 5.0, 50.0])
def test_scale_is_at_most_100(log_scale):
    network = alignment()
    with torch.no_grad():
        network.log_scale.fill_(log_scale)
    assert_allclose(network.scale.item(), 100, rtol=1e-5)
    assert network.scale.item() <= 100


def test_temperature_may_be_fixed():
    assert alignment().log_scale.requires_grad
    assert not alignment(learn_temperature=False).log_scale.requires_grad


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_embeddings(pair, pooling):
    x, p = pair
    network = alignment(pooling=pooling)
    with torch.no_grad():
        network.pose_mean.copy_(torch.linspace(-1, 1, 12))
        u, v = network.embed_emg(x), network.embed_pose(p)
        encoded = network.emg_encoder(x, pooling).double().numpy()
        pose = network.pose_encoder(p, pooling).double().numpy()
        assert_allclose(network.encode_emg(x), encoded)
    weight = network.head.weight.detach().double().numpy()
    projected = encoded @ weight.T + network.head.bias.detach().double().numpy()
    centred = pose - np.linspace(-1, 1, 12)
    assert_allclose(
        u, projected / np.linalg.norm(projected, axis=1)[:, None], atol=1e-6
    )
    assert_allclose(v, centred / np.linalg.norm(centred, axis=1)[:, None], atol=1e-6)


def test_loss_passes_everything_on(pair):
    x, p = pair
    options = dict(duplicate_threshold=0.3, target_temperature=None)
    network = alignment(temperature=0.1, **options)
    with torch.no_grad():
        v = network.embed_pose(p)
        expected = info_nce(network.embed_emg(x), v, 10.0, **options)
        assert_allclose(network.loss(x, v), expected, rtol=1e-5)
        assert abs(network.loss(x, v) - alignment(temperature=0.1).loss(x, v)) > 1e-3
        soft = alignment(temperature=0.1, target_temperature=0.5).loss(x, v)
        assert_allclose(
            soft,
            info_nce(network.embed_emg(x), v, 10.0, target_temperature=0.5),
            rtol=1e-5,
        )


@pytest.mark.parametrize("n_windows", [1, 6])
def test_projections_do_not_depend_on_how_many_there_are(pair, n_windows):
    network = alignment()
    with torch.no_grad():
        z = network.encode_emg(pair[0])
        u = network.project(z, torch.float64)
        weight = network.head.weight.double().numpy()
        exact = z.double().numpy() @ weight.T + network.head.bias.double().numpy()
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        assert torch.equal(network.project(z[:n_windows], torch.float64), u[:n_windows])
        assert torch.equal(network.embed_emg(pair[0]), u)
    assert_array_equal(u, exact.astype(np.float32))


class Spectrum(torch.nn.Module):
    """An encoder that is no transformer."""

    d_model = 22

    def forward(self, x, pooling="cls"):
        return torch.fft.rfft(x).abs().flatten(1)[:, : self.d_model]


def test_any_two_encoders_are_aligned(pair):
    x, p = pair
    network = PoseEMGAlignment(Spectrum(), Encoder(POSE))
    assert network.head.weight.shape == (12, 22)
    assert network.embed_emg(x).shape == network.embed_pose(p).shape == (6, 12)
    network.loss(x, network.embed_pose(p)).backward()
    assert network.head.weight.grad.abs().sum() > 0
