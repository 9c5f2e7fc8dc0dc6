"""The vote of poses of other groups than a query's, such as other recordings."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._ids import read_comparable
from .._typing import AnyArray, WindowsLike

if TYPE_CHECKING:
    from ._classifier import ZeroShotClassifier


def predict_excluding(
    classifier: "ZeroShotClassifier",
    X: WindowsLike,
    gallery_groups: ArrayLike,
    query_groups: ArrayLike,
) -> AnyArray:
    """Name the gesture in each EMG window by the nearest poses of other groups.

    Parameters
    ----------
    classifier : ZeroShotClassifier
        Fitted.

    X : array-like of shape (n_windows, n_channels, n_times)
        EMG windows.

    gallery_groups : array-like of shape (n_gallery,)
        Group of each pose, such as its recording.

    query_groups : array-like of shape (n_windows,)
        Group of each window. The poses of this group have no vote on it: as many
        others as `n_neighbors` have, or all others where there are fewer.

    Returns
    -------
    y : ndarray of shape (n_windows,)
        Name that most of these poses carry.

    Raises
    ------
    ValueError
        If the gallery holds nothing but a window's own group, or groups are missing
        or of two kinds, numbers and text.
    """
    ids = read_comparable(
        {"gallery_groups": gallery_groups, "query_groups": query_groups}
    )
    Z = classifier._embed_queries(X)
    codes = np.unique(np.concatenate(ids), return_inverse=True)[1].astype(np.int32)
    groups, own = np.split(codes, [len(ids[0])])
    alone = ids[1][(own == groups[0]) & (groups == groups[0]).all()]
    if len(alone):
        raise ValueError(
            f"The gallery holds no pose outside the group {alone[0]} of a query: nothing "
            "is left to compare it with. Add poses of other recordings."
        )
    return classifier._winners(Z, (own, groups))
