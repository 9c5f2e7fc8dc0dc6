"""The masked autoencoder of one modality as an estimator."""

from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._typing import BoolArray, Float32Array, WindowsLike
from ..nn import (
    Encoder,
    MAEConfig,
    MaskedAutoencoder,
    patchify,
    random_mask,
    unpatchify,
)
from ..training import (
    Reconstruction,
    existing_device,
    fetch_rows,
    map_batches,
    own_state,
)
from ._blocks import blocks_of
from ._encoder_protocol import Recipe, check_importable
from ._parameters import Fraction, Pooling, Size
from ._scores import mean_over_windows
from ._self_supervised import SelfSupervised
from ._transformer_sizes import TransformerSizes
from ._windows import Windows, read_windows

_SCORE_SEED = 0
# Windows that the variance of the target is taken of, at most.
_N_FOR_VARIANCE = 1024


class MAE(TransformerSizes, SelfSupervised):
    """Masked autoencoder of EMG or pose windows.

    Windows are cut into ``K = floor(n_times / patch_length)`` patches, channels
    flattened within each; ``round(K * mask_ratio)`` of them are hidden at random, a
    transformer encodes the others, and a smaller one rebuilds the hidden ones. The
    loss is the mean squared error over the hidden patches. Afterwards all patches
    go in, and the encoder's ``[CLS]`` token is the embedding of a window.

    Parameters
    ----------
    patch_length : int
        Samples per patch. Samples left over at the end of a window are not used.
        The paper takes 50 for EMG and 200 for pose, of 4000.

    mask_ratio : float
        Share of the patches that is hidden.

    n_decoder_layers : int
        Transformer blocks of the decoder.

    pooling : {"cls", "mean"}
        The embedding: the ``[CLS]`` token, or the mean of the others.

    tokenizer : {"patches", "conv", "log_power"} or class of a torch.nn.Module
        What makes a token of each patch: one linear layer, as in the paper; two strided
        convolutions (:class:`~sk_cpep.nn.ConvTokenizer`); one linear layer of the
        logarithm of each channel's power (:class:`~sk_cpep.nn.LogPowerTokenizer`), for
        raw EMG; or a class of your own, made
        with `n_channels`, `n_times`, `patch_length` and `d_model`, that takes patches
        (n_windows, n_patches, n_channels * patch_length) to tokens (n_windows,
        n_patches, d_model). With a method ``split(windows)`` it gets what that makes of
        windows, as many pieces (n_windows, n_patches, n_values), instead of patches.

    target : {"raw", "normalized", "log_power"} or callable
        What is rebuilt of a hidden patch:

        - "raw": its samples, as in the paper. For poses, and for envelopes, which are
          curves that can be rebuilt;
        - "normalized": its samples with mean 0 and variance 1 over the patch, so that
          faint patches count as much as strong ones;
        - "log_power": the logarithm of the power of each channel
          (:func:`~sk_cpep.nn.log_power`). For raw EMG, a noise whose waveform cannot be
          known, while how strong it is can. Take it as the `tokenizer` too;
        - a function: what it makes of patches (n_windows, n_patches, n_channels,
          patch_length), a tensor of shape (n_windows, n_patches, n_values).

        ``train_explained`` of `history_` tells whether a target is being learned.

    n_bands : int
        With "log_power", in how many equally wide bands of frequencies the power is
        taken.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.MaskedAutoencoder`).

    history_ : list of dict
        For each epoch `epoch`, `train_loss`, `valid_loss` (with `early_stopping`),
        `lr` and `seconds`; further `train_explained` (and `valid_explained`), the share
        of the variance of the target that is explained: 1 less the loss over
        `target_variance`. About 0 means that nothing has been learned but averages.
        None where the target does not vary. The variance is that of each value of the
        target about its own mean over all patches (of 1,024 windows, if there are
        more), averaged over these values: the loss of the best constant.

    n_tokens_ : int
        Number of patches of a window, ``K``.

    n_channels_in_, n_times_in_ : int
        Shape of the windows seen in :meth:`fit`.

    See Also
    --------
    CPEP : Aligns two of them.

    Notes
    -----
    A folder of `run_dir` holds ``run.json``, which says what the run is; while it is
    trained, ``checkpoint.pt``, the run after its last epoch (weights, optimizer,
    schedule, random generators, history), and ``previous.pt``, the one before, which is
    resumed if the other is damaged; when it has ended, ``fitted.pt``, its weights and
    history. Reading them runs no code. Each file is there completely or not at all,
    whenever the process is killed, and the folder may be shared by processes and by
    machines. An epoch that was interrupted is run again, with the same random numbers.
    ``python -m sk_cpep runs run_dir`` lists and compares the runs.

    `fit_identity_` says what the result depends on. `verbose` and `run_dir` are no part
    of it, nor are callbacks of skorch that only watch, or one whose class has
    ``observes_only = True``; other callbacks are, by class and parameters. Classes and
    functions of your own count by their code and by all that it refers to. Windows in
    memory count by their values; others by shape, by 256 windows, and by the files that
    they are read from, where these are known.
    With a `restart_period`, runs that differ in `max_epochs` alone have the same
    beginning: then checkpoints are kept, and a longer fit resumes the shorter one.
    Callbacks that have ``state_dict`` and ``load_state_dict`` are resumed as well;
    others begin anew, so that a run with one that counts epochs, such as skorch's
    EarlyStopping, may end elsewhere than without an interruption. What a module of your
    own keeps outside its ``state_dict`` is kept nowhere. A run that early stopping or a
    callback ended is not trained further.

    A fit that fails or is interrupted leaves the estimator as it was before: with its
    earlier network, or not fitted.

    Processes that were launched together train together; see :class:`CPEP`. The first
    one of them writes.

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture Generalization
       on EMG Signals", arXiv:2509.04699, section 3.1.
    .. [2] K. He et al., "Masked Autoencoders Are Scalable Vision Learners",
       CVPR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import MAE
    >>> X = np.random.default_rng(0).normal(size=(64, 4, 200)).astype("float32")
    >>> mae = MAE(20, d_model=32, n_layers=1, n_decoder_layers=1, max_epochs=2,
    ...           random_state=0)
    >>> mae.fit_transform(X).shape
    (64, 32)
    """

    patch_length: Size = field(default=50, kw_only=False)
    mask_ratio: Fraction = field(default=0.5, kw_only=False)
    n_decoder_layers: Size = 2
    pooling: Pooling = "cls"
    tokenizer: Annotated[
        str | Callable[..., nn.Module],
        StrOptions({"patches", "conv", "log_power"}),
        callable,
    ] = "patches"
    target: Annotated[
        str | Callable[[Tensor], Tensor],
        StrOptions({"raw", "normalized", "log_power"}),
        callable,
    ] = "raw"
    n_bands: Size = 1

    module_: MaskedAutoencoder = field(init=False)
    config_: MAEConfig = field(init=False)
    n_tokens_: int = field(init=False)

    def _new_recipe(self, n_channels: int, n_times: int) -> Recipe:
        return partial(Encoder, self._make_config(n_channels, n_times))

    def _fitted_recipe(self) -> Recipe:
        return partial(Encoder, self.config_)

    def _make_config(self, n_channels: int, n_times: int) -> MAEConfig:
        check_importable("tokenizer", self.tokenizer)
        check_importable("target", self.target)
        config = MAEConfig(
            n_channels=n_channels,
            n_times=n_times,
            patch_length=self.patch_length,
            mask_ratio=self.mask_ratio,
            n_decoder_layers=self.n_decoder_layers,
            tokenizer=self.tokenizer,
            target=self.target,
            n_bands=self.n_bands,
            **self._transformer_sizes(),
        )
        check_config(config)
        return config

    def _settle(self) -> None:
        self.config_ = self._make_config(self.n_channels_in_, self.n_times_in_)
        self.n_tokens_ = self.config_.n_tokens

    def _build_module(self) -> MaskedAutoencoder:
        return MaskedAutoencoder(self.config_)

    def _make_objective(self, module: MaskedAutoencoder) -> Reconstruction:
        return Reconstruction(module)

    def _finish(self, history: list[dict[str, Any]], X: Windows) -> None:
        """Add what share of the target's variance each epoch has explained."""
        batch_size = min(self.batch_size, 64)
        with own_state(torch.device("cpu")):
            variance = variance_of_target(X, self.config_, batch_size)
        for epoch in history:
            epoch["target_variance"] = variance
            for part in ("train", "valid"):
                loss = epoch.get(f"{part}_loss")
                if loss is not None:
                    share = 1 - loss / variance if variance > 0 else None
                    epoch[f"{part}_explained"] = share

    def transform(self, X: WindowsLike) -> Float32Array:
        """Embed windows, no patch hidden.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            Embeddings.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        return self._map(
            lambda x: self.encoder_(x, self.pooling), X, n_kept=self.n_tokens_
        )

    def reconstruct(
        self, X: WindowsLike, mask: ArrayLike | None = None
    ) -> tuple[Float32Array, BoolArray]:
        """Rebuild windows of which some patches are hidden.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            Windows.

        mask : bool array-like of shape (n_windows, n_tokens_) or (n_tokens_,), \
                default=None
            True where a patch is hidden, as many in each window. None hides
            ``round(K * mask_ratio)`` at random, the same in every call.

        Returns
        -------
        X_rebuilt : float32 ndarray of shape (n_windows, n_channels, n_times)
            Windows; what was hidden is the network's, everything else is as given.

        mask : bool ndarray of shape (n_windows, n_tokens_)
            Which patches were hidden.

        Raises
        ------
        ValueError
            If the target was not "raw": what is rebuilt are no windows then.
        """
        check_is_fitted(self)
        if self.config_.target != "raw":
            raise ValueError(
                "reconstruct needs target='raw': this MAE was fitted to rebuild what "
                f"{self.target} makes of patches, which is no window."
            )
        X = read_windows(self, X, reset=False)
        mask = self._read_mask(mask, X.shape[0])
        n_masked = int(mask[0].sum())

        def rebuild(x: Tensor, m: Tensor) -> Tensor:
            m = m > 0
            rebuilt, patches = self.module_.rebuild(x, m, n_masked)
            patches = torch.where(m.unsqueeze(-1), rebuilt, patches)
            windows = unpatchify(patches, x.shape[1])
            return torch.cat([windows, x[:, :, windows.shape[2] :]], dim=2)

        return self._map(rebuild, X, mask, n_kept=self.n_tokens_ - n_masked), mask

    def score(
        self,
        X: WindowsLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Negative masked mean squared error under fixed masks.

        Parameters
        ----------
        y : Ignored
            Present for API consistency.

        Returns
        -------
        score : float
            In the squared unit of the windows; higher is better, 0 is perfect.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        mask = self._read_mask(None, X.shape[0])

        def errors(x: Tensor, m: Tensor) -> Tensor:
            return self.module_.errors(x, m > 0, self.config_.n_masked)

        n_kept = self.n_tokens_ - self.config_.n_masked
        total = self._map(errors, X, mask, n_kept=n_kept).astype(np.float64)
        if sample_weight is None:
            return -float(total.sum() / mask.sum())
        return -mean_over_windows(total / self.config_.n_masked, sample_weight)

    def _map(
        self, function: Callable[..., Tensor], *arrays: Windows, n_kept: int
    ) -> Float32Array:
        return map_batches(
            function,
            *arrays,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            **blocks_of(self.config_, n_kept, self.n_tokens_),
        )

    def _read_mask(self, mask: ArrayLike | None, n_windows: int) -> BoolArray:
        if mask is None:
            generator = torch.Generator("cpu").manual_seed(_SCORE_SEED)
            sizes = n_windows, self.n_tokens_, self.config_.n_masked
            drawn = random_mask(*sizes, generator)
            return np.asarray(drawn.numpy())
        mask = np.asarray(mask, dtype=bool)
        if mask.shape not in ((self.n_tokens_,), (n_windows, self.n_tokens_)):
            raise ValueError(
                f"mask has shape {mask.shape}, expected ({n_windows}, "
                f"{self.n_tokens_}) or ({self.n_tokens_},): windows x patches."
            )
        mask = np.broadcast_to(mask, (n_windows, self.n_tokens_))
        if len(np.unique(mask.sum(axis=1))) > 1:
            raise ValueError("mask must hide as many patches in each window.")
        return mask

    @property
    def _n_features_out(self) -> int:
        return self.config_.d_model


def variance_of_target(X: Windows, config: MAEConfig, batch_size: int) -> float:
    """Variance of what is rebuilt of patches, about the mean of each of its values.

    Parameters
    ----------
    X : array-like of shape (n_windows, n_channels, n_times)

    config : MAEConfig

    batch_size : int
        Windows that are fetched at once.

    Returns
    -------
    variance : float
        Mean over the values of a target.
    """
    n = X.shape[0]
    rows = np.linspace(0, n - 1, min(n, _N_FOR_VARIANCE)).round().astype(int)
    mean = square = torch.zeros(config.target_size, dtype=torch.float64, device="cpu")
    count = 0
    for batch in gen_batches(len(rows), batch_size):
        x = torch.from_numpy(fetch_rows(X, rows[batch]))
        values = (
            config.target_of(patchify(x, config.patch_length)).double().flatten(0, 1)
        )
        # Chan, Golub and LeVeque's update of a mean, and of squares about it.
        off = values.mean(dim=0) - mean
        share = len(values) / (count + len(values))
        about = (values - values.mean(dim=0)).square().sum(dim=0)
        square = square + about + off.square() * count * share
        mean, count = mean + off * share, count + len(values)
    return float((square / count).mean())


def check_config(config: MAEConfig) -> None:
    """Refuse sizes that make no autoencoder, saying what to change."""
    check_encoder(config)
    if config.n_bands > config.patch_length // 2 + 1:
        raise ValueError(
            f"n_bands={config.n_bands} is more than a patch of {config.patch_length} "
            f"samples has frequencies, {config.patch_length // 2 + 1}. Use fewer bands "
            "or longer patches."
        )
    config.target_size  # noqa: B018  # raises if the target is of no use
    if config.n_masked == 0:
        raise ValueError(
            f"mask_ratio={config.mask_ratio} of {config.n_tokens} patches (windows of "
            f"{config.n_times} samples, patch_length={config.patch_length}) hides "
            "none. Use a higher mask_ratio or shorter patches."
        )


def check_encoder(config: MAEConfig) -> None:
    """Refuse sizes that make no encoder."""
    if config.n_tokens == 0:
        raise ValueError(
            f"patch_length={config.patch_length} is longer than the windows, "
            f"n_times={config.n_times}. Use shorter patches or longer windows."
        )
    if config.d_model % config.n_heads or config.d_model % 2:
        raise ValueError(
            f"d_model={config.d_model} must be even and a multiple of "
            f"n_heads={config.n_heads}."
        )
