"""
============================================
An encoder, a loss and a sensor of one's own
============================================

Four things that research on such embeddings wants to exchange: how windows become
tokens, the network that embeds them, the loss that aligns them with poses, and the
sensor that they come from. Each is a parameter of :class:`~sk_cpep.CPEP` or of one of
its encoders; no file of the package is touched.
"""

# %%
# Windows of two sensors, and poses
# ---------------------------------
# Envelopes of EMG and joint angles of eight simulated people, at 50 Hz, in windows of
# one second. An inertial sensor (IMU) of six channels is simulated too: it feels a
# mixture of the speeds of the joints and of where they are, and noise.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from sk_cpep import (
    CPEP,
    MAE,
    BandpassNotch,
    InstanceNorm,
    ModuleEncoder,
    ZeroShotClassifier,
    make_windows,
)
from sk_cpep.datasets import make_gesture_recordings

gestures = ["fist", "open", "point", "peace"]
rates = {"sfreq": 500, "pose_sfreq": 50}
data = make_gesture_recordings(
    8, gestures, n_repetitions=3, **rates, user_variability=0.5, random_state=0
)
emg = BandpassNotch(20, 200, 50, sfreq=500).fit_transform(data.emg)
rectified = [np.abs(x) for x in emg]
envelope = BandpassNotch(None, 5, None, sfreq=500).fit_transform(rectified)
rng = np.random.default_rng(0)
mix = rng.normal(size=(6, 2 * len(data.pose[0])))
felt = [mix @ np.vstack([50 * np.gradient(p, axis=1), p]) for p in data.pose]
X, imu, P, y, users = make_windows(
    [np.log(x[:, ::10].clip(min=0.1)) for x in envelope],
    [x + rng.normal(size=x.shape) for x in felt],
    data.pose,
    [labels[::10] for labels in data.labels],
    data.users,
    size=50,
    stride=15,
    purity=0.6,
    rates=[50, 50, 50, None, None],
)
X, imu = (InstanceNorm(over="window").fit_transform(a) for a in (X, imu))

# %%
# A network and a loss
# --------------------
# An encoder is any ``torch.nn.Module`` that is made with the sizes of the windows and
# embeds each as one vector. A loss takes the embeddings of a batch of pairs, of unit
# length, and a scale that is learned; here, every pose has to be a margin nearer to its
# own window than to any other.


class Recurrent(nn.Module):
    """Both directions of a recurrent layer, averaged over time."""

    def __init__(self, n_channels, n_times, width):
        super().__init__()
        self.layers = nn.GRU(n_channels, width, batch_first=True, bidirectional=True)

    def forward(self, x):
        """Embed windows (n_windows, n_channels, n_times)."""
        return self.layers(x.transpose(1, 2))[0].mean(dim=1)


def margin(u, v, scale):
    """A smooth maximum of how far other windows come within the margin."""
    similarity = u @ v.T  # (n_windows, n_windows)
    others = 1 - torch.eye(len(u), device=u.device)
    gap = similarity - (u * v).sum(dim=1) + 0.2 * others
    return torch.logsumexp(scale * gap, dim=0).mean() / scale.detach()


# %%
# One space of poses for all of them
# ----------------------------------
# The pose encoder is trained once and frozen. Whatever is aligned with it is then
# searched in the same gallery. Two people are held out.

train, test = (users < 6), (users >= 6) & (y > 0)
stage = {"lr": 2e-3, "batch_size": 64, "random_state": 0}
sizes = {"d_model": 32, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 4}
pose = FrozenEstimator(MAE(10, max_epochs=4, **sizes, **stage).fit(P[train]))
patches = MAE(5, max_epochs=4, **sizes, **stage)
stem = MAE(5, tokenizer="conv", max_epochs=4, **sizes, **stage)
network = ModuleEncoder(Recurrent, module__width=16)

tries = {
    "patches": (X, patches, {}),
    "convolutional stem": (X, stem, {}),
    "SigLIP": (X, patches, {"loss": "siglip"}),
    "margin": (X, patches, {"loss": margin}),
    "recurrent network": (X, network, {}),
    "IMU, recurrent network": (imu, network, {"channel_rotation": 0}),
}
accuracy = {}
for name, (windows, encoder, options) in tries.items():
    cpep = CPEP(encoder, pose, center_pose=True, max_epochs=10, **stage, **options)
    cpep.fit(windows[train], P[train])
    zero = ZeroShotClassifier(cpep).fit(P[train & (y > 0)], y[train & (y > 0)])
    accuracy[name] = balanced_accuracy_score(y[test], zero.predict(windows[test]))
    print(f"{name}: {accuracy[name]:.2f} (chance 0.25)")

# %%
# Whatever it is, zero-shot names gestures of people whom it has never seen. (Simulated
# people are too few and too simple for more than that to be read off the figures.)

figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.barh(list(accuracy), list(accuracy.values()))
ax.axvline(0.25, color="k", linestyle=":", label="chance")
ax.set(xlabel="macro accuracy, two people held out", xlim=(0, 1))
ax.invert_yaxis()
ax.legend(loc="lower right", bbox_to_anchor=(1, 1))
plt.show()
