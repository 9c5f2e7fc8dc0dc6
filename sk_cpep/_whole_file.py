"""Files that are there whole or not at all."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_STALE_SECONDS = 3600


def replace_file(
    path: Path, data: bytes | memoryview, previous: Path | None = None
) -> None:
    """Write a file so that a crash leaves the earlier one or the new one.

    Parameters
    ----------
    path : pathlib.Path

    data : bytes

    previous : pathlib.Path, default=None
        What the earlier file is kept as. There is a file at `path` all the while;
        where the file system has no links, only one at `previous` for a moment.

    Raises
    ------
    OSError
        If it cannot be written; the earlier file is still there then, or at `previous`.
    """
    draft = _draft_of(path)
    try:
        with draft.open("wb") as file:
            file.write(data)
            sync(file)
        if previous is not None and path.exists():
            keep_as(path, previous)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _draft_of(path: Path) -> Path:
    """A name beside a file that no other process, on any machine, uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def keep_as(path: Path, previous: Path) -> None:
    """Give a file another name too; where there are no links, instead of its own."""
    link = _draft_of(previous)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, previous)
        return
    try:
        os.replace(link, previous)
    finally:
        link.unlink(missing_ok=True)  # left where both were names of one file already


def check_writable(folder: Path) -> None:
    """Find out whether a folder takes files; raise the OSError if it does not."""
    probe = _draft_of(folder / "probe")
    try:
        with probe.open("wb") as file:
            file.write(b"probe")
            sync(file)
    finally:
        probe.unlink(missing_ok=True)


def remove_stale_drafts(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left behind."""
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                draft.unlink()


def sync(file: IO[Any]) -> None:
    """Have what was written to an open file put on disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names of a folder put on disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
