"""Generalised zero-shot: seen and new gestures in one gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._typing import Record
from ..zero_shot import ZeroShotClassifier
from ._guard import check_disjoint
from ._harmonic import harmonic_mean, summarise_harmonic
from ._metrics import per_user_accuracy, read_gestures
from ._protocols import Precomputed, check_classes, record_header, score

_PENALTIES = tuple(np.round(np.arange(0, 0.5, 0.02), 2).tolist())


def generalised_zero_shot(
    encoder: Any,
    gallery: Any,
    test: Any,
    *,
    seen: ArrayLike,
    n_neighbors: int = 10,
    seen_penalty: float = 0.0,
    batch_size: int | None = None,
    method: str | None = None,
    allow_shared_users: bool = False,
) -> list[Record]:
    """Evaluate zero-shot classification with seen and new gestures in one gallery.

    So a user has them: a new gesture is added to those that are there. Accuracy of
    the new ones alone among themselves, as of :func:`zero_shot`, does not tell how many
    of them are taken for seen ones.

    Parameters
    ----------
    encoder : fitted encoder or None
        As of :func:`zero_shot`.

    gallery : tuple (P, y, users)
        Poses of all gestures, or their embeddings; gestures and people.

    test : tuple (X, y, users)
        EMG windows of seen and of new gestures, or their embeddings; gestures and
        people.

    seen : array-like of shape (n_seen,)
        Names of the gestures that the encoder was pre-trained on.

    n_neighbors : int, default=10
        Number of poses that vote.

    seen_penalty : float, default=0.0
        What is taken off the similarity of poses of seen gestures; see
        :class:`~sk_cpep.ZeroShotClassifier`. Choose it on other people:
        :func:`tune_seen_penalty`.

    batch_size : int, default=None
        Number of queries compared at once.

    method : str, default=None
        Name of what is evaluated, by default that of the encoder's class.

    allow_shared_users : bool, default=False
        Let people be in both sets; see :func:`check_disjoint`.

    Returns
    -------
    records : list of dict
        Three, as of :func:`linear_probe`, whose ``protocol`` is
        "generalised_zero_shot": ``gestures`` "in_distribution", of windows of seen
        gestures, "unseen", of new ones, and "harmonic_mean" of both. The last has
        ``parts``, the accuracies of each person that it is made of, and the harmonic
        mean of the two means over people as its ``mean``.

    Raises
    ------
    ValueError
        If the sets share people, or there are no windows of seen, or of new gestures.

    See Also
    --------
    zero_shot : One kind of gestures at a time.

    References
    ----------
    .. [1] Y. Xian, C. H. Lampert, B. Schiele and Z. Akata, "Zero-shot learning: a
       comprehensive evaluation of the good, the bad and the ugly", IEEE TPAMI 41
       (2019), 2251-2265: the harmonic mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import generalised_zero_shot
    >>> Z, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(["fist", "ok"], 4)
    >>> gallery, test = (Z, y, ["anna"] * 8), (Z, y, ["ben"] * 8)
    >>> records = generalised_zero_shot(
    ...     None, gallery, test, seen=["fist"], n_neighbors=4
    ... )
    >>> [(r["gestures"], r["mean"]) for r in records]
    [('in_distribution', 1.0), ('unseen', 1.0), ('harmonic_mean', 1.0)]
    """
    (P, y, users), (X_test, y_test, users_test) = gallery, test
    check_disjoint(users, users_test, allow_shared_users=allow_shared_users)
    y, y_test, classes = check_classes(y, y_test)
    is_seen = _seen_rows(y_test, seen)
    settings = {
        "n_neighbors": n_neighbors,
        "seen_penalty": seen_penalty,
        "seen": np.asarray(seen).tolist(),
    }
    classifier = ZeroShotClassifier(
        Precomputed() if encoder is None else encoder,
        n_neighbors,
        seen=seen,
        seen_penalty=seen_penalty,
        batch_size=batch_size,
    )
    y_pred = classifier.fit(P, y).predict(X_test)
    users_test = np.asarray(users_test)
    n = {"n_people": 0, "n_labelled": 0}
    records = []
    for gestures, rows in (("in_distribution", is_seen), ("unseen", ~is_seen)):
        header = record_header(
            encoder, method, "generalised_zero_shot", gestures, settings
        )
        found = score(
            classes, y_test[rows], y_pred[rows], users_test[rows], users, len(y)
        )
        records.append(header | found | n)
    parts = {record["gestures"]: record["per_user"] for record in records}
    summary = summarise_harmonic(*parts.values())
    about = {k: records[0][k] for k in ("chance", "n_train", "n_classes", "classes")}
    records.append(
        header
        | {"gestures": "harmonic_mean", "macro_accuracy": summary["mean"]}
        | summary
        | about
        | {"n_test": len(y_test), "parts": parts}
        | n
    )
    return records


def tune_seen_penalty(
    gallery: Any,
    test: Any,
    *,
    seen: ArrayLike,
    n_neighbors: int = 10,
    penalties: Sequence[float] = _PENALTIES,
) -> tuple[float, list[dict[str, float]]]:
    """Choose the penalty with the highest harmonic mean of seen and new gestures.

    Give embeddings of people who are not tested on afterwards, made by an encoder that
    was pre-trained without some gestures which count as the new ones here.

    Parameters
    ----------
    gallery, test : tuple (Z, y, users)
        Embeddings of poses and of EMG windows, of shape (n_windows, n_dims); gestures
        and people.

    seen : array-like of shape (n_seen,)
        Names of the gestures that this encoder was pre-trained on.

    n_neighbors : int, default=10
        Number of poses that vote.

    penalties : sequence of float, default=(0, 0.02, ..., 0.48)
        What to choose from.

    Returns
    -------
    penalty : float
        The smallest of the best.

    curve : list of dict
        For each penalty ``seen_penalty``, ``seen`` and ``new``, the accuracies, means
        over people, and ``harmonic_mean``.

    Raises
    ------
    ValueError
        If there are no windows of seen, or of new gestures.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import tune_seen_penalty
    >>> poses = np.array([[1.0, 0], [0.8, 0.6]]), ["fist", "ok"], [1, 1]
    >>> queries = np.array([[1.0, 0], [0.95, 0.31]]), ["fist", "ok"], [2, 2]
    >>> penalty, _ = tune_seen_penalty(poses, queries, seen=["fist"], n_neighbors=1)
    >>> penalty
    0.02
    """
    (Z, y, _), (Z_test, y_test, users_test) = gallery, test
    y, y_test, _ = check_classes(y, y_test)
    is_seen = _seen_rows(y_test, seen)
    users_test = np.asarray(users_test)
    classifier = ZeroShotClassifier(Precomputed(), n_neighbors, seen=seen).fit(Z, y)
    curve = []
    for penalty in penalties:
        y_pred = classifier.set_params(seen_penalty=penalty).predict(Z_test)
        means = [
            per_user_accuracy(y_test[r], y_pred[r], users_test[r])["mean"]
            for r in (is_seen, ~is_seen)
        ]
        point = dict(zip(("seen", "new"), means))
        point["harmonic_mean"] = float(harmonic_mean(*means))
        curve.append({"seen_penalty": float(penalty)} | point)
    best = max(
        curve, key=lambda point: (point["harmonic_mean"], -point["seen_penalty"])
    )
    return best["seen_penalty"], curve


def _seen_rows(y: Any, seen: ArrayLike) -> Any:
    """Which windows are of seen gestures; there must be some of either kind."""
    y, names = read_gestures({"y of the test windows": y, "seen": seen})
    rows = np.isin(y, names)
    if rows.all() or not rows.any():
        raise ValueError(
            f"The test windows are all of {'seen' if rows.all() else 'new'} gestures; "
            f"seen={names.tolist()}. Generalised zero-shot needs both: for one kind, "
            "see zero_shot."
        )
    return rows
