"""How many windows a transformer computes at once on a CPU, to the same bits each."""


def blocks_of(config, *n_patches):
    """Fewest and most windows of a block.

    A window's result is the same in every block: of a single window, and in products
    of fewer than 4 rows, sums are taken in another order; and where the matrices of
    windows do not all begin at a multiple of 16 bytes, it would depend on the place.

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
    aligned = all(_is_aligned(config, 1 + n) for n in n_patches)
    return {"fewest": 4 if min(n_patches) < 2 else 2, "most": 64 if aligned else 1}


def _is_aligned(config, n_tokens):
    """Whether queries, keys and weights of a window are multiples of 4 numbers."""
    sizes = 3 * n_tokens * config.d_model, config.n_heads * n_tokens**2
    return all(size % 4 == 0 for size in sizes)
