"""The main job: from recordings to a table of what EMG alone can tell."""

from typing import TYPE_CHECKING

from .._lazy import attach
from ._arguments import add_demo_arguments

if TYPE_CHECKING:
    from ._cli import run_demo_command
else:
    __getattr__, __dir__ = attach(__name__, {"_cli": ["run_demo_command"]})

__all__ = ["add_demo_arguments", "run_demo_command"]
