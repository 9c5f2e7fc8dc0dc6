import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal
from sklearn.base import clone

from sk_cpep.preprocessing import BandpassNotch

SFREQ = 2000.0


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, n)) + 5 for n in (2500, 1800, 2100)]


def sine(freq, n_times=12000, sfreq=SFREQ):
    return np.sin(2 * np.pi * freq * np.arange(n_times) / sfreq)[np.newaxis]


def amplitude(x, freq, sfreq=SFREQ):
    """Amplitude of `freq` in the middle of x, by least squares."""
    x = x[0]
    t = np.arange(len(x)) / sfreq
    middle = slice(len(x) // 3, 2 * len(x) // 3)
    basis = np.stack([np.sin(2 * np.pi * freq * t), np.cos(2 * np.pi * freq * t)], 1)
    return np.hypot(*np.linalg.lstsq(basis[middle], x[middle], rcond=None)[0])


def reference_sections(low, high, notches, sfreq=SFREQ, order=4, quality=30):
    band = signal.butter(order, [low, high], "bandpass", fs=sfreq, output="sos")
    return [
        band,
        *(signal.tf2sos(*signal.iirnotch(f, quality, sfreq)) for f in notches),
    ]


def test_causal_is_the_filters_one_after_another(recordings):
    causal = BandpassNotch(20, 450, (60, 120), phase="causal")
    filtered = causal.fit_transform(recordings)
    for x, z in zip(recordings, filtered):
        for sos in reference_sections(20, 450, (60, 120)):
            steady = np.stack([signal.sosfilt_zi(sos) * row[0] for row in x], axis=1)
            x = signal.sosfilt(sos, x, zi=steady)[0]
        assert_allclose(z, x, atol=1e-10)


def test_zero_phase_is_forwards_and_backwards(recordings):
    estimator = BandpassNotch(20, 450, 60).fit(recordings)
    sos = np.vstack(reference_sections(20, 450, [60]))
    mirrored = dict(padtype="even", padlen=estimator.n_ringing_)
    for x, z in zip(recordings, estimator.transform(recordings)):
        assert_array_equal(z, signal.sosfiltfilt(sos, x, **mirrored))


@pytest.mark.parametrize("phase, passes", [("zero", 2), ("causal", 1)])
@pytest.mark.parametrize("freq", [5, 20, 58, 100, 450, 700])
def test_gain_is_that_of_the_analytic_response(freq, phase, passes):
    estimator = BandpassNotch(20, 450, 60, phase=phase).fit(sine(freq))
    gain = 1.0
    for sos in reference_sections(20, 450, [60]):
        gain *= abs(signal.sosfreqz(sos, [freq], fs=SFREQ)[1][0])
    assert_allclose(
        amplitude(estimator.transform(sine(freq)), freq), gain**passes, atol=2e-3
    )


def test_passes_the_band_and_cuts_the_rest():
    estimator = BandpassNotch(20, 450, [60, 180]).fit(sine(100))
    gains = {
        f: amplitude(estimator.transform(sine(f)), f) for f in (2, 60, 100, 180, 900)
    }
    assert_allclose(gains.pop(100), 1, atol=1e-2)
    assert max(gains.values()) < 1e-3


def test_half_amplitude_at_the_edges_in_zero_phase():
    estimator = BandpassNotch(50, 400, None).fit(sine(100))
    for edge in (50, 400):
        assert_allclose(
            amplitude(estimator.transform(sine(edge)), edge), 0.5, atol=2e-3
        )


def test_zero_phase_does_not_delay_and_causal_does_not_look_ahead():
    impulse = np.zeros((1, 4001))
    impulse[0, 2000] = 1
    zero = BandpassNotch(20, 450, None).fit_transform(impulse)
    causal = BandpassNotch(20, 450, None, phase="causal").fit_transform(impulse)
    assert_allclose(zero, zero[:, ::-1], atol=1e-9)
    assert_array_equal(causal[0, :2000], 0)
    assert np.abs(causal[0, 2001:]).max() > 0.1


def test_causal_starts_in_the_steady_state():
    constant = np.full((2, 100), 7.0)
    lowpass = BandpassNotch(None, 250, None, phase="causal").fit_transform(constant)
    bandpass = BandpassNotch(2, 250, None, phase="causal").fit_transform(constant)
    assert_allclose(lowpass, 7, atol=1e-10)
    assert_allclose(bandpass, 0, atol=1e-8)


@pytest.mark.parametrize(
    "low, high, kept, cut", [(None, 100, 20, 800), (100, None, 800, 20)]
)
def test_one_edge_is_a_low_pass_or_high_pass(low, high, kept, cut):
    estimator = BandpassNotch(low, high, None).fit(sine(kept))
    assert_allclose(amplitude(estimator.transform(sine(kept)), kept), 1, atol=1e-2)
    assert amplitude(estimator.transform(sine(cut)), cut) < 1e-3


def test_notch_alone():
    estimator = BandpassNotch(None, None, 50).fit(sine(50))
    assert_allclose(amplitude(estimator.transform(sine(300)), 300), 1, atol=1e-2)
    assert amplitude(estimator.transform(sine(50)), 50) < 1e-3
    assert estimator.sos_.shape == (1, 6)


def test_float32_data_are_filtered_in_float64(recordings):
    # In float32 state a 2 Hz edge at 2 kHz is off by far more than rounding.
    x32 = [x.astype(np.float32) for x in recordings]
    x64 = [x.astype(np.float64) for x in x32]
    for phase in ("zero", "causal"):
        estimator = BandpassNotch(2, 250, phase=phase).fit(x32)
        for z32, z64 in zip(estimator.transform(x32), estimator.transform(x64)):
            assert z32.dtype == np.float32 and z64.dtype == np.float64
            assert_array_equal(z32, z64.astype(np.float32))


def test_integers_become_float64():
    z = BandpassNotch().fit_transform([np.arange(600, dtype=np.int16).reshape(2, 300)])
    assert z[0].dtype == np.float64


@pytest.mark.parametrize("phase", ["zero", "causal"])
def test_lists_windows_and_rows_are_filtered_alike(phase):
    X = np.random.default_rng(1).standard_normal((4, 3, 400))
    estimator = BandpassNotch(phase=phase)
    windows = estimator.fit_transform(X)
    assert windows.shape == X.shape
    assert_array_equal(windows, np.stack(estimator.fit_transform(list(X))))
    rows = estimator.fit_transform(X[:, 1])
    assert_array_equal(rows, windows[:, 1])


def test_blocks_of_rows_do_not_show(monkeypatch):
    X = np.random.default_rng(1).standard_normal((7, 2, 50))
    whole = BandpassNotch().fit_transform(X)
    monkeypatch.setattr("sk_cpep.preprocessing._recordings.BLOCK_SAMPLES", 300)
    assert_array_equal(BandpassNotch().fit_transform(X), whole)
    assert_array_equal(BandpassNotch(n_jobs=2).fit_transform(X), whole)


def test_n_jobs_gives_the_same(recordings):
    alone = BandpassNotch().fit_transform(recordings)
    for a, b in zip(alone, BandpassNotch(n_jobs=2).fit_transform(recordings)):
        assert_array_equal(a, b)


def test_input_is_left_as_it_was(recordings):
    before = [x.copy() for x in recordings]
    BandpassNotch().fit_transform(recordings)
    for x, copy in zip(recordings, before):
        assert_array_equal(x, copy)


@pytest.mark.parametrize("n_times", [1, 2, 10, 33, 34])
def test_recordings_shorter_than_the_padding(n_times):
    x = np.random.default_rng(0).standard_normal((2, n_times))
    z = BandpassNotch().fit_transform([x])[0]
    assert z.shape == x.shape and np.isfinite(z).all()
    sos = np.vstack(reference_sections(2, 250, [60]))
    mirrored = dict(padtype="even", padlen=n_times - 1)
    assert_allclose(z, signal.sosfiltfilt(sos, x, **mirrored), atol=1e-10)


def test_tuples_and_object_arrays_are_lists_of_recordings(recordings):
    expected = BandpassNotch().fit_transform(recordings)
    boxed = np.empty(3, dtype=object)
    boxed[:] = recordings
    for given in (tuple(recordings), boxed, [x.tolist() for x in recordings]):
        for a, b in zip(BandpassNotch().fit_transform(given), expected):
            assert_array_equal(a, b)


def test_n_features_in_counts_channels(recordings):
    assert BandpassNotch().fit(recordings).n_features_in_ == 3
    assert BandpassNotch().fit(np.zeros((4, 5, 60))).n_features_in_ == 5
    assert BandpassNotch().fit(np.zeros((4, 60))).n_features_in_ == 60
    with pytest.raises(ValueError, match="X has 2 features, but BandpassNotch"):
        BandpassNotch().fit(recordings).transform([np.zeros((2, 100))])


def test_a_memory_mapped_filter_works(recordings):
    estimator = BandpassNotch().fit(recordings)
    expected = estimator.transform(recordings)
    estimator.sos_.setflags(write=False)
    assert_array_equal(estimator.transform(recordings)[0], expected[0])


def test_clone_and_pickle(recordings):
    estimator = clone(BandpassNotch(10, 400, (60, 120), order=2, phase="causal"))
    fitted = pickle.loads(pickle.dumps(estimator.fit(recordings)))
    assert_array_equal(
        fitted.transform(recordings)[1], estimator.transform(recordings)[1]
    )
    assert estimator.notch == (60, 120)


@pytest.mark.parametrize(
    "params, message",
    [
        (dict(high=1000), r"high=1000 Hz .* Nyquist limit of 1000 Hz.*sfreq=2000"),
        (dict(high=250, sfreq=100), r"high=250 Hz .* Nyquist limit of 50 Hz"),
        (dict(notch=(60, 1200)), "notch=1200 Hz .* Nyquist limit of 1000"),
        (dict(notch=(60, -50)), "notch=-50 Hz"),
        (dict(low=1500, high=None), "low=1500 Hz .* Nyquist"),
        (dict(low=300, high=200), "low has to be below high, got low=300 and high=200"),
        (dict(low=200, high=200), "low has to be below high"),
        (dict(low=None, high=None, notch=None), "nothing to filter"),
        (dict(low=0), "'low' parameter"),
        (dict(order=0), "'order' parameter"),
        (dict(phase="minimum"), "'phase' parameter"),
    ],
)
def test_refuses_impossible_filters(params, message):
    with pytest.raises(ValueError, match=message):
        BandpassNotch(**params).fit(np.zeros((2, 100)))


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_nan_is_counted_and_placed(recordings, method):
    estimator = BandpassNotch().fit(recordings)
    recordings[1][0, 5:9] = np.nan
    recordings[2][1, 3] = np.nan
    recordings[2][2, 7] = np.inf
    message = (
        "5 NaN and 1 infinity values in 2 of 3 recordings; the first is recording 1, "
        "with 4 NaN and 0 infinity"
    )
    with pytest.raises(ValueError, match=message):
        getattr(estimator, method)(recordings)


def test_nan_in_an_array_is_placed_too():
    X = np.zeros((5, 2, 30))
    X[3, 1, 4] = np.nan
    with pytest.raises(ValueError, match="1 of 5 recordings; the first is recording 3"):
        BandpassNotch().fit(X)


@pytest.mark.parametrize(
    "X, message",
    [
        (
            [np.zeros((3, 50)), np.zeros((4, 50))],
            "3 channels in recording 0 and 4 in rec",
        ),
        ([np.zeros((3, 50)), np.zeros(50)], r"recording 1 has the shape \(50,\)"),
        ([np.zeros((2, 3, 50))], r"recording 0 has the shape \(2, 3, 50\)"),
        ([np.zeros(50), np.zeros(40)], "unequally long entries that are not 2-D"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (np.zeros((2, 3, 0)), "at least one time sample"),
        ([np.zeros((2, 50)), np.zeros((2, 0))], "0 feature"),
        ([np.zeros((2, 50)), np.zeros((2, 0))], r"recording 1 .*shape \(2, 0\)"),
        ([np.zeros((0, 50))] * 2, r"recording 0 .*\(0, 50\).*at least one channel"),
        (np.zeros((2, 0, 50)), r"shape \(2, 0, 50\).*0 feature"),
        ([], "no recordings"),
        (None, "no recordings"),
        (np.empty(0, dtype=object), "no recordings"),
        ([np.zeros((2, 50)), None], "recording 1 has the shape"),
        ([[[0, 1]], [[0, "a"]]], "recording 1 of X cannot be read as an array"),
        (
            [[[0, 1], [2, 3]], [[0, 1], [2]]],
            "recording 1 of X cannot be read as an array",
        ),
    ],
)
def test_refuses_what_is_no_recordings(X, message):
    with pytest.raises(ValueError, match=message):
        BandpassNotch().fit(X)


@pytest.mark.parametrize(
    "notch", [[[50]], ["50"], [True, False], [None], {50}, np.array(["50"]), [50 + 0j]]
)
def test_what_is_no_frequency(notch):
    with pytest.raises(ValueError, match="notch must be a frequency in Hz or a list"):
        BandpassNotch(notch=notch).fit(np.ones((1, 2, 9)))
