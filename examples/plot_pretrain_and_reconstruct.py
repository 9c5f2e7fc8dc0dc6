"""
===============================================
Pre-train an autoencoder, look at what it knows
===============================================

:class:`~sk_cpep.MAE` hides half the patches of a window and learns to rebuild them
from the others. What it can rebuild, it has understood: here the course of joint
angles, and the envelope of muscle activity.
"""

# %%
# Windows of envelopes and of poses
# ---------------------------------
# The envelope of EMG is what is left when the rectified signal is smoothed: its
# logarithm at 50 Hz says how hard the muscles under each electrode pull.

import matplotlib.pyplot as plt
import numpy as np

from sk_cpep import MAE, BandpassNotch, InstanceNorm, make_windows
from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.plotting import ReconstructionDisplay, TrainingCurveDisplay

data = make_gesture_recordings(
    6,
    ["fist", "open", "point", "thumbs_up", "peace"],
    n_repetitions=3,
    sfreq=500,
    pose_sfreq=50,
    user_variability=0.5,
    random_state=0,
)
emg = BandpassNotch(20, 200, 50, sfreq=500).fit_transform(data.emg)
smooth = BandpassNotch(None, 5, None, sfreq=500)
envelope = smooth.fit_transform([np.abs(x) for x in emg])
envelope = [np.log(np.maximum(x[:, ::10], 0.1)) for x in envelope]

norm = InstanceNorm()
X, P, users = make_windows(
    norm.fit_transform(envelope),
    norm.fit_transform(data.pose),
    data.users,
    size=100,
    stride=20,
    rates=[50, 50, None],
)
held_out = users == 5
print("EMG windows:", X.shape, " pose windows:", P.shape)

# %%
# Pre-train
# ---------
# One autoencoder for each modality; the last person is held out.

small = {
    "d_model": 64,
    "n_layers": 1,
    "n_decoder_layers": 1,
    "n_heads": 4,
    "lr": 3e-3,
    "batch_size": 32,
    "early_stopping": True,
    "random_state": 0,
}
emg_mae = MAE(5, mask_ratio=0.5, max_epochs=8, **small).fit(X[~held_out])
pose_mae = MAE(5, mask_ratio=0.5, max_epochs=25, **small).fit(P[~held_out])

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
for ax, mae, name in zip(axes, (emg_mae, pose_mae), ("EMG", "pose"), strict=True):
    TrainingCurveDisplay.from_estimator(mae, ax=ax)
    ax.set_title(name)
axes[1].set_ylabel("")

# %%
# Rebuild
# -------
# Two seconds of the person that neither has seen; the shaded patches were hidden.
# Pose runs smoothly and is rebuilt well, EMG only as far as it follows the movement:
# the noise of a muscle cannot be guessed.

window = 12
ReconstructionDisplay.from_estimator(
    pose_mae, P[held_out], window, channels=[5, 9, 13, 17], sfreq=50, unit="SD"
)
ReconstructionDisplay.from_estimator(
    emg_mae, X[held_out], window, channels=[0, 4, 8, 12], sfreq=50, unit="SD"
)

# %%
# How much is that? ``score`` is the negative mean squared error over hidden patches;
# divided by their variance it is the share that stays unexplained.

explained = {
    "EMG": 1 + emg_mae.score(X[held_out]) / X[held_out].var(),
    "pose": 1 + pose_mae.score(P[held_out]) / P[held_out].var(),
}
for name, share in explained.items():
    print(f"{name}: {share:.0%} of the variance of hidden patches explained")

# %%
# A mask of one's own asks a question of one's own: what happened while the cameras saw
# nothing? Here a stretch of 0.4 s is lost in the midst of a movement.

lost = np.zeros(pose_mae.n_tokens_, dtype=bool)
lost[9:13] = True
bridged, _ = pose_mae.reconstruct(P[held_out], mask=lost)
ReconstructionDisplay(
    P[held_out][window],
    bridged[window],
    lost,
    pose_mae.patch_length,
    channels=[5, 9],
    sfreq=50,
    unit="SD",
).plot()
plt.show()
