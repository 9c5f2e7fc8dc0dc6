"""Tables of names and numbers that lie in files beside the code."""

import tomllib
from importlib import resources
from typing import Any


def read_table(package: str | None, name: str) -> dict[str, Any]:
    """Content of a TOML file in a package, in the order of the file."""
    return tomllib.loads((resources.files(package or "") / name).read_text("utf-8"))
