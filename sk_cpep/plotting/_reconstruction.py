"""What a masked autoencoder makes of the patches it could not see."""

import numpy as np

from ._axes import make_axes, only_window, time_axis

_N_SHOWN = 4


class ReconstructionDisplay:
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
    axes_ : ndarray of shape (n_shown,) of matplotlib Axes
        Axes of each channel drawn.

    ax_ : matplotlib Axes
        The first of them.

    figure_ : matplotlib Figure
        Figure with the window.

    original_lines_, rebuilt_lines_ : list of matplotlib Line2D
        Lines of each channel; the rebuilt ones are NaN outside hidden patches, for
        which alone the network is trained.

    error_ : float
        Mean squared error over the hidden patches of the channels drawn.
    """

    def __init__(
        self,
        original,
        rebuilt,
        masked,
        patch_length,
        *,
        channels=None,
        sfreq=None,
        unit=None,
    ):
        self.original = original
        self.rebuilt = rebuilt
        self.masked = masked
        self.patch_length = patch_length
        self.channels = channels
        self.sfreq = sfreq
        self.unit = unit

    @classmethod
    def from_estimator(
        cls, estimator, X, index=0, *, channels=None, sfreq=None, unit=None, ax=None
    ):
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

        channels : sequence of int, default=None
            Channels to draw, by default the first 4.

        sfreq : float, default=None
            Sampling rate in Hz, for a time axis in seconds.

        unit : str, default=None
            Unit of the signal, for the labels.

        ax : matplotlib Axes or array of Axes, default=None
            One for each channel drawn; by default a new figure.

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
            channels=channels,
            sfreq=sfreq,
            unit=unit,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Plot the window.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            One for each channel drawn; by default a new figure.

        Returns
        -------
        self : ReconstructionDisplay
            The display, with its attributes set.
        """
        channels = self._shown()
        self.axes_ = make_axes(self, ax, len(channels), 1, (9, 1.5), sharex=True)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        hidden = np.zeros(self.original.shape[1], dtype=bool)
        in_patches = np.repeat(self.masked, self.patch_length)[: len(hidden)]
        hidden[: len(in_patches)] = in_patches
        gap = self.original[channels] - self.rebuilt[channels]
        self.error_ = float(np.mean(gap[:, hidden].astype(float) ** 2))
        self._draw(channels, hidden)
        self._label(channels)
        return self

    def _shown(self):
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

    def _draw(self, channels, hidden):
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

    def _label(self, channels):
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
