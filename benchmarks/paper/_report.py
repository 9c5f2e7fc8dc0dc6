"""The tables, the file of records and the pictures of a run."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from sk_cpep.evaluation import (
    format_differences,
    format_markdown,
    merge_records,
    published,
    save_records,
    summarise_people,
)

from ._data import GESTURE_SETS

TITLES = {
    "figure2": "Figure 2: every method",
    "table2": "Table 2: ablations of CPEP",
    "figure3": "Figure 3: patch lengths and mask ratios",
}
_OTHERS = {"figure2": ("EMBridge", "EMGBlend")}
_POSE = ("pose_regression", "pose_tracking")
_GENERALISED = "generalised_zero_shot"
_BOUND = "Pose-MAE (upper bound)"
# The gallery of the tables' main column; the others follow.
MAIN_GALLERY = "training"


def gather(rows, cells, of_grids):
    """The records of every row, over all folds and seeds.

    Parameters
    ----------
    rows : list of Row

    cells : dict of list of dict
        What the cells of each method have found, by the key of the method.

    of_grids : list of str
        Folds that Figure 3 is made on; a method that is in other tables too may have
        been run on more.

    Returns
    -------
    records : list of dict
        With `table`, `cell` (of a grid) and `seeds`.
    """
    records = []
    for row in rows:
        found = cells[row.method.key]
        if row.table == "figure3":
            found = [cell for cell in found if cell["fold"] in of_grids]
        seeds = sorted({cell["seed"] for cell in found})
        by_seed = [
            merge([cell["records"] for cell in found if cell["seed"] == seed])
            for seed in seeds
        ]
        for versions in zip(*by_seed, strict=True):
            record = average(versions)
            if row.table != "figure2" and of_few_people(record):
                continue
            if record["protocol"] == "supervised":  # the column of all labels
                record["protocol"] = "linear_probe"
            if record.get("method") != "Static (mean pose)":
                record["method"] = row.name
            described = {"table": row.table, "cell": row.cell, "seeds": seeds}
            records.append(record | described | {"sizes": found[0]["sizes"]})
    return records


def of_few_people(record):
    """Whether a probe has learned from some people's labels only."""
    return record.get("n_people", 0) not in (0, "all")


def merge(runs):
    """Records of all folds as one; of a run that broke off, that it did."""
    broken = [run for run in runs if "protocol" not in run[0]]
    if broken:
        return [{**broken[0][0], "protocol": p, "gestures": g} for p, g in _COLUMNS]
    merged = merge_records(runs)
    for one, first in zip(merged, runs[0]):
        if "gallery" in first:
            one["gallery"] = first["gallery"]
    return merged


_COLUMNS = [(p, g) for p in ("linear_probe", "zero_shot") for g in GESTURE_SETS]


def average(versions):
    """One record of several that differ in the seed."""
    first = versions[0]
    failed = [v for v in versions if not v.get("converged", True)]
    if failed:
        return failed[0]
    if len(versions) == 1:
        return dict(first)
    per_user = {
        user: float(np.mean([v["per_user"][user] for v in versions]))
        for user in first["per_user"]
    }
    is_pose = first["protocol"] in _POSE
    summary = summarise_people(per_user, lower_is_better=is_pose)
    name = "angular_error" if is_pose else "macro_accuracy"
    return first | summary | {name: summary["mean"]}


def write_report(records, config, args, folds, folder):
    """Write ``results.md``, ``results.json`` and the pictures; their paths."""
    paths = [
        save_records(Path(folder) / "results.json", records, overwrite=True),
        Path(folder) / "results.md",
    ]
    paths[1].write_text(markdown(records, config, args, folds), encoding="utf-8")
    return paths + draw(records, args.dataset, folder)


def markdown(records, config, args, folds):
    """All tables in one page."""
    parts = [
        "# The CPEP paper's experiments",
        f"Data: {Path(args.data).name}; `--config {args.config}`; seeds "
        f"{', '.join(map(str, config.seeds))}; "
        f"{sum(len(np.unique(f.test['unseen'].users)) for f in folds)} people named, "
        f"`--people {args.people}`.",
    ]
    for table, title in TITLES.items():
        chosen = [r for r in records if r["table"] == table]
        if chosen:
            make = grids if table == "figure3" else comparison
            parts += [f"## {title}", *make(chosen, args)]
    parts += [sizes(records), settings(config)]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison(records, args):
    """Methods down, protocols across; published numbers; differences from CPEP."""
    table = records[0]["table"]
    main, others = split_galleries(records)
    shown = [r for r in main if r.get("n_people", 0) in (0, 1, "all")]
    gestures = [r for r in shown if r["protocol"] not in (*_POSE, _GENERALISED)]
    every = [r for r in main if r["protocol"] == _GENERALISED]
    ours = "CPEP" if table == "figure2" else "Ours"
    quoted = published(dataset=args.dataset)
    known = {r["method"] for r in quoted}
    extra = [m for m in _OTHERS.get(table, ()) if m in known]
    parts = [
        format_markdown(gestures, published=quoted, extra_methods=extra),
        format_differences(gestures, ours),
        "Mean over people [95 % bootstrap interval] of each one's difference.",
    ]
    if every:
        parts += [
            "All gestures in one gallery; a penalty is taken off the seen ones:",
            format_markdown(every),
        ]
    if others:
        parts += [
            f"Zero-shot above looks poses up in the gallery “{MAIN_GALLERY}”; in other "
            "galleries:",
            format_markdown(others),
        ]
    poses = [r for r in main if r["protocol"] in _POSE]
    if poses:
        parts += [
            "### The baselines' own task: predicting the pose",
            format_markdown(
                poses, published=quoted if args.dataset == "emg2pose" else ()
            ),
            told_losses(poses),
        ]
    return parts


