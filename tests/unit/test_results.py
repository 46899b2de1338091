"""From predictions of runs to one tidy table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medtransfer.config.dataset import DatasetSettings
from medtransfer.evaluation.results import CURVES, METRICS, RUN_COLUMNS, join_runs, run_metrics

BINARY = DatasetSettings(
    task="binary", labels="finding", image_size=8, manifest="m.csv", classes=("no", "yes")
)
GRADES = DatasetSettings(
    task="ordinal", labels="grade", image_size=8, manifest="m.csv", classes=("0", "1", "2")
)
FINDINGS = DatasetSettings(
    task="multilabel", labels=("edema", "effusion"), image_size=8, manifest="m.csv"
)


def binary_predictions(parts: tuple[str, ...] = ("validation", "test")) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "image_id": [f"{part}{i}" for i in range(12)],
                "patient": [f"{part}{i // 3}" for i in range(12)],
                "part": part,
                "label": [0, 1] * 6,
                "logit_yes": generator.normal(size=12).astype(np.float32),
            }
        )
        for part in parts
    ]
    return pd.concat(tables, ignore_index=True)


def values(table: pd.DataFrame, part: str) -> dict[str, float]:
    return table[table["part"] == part].set_index("metric")["value"].to_dict()


def runs(count: int) -> pd.DataFrame:
    rows = [
        {"recipe": "r", "dataset": "d", "model": f"m{i}", "init": "random", "subset": "full",
         "split": "holdout", "seed": i, "path": f"p{i}"}
        for i in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows, index=[10 * i + 5 for i in range(count)])  # as left by a query


def test_every_part_is_scored_on_its_own_rows():
    predictions = binary_predictions()
    table = run_metrics(predictions, BINARY, 30)
    for part in ("validation", "test"):
        own = predictions[predictions["part"] == part]
        expected = roc_auc_score(own["label"], own["logit_yes"])
        assert values(table, part)["auroc"] == pytest.approx(expected)
    assert values(table, "test")["auroc"] != values(table, "validation")["auroc"]


def test_parts_keep_their_order_and_are_counted_in_images_and_patients():
    predictions = binary_predictions(("validation", "test", "external"))
    predictions = predictions.drop(index=[0, 1, 2, 3])  # a patient and a third of another
    table = run_metrics(predictions, BINARY, 30)
    assert table["part"].drop_duplicates().tolist() == ["validation", "test", "external"]
    counts = table.groupby("part")[["images", "patients", "training_images"]].agg(["min", "max"])
    assert counts.loc["validation"].tolist() == [8, 8, 3, 3, 30, 30]
    assert counts.loc["test"].tolist() == [12, 12, 4, 4, 30, 30]


@pytest.mark.parametrize(
    ("metric", "expected"), [(None, "auroc"), ("balanced_accuracy", "balanced_accuracy")]
)
def test_only_the_data_sets_metric_is_the_target(metric, expected):
    dataset = DatasetSettings(
        task="binary", labels="finding", image_size=8, manifest="m.csv", classes=("no", "yes"),
        metric=metric,
    )  # fmt: skip
    table = run_metrics(binary_predictions(("test",)), dataset, 30)
    assert table[table["target"]]["metric"].tolist() == [expected]
    assert len(table) > 4


def test_logits_and_labels_of_findings_are_matched_by_name():
    predictions = pd.DataFrame(
        {
            "image_id": list("abcd"), "patient": list("abcd"), "part": "test",
            "label_effusion": [0.0, 1.0, np.nan, 0.0], "label_edema": [1.0, 0.0, 1.0, 0.0],
            "logit_effusion": [1.0, 2.0, 9.0, 0.0], "logit_edema": [0.0, 1.0, 2.0, 3.0],
        }
    )  # fmt: skip
    table = run_metrics(predictions, FINDINGS, 30)
    # effusion: in order, 1; edema: of 4 pairs only 2 > 1 is in order, .25
    assert values(table, "test")["auroc"] == pytest.approx((1 + 0.25) / 2)


def test_grades_have_a_kappa_as_their_target():
    predictions = pd.DataFrame(
        {
            "image_id": list("abc"), "patient": list("aab"), "part": "test", "label": [0, 1, 2],
            "logit_0": [5.0, 0, 0], "logit_1": [0, 5.0, 0], "logit_2": [0, 0, 5.0],
        }
    )  # fmt: skip
    table = run_metrics(predictions, GRADES, 30)
    target = table[table["target"]]
    assert target[["metric", "value", "images", "patients"]].values.tolist() == [
        ["quadratic_kappa", 1.0, 3, 2]
    ]


def test_joined_runs_have_each_runs_columns_before_its_own_rows():
    tables = [run_metrics(binary_predictions(), BINARY, 30 + i) for i in range(3)]
    joined = join_runs(runs(3), tables)
    METRICS.check(joined)
    assert list(joined.columns) == list(METRICS.columns)
    assert len(joined) == sum(map(len, tables))
    for i, table in enumerate(tables):
        own = joined[joined["seed"] == i].reset_index(drop=True)
        assert set(own["model"]) == {f"m{i}"}
        assert set(own["training_images"]) == {30 + i}
        pd.testing.assert_frame_equal(own[table.columns], table)


def test_joined_curves_have_their_declared_columns():
    history = pd.DataFrame(
        {"stage": "main", "step": [0, 5], "epoch": [0.0, 1.0], "learning_rate": [np.nan, 0.01],
         "training_loss": [np.nan, 0.7],
         "validation_loss": [0.7, 0.6], "validation_metric": [0.5, 0.8], "metric": "auroc"}
    )  # fmt: skip
    joined = join_runs(runs(2), [history, history.iloc[1:]])
    CURVES.check(joined[list(CURVES.columns)])
    assert joined["seed"].tolist() == [0, 0, 1]
    assert joined["step"].tolist() == [0, 5, 5]
    assert joined.index.tolist() == [0, 1, 2]
    assert set(RUN_COLUMNS) <= set(joined.columns)


def test_another_number_of_tables_than_runs_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        join_runs(runs(2), [run_metrics(binary_predictions(), BINARY, 30)])
