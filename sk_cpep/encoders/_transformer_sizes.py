"""Sizes of the transformer that encodes patches."""

from numbers import Integral
from typing import Annotated, Any

from sklearn.utils._param_validation import Interval

from ._parameters import DeclaredParameters, Positive, Probability, Size


class TransformerSizes(DeclaredParameters):
    """Base of the estimators whose encoder is a transformer of patches.

    Parameters
    ----------
    d_model : int
        Width of the embedding; even, a multiple of `n_heads`.

    n_layers : int
        Transformer blocks of the encoder.

    n_heads : int
        Attention heads (not given in the paper).

    mlp_ratio : float
        Width of the blocks' hidden layer over `d_model` (not given in the paper).

    dropout : float
        Dropout of attention weights and of both branches of a block.
    """

    d_model: Annotated[int, Interval(Integral, 2, None, closed="left")] = 256
    n_layers: Size = 4
    n_heads: Size = 8
    mlp_ratio: Positive = 4.0
    dropout: Probability = 0.0

    def _transformer_sizes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in TransformerSizes._own_parameters}