def split_galleries(records):
    """Records of the main gallery (without its name), and of the others."""
    main = [
        {k: v for k, v in r.items() if k != "gallery"}
        for r in records
        if r.get("gallery", MAIN_GALLERY) == MAIN_GALLERY
    ]
    return main, [r for r in records if r.get("gallery", MAIN_GALLERY) != MAIN_GALLERY]


def told_losses(records):
    """With which loss the baselines were trained."""
    losses = {
        r["method"]: " + ".join(r["settings"]["loss_terms"])
        for r in records
        if r.get("settings", {}).get("loss_terms")
    }
    told = "; ".join(f"{method}: {loss}" for method, loss in losses.items())
    return f"Losses: {told}. The fingertip term needs a hand model." if told else ""


def grids(records, args):
    """A table for each modality, protocol and gesture set."""
    main, _ = split_galleries(records)
    main = [r for r in main if r["protocol"] != _GENERALISED]
    parts = []
    for modality, column in grid_kinds(main):
        chosen = of_grid(main, modality, column)
        ratios = sorted({r["mask_ratio"] for r in chosen})
        lengths = sorted({r["patch_length"] for r in chosen})
        cells = {(r["mask_ratio"], r["patch_length"]): grid_cell(r) for r in chosen}
        lines = [
            "| mask ratio \\ patch | " + " | ".join(map(str, lengths)) + " |",
            "|---" * (len(lengths) + 1) + "|",
        ]
        for ratio in ratios:
            row = [cells.get((ratio, length), "–") for length in lengths]
            lines.append(f"| {ratio:g} | " + " | ".join(row) + " |")
        title = f"{modality} patches, {column[0]}, {column[1]}".replace("_", " ")
        parts.append(f"{title}:\n\n" + "\n".join(lines))
    return parts


def grid_kinds(records):
    """Modality and column of each grid there is."""
    found = [(r["cell"]["of"], (r["protocol"], r["gestures"])) for r in records]
    return list(dict.fromkeys(found))


def of_grid(records, modality, column):
    """The records of a grid, their settings as fields."""
    return [
        r | r["cell"]
        for r in records
        if r["cell"]["of"] == modality and (r["protocol"], r["gestures"]) == column
    ]


def grid_cell(record):
    """The mean, or that there is none."""
    if not record.get("converged", True):
        return "did not converge"
    return f"{record['macro_accuracy']:.3f}"


def sizes(records):
    """What the regressors' sizes are at the rate of these data."""
    found = {r["method"]: r["sizes"] for r in records if r.get("sizes")}
    if not found:
        return ""
    lines = [
        f"- {method}: " + ", ".join(f"{k} {v}" for k, v in of.items())
        for method, of in found.items()
    ]
    return "## Sizes of the pose regressors\n\n" + "\n".join(lines)


def settings(config):
    """The configuration, as it was."""
    lines = [f"- {k}: {v}" for k, v in asdict(config).items()]
    return "## Configuration\n\n" + "\n".join(lines)


def draw(records, dataset, folder):
    """Bars of Figure 2 and heat maps of Figure 3; nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        print('No pictures: matplotlib is missing. pip install "sk_cpep[plot]"')
        return []
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    paths = []
    for name, table, make in (
        ("figure2", "figure2", draw_bars),
        ("label_efficiency", "figure2", draw_label_efficiency),
        ("figure3", "figure3", draw_grids),
    ):
        chosen, _ = split_galleries([r for r in records if r["table"] == table])
        if chosen:
            figure = make(chosen, dataset)
            paths.append(Path(folder) / f"{name}.png")
            figure.savefig(paths[-1], dpi=110, bbox_inches="tight")
            plt.close(figure)
    return paths


def draw_bars(records, dataset):
    """Every method: probe and zero-shot, in distribution and unseen."""
    from sk_cpep.plotting import ResultsDisplay

    gestures = [
        r
        for r in records
        if r["protocol"] not in (*_POSE, _GENERALISED) and not of_few_people(r)
    ]
    return ResultsDisplay.from_records(
        gestures, spread="interval", published=published(dataset=dataset), panels=True
    ).figure_


def draw_label_efficiency(records, dataset):
    """Every method by the number of people whose labels are used."""
    from sk_cpep.plotting import LabelEfficiencyDisplay

    shown = [r for r in records if r["method"] not in ("Amplitude", _BOUND)]
    shown = [r for r in shown if r.get("converged", True)]
    return LabelEfficiencyDisplay.from_records(shown).figure_


def draw_grids(records, dataset):
    """Heat maps, a row for each modality."""
    from matplotlib import pyplot as plt

    from sk_cpep.plotting import GridDisplay

    records = [r for r in records if r["protocol"] != _GENERALISED]
    kinds = grid_kinds(records)
    modalities = list(dict.fromkeys(modality for modality, _ in kinds))
    columns = list(dict.fromkeys(column for _, column in kinds))
    figure, axes = plt.subplots(
        len(modalities),
        len(columns),
        figsize=(4.2 * len(columns), 3.6 * len(modalities)),
        squeeze=False,
        layout="constrained",
    )
    for modality, column in kinds:
        ax = axes[modalities.index(modality), columns.index(column)]
        GridDisplay.from_records(of_grid(records, modality, column), ax=ax)
        ax.set_title(f"{modality}: {column[0]}, {column[1]}".replace("_", " "))
    return figure
