import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sk_cpep.datasets.emg2pose._format import JOINT_NAMES
from sk_cpep.datasets.ninapro._load import _SENSORS as SENSORS
from sk_cpep.plotting import (
    EmbeddingDisplay,
    GridDisplay,
    LabelEfficiencyDisplay,
    ReconstructionDisplay,
    ResultsDisplay,
    RetrievalDisplay,
    TrainingCurveDisplay,
)
from sk_cpep.zero_shot import ZeroShotClassifier


class Trained(BaseEstimator):
    def __init__(self, history=None):
        self.history = history

    def fit(self, X=None, y=None):
        self.history_ = self.history
        return self


class Halver:
    """Stands for an MAE: halves the window, hides every other patch."""

    patch_length = 10

    def reconstruct(self, X):
        masked = np.zeros((len(X), X.shape[-1] // 10), dtype=bool)
        masked[:, 1::2] = True
        return X / 2, masked


class Stub(BaseEstimator):
    """Embeds the first value of each row."""

    def transform(self, X):
        return np.asarray(X)[:, :, 0]

    transform_pose = transform


def epochs(*losses, **valid):
    rows = [{"epoch": i, "train_loss": x, "lr": 1e-4} for i, x in enumerate(losses, 1)]
    for row, x in zip(rows, valid.get("valid", []), strict=False):
        row["valid_loss"] = x
    return rows


# Training


def test_training_of_one_stage():
    estimator = Trained(epochs(3, 2, 1, valid=[4, 3, 2])).fit()
    display = TrainingCurveDisplay.from_estimator(estimator)
    (lines,) = display.lines_.values()
    assert_array_equal(lines["train_loss"].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    assert_array_equal(lines["valid_loss"].get_ydata(), [4, 3, 2])
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["training", "validation"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.ax_.get_title() == "Trained"


def test_training_of_several_stages():
    history = {"emg_encoder": epochs(3, 2), "pose_encoder": [], "alignment": epochs(5)}
    display = TrainingCurveDisplay.from_estimator(
        Trained(history).fit(), log_scale=True
    )
    assert [a.get_title() for a in display.axes_] == ["emg encoder", "alignment"]
    assert list(display.lines_["alignment"]) == ["train_loss"]
    assert_array_equal(display.lines_["alignment"]["train_loss"].get_ydata(), [5])
    assert display.axes_[1].get_legend() is None
    assert display.axes_[1].get_yscale() == "log"


def test_training_on_given_axes():
    figure, axes = plt.subplots(1, 2)
    history = {"a": epochs(3, 2), "b": epochs(5)}
    display = TrainingCurveDisplay.from_estimator(
        Trained(history).fit(), ax=axes, color="k"
    )
    assert display.figure_ is figure and display.axes_[1] is axes[1]
    assert display.lines_["a"]["train_loss"].get_color() == "k"
    with pytest.raises(ValueError, match="needs 2 axes here, got 1"):
        display.plot(axes[0])


def test_training_needs_history():
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(Trained([]))
    with pytest.raises(ValueError, match="empty history_"):
        TrainingCurveDisplay.from_estimator(Trained([]).fit())


# Reconstruction


def test_reconstruction_shows_hidden_patches():
    X = np.random.default_rng(0).normal(size=(4, 6, 45))
    display = ReconstructionDisplay.from_estimator(
        Halver(), X, -1, channels=[5, 2], sfreq=100, unit="mV"
    )
    hidden = np.zeros(45, dtype=bool)
    hidden[10:20] = hidden[30:40] = True
    for channel, line, rebuilt in zip(
        [5, 2], display.original_lines_, display.rebuilt_lines_, strict=True
    ):
        assert_allclose(line.get_xdata(), np.arange(45) / 100)
        assert_array_equal(line.get_ydata(), X[3, channel])
        assert_array_equal(np.isnan(rebuilt.get_ydata()), ~hidden)
        assert_array_equal(rebuilt.get_ydata()[hidden], X[3, channel, hidden] / 2)
    assert display.error_ == pytest.approx(np.mean((X[3, [5, 2]][:, hidden] / 2) ** 2))
    # A rectangle of its own size, or a polygon, by the version of matplotlib.
    corners = [
        s.get_patch_transform().transform(s.get_path().vertices)[:, 0]
        for s in display.ax_.patches
    ]
    spans = [(times.min(), times.max()) for times in corners]
    assert_allclose(spans, [(0.095, 0.195), (0.295, 0.395)])
    assert display.axes_[1].get_ylabel() == "channel 2 (mV)"
    assert display.axes_[1].get_xlabel() == "time (s)"
    assert "50% of patches hidden" in display.ax_.get_title(loc="left")


def test_reconstruction_defaults():
    display = ReconstructionDisplay.from_estimator(Halver(), np.ones((2, 9, 40)))
    assert len(display.axes_) == 4
    assert display.axes_[-1].get_xlabel() == "time (samples)"
    assert (
        len(ReconstructionDisplay.from_estimator(Halver(), np.ones((2, 40))).axes_) == 1
    )


def test_reconstruction_refuses():
    with pytest.raises(IndexError, match="there are 2 windows"):
        ReconstructionDisplay.from_estimator(Halver(), np.ones((2, 3, 40)), 2)
    with pytest.raises(ValueError, match="channels 0 to 2"):
        ReconstructionDisplay.from_estimator(
            Halver(), np.ones((2, 3, 40)), channels=[3]
        )


# Embedding


def test_embedding_is_a_joint_projection():
    rng = np.random.default_rng(0)
    emg, pose = rng.normal(size=(2, 12, 5))
    y = np.tile(["b", "a", "c"], 4)
    display = EmbeddingDisplay.from_predictions(emg, pose, y)
    points = display.points_["embeddings"]
    both = np.concatenate([emg, pose])
    _, _, axes = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    expected = (both - both.mean(axis=0)) @ axes[:2].T
    drawn = np.concatenate([points["EMG"].get_offsets(), points["pose"].get_offsets()])
    assert_allclose(np.abs(drawn), np.abs(expected), atol=1e-10)
    colours = points["EMG"].get_facecolors()[:, :3]
    assert_array_equal(colours, points["pose"].get_facecolors()[:, :3])
    assert len(np.unique(colours, axis=0)) == 3
    assert same_color(colours[1], to_rgba("C0")[:3])  # "a" comes first
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["EMG", "pose", "a", "b", "c"]
    assert display.ax_.get_xlabel().startswith("PCA 1 (")


def test_embedding_before_and_after():
    rng = np.random.default_rng(0)
    emg, pose, old_emg, old_pose = rng.normal(size=(4, 12, 5))
    display = EmbeddingDisplay.from_predictions(
        emg, pose, np.arange(12), before=(old_emg, old_pose), projection=PCA(2), s=5
    )
    titles = [a.get_title() for a in display.axes_]
    assert titles == ["before alignment", "after alignment"]
    expected = PCA(2).fit_transform(np.concatenate([old_emg, old_pose]))
    drawn = display.points_["before alignment"]["pose"]
    assert_allclose(drawn.get_offsets(), expected[12:])
    assert drawn.get_sizes() == 5


def test_embedding_refuses_other_widths():
    with pytest.raises(ValueError, match="as many dimensions"):
        EmbeddingDisplay.from_predictions(np.ones((3, 4)), np.ones((3, 5)), [0, 1, 2])


# Retrieval


def fitted_zero_shot(n_joints):
    rng = np.random.default_rng(0)
    P = rng.normal(size=(15, n_joints, 7))
    y = np.array(["fist", "ok", "point"])[np.arange(15) % 3]
    X = rng.normal(size=(4, n_joints, 30))
    return ZeroShotClassifier(Stub(), 6).fit(P, y), X, P, y


def test_retrieval_shows_the_neighbours():
    zero_shot, X, P, y = fitted_zero_shot(5)
    display = RetrievalDisplay.from_estimator(
        zero_shot, X, P, 2, y=list("abcd"), sfreq=10, pose_sfreq=2, unit="mV"
    )
    distance, index = zero_shot.kneighbors(X[2:3])
    assert len(display.axes_) == 6
    for ax, lines, i, d in zip(
        display.axes_, display.pose_lines_, index[0], distance[0], strict=True
    ):
        assert_array_equal([line.get_ydata() for line in lines], P[i])
        assert_allclose(lines[0].get_xdata(), np.arange(7) / 2)
        assert ax.get_title() == f"{y[i]}\nwrong, similarity {1 - d:.2f}"
    title = f"Wrong: EMG of c\nread as {zero_shot.predict(X)[2]}"
    assert display.ax_.get_title() == title
    assert display.query_pose_ax_ is None and display.query_pose_lines_ == []
    gaps = [
        line.get_ydata() - x for line, x in zip(display.emg_lines_, X[2], strict=True)
    ]
    assert_allclose(gaps, np.median(gaps, axis=1, keepdims=True) * np.ones(30))
    assert (np.diff([g[0] for g in gaps]) < 0).all()  # first channel on top
    assert display.axes_[0].get_ylabel() == "angle (rad)"
    assert display.axes_[5].get_xlabel() == "time (s)"
    assert display.ax_.get_ylabel().endswith("mV)")


def test_retrieval_draws_hands():
    zero_shot, X, P, _ = fitted_zero_shot(20)
    display = RetrievalDisplay.from_estimator(zero_shot, X, P, n_neighbors=2)
    assert [len(lines) for lines in display.pose_lines_] == [6, 6]
    texts = [t.get_text() for t in display.figure_.legends[0].get_texts()]
    assert texts == ["thumb", "index", "middle", "ring", "pinky"]
    traces = RetrievalDisplay.from_estimator(zero_shot, X, P, style="traces")
    assert len(traces.pose_lines_[0]) == 20


@pytest.mark.parametrize("style", ["hand", "traces"])
def test_retrieval_frames_what_is_right(style):
    zero_shot, X, P, y = fitted_zero_shot(20)
    display = RetrievalDisplay.from_estimator(
        zero_shot, X, P, 1, y=["a", "ok", "b", "c"], style=style
    )
    found = y[zero_shot.kneighbors(X[1:2], return_distance=False)[0]]
    assert 0 < np.sum(found == "ok") < 6
    frames = {}
    for ax, name in zip(display.axes_, found, strict=True):
        verdict = "right" if name == "ok" else "wrong"
        assert ax.get_title().split("\n")[1].startswith(f"{verdict}, ")
        assert ax.axison
        spine = ax.spines["left"]
        frames.setdefault(verdict, set()).add(
            (to_rgba(spine.get_edgecolor()), spine.get_linestyle())
        )
    ((colour, line),) = frames["right"]
    ((other_colour, other_line),) = frames["wrong"]
    assert colour != other_colour and line != other_line
    verdict = "Right" if zero_shot.predict(X)[1] == "ok" else "Wrong"
    assert display.ax_.get_title().startswith(f"{verdict}: EMG of ok\n")


def test_retrieval_without_the_truth_has_no_verdict():
    zero_shot, X, P, _ = fitted_zero_shot(20)
    display = RetrievalDisplay.from_estimator(zero_shot, X, P)
    assert display.ax_.get_title() == f"EMG, read as {zero_shot.predict(X)[0]}"
    assert not any(ax.axison for ax in display.axes_)
    assert all("\nsimilarity" in ax.get_title() for ax in display.axes_)


def test_retrieval_draws_the_true_pose():
    zero_shot, X, P, _ = fitted_zero_shot(5)
    own = np.random.default_rng(1).normal(size=(4, 5, 7))
    display = RetrievalDisplay.from_estimator(
        zero_shot, X, P, -1, y=list("abcd"), P=own, pose_sfreq=2
    )
    drawn = [line.get_ydata() for line in display.query_pose_lines_]
    assert_array_equal(drawn, own[3])
    assert display.query_pose_ax_.get_title() == "true pose\nd"
    assert display.query_pose_ax_ not in display.axes_


def test_retrieval_draws_hands_by_the_names_of_joints():
    zero_shot, X, P, _ = fitted_zero_shot(20)
    order = np.random.default_rng(2).permutation(20)
    plain = RetrievalDisplay.from_estimator(zero_shot, X, P)
    shuffled = RetrievalDisplay.from_estimator(
        zero_shot, X, P[:, order], joint_names=np.array(JOINT_NAMES)[order]
    )
    for lines, others in zip(plain.pose_lines_, shuffled.pose_lines_, strict=True):
        for line, other in zip(lines, others, strict=True):
            assert_array_equal(line.get_xydata(), other.get_xydata())


def test_retrieval_draws_hands_of_a_glove_that_is_named():
    zero_shot, X, P, _ = fitted_zero_shot(22)
    display = RetrievalDisplay.from_estimator(zero_shot, X, P, joint_names=SENSORS)
    assert [len(lines) for lines in display.pose_lines_] == [6] * 6
    unnamed = RetrievalDisplay.from_estimator(zero_shot, X, P)
    assert len(unnamed.pose_lines_[0]) == 22


def test_retrieval_draws_on_a_given_figure():
    zero_shot, X, P, _ = fitted_zero_shot(5)
    figure = plt.figure()
    display = RetrievalDisplay.from_estimator(zero_shot, X, P, figure=figure)
    assert display.figure_ is figure and display.ax_.figure is figure


def test_retrieval_refuses():
    zero_shot, X, P, _ = fitted_zero_shot(5)
    with pytest.raises(
        ValueError, match="has 14 poses, the gallery of the estimator 15"
    ):
        RetrievalDisplay.from_estimator(zero_shot, X, P[1:])
    with pytest.raises(ValueError, match="takes 20 joint angles, got 5"):
        RetrievalDisplay.from_estimator(zero_shot, X, P, style="hand")
    with pytest.raises(ValueError, match="style must be"):
        RetrievalDisplay.from_estimator(zero_shot, X, P, style="mesh")
    with pytest.raises(ValueError, match="has 2 names, the poses have 5 joints"):
        RetrievalDisplay.from_estimator(zero_shot, X, P, joint_names=["a", "b"])
    with pytest.raises(ValueError, match="got 5, named .*'elbow 4'"):
        names = [f"elbow {i}" for i in range(5)]
        RetrievalDisplay.from_estimator(
            zero_shot, X, P, joint_names=names, style="hand"
        )


# Without matplotlib


@pytest.mark.parametrize(
    "display",
    [
        TrainingCurveDisplay({"MAE": epochs(1)}),
        ReconstructionDisplay(np.ones((1, 20)), np.ones((1, 20)), np.ones(2, bool), 10),
        EmbeddingDisplay({"a": (np.ones((2, 2)), np.ones((2, 2)))}, np.arange(2)),
        RetrievalDisplay(np.ones((1, 9)), np.ones((1, 5, 3)), ["a"], np.ones(1)),
        ResultsDisplay([{"method": "CPEP", "protocol": "zero_shot"}]),
        GridDisplay(np.ones((1, 1)), [1], [1]),
        LabelEfficiencyDisplay(
            [{"method": "a", "protocol": "zero_shot", "gestures": "unseen"}]
        ),
    ],
    ids=lambda display: type(display).__name__,
)
def test_the_error_names_the_extra(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = rf'{type(display).__name__} draws .* pip install "sk_cpep\[plot\]"'
    with pytest.raises(ImportError, match=message):
        display.plot()
