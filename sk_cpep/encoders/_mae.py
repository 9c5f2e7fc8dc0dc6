"""The masked autoencoder of one modality as an estimator."""

from dataclasses import asdict, field

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from .._all_or_nothing import all_or_nothing
from .._callback_support import end_task, fit_task, with_callbacks
from ..nn import Augmentation, MAEConfig, MaskedAutoencoder, random_mask, unpatchify
from ..training import (
    Reconstruction,
    existing_device,
    map_batches,
    new_module,
    seeded,
)
from ._blocks import blocks_of
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._identity import identify, starting_generator
from ._parameters import Fraction, Pooling, Size
from ._scores import mean_over_windows
from ._trained_estimator import CosineTraining
from ._training_plan import training_plan
from ._transformer_sizes import TransformerSizes
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import read_groups, read_windows

_SCORE_SEED = 0


class MAE(TransformerSizes, CosineTraining):
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

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.MaskedAutoencoder`).

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
    ``observes_only = True``; other callbacks are. Windows in memory count by their
    values; others by shape, by 256 windows, and by the files that they are read from.
    With a `restart_period`, runs that differ in `max_epochs` alone have the same
    beginning: then checkpoints are kept, and a longer fit resumes the shorter one.
    Callbacks that have ``state_dict`` and ``load_state_dict`` are resumed as well,
    others begin anew. A run that early stopping or a callback ended is not trained
    further.

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

    module_: MaskedAutoencoder = field(init=False)
    config_: MAEConfig = field(init=False)
    n_tokens_: int = field(init=False)

    def fit(self, X, y=None, groups=None, validation_groups=None):
        """Train on windows.

        Parameters
        ----------
        y : Ignored
            Present for API consistency.

        Raises
        ------
        ValueError
            If windows are shorter than a patch, the mask would hide nothing, the loss
            is no longer finite, or all checkpoints of this fit in `run_dir` are damaged.
        """
        return self._fit_augmented(X, Augmentation(), groups, validation_groups)

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def _fit_augmented(self, X, augment, groups=None, validation_groups=None):
        """`fit` on windows that are changed at random in every batch."""
        recordings = recordings_of(X)
        X = self._prepare(X)
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        plan = training_plan(self)
        task = fit_task(self, self.max_epochs)
        rng = starting_generator(self, plan)
        self.fit_identity_ = identify(
            self, plan, rng, X=X, validation_groups=sets, facts=asdict(augment)
        )
        run = FitRun(self, plan, self.fit_identity_)
        valid_rows = held_out_rows(sets, plan, rng)
        with seeded(rng.randint(2**31)) as generator:
            module = new_module(self._build_module, generator)
            self.history_ = run.train(
                Reconstruction(module, augment),
                lambda: [X],
                rng=rng,
                valid_rows=valid_rows,
                description=f"MAE ({self.n_channels_in_} channels)",
                callbacks=[*(self.callbacks or ()), epoch_hook(task, self)],
            )
        self.module_ = module
        self.n_iter_ = len(self.history_)
        end_task(task, self)
        return self

    def _prepare(self, X):
        """Validate windows and settle the sizes of the network."""
        X = read_windows(self, X, reset=True)
        config = MAEConfig(
            n_channels=self.n_channels_in_,
            n_times=self.n_times_in_,
            patch_length=self.patch_length,
            mask_ratio=self.mask_ratio,
            n_decoder_layers=self.n_decoder_layers,
            **self._transformer_sizes(),
        )
        check_config(config)
        self.config_ = config
        self.n_tokens_ = config.n_tokens
        return X

    def _build_module(self):
        return MaskedAutoencoder(self.config_)

    def transform(self, X):
        """Embed windows, no patch hidden.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            Windows.

        Returns
        -------
        Z : float32 ndarray of shape (n_windows, d_model)
            Embeddings.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        return self._map(
            lambda x: self.module_.encoder(x, self.pooling), X, n_kept=self.n_tokens_
        )

    def reconstruct(self, X, mask=None):
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
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        mask = self._read_mask(mask, X.shape[0])
        n_masked = int(mask[0].sum())

        def rebuild(x, m):
            m = m > 0
            rebuilt, patches = self.module_.rebuild(x, m, n_masked)
            patches = torch.where(m.unsqueeze(-1), rebuilt, patches)
            windows = unpatchify(patches, x.shape[1])
            return torch.cat([windows, x[:, :, windows.shape[2] :]], dim=2)

        return self._map(rebuild, X, mask, n_kept=self.n_tokens_ - n_masked), mask

    def score(self, X, y=None, sample_weight=None):
        """Negative masked mean squared error under fixed masks.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            Windows.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_windows,), default=None
            How much each window counts, from 0 on. None counts all alike.

        Returns
        -------
        score : float
            In the squared unit of the windows; higher is better, 0 is perfect.
        """
        check_is_fitted(self)
        X = read_windows(self, X, reset=False)
        mask = self._read_mask(None, X.shape[0])

        def error(x, m):
            m = m > 0
            rebuilt, patches = self.module_.rebuild(x, m, self.config_.n_masked)
            error = (rebuilt - patches).square().mean(dim=-1)  # (B, K)
            return (error * m).sum(dim=1)

        n_kept = self.n_tokens_ - self.config_.n_masked
        total = self._map(error, X, mask, n_kept=n_kept).astype(np.float64)
        if sample_weight is None:
            return -float(total.sum() / mask.sum())
        return -mean_over_windows(total / self.config_.n_masked, sample_weight)

    def _map(self, function, *arrays, n_kept):
        return map_batches(
            function,
            *arrays,
            device=existing_device(self.device),
            batch_size=self.batch_size,
            module=self.module_,
            **blocks_of(self.config_, n_kept, self.n_tokens_),
        )

    def _read_mask(self, mask, n_windows):
        if mask is None:
            generator = torch.Generator("cpu").manual_seed(_SCORE_SEED)
            sizes = n_windows, self.n_tokens_, self.config_.n_masked
            return random_mask(*sizes, generator=generator, device="cpu").numpy()
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
    def _n_features_out(self):
        return self.config_.d_model


def check_config(config):
    """Refuse sizes that make no autoencoder, saying what to change."""
    check_encoder(config)
    if config.n_masked == 0:
        raise ValueError(
            f"mask_ratio={config.mask_ratio} of {config.n_tokens} patches (windows of "
            f"{config.n_times} samples, patch_length={config.patch_length}) hides "
            "none. Use a higher mask_ratio or shorter patches."
        )


def check_encoder(config):
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
