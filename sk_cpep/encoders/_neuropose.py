"""NeuroPose as an estimator."""

from dataclasses import replace
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from ..nn import NeuroPoseConfig, NeuroPoseNet, neuropose_time_pools
from ._pose_regressor import BaselineRegressor, read_sizes
from ._training_parameters import BASELINE_CONSTRAINTS


class NeuroPose(BaselineRegressor):
    """Pose regression of NeuroPose: convolutions over time and electrodes.

    An encoder-decoder with residual blocks in between, which sees the whole window,
    past and future, at once. Time is cut to a multiple of the pooling factor (320
    samples as published), and the poses stretched to the whole window again: a small
    warp in time that is part of the published baseline. Layers, loss and training
    are as configured there, 6,354,903 weights at any number of channels up to 16.

    Parameters
    ----------
    sfreq : float, default=2000.0
        Rate of the EMG in Hz. At other rates than 2000 Hz, poolings are scaled so that
        a frame lasts as long as published (160 ms), as nearly as whole samples allow;
        see `sizes_`.

    time_pools : array-like of 3 int, default=None
        Factors of the poolings, and of the upsamplings, in time. None scales the
        published (10, 8, 4) to `sfreq`.

    electrode_pools : array-like of 3 int, default=(2, 2, 4)
        Factors of the poolings across electrodes. Numbers of electrodes that are no
        multiple are rounded up: 10 become 5, 3 and 1.

    electrode_upsampling : array-like of 3 int, default=(4, 4, 2)
        Factors of the upsamplings across electrodes.

    kernel_size : array-like of 2 int, default=(3, 2)
        Of all convolutions, in time and across electrodes.

    widths : array-like of 3 int, default=(32, 128, 256)
        Channels of the encoder; the last is the width of the embedding.

    n_residual_blocks : int, default=5
        Residual blocks between encoder and decoder.

    dropout : float, default=0.05
        Dropout after each convolution.

    hand_model : str or path-like, default=None
        JSON file of a hand (:func:`~sk_cpep.encoders.load_hand_model`), for the part
        of the published loss that compares fingertips. It needs the 20 joint angles of
        emg2pose in radians. None leaves that part out, and `loss_terms_` says so.

    fingertip_weight : float, default=0.01
        Weight of the mean distance of the fingertips in mm, at 50 Hz, beside the mean
        absolute error of the angles.

    channel_rotation : int, default=1
        While training, the ring of electrodes is rolled by up to this many positions
        either way, at random. 0 for none.

    ring_channels : int or array-like of int, default=None
        Which channels are the ring: the first so many, or their indices in order
        round the limb. None is all channels.

    pose_transformer : transformer, default=None
        Applied to the pose in :meth:`fit` and :meth:`score`; see :class:`CPEP`.

    lr : float, default=1e-3
        Learning rate of Adam, constant.

    gradient_clip : float, default=None
        Largest norm of the gradient. None does not clip.

    batch_size : int, default=64
        Windows per step, over all processes that train together; each normalises over
        its own share, and in the end all have the statistics of the first.

    max_epochs : int, default=500
        Passes over the windows.

    early_stopping : bool, default=True
        Set windows aside, stop when the loss on them no longer falls, and keep the
        best weights. People or recordings are set aside whole where :meth:`fit` is told
        them or finds them; else windows are drawn one by one, and where windows
        overlap, those set aside share samples with those that are trained on.

    validation_fraction : float, default=0.1
        Share of the windows (people, recordings) set aside, with `early_stopping`.

    n_iter_no_change : int, default=50
        Epochs without an improvement of at least `tol` before stopping.

    tol : float, default=0.0
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
        The network (:class:`sk_cpep.nn.NeuroPoseNet`).

    sizes_ : dict
        The sizes used: `time_pools`, `electrode_pools`, `electrode_upsampling`,
        `time_factor` (samples) and `time_factor_seconds`, `n_frames` and
        `n_electrodes` of the bottleneck, `n_times_used` of the window.

    n_parameters_ : int
        Number of weights.

    loss_terms_ : tuple of str
        What is added up: ``("angle",)``, or with a hand model ``("angle",
        "fingertip")``.

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
    EMG2Pose : Uses the past only.
    PoseT : The same task with the transformer of :class:`MAE`.

    References
    ----------
    .. [1] Y. Liu et al., "NeuroPose: 3D Hand Pose Tracking Using EMG Wearables", WWW
       2021.
    .. [2] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import NeuroPose
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(16, 8, 200)).astype("float32")
    >>> P = rng.normal(size=(16, 20, 200)).astype("float32")
    >>> model = NeuroPose(sfreq=100, widths=(4, 8, 16), n_residual_blocks=1,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 20, 200)
    """

    _parameter_constraints: dict = {
        "time_pools": ["array-like", None],
        "electrode_pools": ["array-like"],
        "electrode_upsampling": ["array-like"],
        "kernel_size": ["array-like"],
        "widths": ["array-like"],
        "n_residual_blocks": [Interval(Integral, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        **BASELINE_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        sfreq=2000.0,
        time_pools=None,
        electrode_pools=(2, 2, 4),
        electrode_upsampling=(4, 4, 2),
        kernel_size=(3, 2),
        widths=(32, 128, 256),
        n_residual_blocks=5,
        dropout=0.05,
        hand_model=None,
        fingertip_weight=0.01,
        channel_rotation=1,
        ring_channels=None,
        pose_transformer=None,
        lr=1e-3,
        gradient_clip=None,
        batch_size=64,
        max_epochs=500,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=50,
        tol=0.0,
        device="auto",
        precision="auto",
        compile=False,
        run_dir=None,
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.sfreq = sfreq
        self.time_pools = time_pools
        self.electrode_pools = electrode_pools
        self.electrode_upsampling = electrode_upsampling
        self.kernel_size = kernel_size
        self.widths = widths
        self.n_residual_blocks = n_residual_blocks
        self.dropout = dropout
        self.hand_model = hand_model
        self.fingertip_weight = fingertip_weight
        self.channel_rotation = channel_rotation
        self.ring_channels = ring_channels
        self.pose_transformer = pose_transformer
        self.lr = lr
        self.gradient_clip = gradient_clip
        self.batch_size = batch_size
        self.max_epochs = max_epochs
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

    def _check_number(self, n_windows):
        if n_windows < 2:
            raise ValueError(
                "NeuroPose normalises over batches and needs 2 windows at the least, "
                f"got n_samples={n_windows}."
            )

    def _plan(self):
        plan = super()._plan()
        return replace(plan, min_batch=2 * plan.processes.size)

    def _make_config(self):
        time_pools = self.time_pools
        if time_pools is None:
            time_pools = neuropose_time_pools(self.sfreq)
        config = NeuroPoseConfig(
            n_times=self.n_times_in_,
            n_channels=self.n_channels_in_,
            n_joints=self.n_joints_in_,
            n_pose_times=self.n_pose_times_in_,
            time_pools=read_sizes("time_pools", time_pools, 3),
            n_residual_blocks=self.n_residual_blocks,
            dropout=self.dropout,
            **{
                name: read_sizes(name, getattr(self, name), n)
                for name, n in (
                    ("electrode_pools", 3),
                    ("electrode_upsampling", 3),
                    ("kernel_size", 2),
                    ("widths", 3),
                )
            },
        )
        check_frames(config, self.sfreq)
        return config

    def _build_module(self):
        return NeuroPoseNet(self.config_)

    def _sizes(self):
        config = self.config_
        return {
            "time_pools": config.time_pools,
            "electrode_pools": config.electrode_pools,
            "electrode_upsampling": config.electrode_upsampling,
            "time_factor": config.time_factor,
            "time_factor_seconds": config.time_factor / self.sfreq,
            "n_frames": config.n_frames,
            "n_electrodes": config.n_electrodes,
            "n_times_used": config.n_frames * config.time_factor,
        }

    @property
    def _n_features_out(self):
        return self.config_.widths[-1]


def check_frames(config, sfreq):
    """Refuse windows that are shorter than a frame of the bottleneck."""
    if config.n_frames == 0:
        raise ValueError(
            f"Windows of {config.n_times} samples ({config.n_times / sfreq:g} s at "
            f"sfreq={sfreq:g}) are too short: time is pooled by {config.time_factor} "
            "samples. Use longer windows, set sfreq to their rate, or give smaller "
            "time_pools."
        )
