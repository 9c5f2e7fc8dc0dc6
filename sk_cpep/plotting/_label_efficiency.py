"""Accuracy by the number of people whose labels a probe has learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from ._display import Display, class_colours

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

    from ._display import AxesLike

_SETS = {"in_distribution": "in distribution", "unseen": "unseen"}
# Where zero-shot stands on an axis of the logarithm of base 2 of the number.
_NONE = -1.0
# Letters in a line of the legend.
_BREADTH = 26


@dataclass(eq=False, repr=False)
class LabelEfficiencyDisplay(Display):
    """Accuracy of probes by the number of labelled people, zero-shot at zero.

    A dashed line goes on from a method's zero-shot accuracy, so that one reads with how
    many people's labels a probe comes to it.

    Use :meth:`from_records` to create it.

    Parameters
    ----------
    records : list of dict
        As of :func:`~sk_cpep.evaluation.label_efficiency`: ``method``, ``gestures``,
        ``mean``, ``protocol`` "linear_probe" with ``n_people`` (a number, or "all", and
        then ``n_labelled``) or "zero_shot"; drawn where there: ``interval``,
        ``chance``.

    Attributes
    ----------
    axes_, ax_, figure_
        Axes of each set of gestures, the first of them, and their figure.

    lines_ : dict of (str, str) to matplotlib Line2D
        Curve of each set and method.

    zero_shot_ : dict of (str, str) to matplotlib Line2D
        Marker of each set and method at no labels.

    Examples
    --------
    >>> from sk_cpep.plotting import LabelEfficiencyDisplay
    >>> common = {"method": "CPEP", "gestures": "unseen", "protocol": "linear_probe"}
    >>> records = [
    ...     common | {"n_people": 1, "mean": 0.5, "interval": [0.4, 0.6]},
    ...     common | {"n_people": "all", "n_labelled": 8, "mean": 0.7},
    ... ]
    >>> display = LabelEfficiencyDisplay.from_records(records)
    >>> display.lines_["unseen", "CPEP"].get_ydata()
    array([0.5, 0.7])
    """

    records: Sequence[Mapping[str, Any]]

    @classmethod
    def from_records(
        cls,
        records: Iterable[Mapping[str, Any]],
        *,
        ax: AxesLike = None,
        show_interval: bool = True,
    ) -> LabelEfficiencyDisplay:
        """Plot records of an evaluation.

        Parameters
        ----------
        records : list of dict
            Records of other protocols are left out.

        ax, show_interval
            Passed to :meth:`plot`.

        Returns
        -------
        display : LabelEfficiencyDisplay
            The display, plotted.
        """
        return cls(list(records)).plot(ax, show_interval=show_interval)

    def plot(
        self, ax: AxesLike = None, *, show_interval: bool = True
    ) -> LabelEfficiencyDisplay:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Where to draw, one for each set of gestures; by default a new figure.

        show_interval : bool, default=True
            Whether to draw the interval of each mean.

        Returns
        -------
        self : LabelEfficiencyDisplay
            The display, with its attributes set.
        """
        shown = [r for r in self.records if _place(r) is not None]
        if not shown:
            raise ValueError(
                "No record is of a linear probe or of zero-shot classification with "
                "its `n_people`: give those of label_efficiency, or of evaluate_methods "
                "with several n_people."
            )
        sets = list(dict.fromkeys(r["gestures"] for r in shown))
        methods = list(dict.fromkeys(r["method"] for r in shown))
        colours = dict(zip(methods, class_colours(self, len(methods)), strict=True))
        # A third of a panel's breadth is for the legend beside them.
        size = (4.2 + 2.4 / len(sets), 4.0)
        self._set_axes(ax, 1, len(sets), size, sharey=True)
        self.lines_: dict[tuple[str, str], Line2D] = {}
        self.zero_shot_: dict[tuple[str, str], Line2D] = {}
        for axes, gestures in zip(self.axes_, sets):
            here = [r for r in shown if r["gestures"] == gestures]
            for shift, method in enumerate(methods):
                mine = [r for r in here if r["method"] == method]
                key = gestures, method
                nudge = 0.05 * (shift - (len(methods) - 1) / 2)
                self._draw(axes, key, mine, colours[method], nudge, show_interval)
            self._dress(axes, gestures, here)
        for axes in self.axes_:
            axes.set_ylim(bottom=0)
        self._add_legend(methods, is_own=ax is None)
        return self

    def _draw(
        self,
        axes: Any,
        key: tuple[str, str],
        records: Sequence[Mapping[str, Any]],
        colour: Any,
        nudge: float,
        show_interval: bool,
    ) -> None:
        """Draw what there is of one method in one set."""
        records = sorted(records, key=lambda r: _place(r) or 0.0)
        places = np.array([_place(r) or 0.0 for r in records]) + nudge
        means = np.array([r["mean"] for r in records])
        if show_interval:
            for place, record in zip(places, records):
                if record.get("interval") is not None:
                    axes.plot([place] * 2, record["interval"], color=colour, alpha=0.5)
        probes = [i for i, r in enumerate(records) if r["protocol"] == "linear_probe"]
        if probes:
            (line,) = axes.plot(
                places[probes], means[probes], "o-", color=colour, markersize=4
            )
            self.lines_[key] = line
        others = [i for i, r in enumerate(records) if r["protocol"] == "zero_shot"]
        if others:
            (mark,) = axes.plot(
                places[others], means[others], "D", color=colour, markersize=7
            )
            self.zero_shot_[key] = mark
            axes.axhline(means[others[0]], color=colour, linestyle="--", linewidth=0.8)

    def _dress(
        self, axes: Any, gestures: str, records: Sequence[Mapping[str, Any]]
    ) -> None:
        """Ticks, labels and chance of one set."""
        ticks: dict[float | None, str] = {}
        for record in records:
            ticks[_place(record)] = _tick(record)
        places = sorted(place for place in ticks if place is not None)
        axes.set_xticks(places, [ticks[place] for place in places])
        if _NONE in ticks:  # no step of the logarithmic scale
            axes.axvline(_NONE / 2, color="0.85", linewidth=0.8, zorder=0)
        axes.set_xlabel("people whose labels are used")
        axes.set_title(_SETS.get(gestures, gestures).replace("_", " "))
        chances = {r["chance"] for r in records if r.get("chance") is not None}
        for level in chances:
            axes.axhline(level, color="0.6", linewidth=0.8, zorder=0)
            axes.annotate(
                "chance", (places[-1], level), color="0.4", ha="right", va="bottom"
            )
        if axes is self.ax_:
            axes.set_ylabel("macro accuracy")

    def _add_legend(self, methods: Sequence[str], is_own: bool) -> None:
        """Name the methods, beside the axes."""
        named: dict[str, Any] = {}
        for (_, method), line in [*self.lines_.items(), *self.zero_shot_.items()]:
            named.setdefault(method, line)
        handles = [named[method] for method in methods]
        labels = [fill(str(method), _BREADTH) for method in methods]
        if self.zero_shot_:
            (mark,) = self.ax_.plot([], [], "D--", color="0.4", linewidth=0.8)
            handles.append(mark)
            labels.append("no labels (zero-shot)")
        if is_own:
            self.figure_.legend(
                handles, labels, loc="outside right center", frameon=False
            )
        else:
            self.axes_[-1].legend(
                handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1)
            ).set_frame_on(False)


def _place(record: Mapping[str, Any]) -> float | None:
    """Where a record stands: the logarithm of how many people; None if nowhere."""
    if "windows" in record or record.get("gallery") is not None:
        return None
    if record["protocol"] == "zero_shot":
        return _NONE
    if record["protocol"] != "linear_probe" or "n_people" not in record:
        return None
    n = record["n_people"]
    if n == "all":
        n = np.mean(record.get("n_labelled", np.nan))
    return float(np.log2(n)) if np.isfinite(n) else None


def _tick(record: Mapping[str, Any]) -> str:
    """What stands below a record."""
    if record["protocol"] == "zero_shot":
        return "none"
    if record["n_people"] != "all":
        return str(record["n_people"])
    return f"all\n({np.mean(record['n_labelled']):.0f})"
