"""A number over a grid of two settings, as a heat map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import AnyArray, BoolArray
from ._display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_FAILED = "not\nconverged"


@dataclass(eq=False, repr=False)
class GridDisplay(Display):
    """A heat map of results over two settings, such as patch length and mask ratio.

    Use :meth:`from_records` or :meth:`from_grid` to create it.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The results; NaN where there is none.

    rows, columns : sequence
        Settings of the rows, first on top, and of the columns.

    row_label, column_label, value_label : str, default=""
        What the settings and the results are.

    failed : bool ndarray of shape (n_rows, n_columns), default=None
        Where a training did not converge. None is nowhere.

    Attributes
    ----------
    ax_, figure_
        Axes with the heat map, and their figure.

    image_ : matplotlib AxesImage
        The heat map.

    texts_ : ndarray of shape (n_rows, n_columns) of matplotlib Text
        The results in numbers.

    colorbar_ : matplotlib Colorbar or None
        What the colours mean.

    Examples
    --------
    >>> from sk_cpep.plotting import GridDisplay
    >>> display = GridDisplay.from_grid([[0.5, 0.6]], rows=[0.5], columns=[25, 50])
    >>> [text.get_text() for text in display.texts_[0]]
    ['0.50', '0.60']
    """

    values: AnyArray
    rows: Sequence[Any]
    columns: Sequence[Any]
    _: KW_ONLY
    row_label: str = ""
    column_label: str = ""
    value_label: str = ""
    failed: BoolArray | None = None

    @classmethod
    def from_records(
        cls,
        records: Iterable[Mapping[str, Any]],
        *,
        rows: str = "mask_ratio",
        columns: str = "patch_length",
        value: str = "macro_accuracy",
        ax: Axes | None = None,
        **plot_kw: Any,
    ) -> GridDisplay:
        """Plot a field of records over two of their settings.

        Parameters
        ----------
        records : list of dict
            One for each cell of the grid, as of
            :func:`~sk_cpep.evaluation.linear_probe`, with the two settings as fields of
            their own or among their ``settings``. Cells without a record stay empty;
            those whose ``converged`` is False are marked.

        rows, columns : str, default="mask_ratio" and "patch_length"
            The settings, from low to high along rows and columns.

        value : str, default="macro_accuracy"
            The field to show.

        ax : matplotlib Axes, default=None
            Where to draw, by default a new figure.

        **plot_kw : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : GridDisplay
            The display, plotted.
        """
        records = list(records)
        if not records:
            raise ValueError("No records to plot.")
        places = [(_setting(r, rows), _setting(r, columns)) for r in records]
        if len(set(places)) < len(places):
            twice = next(place for place in places if places.count(place) > 1)
            raise ValueError(
                f"Two records have {rows}={twice[0]} and {columns}={twice[1]}: a grid "
                "shows one. Choose those of one method, protocol and set."
            )
        row_settings, column_settings = (sorted(set(x)) for x in zip(*places))
        values = np.full((len(row_settings), len(column_settings)), np.nan)
        failed = np.zeros(values.shape, dtype=bool)
        for record, (row, column) in zip(records, places, strict=True):
            cell = row_settings.index(row), column_settings.index(column)
            failed[cell] = record.get("converged", True) is False
            if not failed[cell]:
                values[cell] = record[value]
        labels = [name.replace("_", " ") for name in (rows, columns, value)]
        display = cls(values, row_settings, column_settings, failed=failed)
        display.row_label, display.column_label, display.value_label = labels
        return display.plot(ax, **plot_kw)

    @classmethod
    def from_grid(
        cls,
        values: ArrayLike,
        rows: Sequence[Any],
        columns: Sequence[Any],
        *,
        row_label: str = "",
        column_label: str = "",
        value_label: str = "",
        ax: Axes | None = None,
        **plot_kw: Any,
    ) -> GridDisplay:
        """Plot an array of results.

        Parameters
        ----------
        values : array-like of shape (n_rows, n_columns)
            The results; NaN where there is none.

        rows, columns, row_label, column_label, value_label
            Parameters of the display.

        ax, **plot_kw
            As in :meth:`from_records`.

        Returns
        -------
        display : GridDisplay
            The display, plotted.
        """
        values = np.asarray(values, dtype=float)
        if values.shape != (len(rows), len(columns)):
            raise ValueError(
                f"values must be of shape ({len(rows)}, {len(columns)}), one for each "
                f"row and column, got {values.shape}."
            )
        display = cls(
            values,
            list(rows),
            list(columns),
            row_label=row_label,
            column_label=column_label,
            value_label=value_label,
        )
        return display.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: Any = "viridis",
        vmin: float | None = None,
        vmax: float | None = None,
        values_format: str = ".2f",
        colorbar: bool = True,
        title: str | None = None,
    ) -> GridDisplay:
        """Plot the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, by default a new figure.

        cmap : str or matplotlib Colormap, default="viridis"
            Colours, from low to high.

        vmin, vmax : float, default=None
            Results that the ends of the colours stand for, by default the lowest and
            the highest; give them to compare heat maps by their colours.

        values_format : str, default=".2f"
            Format of the numbers.

        colorbar : bool, default=True
            Whether to say what the colours mean.

        title : str, default=None
            Title of the axes.

        Returns
        -------
        self : GridDisplay
            The display, with its attributes set.
        """
        n_rows, n_columns = self.values.shape
        size = (2.2 + 0.8 * n_columns, 1.4 + 0.6 * n_rows)
        self._set_axes(ax, 1, 1, size)
        shown = np.ma.masked_invalid(self.values)
        self.image_ = self.ax_.imshow(
            shown, cmap=cmap, vmin=vmin, vmax=vmax, aspect="auto"
        )
        self.ax_.set_facecolor("0.93")
        self.texts_ = self._write_numbers(values_format)
        self.ax_.set_xticks(range(n_columns), [f"{x}" for x in self.columns])
        self.ax_.set_yticks(range(n_rows), [f"{x}" for x in self.rows])
        self.ax_.set(xlabel=self.column_label, ylabel=self.row_label)
        self.ax_.set_title(title or "")
        self.colorbar_ = None
        if colorbar and shown.count():
            self.colorbar_ = self.figure_.colorbar(
                self.image_, ax=self.ax_, label=self.value_label
            )
        return self

    def _write_numbers(self, values_format: str) -> AnyArray:
        """Write every result into its cell, dark on light or light on dark."""
        texts = np.empty(self.values.shape, dtype=object)
        for cell, value in np.ndenumerate(self.values):
            text, size, colour = f"{value:{values_format}}", "medium", "0.3"
            if np.isnan(value):
                lost = self.failed is not None and self.failed[cell]
                text, size = (_FAILED, "x-small") if lost else ("–", size)
            else:
                red, green, blue, _ = self.image_.to_rgba(value)
                bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
                colour = "k" if bright else "w"
            style = {"ha": "center", "va": "center", "color": colour, "fontsize": size}
            texts[cell] = self.ax_.text(cell[1], cell[0], text, style)
        return texts


def _setting(record: Mapping[str, Any], name: str) -> Any:
    """A setting of a record, a field of its own or among its settings."""
    for fields in (record, record.get("settings", {})):
        if name in fields:
            return fields[name]
    raise ValueError(
        f"A record has no {name!r}, neither as a field nor in its settings: it has "
        f"{', '.join(record)}."
    )
