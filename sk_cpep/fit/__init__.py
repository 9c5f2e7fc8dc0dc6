"""A fit that is described in a file: ``python -m sk_cpep fit CONFIG``."""

from ._cli import add_fit_arguments, run_fit_command
from ._windows import normalised

__all__ = ["add_fit_arguments", "normalised", "run_fit_command"]
