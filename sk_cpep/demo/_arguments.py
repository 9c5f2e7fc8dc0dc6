"""The arguments of ``python -m sk_cpep demo``, without what it computes with."""

import argparse


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m sk_cpep demo``."""
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="folder of Ninapro DB1 files (S1_A1_E1.mat, ...), or of the Myo readings "
        "(zips); without it, people are simulated",
    )
    parser.add_argument(
        "--test-subjects",
        nargs="+",
        type=int,
        metavar="N",
        help="people held out (default: everyone once, in folds of people)",
    )
    parser.add_argument(
        "--baseline",
        type=float,
        metavar="SECONDS",
        help="a control: take the resting level over so long off the envelope",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default="demo_results",
        help="where pictures and results.json go (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument(
        "--quiet", action="store_true", help="no progress bars, the table only"
    )
