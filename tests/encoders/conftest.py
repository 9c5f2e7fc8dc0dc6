import numpy as np
import pytest
from sklearn.base import clone
from small_estimators import small


@pytest.fixture
def small_mae():
    """Make a small MAE: ``small_mae(patch_length, **parameters)``."""

    def make(patch_length=5, **parameters):
        return small("MAE", **{"patch_length": patch_length, "lr": 1e-2} | parameters)

    return make


@pytest.fixture
def small_cpep(small_mae):
    """Make a small CPEP of small MAEs: ``small_cpep(**parameters)``."""

    def make(emg_encoder=None, pose_encoder=None, **parameters):
        encoders = {
            "emg_encoder": emg_encoder or small_mae(random_state=None),
            "pose_encoder": pose_encoder or small_mae(4, random_state=None),
        }
        return small("CPEP", **encoders, **{"lr": 1e-2} | parameters)

    return make


@pytest.fixture(scope="session")
def windows():
    """EMG (20, 4, 22), pose (20, 3, 12), which share a cause; y and users."""
    rng = np.random.default_rng(0)
    y = np.arange(20) % 4
    cause = rng.normal(size=(4, 5))[y] + 0.3 * rng.normal(size=(20, 5))
    X = np.einsum("nk,kct->nct", cause, rng.normal(size=(5, 4, 22)))
    P = np.einsum("nk,kjt->njt", cause, rng.normal(size=(5, 3, 12)))
    names = np.array(["fist", "ok", "point", "wave"])[y]
    X, P = ((a / a.std()).astype(np.float32) for a in (X, P))
    for a in (X, P):
        a.flags.writeable = False
    return X, P, names, np.arange(20) // 4


@pytest.fixture(scope="session")
def weights_of():
    """Weights of a module, copied, as one dictionary of arrays."""

    def weights(module):
        return {k: v.detach().numpy().copy() for k, v in module.state_dict().items()}

    return weights


@pytest.fixture
def fit_once():
    """``fit_once(estimator, *data)`` without touching the estimator."""
    return lambda estimator, *data, **options: clone(estimator).fit(*data, **options)
