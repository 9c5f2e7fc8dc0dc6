"""What zero-shot queries are compared with, their own recordings left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_consistent_length, column_or_1d

from .._ids import read_alike, read_ids
from .._typing import IntArray
from ._guard import check_disjoint
from ._splits import GESTURE_STAGES, check_columns, is_in, select, stages_of

_HAND_OF_RECORDING = re.compile(r"(.+-recording-\d+)_(?:left|right)")
# gallery: gestures: split and generalization
_GALLERIES: dict[str, dict[str, tuple[str, str]]] = {
    "training": {"in_distribution": ("train", "none"), "unseen": ("test", "stage")},
    "validation": {"in_distribution": ("val", "user"), "unseen": ("val", "user_stage")},
    "corpus": {},
}
_CHOICES = {
    "gestures": ("in_distribution", "unseen"),
    "gallery": tuple(_GALLERIES),
    "vote": ("candidates", "all"),
}


def recording_moments(filenames: ArrayLike) -> IntArray:
    """Number the recordings so that both hands of the same moment share a number.

    emg2pose has a file for the left and for the right hand of a recording. Both
    hands often do the same at the same time, so that the pose of one gives that of
    the other away.

    Parameters
    ----------
    filenames : array-like of shape (n_recordings,)
        Column `filename` of emg2pose's metadata table.

    Returns
    -------
    moments : ndarray of shape (n_recordings,), int64
        Numbers from 0, in the order of the first appearance.

    Raises
    ------
    ValueError
        If a name does not end like "-recording-7_left".

    Examples
    --------
    >>> from sk_cpep.evaluation import recording_moments
    >>> recording_moments(["a-recording-1_left", "a-recording-2_left",
    ...                    "a-recording-1_right"])
    array([0, 1, 0])
    """
    numbers: dict[str, int] = {}
    moments = []
    for name in column_or_1d(filenames):
        match = _HAND_OF_RECORDING.fullmatch(str(name))
        if match is None:
            raise ValueError(
                f"{name!r} is no file name of emg2pose, which end in "
                "-recording-<number>_left or _right: which hands belong together is "
                "unknown. Pass the metadata table's column `filename`."
            )
        moments.append(numbers.setdefault(match[1], len(numbers)))
    return np.array(moments, np.int64)


def zero_shot_gallery(
    users: ArrayLike,
    stages: ArrayLike,
    splits: ArrayLike,
    generalizations: ArrayLike,
    moments: ArrayLike,
    *,
    queries: ArrayLike,
    gestures: Any = "unseen",
    gallery: Any = "training",
    vote: str = "candidates",
    tuning_users: ArrayLike = (),
    gesture_stages: Mapping[str, tuple[str, str]] | None = None,
) -> Any:
    """Choose the poses that zero-shot queries are compared with.

    The paper speaks of the pose embeddings of the entire corpus, without saying of
    which people and stages, or whether the query's own recording is among them. The
    choice changes the result much: report more than one. None can leak: a query
    never meets a pose of its own recording, nor of the other hand at that moment.

    Parameters
    ----------
    users, stages, splits, generalizations : array-like of shape (n_windows,)
        Columns of emg2pose's metadata table, for each window.

    moments : array-like of shape (n_windows,)
        Which windows were recorded at the same time, from either hand: those of
        :func:`recording_moments` for the recording of each window.

    queries : array-like of int
        Windows to be named, such as ``paper_splits(...).eval.unseen``.

    gestures : {"in_distribution", "unseen"}, default="unseen"
        The candidates, which the queries are of.

    gallery : {"training", "validation", "corpus"}, default="training"
        What is in it:

        - "training": the candidate gestures by the people who trained. Their
          unseen gestures are the held-out stages which no encoder trains on (rows
          of split "test" and generalization "stage");
        - "validation": the candidate gestures by people of the validation split
          who do not tune, those who train the linear probe of unseen gestures;
        - "corpus": everything, other windows of the queries' people too, without
          each query's own recording: the paper's wording, and the easiest.

    vote : {"candidates", "all"}, default="candidates"
        Whether the gallery "corpus" holds the candidate gestures alone, or all
        stages, with a chance of 1 in 29. The others hold candidates in any case.

    tuning_users : array-like of str, default=()
        Left out of the gallery "validation": ``paper_splits(...).tuning_users``.

    gesture_stages : dict of str to (str, str), default=None
        As of :func:`paper_splits`.

    Returns
    -------
    chosen : :class:`~sklearn.utils.Bunch`
        gallery : ndarray of int
            Windows whose poses are in the gallery, ascending.
        queries : ndarray of int
            As given.
        settings : dict
            For :func:`zero_shot`: ``exclude``, the moments of both, and
            ``allow_shared_users``, which is true for the gallery "corpus".

    Raises
    ------
    ValueError
        If the gallery lacks a gesture of the queries or shares people with them,
        other than "corpus"; if a choice is not one of these.

    See Also
    --------
    zero_shot : The evaluation.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import zero_shot_gallery
    >>> stage = "ShakaVulcanPeace"
    >>> rows = [("anna", stage, "test", "stage"), ("ben", stage, "test", "user_stage")]
    >>> columns = np.transpose(rows + rows)
    >>> moments = [0, 1, 2, 3]
    >>> zero_shot_gallery(*columns, moments, queries=[1]).gallery
    array([0, 2])
    >>> chosen = zero_shot_gallery(*columns, moments, queries=[1], gallery="corpus")
    >>> chosen.gallery, chosen.settings["exclude"]
    (array([0, 1, 2, 3]), (array([0, 1, 2, 3]), array([1])))
    """
    for name, value in (("gestures", gestures), ("gallery", gallery), ("vote", vote)):
        if value not in _CHOICES[name]:
            raise ValueError(f"{name} must be one of {_CHOICES[name]}, got {value!r}.")
    columns = check_columns(users, stages, splits, generalizations)
    moments, queries = read_ids(moments, "moments"), np.asarray(queries)
    check_consistent_length(moments, columns["users"])
    candidates = stages_of(gestures, gesture_stages or GESTURE_STAGES) or []
    if gallery == "corpus":
        everything = np.ones(len(moments), bool)
        mask = everything if vote == "all" else is_in(columns["stages"], candidates)
    else:
        split, generalization = _GALLERIES[gallery][gestures]
        mask = select(columns, split, generalization, candidates)
        if gallery == "validation":
            users, tuning_users = read_alike(
                {"users": columns["users"], "tuning_users": tuning_users}
            )
            mask &= ~is_in(users, tuning_users)
    rows = np.flatnonzero(mask)
    _check_gallery(columns, rows, queries, gallery, candidates)
    settings = {
        "exclude": (moments[rows], moments[queries]),
        "allow_shared_users": gallery == "corpus",
    }
    return Bunch(gallery=rows, queries=queries, settings=settings)


def _check_gallery(
    columns: Any, rows: Any, queries: ArrayLike, gallery: Any, candidates: Sequence[str]
) -> None:
    """Raise if a query cannot be named rightly, or might be named by itself."""
    stages, users = columns["stages"], columns["users"]
    strange = sorted(set(stages[queries]) - set(candidates))
    if strange:
        raise ValueError(
            f"The queries hold {', '.join(map(str, strange))}, which is not among the "
            f"candidates {', '.join(candidates)}; choose other queries or gestures."
        )
    missing = sorted(set(stages[queries]) - set(stages[rows]))
    if missing:
        raise ValueError(
            f"The gallery {gallery!r} holds no {', '.join(map(str, missing))}, which "
            "queries are of; load more of the corpus or choose another gallery."
        )
    if gallery != "corpus":
        try:
            check_disjoint(sorted(set(users[rows])), sorted(set(users[queries])))
        except ValueError as error:
            raise ValueError(
                f"The gallery {gallery!r} and the queries: {error} Those who tune are "
                "left out of 'validation' by tuning_users."
            ) from None
