"""Macro accuracy, or error, of several methods."""

import numpy as np

from ._axes import class_colours, make_axes

_WIDTH = 0.8
_SPREADS = {
    "sd": "mean ± SD over people",
    "interval": "mean, 95 % interval over people",
}


class ResultsDisplay:
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
        ``sd`` or ``interval``, ``per_user``, ``chance``. ``converged`` False is told.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars, the first where there are panels.

    axes_ : ndarray of shape (n_panels,) of matplotlib Axes
        Axes of each panel.

    figure_ : matplotlib Figure
        Figure with the axes.

    bars_ : list of matplotlib Rectangle or None
        Bar of each record.

    people_ : list of matplotlib PathCollection or None
        People of each record, a point each.

    markers_ : list of matplotlib Line2D or None
        Published number of each record.

    chance_lines_ : list of matplotlib Line2D
        A line at each level of chance.
    """

    def __init__(self, records):
        self.records = records

    @classmethod
    def from_records(
        cls,
        records,
        *,
        ax=None,
        show_people=True,
        spread="sd",
        published=(),
        panels=False,
    ):
        """Plot records of an evaluation.

        Parameters
        ----------
        records : list of dict
            Records, in the order to draw them.

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
        display : ResultsDisplay
            The display, plotted.
        """
        return cls(list(records)).plot(
            ax,
            show_people=show_people,
            spread=spread,
            published=published,
            panels=panels,
        )

    def plot(
        self, ax=None, *, show_people=True, spread="sd", published=(), panels=False
    ):
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Where to draw, one for each panel; by default a new figure.

        show_people, spread, published, panels
            As of :meth:`from_records`.

        Returns
        -------
        self : ResultsDisplay
            The display, with its attributes set.
        """
        if spread not in _SPREADS:
            raise ValueError(f"spread must be one of {[*_SPREADS]}, got {spread!r}.")
        self._metric = _metric(self.records)
        kind = _protocol if panels else _kind
        titles = list(dict.fromkeys(map(_set, self.records))) if panels else [None]
        methods = list(dict.fromkeys(r["method"] for r in self.records))
        kinds = list(dict.fromkeys(map(kind, self.records)))
        width = max(4.5, 1.2 + 0.5 * len(methods) * (len(kinds) + 0.6))
        size = (width, 3 if panels else 4)
        self.axes_ = make_axes(self, ax, len(titles), 1, size, sharex=True, sharey=True)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        axes = dict(zip(titles, self.axes_, strict=True))
        colours = dict(zip(kinds, class_colours(self, len(kinds)), strict=True))
        places = _places(self.records, methods, kinds, kind)
        quoted = {(_method_key(r), _kind(r)): r for r in reversed([*published])}
        self.bars_, self.people_, self.markers_ = [], [], []
        for record, place in zip(self.records, places, strict=True):
            slot = axes[_set(record) if panels else None], place, _WIDTH / len(kinds)
            theirs = quoted.get((_method_key(record), _kind(record)))
            self.bars_.append(
                _draw_bar(*slot, record, self._metric, spread, colours[kind(record)])
            )
            people = record.get("per_user") if show_people and self.bars_[-1] else None
            self.people_.append(_draw_people(*slot, people))
            self.markers_.append(_draw_published(*slot, theirs, self._metric))
        self.chance_lines_ = []
        for title, axis in axes.items():
            self.chance_lines_ += self._draw_chance(axis, title)
            _label(axis, methods, title)
            axis.set_ylim(0, 1.03 if self._metric == "macro_accuracy" else None)
        self._label_results(f"{self._name()}\n({_SPREADS[spread]})", ax is None)
        self._draw_legend(kind, kinds, ax is None)
        return self

    def _draw_chance(self, ax, title):
        """Draw a line at each level of chance; return the lines."""
        records = [r for r in self.records if _in(r, title)]
        levels = sorted({r["chance"] for r in records if "chance" in r})
        return [ax.axhline(x, color="0.2", ls="--", lw=1, zorder=4) for x in levels]

    def _name(self):
        """What the bars show, with its unit."""
        units = dict.fromkeys(r["unit"] for r in self.records if "unit" in r)
        name = self._metric.replace("_", " ")
        return f"{name} ({', '.join(units)})" if units else name

    def _label_results(self, name, is_own):
        """Label the results, once in a figure of our own with several panels."""
        if is_own and len(self.axes_) > 1:
            style = {"fontsize": "medium", "multialignment": "center"}
            self.figure_.supylabel(name, **style)
            return
        for axis in self.axes_:
            axis.set_ylabel(name)

    def _draw_legend(self, kind, kinds, is_own):
        """Say above the axes what is what."""
        firsts = {}
        for record, bar in zip(self.records, self.bars_, strict=True):
            if bar is not None:
                firsts.setdefault(kind(record), bar)
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
        options = {"ncols": 2, "frameon": False}
        if is_own and len(self.axes_) > 1:
            options |= {"loc": "outside upper left", "ncols": len(labels)}
            self.figure_.legend(handles, labels, **options)
        else:
            options |= {"loc": "lower left", "bbox_to_anchor": (0, 1)}
            self.ax_.legend(handles, labels, **options)


