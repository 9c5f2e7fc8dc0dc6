"""``python -m benchmarks.paper --data ROOT [--config full|small] [--out DIR]``."""

import argparse
import sys
import time
from dataclasses import asdict

from sk_cpep import __version__

from ._config import CONFIGS
from ._data import describe, load_folds, recognise
from ._methods import TABLES, check_patches
from ._report import gather, write_report
from ._run import Cell
from ._store import Store


def main(argv=None):
    """Run the command; its exit status."""
    args = build_parser().parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError, ImportError) as error:
        print(f"benchmarks.paper: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "benchmarks.paper: interrupted; the same command goes on from here",
            file=sys.stderr,
        )
        return 130


def build_parser():
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description="Figure 2, Table 2 and Figure 3 of the CPEP paper.",
    )
    parser.add_argument(
        "--data",
        metavar="ROOT",
        required=True,
        help="folder of emg2pose (metadata.csv and .hdf5 files), of a pack of it, or "
        "of Ninapro DB1 files (S1_A1_E1.mat, ...)",
    )
    parser.add_argument(
        "--config",
        default="full",
        choices=sorted({size for _, size in CONFIGS}),
        help="full: the paper's sizes; small: for two cores; smoke: only shows that "
        "everything runs (default: %(default)s)",
    )
    parser.add_argument(
        "--only", choices=list(TABLES), help="one figure or table (default: all)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default="paper_results",
        help="where results go, and where an interrupted run goes on "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--pack",
        metavar="DIR",
        help="where emg2pose is packed, filtered, if --data is not a pack (default: "
        "DIR/pack of --out)",
    )
    parser.add_argument(
        "--people",
        choices=("eval", "tune"),
        default="eval",
        help="whom to evaluate on; choose configurations on tune (default: %(default)s)",
    )
    parser.add_argument(
        "--hand-model",
        metavar="JSON",
        help="a hand, for the fingertip term of the baselines' loss and for distances "
        "in mm (emg2pose; it is not in this package)",
    )
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes that pack")
    parser.add_argument(
        "--verbose", type=int, default=0, help="1: a progress bar for every training"
    )
    return parser


def run(args):
    """Run every cell that is not finished yet, and report."""
    started = time.perf_counter()
    kind = recognise(args.data)
    config = CONFIGS[kind, args.config]
    tables = [args.only] if args.only else list(TABLES)
    args.dataset = kind
    if kind == "ninapro" and args.hand_model:
        raise ValueError("--hand-model needs joint angles; Ninapro's glove has none.")
    folds, fingerprint = load_folds(kind, args, config)
    rows = [row for table in tables for row in TABLES[table](config)]
    windows = folds[0].pretrain
    check_patches(rows, {"emg": windows.X.shape[2], "pose": windows.P.shape[2]})
    store = Store(
        args.out,
        asdict(config)
        | {
            "data": fingerprint,
            "people": args.people,
            "hand_model": args.hand_model,
            "version": __version__,
        },
    )
    print(describe(folds), flush=True)
    jobs = plan(rows, folds, config, store, args)
    found = {row.method.key: [] for row in rows}
    for number, (row, cell) in enumerate(jobs, start=1):
        began = time.perf_counter()
        found[row.method.key].append(cell.run())
        seconds = time.perf_counter() - began
        print(
            f"[{number}/{len(jobs)}] {row.table}: {row.name}, {cell.fold.name}, "
            f"seed {cell.seed}: {seconds:.0f} s; "
            f"{time.perf_counter() - started:.0f} s in all",
            flush=True,
        )
    of_grids = [fold.name for fold in folds[: config.n_grid_folds]]
    results = gather(rows, found, of_grids)
    paths = write_report(results, config, args, folds, store.folder)
    print("\n" + (store.folder / "results.md").read_text(encoding="utf-8"))
    print("Written: " + ", ".join(str(path) for path in paths))
    return 0


def plan(rows, folds, config, store, args):
    """A cell for each method, fold and seed; what two rows share is run once."""
    common = {"device": args.device, "verbose": args.verbose}
    cells = {}
    for row in rows:
        chosen = folds[: config.n_grid_folds] if row.table == "figure3" else folds
        for fold in chosen:
            for seed in config.seeds:
                cell = Cell(
                    row.method, fold, config, seed, store, common, args.hand_model
                )
                cells.setdefault(cell.key, (row, cell))
    return list(cells.values())


if __name__ == "__main__":
    sys.exit(main())
