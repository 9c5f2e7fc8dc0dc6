"""Reading labels: one a window, of one kind."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from .._ids import refuse_several_kinds
from .._typing import AnyArray


def read_labels(y: ArrayLike | None, n_windows: int, *, reader: str) -> AnyArray:
    """Validate the labels of windows.

    Parameters
    ----------
    y : array-like of shape (n_windows,) or (n_windows, 1)
        Labels of one kind, none of them missing.

    n_windows : int
        How many there must be.

    reader : str
        Name of the class that reads them.

    Returns
    -------
    labels : ndarray of shape (n_windows,)

    Raises
    ------
    ValueError
        If they are anything else, or of a single class.
    """
    if y is None:
        raise ValueError(
            f"{reader} requires y to be passed, but the target y is None: give the "
            "label of each window, fit(X, y)."
        )
    _refuse_several_a_window(y)
    refuse_several_kinds(y, "y")
    labels: AnyArray = column_or_1d(
        check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True
    )
    check_classification_targets(labels)
    if len(labels) != n_windows:
        raise ValueError(
            f"y has {len(labels)} labels for {n_windows} windows: give one a window. "
            "make_windows(X, y, size=...) cuts recordings together with their labels."
        )
    _refuse_a_single_class(labels, reader)
    return labels


def _refuse_several_a_window(y: Any) -> None:
    """Refuse labels per sample, or poses, where labels per window are expected."""
    if isinstance(y, np.ndarray) and y.dtype == object:
        y = list(y)
    is_list = isinstance(y, (list, tuple)) and len(y)
    shape = np.shape(y[0]) if is_list else getattr(y, "shape", ())[1:]
    if shape not in ((), (1,)):
        raise ValueError(
            "y must hold one label per window, but there are several of each, of "
            f"shape {shape}. make_windows(X, y, size=...) turns labels per sample into "
            "labels per window."
        )


def _refuse_a_single_class(labels: AnyArray, reader: str) -> None:
    classes = np.unique(labels).tolist()
    if len(classes) < 2:
        raise ValueError(
            f"{reader} needs windows of at least 2 classes, but y contains only one "
            f"class: {classes[0]!r}."
        )
