"""How fast ``MAE.fit`` trains: against a bare PyTorch loop, and in bfloat16.

``python -m benchmarks.engine`` prints windows per second at the paper's size (EMG,
16 channels x 4000 samples, patches of 50) and the ratios that count:

* time of ``MAE.fit`` over that of a bare loop over the same module and batches, in
  float32;
* speed of bfloat16 over float32 in the bare loop.

``--device cuda`` does the same on a GPU.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

from sk_cpep import MAE
from sk_cpep.nn import MAEConfig, MaskedAutoencoder
from sk_cpep.training import resolve_device, resolve_precision


def bare_loop(X, n_epochs, batch_size, device, dtype, seed=0):
    """Train the same network with nothing around it; seconds."""
    torch.manual_seed(seed)
    config = MAEConfig(n_channels=X.shape[1], n_times=X.shape[2])
    module = MaskedAutoencoder(config).to(device)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=1e-4, weight_decay=1e-5, fused=True
    )
    n_batches = len(X) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=n_epochs * n_batches
    )
    windows = torch.from_numpy(X)
    synchronise(device)
    started = time.perf_counter()
    for _ in range(n_epochs):
        losses = []
        for rows in torch.randperm(len(X)).split(batch_size):
            x = windows[rows].to(device)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = module(x)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
    synchronise(device)
    return time.perf_counter() - started


def estimator_fit(X, n_epochs, batch_size, device, precision, seed=0):
    """Train by ``MAE.fit``; seconds."""
    mae = MAE(
        batch_size=batch_size,
        max_epochs=n_epochs,
        device=device,
        precision=precision,
        random_state=seed,
    )
    synchronise(device)
    started = time.perf_counter()
    mae.fit(X)
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device):
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    args = parser.parse_args()

    device = resolve_device(args.device)
    X = np.random.default_rng(0).normal(size=(args.windows, 16, 4000)).astype("f4")
    run = (args.epochs, args.batch_size, device)
    jobs = {
        "bare loop, float32": lambda: bare_loop(X, *run, torch.float32),
        "MAE.fit, float32": lambda: estimator_fit(X, *run, "float32"),
        "bare loop, bfloat16": lambda: bare_loop(X, *run, torch.bfloat16),
    }
    bare_loop(X[: args.batch_size], 1, args.batch_size, device, torch.float32)
    seconds = {name: [] for name in jobs}
    for _ in range(args.repeats):  # in turn, so that drift of the machine is shared
        for name, job in jobs.items():
            seconds[name].append(job())
            print(f"  {name}: {seconds[name][-1]:.2f} s", flush=True)
    report(seconds, args, device)


def report(seconds, args, device):
    """Print the table and the ratios; medians over the repeats."""
    median = {name: statistics.median(times) for name, times in seconds.items()}
    n_windows = args.windows * args.epochs
    figures = {
        "device": str(device),
        "bfloat16 units": resolve_precision("auto", device) == torch.bfloat16,
        "windows per second": {k: n_windows / v for k, v in median.items()},
        "time of MAE.fit / bare loop": ratio(seconds, "MAE.fit, float32"),
        "speed of bfloat16 / float32": 1 / ratio(seconds, "bare loop, bfloat16"),
    }
    print(f"\n{torch.__version__} on {device}, {torch.get_num_threads()} threads")
    for name, rate in figures["windows per second"].items():
        print(f"{name:22s} {rate:10.1f} windows/s")
    for name in ("time of MAE.fit / bare loop", "speed of bfloat16 / float32"):
        print(f"{name}: {figures[name]:.2f}")
    if not figures["bfloat16 units"]:
        print("This device has no bfloat16 units: precision='auto' is float32 here.")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(figures, file, indent=1)


def ratio(seconds, name, peer="bare loop, float32"):
    """Median over the repeats of the ratio to the peer in the same repeat."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[peer]))


if __name__ == "__main__":
    main()
