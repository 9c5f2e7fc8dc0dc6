"""Macro accuracy of several methods."""

import numpy as np

from ._axes import class_colours, make_axes

_WIDTH = 0.8


class ResultsDisplay:
    """Macro accuracy of records: bars, spread over people, every person, chance.

    Use :meth:`from_records` to create it.

    Parameters
    ----------
    records : list of dict
        As :func:`~sk_cpep.evaluation.linear_probe` and
        :func:`~sk_cpep.evaluation.zero_shot` return them. At least ``method``,
        ``protocol``, ``gestures``, ``macro_accuracy``; drawn where there: ``sd``,
        ``per_user``, ``chance``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.

    figure_ : matplotlib Figure
        Figure with the axes.

    bars_ : list of matplotlib Rectangle
        Bar of each record.

    people_ : list of matplotlib PathCollection or None
        People of each record, a point each.

    chance_lines_ : list of matplotlib Line2D
        A line at each level of chance.
    """

    def __init__(self, records):
        self.records = records

    @classmethod
    def from_records(cls, records, *, ax=None, show_people=True):
        """Plot records of an evaluation.

        Parameters
        ----------
        records : list of dict
            Records, in the order to draw them.

        ax : matplotlib Axes, default=None
            Where to draw, by default a new figure.

        show_people : bool, default=True
            Whether to draw a point for each person.

        Returns
        -------
        display : ResultsDisplay
            The display, plotted.
        """
        return cls(list(records)).plot(ax, show_people=show_people)

    def plot(self, ax=None, *, show_people=True):
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, by default a new figure.

        show_people : bool, default=True
            Whether to draw a point for each person.

        Returns
        -------
        self : ResultsDisplay
            The display, with its attributes set.
        """
        if not self.records:
            raise ValueError("No records to plot.")
        methods = list(dict.fromkeys(r["method"] for r in self.records))
        kinds = list(dict.fromkeys(_kind(r) for r in self.records))
        width = max(4.5, 1.2 + 0.5 * len(methods) * (len(kinds) + 0.6))
        (self.ax_,) = make_axes(self, ax, 1, 1, (width, 4))
        self.figure_ = self.ax_.figure
        colours = dict(zip(kinds, class_colours(self, len(kinds)), strict=True))
        places = _places(self.records, methods, kinds)
        breadth = _WIDTH / len(kinds)
        self.bars_, self.people_ = [], []
        for record, place in zip(self.records, places, strict=True):
            colour = colours[_kind(record)]
            self.bars_.append(_draw_bar(self.ax_, record, place, breadth, colour))
            people = record.get("per_user") if show_people else None
            self.people_.append(_draw_people(self.ax_, people, place, breadth))
        self._draw_chance()
        self._label(methods, colours)
        return self

    def _draw_chance(self):
        """Draw a line at each level of chance."""
        levels = sorted({r["chance"] for r in self.records if "chance" in r})
        self.chance_lines_ = [
            self.ax_.axhline(level, color="0.2", ls="--", lw=1, zorder=4)
            for level in levels
        ]

    def _label(self, methods, colours):
        """Label the axes; the legend stands above them."""
        ax = self.ax_
        ax.set_xticks(range(len(methods)), methods)
        if sum(map(len, methods)) > 16 * len(methods):
            ax.tick_params(axis="x", rotation=20)
        ax.set_ylabel("macro accuracy\n(mean ± SD over people)")
        room = 1.0 if len(methods) == 1 else 0.6
        ax.set(xlim=(-room, len(methods) - 1 + room), ylim=(0, 1.03))
        firsts = {
            _kind(r): bar for r, bar in zip(self.records, self.bars_, strict=True)
        }
        handles, labels = [firsts[kind] for kind in colours], [*colours]
        if self.chance_lines_:
            handles, labels = handles + self.chance_lines_[:1], labels + ["chance"]
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=2,
            frameon=False,
        )


def _kind(record):
    """Protocol and gestures of a record, in words."""
    return f"{record['protocol']}, {record['gestures']}".replace("_", " ")


def _places(records, methods, kinds):
    """Where bars stand (n_records,): methods apart, kinds side by side."""
    method = np.array([methods.index(r["method"]) for r in records])
    kind = np.array([kinds.index(_kind(r)) for r in records])
    return method + _WIDTH / len(kinds) * (kind - (len(kinds) - 1) / 2)


def _draw_bar(ax, record, place, breadth, colour):
    """Draw a bar and the spread; return the bar."""
    height, sd = record["macro_accuracy"], record.get("sd")
    (bar,) = ax.bar(place, height, 0.92 * breadth, color=colour, alpha=0.85)
    if sd is not None:
        ax.errorbar(place, height, sd, color="k", capsize=3, lw=1.2, zorder=5)
    return bar


def _draw_people(ax, per_user, place, breadth):
    """Draw a point for each person, side by side within the bar."""
    if not per_user:
        return None
    values = np.array(list(per_user.values()))
    offsets = np.linspace(-0.3, 0.3, len(values)) if len(values) > 1 else np.zeros(1)
    x = place + breadth * offsets
    return ax.scatter(x, values, s=9, color="w", edgecolors="0.3", lw=0.6, zorder=3)
