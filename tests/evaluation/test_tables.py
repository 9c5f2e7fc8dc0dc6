import sys

import numpy as np
import pandas as pd
import pytest

from sk_cpep.evaluation import (
    format_differences,
    format_markdown,
    generalised_zero_shot,
    linear_probe,
    merge_records,
    pose_regression,
    published,
    to_frame,
)


def record(method, protocol, gestures, mean, **more):
    row = {"method": method, "protocol": protocol, "gestures": gestures, "mean": mean}
    return (
        row | {"sd": 0.1, "interval": [mean - 0.05, mean + 0.05], "chance": 0.25} | more
    )


def rows_of(text):
    """Cells of the first table in a text."""
    lines = text.split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}
    lines.pop(1)
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines]


# Markdown


def test_a_table_by_hand():
    records = [
        record("EMG-MAE", "linear_probe", "unseen", 0.35),
        record("CPEP", "zero_shot", "in_distribution", 0.75),
        record("CPEP", "linear_probe", "unseen", 0.5, interval=None),
        record("NeuroPose", "linear_probe", "unseen", 0.4),
    ]
    text = format_markdown(records, published=published(), extra_methods=["EMGBlend"])
    assert text == (
        "| macro accuracy | probe, unseen                | zero-shot, in distribution   |\n"
        "|----------------|------------------------------|------------------------------|\n"
        "| EMG-MAE        | 0.350 [0.300, 0.400] (0.334) | –                            |\n"
        "| CPEP           | 0.500 (0.536)                | 0.750 [0.700, 0.800] (0.757) |\n"
        "| NeuroPose      | 0.400 [0.350, 0.450]         | –                            |\n"
        "| EMGBlend       | (0.617)                      | (0.797)                      |\n"
        "\n"
        "Mean over people [95 % bootstrap interval over people]. Chance: 0.250. In "
        "parentheses, published: EMG-MAE (EMBridge, ICLR 2026); CPEP (CPEP, "
        "arXiv:2509.04699, Table 2); EMGBlend (EMGBlend, preprint 2026)."
    )


def test_columns_stand_in_the_papers_order_whatever_the_records_order():
    places = [
        ("zero_shot", "unseen"),
        ("linear_probe", "unseen"),
        ("zero_shot", "in_distribution"),
        ("linear_probe", "in_distribution"),
    ]
    (head, *_) = rows_of(format_markdown([record("a", *p, 0.5) for p in places]))
    assert head[1:] == [
        "probe, in distribution",
        "probe, unseen",
        "zero-shot, in distribution",
        "zero-shot, unseen",
    ]


def test_what_did_not_converge_is_said():
    records = [
        record("CPEP", "zero_shot", "unseen", 0.5),
        {
            "method": "Both encoders trained",
            "protocol": "zero_shot",
            "gestures": "unseen",
            "converged": False,
            "macro_accuracy": 0.3,
            "mean": 0.3,
        },
    ]
    text = format_markdown(records, published=published())
    assert rows_of(text)[2][1] == "did not converge (did not converge)"
    assert "0.3" not in rows_of(text)[2][1]


def test_low_trust_is_marked():
    records = [record("PoseT", "linear_probe", "unseen", 0.4)]
    text = format_markdown(records, published=published())
    assert rows_of(text)[1][1] == "0.400 [0.350, 0.450] (≈0.350)"
    assert "≈: read off a picture or derived, by others." in text
    other = [record("CPEP", "linear_probe", "unseen", 0.4)]
    assert "≈" not in format_markdown(other, published=published())


def test_levels_of_chance():
    records = [
        record("a", "linear_probe", "in_distribution", 0.5, chance=0.125),
        record("a", "linear_probe", "unseen", 0.5),
    ]
    text = format_markdown(records)
    assert "Chance: 0.125 (probe, in distribution), 0.250 (probe, unseen)." in text
    as_row = format_markdown(records, chance="row", digits=2, caption=False)
    assert rows_of(as_row)[-1] == ["Chance", "0.12", "0.25"]
    assert "\n\n" not in as_row


def test_galleries_have_columns_of_their_own():
    records = [
        record("CPEP", "zero_shot", "unseen", mean, gallery=gallery)
        for mean, gallery in ((0.5, "training"), (0.4, "corpus"))
    ]
    head, row = rows_of(format_markdown(records, spread="sd"))
    assert head[1:] == ["zero-shot, unseen, training", "zero-shot, unseen, corpus"]
    assert row[1:] == ["0.500 ± 0.100", "0.400 ± 0.100"]
    columns = [("zero_shot", "unseen", "corpus")]
    head, row = rows_of(format_markdown(records, columns=columns, spread="sd"))
    assert (head[1:], row[1:]) == (["zero-shot, unseen, corpus"], ["0.400 ± 0.100"])


