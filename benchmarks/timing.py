"""Seconds of several jobs, in turn, and ratios of them."""

import statistics
import time

import torch


def synchronise(device):
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(job, device):
    """How long a job takes, with what it left the device to do."""
    synchronise(device)
    started = time.perf_counter()
    job()
    synchronise(device)
    return time.perf_counter() - started


def in_turn(jobs, repeats, verbose=False):
    """Seconds of every job, one a repeat.

    Parameters
    ----------
    jobs : dict of str to callable
        Each returns the seconds that it took.

    repeats : int
        How often each is run: one after the other, so that a drift of the machine is
        shared by all of them.

    verbose : bool, default=False
        Print every time as it is measured.

    Returns
    -------
    seconds : dict of str to list of float
    """
    seconds = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            seconds[name].append(job())
            if verbose:
                print(f"  {name}: {seconds[name][-1]:.3g} s", flush=True)
    return seconds


def median_rate(work, seconds):
    """Work a second, of the median time."""
    return work / statistics.median(seconds)


def median_ratio(seconds, name, peer):
    """Time of a job over that of its peer in the same repeat; the median."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[peer]))
