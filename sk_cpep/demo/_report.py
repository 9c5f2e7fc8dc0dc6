"""What the demo leaves behind: a table, a file of records, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import evaluation
from .._typing import AnyArray, PathLike, Record
from ..evaluation import GestureFold, GestureWindows
from ._run import CPEP_ROW, EVERY, REST

if TYPE_CHECKING:
    from ._run import DemoResult

_GESTURE_SETS = ("in_distribution", "unseen")
_HOW_MANY = {"no": ("zero_shot", None), "one person's": ("linear_probe", 1)}
_HOW_MANY["all"] = ("linear_probe", None)
_COLUMNS = [(p, g, n) for p, n in _HOW_MANY.values() for g in _GESTURE_SETS]
_TITLES = [
    f"{labels} labels, {gestures}"
    for labels in _HOW_MANY
    for gestures in ("in distribution", "unseen")
]
_GALLERY_OF_ALL = [
    ("generalised_zero_shot", g) for g in (*_GESTURE_SETS, "harmonic_mean")
]
_OWN_REPETITION: list[Any] = [("own_repetition", g) for g in _GESTURE_SETS]


def format_report(records: Sequence[Record]) -> str:
    """All tables of a run, each with what it is about.

    Parameters
    ----------
    records : list of dict

    Returns
    -------
    report : str
        Markdown.
    """
    parts = [format_table(records)]
    main = [r for r in in_main_columns(records) if r["method"] != "Amplitude"]
    if any(r["method"] == CPEP_ROW for r in main):
        parts += [
            f"{CPEP_ROW} less the others, person by person (mean, 95 % interval):",
            evaluation.format_differences(
                main, CPEP_ROW, columns=_COLUMNS, titles=_TITLES, digits=2
            ),
        ]
    parts += [format_new_gestures(records), format_controls(records)]
    return "\n\n".join(part for part in parts if part)


def format_table(records: Sequence[Record]) -> str:
    """The results by labels as a Markdown table: mean ± SD over people held out.

    Parameters
    ----------
    records : list of dict
        As of :func:`~sk_cpep.evaluation.evaluate_methods`.

    Returns
    -------
    table : str
    """
    return evaluation.format_markdown(
        in_main_columns(records),
        columns=_COLUMNS,
        titles=_TITLES,
        spread="sd",
        digits=2,
        chance="row",
        caption=False,
    )


def in_main_columns(records: Sequence[Record]) -> list[Record]:
    """Records of movements; what is supervised stands where all labels are."""
    return [
        r | {"protocol": "linear_probe"} if r["protocol"] == "supervised" else r
        for r in records
        if "windows" not in r
    ]


def format_new_gestures(records: Sequence[Record]) -> str:
    """New gestures among seen ones: by their poses, or by one repetition of one's own.

    Parameters
    ----------
    records : list of dict

    Returns
    -------
    tables : str
        Empty where neither was evaluated.
    """
    penalties = sorted(
        {
            r["settings"]["seen_penalty"]
            for r in records
            if r["protocol"] == "generalised_zero_shot"
            and r["settings"]["seen_penalty"]
        }
    )
    columns: list[Any] = [(*column, None) for column in _GALLERY_OF_ALL]
    titles = ["seen", "new", "harmonic mean"]
    for penalty in penalties:
        columns += [(*column, f"penalty {penalty:g}") for column in _GALLERY_OF_ALL]
        titles += [f"{title}, penalty {penalty:g}" for title in titles[:3]]
    tables = {
        "All gestures in one gallery, named by poses alone (zero-shot); a penalty is "
        "taken off the seen ones:": (columns, titles),
        "All gestures told apart after one labelled repetition of the person's own:": (
            _OWN_REPETITION,
            ["seen", "new"],
        ),
    }
    parts = []
    for text, (wanted, heads) in tables.items():
        chosen = [r for r in records if r["protocol"] == wanted[0][0]]
        if chosen:
            table = evaluation.format_markdown(
                chosen,
                columns=wanted,
                titles=heads,
                spread="sd",
                digits=2,
                chance="row",
                caption=False,
            )
            parts += [text, table]
    return "\n\n".join(parts)


def format_controls(records: Sequence[Record]) -> str:
    """What is reached where nobody moves, and on every window of the sessions.

    Parameters
    ----------
    records : list of dict

    Returns
    -------
    tables : str
        Empty where neither was evaluated.
    """
    about = {
        REST: "A control: the gesture that comes, named from the rest before it. What is "
        "above chance is not read off movements:",
        EVERY: "Every window of the sessions with the label of most of it, rest a class "
        "of its own:",
    }
    heads = {
        "linear_probe": "all labels",
        "zero_shot": "no labels",
        "in_distribution": "in distribution",
        "unseen": "unseen",
    }
    parts = []
    for windows, text in about.items():
        chosen = [r for r in records if r.get("windows") == windows]
        found = dict.fromkeys((r["protocol"], r["gestures"], windows) for r in chosen)
        columns = sorted(found, key=lambda column: column[0] != "zero_shot")
        titles = [
            heads[protocol]
            if windows == EVERY
            else f"{heads[protocol]}, {heads[gestures]}"
            for protocol, gestures, _ in columns
        ]
        if chosen:
            table = evaluation.format_markdown(
                chosen,
                columns=columns,
                titles=titles,
                spread="sd",
                digits=2,
                chance="row",
                caption=False,
            )
            parts += [text, table]
    return "\n\n".join(parts)


def save_records(
    records: Sequence[Record], folder: PathLike, settings: Record
) -> list[Path]:
    """Write ``results.json``, a list of records, and ``settings.json`` of the run."""
    results, others = (
        Path(folder) / f"{name}.json" for name in ("results", "settings")
    )
    evaluation.save_records(results, records)
    others.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return [results, others]


def set_aside(folder: PathLike) -> Path | None:
    """Move the results of an earlier run to a folder ``previous-N`` inside `folder`.

    Returns
    -------
    moved_to : Path or None
        None where there was nothing to move.
    """
    earlier = [path for path in map(Path(folder).joinpath, FILES) if path.exists()]
    if not earlier:
        return None
    n = 1
    while (moved_to := Path(folder) / f"previous-{n}").exists():
        n += 1
    moved_to.mkdir()
    for path in earlier:
        path.rename(moved_to / path.name)
    return moved_to


def save_pictures(
    data: GestureFold, result: DemoResult, recordings: Any, folder: PathLike
) -> list[Path]:
    """Draw what the run has learned.

    Parameters
    ----------
    data : GestureFold

    result : DemoResult

    recordings : Bunch
        For rates and units.

    folder : path

    Returns
    -------
    paths : list of Path
    """
    plt = pyplot()
    paths = []
    for name, draw in PICTURES.items():
        figure = draw(data, result, recordings)
        paths.append(Path(folder) / name)
        figure.savefig(paths[-1], dpi=110, bbox_inches="tight")
        plt.close(figure)
    return paths


def pyplot() -> Any:
    """Matplotlib's pyplot, without a window."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "matplotlib, which draws them, is not installed. Install it with: "
            'pip install "sk_cpep[plot]"'
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def save_label_efficiency(records: Sequence[Record], folder: PathLike) -> list[Path]:
    """Draw accuracy by the number of labelled people.

    Parameters
    ----------
    records : list of dict

    folder : path

    Returns
    -------
    paths : list of Path
    """
    plt = pyplot()
    figure = draw_label_efficiency_of(records)
    path = Path(folder) / "label_efficiency.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return [path]


