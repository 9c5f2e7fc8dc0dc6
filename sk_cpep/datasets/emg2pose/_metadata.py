"""The metadata table of emg2pose: who recorded what, and in which split."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..._typing import AnyArray, PathLike
from ._format import (
    GENERALIZATIONS,
    HELD_OUT,
    HELD_OUT_STAGES,
    METADATA_COLUMNS,
    METADATA_DTYPE,
    METADATA_FILE,
    PUBLISHED_COUNTS,
    PUBLISHED_TOTALS,
    SIDES,
    SPLITS,
    STAGES,
)

_CHOICES = {
    "stage": STAGES,
    "side": SIDES,
    "split": SPLITS,
    "generalization": GENERALIZATIONS,
}
_AGAIN = "Take the published table as it is."


def recording_path(root: PathLike, filename: str) -> Path:
    """Path of a recording's file.

    Parameters
    ----------
    root : str or path-like
        The folder of the corpus.

    filename : str
        From the metadata table, without extension.

    Returns
    -------
    path : pathlib.Path
    """
    return Path(root) / f"{filename}.hdf5"


def read_emg2pose_metadata(root: PathLike) -> AnyArray:
    """Read and check the metadata table of emg2pose.

    Parameters
    ----------
    root : str or path-like
        Folder that holds `metadata.csv`.

    Returns
    -------
    metadata : structured ndarray of shape (n_recordings,)
        A row per recording (one hand, one stage, one file), in the order of the
        table. Fields:

        session, user, stage : str
            A user has several sessions; the band is put on anew for each.
        start, end : float64
            Unix time in seconds.
        side : str
            "left" or "right", the hand recorded.
        filename : str
            Of the recording's file, without ".hdf5".
        moving_hand : str
            "both", as far as known.
        held_out_user, held_out_stage : bool
            Whether the user, or the stage, is kept from training.
        split : str
            "train", "val" or "test".
        generalization : str
            "none" (all of train), "user", "stage" or "user_stage": what of a
            recording training has not seen.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no `metadata.csv` in it.
    ValueError
        If the file is no such table: columns are missing, unknown or named
        twice, a value is of the wrong kind, a stage, side, split or
        generalization is unknown, a file is listed twice, a session has two
        users, a user is in two splits, or the flags `held_out_user` and
        `held_out_stage` contradict the split, the generalization or the six
        held-out stages. The message names the row, counted from 0, and the line.

    See Also
    --------
    check_published_counts : Compare the table with the counts published.

    Notes
    -----
    The table is the authority on user, session, stage and side: attributes of
    the same names inside the files differ from it and are not read.

    Examples
    --------
    >>> from sk_cpep.datasets import read_emg2pose_metadata
    >>> metadata = read_emg2pose_metadata("emg2pose_dataset")  # doctest: +SKIP
    >>> len(metadata), metadata["stage"][4]  # doctest: +SKIP
    (25253, 'ShakaVulcanPeace')
    """
    path = _find_table(Path(root))
    header, rows, lines = _read_cells(path)
    _check_columns(path, header)

    def place(row: int) -> str:
        return f"{path}, row {row} (line {lines[row]})"

    metadata = np.empty(len(rows), METADATA_DTYPE)
    for row, cells in enumerate(rows):
        try:
            metadata[row] = _parse_row(header, cells)
        except ValueError as error:
            raise ValueError(f"{place(row)}: {error} {_AGAIN}") from None
    for row, fault in _contradictions(metadata):
        raise ValueError(f"{place(row)}: {fault} {_AGAIN}")
    return metadata


def check_published_counts(metadata: AnyArray) -> None:
    """Compare a metadata table with the counts published for emg2pose.

    Parameters
    ----------
    metadata : structured ndarray of shape (n_recordings,)
        From :func:`read_emg2pose_metadata`.

    Raises
    ------
    ValueError
        If the number of files, users or stages differs, in all or in a pair of
        split and generalization. The message lists every difference.

    Examples
    --------
    >>> from sk_cpep.datasets import check_published_counts, read_emg2pose_metadata
    >>> metadata = read_emg2pose_metadata("emg2pose_dataset")  # doctest: +SKIP
    >>> check_published_counts(metadata)  # doctest: +SKIP
    """
    differences = [
        f"{name} {what}: {found}, published {published}"
        for name, expected, rows in _published(metadata)
        for (what, published), found in zip(expected.items(), _counts(rows))
        if found != published
    ]
    if differences:
        raise ValueError(
            "The metadata table is not that of the whole emg2pose as published: "
            f"{'; '.join(differences)}."
        )


def _published(metadata: AnyArray) -> Iterator[tuple[str, dict[str, int], AnyArray]]:
    """(name, published counts, rows) of the whole table and of each of its parts."""
    yield "all", PUBLISHED_TOTALS, metadata
    for (split, generalization), counts in PUBLISHED_COUNTS.items():
        part = metadata["split"] == split
        part &= metadata["generalization"] == generalization
        expected = dict(zip(PUBLISHED_TOTALS, counts))
        yield f"{split}/{generalization}", expected, metadata[part]


def _counts(rows: AnyArray) -> tuple[int, int, int]:
    """Numbers of files, users and stages."""
    return len(rows), len(set(rows["user"])), len(set(rows["stage"]))


def _find_table(root: Path) -> Path:
    """Path of the metadata table in a folder."""
    path = root / METADATA_FILE
    if path.is_file():
        return path
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise FileNotFoundError(
            f"{root} {what}; pass the folder that holds {METADATA_FILE} and the HDF5 files."
        )
    found = sorted(p.name for p in root.glob("*.csv"))[:5]
    raise FileNotFoundError(
        f"{root} holds no {METADATA_FILE} (tables found: {found or 'none'}); it comes "
        "with emg2pose's archives, and lies beside the HDF5 files."
    )


def _read_cells(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows of cells and the line that each row ends on."""
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header: list[str] = next(reader, [])
            for cells in reader:
                if cells:
                    rows.append(cells)
                    lines.append(reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no table of comma-separated values ({error}, after line "
            f"{lines[-1] if lines else 1}). Download it again."
        ) from error
    if not rows:
        raise ValueError(f"{path} has no rows. Download it again.")
    return header, rows, lines


def _check_columns(path: Path, header: list[str]) -> None:
    """Refuse columns that are missing, unknown or named twice."""
    missing = [name for name in METADATA_COLUMNS if name not in header]
    unknown = [name for name in header if name not in METADATA_COLUMNS]
    twice = sorted({name for name in header if header.count(name) > 1})
    faults = [("lacks", missing), ("has the unknown", unknown), ("names twice", twice)]
    said = [f"{what} {names}" for what, names in faults if names]
    if said:
        raise ValueError(
            f"{path} {', '.join(said)}; expected the columns {list(METADATA_COLUMNS)}. "
            f"{_AGAIN}"
        )


def _parse_row(header: list[str], cells: list[str]) -> tuple[str | float | bool, ...]:
    """Values of a row in the order of `METADATA_COLUMNS`."""
    if len(cells) != len(header):
        raise ValueError(f"it has {len(cells)} values, expected {len(header)}.")
    texts = dict(zip(header, cells))
    values = {name: _parse(name, texts[name]) for name in METADATA_COLUMNS}
    start, end = float(values["start"]), float(values["end"])
    if end < start:
        raise ValueError(f"end={end} lies before start={start}.")
    return tuple(values.values())


def _parse(name: str, text: str) -> str | float | bool:
    """A value of the column `name`."""
    kind = METADATA_DTYPE[name].kind
    if kind == "f":
        return _parse_time(name, text)
    if kind == "b":
        if text not in {"True", "False"}:
            raise ValueError(f"{name}={text!r}, expected 'True' or 'False'.")
        return text == "True"
    if name in _CHOICES and text not in _CHOICES[name]:
        raise ValueError(
            f"{name}={text!r} is unknown, expected one of {list(_CHOICES[name])}."
        )
    if not text and name != "moving_hand":
        raise ValueError(f"{name} is empty.")
    if name == "filename" and (text in {".", ".."} or set(text) & set("/\\\0")):
        raise ValueError(
            f"filename={text!r} is no file name; the files lie beside the table, "
            "without subfolders."
        )
    return sys.intern(text)


def _parse_time(name: str, text: str) -> float:
    """Seconds, which have to be finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}={text!r} is no time in seconds.")
    return value


def _contradictions(metadata: AnyArray) -> Iterator[tuple[int, str]]:
    """Rows that contradict themselves or others, and in what.

    Users who are not held out have their ordinary stages in train and their
    held-out stages in test: that is no crossing of splits.
    """
    files: dict[str, int] = {}
    sessions: dict[str, tuple[str, int]] = {}
    splits: dict[str, tuple[str, int]] = {}
    for row, entry in enumerate(metadata):
        filename, user, stage = entry["filename"], entry["user"], entry["stage"]
        split, kind = entry["split"], entry["generalization"]
        other = files.setdefault(filename, row)
        if other != row:
            yield row, f"filename={filename!r} is listed in row {other} too."
        if entry["held_out_stage"] != (stage in HELD_OUT_STAGES):
            yield (
                row,
                f"held_out_stage={entry['held_out_stage']} for the stage {stage!r}; the "
                f"held-out stages are {list(HELD_OUT_STAGES)}.",
            )
        flags = bool(entry["held_out_user"]), bool(entry["held_out_stage"])
        if flags != HELD_OUT[kind]:
            yield (
                row,
                f"generalization={kind!r} means (held_out_user, held_out_stage)="
                f"{HELD_OUT[kind]}, got {flags}.",
            )
        if (split, kind) not in PUBLISHED_COUNTS:
            pairs = ", ".join(map("/".join, PUBLISHED_COUNTS))
            yield (
                row,
                f"there is no {split}/{kind}; the pairs of split and generalization "
                f"are {pairs}.",
            )
        owner, other = sessions.setdefault(entry["session"], (user, row))
        if owner != user:
            yield (
                row,
                f"session {entry['session']!r} is of user {user!r} here and of "
                f"{owner!r} in row {other}.",
            )
        split = split if entry["held_out_user"] else "train"
        first, other = splits.setdefault(user, (split, row))
        if first != split:
            yield (
                row,
                f"user {user!r} crosses splits: held out for {split} here, "
                f"{'in' if first == 'train' else 'held out for'} {first} in row "
                f"{other}.",
            )
