"""Curves over the number of labelled people, zero-shot apart at none."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color
from numpy.testing import assert_allclose

from sk_cpep.plotting import LabelEfficiencyDisplay


def probe(method, gestures, n_people, mean, **more):
    return {
        "method": method,
        "protocol": "linear_probe",
        "gestures": gestures,
        "n_people": n_people,
        "mean": mean,
        "interval": [mean - 0.03, mean + 0.02],
        "chance": 0.25 if gestures == "unseen" else 0.125,
        "per_user": {"a": mean},
        **more,
    }


def zero_shot(method, gestures, mean):
    record = probe(method, gestures, 0, mean)
    return record | {"protocol": "zero_shot"}


def example():
    records = []
    for gestures in ("in_distribution", "unseen"):
        for method, start in (("bins", 0.3), ("CPEP", 0.35)):
            # not in order
            records.append(probe(method, gestures, "all", start + 0.3, n_labelled=12))
            for k, n in enumerate((8, 4, 2, 1)):
                records.append(probe(method, gestures, n, start + 0.05 * (3 - k)))
        records.append(zero_shot("CPEP", gestures, 0.44))
    return records


def tick_labels(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def test_a_panel_for_each_set_on_a_common_scale():
    display = LabelEfficiencyDisplay.from_records(example())
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["in distribution", "unseen"]
    assert display.ax_ is display.axes_[0] and display.figure_ is display.ax_.figure
    left, right = display.axes_
    assert left.get_ylim() == right.get_ylim()
    for ax in display.axes_:
        assert tick_labels(ax) == ["none", "1", "2", "4", "8", "all\n(12)"]
        assert_allclose(ax.get_xticks(), [-1, 0, 1, 2, 3, np.log2(12)])


def test_curves_of_the_methods():
    display = LabelEfficiencyDisplay.from_records(example())
    assert set(display.lines_) == {
        (g, m) for g in ("in_distribution", "unseen") for m in ("bins", "CPEP")
    }
    for (_, method), line in display.lines_.items():
        start = 0.3 if method == "bins" else 0.35
        assert_allclose(line.get_ydata(), start + np.array([0, 0.05, 0.1, 0.15, 0.3]))
        # Methods stand side by side, less than a tenth of an octave from their ticks.
        away = line.get_xdata() - np.array([0, 1, 2, 3, np.log2(12)])
        assert_allclose(away, away[0])
        assert 0 < abs(away[0]) < 0.1
    shifts = [line.get_xdata()[0] for line in display.lines_.values()]
    assert sum(shifts[:2]) == pytest.approx(0)  # about the tick


def test_zero_shot_is_carried_on_through_the_panel():
    display = LabelEfficiencyDisplay.from_records(example())
    assert set(display.zero_shot_) == {("in_distribution", "CPEP"), ("unseen", "CPEP")}
    for ax, gestures in zip(display.axes_, ("in_distribution", "unseen"), strict=True):
        mark = display.zero_shot_[gestures, "CPEP"]
        assert mark.axes is ax
        assert_allclose(mark.get_xydata(), [[-1, 0.44]], atol=0.06)
        assert same_color(
            mark.get_color(), display.lines_[gestures, "CPEP"].get_color()
        )
        (level,) = [
            line
            for line in ax.lines
            if line.get_linestyle() == "--" and list(line.get_ydata()) == [0.44, 0.44]
        ]
        assert same_color(level.get_color(), mark.get_color())
        assert_allclose(level.get_xdata(), [0, 1])  # the whole breadth


@pytest.mark.parametrize("show_interval", [True, False])
def test_intervals(show_interval):
    records = [
        probe("a", "unseen", 1, 0.4),
        probe("a", "unseen", 2, 0.5) | {"interval": None},
    ]
    display = LabelEfficiencyDisplay.from_records(records, show_interval=show_interval)
    drawn = [
        list(line.get_ydata()) for line in display.ax_.lines if len(line.get_ydata())
    ]
    assert ([0.37, 0.42] in [np.round(d, 9).tolist() for d in drawn]) == show_interval
    assert len(drawn) == 2 + show_interval  # curve, chance


def test_chance_of_each_set():
    display = LabelEfficiencyDisplay.from_records(example())
    for ax, level in zip(display.axes_, (0.125, 0.25), strict=True):
        assert [level, level] in [list(line.get_ydata()) for line in ax.lines]
        assert ax.texts[0].get_text() == "chance"


def test_all_people_of_several_folds():
    records = [
        probe("a", "unseen", 1, 0.3),
        probe("a", "unseen", "all", 0.5, n_labelled=[11, 12, 13]),
    ]
    display = LabelEfficiencyDisplay.from_records(records)
    assert tick_labels(display.ax_) == ["1", "all\n(12)"]
    assert_allclose(display.lines_["unseen", "a"].get_xdata(), [0, np.log2(12)])


def legend_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_legend_beside():
    records = example()
    name = "Multi-scale covariance with a Riemannian tangent space"
    records.append(probe(name, "unseen", 1, 0.3))
    display = LabelEfficiencyDisplay.from_records(records)
    (legend,) = display.figure_.legends
    *names, last = legend_of(legend)
    assert [" ".join(n.split()) for n in names] == ["bins", "CPEP", name]
    assert max(map(len, "\n".join(names).split("\n"))) <= 26
    assert last == "no labels (zero-shot)"
    display.figure_.canvas.draw()
    extents = [ax.get_window_extent() for ax in display.axes_]
    assert legend.get_window_extent().x0 > extents[-1].x1
    assert extents[0].width == pytest.approx(extents[1].width, rel=0.01)
    assert extents[0].width > legend.get_window_extent().width


def test_without_zero_shot_none_is_no_tick():
    display = LabelEfficiencyDisplay.from_records([probe("a", "unseen", 1, 0.3)])
    assert tick_labels(display.ax_) == ["1"]
    assert legend_of(display.figure_.legends[0]) == ["a"]


def test_on_given_axes():
    figure, axes = plt.subplots(1, 2)
    display = LabelEfficiencyDisplay.from_records(example(), ax=axes)
    assert display.figure_ is figure and display.axes_[1] is axes[1]
    assert legend_of(axes[1].get_legend())[:2] == ["bins", "CPEP"]
    with pytest.raises(ValueError, match="needs 2 axes here, got 1"):
        display.plot(axes[0])


def test_other_records_are_left_out():
    others = [
        {"method": "a", "protocol": "own_repetition", "gestures": "new", "mean": 0.9},
        probe("a", "unseen", 1, 0.9, windows="rest before"),
        probe("a", "unseen", 1, 0.9, gallery="all"),
    ]
    display = LabelEfficiencyDisplay.from_records(example() + others)
    assert len(display.axes_) == 2
    assert all(0.9 not in line.get_ydata() for line in display.lines_.values())
    assert {method for _, method in display.lines_} == {"bins", "CPEP"}
    for nothing in (others, []):
        with pytest.raises(ValueError, match="No record is of a linear probe"):
            LabelEfficiencyDisplay.from_records(nothing)
