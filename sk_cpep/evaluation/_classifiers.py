"""Classifiers on top of frozen embeddings, and the choice among them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._sklearn_bases import BaseEstimator, ClassifierMixin
from .._typing import AnyArray, Float64Array
from ._folds import fold_users
from ._metrics import macro_accuracy

PENALTIES = (0.001, 0.01, 0.1, 1.0)
_SHRINKAGES = (0.1, 0.5, 1.0)
_N_FOLDS = 3

Candidates = Mapping[str, Any]


def softmax_probe(C: float, max_iter: int = 2000) -> Any:
    """A softmax layer on standardised embeddings, every gesture counting the same.

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty.

    max_iter : int, default=2000
        Maximum number of L-BFGS iterations.

    Returns
    -------
    probe : Pipeline
        Not fitted.
    """
    softmax = LogisticRegression(C=C, max_iter=max_iter, class_weight="balanced")
    return make_pipeline(StandardScaler(), softmax)


def softmax_probes(max_iter: int = 2000) -> dict[str, Any]:
    """Softmax layers of several penalties, by name.

    Returns
    -------
    candidates : dict of Pipeline
    """
    return {f"softmax, C={C:g}": softmax_probe(C, max_iter) for C in PENALTIES}


def softmax_candidates(C: Any, max_iter: int = 2000) -> dict[str, Any]:
    """Softmax layers to choose from: one of penalty `C`, or several if it is "auto".

    Parameters
    ----------
    C : float or "auto"

    max_iter : int, default=2000

    Returns
    -------
    candidates : dict of Pipeline

    Raises
    ------
    ValueError
        If `C` is neither.
    """
    if isinstance(C, str) and C == "auto":
        return softmax_probes(max_iter)
    if not isinstance(C, Real) or isinstance(C, bool) or not float(C) > 0:
        raise ValueError(f"C must be 'auto' or a number above 0, got {C!r}.")
    return {f"softmax, C={C:g}": softmax_probe(float(C), max_iter)}


class EqualDiscriminant(ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis that takes every gesture for equally likely.

    The means and the shrunk covariance are those of
    :class:`~sklearn.discriminant_analysis.LinearDiscriminantAnalysis`. Where there is
    but one window of each gesture, the nearest window is named.

    Parameters
    ----------
    shrinkage : float, default=0.1
        From 0, the covariance within gestures, to 1, a sphere.
    """

    def __init__(self, shrinkage: float = 0.1) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the means of the gestures and the covariance that they share.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_dims)

        y : array-like of shape (n_windows,)

        Returns
        -------
        self : object
        """
        X, y = np.asarray(X), np.asarray(y)
        self.classes_, first = np.unique(y, return_index=True)
        if len(first) == len(y):
            means, covariance = X[first], np.eye(X.shape[1])
        else:
            lda = LinearDiscriminantAnalysis("lsqr", shrinkage=self.shrinkage)
            with warnings.catch_warnings():  # of gestures with a single window
                warnings.filterwarnings("ignore", "Only one sample available")
                lda.fit(X, y)
            means, covariance = lda.means_, lda.covariance_
        self.coef_ = np.linalg.lstsq(covariance, means.T, rcond=None)[0].T
        self.intercept_ = -0.5 * np.einsum("kd,kd->k", means, self.coef_)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Name the gesture of each embedding.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_dims)

        Returns
        -------
        y : ndarray of shape (n_windows,)
        """
        scores = np.asarray(X) @ self.coef_.T + self.intercept_
        return self.classes_[scores.argmax(axis=1)]


def linear_classifiers() -> dict[str, Any]:
    """Linear classifiers that a fair comparison of embeddings tries for each.

    Softmax layers of several penalties, and discriminant analysis whose covariance is
    shrunk by 0.1, 0.5 and 1 towards a sphere, the last of which takes the nearest class
    mean. All count every gesture the same, as macro accuracy does.

    Returns
    -------
    candidates : dict of Pipeline
        Not fitted, by name.
    """
    return softmax_probes() | {
        f"discriminant, shrinkage={shrinkage:g}": make_pipeline(
            StandardScaler(), EqualDiscriminant(shrinkage)
        )
        for shrinkage in _SHRINKAGES
    }


def choose_classifier(
    candidates: Candidates, Z: Float64Array, y: AnyArray, users: AnyArray
) -> tuple[str, dict[str, float]]:
    """The classifier that names the gestures of people left out best.

    Parameters
    ----------
    candidates : dict of classifiers
        By name; the first of equals is taken.

    Z : ndarray of shape (n_windows, n_dims)
        Embeddings of training people.

    y, users : ndarrays of shape (n_windows,)
        Gesture and person of each window. One person alone cannot be left out: the
        last candidate is taken then.

    Returns
    -------
    name : str

    scores : dict of str to float
        Mean over people of the macro accuracy of each, in three folds of people.
    """
    folds = fold_users(users, _N_FOLDS)
    if len(candidates) == 1 or len(folds) < 2:
        return list(candidates)[-1], {}
    sets = [(~np.isin(users, out), np.isin(users, out)) for out in folds]
    return best_on(candidates, Z, y, users, sets)


def best_on(
    candidates: Candidates,
    Z: Float64Array,
    y: AnyArray,
    users: AnyArray,
    sets: Sequence[tuple[AnyArray, AnyArray]],
) -> tuple[str, dict[str, float]]:
    """The classifier that is best on given sets.

    Parameters
    ----------
    candidates, Z, y, users
        As of :func:`choose_classifier`.

    sets : list of tuple of bool ndarrays of shape (n_windows,)
        Windows to learn from, and windows of others to name.

    Returns
    -------
    name, scores
        As of :func:`choose_classifier`.
    """
    scores = {}
    for name, candidate in candidates.items():
        accuracies: list[float] = []
        for train, test in sets:
            predicted = fit_predict(candidate, Z[train], y[train], Z[test])
            accuracies += accuracy_of_each(y[test], predicted, users[test]).values()
        scores[name] = float(np.mean(accuracies))
    return max(scores, key=lambda name: scores[name]), scores


def fit_predict(
    classifier: Any, Z: Float64Array, y: AnyArray, Z_test: Float64Array
) -> AnyArray:
    """What a clone of a classifier, fitted to (Z, y), makes of `Z_test`.

    Where there is but one gesture to learn from, that is the answer.
    """
    if len(np.unique(y)) == 1:
        return np.repeat(y[:1], len(Z_test))
    return clone(classifier).fit(Z, y).predict(Z_test)


def accuracy_of_each(
    y_true: AnyArray, y_pred: AnyArray, users: AnyArray
) -> dict[Any, float]:
    """Macro accuracy of each person."""
    return {
        user: macro_accuracy(y_true[users == user], y_pred[users == user])
        for user in np.unique(users).tolist()
    }
