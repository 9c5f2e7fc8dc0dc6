"""How many windows a transformer computes at once, so that each has the same bits."""

from ..nn import Encoder, MAEConfig, WindowEncoder

# Operations for a window from which on computing several at a time gains nothing.
_MANY = 2e8


def blocks_of(config: MAEConfig, *n_patches: int) -> dict[str, int]:
    """Fewest and most windows of a block.

    A large network computes windows one by one, so that a window's result is the same
    to the bit whatever else is computed. A small one gains by several at a time. The rows
    of a product are added up in the same order if there are at least 4 rows and 2
    windows, unless the matrices of windows do not all begin at a multiple of 16 bytes.

    Parameters
    ----------
    config : MAEConfig

    *n_patches : int
        How many patches of a window go through the transformer, besides ``[CLS]``.

    Returns
    -------
    blocks : dict
        `fewest` and `most`, as of :func:`~sk_cpep.training.map_batches`.
    """
    if 24 * config.n_layers * max(n_patches) * config.d_model**2 >= _MANY:
        return {"fewest": 1, "most": 1}
    aligned = all(_is_aligned(config, 1 + n) for n in n_patches)
    return {"fewest": 4 if min(n_patches) < 2 else 2, "most": 64 if aligned else 1}


def blocks_of_encoder(encoder: WindowEncoder) -> dict[str, int]:
    """Fewest and most windows of a block, for an encoder of any kind."""
    if isinstance(encoder, Encoder) and isinstance(encoder.config.tokenizer, str):
        return blocks_of(encoder.config, encoder.config.n_tokens)
    return {"fewest": 4}  # fewer rows of a product are summed in another order


def _is_aligned(config: MAEConfig, n_tokens: int) -> bool:
    """Whether queries, keys and weights of a window are multiples of 4 numbers."""
    sizes = 3 * n_tokens * config.d_model, config.n_heads * n_tokens**2
    return all(size % 4 == 0 for size in sizes)
