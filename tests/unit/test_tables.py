"""Tables on disk: what a schema refuses and that a table is written whole or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from medtransfer.errors import DataError
from medtransfer.tables import Column, Schema, write_table

SCHEMA = Schema(
    name="things",
    row="one thing",
    columns={
        "name": Column("text", "its name"),
        "count": Column("integer", "how many"),
        "share": Column("number", "how much of it"),
        "good": Column("truth", "whether it is good"),
    },
    families={"label_": Column("number", "0, 1 or empty"), "group_": Column("text", "a group")},
)


def table(**columns: object) -> pd.DataFrame:
    whole = {"name": ["a", "b"], "count": [1, 2], "share": [0.5, np.nan], "good": [True, False]}
    return pd.DataFrame({**whole, **columns})


def test_a_table_that_fits_passes_and_one_that_does_not_fails():
    SCHEMA.check(table())
    with pytest.raises(DataError):
        SCHEMA.check(table(count=["x", "y"]))


def test_missing_columns_are_all_named():
    with pytest.raises(DataError, match="table things: missing column name, good"):
        SCHEMA.check(table().drop(columns=["name", "good"]))


def test_an_undeclared_column_is_named():
    with pytest.raises(DataError, match="table things: undeclared column extra"):
        SCHEMA.check(table(extra=[1, 2]))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("name", [1, 2], "column name is int64, not text"),
        ("count", [1.0, 2.0], "column count is float64, not integer"),
        ("count", [True, False], "column count is bool, not integer"),
        ("share", ["x", "y"], "column share is .*, not number"),
        ("good", [0, 1], "column good is int64, not truth"),
        ("label_x", ["0", "1"], "column label_x is .*, not number"),
        ("group_x", [1, 2], "column group_x is int64, not text"),
    ],
)
def test_a_column_of_another_kind_is_named_with_its_type(column, values, message):
    with pytest.raises(DataError, match=f"table things: {message}"):
        SCHEMA.check(table(**{column: values}))


def test_truth_values_are_no_numbers():
    with pytest.raises(DataError, match="column share is bool, not number"):
        SCHEMA.check(table(share=[True, False]))


@pytest.mark.parametrize("empty", [None, np.nan, pd.NA])
def test_text_may_be_empty(empty):
    SCHEMA.check(table(name=pd.Series(["a", empty], dtype=object)))
    with pytest.raises(DataError, match="column name"):
        SCHEMA.check(table(name=pd.Series([3, empty], dtype=object)))


def test_whole_numbers_are_numbers_too():
    SCHEMA.check(table(share=[1, 2]))
    with pytest.raises(DataError, match="column count"):
        SCHEMA.check(table(count=[1.5, 2.0]))


def test_families_may_have_none_or_many_columns_and_their_prefix_decides_the_kind():
    SCHEMA.check(table(label_a=[0.0, np.nan], label_b=[1, 0], group_sex=["F", None]))
    with pytest.raises(DataError, match="undeclared column labels"):
        SCHEMA.check(table(labels=[0.0, 1.0]))


def test_a_declared_column_wins_over_a_family_of_the_same_prefix():
    schema = Schema("s", "", {"label_id": Column("text", "")}, {"label_": Column("number", "")})
    schema.check(pd.DataFrame({"label_id": ["x"], "label_a": [1.0]}))
    with pytest.raises(DataError, match="column label_id is float64, not text"):
        schema.check(pd.DataFrame({"label_id": [1.0]}))


def test_a_written_table_reads_back_the_same_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "things.parquet"
    write_table(table(label_x=[0.0, 1.0]), SCHEMA, path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), table(label_x=[0.0, 1.0]))
    assert [p.name for p in path.parent.iterdir()] == ["things.parquet"]


def test_the_index_of_a_table_is_not_stored(tmp_path):
    path = tmp_path / "things.parquet"
    write_table(table().set_axis([7, 3]), SCHEMA, path)
    assert pyarrow.parquet.read_schema(path).names == ["name", "count", "share", "good"]


def test_a_table_that_does_not_fit_writes_nothing_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "things.parquet"
    write_table(table(), SCHEMA, path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="undeclared column extra"):
        write_table(table(extra=[1, 2]), SCHEMA, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["things.parquet"]


def test_a_write_that_breaks_off_leaves_the_old_table_whole(tmp_path, monkeypatch):
    path = tmp_path / "things.parquet"
    write_table(table(), SCHEMA, path)
    before = path.read_bytes()

    def break_off(_table, target, **_options):
        target.write_bytes(b"half a table")
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", break_off)
    with pytest.raises(OSError, match="no space left"):
        write_table(table(count=[8, 9]), SCHEMA, path)
    assert path.read_bytes() == before


def test_a_table_is_written_beside_its_place_and_moved_there_at_the_end(tmp_path, monkeypatch):
    path = tmp_path / "things.parquet"
    targets = []
    write = pd.DataFrame.to_parquet

    def watched(frame, target, **options):
        targets.append(target)
        return write(frame, target, **options)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", watched)
    write_table(table(), SCHEMA, path)
    assert path.is_file()
    assert targets[0] != path
    assert targets[0].parent.parent == path.parent
    assert not targets[0].exists()
