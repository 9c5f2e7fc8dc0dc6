"""
============================================
Align EMG with pose, and search the settings
============================================

:class:`~sk_cpep.CPEP` pulls the embedding of an EMG window towards that of the pose
of the same moment. It is an ordinary estimator: autoencoders that are trained already
go in frozen, and :class:`~sklearn.model_selection.GridSearchCV` searches patch
lengths and mask ratios, with whole people held out.
"""

# %%
# Windows
# -------
# Envelopes of EMG and joint angles of ten simulated people, both at 50 Hz, in windows
# of one second.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold

from sk_cpep import CPEP, MAE, BandpassNotch, InstanceNorm, make_windows
from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.plotting import EmbeddingDisplay, TrainingCurveDisplay

data = make_gesture_recordings(
    10,
    ["fist", "open", "point", "peace"],
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

X, P, y, users = make_windows(
    envelope,
    data.pose,
    [labels[::10] for labels in data.labels],
    data.users,
    size=50,
    stride=12,
    purity=0.6,
    rates=[50, 50, None, None],
)
X = InstanceNorm(over="window").fit_transform(X)
held_out = users >= 8
print("EMG windows:", X.shape, " pose windows:", P.shape)

# %%
# Align
# -----
# Both autoencoders are trained once and handed over frozen: alignment trains a copy of
# the EMG encoder. Two people are held out. Poses of one hand are all rather alike;
# ``center_pose`` compares them by how they differ from their mean. A temperature above
# the paper's 0.02 asks for embeddings that lie close, not only closer than the others.

small = {"d_model": 32, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 4}
stage = {"lr": 2e-3, "batch_size": 64, "random_state": 0}
emg_mae = MAE(5, max_epochs=4, **small, **stage).fit(X[~held_out])
pose_mae = MAE(10, max_epochs=4, **small, **stage).fit(P[~held_out])
cpep = CPEP(
    FrozenEstimator(emg_mae),
    FrozenEstimator(pose_mae),
    center_pose=True,
    temperature=0.1,
    pooling="mean",
    max_epochs=12,
    **stage,
)
cpep.fit(X[~held_out], P[~held_out])
TrainingCurveDisplay.from_estimator(cpep)

# %%
# The two modalities of the people held out, before and after. Before, each has a space
# of its own; after, EMG lies where the pose of its gesture is.

making = held_out & (y > 0)
names = np.array(data.gesture_names)[y[making]]
EmbeddingDisplay.from_predictions(
    cpep.transform(X[making]),
    cpep.transform_pose(P[making]),
    names,
    before=(emg_mae.transform(X[making]), pose_mae.transform(P[making])),
)
similarity = cpep.transform(X[making]) @ cpep.transform_pose(P[making]).T
same = names[:, np.newaxis] == names
print(f"similarity to poses of the same gesture {similarity[same].mean():.2f},")
print(f"of other gestures {similarity[~same].mean():.2f}")

# %%
# When to stop
# ------------
# ``early_stopping`` watches the loss on windows that are set aside. Windows overlap, and
# each person moves in a way of their own: so those of whole people are set aside, not
# some of everybody's.

stopping = clone(cpep).set_params(early_stopping=True, n_iter_no_change=2)
stopping.fit(X[~held_out], P[~held_out], validation_groups=users[~held_out])
losses = [epoch["valid_loss"] for epoch in stopping.history_["alignment"]]
print(f"best on people set aside after {np.argmin(losses) + 1} of {len(losses)} epochs")

# %%
# Search
# ------
# Every candidate is pre-trained and aligned anew in each fold. The score is top-1
# retrieval: how often the pose nearest to an EMG window is its own, among all poses
# of the fold. That is a hard question, for neighbouring windows look alike; chance is
# one in their number. Four people and a few epochs will do here; a real search takes
# more of both.

quick = {**small, **stage, "max_epochs": 2}
search = GridSearchCV(
    CPEP(MAE(5, **quick), MAE(10, **quick), center_pose=True, max_epochs=6, **stage),
    {
        "emg_encoder__patch_length": [5, 10],
        "emg_encoder__mask_ratio": [0.25, 0.75],
    },
    cv=GroupKFold(2),
)
few = users < 4
search.fit(X[few], P[few], groups=users[few])
print("best:", search.best_params_)

# %%
# All that were tried. With so few people their folds differ more than the settings
# do: look at the spread before trusting the best.

results = search.cv_results_
chance = 2 / few.sum()
labels = [
    f"patch {params['emg_encoder__patch_length']}\n"
    f"mask {params['emg_encoder__mask_ratio']}"
    for params in results["params"]
]
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.bar(labels, results["mean_test_score"], color="C0", alpha=0.6, width=0.6)
for fold in range(2):
    ax.plot(labels, results[f"split{fold}_test_score"], "ko", ms=4)
ax.axhline(chance, color="0.4", ls="--", lw=1, label="chance")
ax.set(ylabel="top-1 retrieval", title="each point: the people of one fold")
ax.legend()
plt.show()
