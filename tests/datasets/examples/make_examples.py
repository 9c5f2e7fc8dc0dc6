"""Make the files of ``load_example`` from their originals, again bit for bit.

``python tests/datasets/examples/make_examples.py emg16_fingers.csv MYO_FOLDER``
"""

import sys
from pathlib import Path

import numpy as np

import sk_cpep.datasets.examples
from sk_cpep.datasets import load_myo_readings

OUT = Path(sk_cpep.datasets.examples.__file__).parent
PERSON, SESSION = 10000, 1


def main(fingers, myo):
    table = np.loadtxt(fingers, delimiter=",", skiprows=1)
    pose, emg = table[:, 1:6].T, table[:, 6:].T
    step = 0.01 * np.sqrt((emg**2).mean(axis=1))
    np.savez_compressed(
        OUT / "fingers.npz",
        emg=np.round(emg / step[:, np.newaxis]).astype(np.int16),
        step=step.astype(np.float32),
        pose=pose.astype(np.float16),
    )
    data = load_myo_readings(myo, PERSON, SESSION)
    np.savez_compressed(
        OUT / "myo.npz",
        emg=np.concatenate(data.emg, axis=1).astype(np.int8),
        labels=np.concatenate(data.labels).astype(np.int8),
        lengths=np.array([len(labels) for labels in data.labels]),
        users=data.users,
        sessions=data.sessions,
        files=data.files,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
