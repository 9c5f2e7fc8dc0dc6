"""What share of the machine's limits a step reaches, and where its time goes."""

import torch
from torch.profiler import ProfilerActivity, profile

from sk_cpep.nn import Augmentation, MAEConfig, MaskedAutoencoder
from sk_cpep.training import Reconstruction

from ..table import format_number
from ._counts import count_flops, count_traffic
from ._ours import MODES, BareLoop
from ._peers import (
    HuggingFaceAutoencoder,
    StockAutoencoder,
    is_installed,
    random_images,
)
from ._pretraining import HUGGING_FACE, STOCK, bare_name, fit_name


def measure_floor(table, X, run, args, limits):
    """Limits, the share of them that is reached, and the floor of a step.

    Parameters
    ----------
    table : Table
        It holds the rates of pre-training in `args.modes`.

    X : float32 ndarray of shape (n, C, T)

    run : Run

    args : namespace

    limits : Limits
    """
    flops = flops_per_window(X)
    table.figures |= {
        "GFLOP per window": {name: count / 1e9 for name, count in flops.items()},
        "matrix products, TFLOP/s": {p: c / 1e12 for p, c in limits.matmul.items()},
        "copies, GB/s": limits.copies / 1e9,
        "seconds of a step": {},
        "GB moved outside matrix products": {},
    }
    for precision, ceiling in limits.matmul.items():
        name = f"limit: matrix products alone, {precision}"
        table.add(name, ceiling / flops["MAE"], f"at {ceiling / 1e12:.2f} TFLOP/s")
    table.remark(
        "GFLOP of a window, forward and backward: "
        + ", ".join(f"{name} {count / 1e9:.3f}" for name, count in flops.items())
        + f". Copies: {limits.copies / 1e9:.1f} GB/s, read and written."
    )
    for mode in args.modes:
        precision = MODES[mode].precision
        ceiling = limits.matmul[precision]
        share = table.rates[fit_name(mode)] * flops["MAE"] / ceiling
        table.ratios[f"share of the {precision} ceiling, MAE.fit, {mode}"] = share
        traffic = traffic_of_step(X, precision, run)
        parts = where_time_goes(
            run.batch_size / table.rates[bare_name(mode)],
            run.batch_size * flops["MAE"] / ceiling,
            traffic.total() / limits.copies,
        )
        table.figures["seconds of a step"][mode] = parts
        table.figures["GB moved outside matrix products"][precision] = {
            name: n_bytes / 1e9 for name, n_bytes in traffic.most_common(12)
        }
        table.remark(describe_parts(mode, parts))
    for precision, moved in table.figures["GB moved outside matrix products"].items():
        most = ", ".join(f"{name} {gb:.2f}" for name, gb in list(moved.items())[:6])
        table.remark(f"GB moved by other operators in a step, {precision}: {most}.")


def flops_per_window(X):
    """Of each network's matrix products, forward and backward."""
    x = torch.from_numpy(X[:2])
    ours = Reconstruction(MaskedAutoencoder(MAEConfig(*X.shape[1:])), Augmentation())
    found = {
        "MAE": count_flops(ours, [x]),
        STOCK: count_flops(StockAutoencoder(*X.shape[1:]), [x]),
    }
    if is_installed("transformers"):
        found[HUGGING_FACE] = count_flops(HuggingFaceAutoencoder(), [random_images(2)])
    return found


def traffic_of_step(X, precision, run):
    """Bytes that the operators of a step move outside matrix products, not compiled."""
    loop = BareLoop(X[: run.batch_size], MODES[precision], run)
    loop.epoch()  # the optimizer makes its state
    return count_traffic(loop.epoch)


def where_time_goes(step, products, others):
    """Seconds of a step, and of what it has to compute and to move.

    The rest is what neither explains. It is negative where operators are fused or
    find their data in caches.
    """
    return {
        "measured": step,
        "matrix products at the ceiling": products,
        "other operators at the copy bandwidth, not fused": others,
        "rest": step - products - others,
    }


def describe_parts(mode, parts):
    """A line on :func:`where_time_goes`."""
    step = parts["measured"]
    shares = (
        f"{name} {format_number(value * 1e3)} ms ({value / step:.0%})"
        for name, value in parts.items()
        if name != "measured"
    )
    return f"A step, {mode}: {format_number(step * 1e3)} ms; " + ", ".join(shares) + "."


def profile_step(X, mode, run, n_rows=20):
    """The operators of a step that take longest, as a table of torch.profiler."""
    loop = BareLoop(X[: run.batch_size], MODES[mode], run)
    activities, key = [ProfilerActivity.CPU], "self_cpu_time_total"
    if run.device.type == "cuda":
        activities, key = [*activities, ProfilerActivity.CUDA], "self_device_time_total"
    for _ in range(5):  # compiled, and recorded where there is a CUDA graph
        loop.epoch()
    with profile(activities=activities) as profiled:
        loop.epoch()
    averages = profiled.key_averages()
    return averages.table(sort_by=key, row_limit=n_rows, max_name_column_width=60)
