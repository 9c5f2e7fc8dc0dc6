"""The main job: from recordings to a table of what EMG alone can tell."""

from ._cli import add_demo_arguments, run_demo_command

__all__ = ["add_demo_arguments", "run_demo_command"]
