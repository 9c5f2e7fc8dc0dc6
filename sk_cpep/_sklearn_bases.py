"""scikit-learn's base classes, as type checkers are to see them.

scikit-learn has no types: a class of which a base is unknown may have any attribute, and
be made with any argument, for all that a type checker knows. What is said here of the
bases is what users of an estimator call.
"""

from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._typing import AnyArray, WindowsLike

    class BaseEstimator:
        """An estimator with parameters."""

        n_features_in_: int

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Parameters by name."""
            ...

        def set_params(self, **params: Any) -> Self:
            """Change parameters."""
            ...

        def get_metadata_routing(self) -> Any:
            """Which metadata the methods ask for."""
            ...

        def _validate_params(self) -> None: ...
        def __sklearn_tags__(self) -> Any: ...

    class TransformerMixin:
        """An estimator that transforms."""

        def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
            """Fit, and transform what it was fitted to."""
            ...

        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self:
            """Choose the container of what `transform` returns."""
            ...

    class OneToOneFeatureMixin:
        """A transformer that returns the features that it is given."""

        def get_feature_names_out(
            self, input_features: ArrayLike | None = None
        ) -> AnyArray:
            """Names of the features that `transform` returns."""
            ...

    class ClassNamePrefixFeaturesOutMixin:
        """A transformer whose features are numbered."""

        def get_feature_names_out(
            self, input_features: ArrayLike | None = None
        ) -> AnyArray:
            """Names of the features that `transform` returns."""
            ...

    class RegressorMixin:
        """A regressor."""

        def score(
            self, X: WindowsLike, y: Any, sample_weight: ArrayLike | None = None
        ) -> float:
            """Coefficient of determination."""
            ...

    class ClassifierMixin:
        """A classifier."""

        def score(
            self, X: WindowsLike, y: Any, sample_weight: ArrayLike | None = None
        ) -> float:
            """Accuracy."""
            ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        RegressorMixin,
        TransformerMixin,
    )

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "ClassifierMixin",
    "OneToOneFeatureMixin",
    "RegressorMixin",
    "TransformerMixin",
]
