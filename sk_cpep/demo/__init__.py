"""The main job: from recordings to a table of what EMG alone can tell."""

from ._cli import main

__all__ = ["main"]
