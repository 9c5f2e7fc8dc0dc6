"""What the displays share: matplotlib imported late, axes, colours, units."""

import numpy as np


def import_pyplot(display):
    """Return pyplot, or say which extra brings it to the one who asked."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed. "
            'Install it with: pip install "sk_cpep[plot]"'
        ) from error
    return plt


def make_axes(display, ax, n_rows, n_cols, size, **subplots_kw):
    """Axes of shape (n_rows * n_cols,): the given ones or those of a new figure.

    Parameters
    ----------
    display : object
        Display that asks.

    ax : matplotlib Axes, array of Axes or None
        Axes to draw on.

    n_rows, n_cols : int
        Grid of a new figure.

    size : tuple of float
        Width and height of one axes of a new figure, in inches.

    **subplots_kw : dict
        Passed to :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    axes : ndarray of shape (n_rows * n_cols,) of matplotlib Axes
        In reading order.
    """
    if ax is None:
        _, ax = import_pyplot(display).subplots(
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
            f"{type(display).__name__} needs {n_rows * n_cols} axes here, got "
            f"{len(axes)}: pass as many in `ax`, or None for a new figure."
        )
    return axes


def class_colours(display, n_classes):
    """Colours (n_classes, 4): a qualitative map up to 20, then a rainbow."""
    colormaps = import_pyplot(display).colormaps
    if n_classes <= 20:
        return colormaps["tab10" if n_classes <= 10 else "tab20"](np.arange(n_classes))
    return colormaps["turbo"](np.linspace(0, 1, n_classes))


def time_axis(n_times, sfreq):
    """Times (n_times,) and their label: seconds if the rate is known."""
    if sfreq is None:
        return np.arange(n_times), "time (samples)"
    return np.arange(n_times) / sfreq, "time (s)"


def only_window(X, index):
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
