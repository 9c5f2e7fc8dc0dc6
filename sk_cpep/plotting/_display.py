"""What the displays share: matplotlib imported late, axes, colours, units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import AnyArray, Float64Array

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    # The axes to draw on; None is a new figure.
    AxesLike: TypeAlias = Axes | Sequence[Axes] | NDArray[np.object_] | None


class Display:
    """Something drawn on one or several axes.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        All axes, in reading order.

    ax_ : matplotlib Axes
        The first of them.

    figure_ : matplotlib Figure
        Figure with the axes.
    """

    axes_: NDArray[np.object_]
    ax_: Axes
    figure_: Figure | SubFigure

    def _set_axes(
        self,
        ax: AxesLike,
        n_rows: int,
        n_cols: int,
        size: tuple[float, float],
        **subplots_kw: Any,
    ) -> None:
        """Set `axes_`, `ax_` and `figure_` to what is given, or to a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, array of Axes or None
            Axes to draw on.

        n_rows, n_cols : int
            Grid of a new figure.

        size : tuple of float
            Width and height of one axes of a new figure, in inches.

        **subplots_kw : dict
            Passed to :func:`matplotlib.pyplot.subplots`.
        """
        if ax is None:
            _, ax = import_pyplot(self).subplots(
                n_rows,
                n_cols,
                figsize=(size[0] * n_cols, size[1] * n_rows),
                layout="constrained",
                squeeze=False,
                **subplots_kw,
            )
        axes = np.ravel(np.asarray(ax, dtype=object))
        if len(axes) != n_rows * n_cols:
            raise ValueError(
                f"{type(self).__name__} needs {n_rows * n_cols} axes here, got "
                f"{len(axes)}: pass as many in `ax`, or None for a new figure."
            )
        self.axes_, self.ax_, self.figure_ = axes, axes[0], axes[0].figure


def import_pyplot(display: Display) -> Any:
    """Return pyplot, or raise an error that names the extra which installs it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed. "
            'Install it with: pip install "sk_cpep[plot]"'
        ) from error
    return plt


def class_colours(display: Display, n_classes: int) -> Float64Array:
    """Colours (n_classes, 4): a qualitative map up to 20, then a rainbow."""
    colormaps = import_pyplot(display).colormaps
    if n_classes <= 20:
        return colormaps["tab10" if n_classes <= 10 else "tab20"](np.arange(n_classes))
    return colormaps["turbo"](np.linspace(0, 1, n_classes))


def time_axis(n_times: int, sfreq: float | None) -> tuple[AnyArray, str]:
    """Times (n_times,) and their label: seconds if the rate is known."""
    if sfreq is None:
        return np.arange(n_times), "time (samples)"
    return np.arange(n_times) / sfreq, "time (s)"


def only_window(X: Any, index: int) -> tuple[AnyArray, AnyArray]:
    """Window `index` of X, as a 2-D array and as a batch of one.

    Parameters
    ----------
    X : array-like of shape (n_windows, n_channels, n_times)
        Windows, lazy or not; 2-D ones have one channel.

    index : int
        Which one; negative counts from the end.

    Returns
    -------
    window : ndarray of shape (n_channels, n_times)
    batch : ndarray of shape (1, n_channels, n_times) or (1, n_times)
    """
    n = len(X)
    if not -n <= index < n:
        raise IndexError(f"index={index} is out of bounds: there are {n} windows.")
    index = index % n
    batch = np.asarray(X[index : index + 1])
    return np.atleast_2d(batch[0]), batch
