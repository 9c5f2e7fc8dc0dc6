"""A script as a user writes it passes the type checker; wrong uses do not."""

import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RIGHT = """
import pickle
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline

import sk_cpep
from sk_cpep import (
    CPEP,
    MAE,
    BandpassNotch,
    EncoderClassifier,
    InstanceNorm,
    PoseT,
    Windower,
    ZeroShotClassifier,
    make_windows,
)
from sk_cpep.datasets import (
    WindowArray,
    load_ninapro_db1,
    load_pack,
    make_gesture_recordings,
    pack_emg2pose,
)
from sk_cpep.evaluation import format_markdown, linear_probe, zero_shot

data = make_gesture_recordings(3, ["fist", "open"], n_repetitions=2, random_state=0)
X, P, y, users = make_windows(
    data.emg, data.pose, data.labels, data.users, size=400, rates=[2000, 50, None, None]
)

mae = MAE(50, mask_ratio=0.5, d_model=64, max_epochs=2, random_state=0)
assert_type(mae, MAE)
assert_type(mae.patch_length, int)
fitted = mae.fit(X, groups=users)
assert_type(fitted, MAE)
embeddings: NDArray[np.float32] = fitted.transform(X)
loss: float = fitted.score(X)

cpep = CPEP(mae, FrozenEstimator(MAE(5).fit(P)), pose_transformer=None, temperature=0.1)
cpep.fit(X, P, groups=users)
poses: NDArray[np.float32] = cpep.transform_pose(P)
temperature: float = cpep.temperature_

pipeline = Pipeline([
    ("filter", BandpassNotch(low=20, high=200, notch=50, sfreq=500)),
    ("norm", InstanceNorm(over="window")),
    ("windows", Windower(400, 100)),
    ("cpep", CPEP(mae, MAE(5), pose_transformer=Windower(40))),
])
pipeline.fit(data.emg, data.pose)
search = GridSearchCV(cpep, {"emg_encoder__patch_length": [25, 50]}, cv=GroupKFold(2))
search.fit(X, P, groups=users)
probe = make_pipeline(FrozenEstimator(cpep), LogisticRegression())
scores = cross_val_score(probe, X, y, groups=users, cv=GroupKFold(2))

classifier = ZeroShotClassifier(cpep, n_neighbors=5).fit(P, y)
classifier.partial_fit(P, ["new"] * len(P))
names = classifier.predict(X)
shares = classifier.predict_proba(X)
again: CPEP = pickle.loads(pickle.dumps(cpep))
regressor = PoseT(50, max_epochs=1).fit(X, P)
predicted: NDArray[np.float32] = regressor.predict(X)
supervised = EncoderClassifier(FrozenEstimator(mae), class_weight="balanced")
assert_type(supervised.fit(X, y, groups=users), EncoderClassifier)
probabilities: NDArray[np.float64] = supervised.predict_proba(X)

people = load_ninapro_db1(Path("folder"), [1, 2], refined=True)
report = pack_emg2pose("corpus", "pack", filter=BandpassNotch(), n_jobs=2)
pack = load_pack("pack", split="train", size=400)
windows: WindowArray = pack.emg
pose_windows: WindowArray = pack.pose
cpep.fit(windows, pose_windows, groups=pack.users)
records = [
    linear_probe(cpep, (X, y, users), (X, y, users), C=0.1),
    zero_shot(cpep, (P, y, users), (X, y, users), n_neighbors=5),
]
table: str = format_markdown(records)
sk_cpep.show_versions()


class Ramps:
    n_channels = 2

    def read(
        self, recordings: NDArray[np.int64], starts: NDArray[np.int64], n_times: int
    ) -> NDArray[np.float32]:
        times = starts[:, None, None] + np.arange(n_times)
        return np.repeat(times.astype(np.float32), 2, axis=1)


own = sk_cpep.datasets.WindowArray(Ramps(), [0, 0], [0, 4], 4)
shape: tuple[int, ...] = own[1:].shape
"""
# Lines with a reason are to be refused for it.
WRONG = """
from sk_cpep import CPEP, MAE, EncoderClassifier, InstanceNorm, Windower, make_windows
from sk_cpep import ZeroShotClassifier
from sk_cpep.datasets import load_ninapro_db1, make_gesture_recordings

MAE(patch_length="x")  # arg-type
MAE(patch_lenght=50)  # call-arg
MAE(50, 0.5, 256)  # call-arg | misc
MAE().embedding_size  # attr-defined
MAE(50, pooling="max")  # arg-type
MAE(max_epochs=2.5)  # arg-type
MAE().fit()  # call-arg
CPEP(temperature="warm")  # arg-type
CPEP(train_emg="yes")  # arg-type
CPEP().fit([[[0.0]]])  # call-arg
EncoderClassifier(init="frozen")  # arg-type
Windower("400")  # arg-type
Windower(400, strides=100)  # call-arg
InstanceNorm(over="time")  # arg-type
ZeroShotClassifier(MAE(), n_neighbors="10")  # arg-type
make_windows([], size="100")  # arg-type | call-overload
load_ninapro_db1("folder", refined="no")  # arg-type
make_gesture_recordings(n_users="six")  # arg-type
epochs: str = MAE().max_epochs  # assignment
"""
ERROR = re.compile(r"^.*?script\.py:(\d+): error: (.*?) {2}\[([\w-]+)\]$", re.MULTILINE)

pytestmark = [
    pytest.mark.skipif(
        find_spec("mypy") is None,
        reason="mypy is not installed; `make test` installs it, `make lint` runs it",
    ),
    pytest.mark.skipif(
        int(version("numpy").split(".")[0]) < 2,
        reason="the types of numpy 1 are others; `make test` checks with those of today",
    ),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What mypy has found out of the packages, so that it does so once."""
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture
def check(tmp_path, cache, monkeypatch):
    """``check(code)``: mypy's errors in a strictly checked script, by line."""

    def check(code):
        script = tmp_path / "script.py"
        script.write_text(code)
        monkeypatch.setenv("MYPYPATH", str(ROOT))
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--strict"]
        options += ["--follow-imports", "silent", "--cache-dir", str(cache)]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, "--no-pretty", str(script)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        found = {}
        for line, message, code in ERROR.findall(done.stdout):
            found.setdefault(int(line), []).append((code, message))
        return found

    return check


def test_a_script_of_a_user(check):
    errors = check(RIGHT)
    lines = RIGHT.splitlines()
    assert not errors, "\n".join(f"{lines[k - 1]}: {v}" for k, v in errors.items())


def test_wrong_uses_are_refused(check):
    errors = check(WRONG)
    surprises = []
    for number, line in enumerate(WRONG.splitlines(), start=1):
        expected = set(line.partition("  # ")[2].split(" | ")) - {""}
        found = {code for code, _ in errors.get(number, [])}
        if bool(found) != bool(expected) or not found <= expected:
            surprises.append(f"{line}: {errors.get(number, 'accepted')}")
    assert not surprises, "\n".join(surprises)
