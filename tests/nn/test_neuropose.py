import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sk_cpep.nn import NeuroPoseConfig, NeuroPoseNet, neuropose_time_pools


def count(module):
    return sum(p.numel() for p in module.parameters())


def small(n_times=26, n_channels=5, n_pose_times=26):
    """A network whose batch norm has something to do."""
    torch.manual_seed(0)
    config = NeuroPoseConfig(
        n_times,
        n_channels,
        n_joints=3,
        n_pose_times=n_pose_times,
        time_pools=(2, 3, 2),
        widths=(2, 3, 4),
        n_residual_blocks=2,
    )
    network = NeuroPoseNet(config)
    for name, value in network.state_dict().items():
        if "running" in name:
            value.copy_(torch.rand(value.shape) + 0.5)
    return network.eval()


def block(x, weights, name):
    """Convolution (3, 2) of the same size, batch norm, ReLU of x (B, C, T, E)."""
    kernel = weights[f"{name}.conv.weight"]
    B, _, T, E = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 1)))
    y = np.zeros((B, len(kernel), T, E))
    for t in range(T):
        for e in range(E):
            patch = x[:, :, t : t + 3, e : e + 2]
            y[:, :, t, e] = np.einsum("bcij,dcij->bd", patch, kernel)

    def column(key):
        return weights[f"{name}.{key}"][:, np.newaxis, np.newaxis]

    y = y + column("conv.bias") - column("norm.running_mean")
    y = y / np.sqrt(column("norm.running_var") + 1e-5)
    return np.maximum(y * column("norm.weight") + column("norm.bias"), 0)


def pool(x, time, electrodes):
    """Largest of each patch; incomplete ones of electrodes count, of time do not."""
    n = x.shape[2] // time
    x = np.stack([x[:, :, i * time : (i + 1) * time].max(axis=2) for i in range(n)], 2)
    starts = range(0, x.shape[3], electrodes)
    return np.stack([x[..., s : s + electrodes].max(axis=3) for s in starts], 3)


def reference(x, weights, n_pose_times):
    """Poses and bottleneck of the small network in float64."""
    z = x.transpose(0, 2, 1)[:, np.newaxis]
    for i, sizes in enumerate([(2, 2), (3, 2), (2, 4)]):
        z = pool(block(z, weights, f"encoder.down.{2 * i}"), *sizes)
    for i in range(2):
        y = z
        for j in range(3):
            y = block(y, weights, f"encoder.residual.{i}.f.{j}")
        z = z + y
    bottleneck = z
    for i, (time, electrodes) in enumerate([(2, 4), (3, 4), (2, 2)]):
        z = block(z, weights, f"decoder.{2 * i}")
        z = z.repeat(time, axis=2).repeat(electrodes, axis=3)
    pose = z[:, 0] @ weights["head.weight"].T + weights["head.bias"]  # (B, T, J)
    at = (np.arange(n_pose_times) + 0.5) * pose.shape[1] / n_pose_times - 0.5
    pose = np.apply_along_axis(lambda p: np.interp(at, range(len(p)), p), 1, pose)
    return pose.transpose(0, 2, 1), bottleneck


def test_published_sizes():
    network = NeuroPoseNet(NeuroPoseConfig(4000, n_pose_times=4000))
    encoder = network.encoder
    parts = (encoder.down, encoder.residual, network.decoder, network.head)
    assert [count(part) for part in parts] == [222_624, 5_909_760, 221_859, 660]
    assert count(network) == 6_354_903


def test_published_times():
    config = NeuroPoseConfig(4000)
    assert (config.time_factor, config.n_frames, config.n_electrodes) == (320, 12, 1)
    assert NeuroPoseConfig(319).n_frames == 0


@pytest.mark.parametrize("n_pose_times", [26, 24, 9, 1])
@pytest.mark.parametrize("n_channels", [1, 5, 8])
def test_against_float64(n_channels, n_pose_times):
    network = small(n_channels=n_channels, n_pose_times=n_pose_times)
    weights = {k: v.double().numpy() for k, v in network.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(2, n_channels, 26))
    expected, bottleneck = reference(x, weights, n_pose_times)
    with torch.no_grad():
        pose = network(torch.from_numpy(x).float())
        embedding = network.encoder(torch.from_numpy(x).float())
    assert_allclose(pose, expected, atol=1e-5)
    assert bottleneck.shape[2] == 26 // 12
    assert_allclose(embedding, bottleneck.mean(axis=(2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    "n_channels, n_electrodes", [(10, 1), (16, 1), (17, 2), (32, 2)]
)
def test_number_of_electrodes(n_channels, n_electrodes):
    network = small(n_channels=n_channels)
    assert NeuroPoseConfig(26, n_channels).n_electrodes == n_electrodes
    with torch.no_grad():
        features = network.encoder.features(torch.randn(2, n_channels, 26))
        assert features.shape[3] == n_electrodes
        assert network(torch.randn(2, n_channels, 26)).shape == (2, 3, 26)


@pytest.mark.parametrize(
    "sfreq, pools", [(2000, (10, 8, 4)), (100, (1, 4, 4)), (1000, (5, 8, 4))]
)
def test_time_pools(sfreq, pools):
    assert neuropose_time_pools(sfreq) == pools
    assert np.prod(pools) / sfreq == 0.16


def test_dropout_is_for_training_only():
    network = small()
    x = torch.randn(2, 5, 26)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        network.train()
        assert not torch.equal(network(x), network(x))
