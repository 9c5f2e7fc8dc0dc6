"""emg2pose's published format: names, layout and counts."""

import numpy as np

from .._tables import read_table

SFREQ = 2000.0
N_CHANNELS = 16
N_JOINTS = 20
JOINT_NAMES = ("THUMB_CMC_FE", "THUMB_CMC_AA", "THUMB_MCP_FE", "THUMB_IP_FE") + tuple(
    f"{finger}_{joint}"
    for finger in ("INDEX", "MIDDLE", "RING", "PINKY")
    for joint in ("MCP_AA", "MCP_FE", "PIP_FE", "DIP_FE")
)
CHANNEL_NAMES = tuple(f"EMG{channel:02d}" for channel in range(1, N_CHANNELS + 1))

# Of each finger, its four angles; of each group, those as far from the wrist.
FINGER_JOINTS = {
    finger: tuple(j for j, name in enumerate(JOINT_NAMES) if name.startswith(finger))
    for finger in ("THUMB", "INDEX", "MIDDLE", "RING", "PINKY")
}
JOINT_GROUPS = {
    "proximal": (0, 1, 4, 5, 8, 9, 12, 13, 16, 17),
    "mid": (2, 6, 10, 14, 18),
    "distal": (3, 7, 11, 15, 19),
}

METADATA_FILE = "metadata.csv"
METADATA_DTYPE = np.dtype(
    [
        ("session", object),
        ("user", object),
        ("stage", object),
        ("start", np.float64),
        ("end", np.float64),
        ("side", object),
        ("filename", object),
        ("moving_hand", object),
        ("held_out_user", np.bool_),
        ("held_out_stage", np.bool_),
        ("split", object),
        ("generalization", object),
    ]
)
METADATA_COLUMNS = METADATA_DTYPE.names or ()

TIMESERIES = "emg2pose/timeseries"
TIMESERIES_DTYPE = np.dtype(
    [
        ("time", "<f8"),
        ("joint_angles", "<f8", (N_JOINTS,)),
        ("emg", "<f4", (N_CHANNELS,)),
    ]
)

SIDES = ("left", "right")
SPLITS = ("train", "val", "test")
# (held-out user, held-out stage) by how a model generalises that meets them.
HELD_OUT = {
    "none": (False, False),
    "user": (True, False),
    "stage": (False, True),
    "user_stage": (True, True),
}
GENERALIZATIONS = tuple(HELD_OUT)

_STAGES = read_table(__package__, "stages.toml")
STAGES: tuple[str, ...] = tuple(_STAGES["all"])
HELD_OUT_STAGES: tuple[str, ...] = tuple(_STAGES["held_out"])

# (split, generalization): (files, users, stages). No other pair was published.
PUBLISHED_COUNTS = {
    ("train", "none"): (17136, 158, 23),
    ("val", "user"): (1618, 15, 23),
    ("val", "user_stage"): (332, 15, 6),
    ("test", "user"): (2172, 20, 23),
    ("test", "stage"): (3539, 158, 6),
    ("test", "user_stage"): (456, 20, 6),
}
PUBLISHED_TOTALS = {"files": 25253, "users": 193, "stages": 29}
