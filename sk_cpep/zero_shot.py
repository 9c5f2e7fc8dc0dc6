"""Zero-shot gesture recognition: EMG read by looking up the nearest poses."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import (
    _check_feature_names,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

__all__ = ["ZeroShotClassifier"]

# Similarities closer than this are told apart in float64, not in float32.
_MARGIN = np.float32(1e-6)
# Gallery columns whose maximum is looked at before the columns themselves.
_GROUP = 64
# Numbers held at once: similarities in a block, candidates ranked in float64.
_BLOCK_SIZE = 2**23
_RANK_SIZE = 2**22


class ZeroShotClassifier(ClassifierMixin, BaseEstimator):
    """Name the gesture in an EMG window by the poses that lie nearest to it.

    The gallery is made of hand poses and their names; no EMG label is ever
    seen. A query, an EMG window, is embedded by the EMG half of the encoder
    and takes the name that most of its `n_neighbors` most cosine-similar poses
    carry [1]_. A new gesture is added by giving poses of it to
    :meth:`partial_fit`, and nothing else.

    Parameters
    ----------
    encoder : fitted encoder
        A fitted :class:`~sk_cpep.CPEP`, a fitted
        :class:`~sklearn.pipeline.Pipeline` that ends in one, or a
        :class:`~sklearn.frozen.FrozenEstimator` around either. It is used as it
        is, never cloned nor fitted again. EMG goes through ``transform`` of the
        whole encoder; poses go through ``transform_pose`` of its last step, so
        that no EMG preprocessing touches them. Wrap it in `FrozenEstimator`
        where scikit-learn clones the classifier, as `cross_val_score` does.

    n_neighbors : int, default=10
        Number of poses that vote. A gallery smaller than this votes as a whole.

    batch_size : int, default=None
        Number of queries compared with the gallery at once. By default as many
        as keep the block of similarities at about 32 MiB. It changes speed and
        memory, not results. (The encoder has a batch size of its own.)

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Names of the gestures, sorted.

    gallery_embeddings_ : ndarray of shape (n_gallery, n_embedding), float32
        Embeddings of the poses, of unit length, in the order they were given.

    gallery_labels_ : ndarray of shape (n_gallery,)
        Name of each pose in the gallery.

    n_features_in_ : int
        Size of the second axis of the poses (joints, or features when 2-D).

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features of 2-D poses, where they had names.

    See Also
    --------
    sk_cpep.CPEP : Learns the space that EMG and poses share.
    sklearn.neighbors.KNeighborsClassifier : The same vote in one space.

    Notes
    -----
    *Ties.* Where several gestures have the most votes, the one whose votes are
    the more similar in sum wins; they have as many votes each, so these are the
    nearer poses on average. Should that be equal too, the first in `classes_`
    wins. :meth:`predict` is always the largest column of :meth:`predict_proba`.

    *New gestures.* A gesture with fewer than ``n_neighbors // 2 + 1`` poses can
    be outvoted by others whatever the query: give more poses or lower
    `n_neighbors`, which may be set on the fitted object.

    *Neighbours.* They are found by float32 products and ranked in float64;
    equally similar poses come in the order of the gallery. (Where a query has
    hundreds of best poses within 1e-6 of each other, as an encoder that has
    collapsed gives, those that are ranked are chosen in float32.)

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture
       Generalization on EMG Signals", 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from sk_cpep.zero_shot import ZeroShotClassifier
    >>> class Flatten(BaseEstimator):  # stands for a fitted CPEP
    ...     def transform(self, X):
    ...         return np.reshape(X, (len(X), -1))
    ...     transform_pose = transform
    >>> poses = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> names = ["fist", "fist", "point", "point"]
    >>> zero_shot = ZeroShotClassifier(Flatten(), n_neighbors=2).fit(poses, names)
    >>> zero_shot.predict([[5.0, 1.0]])
    array(['fist'], dtype='<U5')
    >>> zero_shot.partial_fit([[-1.0, 0.0], [-0.9, 0.0]], ["wave", "wave"])
    ZeroShotClassifier(encoder=Flatten(), n_neighbors=2)
    >>> zero_shot.predict([[-5.0, 1.0]])
    array(['wave'], dtype='<U5')
    """

    _parameter_constraints: dict = {
        "encoder": "no_validation",
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, encoder, n_neighbors=10, *, batch_size=None):
        self.encoder = encoder
        self.n_neighbors = n_neighbors
        self.batch_size = batch_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, P, y):
        """Make the gallery of poses and their names.

        Parameters
        ----------
        P : array-like of shape (n_gallery, n_joints, n_pose_times)
            Poses, in the unit the encoder was fitted with (radians where
            calibrated). 2-D arrays, lazy arrays and lists of recordings are
            handed to the encoder's ``transform_pose`` as well.

        y : array-like of shape (n_gallery,)
            Name of the gesture in each pose.

        Returns
        -------
        self : object
            Fitted classifier.
        """
        self.gallery_embeddings_, self.gallery_labels_ = self._embed_poses(
            P, y, reset=True
        )
        self.classes_ = np.unique(self.gallery_labels_)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, P, y, classes=None):
        """Add poses to the gallery, of known gestures or of new ones.

        Calling it batch after batch gives what one :meth:`fit` on all of them
        gives. On an object that is not fitted it starts the gallery.

        Parameters
        ----------
        P : array-like of shape (n_new, n_joints, n_pose_times)
            Poses to add.

        y : array-like of shape (n_new,)
            Name of the gesture in each pose.

        classes : array-like of shape (n_classes,), default=None
            Names to list in `classes_` even while no pose carries them, so that
            the columns of :meth:`predict_proba` stay where they are. Not
            needed: names that `y` brings along are always added.

        Returns
        -------
        self : object
            Fitted classifier.
        """
        first = not hasattr(self, "gallery_embeddings_")
        embeddings, labels = self._embed_poses(P, y, reset=first)
        names = labels if classes is None else _union(labels, classes)
        if not first:
            names = _union(self.classes_, names)
            embeddings = np.concatenate([self.gallery_embeddings_, embeddings])
            labels = np.concatenate([self.gallery_labels_, labels])
        self.gallery_embeddings_, self.gallery_labels_ = embeddings, labels
        self.classes_ = np.unique(names)
        return self

    def predict(self, X):
        """Name the gesture in each EMG window.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            EMG windows, or whatever else the encoder's ``transform`` takes:
            2-D arrays, lazy arrays, recordings where it cuts them itself.

        Returns
        -------
        y : ndarray of shape (n_windows,)
            Name that most of the nearest poses carry; see Notes about ties.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X):
        """Share of the votes that each gesture gets.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            EMG windows, as in :meth:`predict`.

        Returns
        -------
        proba : ndarray of shape (n_windows, n_classes)
            Share of the nearest poses that carry each name in `classes_`. The
            winner of a tie is one floating-point step (about 1e-16) ahead.
        """
        similarity, index = self._nearest(X, self.n_neighbors)
        codes = np.searchsorted(self.classes_, self.gallery_labels_)[index]
        votes, total = _count_votes(codes, similarity, len(self.classes_))
        return _shares(votes, total)

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        """Find the poses that lie nearest to each EMG window.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            EMG windows, as in :meth:`predict`.

        n_neighbors : int, default=None
            Number of poses to find, by default the one of the constructor. At
            most the whole gallery is returned.

        return_distance : bool, default=True
            Whether to return the distances as well.

        Returns
        -------
        distance : ndarray of shape (n_windows, n_neighbors)
            Cosine distances (1 - cosine similarity), nearest first. Only if
            `return_distance`.

        index : ndarray of shape (n_windows, n_neighbors)
            Positions in the gallery, that is rows of the poses given to
            :meth:`fit` and :meth:`partial_fit`; the lower one first where poses
            are equally near.
        """
        similarity, index = self._nearest(X, n_neighbors or self.n_neighbors)
        if return_distance:
            return np.clip(1.0 - similarity, 0.0, 2.0), index
        return index

    def _embed_poses(self, P, y, reset):
        """Unit embeddings (n, d) and labels (n,) of poses, all checked."""
        encoder = _pose_encoder(self.encoder)
        if isinstance(y, (list, tuple)) and any(np.ndim(label) for label in y[:1]):
            raise ValueError(
                "y must hold one label per window, but its first entry is an array. "
                "make_windows(P, y, size=...) turns labels per sample into labels per "
                "window."
            )
        if isinstance(P, np.ndarray) or not _is_windows(P):
            P, y = validate_data(self, P, y, reset=reset, allow_nd=True)
        else:
            validate_data(self, P, reset=reset, skip_check_array=True)
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        Z = _normalise(encoder.transform_pose(P))
        if len(Z) != len(y):
            raise ValueError(
                f"The encoder turned the poses into {len(Z)} embeddings, but y has "
                f"{len(y)} labels: give one label per pose window."
            )
        if not reset and Z.shape[1] != self.gallery_embeddings_.shape[1]:
            raise ValueError(
                f"The new poses were embedded in {Z.shape[1]} dimensions, the gallery "
                f"in {self.gallery_embeddings_.shape[1]}: was the encoder exchanged "
                "since fit? Fit again with the present one."
            )
        return Z, y

    def _embed_emg(self, X):
        """Unit embeddings (n, d) of EMG windows."""
        check_is_fitted(self)
        _pose_encoder(self.encoder)
        if not _is_windows(X):
            X = self._check_2d(X)
        Z = _normalise(self.encoder.transform(X))
        n_dims = self.gallery_embeddings_.shape[1]
        if Z.shape[1] != n_dims:
            raise ValueError(
                f"X has {Z.shape[1]} features, but {type(self).__name__} is expecting "
                f"{n_dims} features as input: the embeddings of the EMG and those of "
                "the poses in the gallery must have as many dimensions. Check the "
                "shape of X and that the encoder is the one fit was called with."
            )
        return Z

    def _check_2d(self, X):
        """Check a 2-D X; its feature names too where the encoder knows none."""
        if not hasattr(self.encoder, "n_features_in_"):
            _check_feature_names(self, X, reset=False)
        return check_array(X, estimator=self, input_name="X")

    def _nearest(self, X, n_neighbors):
        """Similarities and gallery positions, both (n_windows, k)."""
        return _nearest(
            self._embed_emg(X), self.gallery_embeddings_, n_neighbors, self.batch_size
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _union(labels, more):
    """Labels of both arrays; unlike plain concatenation, 1 and '1' do not mix."""
    more = column_or_1d(more)
    unique_labels(labels, more)
    return np.unique(np.concatenate([labels, more]))


def _is_windows(X):
    """Tell 3-D arrays, lazy or not, and lists of recordings from 2-D data."""
    if hasattr(X, "shape"):
        return len(X.shape) > 2
    return isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(X[0]) > 1


def _last_step(encoder):
    """Look through FrozenEstimator, Pipeline and searches for the last step."""
    while True:
        if isinstance(encoder, FrozenEstimator):
            encoder = encoder.estimator
        elif isinstance(encoder, Pipeline):
            encoder = encoder.steps[-1][1]
        elif hasattr(encoder, "best_estimator_"):
            encoder = encoder.best_estimator_
        else:
            return encoder


def _pose_encoder(encoder):
    """Return the fitted step of `encoder` that embeds poses."""
    step = _last_step(encoder)
    if not (hasattr(step, "transform_pose") and hasattr(encoder, "transform")):
        raise TypeError(
            "ZeroShotClassifier needs an encoder with transform(X) for EMG and "
            "transform_pose(P) for poses: a fitted CPEP, a Pipeline that ends in one, "
            f"or FrozenEstimator around either. Got {encoder!r}."
        )
    _check_encoder_fitted(encoder)
    if getattr(step, "embedding", "projection") != "projection":
        raise ValueError(
            f"The encoder has embedding={step.embedding!r}: its EMG embeddings are those "
            "before the projection, which are not aligned with the poses. Use "
            "encoder.set_params(embedding='projection') (no training is needed)."
        )
    return step


def _check_encoder_fitted(encoder):
    """Raise NotFittedError, with the way out, for an encoder not fitted yet."""
    step = _last_step(encoder)
    if not hasattr(step, "fit"):
        return
    try:
        check_is_fitted(step)
    except NotFittedError as error:
        raise NotFittedError(
            f"The encoder {type(step).__name__} is not fitted. ZeroShotClassifier uses "
            "it as it is: fit it first, on EMG and poses, and wrap it as "
            "ZeroShotClassifier(FrozenEstimator(encoder)) so that it stays fitted when "
            "the classifier is cloned (cross_val_score, GridSearchCV)."
        ) from error


def _normalise(Z):
    """Scale rows (n, d) to unit length, float32; rows of zeros stay zeros."""
    Z = np.asarray(Z)
    if Z.ndim != 2:
        raise ValueError(
            f"The encoder must give embeddings (n_windows, n_dims), got {Z.shape}."
        )
    norm = np.linalg.norm(Z.astype(np.float64, copy=False), axis=1, keepdims=True)
    if not np.isfinite(norm).all():
        raise ValueError(
            f"The encoder gave NaN or infinity for {(~np.isfinite(norm)).sum()} of "
            f"{len(Z)} rows: look for NaN in the data and for a training that diverged."
        )
    return np.asarray(Z / np.where(norm > 0, norm, 1), dtype=np.float32, order="C")


def predict_excluding(classifier, X, gallery_groups, query_groups):
    """Name the gesture in each EMG window by the nearest poses of other groups.

    Parameters
    ----------
    classifier : ZeroShotClassifier
        Fitted.

    X : array-like of shape (n_windows, n_channels, n_times)
        EMG windows.

    gallery_groups : ndarray of shape (n_gallery,)
        Group of each pose, such as its recording.

    query_groups : ndarray of shape (n_windows,)
        Group of each window. The poses of this group have no vote on it: as many
        others as `n_neighbors` have, or all others where there are fewer.

    Returns
    -------
    y : ndarray of shape (n_windows,)
        Name that most of these poses carry.

    Raises
    ------
    ValueError
        If the gallery holds nothing but a window's own group.
    """
    groups, sizes = np.unique(gallery_groups, return_counts=True)
    n_own = int(sizes[np.isin(groups, query_groups)].max(initial=0))
    n_searched = classifier.n_neighbors + n_own
    Q, G = classifier._embed_emg(X), classifier.gallery_embeddings_
    names = classifier.classes_
    labels = np.searchsorted(names, classifier.gallery_labels_)
    winners = np.empty(len(Q), dtype=np.intp)
    for block in gen_batches(len(Q), max(1, _RANK_SIZE // n_searched)):
        similarity, index = _nearest(Q[block], G, n_searched, classifier.batch_size)
        foreign = gallery_groups[index] != query_groups[block, None]
        _check_not_alone(foreign, query_groups[block])
        foreign &= foreign.cumsum(axis=1) <= classifier.n_neighbors
        votes, total = _count_votes(labels[index], similarity, len(names), foreign)
        winners[block] = _shares(votes, total).argmax(axis=1)
    return names[winners]


def _check_not_alone(foreign, query_groups):
    """Raise if a query has no neighbour (n, k) of another group."""
    alone = query_groups[~foreign.any(axis=1)]
    if len(alone):
        raise ValueError(
            f"The gallery holds no pose outside the group {alone[0]} of a query: nothing "
            "is left to compare it with. Add poses of other recordings."
        )


def _count_votes(codes, similarity, n_classes, keep=True):
    """Count the votes of each class and add up their similarities.

    Parameters
    ----------
    codes, similarity : ndarray of shape (n, k)
        Class and cosine similarity of the neighbours.

    n_classes : int
        Number of classes.

    keep : bool or bool array of shape (n, k), default=True
        Which of the neighbours have a vote.

    Returns
    -------
    votes, total : ndarray of shape (n, n_classes)
        Number of neighbours in each class, and their summed similarity.
    """
    n = len(codes)
    keep = np.broadcast_to(keep, codes.shape)
    cell = (codes + n_classes * np.arange(n)[:, None])[keep]
    size = n * n_classes
    votes = np.bincount(cell, minlength=size).reshape(n, n_classes)
    total = np.bincount(cell, weights=similarity[keep], minlength=size)
    return votes, total.reshape(n, n_classes)


def _shares(votes, total):
    """Shares of votes (n, n_classes); the winner of a tie is nudged ahead."""
    share = votes / votes.sum(axis=1, keepdims=True)
    leading = votes == votes.max(axis=1, keepdims=True)
    winner = np.where(leading, total, -np.inf).argmax(axis=1)
    tied = np.flatnonzero(leading.sum(axis=1) > 1)
    cell = tied, winner[tied]
    share[cell] = np.nextafter(share[cell], 1.0)
    return share


def _nearest(Q, G, k, batch_size=None):
    """Find the k rows of G with the largest dot product with each row of Q.

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float32
        Queries of unit length.

    G : ndarray of shape (n_gallery, d), float32
        Gallery of unit length.

    k : int
        Number of neighbours; at most `n_gallery` are returned.

    batch_size : int, default=None
        Number of queries in a block.

    Returns
    -------
    similarity : ndarray of shape (n_queries, k), float64
        Largest first.

    index : ndarray of shape (n_queries, k)
        Rows of `G`, the lower one first where similarities are equal.
    """
    k = min(k, len(G))
    rows = batch_size or int(np.clip(_BLOCK_SIZE // len(G), 1, 4096))
    similarity = np.empty((len(Q), k))
    index = np.empty((len(Q), k), dtype=np.intp)
    for block in gen_batches(len(Q), rows):
        similarity[block], index[block] = _nearest_block(Q[block], G, k)
    return similarity, index


def _nearest_block(Q, G, k):
    """Shortlist in float32, then rank in float64; all of one block of queries."""
    rows, cols = _shortlist(Q @ G.T, k)
    exact = _paired_dots(Q, rows, G, cols)
    order = np.lexsort((cols, -exact, rows))
    start = np.searchsorted(rows[order], np.arange(len(Q)))
    best = order[start[:, None] + np.arange(k)]
    return exact[best], cols[best]


def _paired_dots(Q, rows, G, cols):
    """Dot products of Q[rows] with G[cols] in float64, a bounded chunk at a time.

    Every product is summed in the same order, so that equal rows tie exactly.
    """
    dots = np.empty(len(rows))
    for part in gen_batches(len(rows), max(1, _RANK_SIZE // Q.shape[1])):
        dots[part] = (Q[rows[part]].astype(np.float64) * G[cols[part]]).sum(axis=1)
    return dots


def _shortlist(S, k):
    """Pick, in each row, every column that may be among the k largest.

    Columns are looked at in groups: the k-th largest of the groups' maxima is no
    larger than the k-th largest column, so that only groups that reach it matter.

    Parameters
    ----------
    S : ndarray of shape (n_queries, n_gallery), float32
        Similarities, each right to within half of the margin.

    k : int
        Number of columns wanted.

    Returns
    -------
    rows, cols : ndarray of shape (n_pairs,)
        At least `k` pairs for each row.
    """
    n_gallery = S.shape[1]
    width = int(np.clip(n_gallery // (4 * k), 1, _GROUP))
    n_groups = n_gallery // width
    grouped = S[:, : n_groups * width].reshape(len(S), width, n_groups)
    top = grouped.max(axis=1)  # (n_queries, n_groups)
    floor = np.partition(top, n_groups - k, axis=1)[:, n_groups - k] - _MARGIN
    hit = top >= floor[:, None]
    crowded = hit.sum(axis=1) > _GROUP + 2 * k
    row, group = np.nonzero(hit & ~crowded[:, None])
    pair, slot = np.nonzero(grouped[row, :, group] >= floor[row, None])
    tail = n_groups * width
    tail_row, tail_col = np.nonzero((S[:, tail:] >= floor[:, None]) & ~crowded[:, None])
    crowd_row, crowd_col = _shortlist_crowded(
        S, np.flatnonzero(crowded), _GROUP + 2 * k
    )
    rows = np.concatenate([row[pair], tail_row, crowd_row])
    cols = np.concatenate([slot * n_groups + group[pair], tail_col + tail, crowd_col])
    return rows, cols


def _shortlist_crowded(S, rows, size):
    """Pick the `size` largest columns of rows that hold too many near-ties.

    This is what a collapsed encoder leads to; it bounds time and memory.
    """
    cols = np.argsort(-S[rows], axis=1, kind="stable")[:, :size]
    return np.repeat(rows, cols.shape[1]), cols.ravel()
