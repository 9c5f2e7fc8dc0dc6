"""Small data with something to learn, and small estimators of the same start."""

import numpy as np
import pytest

from sk_cpep import CPEP, MAE, EMG2Pose, NeuroPose, PoseT, VEMG2Pose

TRANSFORMER = dict(d_model=32, n_layers=2, n_heads=2)
NETWORK = TRANSFORMER | dict(n_decoder_layers=1)
TRAINING = dict(
    max_epochs=3,
    batch_size=16,
    lr=1e-3,
    device="cuda",
    precision="float32",
    random_state=0,
)
TDS = dict(
    sfreq=100,
    kernel_sizes=(2, 2, 3, 3),
    block_kernel_sizes=(2, 2),
    n_blocks=1,
    d_model=8,
    block_channels=4,
    d_features=5,
    d_hidden=12,
    early_stopping=False,
    channel_rotation=0,
)
REGRESSORS = {
    "PoseT": (PoseT, dict(patch_length=10, channel_rotation=0) | TRANSFORMER),
    "EMG2Pose": (EMG2Pose, TDS),
    "VEMG2Pose": (VEMG2Pose, TDS),
    "NeuroPose": (
        NeuroPose,
        dict(
            time_pools=(1, 2, 4),
            widths=(2, 4, 8),
            n_residual_blocks=1,
            early_stopping=False,
            channel_rotation=0,
        ),
    ),
}


@pytest.fixture(scope="session")
def pairs():
    """EMG (96, 4, 120) and poses (96, 3, 120) of the same waves."""
    rng = np.random.default_rng(0)
    times = np.arange(120) / 120
    rate = rng.uniform(1, 4, (96, 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (96, 4, 1))
    X = np.sqrt(2) * np.sin(2 * np.pi * rate * times + phase)
    P = np.cos(2 * np.pi * rate * times + phase[:, :3])
    return X.astype(np.float32), P.astype(np.float32)


@pytest.fixture
def make_mae():
    """``make_mae(**parameters)``"""
    return lambda **parameters: MAE(
        **{"patch_length": 10} | NETWORK | TRAINING | parameters
    )


@pytest.fixture
def make_cpep(make_mae):
    """A CPEP that draws nothing but its first weights, so that devices can agree."""

    def make(n_layers=2, **parameters):
        start = dict(emg_init="random", pose_init="random", channel_rotation=0)
        encoders = (make_mae(n_layers=n_layers, random_state=None) for _ in range(2))
        return CPEP(*encoders, **TRAINING | start | parameters)

    return make


@pytest.fixture
def make_regressor():
    """``make_regressor(name, **parameters)``"""

    def make(name, **parameters):
        kind, sizes = REGRESSORS[name]
        return kind(**TRAINING | sizes | parameters)

    return make


@pytest.fixture(scope="session")
def losses():
    """Losses of a fit, one an epoch."""

    def of(fitted):
        history = fitted.history_
        history = history["alignment"] if isinstance(history, dict) else history
        return np.array([epoch["train_loss"] for epoch in history])

    return of
