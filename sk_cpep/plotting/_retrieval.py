"""An EMG window and the poses it retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray
from ._display import Display, import_pyplot, only_window, time_axis
from ._hand import FINGERS, N_JOINTS, draw_hand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

_N_COLS = 5
Style = Literal["auto", "hand", "traces"]


@dataclass(eq=False, repr=False)
class RetrievalDisplay(Display):
    """One EMG window and the poses that lie nearest to it, nearest first.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    emg : ndarray of shape (n_channels, n_times)
        The query.

    poses : ndarray of shape (n_neighbors, n_joints, n_pose_times)
        The poses it retrieved, in radians where calibrated.

    names : sequence of length n_neighbors
        Their gestures.

    similarities : ndarray of shape (n_neighbors,)
        Their cosine similarity to the query.

    title : str, default="EMG"
        Title over the query.

    sfreq, pose_sfreq : float, default=None
        Sampling rates in Hz, for time axes in seconds.

    unit : str, default=None
        Unit of the EMG, for its label.

    pose_unit : str, default="rad"
        Unit of the joint angles, for their label.

    Attributes
    ----------
    ax_, axes_, figure_
        Axes of the query, axes of each pose, and their figure.

    emg_lines_ : list of matplotlib Line2D
        Lines of the channels, first on top, moved apart.

    pose_lines_ : list of list of matplotlib Line2D
        Lines of each pose: a stick hand (5 fingers, palm) or one per joint.
    """

    emg: AnyArray
    poses: AnyArray
    names: Sequence[object] | AnyArray
    similarities: AnyArray
    _: KW_ONLY
    title: str = "EMG"
    sfreq: float | None = None
    pose_sfreq: float | None = None
    unit: str | None = None
    pose_unit: str = "rad"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        P_gallery: Any,
        index: int = 0,
        *,
        y: ArrayLike | None = None,
        n_neighbors: int | None = None,
        style: Style = "auto",
        figure: Figure | SubFigure | None = None,
        **display_kw: Any,
    ) -> RetrievalDisplay:
        """Look up the poses nearest to an EMG window and plot them.

        Parameters
        ----------
        estimator : fitted ZeroShotClassifier
            Has ``kneighbors``, ``predict`` and ``gallery_labels_``.

        X : array-like of shape (n_windows, n_channels, n_times)
            EMG windows.

        P_gallery : array-like of shape (n_gallery, n_joints, n_pose_times)
            The poses of the gallery, in the order they were given to it.

        index : int, default=0
            Which window to show.

        y : array-like of shape (n_windows,), default=None
            True gestures, for the title.

        n_neighbors : int, default=None
            Number of poses to show, by default as many as vote.

        style : {"auto", "hand", "traces"}, default="auto"
            Draw poses as stick hands, which takes 20 angles in the order of
            emg2pose and shows the middle of the window, or as angles over time.
            By default hands where there are 20 angles.

        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, by default a new figure.

        **display_kw : dict
            `sfreq`, `pose_sfreq`, `unit` and `pose_unit` of the display.

        Returns
        -------
        display : RetrievalDisplay
            The display, plotted.
        """
        check_is_fitted(estimator)
        if len(P_gallery) != len(estimator.gallery_labels_):
            raise ValueError(
                f"P_gallery has {len(P_gallery)} poses, the gallery of the estimator "
                f"{len(estimator.gallery_labels_)}: pass all poses that were given to "
                "fit and partial_fit, in that order."
            )
        emg, batch = only_window(X, index)
        distance, found = estimator.kneighbors(batch, n_neighbors)
        title = f"EMG, read as {estimator.predict(batch)[0]}"
        if y is not None:
            title += f" (truly {np.asarray(y)[index]})"
        display = cls(
            emg,
            np.stack([np.atleast_2d(P_gallery[int(i)]) for i in found[0]]),
            estimator.gallery_labels_[found[0]],
            1 - distance[0],
            **{"title": title} | display_kw,
        )
        return display.plot(figure, style=style)

    def plot(
        self, figure: Figure | SubFigure | None = None, *, style: Style = "auto"
    ) -> RetrievalDisplay:
        """Plot the query and the poses.

        Parameters
        ----------
        figure, style
            As in :meth:`from_estimator`.

        Returns
        -------
        self : RetrievalDisplay
            The display, with its attributes set.
        """
        as_hand = _check_style(style, self.poses.shape[1])
        self._add_axes(figure)
        self.emg_lines_ = _draw_stack(self.ax_, self.emg, self.sfreq, self.unit)
        self.ax_.set_title(self.title)
        draw = _draw_middle if as_hand else self._draw_traces
        self.pose_lines_ = [
            draw(ax, pose) for ax, pose in zip(self.axes_, self.poses, strict=True)
        ]
        for ax, name, s in zip(self.axes_, self.names, self.similarities, strict=True):
            ax.set_title(f"{name}\nsimilarity {s:.2f}", fontsize="small")
        if as_hand:
            self._name_fingers(self.pose_lines_[0][: len(FINGERS)])
        return self

    def _add_axes(self, figure: Figure | SubFigure | None) -> None:
        """Set the axes of the query, on the left, and of the poses, in a grid."""
        plt = import_pyplot(self)
        n = len(self.poses)
        n_cols = min(n, _N_COLS)
        n_rows = -(-n // n_cols)
        if figure is None:
            size = (4 + 1.7 * n_cols, max(3.2, 2.1 * n_rows))
            figure = plt.figure(figsize=size, layout="constrained")
        halves = figure.add_gridspec(1, 2, width_ratios=[2.4, n_cols])
        axes = (
            halves[1]
            .subgridspec(n_rows, n_cols)
            .subplots(sharex=True, sharey=True, squeeze=False)
        )
        for ax in axes.ravel()[n:]:
            ax.remove()
        self.figure_, self.axes_ = figure, axes.ravel()[:n]
        self.ax_ = figure.add_subplot(halves[0])

    def _draw_traces(self, ax: Axes, pose: AnyArray) -> list[Line2D]:
        """Draw angles over time; return one line per joint."""
        times, label = time_axis(pose.shape[1], self.pose_sfreq)
        lines = ax.plot(times, pose.T, lw=0.8)
        ax.margins(x=0)
        ax.set(xlabel=label, ylabel=f"angle ({self.pose_unit})")
        ax.label_outer()
        return lines

    def _name_fingers(self, handles: list[Line2D]) -> None:
        """Name the fingers below the hands."""
        self.figure_.legend(
            handles=handles,
            loc="outside lower right",
            ncols=len(handles),
            frameon=False,
            fontsize="small",
        )


def _draw_middle(ax: Axes, pose: AnyArray) -> list[Line2D]:
    """Draw a stick hand at the middle of a pose window (20, n_times)."""
    return draw_hand(ax, pose[:, pose.shape[1] // 2])


def _check_style(style: Style, n_joints: int) -> bool:
    """Whether to draw hands."""
    if style not in ("auto", "hand", "traces"):
        raise ValueError(f"style must be 'auto', 'hand' or 'traces', got {style!r}.")
    if style == "hand" and n_joints != N_JOINTS:
        raise ValueError(f"A stick hand takes {N_JOINTS} joint angles, got {n_joints}.")
    return style != "traces" and n_joints == N_JOINTS


def _draw_stack(
    ax: Axes, emg: AnyArray, sfreq: float | None, unit: str | None
) -> list[Line2D]:
    """Draw channels one below the other; return their lines."""
    times, label = time_axis(emg.shape[1], sfreq)
    emg = emg - np.median(emg, axis=1, keepdims=True)
    step = 2 * float(np.percentile(np.abs(emg), 99.5)) or 1.0
    places = -step * np.arange(len(emg))
    lines = ax.plot(times, (emg + places[:, None]).T, color="0.25", lw=0.6)
    ax.set_yticks(places, [str(i) for i in range(len(emg))])
    ax.set_ylim(places[-1] - step, places[0] + step)
    ax.margins(x=0)
    ax.set(xlabel=label, ylabel=f"channel (apart: {step:.3g} {unit or 'units'})")
    return lines
