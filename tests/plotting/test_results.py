"""Bars with intervals and published numbers, in panels; heat maps of a grid."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.evaluation import published
from sk_cpep.plotting import GridDisplay, ResultsDisplay


def record(method, protocol, gestures, accuracy, **more):
    return {
        "method": method,
        "protocol": protocol,
        "gestures": gestures,
        "macro_accuracy": accuracy,
        "sd": 0.1,
        "interval": [accuracy - 0.02, accuracy + 0.05],
        "chance": 0.25,
        **more,
    }


PEOPLE = {"a": 0.6, "b": 0.8}
RECORDS = [
    record(method, protocol, gestures, accuracy)
    for method, accuracy in (("CPEP", 0.7), ("PoseT", 0.5), ("NeuroPose", 0.4))
    for protocol in ("linear_probe", "zero_shot")
    for gestures in ("in_distribution", "unseen")
]


def legend_of(thing):
    (legend,) = thing.legends if hasattr(thing, "legends") else [thing.get_legend()]
    return [text.get_text() for text in legend.get_texts()]


def spread_of(ax, k):
    """Lower and upper end of the k-th error bar."""
    bars = [c for c in ax.containers if hasattr(c, "has_yerr")]
    return bars[k].lines[2][0].get_segments()[0][:, 1]


# Results


def test_results_bars():
    records = [
        record("CPEP", "linear_probe", "in_distribution", 0.8),
        record("CPEP", "zero_shot", "in_distribution", 0.7, per_user=PEOPLE),
        record("MAE", "linear_probe", "in_distribution", 0.4, sd=None),
    ]
    display = ResultsDisplay.from_records(records)
    assert_allclose([bar.get_height() for bar in display.bars_], [0.8, 0.7, 0.4])
    centres = [bar.get_x() + bar.get_width() / 2 for bar in display.bars_]
    assert_allclose(centres, [-0.2, 0.2, 0.8])
    assert_allclose(display.people_[1].get_offsets()[:, 1], [0.6, 0.8])
    assert_allclose([line.get_ydata() for line in display.chance_lines_], [[0.25] * 2])
    assert len(display.ax_.containers) == 5  # 3 bars, 2 spreads
    spread = display.ax_.containers[1].lines[2][0].get_segments()[0]
    assert_allclose(spread[:, 1], [0.7, 0.9])
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == [
        "linear probe, in distribution",
        "zero shot, in distribution",
        "chance",
    ]
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["CPEP", "MAE"]
    colours = [bar.get_facecolor() for bar in display.bars_]
    assert colours[0] == colours[2] != colours[1]


def test_results_with_the_least_there_is():
    one = record("CPEP", "zero_shot", "unseen", 0.5, per_user=PEOPLE)
    least = {k: one[k] for k in ("method", "protocol", "gestures", "macro_accuracy")}
    figure, ax = plt.subplots()
    display = ResultsDisplay.from_records([least], ax=ax)
    assert display.ax_ is ax and display.chance_lines_ == []
    assert display.people_ == [None]
    hidden = ResultsDisplay.from_records([one], show_people=False)
    assert hidden.people_ == [None]
    with pytest.raises(ValueError, match="No records"):
        ResultsDisplay.from_records([])


def test_intervals_need_not_be_symmetric():
    ax = ResultsDisplay.from_records(RECORDS[:1], spread="interval").ax_
    assert_allclose(spread_of(ax, 0), [0.68, 0.75])
    assert "95 % interval" in ax.get_ylabel()
    ax = ResultsDisplay.from_records(RECORDS[:1]).ax_
    assert_allclose(spread_of(ax, 0), [0.6, 0.8])
    assert "SD" in ax.get_ylabel()
    least = [RECORDS[0] | {"interval": None}]
    ax = ResultsDisplay.from_records(least, spread="interval").ax_
    assert not [c for c in ax.containers if hasattr(c, "has_yerr")]
    with pytest.raises(ValueError, match="spread must be one of"):
        ResultsDisplay.from_records(RECORDS, spread="se")


def test_published_numbers_stand_on_the_bars_they_belong_to():
    display = ResultsDisplay.from_records(RECORDS, published=published())
    for one, bar, marker in zip(RECORDS, display.bars_, display.markers_, strict=True):
        known = published(one["method"], one["protocol"], one["gestures"])
        if not known:
            assert marker is None
            continue
        ((x, y),) = marker.get_xydata()
        assert y == known[0]["macro_accuracy"]
        assert bar.get_x() < x < bar.get_x() + bar.get_width()
        hollow = marker.get_markerfacecolor() == "none"
        assert hollow == (known[0]["trust"] == "low")
    assert sum(m is not None for m in display.markers_) == 6  # CPEP 4, PoseT 2
    assert legend_of(display.ax_)[-2:] == ["chance", "published"]


def test_a_published_failure_has_no_marker():
    both = [record("Both encoders trained", "zero_shot", "unseen", 0.3)]
    display = ResultsDisplay.from_records(both, published=published())
    assert display.markers_ == [None]
    assert "published" not in legend_of(display.ax_)


def test_panels():
    display = ResultsDisplay.from_records(RECORDS, panels=True, spread="interval")
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["in distribution", "unseen"]
    assert display.ax_ is display.axes_[0]
    for one, bar in zip(RECORDS, display.bars_, strict=True):
        panel = display.axes_[int(one["gestures"] == "unseen")]
        assert bar.axes is panel
        assert bar.get_height() == one["macro_accuracy"]
    places = [bar.get_x() + bar.get_width() / 2 for bar in display.bars_[:4]]
    assert_allclose(places, [-0.2, -0.2, 0.2, 0.2])
    assert legend_of(display.figure_) == ["linear probe", "zero shot", "chance"]
    assert len(display.chance_lines_) == 2
    assert display.bars_[0].get_facecolor() == display.bars_[1].get_facecolor()
    names = [text.get_text() for text in display.axes_[1].get_xticklabels()]
    assert names == ["CPEP", "PoseT", "NeuroPose"]


def test_panels_on_given_axes():
    figure, axes = plt.subplots(1, 2)  # of a layout that cannot hold a legend outside
    display = ResultsDisplay.from_records(RECORDS, panels=True, ax=axes)
    figure.canvas.draw()
    assert display.figure_ is figure
    assert_array_equal(display.axes_, axes)
    assert legend_of(axes[0]) == ["linear probe", "zero shot", "chance"]
    with pytest.raises(ValueError, match="needs 2 axes here, got 1"):
        ResultsDisplay.from_records(RECORDS, panels=True, ax=axes[0])


def test_what_did_not_converge_has_no_bar():
    failed = {
        "method": "CPEP",
        "protocol": "linear_probe",
        "gestures": "unseen",
        "converged": False,
        "per_user": {"a": 0.3},
    }
    display = ResultsDisplay.from_records([failed, *RECORDS[2:4]])
    assert display.bars_[0] is None and display.people_[0] is None
    assert [text.get_text() for text in display.ax_.texts] == ["did not converge"]
    heights = [bar.get_height() for bar in display.bars_[1:]]
    assert heights == [r["macro_accuracy"] for r in RECORDS[2:4]]
    alone = ResultsDisplay.from_records([failed])
    assert alone.ax_.get_legend() is None


def test_errors_of_poses():
    records = published(protocol="pose_regression", gestures="user")
    display = ResultsDisplay.from_records(records, published=records)
    heights = [bar.get_height() for bar in display.bars_]
    assert heights == [r["angular_error"] for r in records]
    assert [m.get_ydata()[0] for m in display.markers_] == heights
    assert display.ax_.get_ylabel().startswith("angular error (deg)")
    low, high = display.ax_.get_ylim()
    assert low == 0 and high > max(heights)
    with pytest.raises(ValueError, match="no axis in common"):
        ResultsDisplay.from_records([*records, *RECORDS])


# Grid


def cell(patch_length, mask_ratio, accuracy, **more):
    settings = {"patch_length": patch_length, "mask_ratio": mask_ratio}
    return record("CPEP", "zero_shot", "unseen", accuracy) | settings | more


def test_grid_of_records():
    records = [
        cell(100, 0.75, 0.3),
        cell(25, 0.5, 0.5),
        cell(100, 0.5, 0.4),
        cell(25, 0.25, 0.9, converged=False),
    ]
    display = GridDisplay.from_records(records)
    assert display.rows == [0.25, 0.5, 0.75] and display.columns == [25, 100]
    expected = [[np.nan, np.nan], [0.5, 0.4], [np.nan, 0.3]]
    assert_array_equal(display.values, expected)
    assert_array_equal(display.image_.get_array().filled(np.nan), expected)
    texts = [[text.get_text() for text in row] for row in display.texts_]
    assert texts == [["not\nconverged", "–"], ["0.50", "0.40"], ["–", "0.30"]]
    ax = display.ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("patch length", "mask ratio")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.25", "0.5", "0.75"]
    assert display.colorbar_.ax.get_ylabel() == "macro accuracy"


def test_numbers_stand_in_their_cells():
    display = GridDisplay.from_grid([[1, 2, 3], [4, 5, 6]], ["a", "b"], ["x", "y", "z"])
    for (row, column), text in np.ndenumerate(display.texts_):
        assert text.get_position() == (column, row)
        assert float(text.get_text()) == display.values[row, column]
        colour = display.image_.to_rgba(display.values[row, column])[:3]
        ink = matplotlib.colors.to_rgb(text.get_color())
        assert abs(np.mean(colour) - np.mean(ink)) > 0.25  # legible


def test_settings_may_be_among_the_settings():
    records = [
        record("m", "zero_shot", "unseen", a, settings={"n_neighbors": k, "d": 1})
        for k, a in ((1, 0.4), (10, 0.5))
    ]
    display = GridDisplay.from_records(records, rows="d", columns="n_neighbors")
    assert_array_equal(display.values, [[0.4, 0.5]])
    with pytest.raises(ValueError, match="no 'tau', neither as a field nor"):
        GridDisplay.from_records(records, rows="tau")


def test_heat_maps_side_by_side_share_their_colours():
    _, axes = plt.subplots(1, 2)
    options = {"rows": [1], "columns": [1, 2], "vmin": 0, "vmax": 1}
    one = GridDisplay.from_grid([[0.2, 0.4]], ax=axes[0], colorbar=False, **options)
    two = GridDisplay.from_grid([[0.4, 0.9]], ax=axes[1], title="two", **options)
    assert one.image_.to_rgba(0.4) == two.image_.to_rgba(0.4)
    assert one.colorbar_ is None and two.ax_.get_title() == "two"


def test_an_empty_grid_can_be_drawn():
    display = GridDisplay.from_grid([[np.nan]], [1], [1])
    display.figure_.canvas.draw()
    assert display.texts_[0, 0].get_text() == "–"


@pytest.mark.parametrize(
    "records, message",
    [
        ([], "No records"),
        (
            [cell(25, 0.5, 0.1)] * 2,
            "Two records have mask_ratio=0.5 and patch_length=25",
        ),
    ],
)
def test_grids_refuse(records, message):
    with pytest.raises(ValueError, match=message):
        GridDisplay.from_records(records)


def test_a_grid_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"shape \(2, 1\), one for each"):
        GridDisplay.from_grid([[1.0, 2.0]], [1, 2], [1])
