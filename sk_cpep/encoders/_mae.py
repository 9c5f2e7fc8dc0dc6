"""The masked autoencoder of one modality as an estimator."""

from dataclasses import asdict
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._all_or_nothing import all_or_nothing
from .._callback_support import (
    CallbackSupportMixin,
    end_task,
    fit_task,
    with_callbacks,
)
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
from ._persistence import PickledWeightsMixin
from ._scores import mean_over_windows
from ._training_parameters import TRAINING_CONSTRAINTS, training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import read_groups, read_windows

_SCORE_SEED = 0


class MAE(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    PickledWeightsMixin,
    BaseEstimator,
):
    """Masked autoencoder of EMG or pose windows.

    Windows are cut into ``K = floor(n_times / patch_length)`` patches, channels
    flattened within each; ``round(K * mask_ratio)`` of them are hidden at random, a
    transformer encodes the others, and a smaller one rebuilds the hidden ones. The
    loss is the mean squared error over the hidden patches. Afterwards all patches
    go in, and the encoder's ``[CLS]`` token is the embedding of a window.

    Parameters
    ----------
    patch_length : int, default=50
        Samples per patch. Samples left over at the end of a window are not used.
        The paper takes 50 for EMG and 200 for pose, of 4000.

    mask_ratio : float, default=0.5
        Share of the patches that is hidden.

    d_model : int, default=256
        Width of the embedding; even, a multiple of `n_heads`.

    n_layers, n_decoder_layers : int, default=4 and 2
        Transformer blocks of encoder and decoder.

    n_heads : int, default=8
        Attention heads (not given in the paper).

    mlp_ratio : float, default=4.0
        Width of the blocks' hidden layer over `d_model` (not given in the paper).

    dropout : float, default=0.0
        Dropout of attention weights and of both branches of a block.

    pooling : {"cls", "mean"}, default="cls"
        The embedding: the ``[CLS]`` token, or the mean of the others.

    lr : float, default=1e-4
        Highest learning rate of AdamW; follows a cosine with warm restarts.

    weight_decay : float, default=1e-5
        Weight decay of AdamW.

    batch_size : int, default=256
        Windows per step, over all processes that train together.

    max_epochs : int, default=100
        Passes over the windows.

    restart_period : int, default=None
        Epochs from one warm restart to the next. None is `max_epochs`: one cosine. (A
        fit that goes on to a larger `max_epochs` keeps the one it began with.)

    early_stopping : bool, default=False
        Set windows aside, stop when the loss on them no longer falls, and keep the
        best weights. People or recordings are set aside whole where :meth:`fit` is told
        them or finds them; else windows are drawn one by one, and where windows
        overlap, those set aside share samples with those that are trained on.

    validation_fraction : float, default=0.1
        Share of the windows (people, recordings) set aside, with `early_stopping`.

    n_iter_no_change : int, default=10
        Epochs without an improvement of at least `tol` before stopping.

    tol : float, default=1e-4
        See `n_iter_no_change`.

    device : str or torch.device, default="auto"
        Where to compute; ``"auto"`` takes a GPU if there is one.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the matrix products while training; ``"auto"`` is bfloat16 where
        the hardware has units for it. Embeddings are always computed in float32.

    compile : bool, default=False
        Compile the training step with :func:`torch.compile`; on one GPU, whole steps are
        replayed as a CUDA graph (skorch callbacks then hear nothing of gradients).
        Pays off from some hundreds of steps on.

    run_dir : path-like, default=None
        Folder of runs. Every epoch leaves a checkpoint in
        ``run_dir/<stage>-<identity>``, where the identity is a digest of everything
        that the result depends on: parameters, data, seed. A fit that finds its
        identity ended there takes its weights, one that was interrupted is resumed,
        and any other begins beside what is there. Each stage has its own there. See :class:`MAE`.

    callbacks : list of skorch callbacks, default=None
        Called around epochs and batches.

    random_state : int, RandomState instance or None, default=None
        Pass an int for the same result in every fit; on a CPU, bit for bit.

    verbose : int, default=0
        From 1 on, a progress bar with the loss and the time left.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network (:class:`sk_cpep.nn.MaskedAutoencoder`).

    history_ : list of dict
        For each epoch `epoch`, `train_loss`, `valid_loss` (with `early_stopping`),
        `lr` and `seconds`.

    fit_identity_ : FitIdentity
        What the result depends on: `facts`, by name, and their `digest`.

    n_tokens_ : int
        Number of patches of a window, ``K``.

    n_iter_ : int
        Number of epochs run.

    n_channels_in_, n_times_in_ : int
        Shape of the windows seen in :meth:`fit`.

    n_features_in_ : int
        Number of channels (of samples, if the windows were two-dimensional).

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had any (a DataFrame).

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

    _parameter_constraints: dict = {
        "patch_length": [Interval(Integral, 1, None, closed="left")],
        "mask_ratio": [Interval(Real, 0, 1, closed="neither")],
        "d_model": [Interval(Integral, 2, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_decoder_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "mlp_ratio": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "pooling": [StrOptions({"cls", "mean"})],
        **TRAINING_CONSTRAINTS,
    }

    def __init__(
        self,
        patch_length=50,
        mask_ratio=0.5,
        *,
        d_model=256,
        n_layers=4,
        n_decoder_layers=2,
        n_heads=8,
        mlp_ratio=4.0,
        dropout=0.0,
        pooling="cls",
        lr=1e-4,
        weight_decay=1e-5,
        batch_size=256,
        max_epochs=100,
        restart_period=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        device="auto",
        precision="auto",
        compile=False,
        run_dir=None,
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.patch_length = patch_length
        self.mask_ratio = mask_ratio
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_decoder_layers = n_decoder_layers
        self.n_heads = n_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.pooling = pooling
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.restart_period = restart_period
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.device = device
        self.precision = precision
        self.compile = compile
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None, groups=None, validation_groups=None):
        """Train on windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_channels, n_times) or (n_windows, n_times)
            Windows, best of unit variance. Two dimensions are one channel. An object
            with a 3-D `shape` that takes an array of indices (or has
            ``__getitems__``) is read batch by batch, never into main memory whole.

        y : Ignored
            Present for API consistency.

        groups : array-like of shape (n_windows,), default=None
            The person of each window. Given, `early_stopping` sets whole people
            aside, not windows of people that are trained on.

        validation_groups : array-like of shape (n_windows,), default=None
            What `early_stopping` sets aside as a whole instead, such as the recording
            of each window. Without either, it is recordings where `X` knows them; see
            :meth:`CPEP.fit`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If windows are shorter than a patch, the mask would hide nothing, the loss
            is no longer finite, or all checkpoints of this fit in `run_dir` are damaged.

        OSError
            If a checkpoint cannot be written. Earlier ones are left as they are.
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
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_decoder_layers=self.n_decoder_layers,
            n_heads=self.n_heads,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


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
