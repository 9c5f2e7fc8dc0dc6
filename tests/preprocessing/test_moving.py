import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sk_cpep.preprocessing import BandpassNotch, Envelope, RunningBaseline, Windower


def means(x, size, causal):
    """Sample by sample, of the samples there are."""
    n = x.shape[-1]
    before = size - 1 if causal else size // 2
    after = size - 1 - before
    return np.stack(
        [
            x[..., max(0, t - before) : min(n, t + after + 1)].mean(axis=-1)
            for t in range(n)
        ],
        axis=-1,
    )


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, n)) * 7 + 2 for n in (101, 40, 3, 1)]


@pytest.mark.parametrize("phase", ["zero", "causal"])
@pytest.mark.parametrize("size", [1, 2, 5, 40, 500])
def test_envelope_is_the_moving_rms(recordings, phase, size):
    step = Envelope(size / 100, sfreq=100, phase=phase)
    for x, z in zip(recordings, step.fit_transform(recordings), strict=True):
        assert_allclose(z, np.sqrt(means(x**2, size, phase == "causal")), rtol=1e-12)


@pytest.mark.parametrize("phase", ["zero", "causal"])
@pytest.mark.parametrize("size", [1, 4, 7, 300])
def test_baseline_is_what_differs_from_the_moving_mean(recordings, phase, size):
    step = RunningBaseline(size / 100, sfreq=100, phase=phase, quantile=None)
    for x, z in zip(recordings, step.fit_transform(recordings), strict=True):
        assert_allclose(z, x - means(x, size, phase == "causal"), atol=1e-12)


@pytest.mark.parametrize("phase", ["zero", "causal"])
@pytest.mark.parametrize("quantile", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("size", [1, 7, 60, 300])
def test_baseline_of_a_quantile(recordings, phase, quantile, size):
    step = RunningBaseline(size / 100, sfreq=100, phase=phase, quantile=quantile)
    hop = max(1, size // 20)
    for x, z in zip(recordings, step.fit_transform(recordings), strict=True):
        n = x.shape[1]
        before = size - 1 if phase == "causal" else size // 2
        level = {
            t: np.quantile(
                x[:, max(0, t - before) : t - before + size], quantile, axis=1
            )
            for t in range(0, n, hop)
        }
        for t in range(n):
            last = t - t % hop
            following = min(last + hop, max(level))
            expected = level[last]
            if phase == "zero" and following > last:
                share = (t - last) / hop
                expected = (1 - share) * level[last] + share * level[following]
            assert_allclose(z[:, t], x[:, t] - expected, atol=1e-9)


def test_rest_beside_a_movement_stays_where_it_is():
    """A movement is no part of the level at rest, as it is of the mean."""
    x = np.full((1, 1, 1000), 1.0)
    x[..., 400:550] = 20
    slow = np.linspace(0, 3, 1000)
    z = RunningBaseline(5, sfreq=100).fit_transform(x + slow)
    rest = np.r_[100:350, 600:900]
    assert np.abs(z[0, 0, rest]).max() < 1.3  # of which drift within a window is 1.5
    mean = RunningBaseline(5, sfreq=100, quantile=None).fit_transform(x + slow)
    assert np.abs(mean[0, 0, rest]).max() > 4


def test_powers(recordings):
    plain = Envelope(0.05, sfreq=100).fit_transform(recordings)
    root = Envelope(0.05, sfreq=100, power=0.5).fit_transform(recordings)
    log = Envelope(0.05, sfreq=100, power="log", floor=0.5).fit_transform(recordings)
    for x, r, y in zip(plain, root, log, strict=True):
        assert_allclose(r, np.sqrt(x))
        assert_allclose(y, np.log(x + 0.5))


@pytest.mark.parametrize("phase", ["zero", "causal"])
def test_a_burst_leaves_no_trace(phase):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 5000))
    loud = x.copy()
    loud[:, 2000:2010] *= 1e12
    step = Envelope(0.1, sfreq=1000, phase=phase).fit(x[np.newaxis])
    quiet, after = step.transform(x[np.newaxis]), step.transform(loud[np.newaxis])
    assert_allclose(after[..., 2200:], quiet[..., 2200:], rtol=1e-12)
    assert_allclose(after[..., :1900], quiet[..., :1900], rtol=1e-12)


def test_causal_needs_no_future():
    x = np.random.default_rng(2).standard_normal((1, 2, 400))
    for step in (
        Envelope(0.1, sfreq=100, phase="causal"),
        RunningBaseline(0.5, sfreq=100, phase="causal"),
    ):
        whole = step.fit_transform(x)
        assert_allclose(step.transform(x[:, :, :150]), whole[:, :, :150], rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1e200])
def test_any_unit(scale):
    x = np.random.default_rng(3).standard_normal((2, 2, 50))
    step = Envelope(0.1, sfreq=100)
    assert_allclose(step.fit_transform(x * scale) / scale, step.fit_transform(x))


def test_dead_channels():
    x = np.random.default_rng(4).standard_normal((1, 3, 60)).astype(np.float32)
    x[:, 1] = 0
    for power, value in ((1.0, 0), (0.5, 0), ("log", np.log(1e-6))):
        z = Envelope(0.1, sfreq=100, power=power).fit_transform(x)
        assert z.dtype == np.float32
        assert_allclose(z[:, 1], value, rtol=1e-6)
        assert np.isfinite(z).all()
    assert_array_equal(RunningBaseline(0.1, sfreq=100).fit_transform(x)[:, 1], 0)


def test_as_steps_of_a_pipeline(recordings):
    pipe = make_pipeline(
        BandpassNotch(5, 40, None, sfreq=100),
        Envelope(0.1, sfreq=100, power=0.5),
        RunningBaseline(0.5, sfreq=100),
        Windower(20),
    )
    windows = pipe.fit_transform(recordings[:2])
    assert windows.shape == (7, 3, 20)
    again = pickle.loads(pickle.dumps(clone(pipe).fit(recordings[:2])))
    assert_array_equal(again.transform(recordings[:2]), windows)


@pytest.mark.parametrize("kind", [Envelope, RunningBaseline])
def test_errors(kind, recordings):
    with pytest.raises(ValueError, match=r"window=0.004 s is less than a sample"):
        kind(0.004, sfreq=100).fit(recordings).transform(recordings)
    with pytest.raises(ValueError, match="window"):
        kind(-1.0).fit(recordings)
    with pytest.raises(ValueError, match="NaN"):
        kind(1.0).fit([np.full((2, 9), np.nan)])
    with pytest.raises(ValueError, match="power|phase"):
        kind(1.0, **({"power": "root"} if kind is Envelope else {"phase": "x"})).fit(
            recordings
        )
