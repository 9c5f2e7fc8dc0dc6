"""EMG and pose embeddings on one plane."""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_consistent_length, column_or_1d

from ._axes import class_colours, import_pyplot, make_axes

_MARKERS = {"EMG": "o", "pose": "^"}


class EmbeddingDisplay:
    """EMG and pose embeddings in two dimensions: colour is gesture, marker modality.

    Use :meth:`from_predictions` to create it.

    Parameters
    ----------
    panels : dict of str to tuple (points_emg, points_pose)
        By title of the panel: points of shape (n_windows, 2) of each modality.

    y : ndarray of shape (n_windows,)
        Gestures.

    axis_names : dict of str to tuple of str, default=None
        By title of the panel: labels of its two axes.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,) of matplotlib Axes
        Axes of each panel.

    ax_ : matplotlib Axes
        The first of them.

    figure_ : matplotlib Figure
        Figure with the panels.

    points_ : dict of str to dict of str to matplotlib PathCollection
        By title of the panel, then by modality ("EMG", "pose").
    """

    def __init__(self, panels, y, axis_names=None):
        self.panels = panels
        self.y = y
        self.axis_names = axis_names

    @classmethod
    def from_predictions(
        cls, Z_emg, Z_pose, y, *, before=None, projection=None, ax=None, **scatter_kw
    ):
        """Project embeddings of windows and of their poses, and plot them.

        Parameters
        ----------
        Z_emg, Z_pose : array-like of shape (n_windows, n_dims)
            Embeddings of EMG windows and of the poses paired with them.

        y : array-like of shape (n_windows,)
            Gestures.

        before : tuple (Z_emg, Z_pose), default=None
            Embeddings of the same windows before alignment, for a panel beside.

        projection : transformer, default=None
            Anything whose ``fit_transform`` gives two columns. A clone of it is
            fitted for each panel, on both modalities together. By default
            :class:`~sklearn.decomposition.PCA`.

        ax : matplotlib Axes or array of Axes, default=None
            One for each panel; by default a new figure.

        **scatter_kw : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : EmbeddingDisplay
            The display, plotted.
        """
        y = column_or_1d(y)
        spaces = {"embeddings": (Z_emg, Z_pose)}
        if before is not None:
            spaces = {"before alignment": before, "after alignment": (Z_emg, Z_pose)}
        projection = PCA(2) if projection is None else projection
        panels, names = {}, {}
        for title, (emg, pose) in spaces.items():
            check_consistent_length(emg, pose, y)
            panels[title], names[title] = _project(projection, emg, pose)
        return cls(panels, y, names).plot(ax, **scatter_kw)

    def plot(self, ax=None, **scatter_kw):
        """Plot the panels.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            One for each panel; by default a new figure.

        **scatter_kw : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        self : EmbeddingDisplay
            The display, with its attributes set.
        """
        self.axes_ = make_axes(self, ax, 1, len(self.panels), (4.4, 4))
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        classes, codes = np.unique(self.y, return_inverse=True)
        colours = class_colours(self, len(classes))
        style = {"s": 22, "alpha": 0.75, "linewidths": 0, **scatter_kw}
        self.points_ = {}
        for axis, (title, points) in zip(self.axes_, self.panels.items(), strict=True):
            self.points_[title] = _draw_panel(axis, points, colours[codes], style)
            names = (self.axis_names or {}).get(title, ("axis 1", "axis 2"))
            axis.set(title=title, xlabel=names[0], ylabel=names[1])
        self._add_legend(classes, colours)
        return self

    def _add_legend(self, classes, colours):
        """Write gestures and modalities beside the last panel."""
        line = import_pyplot(self).Line2D
        handles = [
            line([], [], color="0.3", marker=marker, ls="", label=name)
            for name, marker in _MARKERS.items()
        ]
        handles += [
            line([], [], color=colour, marker="s", ls="", label=str(name))
            for name, colour in zip(classes, colours, strict=True)
        ]
        self.axes_[-1].legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
        )


def _project(projection, Z_emg, Z_pose):
    """Points (n, 2) of both modalities in one projection, and names of its axes."""
    Z_emg, Z_pose = np.asarray(Z_emg), np.asarray(Z_pose)
    if Z_emg.shape[1:] != Z_pose.shape[1:]:
        raise ValueError(
            "EMG and pose embeddings must have as many dimensions to be projected "
            f"together; got {Z_emg.shape[1:]} and {Z_pose.shape[1:]}."
        )
    projection = clone(projection)
    points = projection.fit_transform(np.concatenate([Z_emg, Z_pose]))
    names = tuple(f"{type(projection).__name__} {i}" for i in (1, 2))
    if hasattr(projection, "explained_variance_ratio_"):
        ratios = projection.explained_variance_ratio_
        names = tuple(
            f"{n} ({r:.0%} of variance)" for n, r in zip(names, ratios[:2], strict=True)
        )
    return (points[: len(Z_emg), :2], points[len(Z_emg) :, :2]), names


def _draw_panel(ax, points, colours, style):
    """Scatter both modalities; return the collections by modality."""
    ax.set_xticks([])
    ax.set_yticks([])
    return {
        name: ax.scatter(*xy.T, c=colours, marker=marker, **style)
        for (name, marker), xy in zip(_MARKERS.items(), points, strict=True)
    }
