"""What an estimator needs to be an encoder of :class:`CPEP`."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Protocol, Self, TypeAlias

from numpy.typing import ArrayLike
from torch import nn

from .._typing import Float32Array, WindowsLike
from ..nn import NetworkEncoder, WindowEncoder

# Makes a new encoder without being given anything; can be pickled.
Recipe: TypeAlias = Callable[[], WindowEncoder]


class WindowEstimator(Protocol):
    """An estimator that CPEP can align: of the package, or of one's own.

    Two more members are used where they are there:

    * ``encoder_``, the part of `module_` that embeds windows, as a
      :class:`~sk_cpep.nn.WindowEncoder`. Without it, `module_` itself does.
    * ``encoder_recipe(n_channels, n_times)``, which returns a function without
      arguments that makes such an encoder anew; it can be pickled, such as
      ``functools.partial(MyNet, n_channels, width=self.width)``. Without it, the fitted
      encoder is copied: it cannot start from random weights
      (``emg_init="random"``), and pickles hold the module beside its weights.

    If `fit` has a parameter `augment`, it is given the
    :class:`~sk_cpep.nn.Augmentation` of CPEP's own parameters; if it has
    `validation_groups`, what :meth:`CPEP.fit` was given.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted network.
    """

    module_: nn.Module

    def fit(self, X: WindowsLike, y: ArrayLike | None = None) -> Self:
        """Train on windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            Windows of the modality that is embedded.

        y : array-like of shape (n_windows, n_joints, n_pose_times), default=None
            Those of the other modality, one a row of `X`.
        """
        ...

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times)
            Windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            Embeddings.
        """
        ...


class EncoderMixin:
    """What the estimators of the package have besides; their networks' part `encoder`.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted network.
    """

    module_: Any

    @property
    def encoder_(self) -> Any:
        """The part of `module_` that embeds windows, a WindowEncoder."""
        return self.module_.encoder

    def encoder_recipe(self, n_channels: int, n_times: int) -> Recipe:
        """How an encoder of windows is made: as fitted, or with the present parameters.

        Parameters
        ----------
        n_channels, n_times : int
            Sizes of the windows.

        Returns
        -------
        recipe : callable
            Makes a new encoder, a :class:`~sk_cpep.nn.WindowEncoder`, when it is called
            without arguments. It can be pickled.

        Raises
        ------
        ValueError
            If none can be made for such windows.
        """
        if hasattr(self, "module_"):
            return self._fitted_recipe()
        return self._new_recipe(n_channels, n_times)

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        raise NotImplementedError

    def _fitted_recipe(self) -> Recipe:
        raise NotImplementedError


def encoder_of(estimator: Any, n_channels: int, n_times: int) -> WindowEncoder:
    """The fitted part of an estimator that embeds windows, a WindowEncoder."""
    if hasattr(estimator, "encoder_"):
        encoder: WindowEncoder = estimator.encoder_
        return encoder
    network = deepcopy(estimator.module_).cpu()
    if hasattr(network, "d_model"):
        return NetworkEncoder(network, network.d_model)
    return NetworkEncoder.of(network, n_channels, n_times)


def recipe_of(estimator: Any, n_channels: int, n_times: int) -> Recipe | None:
    """How an encoder of an estimator is made anew; None if nobody says it."""
    if hasattr(estimator, "encoder_recipe"):
        recipe: Recipe = estimator.encoder_recipe(n_channels, n_times)
        return recipe
    return None


def needed_recipe_of(estimator: Any, n_channels: int, n_times: int) -> Recipe:
    """The same where there has to be one: a ValueError if nobody says it."""
    recipe = recipe_of(estimator, n_channels, n_times)
    if recipe is None:
        raise ValueError(
            f"{type(estimator).__name__} has no encoder_recipe, and cannot start from "
            "random weights: see sk_cpep.encoders.WindowEstimator."
        )
    return recipe


def copy_of(encoder: WindowEncoder) -> Recipe:
    """A recipe for an encoder that nobody says how to make: its copy."""
    return partial(deepcopy, encoder)


def check_importable(name: str, value: object) -> None:
    """Refuse a class or a function that a pickle could not find again.

    Parameters
    ----------
    name : str
        Of the parameter.

    value : object

    Raises
    ------
    TypeError
        Before anything is trained.
    """
    try:
        pickle.dumps(value)
    except Exception as error:  # which depends on what it is
        shown = getattr(value, "__qualname__", repr(value))
        raise TypeError(
            f"{name} is {shown}, which cannot be imported: pickles, searches in several "
            "processes and run_dir find a class or a function by its name. Define it "
            f"with class or def at the top of a module. ({error})"
        ) from error