def draw_label_efficiency_of(records: Sequence[Record]) -> Any:
    """Accuracy by the number of labelled people, of movements."""
    from ..plotting import LabelEfficiencyDisplay

    left_out = ("Amplitude", "Pose-MAE (upper bound)", "EMG-MAE and bins")
    shown = [r for r in in_main_columns(records) if r["method"] not in left_out]
    return LabelEfficiencyDisplay.from_records(shown).figure_


def draw_label_efficiency(
    data: GestureFold, result: DemoResult, recordings: Any
) -> Any:
    """Accuracy by the number of labelled people."""
    return draw_label_efficiency_of(result.records)


def draw_training(data: GestureFold, result: DemoResult, recordings: Any) -> Any:
    """Losses of the three stages."""
    from ..plotting import TrainingCurveDisplay

    stages = {
        "EMG encoder": result.emg_mae.history_,
        "pose encoder": result.pose_mae.history_,
        "alignment": result.cpep.history_["alignment"],
    }
    return TrainingCurveDisplay(stages).plot().figure_


def draw_reconstruction(data: GestureFold, result: DemoResult, recordings: Any) -> Any:
    """A window of a person held out, rebuilt by the EMG autoencoder."""
    from ..plotting import ReconstructionDisplay

    return ReconstructionDisplay.from_estimator(
        result.emg_mae,
        data.test["in_distribution"].X,
        index=0,
        sfreq=recordings.sfreq,
        unit="SD",
    ).figure_