def _metric(records):
    """The field that all records report."""
    if not records:
        raise ValueError("No records to plot.")
    is_pose = {r["protocol"].startswith("pose_") for r in records}
    if len(is_pose) > 1:
        raise ValueError(
            "Accuracies and errors of poses have no axis in common: plot them apart."
        )
    return "angular_error" if is_pose.pop() else "macro_accuracy"


def _protocol(record):
    """Protocol of a record, in words."""
    return record["protocol"].replace("_", " ")


def _set(record):
    """Gestures of a record, or what is new, in words."""
    what = record.get("gestures") or record.get("generalization")
    return str(what).replace("_", " ")


def _kind(record):
    """Protocol and gestures of a record, in words."""
    return f"{_protocol(record)}, {_set(record)}"


def _in(record, title):
    """Whether a record belongs into a panel; without a title all do."""
    return title is None or _set(record) == title


def _method_key(record):
    """What is equal for two names of one method."""
    return record["method"].casefold().removesuffix(" (upper bound)")


def _label(ax, methods, title):
    """Name the methods, aslant where they are long, and the panel."""
    long = sum(map(len, methods)) > 16 * len(methods)
    aslant = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if long else {}
    ax.set_xticks(range(len(methods)), methods, **aslant)
    room = 1.0 if len(methods) == 1 else 0.6
    ax.set_xlim(-room, len(methods) - 1 + room)
    if title is not None:
        ax.set_title(title)


def _places(records, methods, kinds, kind):
    """Where bars stand (n_records,): methods apart, kinds side by side."""
    method = np.array([methods.index(r["method"]) for r in records])
    slot = np.array([kinds.index(kind(r)) for r in records])
    return method + _WIDTH / len(kinds) * (slot - (len(kinds) - 1) / 2)


def _draw_bar(ax, place, breadth, record, metric, spread, colour):
    """Draw a bar and the spread; return the bar, None if there is no result."""
    if record.get("converged", True) is False:
        ax.text(
            place,
            0.01,
            "did not converge",
            transform=ax.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize="small",
            color=0.7 * colour[:3],
        )
        return None
    height = record[metric]
    (bar,) = ax.bar(place, height, 0.92 * breadth, color=colour, alpha=0.85)
    reach = record.get(spread)
    if reach is not None:
        if spread == "interval":
            reach = [[max(height - reach[0], 0)], [max(reach[1] - height, 0)]]
        ax.errorbar(place, height, reach, color="k", capsize=3, lw=1.2, zorder=5)
    return bar


def _draw_people(ax, place, breadth, per_user):
    """Draw a point for each person, side by side within the bar."""
    if not per_user:
        return None
    values = np.array(list(per_user.values()))
    offsets = np.linspace(-0.3, 0.3, len(values)) if len(values) > 1 else np.zeros(1)
    x = place + breadth * offsets
    return ax.scatter(x, values, s=9, color="w", edgecolors="0.3", lw=0.6, zorder=3)


def _draw_published(ax, place, breadth, record, metric):
    """Draw a published number; return its marker, None if there is none."""
    if record is None or record[metric] is None:
        return None
    face = "none" if record.get("trust") == "low" else "gold"
    style = {"marker": "D", "ms": 6, "mec": "k", "mfc": face, "ls": "none"}
    return ax.plot(place + 0.3 * breadth, record[metric], zorder=6, **style)[0]
