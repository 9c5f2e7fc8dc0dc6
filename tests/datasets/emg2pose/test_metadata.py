"""The metadata table of emg2pose: what is read, and what is refused by its row."""

import re

import numpy as np
import pytest

from sk_cpep.datasets import check_published_counts, read_emg2pose_metadata
from sk_cpep.datasets.emg2pose._format import (
    FINGER_JOINTS,
    HELD_OUT_STAGES,
    JOINT_GROUPS,
    JOINT_NAMES,
    PUBLISHED_COUNTS,
    PUBLISHED_TOTALS,
    STAGES,
    TIMESERIES_DTYPE,
)

TRAIN_USERS = [f"train{i:03d}" for i in range(158)]
VAL_USERS = [f"val{i:02d}" for i in range(15)]
TEST_USERS = [f"test{i:02d}" for i in range(20)]


def published_table(corpora):
    """A table with the published counts, the files dealt out to users and stages."""
    ordinary = [stage for stage in STAGES if stage not in HELD_OUT_STAGES]
    parts = [
        ("train", "none", TRAIN_USERS, ordinary, 17136),
        ("val", "user", VAL_USERS, ordinary, 1618),
        ("val", "user_stage", VAL_USERS, HELD_OUT_STAGES, 332),
        ("test", "user", TEST_USERS, ordinary, 2172),
        ("test", "stage", TRAIN_USERS, HELD_OUT_STAGES, 3539),
        ("test", "user_stage", TEST_USERS, HELD_OUT_STAGES, 456),
    ]
    rows = []
    for split, kind, users, stages, n_files in parts:
        for i in range(n_files):
            user, stage = users[i % len(users)], stages[i % len(stages)]
            flags = {"held_out_user": "user" in kind, "held_out_stage": "stage" in kind}
            facts = dict(split=split, generalization=kind, user=user, stage=stage)
            row = corpora.table_row(len(rows), session=f"s-{user}", **facts, **flags)
            rows.append(row)
    return rows


def test_constants_follow_from_the_names():
    assert TIMESERIES_DTYPE.itemsize == 232
    offsets = {
        name: TIMESERIES_DTYPE.fields[name][1] for name in TIMESERIES_DTYPE.names
    }
    assert offsets == {"time": 0, "joint_angles": 8, "emg": 168}
    assert len(set(STAGES)) == 29
    assert len(set(HELD_OUT_STAGES) & set(STAGES)) == 6
    assert np.sum(list(PUBLISHED_COUNTS.values()), axis=0)[0] == 25253
    levels = {"CMC": "proximal", "PIP": "mid", "DIP": "distal", "IP": "distal"}
    for joint, name in enumerate(JOINT_NAMES):
        finger, part, _ = name.split("_")
        thumb_mcp = "mid" if finger == "THUMB" else "proximal"
        level = thumb_mcp if part == "MCP" else levels[part]
        assert joint in JOINT_GROUPS[level]
        assert joint in FINGER_JOINTS[finger]
    assert sum(map(len, JOINT_GROUPS.values())) == 20
    assert [len(joints) for joints in FINGER_JOINTS.values()] == [4] * 5


def test_reads_every_column(tmp_path, corpora):
    rows = corpora.small_table()
    corpora.write_table(tmp_path, rows)
    metadata = read_emg2pose_metadata(tmp_path)
    assert list(metadata.dtype.names) == corpora.COLUMNS
    for name in corpora.COLUMNS:
        assert metadata[name].tolist() == [row[name] for row in rows]
    assert metadata["start"].dtype == np.float64
    assert metadata["held_out_user"].dtype == bool


def test_order_of_columns_blank_lines_and_byte_order_mark_do_not_matter(
    tmp_path, corpora
):
    rows = corpora.small_table()
    path = corpora.write_table(tmp_path, rows)
    expected = read_emg2pose_metadata(tmp_path)
    corpora.write_table(tmp_path, rows, columns=corpora.COLUMNS[::-1])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert read_emg2pose_metadata(tmp_path).tolist() == expected.tolist()


