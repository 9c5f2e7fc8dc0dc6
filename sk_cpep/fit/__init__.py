"""A fit that is described in a file: ``python -m sk_cpep fit CONFIG``."""

from typing import TYPE_CHECKING

from .._lazy import attach
from ._arguments import add_fit_arguments

if TYPE_CHECKING:
    from ._cli import run_fit_command
    from ._windows import normalised
else:
    __getattr__, __dir__ = attach(
        __name__, {"_cli": ["run_fit_command"], "_windows": ["normalised"]}
    )

__all__ = ["add_fit_arguments", "normalised", "run_fit_command"]
