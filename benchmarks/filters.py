"""How fast recordings are filtered: in one cascade, and as scipy's users do it.

``python -m benchmarks.filters`` filters windows (16 channels x 4000 samples) and long
recordings (16 channels, 60 s at 2 kHz, two of them), in float32, 2 to 250 Hz without
60 Hz, by

* :class:`sk_cpep.preprocessing.BandpassNotch`, zero-phase and causal, and zero-phase in
  as many threads as there are cores;
* scipy in two passes: ``sosfiltfilt`` of the band-pass, then ``filtfilt`` of the notch;
* scipy in one pass: ``sosfiltfilt`` of both in one cascade, without any check;

and copies them, which is the limit of whatever reads and writes every sample once. It
says how far the results agree.

Then one long recording, an hour of 16 channels unless told otherwise, on one thread:
the time against ``sosfiltfilt`` called channel by channel, the memory that is taken
beside the recording, as a multiple of it, and the time of the same recording with
silence, which is zeros from the first tenth on, or ten seconds of every twenty.
"""

import argparse
import tracemalloc

import numpy as np
import torch
from joblib import cpu_count
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt, tf2sos

from sk_cpep.preprocessing import BandpassNotch

from .limits import copy_bandwidth
from .table import Table, finish, table_file
from .timing import in_turn, median_ratio, seconds_of

SFREQ, LOW, HIGH, NOTCH, ORDER, QUALITY = 2000.0, 2.0, 250.0, 60.0, 4, 30.0
WINDOW = 4000
EDGE = 4000  # samples beyond which an edge of a 2 Hz filter has died away
CPU = torch.device("cpu")

OURS = "BandpassNotch"
THREADS = f"BandpassNotch, {cpu_count()} threads"
CAUSAL = "BandpassNotch, causal"
TWO_PASSES = "scipy, two passes"
ONE_PASS = "scipy, one pass of both"
BY_CHANNEL = "scipy, channel by channel"
SILENT = ("silent from a tenth on", "silent half the time")
HALF_SILENT = 10.0  # seconds of noise, and of silence, in turn


def make_filters():
    """Every way to filter, from arrays of shape (..., T) to the same."""
    zero, threads, causal = (
        BandpassNotch(LOW, HIGH, NOTCH, sfreq=SFREQ, **more)
        for more in ({}, {"n_jobs": cpu_count()}, {"phase": "causal"})
    )
    return {
        OURS: zero.fit_transform,
        THREADS: threads.fit_transform,
        CAUSAL: causal.fit_transform,
        TWO_PASSES: two_passes,
        ONE_PASS: one_pass,
    }


def design():
    """Sections of the band-pass, and numerator and denominator of the notch."""
    bandpass = butter(ORDER, [LOW, HIGH], "bandpass", fs=SFREQ, output="sos")
    return bandpass, iirnotch(NOTCH, QUALITY, fs=SFREQ)


def two_passes(X):
    """Band-pass, then notch, each forwards and backwards, in float64."""
    bandpass, notch = design()
    return filtfilt(*notch, sosfiltfilt(bandpass, X.astype(np.float64))).astype(X.dtype)


def one_pass(X):
    """Both in one cascade, forwards and backwards, in float64."""
    bandpass, notch = design()
    sos = np.vstack([bandpass, tf2sos(*notch)])
    return sosfiltfilt(sos, X.astype(np.float64)).astype(X.dtype)


def by_channel(X):
    """The same, one channel after another, into an array like the recording."""
    out = np.empty_like(X)
    for x, z in zip(X, out):
        z[:] = one_pass(x)
    return out


def silenced(X, kind):
    """The recording with zeros in it."""
    X = X.copy()
    if kind == "silent from a tenth on":
        X[:, X.shape[1] // 10 :] = 0
    else:
        pieces = np.arange(X.shape[1]) // round(SFREQ * HALF_SILENT)
        X[:, pieces % 2 == 1] = 0
    return X


def peak_memory(job, X):
    """Bytes that a job takes at most, its result too, over those of the recording."""
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1] / X.nbytes
    finally:
        tracemalloc.stop()


