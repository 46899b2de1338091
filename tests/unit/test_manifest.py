"""Manifests: renamed columns, labels, frames and published parts, from CSV and parquet alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data.manifest import read_manifest
from medtransfer.errors import DataError

RAW = {
    "picture": ["a.png", "sub/b.png", "c.png", "d.png"],
    "finding": ["absent", "present", None, "absent"],
    "person": ["007", "008", "007", None],
    "hospital": ["A", "B", "A", "A"],
    "set": ["train", "Val", "TEST", "valid"],
    "number": ["0", "3", "1", "0"],
    "sex": ["F", "M", None, "F"],
}


def settings(**keys: Any) -> DatasetSettings:
    default = {
        "task": "binary",
        "labels": "finding",
        "classes": ["absent", "present"],
        "image": "picture",
        "image_size": 8,
        "manifest": "m",
    }
    return parse(DatasetSettings, {**default, **keys}, "d.yaml")


EVERYTHING = {
    "patient": "person",
    "site": "hospital",
    "split": "set",
    "frame": "number",
    "groups": ["sex"],
}


def saved(folder: Path, suffix: str = "csv", **columns: Any) -> Path:
    """The raw manifest with some columns replaced, as a file."""
    path = folder / f"m.{suffix}"
    raw = pd.DataFrame({**RAW, **columns})
    raw.to_csv(path, index=False) if suffix == "csv" else raw.to_parquet(path)
    return path


def labels(folder: Path, values: list[Any], suffix: str = "csv", **keys: Any) -> list[float]:
    """What one label column of four rows is read as."""
    path = saved(folder, suffix, finding=values)
    table = read_manifest(path, settings(**keys))
    return table["label" if "label" in table else "label_finding"].tolist()


def empty_as_none(values: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in values]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_are_renamed_and_rows_keep_their_order(tmp_path, suffix):
    table = read_manifest(saved(tmp_path, suffix), settings(**EVERYTHING))
    assert table["manifest_row"].tolist() == [0, 1, 2, 3]
    assert table["file"].tolist() == [str(tmp_path / name) for name in RAW["picture"]]
    assert table["frame"].tolist() == [0, 3, 1, 0]
    assert empty_as_none(table["patient"]) == ["007", "008", "007", None]
    assert table["site"].tolist() == ["A", "B", "A", "A"]
    assert table["published_part"].tolist() == ["train", "validation", "test", "validation"]
    assert empty_as_none(table["group_sex"]) == ["F", "M", None, "F"]
    assert table["label"].tolist() == [0, 1, -1, 0]
    assert set(table) == {
        *("manifest_row", "file", "frame", "patient", "site", "published_part"),
        *("group_sex", "label"),
    }


def test_parquet_and_csv_of_the_same_table_give_the_same(tmp_path):
    columns = {"number": [0, 3, 1, 0], "person": [12, 13, 12, 14], "hospital": [1, 2, 1, 1]}
    one = read_manifest(saved(tmp_path, "csv", **columns), settings(**EVERYTHING))
    two = read_manifest(saved(tmp_path, "parquet", **columns), settings(**EVERYTHING))
    assert (
        one.astype(object).where(one.notna(), None).equals(two.astype(object).where(two.notna(), None))
    )
    assert one["patient"].tolist() == ["12", "13", "12", "14"]


@pytest.mark.parametrize("order", [[2, 0, 3, 1], [10, 11, 12, 13]])
def test_the_stored_index_of_a_parquet_table_moves_no_value_to_another_row(tmp_path, order):
    path = tmp_path / "m.parquet"
    pd.DataFrame(RAW).set_axis(order).to_parquet(path)
    table = read_manifest(path, settings(**EVERYTHING))
    assert table["file"].tolist() == [str(tmp_path / name) for name in RAW["picture"]]
    assert empty_as_none(table["patient"]) == RAW["person"]
    assert table["site"].tolist() == RAW["hospital"]
    assert empty_as_none(table["group_sex"]) == RAW["sex"]
    assert table["published_part"].tolist() == ["train", "validation", "test", "validation"]


def test_absent_columns_are_empty(tmp_path):
    table = read_manifest(saved(tmp_path), settings())
    assert table["frame"].tolist() == [-1] * 4
    for column in ("patient", "site", "published_part"):
        assert table[column].isna().all()


def test_a_root_replaces_the_folder_of_the_manifest(tmp_path):
    table = read_manifest(saved(tmp_path), settings(root="/elsewhere"))
    assert table["file"].tolist()[:2] == ["/elsewhere/a.png", "/elsewhere/sub/b.png"]


def test_an_absolute_image_path_stays_as_it_is(tmp_path):
    path = saved(tmp_path, picture=["/x/a.png", "b.png", "c.png", "d.png"])
    assert read_manifest(path, settings())["file"].tolist()[:2] == [
        "/x/a.png",
        str(tmp_path / "b.png"),
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image": "pictur"}, r"no column 'pictur' \(key 'image'\); did you mean 'picture'\?"),
        ({"labels": "findings"}, r"'findings' \(key 'labels'\); did you mean 'finding'\?"),
        ({"patient": "persn"}, r"'persn' \(key 'patient'\); did you mean 'person'\?"),
        ({"site": "hospitl"}, r"'hospitl' \(key 'site'\); did you mean 'hospital'\?"),
        ({"split": "zzzz"}, r"'zzzz' \(key 'split'\) \(columns: picture, finding, person"),
        ({"frame": "numbr"}, r"'numbr' \(key 'frame'\); did you mean 'number'\?"),
        ({"groups": ["sex", "age"]}, r"'age' \(key 'groups\[1\]'\)"),
    ],
)
def test_an_unknown_column_names_key_suggestion_and_columns(tmp_path, keys, message):
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(saved(tmp_path), settings(**keys))
    assert str(tmp_path / "m.csv") in str(caught.value)
    assert "columns: picture, finding" in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such manifest; .* key 'manifest'"):
        read_manifest(tmp_path / "none.csv", settings())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_without_rows_is_refused(tmp_path, suffix):
    path = saved(tmp_path, suffix, **{name: [] for name in RAW})
    with pytest.raises(DataError, match=rf"m\.{suffix}: no rows"):
        read_manifest(path, settings())


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 no table"], ids=["empty", "bytes"])
def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_manifest(tmp_path / name, settings())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_bad_label_names_value_row_allowed_values_and_how_many(tmp_path, suffix):
    with pytest.raises(DataError, match=r"column 'finding' has 'presnt' in row 1") as caught:
        labels(tmp_path, ["absent", "presnt", "Present", "absent"], suffix)
    assert str(tmp_path / f"m.{suffix}") in str(caught.value)
    assert "did you mean 'present'?" in str(caught.value)
    assert "(allowed: absent, present; 2 such rows)" in str(caught.value)


def test_labels_are_indices_in_the_order_of_the_classes(tmp_path):
    reversed_classes = {"classes": ["present", "absent"]}
    assert labels(tmp_path, ["absent", "present", None, "absent"]) == [0, 1, -1, 0]
    assert labels(tmp_path, ["absent", "present", None, "absent"], **reversed_classes) == [
        *(1, 0, -1, 1)
    ]


GRADES = {"task": "ordinal", "classes": [0, 1, 2, 3]}


@pytest.mark.parametrize("kind", ["int64", "int8", "float64", "float32", "Int64", "str"])
def test_whole_number_labels_of_any_stored_type_are_grades(tmp_path, kind):
    values = pd.Series([3, 0, 2, 1]).astype(kind)
    assert labels(tmp_path, values, "parquet", **GRADES) == [3, 0, 2, 1]


@pytest.mark.parametrize("kind", ["float64", "float32", "Int64"])
def test_empty_grades_make_floats_and_are_read_as_no_label(tmp_path, kind):
    values = pd.Series([3, None, 2, 1], dtype="float64").astype(kind)
    assert labels(tmp_path, values, "parquet", **GRADES) == [3, -1, 2, 1]


def test_a_grade_between_two_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has '1\.5' in row 2 .*allowed: 0, 1, 2, 3; 1 such rows"):
        labels(tmp_path, [0.0, 1.0, 1.5, 2.0], "parquet", **GRADES)


def test_leading_zeros_of_identifiers_survive(tmp_path):
    table = read_manifest(saved(tmp_path), settings(patient="person"))
    assert table["patient"].tolist()[:2] == ["007", "008"]


@pytest.mark.parametrize("word", ["NA", "None", "nan", "null"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_words_that_look_like_nothing_are_text_and_only_empty_cells_are_empty(tmp_path, suffix, word):
    columns = {"finding": [word, "mild", None, word], "hospital": [word, "B", None, "B"]}
    path = saved(tmp_path, suffix, **columns)
    table = read_manifest(path, settings(classes=[word, "mild"], site="hospital"))
    assert table["label"].tolist() == [0, 1, -1, 0]
    assert empty_as_none(table["site"]) == [word, "B", None, "B"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_empty_text_is_an_empty_cell(tmp_path, suffix):
    columns = {"finding": ["absent", "present", "", "absent"], "person": ["1", "2", "", "3"]}
    table = read_manifest(saved(tmp_path, suffix, **columns), settings(patient="person"))
    assert table["label"].tolist() == [0, 1, -1, 0]
    assert empty_as_none(table["patient"]) == ["1", "2", None, "3"]


MANY = {"task": "multilabel", "labels": ["edema", "mass"], "classes": []}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_several_labels_are_0_1_or_empty(tmp_path, suffix):
    columns = {"edema": [0, 1, None, 1], "mass": ["1", "0", None, ""]}
    path = saved(tmp_path, "csv", **columns)
    if suffix == "parquet":
        columns["mass"][3] = None
        path = saved(tmp_path, "parquet", **columns)
    table = read_manifest(path, settings(**MANY))
    assert "label" not in table
    np.testing.assert_array_equal(table["label_edema"], [0.0, 1.0, np.nan, 1.0])
    np.testing.assert_array_equal(table["label_mass"], [1.0, 0.0, np.nan, np.nan])


@pytest.mark.parametrize("wrong", ["-1", "2", "yes", "0.5"])
def test_another_value_among_several_labels_is_refused(tmp_path, wrong):
    path = saved(tmp_path, edema=["0", "1", None, "1"], mass=["0", None, wrong, wrong])
    with pytest.raises(DataError, match=rf"column 'mass' has '{wrong}' in row 2") as caught:
        read_manifest(path, settings(**MANY))
    assert "allowed: 0, 1, (empty); 2 such rows" in str(caught.value)


@pytest.mark.parametrize("wrong", ["-1", "first", "1.5", ""])
def test_a_frame_that_is_no_number_from_0_is_refused(tmp_path, wrong):
    path = saved(tmp_path, number=["0", "1", wrong, "2"])
    with pytest.raises(DataError, match=r"column 'number' has .* in row 2; allowed: frame numbers"):
        read_manifest(path, settings(frame="number"))


def test_frames_stored_as_floats_are_whole_numbers(tmp_path):
    path = saved(tmp_path, "parquet", number=[0.0, 2.0, 1.0, 10.0])
    frames = read_manifest(path, settings(frame="number"))["frame"]
    assert frames.tolist() == [0, 2, 1, 10]
    assert frames.dtype == np.int64


def test_another_name_of_a_published_part_is_refused(tmp_path):
    path = saved(tmp_path, set=["train", "dev", "test", "train"])
    with pytest.raises(
        DataError, match=r"column 'set' has 'dev' in row 1 \(allowed: train, validation, test"
    ):
        read_manifest(path, settings(split="set"))


def test_an_unpublished_part_may_be_empty(tmp_path):
    path = saved(tmp_path, set=["train", None, "test", "VALIDATION"])
    parts = read_manifest(path, settings(split="set"))["published_part"]
    assert empty_as_none(parts) == ["train", None, "test", "validation"]


def test_an_image_in_two_rows_is_refused_with_the_rows(tmp_path):
    path = saved(tmp_path, picture=["a.png", "b.png", "a.png", "a.png"])
    message = r"image '.*a.png' \(column 'picture'\) is in rows 0, 2, 3; allowed: .*\(2 rows too many\)"
    with pytest.raises(DataError, match=message):
        read_manifest(path, settings())
    path = saved(tmp_path, picture=["a.png", "b.png", "a.png", "a.png"], number=["0", "0", "1", "2"])
    assert len(read_manifest(path, settings(frame="number"))) == 4  # other frames are other images
