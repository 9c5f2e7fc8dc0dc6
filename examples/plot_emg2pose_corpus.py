"""
=======================================
Read, pack and split an emg2pose corpus
=======================================

emg2pose is hundreds of gigabytes of wristband EMG and joint angles. Its windows stay on
disk until a batch of them is asked for; packing filters every recording once and makes
reading several times as fast. Here a small simulated corpus of the same format stands
in for the download.
"""

# %%
# A corpus
# --------
# Exactly emg2pose's files: a table, and an HDF5 file for each hand of each recording.
# Inverse kinematics fails now and then, as it does there.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold

from sk_cpep import BandpassNotch
from sk_cpep.datasets import (
    load_emg2pose,
    load_pack,
    pack_emg2pose,
    write_emg2pose_corpus,
)
from sk_cpep.evaluation import GESTURE_STAGES, paper_splits

temporary = tempfile.TemporaryDirectory()
root = write_emg2pose_corpus(
    Path(temporary.name) / "corpus",
    6,
    stages=[stage for stage, _ in GESTURE_STAGES.values()],
    n_val_users=2,
    n_test_users=2,
    n_sessions=1,
    seconds=5.0,
    random_state=0,
)

# %%
# Windows that stay on disk
# -------------------------
# They go through scikit-learn's splitters unread. Windows that hold a failure are
# dropped, and counted.

corpus = load_emg2pose(root, split="train", size=4000, stride=1000)
print(corpus.emg, corpus.pose)
print(corpus.DESCR)

fold = next(GroupKFold(2).split(corpus.emg, groups=corpus.users))[0]
some = corpus.emg[fold]  # still on disk
batch = some.__getitems__(np.arange(8))  # read now: (8, 16, 4000)

# %%
# Packed
# ------
# Filtered on whole recordings, then stored; the same command goes on after a kill.

pack = Path(temporary.name) / "pack"
pack_emg2pose(root, pack, filter=BandpassNotch(2, 250, 60, sfreq=2000))
packed = load_pack(pack, size=4000, stride=1000)

# %%
# The paper's sets
# ----------------
# Who pre-trains, who trains the probes, who tunes and who is evaluated on.

sets = paper_splits(
    packed.users, packed.stages, packed.splits, packed.generalizations, n_tuning_users=1
)
sizes = {
    "pre-train": len(sets.pretrain),
    "probe, in distribution": len(sets.probe_train.in_distribution),
    "probe, unseen": len(sets.probe_train.unseen),
    "evaluate, in distribution": len(sets.eval.in_distribution),
    "evaluate, unseen": len(sets.eval.unseen),
}
print(sizes)

row = sets.eval.unseen[0]
window = packed.windows[row]
times = np.arange(4000) / packed.sfreq
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, layout="constrained")
top.plot(times, packed.emg[row].T + 40 * np.arange(16), lw=0.4, color="tab:blue")
top.set(ylabel="EMG, 16 channels\n(SD of the noise floor)", yticks=[])
top.set_title(f"{packed.stages[row]}, {packed.sides[row]} hand, filtered and packed")
pose = np.rad2deg(packed.pose[row].T)
bottom.plot(np.arange(len(pose)) / packed.pose_sfreq, pose, lw=0.8)
bottom.set(ylabel="joint angles (degrees)", xlabel="time (s)")
plt.show()
temporary.cleanup()