def agreement(filters, n_channels=4, n_times=10 * EDGE, seed=0):
    """How far results differ from one pass of scipy, relative to their RMS.

    Returns
    -------
    inside, at_edges : dict of str to float
        Largest difference; `inside` leaves out :data:`EDGE` samples at either end.
    """
    x = np.random.default_rng(seed).normal(size=(1, n_channels, n_times))
    expected = filters[ONE_PASS](x)
    rms = np.sqrt(np.mean(expected**2))
    inside, at_edges = {}, {}
    for name in (OURS, THREADS, TWO_PASSES):
        apart = np.abs(filters[name](x) - expected) / rms
        inside[name] = float(apart[..., EDGE:-EDGE].max())
        at_edges[name] = float(apart.max())
    return inside, at_edges


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters")
    add = parser.add_argument
    add("--windows", type=int, default=512)
    add("--seconds", type=float, default=60.0, help="of a recording")
    add("--repeats", type=int, default=5)
    add("--hour", type=float, default=3600.0, help="seconds of the long recording")
    add("--json", type=table_file, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    finish(measure(args), args.json)


def measure(args):
    """The table."""
    table = Table("Filtering 16 channels, float32", "windows/s")
    filters = make_filters()
    rng = np.random.default_rng(0)
    n_times = round(args.seconds * SFREQ)
    data = {
        "windows": rng.standard_normal((args.windows, 16, WINDOW), dtype=np.float32),
        "recordings": rng.standard_normal((2, 16, n_times), dtype=np.float32),
    }
    bandwidth = copy_bandwidth(CPU)
    for kind, X in data.items():
        jobs = {
            f"{name}, {kind}": lambda f=f, X=X: seconds_of(lambda: f(X), CPU)
            for name, f in filters.items()
        }
        seconds = in_turn(jobs, args.repeats)
        n_windows = X.size / (16 * WINDOW)
        table.add_seconds(n_windows, seconds)
        table.add(f"limit: copying, {kind}", bandwidth / (2 * X.nbytes / n_windows))
        for peer in (TWO_PASSES, ONE_PASS):
            table.add_speed(seconds, f"{OURS}, {kind}", f"{peer}, {kind}")
    describe_agreement(table, *agreement(filters))
    measure_hour(table, args.hour, args.repeats)
    return table


def measure_hour(table, seconds, repeats):
    """Time and memory of a long recording, and what silence does to them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((16, round(seconds * SFREQ)), dtype=np.float32)
    step = BandpassNotch(LOW, HIGH, NOTCH, sfreq=SFREQ).fit([X[:, :WINDOW]])
    ours, peer = (f"{name}, {seconds:g} s" for name in (OURS, BY_CHANNEL))
    quiet = {f"{ours}, {kind}": silenced(X, kind) for kind in SILENT}
    jobs = {ours: lambda: step.transform([X]), peer: lambda: by_channel(X)}
    jobs |= {name: lambda Q=Q: step.transform([Q]) for name, Q in quiet.items()}
    timed = {name: lambda job=job: seconds_of(job, CPU) for name, job in jobs.items()}
    times = in_turn(timed, repeats)
    table.add_seconds(X.shape[1] / WINDOW, times)
    for name, other in ((ours, peer), *((name, ours) for name in quiet)):
        table.ratios[f"time of {name} / {other}"] = median_ratio(times, name, other)
    for name in (ours, peer):
        table.ratios[f"memory of {name} / recording"] = peak_memory(jobs[name], X)


def describe_agreement(table, inside, at_edges):
    """Say how far the results agree."""
    table.figures |= {
        "differs from one pass by, inside": inside,
        "differs from one pass by, edges too": at_edges,
    }
    apart = "; ".join(
        f"{name} {inside[name]:.1e} inside, {at_edges[name]:.1e} in the outer "
        f"{EDGE / SFREQ:g} s"
        for name in (OURS, TWO_PASSES)
    )
    table.remark(
        f"Largest difference from one pass of scipy, of the signal's RMS: {apart}, "
        "where the padding differs."
    )
    table.remark("A recording counts as windows of 4000 samples without overlap.")


if __name__ == "__main__":
    main()
