"""Macro accuracy, or error, of several methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from .._typing import AnyArray
from ._display import Display, class_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    from ._display import AxesLike

Record: TypeAlias = Mapping[str, Any]


class _Slot(NamedTuple):
    """Where a bar stands, and how broad it may be."""

    ax: Axes
    place: float
    breadth: float


_WIDTH = 0.8
_SPREADS = {
    "sd": "mean ± SD over people",
    "interval": "mean, 95 % interval over people",
}


@dataclass(eq=False, repr=False)
class ResultsDisplay(Display):
    """Results of records: bars, spread over people, every person, chance.

    Use :meth:`from_records` to create it.

    Parameters
    ----------
    records : list of dict
        As :func:`~sk_cpep.evaluation.linear_probe`,
        :func:`~sk_cpep.evaluation.zero_shot` or
        :func:`~sk_cpep.evaluation.pose_regression` return them. At least ``method``,
        ``protocol``, ``gestures`` (or ``generalization``), and ``macro_accuracy`` (or
        ``angular_error``, but not both kinds in one display); drawn where there:
        ``sd`` or ``interval``, ``per_user``, ``chance``. A record whose ``converged``
        is False gets these words instead of a bar.

    Attributes
    ----------
    axes_, ax_, figure_
        Axes of each panel, the first of them, and their figure.

    bars_ : list of matplotlib Rectangle or None
        Bar of each record.

    people_ : list of matplotlib PathCollection or None
        People of each record, a point each.

    markers_ : list of matplotlib Line2D or None
        Published number of each record.

    chance_lines_ : list of matplotlib Line2D
        A line at each level of chance.
    """

    records: Sequence[Record]

    @classmethod
    def from_records(
        cls, records: Iterable[Record], *, ax: AxesLike = None, **plot_kw: Any
    ) -> ResultsDisplay:
        """Plot records of an evaluation.

        Parameters
        ----------
        records : list of dict
            Records, in the order to draw them.

        ax, **plot_kw
            Passed to :meth:`plot`.

        Returns
        -------
        display : ResultsDisplay
            The display, plotted.
        """
        return cls(list(records)).plot(ax, **plot_kw)

    def plot(
        self,
        ax: AxesLike = None,
        *,
        show_people: bool = True,
        spread: Literal["sd", "interval"] = "sd",
        published: Iterable[Record] = (),
        panels: bool = False,
    ) -> ResultsDisplay:
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Where to draw, one for each panel; by default a new figure.

        show_people : bool, default=True
            Whether to draw a point for each person.

        spread : {"sd", "interval"}, default="sd"
            What the error bars show: the SD over people, or the bootstrap interval of
            the mean.

        published : sequence of dict, default=()
            Records of :func:`~sk_cpep.evaluation.published`, for a marker each on the
            bar of the same method; hollow where they are of low trust.

        panels : bool, default=False
            Whether each set (in distribution, unseen) has an axes of its own.

        Returns
        -------
        self : ResultsDisplay
            The display, with its attributes set.
        """
        if spread not in _SPREADS:
            raise ValueError(f"spread must be one of {[*_SPREADS]}, got {spread!r}.")
        self._metric = _metric(self.records)
        kind = _protocol if panels else _kind
        sets = dict.fromkeys(map(_set, self.records))
        titles: list[str | None] = [*sets] if panels else [None]
        methods = list(dict.fromkeys(r["method"] for r in self.records))
        kinds = list(dict.fromkeys(map(kind, self.records)))
        width = max(4.5, 1.2 + 0.5 * len(methods) * (len(kinds) + 0.6))
        size = (width, 3 if panels else 4)
        self._set_axes(ax, len(titles), 1, size, sharex=True, sharey=True)
        axes = dict(zip(titles, self.axes_, strict=True))
        colours = dict(zip(kinds, class_colours(self, len(kinds)), strict=True))
        quoted = {(_method_key(r), _kind(r)): r for r in reversed([*published])}
        self.bars_: list[Any] = []
        self.people_: list[Any] = []
        self.markers_: list[Any] = []
        breadth = _WIDTH / len(kinds)
        for record in self.records:
            aside = kinds.index(kind(record)) - (len(kinds) - 1) / 2
            place = methods.index(record["method"]) + breadth * aside
            slot = _Slot(axes[_set(record) if panels else None], place, breadth)
            theirs = quoted.get((_method_key(record), _kind(record)))
            self.bars_.append(
                _draw_bar(slot, record, self._metric, spread, colours[kind(record)])
            )
            people = record.get("per_user") if show_people and self.bars_[-1] else None
            self.people_.append(_draw_people(slot, people))
            self.markers_.append(_draw_published(slot, theirs, self._metric))
        self.chance_lines_: list[Any] = []
        for title, axis in axes.items():
            self.chance_lines_ += self._draw_chance(axis, title)
            _label(axis, methods, title)
            axis.set_ylim(0, 1.03 if self._metric == "macro_accuracy" else None)
        self._label_results(f"{self._name()}\n({_SPREADS[spread]})", ax is None)
        self._draw_legend(kind, kinds, ax is None)
        return self

    def _draw_chance(self, ax: Axes, title: str | None) -> list[Line2D]:
        """Draw a line at each level of chance; return the lines."""
        records = [r for r in self.records if title in (None, _set(r))]
        levels = sorted({r["chance"] for r in records if "chance" in r})
        return [ax.axhline(x, color="0.2", ls="--", lw=1, zorder=4) for x in levels]

    def _name(self) -> str:
        """What the bars show, with its unit."""
        units = dict.fromkeys(r["unit"] for r in self.records if "unit" in r)
        name = self._metric.replace("_", " ")
        return f"{name} ({', '.join(units)})" if units else name

    def _label_results(self, name: str, is_own: bool) -> None:
        """Label the results, once in a figure of our own with several panels."""
        if is_own and len(self.axes_) > 1:
            self.figure_.supylabel(name, fontsize="medium", multialignment="center")
            return
        for axis in self.axes_:
            axis.set_ylabel(name)

    def _draw_legend(
        self, kind: Callable[[Record], str], kinds: list[str], is_own: bool
    ) -> None:
        """Draw a legend above the axes."""
        firsts: dict[str, Rectangle] = {}
        for record, bar in zip(self.records, self.bars_, strict=True):
            if bar is not None:
                firsts.setdefault(kind(record), bar)
        entries: list[tuple[Any, str]]
        entries = [(firsts[name], name) for name in kinds if name in firsts]
        if self.chance_lines_:
            entries.append((self.chance_lines_[0], "chance"))
        markers = [marker for marker in self.markers_ if marker is not None]
        if markers:
            solid = [m for m in markers if m.get_markerfacecolor() != "none"]
            entries.append(((solid or markers)[0], "published"))
        if not entries:
            return
        handles, labels = zip(*entries)
        options: dict[str, Any] = {"ncols": 2, "frameon": False}
        if is_own and len(self.axes_) > 1:
            options |= {"loc": "outside upper left", "ncols": len(labels)}
            self.figure_.legend(handles, labels, **options)
        else:
            options |= {"loc": "lower left", "bbox_to_anchor": (0, 1)}
            self.ax_.legend(handles, labels, **options)


