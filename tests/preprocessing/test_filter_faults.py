"""The filter's ends, its rests and its limits: silence, dead electrodes, large values."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal

from sk_cpep.preprocessing import BandpassNotch, InstanceNorm, Windower
from sk_cpep.preprocessing._cascade import Cascade, equal_runs, ringing

SETTINGS = {
    "default": dict(),
    "notches": dict(low=20, high=450, notch=(50, 100)),
    "causal": dict(low=20, high=450, notch=50, phase="causal"),
    "high-pass": dict(low=20, high=None, notch=None),
    "slow": dict(low=20, high=90, notch=50, sfreq=200),
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def settings(request):
    return request.param


def noise(*shape, offset=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=shape) + offset


def plain_scipy(estimator, x):
    """What scipy makes of a recording, with padding that is as long."""
    sos = estimator.sos_
    if estimator.phase == "causal":
        zi = signal.sosfilt_zi(sos)[:, np.newaxis] * x[:, :1]
        return signal.sosfilt(sos, x, zi=zi)[0]
    padlen = min(estimator.n_ringing_, x.shape[1] - 1)
    return signal.sosfiltfilt(sos, x, padtype="even", padlen=padlen)


# Ends of a recording


@pytest.mark.parametrize("offset, drift", [(0, 0), (50, 0), (0, 5)])
def test_ends_are_near_what_a_longer_recording_gives(offset, drift):
    times = np.arange(40_000) / 2000
    band = signal.butter(2, [20, 450], "bandpass", fs=2000, output="sos")
    x = signal.sosfiltfilt(band, noise(20, 40_000)) + offset
    x += drift * np.sin(2 * np.pi * 0.3 * times + np.arange(20)[:, np.newaxis])
    estimator = BandpassNotch().fit([x])
    piece = slice(15_000, 25_000)
    truth = signal.sosfiltfilt(estimator.sos_, x)[:, piece]

    def error(z, part):
        return np.sqrt(np.mean((z - truth)[:, part] ** 2)) / truth.std()

    z = estimator.transform([x[:, piece]])[0]
    default = signal.sosfiltfilt(estimator.sos_, x[:, piece])
    for half_second in (slice(1000), slice(-1000, None)):
        assert error(z, half_second) < 0.6 * error(default, half_second)
    n = estimator.n_ringing_
    assert n == 1937
    for distance, limit in ((n, 1e-2), (2 * n, 1e-4)):
        assert error(z, slice(distance, distance + 100)) < limit
        assert error(z, slice(-distance - 100, -distance)) < limit


@pytest.mark.parametrize(
    "low, notch, quality", [(2, 60, 30), (20, None, 30), (5, 9, 2)]
)
def test_ringing_is_the_decay_of_the_response(low, notch, quality):
    estimator = BandpassNotch(low, 250, notch, notch_quality=quality)
    sos = estimator.fit(noise(2, 50)).sos_
    impulse = np.zeros(60_000)
    impulse[0] = 1
    n = ringing(sos, 1e-2)
    response = np.abs(signal.sosfilt(sos, impulse))
    later, earlier = response[3 * n : 4 * n].max(), response[2 * n : 3 * n].max()
    assert_allclose(later / earlier, 1e-2, rtol=0.5)


def test_unstable_filters_are_refused():
    with pytest.raises(ValueError, match="not stable in float64.*sfreq=2000 Hz"):
        BandpassNotch(1e-12, None, None).fit(noise(2, 50))


# Dead electrodes


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
@pytest.mark.parametrize("value", [1, -2048, 5e-5, 2047.3])
def test_a_constant_channel_gives_zeros(settings, value, dtype):
    value = np.array(value).astype(dtype)
    x = (100 * noise(3, 3000)).astype(dtype)
    others = BandpassNotch(**settings).fit_transform([x])[0]
    x[1] = value
    y = BandpassNotch(**settings).fit_transform([x])[0]
    assert_array_equal(y[1], 0)
    assert_array_equal(np.delete(y, 1, axis=0), np.delete(others, 1, axis=0))
    windows = BandpassNotch(**settings).fit_transform(x[np.newaxis, :, :300])
    assert_array_equal(windows[:, 1], 0)


def test_a_constant_up_to_rounding_gives_zeros(settings):
    x = np.full((2, 4000), 2047.3, dtype=np.float32)
    x[1, ::7] = np.nextafter(x[1, 0], np.float32(3000))
    assert len(np.unique(x[1])) == 2
    assert_array_equal(BandpassNotch(**settings).fit_transform([x])[0], 0)


def test_a_low_pass_leaves_a_constant():
    y = BandpassNotch(None, 250, 60).fit_transform([np.full((2, 5000), 2047.3)])[0]
    assert_allclose(y, 2047.3, rtol=1e-12)
    assert_array_equal(y, y[:, :1] * np.ones(5000))
    assert_array_equal(InstanceNorm().fit_transform([y])[0], 0)


@pytest.mark.parametrize("phase", ["zero", "causal"])
@pytest.mark.parametrize("value", [0, 3.3, -2048])
@pytest.mark.parametrize(
    "start, stop", [(4000, 60_000), (8000, 52_000), (0, 40_000), (20_000, 20_300)]
)
def test_a_constant_part_gives_zeros_where_responses_have_died_away(
    start, stop, value, phase
):
    x = noise(2, 60_000, offset=value)
    x[1, start:stop] = value
    estimator = BandpassNotch(20, 450, (50, 100), phase=phase).fit([x])
    y = estimator.transform([x])[0]
    died = ringing(estimator.sos_, 1e-10)
    first = start + died if start else 0
    last = stop if phase == "causal" or stop == 60_000 else stop - died
    assert_array_equal(y[1, first:last], 0)
    assert np.count_nonzero(y[1]) >= min(60_000, 60_000 - last + first)
    expected = plain_scipy(estimator, x)
    assert_array_equal(y[0], expected[0])
    assert_allclose(y[1], expected[1], atol=1e-9 * np.abs(x).max(), rtol=0)
    if stop - start < died:
        assert_array_equal(y, expected)


def test_windows_of_a_dead_part_are_zeros():
    x = noise(1, 3, 30_000).astype(np.float32)
    x[:, 1, 4000:] = 3.3
    y = BandpassNotch(20, 450, (50, 100)).fit_transform(x)
    sd = InstanceNorm().fit_transform(Windower(1000).fit_transform(y)).std(axis=2)
    assert_array_equal(sd[16:, 1], 0)
    assert_allclose(sd[:, [0, 2]], 1, rtol=1e-5)


def test_n_dead_counts_recordings_without_a_signal():
    recordings = [noise(3, 500), noise(3, 400), noise(3, 300)]
    recordings[0][1] = recordings[2][1] = 7
    recordings[1][2] = 1e-300
    for estimator in (BandpassNotch(), InstanceNorm()):
        assert_array_equal(estimator.fit(recordings).n_dead_, [0, 2, 1])
        equal = np.stack([x[:, :300] for x in recordings])
        assert_array_equal(estimator.fit(equal).n_dead_, [0, 2, 1])
        assert_array_equal(estimator.fit(equal[:, 1]).n_dead_, [2])


# Silence


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_silence_leaves_no_denormal_numbers(settings, dtype):
    x = noise(2, 30_000)
    x[:, 3000:9000] = x[:, 12_000:] = 0
    x[1, 12_000:] = 5
    estimator = BandpassNotch(**settings).fit([x])
    y = estimator.transform([x.astype(dtype)])[0]
    seen = np.abs(y[y != 0])
    assert seen.min() > 1e-30
    expected = plain_scipy(estimator, x.astype(dtype).astype(float))
    assert_allclose(y, expected.astype(dtype), atol=1e-9, rtol=0)


@pytest.mark.parametrize("low, sfreq", [(2, 2000), (20, 200), (0.5, 2000)])
def test_states_never_are_denormal(low, sfreq):
    """A fast section is at rest long before a slow one."""
    sos = BandpassNotch(low, 90, 50, sfreq=sfreq).fit(noise(2, 50)).sos_
    states = []

    class Watched(Cascade):
        def _advance(self, x, state):
            state = super()._advance(x, state)
            states.append(np.abs(state))
            return state

    x = noise(1, 60_000)
    x[:, 2000:] = 0
    Watched(sos).run(x)
    seen = np.concatenate([state.ravel() for state in states])
    assert len(states) >= 2
    assert seen[seen > 0].min() > 1e-290


def test_equal_runs():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 20_000).astype(float)
    runs = [(0, 300), (1000, 1257), (5003, 9000), (9000, 9400), (19_500, 20_000)]
    for value, (start, stop) in enumerate(runs, start=5):
        x[start:stop] = value
    x[12_000:12_200] = 9
    assert equal_runs(x, 256) == runs
    assert equal_runs(x[::-1], 256) == [(20_000 - b, 20_000 - a) for a, b in runs[::-1]]
    assert equal_runs(noise(5000), 256) == []
    assert equal_runs(np.zeros(256), 256) == [(0, 256)]


# Memory and limits


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        BandpassNotch(),
        BandpassNotch(phase="causal"),
        InstanceNorm(),
        InstanceNorm("window"),
    ],
)
def test_a_long_recording_takes_little_memory(step, as_list):
    x = noise(16, 200_000).astype(np.float32)
    X = [x] if as_list else x[np.newaxis]
    step.fit(noise(1, 16, 50))
    tracemalloc.start()
    try:
        step.transform(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.7 * x.nbytes  # at an hour the buffers of fixed size count for less


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("phase", ["zero", "causal"])
def test_values_near_the_limits_of_their_precision(phase, dtype):
    x = noise(2, 800).astype(dtype)
    unit = dtype(2) ** (np.finfo(dtype).maxexp - 4)
    estimator = BandpassNotch(None, 250, 60, phase=phase).fit([x])
    expected = estimator.transform([x])[0]
    assert_array_equal(estimator.transform([x * unit])[0], expected * unit)
    assert np.isfinite(estimator.transform([x / unit])[0]).all()
    largest = np.sign(noise(2, 800).astype(dtype)).repeat(9, axis=1)
    largest *= np.finfo(dtype).max
    with pytest.raises(
        ValueError, match=f"Recording 1 .*beyond the largest {dtype(0).dtype}"
    ):
        estimator.transform([x, largest])
    with pytest.raises(ValueError, match="Recording 1 .*beyond the largest"):
        estimator.transform(np.stack([largest * dtype(1e-3), largest]))


def test_a_failed_fit_leaves_the_filter_as_it_was():
    estimator = BandpassNotch().fit(noise(3, 2, 100))
    X = noise(3, 4, 100)
    X[0, 0, 0] = np.nan
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(X)
    assert vars(estimator) == before
