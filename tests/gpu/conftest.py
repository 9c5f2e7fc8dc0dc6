"""Small data with something to learn, and small estimators of the same start."""

import numpy as np
import pytest
from small_estimators import small

TRANSFORMER = dict(patch_length=10, d_model=32, n_layers=2)
TRAINING = dict(max_epochs=3, batch_size=16, lr=1e-3, device="cuda")


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
    return lambda **parameters: small("MAE", **TRANSFORMER | TRAINING | parameters)


@pytest.fixture
def make_cpep(make_mae):
    """A CPEP that draws nothing but its first weights, so that devices can agree."""

    def make(n_layers=2, **parameters):
        start = dict(emg_init="random", pose_init="random", channel_rotation=0)
        encoders = {
            name: make_mae(n_layers=n_layers, random_state=None)
            for name in ("emg_encoder", "pose_encoder")
        }
        return small("CPEP", **encoders, **TRAINING | start | parameters)

    return make


@pytest.fixture
def make_regressor():
    """``make_regressor(name, **parameters)``"""

    def make(name, **parameters):
        sizes = TRANSFORMER if name == "PoseT" else {}
        return small(name, **TRAINING | sizes | {"channel_rotation": 0} | parameters)

    return make


@pytest.fixture(scope="session")
def losses():
    """Losses of a fit, one an epoch."""

    def of(fitted):
        history = fitted.history_
        history = history["alignment"] if isinstance(history, dict) else history
        return np.array([epoch["train_loss"] for epoch in history])

    return of
