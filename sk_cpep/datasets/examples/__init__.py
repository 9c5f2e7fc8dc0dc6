"""Real recordings that come with the package, each with its licence beside it."""

from ._load import load_example

__all__ = ["load_example"]
