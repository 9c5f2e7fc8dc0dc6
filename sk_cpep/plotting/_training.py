"""Loss over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from ._display import AxesLike

_LINES = {"train_loss": ("training", "C0"), "valid_loss": ("validation", "C1")}


@dataclass(eq=False, repr=False)
class TrainingCurveDisplay(Display):
    """Loss of each epoch, one axes for each stage of the training.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    stages : dict of str to list of dict
        History of each stage: one dict per epoch with ``train_loss`` and, if there
        was any validation, ``valid_loss``; ``epoch`` if it does not count from 1.

    Attributes
    ----------
    axes_, ax_, figure_
        Axes of each stage, the first of them, and their figure.

    lines_ : dict of str to dict of str to matplotlib Line2D
        Curves of each stage, by the name of the loss.

    Examples
    --------
    >>> from sk_cpep.plotting import TrainingCurveDisplay
    >>> history = [{"epoch": 1, "train_loss": 0.9}, {"epoch": 2, "train_loss": 0.7}]
    >>> display = TrainingCurveDisplay({"MAE": history}).plot()
    >>> display.lines_["MAE"]["train_loss"].get_ydata()
    array([0.9, 0.7])
    """

    stages: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: AxesLike = None,
        log_scale: bool = False,
        **line_kw: Any,
    ) -> TrainingCurveDisplay:
        """Plot how a fitted :class:`~sk_cpep.MAE` or :class:`~sk_cpep.CPEP` learned.

        Parameters
        ----------
        estimator : fitted estimator
            Its ``history_`` is a list with one dict per epoch, or a dict of such
            lists, one for each stage. Stages that were not trained are left out.

        ax : matplotlib Axes or array of Axes, default=None
            One for each stage; by default a new figure.

        log_scale : bool, default=False
            Whether the loss has a logarithmic axis.

        **line_kw : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, plotted.
        """
        check_is_fitted(estimator, "history_")
        history = estimator.history_
        if not isinstance(history, dict):
            history = {type(estimator).__name__: history}
        stages = {name: list(epochs) for name, epochs in history.items() if epochs}
        if not stages:
            raise ValueError(f"{type(estimator).__name__} has an empty history_.")
        return cls(stages).plot(ax, log_scale=log_scale, **line_kw)

    def plot(
        self, ax: AxesLike = None, *, log_scale: bool = False, **line_kw: Any
    ) -> TrainingCurveDisplay:
        """Plot the curves.

        Parameters
        ----------
        ax, log_scale, **line_kw
            As in :meth:`from_estimator`.

        Returns
        -------
        self : TrainingCurveDisplay
            The display, with its attributes set.
        """
        self._set_axes(ax, 1, len(self.stages), (4.2, 3.2))
        self.lines_ = {}
        for axis, (name, epochs) in zip(self.axes_, self.stages.items(), strict=True):
            self.lines_[name] = _draw_stage(axis, name, epochs, line_kw)
            if log_scale:
                axis.set_yscale("log")
        self.ax_.set_ylabel("loss")
        return self


def _draw_stage(
    ax: Axes, name: str, epochs: Sequence[Mapping[str, Any]], line_kw: dict[str, Any]
) -> dict[str, Line2D]:
    """Draw the losses of one stage; return its lines by name of the loss."""
    number = [epoch.get("epoch", i) for i, epoch in enumerate(epochs, 1)]
    lines = {}
    for key, (label, colour) in _LINES.items():
        loss = np.array([e.get(key, np.nan) for e in epochs], dtype=float)
        if np.isnan(loss).all():
            continue
        style = {"color": colour, "label": label, "marker": ".", **line_kw}
        (lines[key],) = ax.plot(number, loss, **style)
    ax.set(title=name.replace("_", " "), xlabel="epoch")
    locator: Any = ax.xaxis.get_major_locator()
    locator.set_params(integer=True)
    ax.grid(alpha=0.3)
    if len(lines) > 1:
        ax.legend()
    return lines