def draw_embeddings(
    data: GestureFold, result: DemoResult, recordings: Any, n_windows: int = 400
) -> Any:
    """EMG and pose of people held out, before and after alignment."""
    from ..plotting import EmbeddingDisplay

    test = data.test["in_distribution"]
    rows = np.random.RandomState(0).permutation(len(test))[:n_windows]
    X, P = test.X[rows], test.P[rows]
    return EmbeddingDisplay.from_predictions(
        result.cpep.transform(X),
        result.cpep.transform_pose(P),
        test.y[rows],
        before=(result.emg_mae.transform(X), result.pose_mae.transform(P)),
    ).figure_


def draw_confusion(data: GestureFold, result: DemoResult, recordings: Any) -> Any:
    """Zero-shot confusion of seen and of unseen gestures."""
    from matplotlib import pyplot as plt
    from sklearn.metrics import ConfusionMatrixDisplay

    figure, axes = plt.subplots(1, 2, figsize=(15, 7), layout="constrained")
    for ax, name in zip(axes, _GESTURE_SETS):
        record = next(
            r
            for r in result.records
            if (r["protocol"], r["gestures"]) == ("zero_shot", name)
            and r["method"] == CPEP_ROW
            and "windows" not in r
        )
        counts = np.array(record["confusion"], dtype=float)
        ConfusionMatrixDisplay(
            counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
            display_labels=record["classes"],
        ).plot(ax=ax, colorbar=False, values_format=".2f", xticks_rotation=60)
        ax.set_title(f"Zero-shot, {name.replace('_', ' ')} gestures")
    return figure