def test_repeated_names_are_held_once(tmp_path, corpora):
    corpora.write_table(tmp_path, corpora.small_table())
    stages = read_emg2pose_metadata(tmp_path)["stage"]
    assert stages[0] is stages[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stage": "HandClaw"}, "stage='HandClaw' is unknown"),
        ({"stage": "unconstrained_both"}, "stage='unconstrained_both' is unknown"),
        ({"side": "Left"}, "side='Left' is unknown"),
        ({"split": "validation"}, "split='validation' is unknown"),
        ({"generalization": ""}, "generalization='' is unknown"),
        ({"user": ""}, "user is empty"),
        ({"session": ""}, "session is empty"),
        ({"filename": ""}, "filename is empty"),
        ({"filename": "../other/recording"}, "is no file name"),
        ({"start": "yesterday"}, "start='yesterday' is no time in seconds"),
        ({"end": "nan"}, "end='nan' is no time in seconds"),
        ({"end": 0.0}, "end=0.0 lies before start="),
        ({"held_out_user": 1}, "held_out_user='1', expected 'True' or 'False'"),
        ({"held_out_stage": "true"}, "held_out_stage='true', expected"),
        ({"held_out_stage": True}, "held_out_stage=True for the stage 'unconstrained'"),
        ({"stage": "FingerFreeform"}, "held_out_stage=False for the stage"),
        (
            {"held_out_user": True},
            r"generalization='none' means \(held_out_user, held_out_stage\)="
            r"\(False, False\), got \(True, False\)",
        ),
        ({"generalization": "user"}, "generalization='user' means"),
        ({"split": "val"}, "there is no val/none"),
        (
            {"session": "session-b"},
            "'session-b' is of user 'a' here and of 'b' in row 3",
        ),
        (
            {"user": "c", "session": "session-c"},
            "user 'c' crosses splits: held out for .*test in row 5",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_row_and_value(tmp_path, corpora, change, said):
    rows = corpora.small_table()
    rows[7] |= change
    corpora.write_table(tmp_path, rows)
    with pytest.raises(ValueError, match=said) as error:
        read_emg2pose_metadata(tmp_path)
    assert f"{tmp_path / 'metadata.csv'}, row 7 (line 9)" in str(error.value)


def test_val_without_new_users_was_never_published(tmp_path, corpora):
    rows = corpora.small_table()
    rows[2]["split"] = "val"
    corpora.write_table(tmp_path, rows)
    with pytest.raises(ValueError, match=r"row 2 \(line 4\): there is no val/stage"):
        read_emg2pose_metadata(tmp_path)


def test_a_held_out_user_in_two_splits_is_refused(tmp_path, corpora):
    rows = corpora.small_table()
    rows[5] |= {"user": "b", "session": "session-b"}
    corpora.write_table(tmp_path, rows)
    with pytest.raises(ValueError, match="row 5 .*'b' crosses splits.* val in row 3"):
        read_emg2pose_metadata(tmp_path)


def test_a_file_listed_twice_is_refused(tmp_path, corpora):
    rows = corpora.small_table()
    rows[8]["filename"] = rows[1]["filename"]
    corpora.write_table(tmp_path, rows)
    with pytest.raises(ValueError, match=r"row 8 \(line 10\).*listed in row 1 too"):
        read_emg2pose_metadata(tmp_path)


def test_a_row_of_other_length_is_refused(tmp_path, corpora):
    path = corpora.write_table(tmp_path, corpora.small_table())
    lines = path.read_text().splitlines()
    lines[4] = lines[4].rsplit(",", 1)[0]
    path.write_text("\n".join(lines))
    with pytest.raises(
        ValueError, match=r"row 3 \(line 5\): it has 11 values, expected 12"
    ):
        read_emg2pose_metadata(tmp_path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (lambda c: c[1:], r"lacks \['session'\]"),
        (lambda c: [*c, "age"], r"has the unknown \['age'\]"),
        (lambda c: [*c, "user"], r"names twice \['user'\]"),
        (lambda c: [c[0].upper(), *c[1:]], r"lacks \['session'\], has .*'SESSION'"),
    ],
)
def test_wrong_columns_are_named(tmp_path, corpora, columns, said):
    rows = [{**row, "age": 1, "SESSION": "x"} for row in corpora.small_table()]
    corpora.write_table(tmp_path, rows, columns=columns(corpora.COLUMNS))
    with pytest.raises(ValueError, match=said):
        read_emg2pose_metadata(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no rows"),
        (b"session,user\n", "has no rows"),
        (b"\x89HDF\r\n\x1a\n\x00\x00\xff\xfe", "no table of comma-separated values"),
        (b'session,user\n"a,b\n', "no table of comma-separated values"),
        (b"<html>\n<body>404</body>\n", "lacks"),
    ],
)
def test_no_table_at_all(tmp_path, content, said):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_emg2pose_metadata(tmp_path)
    assert str(tmp_path / "metadata.csv") in str(error.value)


def test_where_there_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        read_emg2pose_metadata(tmp_path / "gone")
    (tmp_path / "emg2pose_metadata.csv").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"found: \['emg2pose_metadata.csv'\]"):
        read_emg2pose_metadata(tmp_path)
    with pytest.raises(FileNotFoundError, match="is a file, not a folder"):
        read_emg2pose_metadata(tmp_path / "emg2pose_metadata.csv")


def test_a_damaged_table_is_never_read_wrongly(tmp_path, corpora):
    """A flipped byte gives an error, or changes one value of a row at most."""
    path = corpora.write_table(tmp_path, corpora.small_table())
    good, truth = path.read_bytes(), read_emg2pose_metadata(tmp_path)
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        content = bytearray(good)
        content[rng.integers(len(good))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            found = read_emg2pose_metadata(tmp_path)
        except ValueError as error:
            assert str(path) in str(error)
            n_refused += 1
        else:
            assert len(found) == len(truth)
            changed = sum(
                np.sum(found[name] != truth[name]) for name in truth.dtype.names
            )
            assert changed <= 1
    assert n_refused > 100


def test_a_table_as_published_has_the_published_counts(tmp_path, corpora):
    rows = published_table(corpora)
    corpora.write_table(tmp_path, rows)
    metadata = read_emg2pose_metadata(tmp_path)
    assert len(metadata) == 25253
    check_published_counts(metadata)
    found = {"files": 25253, "users": 193, "stages": 29}
    assert found == PUBLISHED_TOTALS
    with pytest.raises(ValueError, match="not that of the whole") as error:
        check_published_counts(metadata[: -(456 + 1)])
    said = re.findall(r"[\w/]+ \w+: \d+, published \d+", str(error.value))
    assert said == [
        "all files: 24796, published 25253",
        "test/stage files: 3538, published 3539",
        "test/user_stage files: 0, published 456",
        "test/user_stage users: 0, published 20",
        "test/user_stage stages: 0, published 6",
    ]
