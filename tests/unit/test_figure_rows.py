"""The rows of a figure as one table."""

from __future__ import annotations

import pandas as pd

from medtransfer.figures.rows import drawn_rows


def test_the_rows_of_one_table_are_the_table():
    table = pd.DataFrame({"a": [1, 2]}, index=[5, 7])
    pd.testing.assert_frame_equal(drawn_rows({"gains": table}), pd.DataFrame({"a": [1, 2]}))


def test_rows_of_several_tables_say_whose_they_are():
    found = drawn_rows(
        {"runs": pd.DataFrame({"a": [1, 2]}), "means": pd.DataFrame({"a": [3], "b": [4]})}
    )
    assert list(found.columns) == ["table", "a", "b"]
    assert found["table"].tolist() == ["runs", "runs", "means"]
    assert found["a"].tolist() == [1, 2, 3]
    assert found["b"].isna().tolist() == [True, True, False]


def test_a_table_without_rows_adds_nothing():
    found = drawn_rows({"none": pd.DataFrame(), "means": pd.DataFrame({"a": [3]})})
    assert found.to_dict("records") == [{"table": "means", "a": 3}]
    assert drawn_rows({"none": pd.DataFrame(), "empty": pd.DataFrame()}).empty
