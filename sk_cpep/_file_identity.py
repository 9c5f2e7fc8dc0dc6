"""Which file is which: whether it was replaced, and whether two names are of one."""

import os
from collections.abc import Mapping
from pathlib import Path

from ._typing import PathLike


def stamp(path: PathLike) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced, its time put back or not.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    stamp : tuple of int or None
        Size, times of the last modification and of the last change of anything, in ns.
        None where there is no file.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def refuse_inputs(output: PathLike, name: str, inputs: Mapping[str, PathLike]) -> None:
    """Refuse an output that is an input, or would lie in one.

    Parameters
    ----------
    output : path-like
        What is to be written, a file or a folder; it need not be there.

    name : str
        What it is called in the message.

    inputs : dict of str to path-like
        By their names, files and folders that are read.

    Raises
    ------
    ValueError
        If the output is one of them, by whatever spelling or link, or is in one that
        is a folder.
    """
    output = Path(output)
    for what, path in inputs.items():
        if is_same(output, path):
            raise ValueError(
                f"{name} = {output} is {what} = {path}, which is read: give another."
            )
        if Path(path).is_dir() and lies_in(output, path):
            raise ValueError(
                f"{name} = {output} lies in {what} = {path}, which is read: give "
                "another place."
            )


def lies_in(path: PathLike, folder: PathLike) -> bool:
    """Whether a path, there or not, is somewhere in a folder."""
    return any(is_same(parent, folder) for parent in Path(path).resolve().parents)


def is_same(path: PathLike, other: PathLike) -> bool:
    """Whether two paths, there or not, are of one file or folder."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return Path(path).resolve() == Path(other).resolve()
