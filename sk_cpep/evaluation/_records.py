"""Records: kept in a file, and those of several groups of people made one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import PathLike, Record
from .._whole_file import replace_file
from ._harmonic import summarise_harmonic
from ._metrics import average_recalls, summarise_people

_PER_NAME = ("per_joint", "per_finger", "per_group")
_DISTANCES = ("landmark_distance", "fingertip_distance")


def merge_records(runs: Sequence[Sequence[Record]]) -> list[Record]:
    """One record for each method, protocol and set, over the people of all runs.

    For cross-validation over people: each run holds out others, and all are reported
    together.

    Parameters
    ----------
    runs : list of list of dict
        The records of each run, in the same order; nobody is held out twice.

    Returns
    -------
    records : list of dict
        What is averaged over people is averaged over all of them; windows are added
        up. Where a training did not converge in a run, the record says so and holds
        no averages.

    Raises
    ------
    ValueError
        If the runs hold records of different things, or a person is in two.
    """
    n_records = {len(run) for run in runs}
    if len(n_records) != 1:
        raise ValueError(
            f"Every run must hold the same records; there are runs of {n_records}."
        )
    return [_merge(list(records)) for records in zip(*runs, strict=True)]


def save_records(
    path: PathLike, records: Sequence[Record], *, overwrite: bool = False
) -> Path:
    """Write records to a JSON file, whole or not at all.

    Parameters
    ----------
    path : path-like
        File to write. It is replaced in one step: a crash leaves the earlier one.

    records : list of dict
        What JSON holds without loss; numbers and arrays of numpy are taken as Python's.

    overwrite : bool, default=False
        Whether records in the file that are not among `records` may be lost.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the file holds other records, or is none of records; if a number is NaN or
        infinite, which JSON has not (use None).

    TypeError
        If something cannot be kept as it is. The message says where it is.

    See Also
    --------
    load_records : Read them again.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sk_cpep.evaluation import load_records, save_records
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_records(pathlib.Path(folder) / "r.json", [{"method": "CPEP"}])
    ...     load_records(path)
    [{'method': 'CPEP'}]
    """
    path = Path(path)
    records = [_plain(r, f"records[{i}]") for i, r in enumerate(records)]
    if path.exists() and not overwrite:
        lost = [r for r in load_records(path) if r not in records]
        if lost:
            raise ValueError(
                f"{path} holds {len(lost)} record(s) that are not among those to save, "
                f"such as {_describe(lost[0])}. Add them (load_records), save "
                "elsewhere, or pass overwrite=True to lose them."
            )
    replace_file(path, json.dumps(records, indent=1, allow_nan=False).encode())
    return path


def load_records(path: PathLike) -> list[Record]:
    """Read the records that :func:`save_records` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    records : list of dict

    Raises
    ------
    ValueError
        If the file is damaged or holds something else.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged, or no JSON file: {error}") from error
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ValueError(f"{path} holds no list of records.")
    return records


def _merge(records: Sequence[Record]) -> Record:
    """One record of several that differ in the people held out."""
    first = records[0]
    keys = (
        "method",
        "protocol",
        "gestures",
        "generalization",
        "unit",
        "n_people",
        "windows",
    )
    different = [k for k in keys if len({r.get(k) for r in records}) > 1]
    if different:
        raise ValueError(
            f"Records of different things cannot be merged; they differ in {different}."
        )
    lost = [i for i, r in enumerate(records) if r.get("converged", True) is False]
    if lost:
        reasons = dict.fromkeys(r.get("reason") for r in records)
        return {k: first[k] for k in (*keys, "settings") if k in first} | {
            "converged": False,
            "reason": f"in {len(lost)} of {len(records)} runs: "
            + "; ".join(filter(None, reasons)),
        }
    is_pose = "angular_error" in first
    return first | (_merge_poses(records) if is_pose else _merge_gestures(records))


