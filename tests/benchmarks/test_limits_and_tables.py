"""What all benchmarks share: limits of the machine, times in turn, tables."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import limits, timing  # noqa: E402
from benchmarks.table import Table, finish, format_number, table_file  # noqa: E402


@pytest.fixture
def a_millisecond_each(monkeypatch):
    """A clock by which every operation takes a millisecond; the operations done."""
    done = []

    def seconds_of(job, device):
        before = len(done)
        job()
        return 1e-3 * (len(done) - before)

    monkeypatch.setattr(limits, "seconds_of", seconds_of)
    return done


def count(function, done):
    """The function, its calls counted."""

    def counted(*args, **kwargs):
        done.append(function)
        return function(*args, **kwargs)

    return counted


def test_matmul_ceiling_counts_two_operations_a_product(
    monkeypatch, a_millisecond_each
):
    monkeypatch.setattr(torch, "mm", count(torch.mm, a_millisecond_each))
    rate = limits.matmul_ceiling("cpu", shape=(8, 4, 2))
    assert rate == pytest.approx(2 * 8 * 4 * 2 / 1e-3)
    assert len(a_millisecond_each) == 2 + 5 * 50  # warm; then runs of 50 ms each


def test_copy_bandwidth_counts_bytes_read_and_written(monkeypatch, a_millisecond_each):
    copy = torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", count(copy, a_millisecond_each))
    assert limits.copy_bandwidth("cpu", 1000) == pytest.approx(2000 / 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_limits_are_measured(dtype):
    before = torch.get_float32_matmul_precision()
    assert limits.matmul_ceiling("cpu", dtype, (64, 64, 64), repeats=1) > 0
    assert limits.copy_bandwidth("cpu", 2**16, repeats=1) > 0
    assert torch.get_float32_matmul_precision() == before


def test_the_best_of_several_measurements_counts(monkeypatch):
    rates = iter([3.0, 1.0, 2.0, 5.0])
    monkeypatch.setattr(limits, "matmul_ceiling", lambda device, dtype: next(rates))
    copies = iter([10.0, 7.0])
    monkeypatch.setattr(limits, "copy_bandwidth", lambda device: next(copies))
    found = limits.Limits("cpu")
    found.measure()
    assert found.matmul == {"float32": 3.0, "bfloat16": 5.0}
    assert found.copies == 10.0


def test_jobs_run_in_turn():
    order = []

    def job(name):
        order.append(name)
        return len(order)

    jobs = {name: lambda name=name: job(name) for name in "ab"}
    assert timing.in_turn(jobs, 2) == {"a": [1, 3], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"]


def test_ratios_are_of_the_same_repeat():
    seconds = {"a": [1.0, 10.0, 3.0], "b": [2.0, 40.0, 9.0]}
    assert timing.median_ratio(seconds, "b", "a") == 3.0
    assert timing.median_rate(30, seconds["a"]) == 10.0


def test_table(tmp_path, capsys):
    seconds = {"ours": [1.0, 1.0, 2.0], "peer": [2.0, 3.0, 4.0]}
    table = Table("Title", "windows/s")
    table.add_seconds(1000, seconds, {"ours": "a note"})
    table.add("absent", None, "not installed")
    table.add("other", 12.34, unit="pairs/s")
    table.add_speed(seconds, "ours", "peer")
    table.add_speed(seconds, "ours", "absent")
    table.remark("A remark.")
    finish(table, tmp_path / "table.json")
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["rates"] == pytest.approx(
        {"ours": 1000.0, "peer": 1000 / 3, "absent": None, "other": 12.34}
    )
    assert found["ratios"] == {"speed of ours / peer": 2.0}
    assert found["other units"] == {"other": "pairs/s"}
    lines = capsys.readouterr().out.splitlines()
    assert "ours    1,000 windows/s  a note" in lines
    assert "absent                -  not installed" in lines
    assert "other      12.3 pairs/s" in lines
    assert lines[-1] == "A remark."


def test_a_table_takes_the_place_of_a_table_only(tmp_path):
    path = tmp_path / "table.json"
    assert table_file(path) == path
    finish(Table("Title", "windows/s"), path)
    assert table_file(path) == path
    for content in ("mine", '{"title": "mine"}', "[1]", ""):
        path.write_text(content)
        with pytest.raises(argparse.ArgumentTypeError, match="no table of a bench"):
            table_file(path)
        assert path.read_text() == content
    with pytest.raises(argparse.ArgumentTypeError, match="give another file"):
        table_file(tmp_path)


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.00084, "0.00084"),
        (0.12345, "0.123"),
        (-12.34, "-12.3"),
        (1234.5, "1,234"),
    ],
)
def test_numbers(value, shown):
    assert format_number(value) == shown
