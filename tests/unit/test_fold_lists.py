"""Lists of a published cross-validation: each file in the part that its list says."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse, read_yaml
from medtransfer.data.fold_lists import LIST_NAMES, PARTS, read_fold_lists
from medtransfer.data.manifest import read_manifest
from medtransfer.errors import DataError

REAL = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent"))
PUBLISHED = REAL / "published/revisiting_transfer/data"
SHIPPED = Path(__file__).parents[2] / "config/datasets"


def write_lists(folder: Path, fold: int, **parts: list[str]) -> str:
    for name in LIST_NAMES:
        lines = [f"{i},../elsewhere/{image},x" for i, image in enumerate(parts.get(name, []))]
        (folder / f"{name}_fold{fold}.csv").write_text("\n".join([",path,class", *lines]) + "\n")
    return str(folder / "{part}_fold{fold}.csv")


def files(*names: str) -> pd.Series:
    return pd.Series([f"/data/{name}" for name in names])


def test_each_file_is_in_the_part_of_its_list_and_unlisted_ones_in_none(tmp_path):
    write_lists(tmp_path, 1, train=["b.png", "a b.png"], val=["c.png"], test=["d.png"])
    pattern = write_lists(tmp_path, 2, train=["d.png", "c.png"], val=["b.png"], test=[])
    folds = read_fold_lists(files("x/a b.png", "x/b.png", "y/c.png", "d.png", "e.png"), pattern, "path")
    assert sorted(folds) == [1, 2]
    first, second = (pd.Series(folds[fold]).fillna("-").tolist() for fold in (1, 2))
    assert first == ["train", "train", "validation", "test", "-"]
    assert second == ["-", "validation", "train", "train", "-"]


def test_without_lists_there_are_no_folds(tmp_path):
    assert read_fold_lists(files("a.png"), str(tmp_path / "{part}{fold}.csv"), "path") == {}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ["a.png", "z.png"]}, "1 of 2 listed images are not in the manifest, .* 'z.png'"),
        ({"train": ["a.png"], "test": ["a.png"]}, r"test_fold1.csv: lists an image twice.*'a.png'"),
        ({"train": ["a.png", "a.png"]}, r"train_fold1.csv: lists an image twice"),
    ],
)
def test_lists_that_do_not_fit_the_manifest_are_refused(tmp_path, parts, message):
    pattern = write_lists(tmp_path, 1, **parts)
    with pytest.raises(DataError, match=message):
        read_fold_lists(files("a.png", "b.png"), pattern, "path")


def test_a_missing_list_a_wrong_column_and_repeated_names_are_told(tmp_path):
    pattern = write_lists(tmp_path, 1, train=["a.png"])
    with pytest.raises(DataError, match=r"no column 'file' \(key 'fold_column'\) \(columns: .*path"):
        read_fold_lists(files("a.png"), pattern, "file")
    with pytest.raises(DataError, match=r"unique file names; the manifest repeats 'a.png'"):
        read_fold_lists(files("x/a.png", "y/a.png"), pattern, "path")
    (tmp_path / "val_fold1.csv").unlink()
    with pytest.raises(DataError, match=r"val_fold1.csv: no such"):
        read_fold_lists(files("a.png"), pattern, "path")


@pytest.mark.real
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MEDTRANSFER_REAL_DATA has no published lists")
@pytest.mark.parametrize(("name", "lists"), [("busi256", "breast"), ("chest_kermany224", "chest")])
def test_study_4s_folds_match_file_for_file(name, lists):
    path = SHIPPED / f"{name}.yaml"
    settings = read_yaml(path) | {
        "manifest": str(REAL / "targets" / name / "labels.csv"),
        "fold_lists": str(PUBLISHED / lists / "{part}_fold{fold}.csv"),
    }
    table = read_manifest(Path(settings["manifest"]), parse(DatasetSettings, settings, str(path)))
    names = [Path(file).name for file in table["file"]]
    for fold in range(1, 6):
        found = dict(zip(names, table[f"published_part_{fold}"], strict=True))
        expected = {}
        for part, list_name in zip(PARTS, LIST_NAMES, strict=True):
            with (PUBLISHED / lists / f"{list_name}_fold{fold}.csv").open() as lines:
                for row in csv.DictReader(lines):
                    expected[row["path"].rpartition("/")[2]] = part
        assert len(expected) == len(table) == {"breast": 780, "chest": 5856}[lists]
        assert found == expected
