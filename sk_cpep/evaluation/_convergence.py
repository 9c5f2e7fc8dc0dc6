"""Whether a training has learned anything: its loss, and its embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from .._typing import Record

# Loss below the trivial level, as a share of it, that counts as learning.
_MIN_GAIN = 0.05
# Similarities of unit embeddings differ by about 1 - R^2 and are multiplied by 100 at
# the most: at R = 0.999 by 0.2, and all windows of a batch look alike.
_MAX_RESULTANT = 0.999
# One line through the origin cannot tell more than two things apart.
_MIN_RANK = 1.5


def converged(
    history: Any, *, trivial_loss: float | None = None, embeddings: Any = None
) -> Record:
    """Decide whether a training has converged to something of use.

    It has not if a loss is not finite; if the loss ended less than 5 % below what
    guessing gives; or if embeddings collapsed: to one direction (resultant length
    0.999 or more), or to a line (effective rank 1.5 or less), see
    :func:`embedding_spread`.

    Parameters
    ----------
    history : list of dict
        One dict an epoch, with ``train_loss``, as an estimator's ``history_`` (of one
        stage). Where all epochs have ``valid_loss``, the least of them counts, as
        these weights are kept; elsewhere the last ``train_loss``.

    trivial_loss : float, default=None
        Loss of guessing: ``np.log(batch_size)`` for the contrastive loss, where every
        window of the batch is as likely; the variance, 1.0, for an autoencoder of
        standardised windows. None does not look at the level of the loss.

    embeddings : array-like of shape (n_windows, n_dims) or dict of these, default=None
        Embeddings to look at, best of windows not trained on; a dict names them. None
        does not look at any.

    Returns
    -------
    verdict : dict
        Ready for json, and to be merged into a record: ``converged``, a bool, and
        ``reason``, why not, or None.

    Raises
    ------
    ValueError
        If `history` is empty or lacks ``train_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import converged
    >>> history = [{"train_loss": 5.6}, {"train_loss": 5.5}]
    >>> converged(history, trivial_loss=np.log(256))
    {'converged': False, 'reason': 'loss 5.5 is not below 5.268, ...'}
    >>> converged([{"train_loss": 5.6}, {"train_loss": 1.2}], trivial_loss=np.log(256))
    {'converged': True, 'reason': None}
    """
    reasons = [_loss_trouble(history, trivial_loss)]
    if embeddings is not None:
        named = embeddings if isinstance(embeddings, dict) else {"the": embeddings}
        reasons += [_collapse(name, Z) for name, Z in named.items()]
    found = [reason for reason in reasons if reason]
    return {"converged": not found, "reason": "; ".join(found) or None}


def embedding_spread(Z: ArrayLike) -> dict[str, float]:
    """How widely embeddings of windows spread.

    Parameters
    ----------
    Z : array-like of shape (n_windows, n_dims)
        Embeddings; they are scaled to unit length first.

    Returns
    -------
    spread : dict
        ``resultant_length``: length of their mean, 1 where all point one way and about
        0 where they point everywhere. ``effective_rank``: exponential of the entropy
        of the shares of variance along their principal axes [1]_, from 1 (a line, or a
        point) to `n_dims`.

    References
    ----------
    .. [1] O. Roy and M. Vetterli, "The effective rank: A measure of effective
       dimensionality", EUSIPCO 2007; there of singular values, here of variances.

    Examples
    --------
    >>> from sk_cpep.evaluation import embedding_spread
    >>> embedding_spread([[1, 0], [0, 1], [-1, 0], [0, -1]])
    {'resultant_length': 0.0, 'effective_rank': 2.0}
    """
    Z = check_array(Z, dtype=np.float64, input_name="Z")
    norm = np.linalg.norm(Z, axis=1, keepdims=True)
    Z = Z / np.where(norm > 0, norm, 1)
    mean = Z.mean(axis=0)
    variance = np.linalg.svd(Z - mean, compute_uv=False) ** 2
    total = variance.sum()
    share = variance / total if total > np.finfo(float).eps * len(Z) else np.ones(1)
    share = share[share > 0]
    return {
        "resultant_length": float(np.linalg.norm(mean)),
        "effective_rank": float(np.exp(-np.sum(share * np.log(share)))),
    }


def _loss_trouble(history: Any, trivial_loss: float | None) -> str | None:
    """What is wrong with the losses, or None."""
    if not isinstance(history, list) or not history:
        raise ValueError(
            "history must be a list with one dict for each epoch of one stage, such as "
            f"cpep.history_['alignment']; got {history!r}."
        )
    train = [epoch.get("train_loss") for epoch in history]
    valid = [epoch.get("valid_loss") for epoch in history]
    if None in train:
        raise ValueError("An epoch of history has no `train_loss`.")
    losses = train + [loss for loss in valid if loss is not None]
    if not np.isfinite(losses).all():
        return "a loss is not finite"
    if trivial_loss is None:
        return None
    loss = train[-1] if None in valid else min(valid)
    level = trivial_loss - _MIN_GAIN * abs(trivial_loss)
    if loss < level:
        return None
    return (
        f"loss {loss:.4g} is not below {level:.4g}, {_MIN_GAIN:.0%} under that of "
        f"guessing, {trivial_loss:.4g}"
    )


def _collapse(name: str, Z: ArrayLike) -> str | None:
    """In which way embeddings have collapsed, or None."""
    spread = embedding_spread(Z)
    length, rank = spread["resultant_length"], spread["effective_rank"]
    if length >= _MAX_RESULTANT:
        return f"{name} embeddings point one way (resultant length {length:.4f})"
    if rank <= _MIN_RANK and np.shape(Z)[1] > 1:
        return f"{name} embeddings lie on a line (effective rank {rank:.2f})"
    return None
