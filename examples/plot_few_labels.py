"""
Few labels, and a new gesture
=============================

What pre-training on poses is worth shows where labels are few. Probes learn from the labels
of one person, of several, of all, the same people for every method; without labels the
nearest poses name the gesture. Then a gesture that the encoder has not seen is added to
those that it has: they draw it, and a penalty on them gives some of it back.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from sk_cpep import CPEP, MAE
from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.evaluation import (
    cut_gesture_windows,
    fold_users,
    generalised_zero_shot,
    label_efficiency,
    paired_difference,
    split_gestures,
    tune_seen_penalty,
)
from sk_cpep.plotting import LabelEfficiencyDisplay

# %%
# Simulated people that differ much from each other. Two gestures are kept from all training;
# a third of the people are only tested on.
people = make_gesture_recordings(
    15,
    8,
    n_repetitions=4,
    sfreq=200,
    pose_sfreq=50,
    user_variability=1.5,
    random_state=0,
)
UNSEEN = people.gesture_names[-2:]
windows = cut_gesture_windows(
    people,
    unseen=UNSEEN,
    filter={"low": 20.0, "high": 90.0, "notch": 50.0},
    envelope=5.0,
    probe_stride=0.5,
)
tested, tuning, _ = fold_users(people.users, 3)
fold = split_gestures(*windows, tested, UNSEEN)

# %%
# One masked autoencoder for each modality, then the alignment, a batch of one person at a
# time.
small = dict(d_model=32, n_layers=2, n_decoder_layers=1, n_heads=4, mlp_ratio=2.0)
stage = dict(lr=1e-3, weight_decay=0.05, random_state=0)


def align(windows):
    """CPEP and the EMG autoencoder that it starts from."""
    emg = MAE(20, max_epochs=6, pooling="mean", **small, **stage).fit(windows.X)
    pose = MAE(25, max_epochs=6, pooling="mean", **small, **stage).fit(windows.P)
    cpep = CPEP(
        FrozenEstimator(emg),
        FrozenEstimator(pose),
        pooling="mean",
        center_pose=True,
        temperature=0.2,
        learn_temperature=False,
        target_temperature=0.2,
        batch_size=128,
        max_epochs=15,
        **stage,
    )
    return cpep.fit(windows.X, windows.P, groups=windows.users), emg


cpep, emg_mae = align(fold.pretrain)

# %%
# The simple rival reads the square root of the envelope in ten time bins: the windows carry
# it as features.
train, test = fold.train["in_distribution"], fold.test["in_distribution"]
records = label_efficiency(
    {"EMG-MAE": emg_mae, "CPEP": cpep},
    train,
    test,
    n_people=(1, 2, 4, "all"),
    n_draws=6,
)
records += label_efficiency(
    {"Amplitude in ten bins": None},
    (train.features, train.y, train.users),
    (test.features, test.y, test.users),
    n_people=(1, 2, 4, "all"),
    n_draws=6,
)
LabelEfficiencyDisplay.from_records(records)
plt.show()

few = {
    r["method"]: r
    for r in records
    if (r["protocol"], r["n_people"]) == ("linear_probe", 1)
}
for rival in ("EMG-MAE", "Amplitude in ten bins"):
    found = paired_difference(few["CPEP"], few[rival])
    low, high = found["interval"]
    print(
        f"one person's labels: CPEP less {rival} {found['mean']:+.2f} "
        f"[{low:+.2f}, {high:+.2f}]"
    )

# %%
# A penalty has to be chosen on other people, with other gestures: two of those that the
# encoder above has seen are left out of a pre-training of their own.
seen = np.unique(train.y)
left_out = seen[:2].tolist()
inner = cut_gesture_windows(
    people,
    unseen=[*UNSEEN, *left_out],
    filter={"low": 20.0, "high": 90.0, "notch": 50.0},
    envelope=5.0,
    probe_stride=0.5,
)
inner = [part.select(~np.isin(part.users, tested)) for part in inner]
inner[1] = inner[1].select(np.isin(inner[1].y, seen))
inner_fold = split_gestures(*inner, tuning)
other, _ = align(inner_fold.pretrain)
poses, queries = (
    part["in_distribution"] for part in (inner_fold.train, inner_fold.test)
)
penalty, _ = tune_seen_penalty(
    (other.transform_pose(poses.P), poses.y, poses.users),
    (other.transform(queries.X), queries.y, queries.users),
    seen=seen[2:],
)

# %%
# Seen and new gestures in one gallery, without the penalty and with it.
gallery, queries = (
    tuple(
        np.concatenate([getattr(part[kind], name) for kind in part])
        for name in (signal, "y", "users")
    )
    for part, signal in ((fold.train, "P"), (fold.test, "X"))
)
harmonic = {}
for taken_off in (0.0, penalty):
    of_seen, of_new, both = generalised_zero_shot(
        cpep, gallery, queries, seen=seen, seen_penalty=taken_off
    )
    harmonic[taken_off] = both["mean"]
    print(
        f"penalty {taken_off:g}: seen {of_seen['mean']:.2f}, new {of_new['mean']:.2f}, "
        f"harmonic mean {both['mean']:.2f}"
    )