def _merge_gestures(records: Sequence[Record]) -> Record:
    """What changes in a record of gestures that are named."""
    merged = _merge_origin(records)
    if "parts" in records[0]:
        return merged | _merge_harmonic(records)
    summary = summarise_people(_join(records, "per_user"))
    confusion = np.sum([r["confusion"] for r in records], axis=0)
    shares = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
    merged |= {
        "macro_accuracy": summary["mean"],
        "pooled_macro_accuracy": float(shares[confusion.any(axis=1)].mean()),
        **summary,
        "n_train": [r["n_train"] for r in records],
        "n_test": sum(r["n_test"] for r in records),
        "confusion": confusion.tolist(),
    }
    if "predictions" in records[0]:  # else there were several draws of each
        merged["predictions"] = [name for r in records for name in r["predictions"]]
    if "per_user_recall" in records[0]:
        recalls = _join(records, "per_user_recall")
        merged |= {
            "per_class_recall": average_recalls(recalls),
            "per_user_recall": recalls,
        }
    return merged


def _merge_origin(records: Sequence[Record]) -> Record:
    """Which fits, which settings and how many labelled people the runs are of."""
    merged: Record = {}
    if "fits" in records[0]:
        merged["fits"] = [r["fits"] for r in records]
    for key in ("settings", "n_labelled"):
        if key in records[0]:
            merged[key] = _one_or_all([r[key] for r in records])
    return merged


def _merge_harmonic(records: Sequence[Record]) -> Record:
    """What changes in a record of a harmonic mean."""
    parts = {
        name: _join([r["parts"] for r in records], name) for name in records[0]["parts"]
    }
    summary = summarise_harmonic(*parts.values())
    merged = {"macro_accuracy": summary["mean"], **summary, "parts": parts}
    merged["n_train"] = [r["n_train"] for r in records]
    merged["n_test"] = sum(r["n_test"] for r in records)
    return merged


def _one_or_all(values: list[Any]) -> Any:
    """What all runs have in common, or what each has; of dicts, entry by entry."""
    if all(value == values[0] for value in values):
        return values[0]
    if isinstance(values[0], dict) and all(
        v.keys() == values[0].keys() for v in values
    ):
        return {key: _one_or_all([value[key] for value in values]) for key in values[0]}
    return values


def _merge_poses(records: Sequence[Record]) -> Record:
    """What changes in a record of poses that are predicted."""
    summary = summarise_people(_join(records, "per_user"), lower_is_better=True)
    n_users = [r["n_users"] for r in records]
    merged = {"angular_error": summary["mean"], **summary}
    for key in _PER_NAME:
        merged[key] = {
            name: float(np.average([r[key][name] for r in records], weights=n_users))
            for name in records[0][key]
        }
    for key in _DISTANCES:
        if records[0][key] is not None:
            people = _join([r[key] for r in records], "per_user")
            merged[key] = summarise_people(people, lower_is_better=True)
    for key in ("n_windows", "n_samples"):
        merged[key] = sum(r[key] for r in records)
    return merged


def _join(records: Sequence[Record], key: str) -> Record:
    """What all records tell by person; nobody may be in two of them."""
    joined: Record = {}
    for record in records:
        twice = sorted(joined.keys() & record[key].keys())
        if twice:
            raise ValueError(
                f"Held out in more than one run: {', '.join(twice)}. Merge runs that "
                "hold out different people."
            )
        joined |= record[key]
    return joined


def _plain(thing: Any, where: str) -> Any:
    """What JSON gives back as it is: plain types, finite numbers, names as keys."""
    if isinstance(thing, (np.ndarray, np.generic)):
        thing = thing.tolist()
    if isinstance(thing, dict):
        strange = [key for key in thing if not isinstance(key, str)]
        if strange:
            raise TypeError(
                f"{where} has the key {strange[0]!r}, which JSON would turn into text: "
                "use str keys."
            )
        return {key: _plain(x, f"{where}[{key!r}]") for key, x in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(x, f"{where}[{i}]") for i, x in enumerate(thing)]
    if isinstance(thing, float) and not np.isfinite(thing):
        raise ValueError(f"{where} is {thing}, which JSON has not: use None.")
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise TypeError(f"{where} is a {type(thing).__name__}, which JSON cannot hold.")


def _describe(record: Mapping[str, Any]) -> str:
    """Name a record in a few words."""
    keys = ("method", "protocol", "gestures", "generalization")
    return " / ".join(str(record[k]) for k in keys if record.get(k)) or repr(record)
