"""The metadata table of emg2pose: who recorded what, and in which split."""

import csv
import math
import sys
from pathlib import Path

import numpy as np

from ._format import (
    GENERALIZATIONS,
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
_HELD_OUT = {  # generalization: (held_out_user, held_out_stage)
    "none": (False, False),
    "user": (True, False),
    "stage": (False, True),
    "user_stage": (True, True),
}
_AGAIN = "Take the published table as it is."


def recording_path(root, filename):
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


def read_emg2pose_metadata(root):
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
    metadata = np.empty(len(rows), METADATA_DTYPE)
    for row, cells in enumerate(rows):
        metadata[row] = _parse_row(_Place(path, row, lines), header, cells)
    places = [_Place(path, row, lines) for row in range(len(rows))]
    _check_unique(metadata, places)
    _check_flags(metadata, places)
    _check_users(metadata, places)
    return metadata


def check_published_counts(metadata):
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


def _published(metadata):
    """(name, published counts, rows) of the whole table and of each of its parts."""
    yield "all", PUBLISHED_TOTALS, metadata
    for (split, generalization), counts in PUBLISHED_COUNTS.items():
        part = metadata["split"] == split
        part &= metadata["generalization"] == generalization
        expected = dict(zip(PUBLISHED_TOTALS, counts))
        yield f"{split}/{generalization}", expected, metadata[part]


def _counts(rows):
    """Numbers of files, users and stages."""
    return len(rows), len(set(rows["user"])), len(set(rows["stage"]))


class _Place:
    """Where in the table a row stands, for messages."""

    def __init__(self, path, row, lines):
        self.path, self.row, self.line = path, row, lines[row]

    def __str__(self):
        return f"{self.path}, row {self.row} (line {self.line})"


def _find_table(root):
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


def _read_cells(path):
    """Header, rows of cells and the line that each row ends on."""
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
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


def _check_columns(path, header):
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


def _parse_row(place, header, cells):
    if len(cells) != len(header):
        raise ValueError(
            f"{place} has {len(cells)} values, expected {len(header)}. {_AGAIN}"
        )
    values = dict(zip(header, cells))
    row = tuple(_parse(place, name, values[name]) for name in METADATA_COLUMNS)
    start, end = row[3:5]
    if end < start:
        raise ValueError(f"{place}: end={end} lies before start={start}. {_AGAIN}")
    return row


def _parse(place, name, text):
    """A value of the column `name`."""
    kind = METADATA_DTYPE[name].kind
    if kind == "f":
        return _parse_time(place, name, text)
    if kind == "b":
        return _parse_flag(place, name, text)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise ValueError(
            f"{place}: {name}={text!r} is unknown, expected one of "
            f"{list(_CHOICES[name])}. {_AGAIN}"
        )
    if not text and name != "moving_hand":
        raise ValueError(f"{place}: {name} is empty. {_AGAIN}")
    if name == "filename" and (text in {".", ".."} or set(text) & set("/\\\0")):
        raise ValueError(
            f"{place}: filename={text!r} is no file name; the files lie beside the "
            "table, without subfolders."
        )
    return sys.intern(text)


def _parse_time(place, name, text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{place}: {name}={text!r} is no time in seconds. {_AGAIN}"
        ) from None
    return value


def _parse_flag(place, name, text):
    if text not in {"True", "False"}:
        raise ValueError(
            f"{place}: {name}={text!r}, expected 'True' or 'False'. {_AGAIN}"
        )
    return text == "True"


def _check_unique(metadata, places):
    """Refuse a file listed twice."""
    seen = {}
    for place, filename in zip(places, metadata["filename"]):
        other = seen.setdefault(filename, place)
        if other is not place:
            raise ValueError(
                f"{place}: filename={filename!r} is listed in row {other.row} too. {_AGAIN}"
            )


def _check_flags(metadata, places):
    """Refuse flags that contradict the stage, the split or the generalization."""
    for place, row in zip(places, metadata):
        if row["held_out_stage"] != (row["stage"] in HELD_OUT_STAGES):
            raise ValueError(
                f"{place}: held_out_stage={row['held_out_stage']} for the stage "
                f"{row['stage']!r}; the held-out stages are {list(HELD_OUT_STAGES)}."
            )
        flags = (bool(row["held_out_user"]), bool(row["held_out_stage"]))
        if flags != _HELD_OUT[row["generalization"]]:
            raise ValueError(
                f"{place}: generalization={row['generalization']!r} means (held_out_user, "
                f"held_out_stage)={_HELD_OUT[row['generalization']]}, got {flags}. {_AGAIN}"
            )
        if (row["split"], row["generalization"]) not in PUBLISHED_COUNTS:
            pairs = ", ".join("/".join(pair) for pair in PUBLISHED_COUNTS)
            raise ValueError(
                f"{place}: there is no {row['split']}/{row['generalization']}; the pairs "
                f"of split and generalization are {pairs}."
            )


def _check_users(metadata, places):
    """Refuse sessions of two users, and held-out users in two splits.

    Users who are not held out have their ordinary stages in train and their
    held-out stages in test: those are no crossing.
    """
    users, splits = {}, {}
    for place, row in zip(places, metadata):
        user = row["user"]
        owner, other = users.setdefault(row["session"], (user, place))
        if owner != user:
            raise ValueError(
                f"{place}: session {row['session']!r} is of user {user!r} here and of "
                f"{owner!r} in row {other.row}. {_AGAIN}"
            )
        split = row["split"] if row["held_out_user"] else "train"
        first, other = splits.setdefault(user, (split, place))
        if first != split:
            raise ValueError(
                f"{place}: user {user!r} crosses splits: held out for {split} here, "
                f"{'in' if first == 'train' else 'held out for'} {first} in row "
                f"{other.row}. {_AGAIN}"
            )
