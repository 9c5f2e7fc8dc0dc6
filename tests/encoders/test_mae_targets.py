"""What masked autoencoders rebuild, and how much of it is explained."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator

from sk_cpep import CPEP, MAE

SMALL = dict(
    d_model=16,
    n_layers=1,
    n_decoder_layers=1,
    n_heads=2,
    precision="float32",
    device="cpu",
    random_state=0,
)


def noise(n=300, n_channels=3, n_times=120, seed=0):
    """Noise whose strength changes slowly, by itself in each channel."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 2 * np.pi, n_times)
    phase = rng.uniform(0, 2 * np.pi, size=(n, n_channels, 1))
    strength = np.exp(1.2 * np.sin(time + phase))
    return (strength * rng.normal(size=strength.shape)).astype(np.float32)


def targets(X, target, n_bands=1):
    patches = X.astype(float).reshape(len(X), X.shape[1], -1, 10).transpose(0, 2, 1, 3)
    flat = patches.reshape(*patches.shape[:2], -1)
    if target == "raw":
        return flat
    if target == "normalized":
        sd = np.sqrt(flat.var(axis=2, ddof=1, keepdims=True) + 1e-6)
        return (flat - flat.mean(axis=2, keepdims=True)) / sd
    power = (patches**2).mean(axis=3)
    return np.log(power + 1e-4 * power.mean(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("n", [70, 1500])
@pytest.mark.parametrize("target", ["raw", "normalized", "log_power"])
def test_the_share_explained_is_of_the_variance_about_the_means(target, n):
    X = noise(n) + 2
    mae = MAE(10, target=target, max_epochs=2, early_stopping=True, **SMALL).fit(X)
    some = X[np.linspace(0, n - 1, min(n, 1024)).round().astype(int)]
    values = targets(some, target)
    variance = values.reshape(-1, values.shape[2]).var(axis=0).mean()
    for epoch in mae.history_:
        assert_allclose(epoch["target_variance"], variance, rtol=1e-4)
        for part in ("train", "valid"):
            share = 1 - epoch[f"{part}_loss"] / variance
            assert_allclose(epoch[f"{part}_explained"], share, atol=1e-4)


def test_a_waveform_of_noise_is_not_learned_but_its_power_is():
    X = noise()
    last = {
        (target, tokenizer): MAE(
            10,
            target=target,
            tokenizer=tokenizer,
            lr=5e-3,
            max_epochs=15,
            batch_size=32,
            **SMALL,
        )
        .fit(X)
        .history_[-1]["train_explained"]
        for target, tokenizer in (
            ("raw", "patches"),
            ("log_power", "patches"),
            ("log_power", "log_power"),
        )
    }
    assert last["raw", "patches"] < 0.05
    assert last["log_power", "log_power"] > 0.4
    assert last["log_power", "log_power"] > last["log_power", "patches"]


def test_what_does_not_vary_has_no_share():
    mae = MAE(10, max_epochs=1, **SMALL).fit(np.ones((20, 2, 40), np.float32))
    assert mae.history_[0]["target_variance"] == 0
    assert mae.history_[0]["train_explained"] is None


def test_bands_are_values_of_their_own():
    mae = MAE(10, target="log_power", tokenizer="log_power", n_bands=3, max_epochs=1)
    mae.set_params(**SMALL).fit(noise(40))
    assert mae.config_.target_size == 9
    assert mae.module_.encoder.embed.out.in_features == 9
    with pytest.raises(ValueError, match="n_bands=7 .* patch of 10 samples .* 6"):
        MAE(10, n_bands=7, **SMALL).fit(noise(40))


def test_targets_that_are_no_windows_are_not_rebuilt():
    for target in ("normalized", "log_power"):
        mae = MAE(10, target=target, max_epochs=1, **SMALL).fit(noise(40))
        with pytest.raises(ValueError, match=f"rebuild what {target} makes"):
            mae.reconstruct(noise(3))
        assert np.isfinite(mae.score(noise(20)))


def test_the_score_is_of_the_target():
    mae = MAE(10, target="log_power", max_epochs=1, **SMALL).fit(noise(60))
    # Guessing is as good as the variance; an untrained network is about there.
    variance = mae.history_[0]["target_variance"]
    assert -3 * variance < mae.score(noise(60, seed=1)) < 0


def test_resumed_and_taken_from_a_folder(tmp_path):
    X = noise(80)
    mae = MAE(10, target="log_power", tokenizer="log_power", max_epochs=3, **SMALL)
    plain = mae.fit(X)
    kept = MAE(**mae.get_params()).set_params(run_dir=tmp_path).fit(X)
    found = MAE(**kept.get_params()).fit(X)
    for fitted in (kept, found):
        assert_array_equal(fitted.transform(X), plain.transform(X))
        assert [e["train_explained"] for e in fitted.history_] == [
            e["train_explained"] for e in plain.history_
        ]
    assert len(list(tmp_path.iterdir())) == 1
    MAE(**kept.get_params()).set_params(n_bands=2).fit(X)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_as_the_start_of_an_alignment(precision):
    X = noise(64)
    P = np.random.default_rng(3).normal(size=(64, 4, 40)).astype(np.float32)
    small = SMALL | {"precision": precision}
    emg = MAE(10, target="log_power", tokenizer="log_power", max_epochs=1, **small)
    pose = MAE(10, max_epochs=1, **small)
    how = {k: small[k] for k in ("precision", "device", "random_state")}
    cpep = CPEP(emg, pose, max_epochs=1, **how).fit(X, P)
    assert "train_explained" in cpep.history_["emg_encoder"][0]
    again = pickle.loads(pickle.dumps(cpep))
    assert_array_equal(again.transform(X), cpep.transform(X))
    frozen = CPEP(FrozenEstimator(emg.fit(X)), pose, max_epochs=1, **how).fit(X, P)
    assert frozen.transform(X).shape == (64, 16)
