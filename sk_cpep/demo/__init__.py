"""The main job: from recordings to a table of what EMG alone can tell."""

from typing import TYPE_CHECKING

from .._lazy import attach
from ._arguments import add_demo_arguments

if TYPE_CHECKING:
    from ._cli import run_demo_command
    from ._config import NINAPRO, SIMULATED, DemoConfig
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "_cli": ["run_demo_command"],
            "_config": ["NINAPRO", "SIMULATED", "DemoConfig"],
        },
    )

__all__ = [
    "NINAPRO",
    "SIMULATED",
    "DemoConfig",
    "add_demo_arguments",
    "run_demo_command",
]
