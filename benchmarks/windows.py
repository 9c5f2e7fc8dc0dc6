"""How fast labels are voted on: with few different ones, with many, and by numpy.unique.

``python -m benchmarks.windows`` cuts an hour at 2 kHz into overlapping windows, with
labels that change every so often among 10 and among 60,000 different ones (numbers of
frames, of trials, time stamps), by

* :func:`sk_cpep.preprocessing.make_windows`, one channel of EMG and the labels;
* :func:`numpy.unique` of each window's labels, and nothing else.
"""

import argparse

import numpy as np
import torch

from sk_cpep.preprocessing import make_windows

from .table import Table, finish, table_file
from .timing import in_turn, median_ratio, seconds_of

SFREQ, SIZE, STRIDE = 2000, 4000, 1000
MANY, FEW = 60_000, 10
CPU = torch.device("cpu")


def label_tracks(n_times, n_labels, seed=0):
    """Labels by how they change: arrays of shape (n_times,), `n_labels` different ones.

    Parameters
    ----------
    n_times : int

    n_labels : int
        At most as many as there are samples.

    Returns
    -------
    tracks : dict of str to ndarray
    """
    run = max(1, n_times // MANY)
    frames = np.arange(n_times) // run % n_labels
    noise = np.random.default_rng(seed).integers(n_labels, size=n_times)
    return {
        "in runs": frames,
        "in runs, text": np.char.add("t", frames.astype(str)),
        "at each sample": np.arange(n_times) % n_labels,
        "at random": noise,
    }


def vote(labels):
    """Majority labels of the windows, by numpy.unique."""
    winners = []
    for start in range(0, len(labels) - SIZE + 1, STRIDE):
        values, counts = np.unique(labels[start : start + SIZE], return_counts=True)
        winners.append(values[counts.argmax()])
    return np.array(winners)


def cut(emg, labels):
    """The same by make_windows."""
    return make_windows([emg], [labels], size=SIZE, stride=STRIDE, purity=0)[1]


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows")
    add = parser.add_argument
    add("--seconds", type=float, default=3600.0, help="of the recording")
    add("--repeats", type=int, default=3)
    add("--json", type=table_file, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    finish(measure(args), args.json)


def measure(args):
    """The table."""
    table = Table("Windows with the majority of their labels", "hours of recording/s")
    n_times = round(args.seconds * SFREQ)
    emg = np.zeros((1, n_times), dtype=np.float32)
    tracks = {n: label_tracks(n_times, n) for n in (FEW, MANY)}
    for change in tracks[FEW]:
        jobs = {}
        for n, track in tracks.items():
            labels = track[change]
            jobs[name(n, change)] = lambda y=labels: seconds_of(
                lambda: cut(emg, y), CPU
            )
            jobs[peer(n, change)] = lambda y=labels: seconds_of(lambda: vote(y), CPU)
        seconds = in_turn(jobs, args.repeats)
        table.add_seconds(args.seconds / 3600, seconds)
        table.add_speed(seconds, name(MANY, change), peer(MANY, change))
        ratio = median_ratio(seconds, name(MANY, change), name(FEW, change))
        table.ratios[f"time with {MANY} labels / {FEW}, {change}"] = ratio
    return table


def name(n_labels, change):
    """Row of make_windows."""
    return f"make_windows, {n_labels} labels {change}"


def peer(n_labels, change):
    """Row of its peer."""
    return f"numpy.unique, {n_labels} labels {change}"


if __name__ == "__main__":
    main()
