"""
Fingers from EMG, on a real recording
=====================================

Two and a half minutes of one person, EMG of the forearm with fingers from a webcam, come
with the package. CPEP learns from the first 70 %, without a label: which EMG goes with
which fingers. Then the nearest poses say of each finger whether it is open, from EMG alone,
in the rest. Beside it stands the simplest rival, which is given the labels. One person is
no evidence of anything: this is to see how the parts go together.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_cpep import (
    CPEP,
    MAE,
    AmplitudeFeatures,
    BandpassNotch,
    Envelope,
    InstanceNorm,
    ZeroShotClassifier,
    make_windows,
)
from sk_cpep.datasets import load_example

SECOND, STRIDE = 125, 6

# %%
# Two electrodes are flat for parts of the time, and are left out. The envelope is a curve
# that a small network learns from.
data = load_example("fingers")
emg = [np.delete(data.emg[0], [10, 14], axis=0)]
filtered = BandpassNotch(15, 55, notch=None, sfreq=data.sfreq).fit_transform(emg)
envelope = Envelope(0.15, sfreq=data.sfreq, power=0.5).fit_transform(filtered)
X, P, raw, where = make_windows(
    InstanceNorm().fit_transform(envelope),
    data.pose,
    filtered,
    size=SECOND,
    stride=STRIDE,
    return_provenance=True,
)
n = int(0.7 * len(X))
early, late = np.arange(n - SECOND // STRIDE - 1), np.arange(n, len(X))
is_open = P[:, :, -10:].mean(axis=2) > 0.5  # at the end of each window
P = 2 * P - 1

# %%
# Both masked autoencoders, then the alignment: half a minute.
small = dict(d_model=32, n_layers=2, n_decoder_layers=1, n_heads=4, pooling="mean")
stage = dict(lr=2e-3, batch_size=64, random_state=0)
mae = MAE(patch_length=25, max_epochs=15, **small, **stage)
cpep = CPEP(
    mae,
    mae,
    pooling="mean",
    temperature=0.1,
    learn_temperature=False,
    target_temperature=0.1,
    center_pose=True,
    channel_rotation=0,
    amplitude_jitter=0.3,
    max_epochs=25,
    **stage,
)
cpep.fit(X[early], P[early])

# %%
# The nearest poses of the first part name each finger of the last. The rival learns from
# labels, and its penalty is chosen on stretches of the first part.
features = AmplitudeFeatures(10, 0.5).fit_transform(raw)
named, learned = [], []
for finger in range(5):
    y = is_open[:, finger]
    zero = ZeroShotClassifier(cpep).fit(P[early], y[early])
    named.append(zero.predict(X[late]))
    rival = GridSearchCV(
        make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
        ),
        {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1]},
        cv=KFold(3),
        scoring="balanced_accuracy",
    )
    learned.append(rival.fit(features[early], y[early]).predict(features[late]))
accuracy = {}
print("balanced accuracy    no labels   rival, with labels")
for finger, name in enumerate(data.joint_names):
    scores = [
        balanced_accuracy_score(is_open[late, finger], guess[finger])
        for guess in (named, learned)
    ]
    accuracy[name] = scores[0]
    print("{:<20} {:>9.2f} {:>20.2f}".format(name, *scores))

# %%
# Open (up) and closed (down) over the last part: what was seen, and what EMG says.
seconds = where["stop"][late] / data.sfreq
fig, ax = plt.subplots(figsize=(10, 4.5), layout="constrained")
for finger in range(5):
    truth, guess = is_open[late, finger], named[finger]
    ax.fill_between(
        seconds, -finger, 0.7 * truth - finger, color="0.85", step="post", linewidth=0
    )
    ax.step(seconds, 0.7 * guess - finger, where="post", color=f"C{finger}")
ax.set_yticks(0.35 - np.arange(5), data.joint_names)
ax.set_xlabel("seconds")
ax.set_title("Fingers, open or closed: webcam (grey) and the nearest poses (lines)")
plt.show()
