"""Another data set's classes in the words of the one that is trained on: configuration and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.config.load import load_config
from medtransfer.data.mapped_labels import mapped_labels
from medtransfer.errors import ConfigError, DataError


def dataset(task: str, names: list[str], **more: object) -> DatasetSettings:
    labels: object = tuple(names) if task == "multilabel" else "label"
    classes = () if task == "multilabel" else tuple(names)
    return DatasetSettings(
        task=task, labels=labels, image_size=8, manifest="m.csv", classes=classes, **more
    )


def labelled(*labels: int) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{n}" for n in range(len(labels))], "label": labels})


def findings(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({f"label_{name}": values for name, values in columns.items()})


SICK = dataset("binary", ["healthy", "sick"])
GRADES = dataset("ordinal", ["0", "1", "2", "3"])
KINDS = dataset("multiclass", ["a", "b", "c"])
CHEST = dataset("multilabel", ["edema", "effusion", "mass"])


def test_classes_of_the_same_name_need_no_mapping_and_others_are_left_out():
    theirs = dataset("multiclass", ["c", "x", "a"])
    found = mapped_labels(labelled(0, 1, 2, 0), theirs, KINDS, ExternalSettings())
    assert found.index.tolist() == [0, 2, 3]
    assert found["label"].tolist() == [2, 0, 2]


def test_several_classes_may_be_one_and_those_not_mapped_are_left_out():
    settings = ExternalSettings({"0": "healthy", "2": "sick", "3": "sick"})
    found = mapped_labels(labelled(0, 1, 2, 3, 1, 0), GRADES, SICK, settings)
    assert found.index.tolist() == [0, 2, 3, 5]
    assert found["label"].tolist() == [0, 1, 1, 0]


def test_the_order_of_the_mapping_does_not_matter():
    settings = ExternalSettings({"3": "sick", "0": "healthy"})
    assert mapped_labels(labelled(3, 0), GRADES, SICK, settings)["label"].tolist() == [1, 0]


def test_one_column_is_the_presence_or_absence_of_a_binary_class():
    samples = findings(edema=[0, 1, np.nan, 1], effusion=[1, 1, 1, 1], mass=[0, 0, 0, 0])
    found = mapped_labels(samples, CHEST, SICK, ExternalSettings({"edema": "sick"}))
    assert found.index.tolist() == [0, 1, 3]
    assert found["label"].tolist() == [0, 1, 1]
    turned = mapped_labels(samples, CHEST, SICK, ExternalSettings({"edema": "healthy"}))
    assert turned["label"].tolist() == [1, 0, 0]


def test_any_of_several_columns_is_enough_and_all_must_be_absent():
    samples = findings(edema=[0, 1, np.nan, np.nan, 0], effusion=[0, np.nan, 0, 1, 1], mass=[0] * 5)
    settings = ExternalSettings({"edema": "sick", "effusion": "sick"})
    found = mapped_labels(samples, CHEST, SICK, settings)
    assert found.index.tolist() == [0, 1, 3, 4]
    assert found["label"].tolist() == [0, 1, 1, 1]


def test_columns_of_several_classes_give_a_label_to_those_in_exactly_one():
    samples = findings(
        edema=[1, 0, 1, 0, 1, 0], effusion=[0, 1, 1, 0, np.nan, 0], mass=[0, 0, 0, 0, 0, 1]
    )
    settings = ExternalSettings({"edema": "a", "effusion": "c"})
    found = mapped_labels(samples, CHEST, KINDS, settings)
    assert found.index.tolist() == [0, 1]
    assert found["label"].tolist() == [0, 2]


def test_outputs_that_nothing_is_mapped_to_are_unknown():
    theirs = dataset("multilabel", ["Oedema", "Nodule", "Hernia"])
    samples = findings(Oedema=[1, 0, np.nan, np.nan], Nodule=[0, 1, np.nan, 1], Hernia=[1, 1, 1, 1])
    settings = ExternalSettings({"Nodule": "mass", "Oedema": "edema"})
    found = mapped_labels(samples, theirs, CHEST, settings)
    assert found.columns.tolist() == ["label_edema", "label_effusion", "label_mass"]
    assert found.index.tolist() == [0, 1, 3]
    expected = [[1, np.nan, 0], [0, np.nan, 1], [np.nan, np.nan, 1]]
    assert np.array_equal(found.to_numpy(dtype=float), expected, equal_nan=True)


def test_one_class_is_a_finding_and_an_empty_one_none():
    theirs = dataset("multiclass", ["normal", "oedema", "other"])
    settings = ExternalSettings({"normal": None, "oedema": "edema"})
    found = mapped_labels(labelled(0, 1, 2, 1), theirs, CHEST, settings)
    assert found.index.tolist() == [0, 1, 3]
    assert found["label_edema"].tolist() == [0, 1, 1]
    assert found[["label_effusion", "label_mass"]].isna().all(axis=None)


def test_no_image_with_a_label_is_an_error():
    with pytest.raises(DataError, match="none of 2 images has one of the classes"):
        mapped_labels(labelled(1, 1), GRADES, SICK, ExternalSettings({"0": "healthy", "3": "sick"}))


# ---- configuration ----


def configuration(external: dict, ours: dict | None = None, theirs: dict | None = None) -> dict:
    table = {"manifest": "m.csv", "image_size": 8}
    binary = {"task": "binary", "labels": "y", "classes": ["healthy", "sick"], **table}
    grades = {"task": "ordinal", "labels": "g", "classes": 3, **table}
    grid = {"recipe": "r", "datasets": ["ours"], "models": ["m"], "inits": ["random"]}
    return {
        "studies": {"s": {"title": "t", "grids": [grid]}},
        "datasets": {"ours": {**(ours or binary), "external": external}, "theirs": theirs or grades},
        "models": {"m": {"architecture": "cbr"}},
        "recipes": {"r": {"steps": 1}},
    }


def load(*arguments: dict) -> object:
    return load_config(configuration(*arguments), [Path("nowhere")])


TABLE = {"manifest": "m.csv", "image_size": 8}
COLUMNS = {"task": "multilabel", "labels": ["edema", "mass"], **TABLE}


def test_a_mapping_is_read_with_numbers_as_names():
    config = load({"theirs": {"labels": {0: "healthy", 2: "sick"}}})
    assert config.datasets["ours"].external["theirs"].labels == {"0": "healthy", "2": "sick"}


def test_the_other_data_set_comes_from_its_file(tmp_path):
    (tmp_path / "datasets").mkdir()
    text = "{task: binary, labels: y, classes: [sick, healthy], manifest: m.csv, image_size: 8}"
    (tmp_path / "datasets/filed.yaml").write_text(text)
    config = load_config(configuration({"filed": {}}), [tmp_path])
    assert config.datasets["filed"].class_names == ("sick", "healthy")


@pytest.mark.parametrize(
    ("external", "message"),
    [
        ({"nobody": {}}, r"ours\.external\.nobody: unknown name 'nobody'.*allowed: ours, theirs"),
        ({"ours": {}}, r"datasets\.ours\.external\.ours: the data set itself"),
        (
            {"theirs": {"labels": {"5": "sick", "0": "healthy"}}},
            r"external\.theirs\.labels: its class '5'.*allowed: 0, 1, 2",
        ),
        (
            {"theirs": {"labels": {"0": "healthy", "1": "sikc"}}},
            r"our class 'sikc'; did you mean 'sick'\? \(allowed: healthy, sick\)",
        ),
        ({"theirs": {}}, r"only 0 of our classes .*: \(none\); needed: at least 2"),
        ({"theirs": {"labels": {"0": "sick"}}}, r"only 1 of our classes .*: sick; needed: at least 2"),
        ({"theirs": {"labels": {"0": "healthy", "1": None, "2": "sick"}}}, "empty class from ordinal"),
        ({"theirs": {"labels": {"0": ["sick"]}}}, r"labels\.0' is .* allowed: text or a whole number"),
        ({"theirs": {"classes": {}}}, "unknown key 'datasets.ours.external.theirs.classes'"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_names_its_key_what_was_found_and_what_is_allowed(external, message):
    with pytest.raises(ConfigError, match=message):
        load(external)


def test_one_column_is_enough_for_a_binary_task():
    load({"theirs": {"labels": {"edema": "sick"}}}, None, COLUMNS)


def test_one_output_is_enough_for_a_multilabel_task():
    load({"theirs": {"labels": {0: None, 2: "mass"}}}, COLUMNS)
    with pytest.raises(ConfigError, match="only 0 of our classes"):
        load({"theirs": {"labels": {0: None}}}, COLUMNS)


def test_an_empty_class_has_no_meaning_between_columns():
    with pytest.raises(ConfigError, match="an empty class from multilabel to multilabel"):
        load({"theirs": {"labels": {"edema": None, "mass": "mass"}}}, COLUMNS, COLUMNS)


@pytest.mark.parametrize(
    ("corruptions", "message"),
    [
        ([], r"'corruptions' is \[\]; allowed: each at most once, of noise, blur"),
        (["blur", "blur"], "each at most once"),
        (["fog"], "allowed: noise | blur | contrast | jpeg | resolution"),
    ],
)
def test_wrong_corruptions_are_an_error(corruptions, message):
    settings = configuration({"theirs": {"labels": {0: "healthy", 2: "sick"}}})
    settings["studies"]["s"]["corruptions"] = corruptions
    with pytest.raises(ConfigError, match=message):
        load_config(settings, [Path("nowhere")])