def draw_successes_and_failures(
    data: GestureFold,
    result: DemoResult,
    recordings: Any,
    gestures: str = "unseen",
    n_neighbors: int = 5,
) -> Any:
    """An EMG query that is named rightly and one that is not, poses drawn as hands.

    Each is the typical one of its kind; see :func:`typical_queries`. Beside it are what
    the hand did, and the poses that it retrieved.

    Parameters
    ----------
    data : GestureFold

    result : DemoResult

    recordings : Bunch
        For rates, and for joint angles in radians, where these were recorded. Of a
        glove, which is not calibrated, standardised sensors are drawn.

    gestures : {"in_distribution", "unseen"}, default="unseen"
        From which set the queries are.

    n_neighbors : int, default=5
        Poses to show of each query.
    """
    from ..plotting import RetrievalDisplay

    test, train = data.test[gestures], data.train[gestures]
    classifier = result.zero_shot[gestures]
    queries = typical_queries(classifier, test)
    heights = [0.3 if index is None else 3.7 for index in queries.values()]
    figure = pyplot().figure(figsize=(15, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(queries), 1, height_ratios=heights)
    for row, (verdict, index) in zip(rows, queries.items()):
        if index is None:
            note = f"No {gestures.replace('_', ' ')} gesture was named {verdict}ly."
            row.text(0.5, 0.5, note, ha="center")
            continue
        RetrievalDisplay.from_estimator(
            classifier,
            test.X,
            poses_as_recorded(train, recordings),
            index,
            y=test.y,
            P=poses_as_recorded(test, recordings),
            n_neighbors=n_neighbors,
            figure=row,
            sfreq=recordings.sfreq,
            pose_sfreq=recordings.pose_sfreq,
            unit="SD",
            pose_unit=_pose_unit(recordings),
            joint_names=recordings.joint_names,
        )
    return figure


def typical_queries(classifier: Any, windows: GestureWindows) -> dict[str, int | None]:
    """The query of median confidence among those named right, and among those wrong.

    Confidence is the share of the votes for the name; the lower of two middle ones is
    taken, the earlier window where several are equally sure.

    Parameters
    ----------
    classifier : fitted ZeroShotClassifier

    windows : GestureWindows
        Queries with their names.

    Returns
    -------
    queries : dict of str to int or None
        Rows of `windows` under "right" and "wrong"; None where there is no such query.
    """
    votes = classifier.predict_proba(windows.X)
    is_right = classifier.classes_[votes.argmax(axis=1)] == windows.y
    # Votes are told apart to a floating-point step only where there is a tie.
    confidence = votes.max(axis=1).round(9)
    queries: dict[str, int | None] = {}
    for verdict, chosen in (("right", is_right), ("wrong", ~is_right)):
        rows = np.flatnonzero(chosen)
        order = rows[np.argsort(confidence[rows], kind="stable")]
        queries[verdict] = int(order[(len(order) - 1) // 2]) if len(order) else None
    return queries


def poses_as_recorded(windows: GestureWindows, recordings: Any) -> AnyArray:
    """Poses of windows in radians, where they were recorded so; else standardised.

    Parameters
    ----------
    windows : GestureWindows
        With where each lies.

    recordings : Bunch
        What they are cut from.

    Returns
    -------
    P : ndarray of shape (n_windows, n_joints, n_pose_times)
    """
    if _pose_unit(recordings) != "rad":
        return np.asarray(windows.P)
    ratio = recordings.pose_sfreq / recordings.sfreq
    n_times = windows.P.shape[2]
    poses = []
    for recording, start in windows.windows[["recording", "start"]]:
        whole = recordings.pose[recording]
        first = min(round(start * ratio), whole.shape[1] - n_times)
        poses.append(whole[:, first : first + n_times])
    return np.stack(poses)


def _pose_unit(recordings: Any) -> str:
    """Unit in which poses are drawn."""
    return "rad" if recordings.units["pose"] == "rad" else "SD"


def draw_results(data: GestureFold, result: DemoResult, recordings: Any) -> Any:
    """Bars of the table, a point for each person."""
    from ..plotting import ResultsDisplay

    plain = [
        r
        for r in in_main_columns(result.records)
        if (r["protocol"], r["gestures"], r["n_people"])
        in {(p, g, n) for p, n in PLAIN for g in _GESTURE_SETS}
    ]
    return ResultsDisplay.from_records(plain, panels=True).figure_


# Protocols, with how many labelled people, that the bars show.
PLAIN = (("zero_shot", 0), ("linear_probe", "all"))

PICTURES = {
    "training.png": draw_training,
    "reconstruction.png": draw_reconstruction,
    "embeddings.png": draw_embeddings,
    "confusion.png": draw_confusion,
    "retrieval.png": draw_successes_and_failures,
    "results.png": draw_results,
    "label_efficiency.png": draw_label_efficiency,
}
FILES = ("results.json", "settings.json", *PICTURES)
