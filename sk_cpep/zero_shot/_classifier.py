"""The classifier: a gallery of named poses that windows are compared with."""

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_scalar
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import (
    _check_feature_names,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .._all_or_nothing import all_or_nothing
from .._ids import refuse_several_kinds
from .._param_validation import validate_fit
from .._sklearn_bases import BaseEstimator, ClassifierMixin
from .._typing import (
    AnyArray,
    BoolArray,
    Float32Array,
    Float64Array,
    IntArray,
    WindowsLike,
)
from ..training import existing_device, resolve_device
from ._encoder import fitted_pose_encoder, normalise
from ._encoder_state import check_encoder_unchanged, weight_checksums
from ._gallery import slices
from ._nearest import NearestRows
from ._penalised import PenalisedRows
from ._votes import count_votes, shares

# Neighbours, or shares of votes, that are held at once.
_VOTES = 2**20
# Groups of the queries and of the poses.
Groups = tuple[IntArray, IntArray]


class ZeroShotClassifier(ClassifierMixin, BaseEstimator):
    """Name the gesture in an EMG window by the poses that lie nearest to it.

    The gallery is made of hand poses and their names; no EMG label is ever
    seen. A query, an EMG window, is embedded by the EMG half of the encoder
    and takes the name that most of its `n_neighbors` most cosine-similar poses
    carry [1]_. A new gesture is added by giving poses of it to
    :meth:`partial_fit`, and nothing else.

    Of the encoder nothing is asked but that ``transform`` embeds windows and
    ``transform_pose`` embeds poses into one space: the windows may as well be those of
    an IMU. Encoders that were aligned to one frozen pose encoder have one gallery in
    common; see :meth:`share_gallery`.

    Parameters
    ----------
    encoder : fitted encoder
        A fitted :class:`~sk_cpep.CPEP`, a fitted
        :class:`~sklearn.pipeline.Pipeline` that ends in one, or a
        :class:`~sklearn.frozen.FrozenEstimator` around either; any other object with
        ``transform(X)`` and ``transform_pose(P)`` will do as well. It is used as it
        is, never cloned nor fitted again. Windows go through ``transform`` of the
        whole encoder; poses go through ``transform_pose`` of its last step, so
        that no preprocessing of the windows touches them. Wrap it in `FrozenEstimator`
        where scikit-learn clones the classifier, as `cross_val_score` does.

    n_neighbors : int, default=10
        Number of poses that vote. A gallery smaller than this votes as a whole.

    seen : array-like of shape (n_seen,), default=None
        Names of the gestures that the encoder was trained on, of which the gallery
        need not have all. Only `seen_penalty` makes use of it.

    seen_penalty : float, default=0.0
        What is taken off the cosine similarity of the poses of `seen` gestures before
        the nearest are chosen: calibrated stacking [2]_. With seen and new gestures in
        one gallery the seen ones draw the new ones, for the encoder has learned to put
        EMG where they are; see Notes.

    batch_size : int, default=None
        Number of queries compared with the gallery at once, at most. By default as
        many as suit the device. It changes speed and memory, not results. (The
        encoder has a batch size of its own.)

    device : str or torch.device, default="auto"
        Where queries and gallery are compared. ``"auto"`` is the first GPU, else the
        CPU. On a machine without it a fitted classifier uses the CPU, with a
        warning. (The encoder has a device of its own.)

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

    *The encoder.* It must embed poses as it did when the gallery was made. An encoder
    that was fitted again, exchanged, or whose weights were changed since then is
    refused, with a ValueError, until :meth:`fit` is called again. If only its
    ``transform`` was changed, as by training its head further, the gallery is kept, and
    a warning says so once. (A few values of each array are compared in every call, and
    all of them where PyTorch counts a change: single weights that are set by
    ``weight.data`` or by numpy may go unnoticed.)

    *New gestures.* A gesture with fewer than ``n_neighbors // 2 + 1`` poses can
    be outvoted by others whatever the query: give more poses or lower
    `n_neighbors`, which may be set on the fitted object.

    *New gestures among seen ones.* Without a penalty nearly all windows of new gestures
    are named after seen ones. A penalty trades the recall of seen gestures for that of
    new ones, and cannot raise both. It has the scale of differences between
    similarities, a tenth or so. On 15 people of Ninapro DB1, 0.08 took the recall of 8
    seen gestures from 0.41 to 0.29 and that of 4 new ones from 0.09 to 0.24, where chance
    is 0.08 (``python -m sk_cpep demo --data FOLDER``). Choose it on people who are not
    tested on, with gestures left out of pre-training for it:
    :func:`~sk_cpep.evaluation.tune_seen_penalty`. It changes nothing where all
    gestures of the gallery are seen, or none. It may be set on the fitted object.

    *Neighbours.* They are exact: found by products in float32 with a margin for their
    rounding, whatever precision torch was told to use, and ranked by products in
    float64. Equally similar poses come in the order of the gallery.

    *Size.* Beside the gallery and the embeddings of the queries, looking up takes at
    most 256 MiB, and 200 bytes for each pose in the gallery, however many queries
    there are; a GPU holds a copy of the gallery. Queries whose best poses are hundreds
    of near-copies, as an encoder that has collapsed gives, take longer, but no more
    memory.

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture
       Generalization on EMG Signals", 2025.
    .. [2] W.-L. Chao, S. Changpinyo, B. Gong and F. Sha, "An empirical study and
       analysis of generalized zero-shot learning for object recognition in the wild",
       ECCV 2016; there off the score of a class, here off the similarity of a pose.

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

    _parameter_constraints: dict[str, Any] = {
        "encoder": "no_validation",
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "seen": ["array-like", None],
        "seen_penalty": [Interval(Real, None, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, torch.device],
    }

    # Of pickles that were made before there were these parameters.
    seen: ArrayLike | None = None
    seen_penalty: float = 0.0

    gallery_embeddings_: Float32Array
    gallery_labels_: AnyArray
    classes_: AnyArray

    def __init__(
        self,
        encoder: Any,  # whose last step is an AlignedEncoder
        n_neighbors: int = 10,
        *,
        seen: ArrayLike | None = None,
        seen_penalty: float = 0.0,
        batch_size: int | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.encoder = encoder
        self.n_neighbors = n_neighbors
        self.seen = seen
        self.seen_penalty = seen_penalty
        self.batch_size = batch_size
        self.device = device

    @all_or_nothing
    @validate_fit
    def fit(self, P: WindowsLike, y: ArrayLike) -> Self:
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
        resolve_device(self.device)
        self.gallery_embeddings_, self.gallery_labels_ = self._embed_poses(
            P, y, reset=True
        )
        self.classes_ = np.unique(self.gallery_labels_)
        self._penalised()
        return self

    @all_or_nothing
    @validate_fit
    def partial_fit(
        self, P: WindowsLike, y: ArrayLike, classes: ArrayLike | None = None
    ) -> Self:
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
        resolve_device(self.device)
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

    @all_or_nothing
    @validate_fit
    def share_gallery(self, classifier: "ZeroShotClassifier") -> Self:
        """Take over the gallery of another classifier, without embedding its poses.

        It is what :meth:`fit` with the same poses and names gives, for two encoders
        that were aligned to the same frozen pose encoder, such as one of EMG and one of
        an IMU. The embeddings are not copied. Poses that either classifier gets
        afterwards, by :meth:`partial_fit`, are its own.

        Parameters
        ----------
        classifier : ZeroShotClassifier
            The fitted classifier whose gallery to take.

        Returns
        -------
        self : object
            Fitted classifier.

        Raises
        ------
        ValueError
            If the present encoder embeds poses otherwise than those in the gallery
            were embedded. Of a class other than :class:`~sk_cpep.CPEP` all that
            the encoder has learned must be equal.
        """
        check_is_fitted(classifier)
        resolve_device(self.device)
        fitted_pose_encoder(self.encoder)
        expected = getattr(classifier, "_weight_checksums", None)
        expected = expected or weight_checksums(classifier.encoder)
        self._weight_checksums = weight_checksums(self.encoder)
        if self._weight_checksums["pose"] != expected["pose"]:
            raise ValueError(
                "The encoder of this classifier embeds poses otherwise than those in "
                "the gallery to share were embedded. Both encoders must be aligned to "
                "the same frozen pose encoder; if they are not, call fit with the poses."
            )
        self.__dict__.pop("feature_names_in_", None)
        fitted = vars(classifier).items()
        self.__dict__.update({name: x for name, x in fitted if name.endswith("_")})
        return self

    def predict(self, X: WindowsLike) -> AnyArray:
        """Name the gesture in each window.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            Windows of EMG, or whatever else the encoder's ``transform`` takes:
            2-D arrays, lazy arrays, recordings where it cuts them itself.

        Returns
        -------
        y : ndarray of shape (n_windows,)
            Name that most of the nearest poses carry; see Notes about ties.
        """
        return self._winners(self._embed_queries(X))

    def predict_proba(self, X: WindowsLike) -> Float64Array:
        """Share of the votes that each gesture gets.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            Windows, as in :meth:`predict`.

        Returns
        -------
        proba : ndarray of shape (n_windows, n_classes)
            Share of the nearest poses that carry each name in `classes_`. The
            winner of a tie is one floating-point step (about 1e-16) ahead.
        """
        Z = self._embed_queries(X)
        proba = np.empty((len(Z), len(self.classes_)))
        for part, share in self._vote(Z):
            proba[part] = share
        return proba

    def kneighbors(
        self,
        X: WindowsLike,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> tuple[Float64Array, IntArray] | IntArray:
        """Find the poses that lie nearest to each window.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            Windows, as in :meth:`predict`.

        n_neighbors : int, default=None
            Number of poses to find, by default the one of the constructor. At
            most the whole gallery is returned.

        return_distance : bool, default=True
            Whether to return the distances as well.

        Returns
        -------
        distance : ndarray of shape (n_windows, n_neighbors)
            Cosine distances (1 - cosine similarity), nearest first; with a
            `seen_penalty`, in the order of the penalised similarities. Only if
            `return_distance`.

        index : ndarray of shape (n_windows, n_neighbors)
            Positions in the gallery, that is rows of the poses given to
            :meth:`fit` and :meth:`partial_fit`; the lower one first where poses
            are equally near.
        """
        if n_neighbors is None:
            n_neighbors = self.n_neighbors
        check_scalar(n_neighbors, "n_neighbors", Integral, min_val=1)
        similarity, index = self._rows(n_neighbors).search(self._embed_queries(X))
        if return_distance:
            penalised = self._penalised()
            if penalised.any():
                similarity = similarity + self.seen_penalty * penalised[index]
            return np.clip(1.0 - similarity, 0.0, 2.0), index
        return index

    def _embed_poses(
        self, P: Any, y: Any, reset: bool
    ) -> tuple[Float32Array, AnyArray]:
        """Unit embeddings (n, d) and labels (n,) of poses, all checked."""
        encoder = fitted_pose_encoder(self.encoder)
        if not reset:
            check_encoder_unchanged(self)
        if isinstance(y, (list, tuple)) and any(np.ndim(label) for label in y[:1]):
            raise ValueError(
                "y must hold one label per window, but its first entry is an array. "
                "make_windows(P, y, size=...) turns labels per sample into labels per "
                "window."
            )
        refuse_several_kinds(y, "y")
        if isinstance(P, np.ndarray) or not _is_windows(P):
            P, y = validate_data(self, P, y, reset=reset, allow_nd=True)
        else:
            validate_data(self, P, reset=reset, skip_check_array=True)
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        Z = normalise(encoder.transform_pose(P))
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
        if reset:
            self._weight_checksums = weight_checksums(self.encoder)
        return Z, y

    def _embed_queries(self, X: WindowsLike) -> Float32Array:
        """Unit embeddings (n, d) of windows."""
        check_is_fitted(self)
        fitted_pose_encoder(self.encoder)
        check_encoder_unchanged(self)
        if not _is_windows(X):
            if not hasattr(self.encoder, "n_features_in_"):
                _check_feature_names(self, X, reset=False)
            X = check_array(X, estimator=self, input_name="X")
        Z = normalise(self.encoder.transform(X))
        n_dims = self.gallery_embeddings_.shape[1]
        if Z.shape[1] != n_dims:
            raise ValueError(
                f"X has {Z.shape[1]} features, but {type(self).__name__} is expecting "
                f"{n_dims} features as input: the embeddings of the windows and those "
                "of the poses in the gallery must have as many dimensions. Check the "
                "shape of X and that the encoder is the one fit was called with."
            )
        return Z

    def _winners(self, Z: Float32Array, groups: Groups | None = None) -> AnyArray:
        """Names that win the votes on queries; arguments as of `_vote`."""
        winner = np.empty(len(Z), dtype=np.intp)
        for part, share in self._vote(Z, groups):
            winner[part] = share.argmax(axis=1)
        return self.classes_[winner]

    def _vote(
        self, Z: Float32Array, groups: Groups | None = None
    ) -> Iterator[tuple[slice, Float64Array]]:
        """Yield parts of the queries and shares of the votes, (n_part, n_classes).

        Parameters
        ----------
        Z : ndarray of shape (n_windows, n_embedding), float32
        groups : tuple of ndarrays of shapes (n_windows,) and (n_gallery,), default=None
            Groups of queries and poses, integers. A pose has no vote on a query of its
            own group.
        """
        own, of_poses = groups or (None, None)
        rows, n_classes = self._rows(self.n_neighbors, of_poses), len(self.classes_)
        labels = np.searchsorted(self.classes_, self.gallery_labels_)
        for part in slices(len(Z), max(1, _VOTES // max(rows.k, n_classes))):
            similarity, index = rows.search(Z[part], None if own is None else own[part])
            votes = count_votes(labels[index], similarity, n_classes, index >= 0)
            yield part, shares(*votes)

    def _rows(
        self, n_neighbors: int, groups: IntArray | None = None
    ) -> NearestRows | PenalisedRows:
        """The search in the gallery."""
        G = self.gallery_embeddings_
        k = min(n_neighbors, len(G))
        how: dict[str, Any] = {
            "batch_size": self.batch_size,
            "device": existing_device(self.device),
            "groups": groups,
        }
        penalised = self._penalised()
        if not penalised.any():
            return NearestRows(G, k, **how)
        return PenalisedRows(G, k, penalised, self.seen_penalty, **how)

    def _penalised(self) -> BoolArray:
        """Which poses of the gallery the penalty is taken off: (n_gallery,)."""
        if self.seen_penalty == 0:
            return np.zeros(len(self.gallery_labels_), bool)
        return np.isin(self.gallery_labels_, self._read_seen(self.gallery_labels_))

    def _read_seen(self, labels: AnyArray) -> AnyArray:
        """Names of seen gestures, comparable with those of the gallery."""
        if self.seen is None:
            raise ValueError(
                f"seen_penalty={self.seen_penalty:g} is taken off the gestures that the "
                "encoder was trained on: name them as `seen`."
            )
        refuse_several_kinds(self.seen, "seen")
        seen = column_or_1d(self.seen)
        if len(seen):
            unique_labels(labels, seen)
        return seen

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _union(labels: ArrayLike, more: ArrayLike) -> AnyArray:
    """Labels of both arrays, of which 1 and '1' are refused as a mixture."""
    refuse_several_kinds(more, "classes")
    more = column_or_1d(more)
    unique_labels(labels, more)
    return np.unique(np.concatenate([labels, more]))


def _is_windows(X: Any) -> bool:
    """Tell 3-D arrays, lazy or not, and lists of recordings from 2-D data."""
    if hasattr(X, "shape"):
        return len(X.shape) > 2
    return isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(X[0]) > 1
