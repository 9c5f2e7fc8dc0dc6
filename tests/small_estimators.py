"""Small estimators of every kind, which are fitted in a fraction of a second.

Windows of 4 channels x 20 samples are large enough for them; those with `NO_CONTEXT`
and ``patch_length=1`` take windows of one sample, as scikit-learn's checks have them.
"""

import sk_cpep

REGRESSORS = ("PoseT", "EMG2Pose", "VEMG2Pose", "NeuroPose")
NAMES = ("MAE", "CPEP", "EncoderClassifier", *REGRESSORS)
TRAINING = dict(
    max_epochs=2, batch_size=8, device="cpu", precision="float32", random_state=0
)
TRANSFORMER = dict(patch_length=5, d_model=8, n_layers=1, n_heads=2)
TDS = dict(
    sfreq=100,
    kernel_sizes=(2, 2, 3, 3),
    block_kernel_sizes=(2, 2),
    n_blocks=1,
    d_model=8,
    block_channels=4,
    d_features=5,
    d_hidden=12,
    early_stopping=False,
)
NO_CONTEXT = dict(
    sfreq=50,
    strides=(1, 1, 1, 1),
    kernel_sizes=(1, 1, 1, 1),
    block_kernel_sizes=(1, 1),
)
SIZES = {
    "MAE": TRANSFORMER | {"n_decoder_layers": 1},
    "CPEP": {},
    "EncoderClassifier": {},
    "PoseT": TRANSFORMER,
    "EMG2Pose": TDS,
    "VEMG2Pose": TDS,
    "NeuroPose": dict(
        time_pools=(1, 2, 4),
        widths=(2, 4, 8),
        n_residual_blocks=1,
        early_stopping=False,
    ),
}


def small(name, **parameters):
    """Make a small estimator; the MAEs in another one get their seeds from it.

    Parameters
    ----------
    name : str
        Name of its class.

    **parameters
        Parameters other than those of `TRAINING` and `SIZES`.
    """
    if name == "CPEP":
        maes = {
            f"{modality}_encoder": small("MAE", patch_length=length, random_state=None)
            for modality, length in (("emg", 5), ("pose", 4))
            if f"{modality}_encoder" not in parameters
        }
        parameters = maes | parameters
    if name == "EncoderClassifier" and "encoder" not in parameters:
        parameters["encoder"] = small("MAE", random_state=None)
    return getattr(sk_cpep, name)(**TRAINING | SIZES[name] | parameters)