def few(method, n_people, mean, **more):
    """A record of a probe on some people's labels."""
    return {
        "method": method,
        "protocol": "linear_probe",
        "gestures": "unseen",
        "mean": mean,
        "n_people": n_people,
        **more,
    }


def test_numbers_of_people_windows_and_penalties_have_columns_of_their_own():
    records = [
        few("A", 1, 0.1),
        few("A", 4, 0.2),
        few("A", "all", 0.3),
        few("A", "all", 0.4, windows="rest before"),
        few(
            "A",
            0,
            0.5,
            protocol="generalised_zero_shot",
            settings={"seen_penalty": 0.0},
        ),
        few(
            "A",
            0,
            0.6,
            protocol="generalised_zero_shot",
            settings={"seen_penalty": 0.1},
        ),
    ]
    head, _, row = format_markdown(records, caption=False, digits=1).splitlines()
    cells = dict(
        zip(
            (cell.strip() for cell in head.strip("|").split("|")),
            (cell.strip() for cell in row.strip("|").split("|")),
            strict=True,
        )
    )
    assert cells == {
        "macro accuracy": "A",
        "probe, unseen, labels of 1 person": "0.1",
        "probe, unseen, labels of 4 people": "0.2",
        "probe, unseen": "0.3",
        "probe, unseen, rest before": "0.4",
        "generalised zero-shot, unseen": "0.5",
        "generalised zero-shot, unseen, penalty 0.1": "0.6",
    }


def test_columns_are_called_as_one_likes():
    columns = [("linear_probe", "unseen", 1), ("linear_probe", "unseen")]
    records = [few("A", 1, 0.1), few("A", "all", 0.3)]
    table = format_markdown(records, columns=columns, titles=["one", "all"], digits=1)
    assert table.splitlines()[0].split() == [
        "|",
        "macro",
        "accuracy",
        "|",
        "one",
        "|",
        "all",
        "|",
    ]
    with pytest.raises(ValueError, match="titles has 1 entries for 2 columns"):
        format_markdown(records, columns=columns, titles=["one"])


def test_differences_by_hand():
    def of(method, a, b, **more):
        return few(method, 1, 0.5, per_user={"1": a, "2": b}, **more)

    records = [
        of("ours", 0.8, 0.6),
        of("one", 0.5, 0.3),
        of("two", 0.9, 0.6),
        of("failed", 0.1, 0.1) | {"converged": False},
        few("elsewhere", "all", 0.2, per_user={"1": 0.1, "2": 0.2}),
    ]
    rows = format_differences(records, "ours", digits=2).splitlines()
    assert rows[0].startswith("| ours less … | probe, unseen, labels of 1 person |")
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["one", "two"]
    assert "| +0.30 [+0.30, +0.30]" in rows[2]
    assert "| -0.05 [-0.10, +0.00]" in rows[3]
    with pytest.raises(ValueError, match="no record of 'theirs'"):
        format_differences(records, "theirs")


def test_columns_of_differences():
    rng = np.random.default_rng(3)
    people = {name: rng.uniform(size=(2, 6)) for name in ("ours", "theirs")}
    records = [
        few(name, n, 0.5, per_user=dict(zip("abcdef", values.tolist(), strict=True)))
        for name, parts in people.items()
        for n, values in zip((1, "all"), parts, strict=True)
    ]
    columns = [("linear_probe", "unseen"), ("linear_probe", "unseen", 1)]
    text = format_differences(
        records, "ours", columns=columns, titles=["all", "one"], digits=3
    )
    head, row = rows_of(text)
    assert head == ["ours less …", "all", "one"]
    off = people["ours"] - people["theirs"]
    for cell, difference in zip(row[1:], off[::-1], strict=True):
        mean, low, high = (float(x.strip("[,]")) for x in cell.split())
        assert mean == pytest.approx(difference.mean(), abs=6e-4)
        assert difference.min() - 1e-3 <= low < mean < high
        assert high <= difference.max() + 1e-3
    with pytest.raises(ValueError, match="titles has 1 entries for 2 columns"):
        format_differences(records, "ours", columns=columns, titles=["all"])
    missing = [r for r in records if (r["method"], r["n_people"]) != ("theirs", 1)]
    assert rows_of(format_differences(missing, "ours"))[1].count("–") == 1
    alone = [r for r in records if r["method"] == "ours"]
    assert len(rows_of(format_differences(alone, "ours"))) == 1


