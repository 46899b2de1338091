"""Results from elsewhere: what a table's columns mean, and what is wrong with it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_metrics import study

from medtransfer.config.results import ResultsSettings
from medtransfer.data.text_table import read_text_table
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.elsewhere import imported_metrics
from medtransfer.evaluation.results import METRICS
from medtransfer.statistics.comparison import summarise
from medtransfer.statistics.verdict import judge

REAL = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent"))
PUBLISHED = REAL / "published/revisiting_transfer/results"

USUAL = """dataset,model,init,metric,value,seed
d,m,random,auroc,0.70,0
d,m,random,auroc,0.72,1
d,m,src,auroc,0.80,0
d,m,src,auroc,0.81,1
"""


def read(text: str, folder: Path) -> pd.DataFrame:
    path = folder / "results.csv"
    path.write_text(text)
    return read_text_table(path)


def imported(text: str, folder: Path, **keys: object) -> pd.DataFrame:
    table = imported_metrics(read(text, folder), ResultsSettings(table="results.csv", **keys))
    METRICS.check(table)
    assert list(table.columns) == list(METRICS.columns)
    return table


def test_a_table_with_our_names_needs_no_settings(tmp_path):
    found = imported(USUAL, tmp_path)
    assert found["value"].tolist() == [0.70, 0.72, 0.80, 0.81]
    assert found["seed"].tolist() == [0, 1, 0, 1]
    constant = {
        "recipe": "published", "dataset": "d", "model": "m", "subset": "full", "split": "holdout",
        "part": "test", "metric": "auroc", "target": True, "images": 0, "patients": 0,
        "training_images": 0,
    }  # fmt: skip
    for name, value in constant.items():
        assert found[name].tolist() == [value] * 4
    assert found["test_train_ratio"].isna().all() and found["parameters"].isna().all()


def test_what_is_imported_is_judged_like_runs(tmp_path):
    found = judge(imported(USUAL, tmp_path), study())
    assert found[["init", "reference", "pairs"]].values.tolist() == [["src", "random", 2]]
    assert found["mean"][0] == pytest.approx(0.095)


def test_columns_are_renamed_joined_and_set(tmp_path):
    text = "target,source,freeze,run,AUC\nd,ImageNet,no,0,90\nd,ImageNet,yes,0,80\nd,random,no,0,70.5\n"
    found = imported(
        text,
        tmp_path,
        columns={"dataset": "target", "init": ("source", "freeze"), "seed": "run", "value": "AUC"},
        constants={"model": "resnet50", "metric": "auroc", "recipe": "theirs"},
        inits={"ImageNet_no": "imagenet", "ImageNet_yes": "frozen", "random_no": "random"},
        scale=0.01,
    )
    assert found["init"].tolist() == ["imagenet", "frozen", "random"]
    assert found["value"].tolist() == pytest.approx([0.9, 0.8, 0.705])
    assert set(found["dataset"]) == {"d"}
    assert set(found["model"]) == {"resnet50"}
    assert set(found["recipe"]) == {"theirs"}


def test_a_name_of_an_init_stands_where_no_other_is_given(tmp_path):
    found = imported(USUAL, tmp_path, inits={"src": "imagenet"})
    assert found["init"].tolist() == ["random", "random", "imagenet", "imagenet"]


def test_the_target_is_the_named_metric(tmp_path):
    text = USUAL + USUAL.partition("\n")[2].replace("auroc", "accuracy")
    found = imported(text, tmp_path, target="accuracy")
    assert found["target"].tolist() == [False] * 4 + [True] * 4


def fold_table(folds: list[str], extra: str = "", header: str = "") -> str:
    rows = [f"d,m,{init},auroc,0.{i + 5},{fold}{extra}"
            for init in ("random", "src") for i, fold in enumerate(folds)]  # fmt: skip
    return "\n".join([f"dataset,model,init,metric,value,fold{header}", *rows]) + "\n"


def test_folds_are_splits_in_the_order_of_their_numbers(tmp_path):
    folds = ["fold10", "fold9", "fold1", "fold2"]
    found = imported(fold_table(folds), tmp_path, test_train_ratio=0.25)
    splits = dict(zip(folds * 2, found["split"], strict=True))
    assert splits == {"fold1": "cv4-0", "fold2": "cv4-1", "fold9": "cv4-2", "fold10": "cv4-3"}
    assert found["split"].tolist() == [splits[fold] for fold in folds * 2]
    assert found["test_train_ratio"].tolist() == [0.25] * 8
    assert found["seed"].tolist() == [0] * 8


def test_folds_are_numbered_within_their_data_set_and_recipe(tmp_path):
    header = "dataset,model,init,metric,value,fold,recipe\n"
    rows = [f"{dataset},m,random,auroc,0.5,{fold},{recipe}"
            for dataset, recipe, folds in (("d", "r", "123"), ("e", "r", "45"), ("d", "q", "67"))
            for fold in folds]  # fmt: skip
    found = imported(header + "\n".join(rows) + "\n", tmp_path, test_train_ratio=0.5)
    assert found["split"].tolist() == [
        "cv3-0", "cv3-1", "cv3-2", "cv2-0", "cv2-1", "cv2-0", "cv2-1"
    ]  # fmt: skip


def test_the_ratio_of_folds_is_counted_where_the_table_tells_it(tmp_path):
    text = fold_table(["1", "2"], ",20,80,7", ",images,training_images,patients")
    for keys in ({}, {"test_train_ratio": 0.9}):
        found = imported(text, tmp_path, **keys)
        assert found["test_train_ratio"].tolist() == [0.25] * 4
    assert set(found["images"]) == {20}
    assert set(found["training_images"]) == {80}
    assert set(found["patients"]) == {7}


def test_where_only_some_rows_tell_the_ratio_the_settings_fill_it(tmp_path):
    text = fold_table(["1", "2"], ",20,80", ",images,training_images").replace(",20,80", ",0,0", 2)
    found = imported(text, tmp_path, test_train_ratio=0.5)
    assert found["test_train_ratio"].tolist() == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("counts", ["", ",20"])
def test_folds_without_a_ratio_are_an_error(tmp_path, counts):
    header = ",images" if counts else ""
    with pytest.raises(ConfigError, match=r"'results.test_train_ratio' is missing.*allowed: test over"):
        imported(fold_table(["1", "2"], counts, header), tmp_path)


def test_one_fold_is_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"results.csv: 'fold' of data set d is always '3'; allowed: two or more folds"
    ):
        imported(fold_table(["3"]), tmp_path, test_train_ratio=0.25)


def test_a_missing_column_is_named_with_what_is_there(tmp_path):
    text = USUAL.replace("value", "AUC")
    with pytest.raises(
        ConfigError,
        match=r"results.csv: no column 'value' for 'value'; found: dataset, model, init, metric, AUC, "
        r"seed \(name it in 'columns', or set it in 'constants'\)",
    ):
        imported(text, tmp_path)
    with pytest.raises(ConfigError, match=r"no column 'patient_count' for 'patients'; found"):
        imported(USUAL, tmp_path, columns={"patients": "patient_count"})
    with pytest.raises(ConfigError, match=r"no column 'no' for 'init'; found"):
        imported(USUAL, tmp_path, columns={"init": ("init", "no")})


@pytest.mark.parametrize(
    ("line", "key", "found"),
    [
        ("d,m,src,auroc,,1", "value", "empty"),
        ("d,m,src,auroc,high,1", "value", "'high'; allowed: a number"),
        ("d,m,src,auroc,nan,1", "value", "'nan'; allowed: a number"),
        ("d,m,src,auroc,inf,1", "value", "'inf'; allowed: a number"),
        ("d,m,src,auroc,0.8,first", "seed", "'first'; allowed: a number"),
        ("d,m,src,auroc,0.8,1.5", "seed", "'1.5'; allowed: a whole number from 0 on"),
        ("d,m,src,auroc,0.8,-1", "seed", "'-1'; allowed: a whole number from 0 on"),
        (",m,src,auroc,0.8,1", "dataset", "empty"),
        ("d,m, ,auroc,0.8,1", "init", "empty"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(tmp_path, line, key, found):
    """Lines as an editor counts them: the header is line 1."""
    text = USUAL.replace("d,m,src,auroc,0.81,1", line)
    with pytest.raises(DataError, match=rf"^results.csv, line 5: '{key}' is {found}"):
        imported(text, tmp_path)


def test_an_empty_cell_of_a_joined_column_is_named_too(tmp_path):
    text = USUAL.replace("seed", "note").replace("src,auroc,0.80,0", "src,auroc,0.80,")
    with pytest.raises(DataError, match=r"results.csv, line 4: 'init' is empty"):
        imported(text, tmp_path, columns={"init": ("init", "note")})


def test_two_values_of_one_run_are_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"results.csv, line 6: a second value of .*init src, .*seed 1.*; allowed: one"
    ):
        imported(USUAL + "d,m,src,auroc,0.99,1\n", tmp_path)
    assert len(imported(USUAL + "d,m,src,auprc,0.99,1\n", tmp_path)) == 5


def test_names_of_starts_that_are_none_and_names_for_nothing_are_errors(tmp_path):
    text = USUAL.replace("src", "Image Net")
    with pytest.raises(ConfigError, match=r"init 'Image Net'; allowed: .*'results.inits'"):
        imported(text, tmp_path)
    assert "imagenet" in set(imported(text, tmp_path, inits={"Image Net": "imagenet"})["init"])
    with pytest.raises(ConfigError, match=r"'inits' has 'other'; the table has: random, src"):
        imported(USUAL, tmp_path, inits={"other": "imagenet"})
    with pytest.raises(ConfigError, match=r"init 'a-b-c'; allowed"):
        imported(USUAL, tmp_path, inits={"src": "a-b-c"})


def test_a_target_that_the_table_lacks_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"'results.target' is 'auprc'; results.csv has: auroc"):
        imported(USUAL, tmp_path, target="auprc")


def test_settings_name_only_what_there_is_and_once():
    with pytest.raises(ConfigError, match=r"'columns' has 'sead'; allowed: dataset, model"):
        ResultsSettings(table="t.csv", columns={"sead": "x"})
    with pytest.raises(ConfigError, match=r"'constants' has 'auc'; allowed: dataset, model"):
        ResultsSettings(table="t.csv", constants={"auc": "x"})
    with pytest.raises(ConfigError, match=r"'columns' and 'constants' both have 'model'; keep one"):
        ResultsSettings(table="t.csv", columns={"model": "x"}, constants={"model": "m"})


@pytest.mark.real
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MEDTRANSFER_REAL_DATA has no published results")
def test_study_4s_means_and_deviations_are_those_it_published():
    settings = ResultsSettings(
        table=str(PUBLISHED / "AUC.csv"),
        columns={"dataset": "target", "init": ("source", "freeze"), "fold": "fold", "value": "AUC"},
        constants={"model": "resnet50", "metric": "auroc"},
        inits={
            "ImageNet_freezeFalse": "imagenet",
            "ImageNet_freezeTrue": "imagenet_frozen",
            "RadImageNet_freezeFalse": "radimagenet",
            "RadImageNet_freezeTrue": "radimagenet_frozen",
            "random_freezeFalse": "random",
        },
        test_train_ratio=0.25,
    )
    metrics = imported_metrics(read_text_table(Path(settings.table)), settings)
    assert len(metrics) == 175
    found = summarise(metrics, 0.95).set_index(["dataset", "init"])
    assert (found["runs"] == 5).all()
    with (PUBLISHED / "AUC_mean.csv").open() as lines:
        expected = {
            (row["target"], settings.inits[f"{row['source']}_{row['freeze']}"]): row
            for row in csv.DictReader(lines)
        }
    assert len(expected) == len(found) == 35
    for cell, row in expected.items():
        # theirs have one and two digits of percent
        assert 100 * found.loc[cell, "mean"] == pytest.approx(float(row["mean"]), abs=0.05 + 1e-9)
        digits = len(row["std"].partition(".")[2])
        assert 100 * found.loc[cell, "sd"] == pytest.approx(
            float(row["std"]), abs=0.5 * 10.0**-digits + 1e-9
        )
    assert np.isfinite(found[["low", "high"]]).all(axis=None)
