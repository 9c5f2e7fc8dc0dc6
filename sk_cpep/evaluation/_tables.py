"""Records as a pandas table and as Markdown, published numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._typing import Record
from ._intervals import paired_difference
from ._published import method_key

Column: TypeAlias = tuple[str, Any, Any]

_PROTOCOLS = {
    "linear_probe": "probe",
    "supervised": "supervised",
    "zero_shot": "zero-shot",
    "generalised_zero_shot": "generalised zero-shot",
    "own_repetition": "own repetitions",
    "own_session": "own first session",
    "pose_regression": "regression",
    "pose_tracking": "tracking",
}
_SETS = {
    "in_distribution": "in distribution",
    "unseen": "unseen",
    "harmonic_mean": "harmonic mean",
    "user": "user",
    "stage": "stage",
    "user_stage": "user + stage",
}
_SCALARS = (str, int, float, bool, type(None))
_NOTHING = "–"
_FAILED = "did not converge"


def to_frame(records: Sequence[Record]) -> Any:
    """Records as a table of pandas, a row each.

    Parameters
    ----------
    records : list of dict
        As of :func:`linear_probe`, :func:`zero_shot`, :func:`pose_regression` or
        :func:`published`.

    Returns
    -------
    frame : pandas.DataFrame
        A column for each field that holds one number, name or truth value; ``low`` and
        ``high`` of the interval; settings as ``settings.C`` and so on, distances as
        ``landmark_distance.mean`` and so on. What a record lacks is missing.

    Raises
    ------
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> from sk_cpep.evaluation import published, to_frame
    >>> frame = to_frame(published("CPEP"))
    >>> frame.set_index(["protocol", "gestures"])["macro_accuracy"].unstack()
    gestures      in_distribution  unseen
    protocol
    linear_probe            0.782   0.536
    zero_shot               0.757   0.481
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_frame makes a table of pandas, which is not installed. Install it "
            'with: pip install "sk_cpep[table]"'
        ) from error
    return pandas.DataFrame([_flatten(record) for record in records])


def format_markdown(
    records: Sequence[Record],
    *,
    columns: Any = None,
    titles: Sequence[str] | None = None,
    spread: str = "interval",
    digits: int | None = None,
    published: Sequence[Record] = (),
    extra_methods: Sequence[str] = (),
    chance: Any = "caption",
    caption: bool = True,
) -> str:
    """Records as Markdown tables, methods down, protocols and sets across.

    There is a table for each of macro accuracy, angular error and landmark distance,
    where there are such records.

    Parameters
    ----------
    records : list of dict
        As of :func:`linear_probe`, :func:`zero_shot` or :func:`pose_regression`. One
        with ``converged`` False is shown as such, without a number. One with a
        ``gallery`` has a column of its own.

    columns : list of tuple, default=None
        Protocol and set of each column, such as ``("zero_shot", "unseen")``; third,
        where there are several, the gallery, what windows they are, "penalty 0.1", or
        the number of people whose labels a probe has learned from, such as
        ``("linear_probe", "unseen", 1)``. None is all there are.

    titles : list of str, default=None
        What columns are called, as many as there are.

    spread : {"interval", "sd"}, default="interval"
        What stands behind the mean.

    digits : int, default=None
        Number of decimals. None is 3 for accuracies, 2 for errors.

    published : sequence of dict, default=()
        Records of :func:`published`, to stand in parentheses beside ours of the same
        method.

    extra_methods : sequence of str, default=()
        Methods that only have published numbers, for a line each.

    chance : {"caption", "row"}, default="caption"
        Where the level of chance is told: below, or in a last line.

    caption : bool, default=True
        Whether to say below what the numbers are and where the published come from.

    Returns
    -------
    table : str

    Raises
    ------
    ValueError
        If there are no records, or two of one method in the same column.

    Examples
    --------
    >>> from sk_cpep.evaluation import format_markdown, published
    >>> ours = {"method": "CPEP", "protocol": "zero_shot", "gestures": "unseen",
    ...         "mean": 0.5, "interval": [0.4, 0.6], "chance": 0.25}
    >>> print(format_markdown([ours], published=published("CPEP")))
    | macro accuracy | zero-shot, unseen            |
    |----------------|------------------------------|
    | CPEP           | 0.500 [0.400, 0.600] (0.481) |
    <BLANKLINE>
    Mean over people [95 % bootstrap interval over people]. Chance: 0.250. In
    parentheses, published: CPEP (CPEP, arXiv:2509.04699, Table 2).
    """
    if spread not in ("interval", "sd"):
        raise ValueError(f"spread must be 'interval' or 'sd', got {spread!r}.")
    if chance not in ("caption", "row"):
        raise ValueError(f"chance must be 'caption' or 'row', got {chance!r}.")
    if not records:
        raise ValueError("No records to show.")
    parts = []
    for metric in _METRICS:
        table = _Table(records, metric, columns, spread, digits, published)
        if table.columns:
            rows = table.rows(extra_methods, chance == "row", titles)
            parts.append(layout(rows))
            if caption:
                parts.append(table.caption(chance == "caption"))
    return "\n\n".join(parts)


