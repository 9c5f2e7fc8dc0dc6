"""The steps of emg2pose and vemg2pose, against numpy."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit
from torch.nn import functional as F

from sk_cpep.nn import PoseRollout, RolloutConfig, TDSConfig

PUBLISHED = {
    "regression_emg2pose": dict(decoder="mlp", output="position"),
    "tracking_emg2pose": dict(decoder="mlp", output="position", tracking=True),
    "regression_vemg2pose": dict(decoder="lstm", output="hybrid"),
    "tracking_vemg2pose": dict(decoder="lstm", output="velocity", tracking=True),
}
SIZES = dict(strides=(1, 1, 2, 2), kernel_sizes=(2, 2, 3, 3), block_kernel_sizes=(2, 2))
TDS = TDSConfig(3, **SIZES, n_blocks=1, d_model=8, block_channels=4, d_features=5)


def count(module):
    return sum(p.numel() for p in module.parameters())


def small(n_times=60, n_pose_times=None, **choices):
    torch.manual_seed(0)
    config = RolloutConfig(
        n_times,
        n_joints=4,
        n_pose_times=n_pose_times or n_times,
        tds=TDS,
        sfreq=100,
        d_hidden=6,
        position_seconds=0.13,
        **dict(output_scale=0.7) | choices,
    )
    return PoseRollout(config).eval()


@pytest.mark.parametrize(
    "name, n_decoder, n_total",
    [
        ("regression_emg2pose", 318_484, 2_952_340),
        ("tracking_emg2pose", 318_484, 2_952_340),
        ("regression_vemg2pose", 3_325_952 + 20_520, 5_980_328),
        ("tracking_vemg2pose", 3_325_952 + 10_260, 5_970_068),
    ],
)
def test_published_sizes(name, n_decoder, n_total):
    network = PoseRollout(RolloutConfig(4000, n_pose_times=4000, **PUBLISHED[name]))
    assert count(network.decoder) == n_decoder
    assert count(network) == n_total


@pytest.mark.parametrize(
    "n_times, n_steps", [(4000, 55), (5790, 100), (11_790, 250), (1791, 1)]
)
def test_published_times(n_times, n_steps):
    config = RolloutConfig(n_times, n_pose_times=n_times)
    assert config.n_steps == n_steps
    assert config.pose_start == 1790
    assert config.n_position_steps == 12


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def mlp(x, state, weights):
    for i in (0, 3):
        x = linear(x, weights, f"layers.{i}")
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = x * weights[f"layers.{i + 1}.weight"] + weights[f"layers.{i + 1}.bias"]
        x = leaky(x)
    return linear(x, weights, "layers.6"), None


def lstm(x, state, weights):
    """Two layers: gates input, forget, cell, output."""
    new = []
    for i in range(2):
        h, c = (np.zeros((len(x), 6)),) * 2 if state is None else state[i]
        gates = x @ weights[f"cells.{i}.weight_ih"].T + weights[f"cells.{i}.bias_ih"]
        gates += h @ weights[f"cells.{i}.weight_hh"].T + weights[f"cells.{i}.bias_hh"]
        i_, f, g, o = np.split(gates, 4, axis=1)
        c = expit(f) * c + expit(i_) * np.tanh(g)
        x = expit(o) * np.tanh(c)
        new.append((x, c))
    return linear(leaky(x), weights, "head"), new


def by_hand(network, x, initial_pose):
    """Poses at every step (B, J, n_steps) in float64."""
    config = network.config
    with torch.no_grad():
        features = network.encoder.features(torch.from_numpy(x).float())
    features = features.double().numpy()
    at = np.linspace(0, features.shape[2] - 1, config.n_steps)
    features = np.apply_along_axis(
        lambda f: np.interp(at, np.arange(len(f)), f), 2, features
    )
    weights = {k: v.double().numpy() for k, v in network.decoder.state_dict().items()}
    decode = {"mlp": mlp, "lstm": lstm}[config.decoder]
    pose, state, poses = initial_pose, None, []
    for step in range(config.n_steps):
        y, state = decode(np.hstack([features[:, :, step], pose]), state, weights)
        y = config.output_scale * y
        if config.output == "position":
            pose = y
        elif config.output == "velocity":
            pose = pose + y
        elif step < 6:  # round(0.13 s * 50 Hz), a half to the even number
            pose = y[:, :4]
        else:
            pose = pose + y[:, 4:]
        poses.append(pose)
    return np.stack(poses, axis=2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_against_numpy(name):
    network = small(**PUBLISHED[name])
    config = network.config
    assert (config.tds.left_context, config.n_steps) == (14, 23)
    rng = np.random.default_rng(0)
    x, start = rng.normal(size=(2, 3, 60)), rng.normal(size=(2, 4))
    start = start if config.tracking else np.zeros((2, 4))
    poses = by_hand(network, x, start)
    expected = F.interpolate(torch.from_numpy(poses), size=46, mode="linear")
    given = torch.from_numpy(start).float() if config.tracking else None
    with torch.no_grad():
        pose = network(torch.from_numpy(x).float(), given)
    assert_allclose(pose, expected, atol=2e-5)


def test_the_pose_starts_the_rollout():
    network = small(**PUBLISHED["tracking_vemg2pose"], output_scale=1e-6)
    start = torch.randn(2, 4)
    with torch.no_grad():
        pose = network(torch.randn(2, 3, 60), start)
    assert_allclose(pose, start.unsqueeze(2).expand(-1, -1, 46), atol=1e-4)


@pytest.mark.parametrize("n_pose_times", [1, 7, 30, 59, 120])
def test_poses_at_another_rate(n_pose_times):
    network = small(n_pose_times=n_pose_times, **PUBLISHED["regression_emg2pose"])
    x = np.random.default_rng(0).normal(size=(2, 3, 60))
    poses = by_hand(network, x, np.zeros((2, 4)))
    pose_times = (np.arange(n_pose_times) + 0.5) * 60 / n_pose_times  # EMG samples
    step_times = 14 + (np.arange(23) + 0.5) * 2
    begun = np.arange(n_pose_times) * 60 / n_pose_times >= 14
    begun[-1] = True
    expected = np.apply_along_axis(
        lambda f: np.interp(pose_times[begun], step_times, f), 2, poses
    )
    assert network.pose_start == np.flatnonzero(begun)[0]
    with torch.no_grad():
        assert_allclose(network(torch.from_numpy(x).float()), expected, atol=2e-5)


def test_embedding_is_the_mean_feature():
    network = small(**PUBLISHED["regression_emg2pose"])
    x = torch.randn(2, 3, 60)
    with torch.no_grad():
        features = network.encoder.features(x)
        assert_allclose(network.encoder(x), features.mean(2), atol=1e-6)


def test_gradients_pass_through_all_steps():
    network = small(**PUBLISHED["tracking_vemg2pose"])
    start = torch.zeros(1, 4, requires_grad=True)
    x = torch.randn(1, 3, 60, requires_grad=True)
    network(x, start)[:, :, -1].sum().backward()
    assert (start.grad != 0).all()
    assert (x.grad[:, :, :5] != 0).any()
