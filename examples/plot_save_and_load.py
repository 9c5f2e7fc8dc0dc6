"""
=========================================
Save a fitted pipeline, load it elsewhere
=========================================

A fitted pipeline is saved with joblib or pickle like any other estimator. It is kept
as its weights, loads on a machine without a GPU, says so if it was saved by another
version of sk_cpep, and gives the same output in another process, bit for bit.
"""

# %%
# Fit something
# -------------
# Raw EMG in, embeddings out; a few epochs on few windows, for this is about saving.

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import Pipeline

from sk_cpep import CPEP, MAE, BandpassNotch, InstanceNorm, make_windows
from sk_cpep.datasets import make_gesture_recordings

data = make_gesture_recordings(
    2, ["fist", "open"], n_repetitions=2, sfreq=500, pose_sfreq=50, random_state=0
)
X, P = make_windows(data.emg, data.pose, size=500, stride=250, rates=[500, 50])
quick = {"batch_size": 32, "max_epochs": 2, "random_state": 0}
small = {"d_model": 64, "n_layers": 2, "n_decoder_layers": 1, **quick}
pipe = Pipeline(
    [
        ("filter", BandpassNotch(20, 200, 50, sfreq=500)),
        ("norm", InstanceNorm(over="window")),
        ("cpep", CPEP(MAE(25, **small), MAE(10, **small), **quick)),
    ]
).fit(X, P)
Z = pipe.transform(X)

# %%
# Save and load
# -------------
# Into a folder that is gone afterwards. The other process has nothing but the file
# and the windows.

OTHER_PROCESS = """
import sys, joblib, numpy as np
folder = sys.argv[1]
pipe = joblib.load(f"{folder}/pipe.joblib")
np.save(f"{folder}/Z.npy", pipe.transform(np.load(f"{folder}/X.npy")))
"""

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    joblib.dump(pipe, folder / "pipe.joblib")
    np.save(folder / "X.npy", X)
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, name], check=True)
    Z_elsewhere = np.load(folder / "Z.npy")
    size = (folder / "pipe.joblib").stat().st_size

bit_equal = np.array_equal(Z, Z_elsewhere)
print("bit for bit the same:", bit_equal)

# %%
# pickle does the same. As with every pickle: load only files that you trust.

reloaded = pickle.loads(pickle.dumps(pipe))
pickle_equal = np.array_equal(Z, reloaded.transform(X))

# %%
# How large is the file?
# ----------------------
# Hardly larger than the weights of both encoders and the projection. The decoders are
# not kept: they are needed for pre-training only.

weights = sum(4 * w.numel() for w in pipe[-1].module_.state_dict().values())
overhead = size / weights
print(f"{size / 1024:.0f} KiB, {overhead:.2f} times the bytes of the weights")

figure, ax = plt.subplots(figsize=(7, 1.8), layout="constrained")
parts = {
    "EMG encoder": pipe[-1].module_.emg_encoder,
    "pose encoder": pipe[-1].module_.pose_encoder,
}
left = 0
for part, module in parts.items():
    width = sum(4 * w.numel() for w in module.state_dict().values()) / 1024
    ax.barh(0, width, left=left, label=part)
    left += width
ax.barh(0, weights / 1024 - left, left=left, label="projection")
ax.barh(0, (size - weights) / 1024, left=weights / 1024, label="everything else")
ax.set(xlabel="size of the file (KiB)", yticks=[], ylim=(-0.6, 0.6))
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
plt.show()