def format_differences(
    records: Sequence[Record],
    ours: str,
    *,
    columns: Sequence[Any] | None = None,
    titles: Sequence[str] | None = None,
    digits: int = 3,
) -> str:
    """How much better a method is than each other one, as a Markdown table.

    Parameters
    ----------
    records : list of dict
        As of :func:`format_markdown`.

    ours : str
        The method that others are compared with.

    columns, titles
        As of :func:`format_markdown`. None are all columns that `ours` has.

    digits : int, default=3
        Number of decimals.

    Returns
    -------
    table : str
        Mean over people of each one's difference, and its 95 % bootstrap interval, of
        the method less each other one; see :func:`paired_difference`.

    Raises
    ------
    ValueError
        If there is no record of `ours`.

    Examples
    --------
    >>> from sk_cpep.evaluation import format_differences
    >>> of = {"protocol": "zero_shot", "gestures": "unseen"}
    >>> a = {"method": "A", "per_user": {"1": 0.7, "2": 0.8}} | of
    >>> b = {"method": "B", "per_user": {"1": 0.6, "2": 0.7}} | of
    >>> print(format_differences([a, b], "A", digits=2))
    | A less … | zero-shot, unseen    |
    |----------|----------------------|
    | B        | +0.10 [+0.10, +0.10] |
    """
    cells = _by_cell(records)
    if ours not in {method for method, _ in cells}:
        raise ValueError(f"There is no record of {ours!r} to compare others with.")
    if columns is None:
        mine = [r for r in records if r["method"] == ours]
        columns = _columns(mine)
    columns = [(*column, None)[:3] for column in columns]
    rows = [[f"{ours} less …", *_titles(titles, columns)]]
    for method in dict.fromkeys(r["method"] for r in records if r["method"] != ours):
        pairs = [(cells.get((ours, c)), cells.get((method, c))) for c in columns]
        found = [_difference(a, b, digits) for a, b in pairs]
        if set(found) != {_NOTHING}:
            rows.append([method, *found])
    return layout(rows)


def _difference(a: Record | None, b: Record | None, digits: int) -> str:
    """Mean and interval of a - b, person by person."""
    if a is None or b is None or not _converged(a, b):
        return _NOTHING
    found = paired_difference(a, b)
    text = f"{found['mean']:+.{digits}f}"
    if found["interval"] is None:
        return text
    low, high = found["interval"]
    return f"{text} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _converged(*records: Record) -> bool:
    return all(record.get("converged", True) for record in records)


def layout(rows: Any) -> str:
    """Rows of cells as a Markdown table, the first its head."""
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


