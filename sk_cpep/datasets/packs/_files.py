"""Files that show when they were altered."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..._whole_file import replace_file, sync
from .._digest import digest
from ._format import FORMAT, VERSION, Entry

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the format, its version and a checksum of it all.

    Parameters
    ----------
    path : pathlib.Path

    content : dict
    """
    sealed = {"format": FORMAT, "version": VERSION, **content}
    sealed["checksum"] = digest(_canonical(sealed))
    replace_file(path, json.dumps(sealed, indent=1).encode() + b"\n")


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    content : dict

    Raises
    ------
    ValueError
        If it is no JSON object of a pack, of another version, or altered.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): it is damaged.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} does not belong to a pack of emg2pose.")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {content.get('version')} of the format, this "
            f"sk_cpep reads version {VERSION}. Pack again, or use the sk_cpep that "
            "made it."
        )
    found = content.pop("checksum", None)
    if found != digest(_canonical(content)):
        raise ValueError(
            f"{path} was altered or damaged: its checksum does not match. "
            "Copy the pack again, or pack again."
        )
    return dict(content)


def append_entry(path: Path, entry: Entry) -> None:
    """Add a line, with its checksum before it, to a journal; on disk when this returns.

    Parameters
    ----------
    path : pathlib.Path

    entry : Entry
    """
    with path.open("ab", buffering=0) as file:
        line = to_line(entry)
        file.write(b"%08x " % zlib.crc32(line) + line)
        sync(file)


def read_entries(path: Path) -> dict[int, Entry]:
    """Last entry of each row in a journal, by row.

    A line that was cut short or damaged is passed over: what it stood for is done
    again.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    entries : dict of int to Entry
    """
    entries: dict[int, Entry] = {}
    for noted in path.read_bytes().splitlines():
        crc, _, line = noted.partition(b" ")
        if crc == b"%08x" % zlib.crc32(line + b"\n"):
            entry = json.loads(line)
            entries[entry["row"]] = entry
    return entries


def to_line(entry: Entry) -> bytes:
    """An entry of a journal as a line of bytes."""
    return _canonical(entry) + b"\n"


@contextmanager
def held_journal(path: Path) -> Iterator[None]:
    """Hold a journal for this process alone, where the system can.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    BlockingIOError
        If another process holds it.
    """
    with path.open("a+b") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(
                    f"Another process is packing into {path.parent}: wait for it."
                ) from None
        file.seek(0)
        content = file.read()
        if content and not content.endswith(b"\n"):  # cut short by a kill
            file.write(b"\n")
            sync(file)
        yield


def _canonical(content: Mapping[str, Any]) -> bytes:
    """JSON in one form only."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
