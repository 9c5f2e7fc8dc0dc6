"""vemg2pose as an estimator."""

from dataclasses import replace
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from ._tds_regressor import TDS_CONSTRAINTS, TDSRegressor


class VEMG2Pose(TDSRegressor):
    """Pose regression of vemg2pose: TDS features, velocities of an LSTM.

    As :class:`EMG2Pose`, but an LSTM gives how the pose changes in a step. In
    regression it gives the pose itself for the first quarter of a second, having been
    told none. Layers, loss and training are the published ones: 5,980,328 weights in
    regression and 5,970,068 in tracking, at 16 channels and 20 joints.

    Parameters
    ----------
    mode : {"regression", "tracking"}, default="regression"
        Whether the rollout starts from zeros, or is told the true pose at its start.
        Tracking needs it to predict as well: ``predict(X, initial_pose=...)``.

    sfreq : float, default=2000.0
        Rate of the EMG in Hz. At other rates than 2000 Hz, strides and kernels are
        scaled so that receptive fields last as long as published (895 ms back,
        features at 25 Hz), as nearly as whole samples allow; see `sizes_`.

    strides, kernel_sizes : array-like of 4 int, default=None
        Of the convolutions between which the TDS blocks lie. None scales the published
        (5, 2, 4, 2) and (11, 5, 17, 9) to `sfreq`.

    block_kernel_sizes : array-like of 2 int, default=None
        Of the TDS blocks of both stages. None scales the published (9, 5).

    d_model : int, default=256
        Width of the convolutions, a multiple of `block_channels`.

    block_channels : int, default=16
        Channels of the convolutions in TDS blocks.

    n_blocks : int, default=2
        Pairs of TDS blocks a stage.

    d_features : int, default=64
        Features a frame, and width of the embedding.

    d_hidden : int, default=512
        Width of the decoder.

    n_lstm_layers : int, default=2

    rollout_sfreq : float, default=50.0
        Steps a second.

    position_seconds : float, default=0.25
        With ``mode="regression"``, time for which the LSTM gives the pose itself;
        rounded to whole steps (12 as published).

    output_scale : float, default=0.01
        What the LSTM's output is multiplied by.

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

    gradient_clip : float or "auto", default="auto"
        Largest norm of the gradient. None does not clip; ``"auto"`` is, as published,
        1.0 in tracking and None in regression.

    batch_size : int, default=64
        Windows per step, over all processes that train together.

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
        The network (:class:`sk_cpep.nn.PoseRollout`).

    sizes_ : dict
        The sizes used: `strides`, `kernel_sizes`, `block_kernel_sizes`,
        `left_context` (samples) and `left_context_seconds`, `stride` (samples) and
        `feature_sfreq` (Hz), `n_frames` of features, `n_steps` of the rollout,
        `pose_start`.

    n_parameters_ : int
        Number of weights.

    loss_terms_ : tuple of str
        What is added up: ``("angle",)``, or with a hand model ``("angle",
        "fingertip")``.

    pose_start_ : int
        The first sample of the pose that is predicted, the first after the left
        context; before it, predictions hold that one.

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
    EMG2Pose : Predicts poses with an MLP.
    PoseT : The same task with the transformer of :class:`MAE`.

    References
    ----------
    .. [1] S. Salter et al., "emg2pose: A Large and Diverse Benchmark for Surface
       Electromyographic Hand Pose Estimation", NeurIPS Datasets and Benchmarks 2024.
    .. [2] A. Hannun et al., "Sequence-to-Sequence Speech Recognition with
       Time-Depth Separable Convolutions", Interspeech 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import VEMG2Pose
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(16, 8, 200)).astype("float32")
    >>> P = rng.normal(size=(16, 20, 200)).astype("float32")
    >>> model = VEMG2Pose(sfreq=100, d_model=32, d_features=8, d_hidden=16,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 20, 200)
    """

    _parameter_constraints: dict = {
        **TDS_CONSTRAINTS,
        "n_lstm_layers": [Interval(Integral, 1, None, closed="left")],
        "position_seconds": [Interval(Real, 0, None, closed="left")],
        "gradient_clip": [StrOptions({"auto"}), *TDS_CONSTRAINTS["gradient_clip"]],
    }

    def __init__(
        self,
        mode="regression",
        *,
        sfreq=2000.0,
        strides=None,
        kernel_sizes=None,
        block_kernel_sizes=None,
        d_model=256,
        block_channels=16,
        n_blocks=2,
        d_features=64,
        d_hidden=512,
        n_lstm_layers=2,
        rollout_sfreq=50.0,
        position_seconds=0.25,
        output_scale=0.01,
        hand_model=None,
        fingertip_weight=0.01,
        channel_rotation=1,
        ring_channels=None,
        pose_transformer=None,
        lr=1e-3,
        gradient_clip="auto",
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
        self.mode = mode
        self.sfreq = sfreq
        self.strides = strides
        self.kernel_sizes = kernel_sizes
        self.block_kernel_sizes = block_kernel_sizes
        self.d_model = d_model
        self.block_channels = block_channels
        self.n_blocks = n_blocks
        self.d_features = d_features
        self.d_hidden = d_hidden
        self.n_lstm_layers = n_lstm_layers
        self.rollout_sfreq = rollout_sfreq
        self.position_seconds = position_seconds
        self.output_scale = output_scale
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

    def _decoder(self):
        return {
            "decoder": "lstm",
            "output": "velocity" if self.mode == "tracking" else "hybrid",
            "n_lstm_layers": self.n_lstm_layers,
            "position_seconds": self.position_seconds,
        }

    def _plan(self):
        plan = super()._plan()
        if self.gradient_clip != "auto":
            return plan
        return replace(plan, gradient_clip=1.0 if self.mode == "tracking" else None)