class _Metric:
    """A number that records report: what it is called, and where it is in them."""

    def __init__(self, name: str, digits: int | None, is_pose: bool) -> None:
        self.name = name
        self.digits = digits
        self.is_pose = is_pose

    def of(self, record: Mapping[str, Any]) -> Any:
        """The mean, interval and SD in a record, or None if it has no such number."""
        if self.is_pose != record["protocol"].startswith("pose_"):
            return None
        if self.name == "landmark distance":
            return record.get("landmark_distance")
        return record

    def title(self, records: Sequence[Record]) -> str:
        """The name, with the unit."""
        if self.name == "landmark distance":
            return f"{self.name} (mm)"
        units = dict.fromkeys(r["unit"] for r in records if "unit" in r)
        return f"{self.name} ({', '.join(units)})" if units else self.name


_METRICS = (
    _Metric("macro accuracy", 3, False),
    _Metric("angular error", 2, True),
    _Metric("landmark distance", 2, True),
)


class _Table:
    """The records that report a metric, by method and column."""

    def __init__(
        self,
        records: Sequence[Record],
        metric: _Metric,
        columns: Any,
        spread: str,
        digits: int | None,
        published: Sequence[Record],
    ) -> None:
        self.metric = metric
        self.spread = spread
        self.digits = metric.digits if digits is None else digits
        self.records = [r for r in records if metric.of(r) is not None]
        self.cells = _by_cell(self.records)
        self.methods = dict.fromkeys(r["method"] for r in self.records)
        self.columns = _columns(self.records)
        if columns is not None and self.records:
            self.columns = [(*column, None)[:3] for column in columns]
        self.published: dict[tuple[str, str, Any], Record] = {}
        for record in published:
            if metric.of(record) is not None:
                place = (method_key(record["method"]), *_column(record)[:2])
                self.published.setdefault(place, record)
        self.cited: dict[str, dict[str, None]] = {}

    def rows(
        self,
        extra_methods: Sequence[str],
        chance: Any,
        titles: Sequence[str] | None = None,
    ) -> list[list[str]]:
        """Head, methods and, if it is asked for, chance."""
        rows = [[self.metric.title(self.records), *_titles(titles, self.columns)]]
        for method in [*self.methods, *extra_methods]:
            rows.append([method, *(self.cell(method, c) for c in self.columns)])
        if chance:
            levels = (self.chance(column) for column in self.columns)
            rows.append(
                ["Chance", *(_NOTHING if x is None else self.number(x) for x in levels)]
            )
        return rows

    def cell(self, method: str, column: Any) -> str:
        """Our number and the published one, as far as there are any."""
        ours = self.cells.get((method, column))
        theirs = self.published.get((method_key(method), *column[:2]))
        texts = [] if ours is None else [self.measured(ours)]
        if theirs is not None:
            texts.append(f"({self.quoted(theirs)})")
            self.cited.setdefault(theirs["source"], {})[theirs["method"]] = None
        return " ".join(texts) or _NOTHING

    def measured(self, record: Mapping[str, Any]) -> str:
        """Mean and spread of one of our records."""
        if record.get("converged", True) is False:
            return _FAILED
        found = self.metric.of(record)
        text = self.number(found["mean"])
        if self.spread == "sd" and found.get("sd") is not None:
            text += f" ± {self.number(found['sd'])}"
        if self.spread == "interval" and found.get("interval") is not None:
            low, high = map(self.number, found["interval"])
            text += f" [{low}, {high}]"
        return text

    def quoted(self, record: Mapping[str, Any]) -> str:
        """A published number."""
        if record["converged"] is False:
            return _FAILED
        about = "≈" if record["trust"] == "low" else ""
        return about + self.number(self.metric.of(record)["mean"])

    def number(self, value: float) -> str:
        """A number with the decimals of the table."""
        return f"{value:.{self.digits}f}"

    def chance(self, column: Any) -> float | None:
        """Level of chance in a column, or None."""
        levels = (r.get("chance") for r in self.records if _column(r) == column)
        return next((level for level in levels if level is not None), None)

    def caption(self, with_chance: bool) -> str:
        """What the numbers are; called after `rows`."""
        spread = {
            "interval": "Mean over people [95 % bootstrap interval over people].",
            "sd": "Mean ± SD over people.",
        }
        parts = [spread[self.spread]]
        chances = ((c, self.chance(c)) for c in self.columns)
        levels = {c: self.number(x) for c, x in chances if x is not None}
        if with_chance and len(set(levels.values())) == 1:
            parts.append(f"Chance: {next(iter(levels.values()))}.")
        elif with_chance and levels:
            each = (f"{level} ({_title(c)})" for c, level in levels.items())
            parts.append(f"Chance: {', '.join(each)}.")
        if self.cited:
            sources = (f"{', '.join(m)} ({s})" for s, m in self.cited.items())
            parts.append(f"In parentheses, published: {'; '.join(sources)}.")
        used = [r for r in self.published.values() if r["source"] in self.cited]
        if any(r["trust"] == "low" for r in used):
            parts.append("≈: read off a picture or derived, by others.")
        return " ".join(parts)


