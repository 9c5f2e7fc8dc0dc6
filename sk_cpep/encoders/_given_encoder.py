"""An encoder as an estimator was given it: what is trained of it, and from where."""

from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from torch import nn

from .._content_digest import describe_content
from .._typing import AnyArray
from ..nn import Augmentation
from ..training import new_module
from ._encoder_protocol import (
    Recipe,
    copy_of,
    encoder_of,
    needed_recipe_of,
    recipe_of,
)
from ._persistence import load_weights, weights_digest, weights_of
from ._windows import Windows, read_windows


class GivenEncoder:
    """An encoder that is a parameter of an estimator.

    Parameters
    ----------
    name : {"emg_encoder", "pose_encoder", "encoder"}
        Of the parameter.

    encoder : WindowEstimator, or FrozenEstimator of a fitted one
        One that is not frozen is cloned.

    init : {"pretrained", "random"}
        Whether it is trained, or starts from random weights.

    defaults : dict
        Parameters of the clone, where they are None.

    Attributes
    ----------
    estimator : WindowEstimator
        The fitted one that is frozen, or the clone.

    needs_fit : bool
        Whether it has still to be pre-trained.

    recipe : callable or None
        Makes a new encoder; None until it is fitted, if nobody says how.
    """

    def __init__(
        self, name: str, encoder: Any, init: str, defaults: dict[str, Any]
    ) -> None:
        self.name = name
        self.init = init
        self.recipe: Recipe | None = None
        frozen = isinstance(encoder, FrozenEstimator)
        self.needs_fit = init == "pretrained" and not frozen
        self.estimator = encoder.estimator if frozen else clone(encoder)
        if frozen:
            check_is_fitted(self.estimator)
            self._check_network()
            return
        given = self.estimator.get_params(deep=False)
        missing = {k: v for k, v in defaults.items() if given.get(k, k) is None}
        self.estimator.set_params(**missing)

    def _check_network(self) -> None:
        """Refuse a fitted estimator without a network."""
        if not isinstance(getattr(self.estimator, "module_", None), nn.Module):
            raise TypeError(
                f"{self.name} must be an estimator whose fit leaves a network in "
                "`module_`, such as an MAE or a ModuleEncoder, or a FrozenEstimator of "
                f"a fitted one, got {type(self.estimator).__name__}."
            )

    def settle(self, windows: Windows) -> None:
        """Find out how the encoder is made, before any training.

        Raises
        ------
        TypeError, ValueError
            If its parameters are wrong, or do not fit the windows.
        """
        self.sizes = windows.shape[1:]
        estimator = self.estimator
        try:
            if not hasattr(estimator, "module_"):
                if hasattr(estimator, "_parameter_constraints"):
                    estimator._validate_params()
            elif hasattr(estimator, "n_times_in_"):
                read_windows(estimator, windows, reset=False)
            is_needed = self.init == "random"
            find_recipe = needed_recipe_of if is_needed else recipe_of
            self.recipe = find_recipe(estimator, *self.sizes)
            if self.recipe is not None:
                new_module(self.recipe)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}: {error}") from error

    def fit(
        self,
        windows: Windows,
        partners: Windows,
        augment: Augmentation,
        validation_groups: AnyArray | None,
    ) -> None:
        """Pre-train on windows; `partners` are those of the other modality."""
        offered = {"augment": augment, "validation_groups": validation_groups}
        taken = {
            name: value
            for name, value in offered.items()
            if has_fit_parameter(self.estimator, name)
        }
        self.estimator.fit(windows, partners, **taken)
        self._check_network()

    def settle_copy(self) -> Recipe:
        """How the encoder is made; by now at the latest."""
        if self.recipe is None:
            self.recipe = copy_of(encoder_of(self.estimator, *self.sizes))
        return self.recipe

    def start(self, encoder: nn.Module) -> None:
        """Give a new encoder the weights to start from, unless they are random."""
        if self.init == "pretrained":
            fitted: Any = encoder_of(self.estimator, *self.sizes)
            load_weights(encoder, weights_of(fitted))

    def starting_facts(self, encoder: nn.Module) -> dict[str, Any]:
        """What training begins with, for its identity; of an encoder that was started."""
        facts = {
            f"{self.name}_weights": weights_digest(encoder),
            f"{self.name}_recipe": describe_content(self.recipe),
        }
        if self.init == "pretrained" and hasattr(self.estimator, "fit_identity_"):
            facts[f"{self.name}_identity"] = self.estimator.fit_identity_.facts
        return facts
