"""The transformer of the masked autoencoder as a pose regressor."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from ..nn import (
    MAEConfig,
    PoseLoss,
    PoseTransformer,
    PoseTransformerConfig,
    mean_squared_error,
)
from ._mae import check_encoder
from ._pose_regressor import PoseRegressor
from ._training_parameters import (
    POSE_REGRESSOR_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
)


class PoseT(PoseRegressor):
    """Transformer that regresses pose from EMG, the encoder of :class:`MAE`.

    The paper's supervised baseline: the same patches, transformer and training as the
    masked autoencoder, but no patch hidden, and the mean squared error of the pose as
    loss. How tokens become poses is not given there: here, a linear layer takes each
    token to the pose of its own span of time.

    Parameters
    ----------
    patch_length : int, default=50
        Samples of the EMG per patch. Samples left over at the end of a window are not
        used; the last pose is held there.

    d_model : int, default=256
        Width of the embedding; even, a multiple of `n_heads`.

    n_layers : int, default=4
        Transformer blocks.

    n_heads : int, default=8
        Attention heads (not given in the paper).

    mlp_ratio : float, default=4.0
        Width of the blocks' hidden layer over `d_model` (not given in the paper).

    dropout : float, default=0.0
        Dropout of attention weights and of both branches of a block.

    channel_rotation : int, default=1
        While training, the ring of electrodes is rolled by up to this many positions
        either way, at random. 0 for none.

    ring_channels : int or array-like of int, default=None
        Which channels are the ring: the first so many, or their indices in order
        round the limb. None is all channels.

    pose_transformer : transformer, default=None
        Applied to the pose in :meth:`fit` and :meth:`score`; see :class:`CPEP`.

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
        Type of the matrix products while training; see :class:`MAE`.

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
        The network (:class:`sk_cpep.nn.PoseTransformer`).

    sizes_ : dict
        The sizes used: `patch_length` (samples), `n_tokens`, and `pose_patch_length`,
        the samples of the pose that a token gives.

    n_parameters_ : int
        Number of weights.

    loss_terms_ : tuple of str
        ``("squared angle",)``.

    pose_start_ : int
        0: the whole window is predicted.

    history_ : list of dict
        For each epoch `epoch`, `train_loss`, `valid_loss` (with `early_stopping`),
        `lr` and `seconds`.

    pose_transformer_ : transformer
        The fitted `pose_transformer`, or None.

    n_iter_ : int
        Number of epochs run.

    n_channels_in_, n_times_in_ : int
        Shape of the EMG windows seen in :meth:`fit`.

    n_joints_in_, n_pose_times_in_ : int
        Shape of the pose windows seen in :meth:`fit`.

    n_features_in_ : int
        Number of channels (of samples, if the windows were two-dimensional).

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had any (a DataFrame).

    See Also
    --------
    MAE : Self-supervised, with the same encoder.
    EMG2Pose, VEMG2Pose, NeuroPose : Published pose regressors.

    References
    ----------
    .. [1] "CPEP: Contrastive Pose-EMG Pre-training Enhances Gesture Generalization
       on EMG Signals", arXiv:2509.04699, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import PoseT
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(16, 8, 200)).astype("float32")
    >>> P = rng.normal(size=(16, 20, 200)).astype("float32")
    >>> model = PoseT(20, d_model=32, n_layers=1,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 20, 200)
    """

    _parameter_constraints: dict = {
        "patch_length": [Interval(Integral, 1, None, closed="left")],
        "d_model": [Interval(Integral, 2, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "mlp_ratio": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        **POSE_REGRESSOR_CONSTRAINTS,
        **TRAINING_CONSTRAINTS,
    }

    def __init__(
        self,
        patch_length=50,
        *,
        d_model=256,
        n_layers=4,
        n_heads=8,
        mlp_ratio=4.0,
        dropout=0.0,
        channel_rotation=1,
        ring_channels=None,
        pose_transformer=None,
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
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.channel_rotation = channel_rotation
        self.ring_channels = ring_channels
        self.pose_transformer = pose_transformer
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

    def _loss(self):
        return PoseLoss(mean_squared_error)

    def _make_config(self):
        encoder = MAEConfig(
            n_channels=self.n_channels_in_,
            n_times=self.n_times_in_,
            patch_length=self.patch_length,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
        )
        check_encoder(encoder)
        return PoseTransformerConfig(encoder, self.n_joints_in_, self.n_pose_times_in_)

    def _build_module(self):
        return PoseTransformer(self.config_)

    def _sizes(self):
        return {
            "patch_length": self.config_.encoder.patch_length,
            "n_tokens": self.config_.encoder.n_tokens,
            "pose_patch_length": self.config_.pose_patch_length,
        }

    @property
    def _n_features_out(self):
        return self.config_.encoder.d_model
