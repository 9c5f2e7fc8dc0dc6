"""A network of one's own as an estimator."""

from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Annotated, Any, NoReturn

from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._typing import Float32Array, WindowsLike
from ..nn import NetworkEncoder, make_encoder
from ..training import existing_device, map_batches
from ._encoder_protocol import Recipe, check_importable
from ._parameters import Pooling
from ._prefixed_parameters import PrefixedParameters
from ._self_supervised import SelfSupervised
from ._windows import read_windows


class ModuleEncoder(PrefixedParameters, SelfSupervised):
    """Any network as an encoder of windows, for :class:`CPEP` or on its own.

    The network is a class of a :class:`torch.nn.Module`, made in :meth:`fit` as
    ``module(n_channels=..., n_times=..., **parameters)`` with the sizes of the windows
    and all parameters that begin with ``module__``. Its ``forward(x)``, or ``forward(x,
    pooling)``, embeds windows (n_windows, n_channels, n_times) as a tensor of shape
    (n_windows, d_model), whose width is found by embedding two windows of zeros.

    Parameters
    ----------
    module : class of a torch.nn.Module
        The network. It has to be importable: defined at the top of a module.

    objective : class or callable
        What the network is pre-trained to do, by the training engine of the package:
        ``objective(network, **parameters)``, with all parameters that begin with
        ``objective__``, is a module whose output is the loss of a batch of windows,
        best an :class:`~sk_cpep.training.Objective`. None does not pre-train: the
        network has the weights that it begins with, for :class:`CPEP` to train.

    pooling : {"cls", "mean"}
        Given to the network in :meth:`transform`, if its ``forward`` takes it.

    **module__*, **objective__*
        Parameters of the network and of the objective.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network.

    d_model_ : int
        Width of its embedding.

    n_channels_in_, n_times_in_ : int
        Shape of the windows seen in :meth:`fit`.

    See Also
    --------
    MAE : Whose tokenizer can be a class of one's own, too.
    CPEP : Aligns the embedding with poses.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from sk_cpep import ModuleEncoder
    >>> class Mean(nn.Module):  # in a module of its own, to be found by pickles
    ...     def __init__(self, n_channels, n_times, width):
    ...         super().__init__()
    ...         self.layer = nn.Linear(n_channels, width)
    ...     def forward(self, x):
    ...         return self.layer(x.mean(dim=2))
    >>> encoder = ModuleEncoder(Mean, module__width=32, random_state=0)
    >>> encoder.get_params()["module__width"]
    32
    """

    module: Annotated[Callable[..., nn.Module] | None, callable] = field(
        default=None, kw_only=False
    )
    objective: Annotated[Callable[..., nn.Module] | None, callable, None] = None
    pooling: Pooling = "cls"

    module_: nn.Module = field(init=False)
    d_model_: int = field(init=False)

    @property
    def encoder_(self) -> NetworkEncoder:
        """The network as the alignment calls it."""
        return NetworkEncoder(self.module_, self.d_model_)

    def _fitted_recipe(self) -> Recipe:
        return self._recipe

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        arguments = self.parameters_of("module__")
        network: Any = self.module
        recipe = partial(make_encoder, network, n_channels, n_times, **arguments)
        check_importable("module", self.module)
        check_importable("objective", self.objective)
        check_importable("A parameter module__*", recipe)
        return recipe

    def _settle(self) -> None:
        self._recipe = self._new_recipe(self.n_channels_in_, self.n_times_in_)

    def _build_module(self) -> nn.Module:
        encoder: Any = self._recipe()
        self.d_model_ = encoder.d_model
        network: nn.Module = encoder.network
        return network

    def _make_objective(self, module: nn.Module) -> nn.Module | None:
        if self.objective is None:
            return None
        objective = self.objective(module, **self.parameters_of("objective__"))
        if not isinstance(objective, nn.Module):
            raise TypeError(
                "objective must make a torch.nn.Module whose output is the loss of a "
                f"batch, got {type(objective).__name__}."
            )
        return objective

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            What the network makes of them.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        encoder = self.encoder_
        return map_batches(
            lambda x: encoder(x, self.pooling),
            X,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=encoder,
            fewest=4,  # fewer rows of a product are summed in another order
        )

    @property
    def score(self) -> NoReturn:
        """Nothing: what it is worth is said by what is made of it."""
        raise AttributeError("ModuleEncoder has no score of its own.")

    @property
    def _n_features_out(self) -> int:
        return self.d_model_
