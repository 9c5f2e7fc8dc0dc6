"""The arguments of ``python -m sk_cpep fit``, without what it computes with."""

import argparse

EXAMPLE = """
[data]
pack = "packed"            # a folder that python -m sk_cpep pack made; and, as in
split = "train"            # load_pack: size, stride, users, stages, sides, ...
normalise = "channel"      # each channel of a window to mean 0, SD 1; or "window"
# groups = "users"         # batches of one person each
# validation_groups = "recordings"  # what early_stopping sets aside whole, or "users"
# or .npy files of windows (n_windows, n_channels, n_times):
# emg = "emg.npy"
# pose = "pose.npy"
# groups = "users.npy"
# validation_groups = "recordings.npy"

[cpep]                     # the parameters of CPEP
max_epochs = 100
random_state = 0

[cpep.emg_encoder]         # those of its MAEs, or fitted = "mae.joblib"
max_epochs = 100

[cpep.pose_encoder]
max_epochs = 100

# or, instead of [cpep], one autoencoder:
# [mae]
# modality = "emg"         # or "pose"

[output]
model = "cpep.joblib"      # for joblib.load
# overwrite = true
run_dir = "runs"           # a fit that is interrupted is resumed from here, and
                           # random_state is 0 where it is not given
"""


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m sk_cpep fit``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "an example of a file:\n" + EXAMPLE + "\nSeveral GPUs: accelerate launch -m "
        "sk_cpep fit CONFIG (extra: distributed)."
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="TOML file: [data], [cpep] or [mae], [output]; paths in it are relative "
        "to its folder. What fitted = names is unpickled, which runs code that is in "
        "it: name only files that you trust",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no progress bars, the result only"
    )
