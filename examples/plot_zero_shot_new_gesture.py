"""
=================================================
Name gestures from poses alone, and add a new one
=================================================

:class:`~sk_cpep.ZeroShotClassifier` reads a gesture off EMG without ever having seen
an EMG label: it looks up the poses that lie nearest, and they vote. A gesture that no
training stage has seen is added by showing poses of it.
"""

# %%
# Known gestures, and one that nobody knows yet
# ---------------------------------------------
# Twelve simulated people make six gestures; the same people also make a seventh, which
# is kept away from all training. Two people are held out altogether.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, balanced_accuracy_score

from sk_cpep import (
    CPEP,
    MAE,
    BandpassNotch,
    InstanceNorm,
    ZeroShotClassifier,
    make_windows,
)
from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.plotting import RetrievalDisplay

KNOWN = ["fist", "open", "point", "thumbs_up", "peace", "index_pinch"]
NEW = "ok"


def windows_of(gestures):
    """EMG envelopes, poses (radians), names and people, in one-second windows."""
    data = make_gesture_recordings(
        12,
        gestures,
        n_repetitions=3,
        sfreq=500,
        pose_sfreq=50,
        user_variability=0.5,
        random_state=0,
    )
    emg = BandpassNotch(20, 200, 50, sfreq=500).fit_transform(data.emg)
    smooth = BandpassNotch(None, 5, None, sfreq=500)
    envelope = smooth.fit_transform([np.abs(x) for x in emg])
    X, P, y, users = make_windows(
        [np.log(np.maximum(x[:, ::10], 0.1)) for x in envelope],
        data.pose,
        [labels[::10] for labels in data.labels],
        data.users,
        size=50,
        stride=12,
        purity=0.7,
        rates=[50, 50, None, None],
    )
    X = InstanceNorm(over="window").fit_transform(X)
    return X, P, np.array(data.gesture_names)[y], users


X, P, y, users = windows_of(KNOWN)
X_new, P_new, y_new, users_new = windows_of([NEW])
train, test = users < 10, users >= 10

# %%
# Pre-train and align
# -------------------
# On all windows of ten people, rest included. No label is used. Poses of one hand are
# all rather alike; ``center_pose`` compares them by how they differ from their mean.

small = {"d_model": 32, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 4}
stage = {"lr": 2e-3, "batch_size": 64, "random_state": 0}
cpep = CPEP(
    emg_encoder=MAE(5, max_epochs=4, **small, **stage),
    pose_encoder=MAE(10, max_epochs=4, **small, **stage),
    center_pose=True,
    max_epochs=15,
    **stage,
)
cpep.fit(X[train], P[train])

# %%
# Zero-shot
# ---------
# The gallery: poses of the ten people, with their names. The queries: EMG of the two
# others.

gallery, queries = train & (y != "rest"), test & (y != "rest")
zero = ZeroShotClassifier(cpep, n_neighbors=10).fit(P[gallery], y[gallery])
accuracy = balanced_accuracy_score(y[queries], zero.predict(X[queries]))
print(f"zero-shot, {len(KNOWN)} gestures: {accuracy:.2f} (chance {1 / len(KNOWN):.2f})")

# %%
# A new gesture, from poses only
# ------------------------------
# Before, its EMG is taken for the gestures that are nearest to it. Then poses of it
# are added, those of the ten people; nothing is trained.

new_gallery = (users_new < 10) & (y_new == NEW)
new_queries = (users_new >= 10) & (y_new == NEW)
names, counts = np.unique(zero.predict(X_new[new_queries]), return_counts=True)
print("before:", dict(zip(names.tolist(), counts.tolist(), strict=True)))

zero.partial_fit(P_new[new_gallery], y_new[new_gallery])
new_recall = np.mean(zero.predict(X_new[new_queries]) == NEW)
print(f"after: {new_recall:.0%} of its windows are read as {NEW}")

# %%
# All seven gestures of the people held out. What is new also draws windows away from
# the gestures that it resembles.

X_test = np.concatenate([X[queries], X_new[new_queries]])
y_test = np.concatenate([y[queries], y_new[new_queries]])
predicted = zero.predict(X_test)
accuracy_with_new = balanced_accuracy_score(y_test, predicted)

figure, ax = plt.subplots(figsize=(6.5, 6), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    y_test,
    predicted,
    normalize="true",
    values_format=".2f",
    cmap="Blues",
    colorbar=False,
    xticks_rotation=30,
    ax=ax,
)
ax.set_title(f"EMG of two new people, macro accuracy {accuracy_with_new:.2f}")

# %%
# What did it look up? One EMG window of the new gesture, and the poses nearest to it.

P_gallery = np.concatenate([P[gallery], P_new[new_gallery]])
RetrievalDisplay.from_estimator(
    zero, X_new[new_queries], P_gallery, 5, y=y_new[new_queries], sfreq=50, unit="SD"
)
plt.show()
