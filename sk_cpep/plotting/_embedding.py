"""EMG and pose embeddings on one plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_consistent_length, column_or_1d

from .._typing import AnyArray
from ._display import Display, class_colours, import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from numpy.typing import ArrayLike

    from ._display import AxesLike

_MARKERS = {"EMG": "o", "pose": "^"}


@dataclass(eq=False, repr=False)
class EmbeddingDisplay(Display):
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
    axes_, ax_, figure_
        Axes of each panel, the first of them, and their figure.

    points_ : dict of str to dict of str to matplotlib PathCollection
        By title of the panel, then by modality ("EMG", "pose").
    """

    panels: Mapping[str, tuple[AnyArray, AnyArray]]
    y: AnyArray
    axis_names: Mapping[str, tuple[str, ...]] | None = None

    @classmethod
    def from_predictions(
        cls,
        Z_emg: ArrayLike,
        Z_pose: ArrayLike,
        y: ArrayLike,
        *,
        before: tuple[ArrayLike, ArrayLike] | None = None,
        projection: Any = None,
        ax: AxesLike = None,
        **scatter_kw: Any,
    ) -> EmbeddingDisplay:
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
        gestures: AnyArray = column_or_1d(y)
        spaces = {"embeddings": (Z_emg, Z_pose)}
        if before is not None:
            spaces = {"before alignment": before, "after alignment": (Z_emg, Z_pose)}
        projection = PCA(2) if projection is None else projection
        panels, names = {}, {}
        for title, (emg, pose) in spaces.items():
            check_consistent_length(emg, pose, gestures)
            panels[title], names[title] = _project(projection, emg, pose)
        return cls(panels, gestures, names).plot(ax, **scatter_kw)

    def plot(self, ax: AxesLike = None, **scatter_kw: Any) -> EmbeddingDisplay:
        """Plot the panels.

        Parameters
        ----------
        ax, **scatter_kw
            As in :meth:`from_predictions`.

        Returns
        -------
        self : EmbeddingDisplay
            The display, with its attributes set.
        """
        self._set_axes(ax, 1, len(self.panels), (4.4, 4))
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

    def _add_legend(self, classes: AnyArray, colours: AnyArray) -> None:
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


def _project(
    projection: Any, Z_emg: ArrayLike, Z_pose: ArrayLike
) -> tuple[tuple[AnyArray, AnyArray], tuple[str, ...]]:
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


def _draw_panel(
    ax: Axes,
    points: tuple[AnyArray, AnyArray],
    colours: AnyArray,
    style: dict[str, Any],
) -> dict[str, PathCollection]:
    """Scatter both modalities; return the collections by modality."""
    ax.set_xticks([])
    ax.set_yticks([])
    return {
        name: ax.scatter(xy[:, 0], xy[:, 1], c=colours, marker=marker, **style)
        for (name, marker), xy in zip(_MARKERS.items(), points, strict=True)
    }
