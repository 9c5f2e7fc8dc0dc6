"""An EMG window and the poses it retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray
from ._display import Display, import_pyplot, only_window, time_axis
from ._hand import FINGERS, JOINT_NAMES, N_JOINTS, draw_hand
from ._posture import can_be_hand, distinct_posture, hand_angles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

_N_COLS = 5
# Frames of poses whose name is the true one, and of others: told apart by their line
# and in words as well.
_FRAMES: dict[bool, dict[str, Any]] = {
    True: {"color": "#1a7f37", "linestyle": "-", "linewidth": 2.5},
    False: {"color": "#c62828", "linestyle": "--", "linewidth": 2.5},
}
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

    joint_names : sequence of str, default=None
        Names of the joints, by which hands are drawn: those of emg2pose, as of the
        simulator (in radians), or of Ninapro's glove (in standard deviations).
        None are those of emg2pose, where there are 20 joints.

    true_name : object, default=None
        The gesture of the query. Where given, each pose is framed, and called right
        or wrong.

    query_pose : ndarray of shape (n_joints, n_pose_times), default=None
        What the hand did while the query was recorded, drawn beside it.

    Attributes
    ----------
    ax_, axes_, figure_
        Axes of the query, axes of each pose, and their figure.

    emg_lines_ : list of matplotlib Line2D
        Lines of the channels, first on top, moved apart.

    pose_lines_ : list of list of matplotlib Line2D
        Lines of each pose: a stick hand (5 fingers, palm) or one per joint.

    query_pose_ax_ : matplotlib Axes or None
        Axes of the query's own pose, if there is one.

    query_pose_lines_ : list of matplotlib Line2D
        Its lines; empty if there is none.
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
    joint_names: Sequence[str] | None = None
    true_name: object = None
    query_pose: AnyArray | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        P_gallery: Any,
        index: int = 0,
        *,
        y: ArrayLike | None = None,
        P: Any = None,
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
            True gestures, for the title, and to frame each pose as right or wrong.

        P : array-like of shape (n_windows, n_joints, n_pose_times), default=None
            Poses recorded with `X`, as those of `P_gallery`, to draw the true one.

        n_neighbors : int, default=None
            Number of poses to show, by default as many as vote.

        style : {"auto", "hand", "traces"}, default="auto"
            Draw poses as stick hands, or as angles over time. Hands take 20 angles
            in the order of emg2pose, or joints that `joint_names` tells, of emg2pose
            or of Ninapro's glove; those of a glove, which is not calibrated, show
            which finger bends and not how far. A hand is shown in the quarter of the
            window in which it is furthest from a relaxed one. By default hands
            wherever they can be drawn.

        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, by default a new figure.

        **display_kw : dict
            `sfreq`, `pose_sfreq`, `unit`, `pose_unit` and `joint_names` of the
            display.

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
        name = estimator.predict(batch)[0]
        shown: dict[str, Any] = {"title": f"EMG, read as {name}"}
        if y is not None:
            true_name = np.asarray(y)[index]
            verdict = _verdict(name == true_name).capitalize()
            shown["title"] = f"{verdict}: EMG of {true_name}\nread as {name}"
            shown["true_name"] = true_name
        if P is not None:
            shown["query_pose"] = only_window(P, index)[0]
        display = cls(
            emg,
            np.stack([np.atleast_2d(P_gallery[int(i)]) for i in found[0]]),
            estimator.gallery_labels_[found[0]],
            1 - distance[0],
            **shown | display_kw,
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
        n_joints = self.poses.shape[1]
        names = _name_joints(self.joint_names, n_joints)
        as_hand = _check_style(style, n_joints, names)
        self._add_axes(figure)
        self.emg_lines_: list[Line2D] = _draw_stack(
            self.ax_, self.emg, self.sfreq, self.unit
        )
        self.ax_.set_title(self.title)

        def draw(ax: Axes, pose: AnyArray) -> list[Line2D]:
            if as_hand:
                return draw_hand(ax, distinct_posture(hand_angles(pose, names)))
            return self._draw_traces(ax, pose)

        self.pose_lines_: list[list[Line2D]] = [
            draw(ax, pose) for ax, pose in zip(self.axes_, self.poses, strict=True)
        ]
        for ax, name, s in zip(self.axes_, self.names, self.similarities, strict=True):
            self._entitle(ax, name, f"similarity {s:.2f}")
        self.query_pose_lines_: list[Line2D] = []
        if self.query_pose is not None and self.query_pose_ax_ is not None:
            self.query_pose_lines_ = draw(self.query_pose_ax_, self.query_pose)
            name = "" if self.true_name is None else f"\n{self.true_name}"
            self.query_pose_ax_.set_title(f"true pose{name}", fontsize="small")
        if as_hand:
            self._name_fingers(self.pose_lines_[0][: len(FINGERS)])
        return self

    def _add_axes(self, figure: Figure | SubFigure | None) -> None:
        """Set the axes of the query, on the left, and of the poses, in a grid."""
        plt = import_pyplot(self)
        n = len(self.poses)
        n_cols = min(n, _N_COLS)
        n_rows = -(-n // n_cols)
        own = [] if self.query_pose is None else [1.2]
        if figure is None:
            size = (4 + 1.7 * (n_cols + sum(own)), max(3.2, 2.1 * n_rows))
            figure = plt.figure(figsize=size, layout="constrained")
        parts = figure.add_gridspec(1, 2 + len(own), width_ratios=[2.4, *own, n_cols])
        axes = (
            parts[-1]
            .subgridspec(n_rows, n_cols)
            .subplots(sharex=True, sharey=True, squeeze=False)
        )
        for ax in axes.ravel()[n:]:
            ax.remove()
        self.figure_: Figure | SubFigure = figure
        self.axes_: AnyArray = axes.ravel()[:n]
        self.ax_: Axes = figure.add_subplot(parts[0])
        shared = {"sharex": self.axes_[0], "sharey": self.axes_[0]}
        self.query_pose_ax_: Axes | None = (
            figure.add_subplot(parts[1], **shared) if own else None
        )

    def _entitle(self, ax: Axes, name: object, similarity: str) -> None:
        """Name a pose; frame it where the truth is known."""
        if self.true_name is not None:
            is_right = bool(name == self.true_name)
            similarity = f"{_verdict(is_right)}, {similarity}"
            ax.spines[:].set(**_FRAMES[is_right])
            if not ax.axison:
                ax.set_axis_on()
                ax.tick_params(
                    left=False, bottom=False, labelleft=False, labelbottom=False
                )
        ax.set_title(f"{name}\n{similarity}", fontsize="small")

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


def _verdict(is_right: bool) -> str:
    """The word beside a frame."""
    return "right" if is_right else "wrong"


def _name_joints(joint_names: Sequence[str] | None, n_joints: int) -> list[str]:
    """Names of the joints; those of emg2pose, where none are given, if as many."""
    if joint_names is None:
        return list(JOINT_NAMES) if n_joints == N_JOINTS else []
    if len(joint_names) != n_joints:
        raise ValueError(
            f"joint_names has {len(joint_names)} names, the poses have {n_joints} "
            "joints: give one for each."
        )
    return list(joint_names)


def _check_style(style: Style, n_joints: int, names: Sequence[str]) -> bool:
    """Whether to draw hands."""
    if style not in ("auto", "hand", "traces"):
        raise ValueError(f"style must be 'auto', 'hand' or 'traces', got {style!r}.")
    if style == "hand" and not can_be_hand(names):
        known = f", named {list(names)}" if names else ""
        raise ValueError(
            f"A stick hand takes {N_JOINTS} joint angles, got {n_joints}{known}. Give "
            "the names of emg2pose's joints, or of the sensors of Ninapro's glove, as "
            "joint_names, or style='traces'."
        )
    return style != "traces" and can_be_hand(names)


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
