"""``python -m benchmarks.engine [--device cuda] [--json FILE]``."""

import argparse
import sys

import numpy as np
import torch

from sk_cpep.training import resolve_device, resolve_precision

from ..limits import Limits
from ..table import Table, finish, table_file
from ._contrast import measure_contrast
from ._curves import measure_curves
from ._floor import measure_floor, profile_step
from ._loop import Run
from ._ours import MODES
from ._pretraining import fastest, measure_overhead, measure_pretraining
from ._schedule import measure_schedule

EMG_SHAPE, POSE_SHAPE = (16, 4000), (20, 4000)
# Windows, epochs a repeat, and the batch of the curves.
DEFAULTS = {"cpu": (512, 1, 32), "cuda": (16_384, 3, 256), "mps": (2048, 1, 256)}


def main(argv=None):
    """Run the command; its exit status."""
    args = build_parser().parse_args(argv)
    try:
        device = resolve_device(args.device)
        table = curves(args, device) if args.curves else rates(args, device)
    except ValueError as error:
        print(f"benchmarks.engine: {error}", file=sys.stderr)
        return 2
    finish(table, args.json)
    return 0


def build_parser():
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description="Training at the paper's sizes, beside its peers and its limits.",
    )
    add = parser.add_argument
    add("--device", default="auto")
    add("--windows", type=int, help="default: 512, on a GPU 16384")
    add("--batch-size", type=int, help="default: 256; of --curves on a CPU 32")
    add("--epochs", type=int, help="timed in a repeat; default: 1, on a GPU 3")
    add("--repeats", type=int, default=3)
    add("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    add("--workers", type=int, nargs="+", default=[0], help="of the stock loader")
    add("--pairs", type=int, nargs="+", default=[256, 4096], help="contrasted at once")
    add("--profile", action="store_true", help="list the operators of a step, too")
    add("--curves", action="store_true", help="compare losses of the precisions only")
    add("--steps", type=int, default=200, help="of --curves")
    add("--json", type=table_file, metavar="FILE", help="write the figures there too")
    return parser


def rates(args, device):
    """Everything about speed."""
    n_windows, epochs, _ = DEFAULTS[device.type]
    run = Run(
        device,
        args.windows or n_windows,
        args.batch_size or 256,
        args.epochs or epochs,
    )
    table = Table("Training, 16 channels x 4000 samples", "windows/s", device)
    limits = Limits(device)
    X, P = (random_windows(run.n_windows, shape) for shape in (EMG_SHAPE, POSE_SHAPE))
    seconds = measure_pretraining(table, X, run, args)
    limits.measure()
    mode = fastest(seconds, args.modes)
    table.figures |= {"fastest": mode, "batch size": run.batch_size}
    measure_overhead(table, run, args)
    measure_schedule(table, X, P, mode, run, args.repeats)
    measure_contrast(table, device, args.pairs, args.repeats)
    limits.measure()
    measure_floor(table, X, run, args, limits)
    describe_precision(table, device)
    if args.profile:
        print(profile_step(X, mode, run))
    return table


def random_windows(n_windows, shape):
    """White noise: what a step costs does not depend on what it sees."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_windows, *shape), dtype=np.float32)


def describe_precision(table, device):
    """What the device has units for, and what is chosen there."""
    automatic = resolve_precision("auto", device)
    has_units = automatic == torch.bfloat16
    table.figures["bfloat16 units"] = has_units
    table.figures["float32 products"] = torch.get_float32_matmul_precision()
    table.remark(
        f"This device has {'' if has_units else 'no '}bfloat16 units: precision='auto' "
        f"is {str(automatic).removeprefix('torch.')} here."
    )
    if not torch.cuda.is_available():
        table.remark("No GPU is at hand; where one is, --device cuda measures it.")


def curves(args, device):
    """Whether all modes learn the same."""
    *_, batch_size = DEFAULTS[device.type]
    batch_size = args.batch_size or batch_size
    run = Run(device, args.windows or 8 * batch_size, batch_size, 1)
    table = Table("Losses of a masked autoencoder", "steps/s", device)
    measure_curves(table, run, args.modes, args.steps)
    return table


if __name__ == "__main__":
    sys.exit(main())