def _column(record: Mapping[str, Any]) -> Column:
    """Protocol, gestures (or what is new) of a record, and what else tells it apart."""
    what = record.get("gestures") or record.get("generalization")
    return record["protocol"], what, _third(record)


def _third(record: Mapping[str, Any]) -> Any:
    """Gallery, windows, penalty or number of labelled people, where it is a special one."""
    n_people = record.get("n_people")
    few = n_people if isinstance(n_people, int) and n_people > 0 else None
    penalty = record.get("settings", {}).get("seen_penalty")
    each = penalty if isinstance(penalty, list) else [penalty]  # of several runs
    less = f"penalty {', '.join(f'{p:g}' for p in each)}" if penalty else None
    return record.get("gallery") or record.get("windows") or less or few


def _columns(records: Sequence[Record]) -> list[Column]:
    """Columns there are: protocols in order, then sets, then as they come."""
    orders = list(_PROTOCOLS), list(_SETS)

    def place(column: Any) -> tuple[int, ...]:
        return tuple(
            order.index(name) if name in order else len(order)
            for order, name in zip(orders, column)
        )

    return sorted(dict.fromkeys(map(_column, records)), key=place)


def _titles(titles: Sequence[str] | None, columns: Sequence[Any]) -> list[str]:
    """What columns are called: as is asked for, or what they hold."""
    if titles is None:
        return [_title(column) for column in columns]
    if len(titles) != len(columns):
        raise ValueError(
            f"titles has {len(titles)} entries for {len(columns)} columns."
        )
    return list(titles)


def _title(column: Any) -> str:
    """A column in words."""
    protocol, what, third = column
    words = [_PROTOCOLS.get(protocol, protocol), _SETS.get(what, what)]
    if isinstance(third, int):
        words.append(f"labels of {third} {'person' if third == 1 else 'people'}")
    elif third:
        words.append(third)
    return ", ".join(str(word).replace("_", " ") for word in words)


def _by_cell(records: Sequence[Record]) -> dict[Any, Record]:
    """Records by method and column; two in one place would hide each other."""
    cells = {}
    for record in records:
        place = record["method"], _column(record)
        if place in cells:
            raise ValueError(
                f"Two records of {place[0]!r} for {_title(place[1])!r}: a table shows "
                "one. Merge or choose among them, or give them different methods."
            )
        cells[place] = record
    return cells


def _flatten(record: Mapping[str, Any]) -> Record:
    """Fields of a record that hold one thing, those of its small dicts too."""
    row = {}
    for name, value in record.items():
        if name == "interval":
            row["low"], row["high"] = value or (None, None)
        elif isinstance(value, _SCALARS):
            row[name] = value
        elif name in ("settings", "landmark_distance", "fingertip_distance"):
            inner = {k: v for k, v in value.items() if isinstance(v, _SCALARS)}
            row |= {f"{name}.{k}": v for k, v in inner.items()}
    return row
