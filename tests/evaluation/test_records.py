import json
import os

import numpy as np
import pytest

from sk_cpep.evaluation import (
    linear_probe,
    load_records,
    merge_records,
    per_class_recall,
    save_records,
)

RECORDS = [
    {"method": "CPEP", "protocol": "zero_shot", "gestures": "unseen", "mean": 1 / 3},
    {"method": "EMG-MAE", "sd": None, "per_user": {"ünal": 0.1}, "converged": True},
]


# Files


def test_records_come_back(tmp_path):
    path = save_records(tmp_path / "records.json", RECORDS)
    assert load_records(path) == RECORDS == load_records(str(path))
    assert os.listdir(tmp_path) == ["records.json"]


def test_numpy_is_written_as_plain_numbers(tmp_path):
    record = {
        "a": np.float64(0.1),
        "b": np.int64(3),
        "c": np.arange(4).reshape(2, 2),
        "d": (np.bool_(True), np.str_("x")),
    }
    path = save_records(tmp_path / "r.json", [record])
    plain = {"a": 0.1, "b": 3, "c": [[0, 1], [2, 3]], "d": [True, "x"]}
    assert load_records(path) == [plain]


def test_records_are_added_but_not_lost(tmp_path):
    path = save_records(tmp_path / "r.json", RECORDS[:1])
    save_records(path, RECORDS)
    save_records(path, RECORDS[::-1])
    with pytest.raises(ValueError, match=r"holds 1 record.* CPEP / zero_shot / unseen"):
        save_records(path, RECORDS[1:])
    assert load_records(path) == RECORDS[::-1]
    save_records(path, RECORDS[1:], overwrite=True)
    assert load_records(path) == RECORDS[1:]


@pytest.mark.parametrize(
    "record, error, message",
    [
        (
            {"a": {"b": [0, np.nan]}},
            ValueError,
            r"records\[1\]\['a'\]\['b'\]\[1\] is nan",
        ),
        ({"a": np.array([np.inf])}, ValueError, r"records\[1\]\['a'\]\[0\] is inf"),
        ({"a": {1: "x"}}, TypeError, r"records\[1\]\['a'\] has the key 1"),
        ({"a": {"x"}}, TypeError, r"records\[1\]\['a'\] is a set"),
        ({"a": np.datetime64("2022-01-01")}, TypeError, "is a date"),
    ],
)
def test_what_json_cannot_hold(tmp_path, record, error, message):
    path = save_records(tmp_path / "r.json", RECORDS)
    with pytest.raises(error, match=message):
        save_records(path, [RECORDS[0], record], overwrite=True)
    assert load_records(path) == RECORDS


def test_a_crash_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = save_records(tmp_path / "r.json", RECORDS[:1])

    def crash(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        save_records(path, RECORDS)
    assert load_records(path) == RECORDS[:1]
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is damaged, or no JSON"),
        (b'[{"method": "CP', "is damaged, or no JSON"),
        (b"\xff\xfe\x00", "is damaged, or no JSON"),
        (b'{"method": "CPEP"}', "no list of records"),
        (b"[1, 2]", "no list of records"),
    ],
)
def test_damaged_and_foreign_files(tmp_path, content, message):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_records(path)
    with pytest.raises(ValueError, match=message):
        save_records(path, RECORDS)
    assert path.read_bytes() == content


# Merging


def test_merged_record_by_hand():
    one = {
        "method": "CPEP",
        "per_user": {"1": 1.0},
        "n_train": 5,
        "n_test": 2,
        "confusion": [[1, 0], [0, 1]],
        "predictions": ["a", "b"],
    }
    two = one | {
        "per_user": {"2": 0.5},
        "confusion": [[1, 0], [1, 0]],
        "predictions": ["a", "a"],
    }
    (merged,) = merge_records([[one], [two]])
    assert merged["per_user"] == {"1": 1.0, "2": 0.5}
    assert merged["macro_accuracy"] == merged["mean"] == 0.75
    assert merged["interval"] == [0.5, 1.0]
    assert merged["pooled_macro_accuracy"] == 0.75  # recalls 2 / 2 and 1 / 2
    assert merged["confusion"] == [[2, 0], [1, 1]]
    assert merged["predictions"] == ["a", "b", "a", "a"]
    assert (merged["n_test"], merged["n_train"]) == (4, [5, 5])


def embeddings(users, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=20 * len(users))
    return rng.normal(y[:, None], 0.7, size=(len(y), 2)), y, np.repeat(users, 20)


def test_merged_recalls_are_those_of_everyone():
    train = embeddings(["x", "y"], 0)
    parts = [embeddings(["a"], 1), embeddings(["b", "c"], 2)]
    parts[0] = tuple(part[parts[0][1] != 2] for part in parts[0])  # a has no gesture 2
    runs = [[linear_probe(None, train, part)] for part in parts]
    (merged,) = merge_records(runs)
    both = [np.concatenate(column) for column in zip(*parts, strict=True)]
    whole = linear_probe(None, train, both)
    for key in set(whole) - {"n_train"}:
        assert merged[key] == whole[key], key
    assert merged["per_class_recall"] == per_class_recall(
        both[1], whole["predictions"], both[2]
    )


def test_a_run_that_did_not_converge_is_not_averaged_in():
    good = {"method": "m", "protocol": "p", "per_user": {"1": 0.9}, "mean": 0.9}
    bad = {"method": "m", "protocol": "p", "converged": False, "reason": "loss 5.5"}
    (merged,) = merge_records([[good], [bad]])
    assert merged == {
        "method": "m",
        "protocol": "p",
        "converged": False,
        "reason": "in 1 of 2 runs: loss 5.5",
    }


def test_what_cannot_be_merged():
    one = {"method": "a", "per_user": {"1": 1.0}, "confusion": [[1]]}
    with pytest.raises(ValueError, match=r"differ in \['method'\]"):
        merge_records([[one], [one | {"method": "b"}]])
    with pytest.raises(ValueError, match="Held out in more than one run: 1"):
        merge_records([[one], [one]])
    with pytest.raises(ValueError, match="the same records"):
        merge_records([[one], []])


def test_merged_records_go_to_json(tmp_path):
    train = embeddings(["x"], 0)
    runs = [[linear_probe(None, train, embeddings([u], i))] for i, u in enumerate("ab")]
    merged = merge_records(runs)
    assert load_records(save_records(tmp_path / "m.json", merged)) == merged
    assert json.dumps(merged, allow_nan=False)
