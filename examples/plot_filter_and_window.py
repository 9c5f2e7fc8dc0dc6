"""
===================================
Filter recordings, then cut windows
===================================

Continuous recordings of EMG and hand pose become paired windows: power-line hum and
drift are filtered out, and :func:`~sk_cpep.make_windows` cuts EMG, pose, labels and
people along the same lines, although each has a rate of its own.
"""

# %%
# Recordings
# ----------
# Two simulated people make three gestures. EMG comes at 2000 Hz, pose at 60 Hz; every
# recording has its own length.

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import welch

from sk_cpep import BandpassNotch, InstanceNorm, make_windows
from sk_cpep.datasets import make_gesture_recordings

data = make_gesture_recordings(
    2,
    ["fist", "open", "point"],
    n_repetitions=3,
    sfreq=2000,
    pose_sfreq=60,
    noise_level=3,
    random_state=0,
)
print("EMG:", [x.shape for x in data.emg], "at", data.sfreq, "Hz")
print("pose:", [p.shape for p in data.pose], "at", data.pose_sfreq, "Hz")

# %%
# Filter
# ------
# One cascade does both: a band-pass from 20 to 450 Hz, and a notch at the power line
# and its third harmonic. The spectrum of a channel shows what is gone.

bandpass = BandpassNotch(20, 450, (50, 150), sfreq=data.sfreq)
filtered = bandpass.fit_transform(data.emg)
print("dead channels:", np.flatnonzero(bandpass.n_dead_))
print(f"right from {bandpass.n_ringing_ / data.sfreq:.2f} s from an end on")

channel, segment = 4, slice(9000, 15000)
seconds = np.arange(segment.start, segment.stop) / data.sfreq
figure, (trace, spectrum) = plt.subplots(
    2, 1, figsize=(8, 5.5), layout="constrained", height_ratios=[1, 1.2]
)
power = {}
for name, recordings, style in (
    ("as recorded", data.emg, {"color": "0.7"}),
    ("filtered", filtered, {"color": "C0"}),
):
    signal = recordings[0][channel]
    trace.plot(seconds, signal[segment], lw=0.7, label=name, **style)
    frequencies, power[name] = welch(signal, data.sfreq, nperseg=4000)
    spectrum.semilogy(frequencies, power[name], lw=1, label=name, **style)
trace.set(xlabel="time (s)", ylabel=f"{data.channel_names[channel]} (uV)", xmargin=0)
spectrum.set(
    xlabel="frequency (Hz)", ylabel="power (uV²/Hz)", xlim=(0, 600), ylim=(1e-5, None)
)
spectrum.legend()

at_50_hz = np.argmin(np.abs(frequencies - 50))
hum_left = power["filtered"][at_50_hz] / power["as recorded"][at_50_hz]
print(f"hum left at 50 Hz: {hum_left:.1e} of its power")

# %%
# Filter first, window afterwards
# -------------------------------
# A filter needs the samples on both sides of an edge. A window that is cut first and
# filtered afterwards is wrong near its ends.

start, size = 10000, 1000
whole = filtered[0][:, start : start + size]
alone = bandpass.transform(data.emg[0][np.newaxis, :, start : start + size])[0]
error = np.abs(alone - whole).mean(axis=0) / whole.std()

figure, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
ax.plot(np.arange(size) / data.sfreq * 1000, 100 * error, "C3", lw=1)
ax.set(xlabel="time in the window (ms)", ylabel="error (% of SD)", xmargin=0)
ax.set_title("a window filtered on its own", loc="left")
edge_error, middle_error = error[:50].mean(), error[400:600].mean()

# %%
# Windows that stay paired
# ------------------------
# Windows of one second every half. Each takes the label that most of its samples
# carry; where no label reaches the purity it is left out, of all arrays alike. The
# pose window covers the same second, in 60 samples.

X, P, y, users, windows = make_windows(
    filtered,
    data.pose,
    data.labels,
    data.users,
    size=2000,
    stride=1000,
    purity=0.8,
    rates=[data.sfreq, data.pose_sfreq, None, None],
    return_provenance=True,
)
X = InstanceNorm(over="window").fit_transform(X)
print("X", X.shape, X.dtype, " P", P.shape, " y", y.shape, " users", users.shape)
print("gestures:", dict(zip(data.gesture_names, np.bincount(y).tolist(), strict=True)))

# %%
# Where the windows of the first person lie, above the labels and one joint angle.

here = windows[users == 0]
figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
colours = np.array(["0.8", "C0", "C1", "C2"])
for row, (window, code) in enumerate(zip(here, y[users == 0], strict=True)):
    width = (window["stop"] - window["start"]) / data.sfreq
    ax.barh(
        1.75 + 0.25 * (row % 2),
        width,
        0.2,
        left=window["start"] / data.sfreq,
        color=colours[code],
        edgecolor="w",
        lw=0.5,
    )
label_times = np.arange(len(data.labels[0])) / data.sfreq
for code, name in enumerate(data.gesture_names):
    ax.fill_between(
        label_times,
        1.2,
        1.5,
        where=data.labels[0] == code,
        color=colours[code],
        label=name,
        lw=0,
    )
joint = data.joint_names.index("INDEX_MCP_FE")
angle = data.pose[0][joint]
ax.plot(np.arange(len(angle)) / data.pose_sfreq, angle / 1.6, "0.3", lw=1)
ax.set(xlabel="time (s)", xmargin=0)
ax.set_yticks([0.4, 1.35, 1.88], ["index finger", "labels", "windows"])
ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
plt.show()