def test_penalties_that_were_chosen_in_each_run():
    """They stay in all three records, and in the columns' titles."""
    Z, y = np.repeat(np.eye(3), 4, axis=0), np.repeat(["fist", "ok", "wave"], 4)
    gallery = Z, y, ["anna"] * 12
    runs = [
        generalised_zero_shot(
            None,
            gallery,
            (Z, y, [user] * 12),
            seen=["fist"],
            n_neighbors=3,
            seen_penalty=penalty,
            method="A",
        )
        for user, penalty in (("ben", 0.1), ("eve", 0.25))
    ]
    merged = merge_records(runs)
    assert [r["gestures"] for r in merged][-1] == "harmonic_mean"
    for record in merged:
        assert record["settings"]["seen_penalty"] == [0.1, 0.25]
        assert record["settings"]["n_neighbors"] == 3
    head, row = rows_of(format_markdown(merged, digits=1))
    assert head[1] == "generalised zero-shot, in distribution, penalty 0.1, 0.25"
    assert [cell[:3] for cell in row[1:]] == ["1.0"] * 3
    fits = [[r | {"fits": {"A": name}} for r in run] for name, run in zip("xy", runs)]
    for record in merge_records(fits):
        assert record["fits"] == [{"A": "x"}, {"A": "y"}]


def test_poses_have_tables_of_their_own():
    P = np.zeros((4, 20, 3))
    users = ["a", "a", "b", "b"]

    class Hand:
        def landmarks(self, angles):
            return np.repeat(angles[:, :1, None] * 100, 21, axis=1) * [1.0, 0, 0]

    static = pose_regression(
        np.full(20, np.pi / 18), (P, P, users), hand_model=Hand(), generalization="user"
    )
    accuracy = record("CPEP", "zero_shot", "unseen", 0.5)
    text = format_markdown([accuracy, static], published=published())
    assert rows_of(text)[1] == ["CPEP", "0.500 [0.450, 0.550] (0.481)"]
    angles = "\n\n".join(text.split("\n\n")[2:])
    assert rows_of(angles) == [
        ["angular error (deg)", "regression, user"],
        ["Static", "10.00 [10.00, 10.00] (16.86)"],
    ]
    places = "\n\n".join(text.split("\n\n")[4:])
    assert rows_of(places) == [
        ["landmark distance (mm)", "regression, user"],
        ["Static", "17.45 [17.45, 17.45] (25.17)"],
    ]
    assert len(text.split("\n\n")) == 6


def test_a_bar_in_a_name_does_not_break_the_table():
    assert r"| a\|b " in format_markdown([record("a|b", "zero_shot", "unseen", 0.5)])


@pytest.mark.parametrize(
    "records, options, message",
    [
        ([], {}, "No records"),
        ([record("a", "zero_shot", "unseen", 0.5)] * 2, {}, "Two records of 'a' for"),
        ([record("a", "x", "y", 0.5)], {"spread": "se"}, "spread must be"),
        ([record("a", "x", "y", 0.5)], {"chance": "both"}, "chance must be"),
    ],
)
def test_tables_refuse(records, options, message):
    with pytest.raises(ValueError, match=message):
        format_markdown(records, **options)


# pandas


def test_frame():
    Z, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(["fist", "ok"], 4)
    probe = linear_probe(None, (Z, y, ["anna"] * 8), (Z, y, ["ben"] * 4 + ["eve"] * 4))
    P = np.zeros((2, 20, 3))
    pose = pose_regression(np.full(20, 0.1), (P, P, ["a", "b"]))
    failed = {"method": "m", "protocol": "zero_shot", "converged": False}
    frame = to_frame([probe | {"seed": 3}, pose, failed])
    assert isinstance(frame, pd.DataFrame) and len(frame) == 3
    assert frame["macro_accuracy"][0] == 1 and frame["settings.C"][0] == 1.0
    assert frame["low"][0] == frame["high"][0] == 1 and frame["seed"][0] == 3
    assert frame["unit"][1] == "deg" and pd.isna(frame["macro_accuracy"][1])
    assert frame["angular_error"][1] == pytest.approx(np.rad2deg(0.1))
    assert frame["converged"].tolist()[2] is False
    assert not {"per_user", "confusion", "predictions", "interval"} & set(frame)


def test_frame_of_published_numbers():
    frame = to_frame(published(protocol="pose_regression"))
    best = frame[frame["generalization"] == "user"].set_index("method")
    assert best["landmark_distance.mean"]["NHN"] == 14.42
    assert best["mean"].idxmin() == "NHN"


def test_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "sk_cpep\[table\]"'):
        to_frame([])