def _metric(records: Sequence[Record]) -> str:
    """The field that all records report."""
    if not records:
        raise ValueError("No records to plot.")
    is_pose = {r["protocol"].startswith("pose_") for r in records}
    if len(is_pose) > 1:
        raise ValueError(
            "Accuracies and errors of poses have no axis in common: plot them apart."
        )
    return "angular_error" if is_pose.pop() else "macro_accuracy"


def _protocol(record: Record) -> str:
    """Protocol of a record, in words."""
    return record["protocol"].replace("_", " ")


def _set(record: Record) -> str:
    """Gestures of a record, or what is new, in words."""
    what = record.get("gestures") or record.get("generalization")
    return str(what).replace("_", " ")


def _kind(record: Record) -> str:
    """Protocol and gestures of a record, in words."""
    return f"{_protocol(record)}, {_set(record)}"


def _method_key(record: Record) -> str:
    """The name of a method without its case and remarks, by which it is found."""
    return record["method"].casefold().removesuffix(" (upper bound)")


def _label(ax: Axes, methods: list[str], title: str | None) -> None:
    """Name the methods, aslant where they are long, and the panel."""
    long = max(map(len, methods)) > 16
    aslant: dict[str, Any] = {}
    if long:
        aslant = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(methods)), methods, **aslant)
    room = 1.0 if len(methods) == 1 else 0.6
    ax.set_xlim(-room, len(methods) - 1 + room)
    ax.set_title(title or "")


def _draw_bar(
    slot: _Slot, record: Record, metric: str, spread: str, colour: AnyArray
) -> Rectangle | None:
    """Draw a bar and the spread; return the bar, None if there is no result."""
    ax = slot.ax
    if record.get("converged", True) is False:
        style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": "small"}
        style |= {"transform": ax.get_xaxis_transform(), "color": 0.7 * colour[:3]}
        ax.text(slot.place, 0.01, "did not converge", style)
        return None
    height = record[metric]
    (bar,) = ax.bar(slot.place, height, 0.92 * slot.breadth, color=colour, alpha=0.85)
    reach = record.get(spread)
    if reach is not None:
        if spread == "interval":
            reach = [[max(height - reach[0], 0)], [max(reach[1] - height, 0)]]
        ax.errorbar(slot.place, height, reach, color="k", capsize=3, lw=1.2, zorder=5)
    return bar


def _draw_people(
    slot: _Slot, per_user: Mapping[Any, float] | None
) -> PathCollection | None:
    """Draw a point for each person, side by side within the bar."""
    if not per_user:
        return None
    values = np.array(list(per_user.values()))
    offsets = np.linspace(-0.3, 0.3, len(values)) if len(values) > 1 else np.zeros(1)
    x = slot.place + slot.breadth * offsets
    return slot.ax.scatter(x, values, 9, "w", edgecolors="0.3", lw=0.6, zorder=3)


def _draw_published(slot: _Slot, record: Record | None, metric: str) -> Line2D | None:
    """Draw a published number; return its marker, None if there is none."""
    if record is None or record[metric] is None:
        return None
    face = "none" if record.get("trust") == "low" else "gold"
    x, y = slot.place + 0.3 * slot.breadth, record[metric]
    return slot.ax.plot(x, y, "D", ms=6, mec="k", mfc=face, zorder=6)[0]
