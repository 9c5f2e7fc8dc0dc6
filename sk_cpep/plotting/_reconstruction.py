"""What a masked autoencoder makes of the patches it could not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import AnyArray, BoolArray
from ._display import Display, only_window, time_axis

if TYPE_CHECKING:
    from ._display import AxesLike

_N_SHOWN = 4


@dataclass(eq=False, repr=False)
class ReconstructionDisplay(Display):
    """A window, the patches hidden from the network, and what it put there.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    original, rebuilt : ndarray of shape (n_channels, n_times)
        The window and its reconstruction, in the unit of the window.

    masked : ndarray of shape (n_tokens,), bool
        Which patches were hidden.

    patch_length : int
        Length of a patch in samples.

    channels : sequence of int, default=None
        Channels to draw, by default the first 4.

    sfreq : float, default=None
        Sampling rate in Hz, for a time axis in seconds.

    unit : str, default=None
        Unit of the signal, for the labels.

    Attributes
    ----------
    axes_, ax_, figure_
        Axes of each channel drawn, the first of them, and their figure.

    original_lines_, rebuilt_lines_ : list of matplotlib Line2D
        Lines of each channel; the rebuilt ones are NaN outside hidden patches, for
        which alone the network is trained.

    error_ : float
        Mean squared error over the hidden patches of the channels drawn.
    """

    original: AnyArray
    rebuilt: AnyArray
    masked: BoolArray
    patch_length: int
    _: KW_ONLY
    channels: Sequence[int] | None = None
    sfreq: float | None = None
    unit: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        index: int = 0,
        *,
        ax: AxesLike = None,
        **display_kw: Any,
    ) -> ReconstructionDisplay:
        """Hide patches of a window, rebuild them and plot both.

        Parameters
        ----------
        estimator : fitted MAE
            Has ``reconstruct(X)``, which returns the rebuilt windows and which
            patches were hidden, and ``patch_length``.

        X : array-like of shape (n_windows, n_channels, n_times)
            Windows of EMG or pose.

        index : int, default=0
            Which window to show.

        ax : matplotlib Axes or array of Axes, default=None
            One for each channel drawn; by default a new figure.

        **display_kw : dict
            `channels`, `sfreq` and `unit` of the display.

        Returns
        -------
        display : ReconstructionDisplay
            The display, plotted.
        """
        original, batch = only_window(X, index)
        rebuilt, masked = estimator.reconstruct(batch)
        display = cls(
            original,
            np.atleast_2d(np.asarray(rebuilt)[0]),
            np.asarray(masked)[0].astype(bool),
            estimator.patch_length,
            **display_kw,
        )
        return display.plot(ax)

    def plot(self, ax: AxesLike = None) -> ReconstructionDisplay:
        """Plot the window.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            As in :meth:`from_estimator`.

        Returns
        -------
        self : ReconstructionDisplay
            The display, with its attributes set.
        """
        channels = self._shown()
        self._set_axes(ax, len(channels), 1, (9, 1.5), sharex=True)
        hidden = np.zeros(self.original.shape[1], dtype=bool)
        in_patches = np.repeat(self.masked, self.patch_length)[: len(hidden)]
        hidden[: len(in_patches)] = in_patches
        gap = self.original[channels] - self.rebuilt[channels]
        self.error_ = float(np.mean(gap[:, hidden].astype(float) ** 2))
        self._draw(channels, hidden)
        self._label(channels)
        return self

    def _shown(self) -> list[int]:
        """Channels to draw, checked."""
        n_channels = len(self.original)
        if self.channels is None:
            return list(range(min(n_channels, _N_SHOWN)))
        channels = list(self.channels)
        if any(not 0 <= c < n_channels for c in channels):
            raise ValueError(
                f"channels={channels}: the window has channels 0 to {n_channels - 1}."
            )
        return channels

    def _draw(self, channels: list[int], hidden: BoolArray) -> None:
        """Draw both signals of each channel, and shade what was hidden."""
        times, _ = time_axis(len(hidden), self.sfreq)
        step = 1 if self.sfreq is None else 1 / self.sfreq
        self.original_lines_, self.rebuilt_lines_ = [], []
        for ax, channel in zip(self.axes_, channels, strict=True):
            for token in np.flatnonzero(self.masked):
                edges = np.array([token, token + 1]) * self.patch_length - 0.5
                ax.axvspan(*(edges * step), color="0.9", lw=0, zorder=0)
            original, rebuilt = self.original[channel], self.rebuilt[channel]
            self.original_lines_ += ax.plot(times, original, "0.35", lw=0.8)
            rebuilt = np.where(hidden, rebuilt, np.nan)
            self.rebuilt_lines_ += ax.plot(times, rebuilt, "C3", lw=1.3)

    def _label(self, channels: list[int]) -> None:
        """Label the axes; the legend stands above them."""
        unit = f" ({self.unit})" if self.unit else ""
        for ax, channel in zip(self.axes_, channels, strict=True):
            ax.set_ylabel(f"channel {channel}{unit}")
            ax.margins(x=0)
        self.axes_[-1].set_xlabel(time_axis(0, self.sfreq)[1])
        share = f"{self.masked.mean():.0%} of patches hidden (shaded)"
        squared = f" {self.unit}²" if self.unit else ""
        self.ax_.set_title(f"{share}, error {self.error_:.3g}{squared}", loc="left")
        self.ax_.legend(
            [self.original_lines_[0], self.rebuilt_lines_[0]],
            ["original", "rebuilt"],
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
        )
