"""Pre-training on EMG: the package's, and its peers'."""

import statistics

import numpy as np
import torch

from sk_cpep.training import resolve_precision

from ..timing import in_turn, median_rate
from ._loop import Run
from ._ours import MODES, BareLoop, fit_mae
from ._peers import (
    HuggingFaceAutoencoder,
    StockAutoencoder,
    UserLoop,
    is_installed,
    random_images,
)

STOCK = "stock PyTorch loop, float32"
STOCK_AUTOCAST = "stock PyTorch loop, bfloat16 autocast"
HUGGING_FACE = "Hugging Face ViTMAE, float32"
TINY = {"d_model": 8, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 2}
PEERS = ("stock", "Hugging Face")
NEEDS_TRANSFORMERS = "not installed: pip install transformers"


def fit_name(mode):
    return f"MAE.fit, {mode}"


def bare_name(mode):
    return f"bare loop of the same step, {mode}"


def measure_pretraining(table, X, run, args):
    """Rows and ratios of EMG pre-training; the seconds of every job.

    Parameters
    ----------
    table : Table

    X : float32 ndarray of shape (n, C, T)

    run : Run

    args : namespace
        `modes`, `workers` and `repeats`.
    """
    windows = torch.from_numpy(X)
    loops = {bare_name(mode): BareLoop(X, MODES[mode], run) for mode in args.modes}
    loops |= peer_loops(windows, run, args.workers)
    for name, loop in loops.items():
        print(f"  {name}: loss of the first epoch {loop.epoch():.4f}", flush=True)
    fits = {
        fit_name(mode): lambda mode=mode: fit_mae(X, MODES[mode], run)
        for mode in args.modes
    }
    seconds = in_turn(fits | loops, args.repeats, verbose=True)
    table.add_seconds(run.work, seconds)
    table.figures["seconds"] = seconds
    if HUGGING_FACE not in seconds:
        table.add(HUGGING_FACE, None, NEEDS_TRANSFORMERS)
    add_ratios(table, seconds, args.modes)
    return seconds


def measure_overhead(table, run, args):
    """What the engine adds to a step, and what share of one that is.

    It is too little to be told from the noise of steps of the paper's size: it is
    measured at a network that is hardly any work.
    """
    n_steps, batch_size = 100, 4
    X = np.zeros((n_steps * batch_size, 2, 100), dtype=np.float32)
    tiny = Run(run.device, len(X), batch_size, epochs=1)
    mode = MODES["float32"]
    seconds = in_turn(
        {
            "fit": lambda: fit_mae(X, mode, tiny, **TINY),
            "bare": BareLoop(X, mode, tiny, **TINY),
        },
        2 + args.repeats,
    )
    differences = [a - b for a, b in zip(seconds["fit"], seconds["bare"])]
    added = statistics.median(differences) / n_steps
    table.figures["seconds that the engine adds to a step"] = added
    table.remark(f"The engine adds {added * 1e3:.2f} ms to a step.")
    for mode in args.modes:
        step = run.batch_size / table.rates[bare_name(mode)]
        table.ratios[f"engine overhead, share of a step, {mode}"] = added / step


def peer_loops(windows, run, workers):
    """The loops of others, ready to train."""
    loops = {}
    for n in workers:
        name = f"{STOCK}, {n} workers" if n else STOCK
        loops[name] = UserLoop(
            StockAutoencoder(*windows.shape[1:]), windows, run, workers=n
        )
    if resolve_precision("auto", run.device) == torch.bfloat16:
        loops[STOCK_AUTOCAST] = UserLoop(
            StockAutoencoder(*windows.shape[1:]), windows, run, autocast=True
        )
    if is_installed("transformers"):
        images = random_images(run.n_windows)
        loops[HUGGING_FACE] = UserLoop(HuggingFaceAutoencoder(), images, run)
    return loops


def add_ratios(table, seconds, modes):
    """The ratios that count, by name."""
    best = fit_name(fastest(seconds, modes))
    for peer in [name for name in seconds if name.startswith(PEERS)]:
        for name in dict.fromkeys((fit_name("float32"), best)):
            table.add_speed(seconds, name, peer)
    for mode in modes:
        overhead = f"time of MAE.fit / bare loop, {mode}"
        table.add_speed(seconds, bare_name(mode), fit_name(mode), overhead)
    for suffix in ("", "-compiled"):
        names = [fit_name(dtype + suffix) for dtype in ("bfloat16", "float32")]
        table.add_speed(seconds, *names)
    for dtype in ("float32", "bfloat16"):
        table.add_speed(seconds, fit_name(f"{dtype}-compiled"), fit_name(dtype))


def fastest(seconds, modes):
    """The mode in which ``MAE.fit`` took least."""
    return max(modes, key=lambda mode: median_rate(1, seconds[fit_name(mode)]))
