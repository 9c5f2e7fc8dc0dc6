"""What an id is: equal values are one, different ones never, missing ones none."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from sk_cpep._ids import read_comparable, read_ids


def cells(*values):
    """A column of cells, as MATLAB files give them."""
    column = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        column[i, 0] = np.array([value])
    return column


ONES = [
    [1],
    (1.0,),
    [True],
    {1},
    range(1, 2),
    [Decimal(1)],
    *(
        np.array([1], dtype)
        for dtype in ("i1", "u8", ">i4", "f2", "f4", "f8", "?", "O")
    ),
    np.array([[1]]),
    [[1]],
    cells(1),
    np.ma.array([1], mask=[False]),
    pd.Series([1], dtype="Int64"),
    pd.Series([1.0]),
    pd.Series([True], dtype="boolean"),
    pd.Categorical([1]),
    pd.DataFrame({"user": [1]}),
]
ANNAS = [
    ["anna"],
    [b"anna"],
    *(np.array(["anna"], dtype) for dtype in ("U9", "S9", "O")),
    cells("anna"),
    pd.Series(["anna"]),
    pd.Series(["anna"], dtype=object),
    pd.Series(["anna"], dtype="string"),
    pd.Categorical(["anna"]),
]
DAYS = [
    np.array(["2024-02-29"], dtype="M8[D]"),
    [datetime.date(2024, 2, 29)],
    [datetime.datetime(2024, 2, 29)],
    pd.to_datetime(["2024-02-29"]),
    pd.Series([pd.Timestamp("2024-02-29")], dtype=object),
]


@pytest.mark.parametrize("kind", [ONES, ANNAS, DAYS])
def test_equal_values_are_one_id_whatever_their_type(kind):
    read = [read_ids(values, "users") for values in kind]
    assert {ids.dtype.kind for ids in read} == {read[0].dtype.kind}
    assert len(np.unique(np.concatenate(read))) == 1
    assert {str(ids[0]) for ids in read} == {str(read[0][0])}


def test_canonical_forms():
    assert read_ids([2.0, 1], "users").tolist() == [2, 1]
    assert read_ids(["ö".encode()], "users").tolist() == ["ö"]


@pytest.mark.parametrize(
    "values",
    [
        [2**53, 2**53 + 1],
        [2.0**53, 2**53 + 1],
        [0.5, 2**53, 2**53 + 1],
        np.array([2**64 - 1, 2**64 - 2], dtype=np.uint64),
        [np.uint64(2**64 - 1), np.int64(-1)],
        [0.1 + 0.2, 0.3],
        [np.inf, -np.inf],
        ["anna", "anna ", "Anna"],
        ["anna", "anna\0"],
        ["x" * 500 + "1", "x" * 500 + "2"],
        [b"\xff", b"\xfe", "\ufffd"],
        ["nan", "None", ""],
        [datetime.date(9999, 1, 1), datetime.datetime(9999, 1, 1, 1)],
    ],
)
def test_different_values_never_merge(values):
    ids = read_ids(values, "users")
    assert len(np.unique(ids)) == len(values)
    apart = np.concatenate(
        [read_ids(values[i : i + 1], "users") for i in range(len(ids))]
    )
    assert apart.tolist() == ids.tolist()


def test_missing_values_of_every_kind_are_counted():
    masked = np.ma.array(["a", "b"], mask=[False, True])
    for values, n, first in (
        (["a", None, None], 2, 1),
        ([1.0, 2.0, np.nan], 1, 2),
        (np.array([np.nan, 1], np.float32), 1, 0),
        (["a", float("nan")], 1, 1),
        (pd.Series(["a", pd.NA], dtype="string"), 1, 1),
        (pd.Series([None, 1, None], dtype="Int64"), 2, 0),
        (pd.Categorical(["a", None]), 1, 1),
        (np.array(["NaT", "2024"], dtype="M8[D]"), 1, 0),
        ([pd.NaT], 1, 0),
        (masked, 1, 1),
        ([Decimal("nan")], 1, 0),
    ):
        told = (
            f"groups has {n} missing value.* among {len(values)} .* first at {first} "
        )
        with pytest.raises(ValueError, match=told):
            read_ids(values, "groups")


@pytest.mark.parametrize(
    "values, message",
    [
        ([1, "1"], r"mixes ids that are numbers \(1 at 0\) with text \('1' at 1\)"),
        (np.array(["a", 1.5], dtype=object), "mixes"),
        ([True, b"True"], "mixes"),
        ([datetime.date(2024, 1, 1), 1], "mixes"),
        ([1j], "of type complex"),
        ([object()], "of type object"),
        ("anna", "a single value"),
        (7, "a single value"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        ([("anna", 1)], r"shape \(1, 2\)"),
    ],
)
def test_what_is_no_column_of_ids_is_refused(values, message):
    with pytest.raises(ValueError, match=f"users.*{message}"):
        read_ids(values, "users")


def test_ids_that_are_compared_have_one_kind():
    a, b = read_comparable({"a": [1, 2], "b": np.array([2.0])})
    assert np.intersect1d(a, b).tolist() == [2]
    read_comparable({"a": [], "b": ["x"]})
    with pytest.raises(
        ValueError, match="a holds numbers, such as 1, and b text, .* '1'"
    ):
        read_comparable({"a": [1], "b": ["1"]})


def test_ids_are_left_as_they_were():
    given = np.array([1.0, 2.0])
    read_ids(given, "users")[0] = 7
    assert given.tolist() == [1.0, 2.0]
