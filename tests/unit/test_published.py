"""The numbers of papers: what is read, what is refused, and the project's own files."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medtransfer.config.load import config_file, load_config
from medtransfer.config.runs import study_runs
from medtransfer.data.text_table import read_text_table
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.published import PUBLISHED, published_numbers

CONFIG = Path(__file__).parents[2] / "config"
STUDIES = ("feature_reuse", "transfusion", "revisiting", "bit_scale")
ROW = {
    "dataset": "d", "model": "m", "init": "src-stats", "subset": "n100", "metric": "auroc",
    "value": "0.81", "low": "0.7", "spread": "", "runs": "5", "evidence": "primary",
    "origin": "table 1",
}  # fmt: skip


def read(*rows: dict[str, str], **changes: str) -> pd.DataFrame:
    table = pd.DataFrame([row | changes for row in rows or (ROW,)]).replace("", float("nan"))
    found = published_numbers(table, "paper.csv")
    PUBLISHED.check(found)
    return found


def test_a_number_is_read_with_what_is_not_said_left_empty():
    (row,) = read().to_dict("records")
    assert {name: row[name] for name in ("value", "low", "runs")} == {
        "value": 0.81,
        "low": 0.7,
        "runs": 5,
    }
    assert pd.isna([row["high"], row["spread"]]).all()
    assert (row["recipe"], row["output"]) == ("", "")
    assert list(read().columns) == list(PUBLISHED.columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "high"}, "line 2: 'value' is 'high'; allowed: a number"),
        ({"value": "inf"}, "'value' is 'inf'; allowed: a number"),
        ({"spread": "±.1"}, "'spread' is '±.1'; allowed: a number"),
        ({"value": ""}, "'value' is ''; allowed: a value"),
        ({"origin": ""}, "'origin' is ''; allowed: a value"),
        (
            {"evidence": "hearsay"},
            "'evidence' is 'hearsay'; allowed: primary, secondary, digitised, rec",
        ),
        ({"init": "src-best"}, "'init' is 'src-best'; allowed: a name of it"),
        ({"subset": "half"}, "'subset' is 'half'; allowed: a name of it: subset 'half'; allowed: full"),
        ({"sd": "1"}, "column 'sd'; allowed: recipe, dataset, model"),
    ],
)
def test_an_error_names_the_file_the_column_and_what_is_allowed(changes, message):
    with pytest.raises(DataError, match=r"^paper\.csv.*" + re.escape(message)):
        read(**changes)


def test_a_missing_column_and_a_second_number_of_a_cell_are_refused():
    with pytest.raises(DataError, match=r"paper\.csv: no column 'evidence'; allowed: recipe, dataset"):
        read({name: value for name, value in ROW.items() if name != "evidence"})
    with pytest.raises(
        DataError, match=r"paper\.csv, line 3: a second number of one cell; allowed: one"
    ):
        read(ROW, ROW)
    assert len(read(ROW, ROW | {"output": "edema"}, ROW | {"recipe": "r"})[["value"]]) == 3


def test_files_are_looked_for_in_the_folders_of_the_configuration(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    (second / "p.csv").write_text("")
    assert config_file("p.csv", [first, second]) == second / "p.csv"
    (first / "p.csv").write_text("")
    assert config_file("p.csv", [first, second]) == first / "p.csv"
    assert config_file(str(second / "p.csv"), [first]) == second / "p.csv"
    with pytest.raises(
        ConfigError, match=r"no file 'q\.csv' \(tried: .*a/q\.csv, .*b/q\.csv\); allowed"
    ):
        config_file("q.csv", [first, second])


def test_a_study_whose_file_is_not_there_is_refused():
    content = yaml.safe_load((CONFIG / "studies" / "bit_scale.yaml").read_text())
    content["studies"]["bit_scale"]["published"] = "published/none.csv"
    with pytest.raises(
        ConfigError, match=r"studies\.bit_scale\.published: no file 'published/none\.csv'"
    ):
        load_config(content, [CONFIG])


@pytest.mark.parametrize("name", STUDIES)
def test_the_numbers_of_the_projects_studies_are_of_their_cells_or_say_that_they_are_not(name):
    content = yaml.safe_load((CONFIG / "studies" / f"{name}.yaml").read_text())
    config = load_config(content, [CONFIG])
    study = config.studies[name]
    numbers = read_text_table(config_file(study.published, [CONFIG]))
    table = published_numbers(numbers, study.published)
    runs = {(r.dataset, r.model, r.init, r.subset) for r in study_runs(study)}
    recipes = {(r.recipe, r.dataset) for r in study_runs(study)}
    for row in table.to_dict("records"):
        place = (row["dataset"], row["model"], row["init"], row["subset"])
        if place not in runs:
            assert row["origin"].startswith("another task")
            continue
        dataset = config.datasets[row["dataset"]]
        assert row["metric"] == dataset.target_metric or row["output"]
        assert row["output"] == "" or row["output"] in dataset.outputs
        assert row["recipe"] == "" or (row["recipe"], row["dataset"]) in recipes
        assert 0.4 < row["value"] < 1
        assert not row["spread"] > 0.25


def test_numbers_of_the_papers_are_as_the_documents_have_them():
    def number(study: str, **place: str) -> pd.Series:
        path = CONFIG / "published" / f"{study}.csv"
        table = published_numbers(read_text_table(path), path.name)
        (row,) = table[(table[list(place)] == list(place.values())).all(axis=1)].to_dict("records")
        return row

    reuse = number("feature_reuse", dataset="isic2019", model="deit_s_red", init="imagenet1k")
    assert [reuse["value"], reuse["spread"], reuse["evidence"]] == [0.844, 0.021, "primary"]
    swin = number("feature_reuse", dataset="chexpert", model="swin_t_red", init="random")
    assert [swin["value"], swin["evidence"]] == [0.780, "recollection"]
    retina = number("transfusion", model="resnet50", init="imagenet1k", subset="n5000")
    assert [retina["value"], retina["evidence"]] == [0.946, "secondary"]
    chest = number("transfusion", model="resnet50", init="random", output="Pleural Effusion")
    assert [chest["value"], chest["evidence"]] == [0.887, "secondary"]
    knee = number("revisiting", dataset="mrnet_knee", recipe="revisiting_v2_freeze", init="radimagenet")
    assert [knee["value"], knee["spread"], knee["runs"]] == [0.638, 0.057, 5]
