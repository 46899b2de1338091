"""From predictions of runs to one tidy table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from toy_predictions import BINARY, FINDINGS, GRADES, predictions

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.external import ExternalSettings
from medtransfer.evaluation.calibration import calibration_metrics, scaled, temperature
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import (
    CLASS_METRICS,
    CURVES,
    METRICS,
    RUN_COLUMNS,
    class_metrics,
    join_runs,
    read_predictions,
    run_metrics,
    study_predictions,
)
from medtransfer.evaluation.selective import area, excess_area


def record(training_images: int = 30) -> dict[str, int]:
    """Of a run, as far as its metrics need it."""
    return {"training_images": training_images, "parameters": 1234}


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
    given = binary_predictions()
    table = run_metrics(given, BINARY, record())
    for part in ("validation", "test"):
        own = given[given["part"] == part]
        expected = roc_auc_score(own["label"], own["logit_yes"])
        assert values(table, part)["auroc"] == pytest.approx(expected)
    assert values(table, "test")["auroc"] != values(table, "validation")["auroc"]


def test_parts_keep_their_order_and_are_counted_in_images_and_patients():
    given = binary_predictions(("validation", "test", "external"))
    given = given.drop(index=[0, 1, 2, 3])  # a patient and a third of another
    table = run_metrics(given, BINARY, record())
    assert table["part"].drop_duplicates().tolist() == ["validation", "test", "external"]
    assert table.groupby("part")["test_train_ratio"].unique().to_dict() == {
        "validation": [12 / 30], "test": [12 / 30], "external": [12 / 30]
    }  # fmt: skip
    assert table["parameters"].tolist() == [1234.0] * len(table)
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
    table = run_metrics(binary_predictions(("test",)), dataset, record())
    assert table[table["target"]]["metric"].tolist() == [expected]
    assert len(table) > 4


def test_logits_and_labels_of_findings_are_matched_by_name():
    table = pd.DataFrame(
        {
            "image_id": list("abcd"), "patient": list("abcd"), "part": "test",
            "label_effusion": [0.0, 1.0, np.nan, 0.0], "label_edema": [1.0, 0.0, 1.0, 0.0],
            "logit_effusion": [1.0, 2.0, 9.0, 0.0], "logit_edema": [0.0, 1.0, 2.0, 3.0],
        }
    )  # fmt: skip
    table = run_metrics(table, FINDINGS, record())
    # effusion: in order, 1; edema: of 4 pairs only 2 > 1 is in order, .25
    assert values(table, "test")["auroc"] == pytest.approx((1 + 0.25) / 2)


def test_grades_have_a_kappa_as_their_target():
    table = pd.DataFrame(
        {
            "image_id": list("abc"), "patient": list("aab"), "part": "test", "label": [0, 1, 2],
            "logit_0": [5.0, 0, 0], "logit_1": [0, 5.0, 0], "logit_2": [0, 0, 5.0],
        }
    )  # fmt: skip
    table = run_metrics(table, GRADES, record())
    target = table[table["target"]]
    assert target[["metric", "value", "images", "patients"]].values.tolist() == [
        ["quadratic_kappa", 1.0, 3, 2]
    ]


def test_joined_runs_have_each_runs_columns_before_its_own_rows():
    tables = [run_metrics(binary_predictions(), BINARY, record(30 + i)) for i in range(3)]
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
        join_runs(runs(2), [run_metrics(binary_predictions(), BINARY, record())])


@pytest.mark.parametrize("dataset", [BINARY, GRADES, FINDINGS])
def test_calibration_is_scaled_by_the_temperature_of_the_validation_part(dataset):
    given = predictions(dataset, 0, parts=("test", "validation"), patients=30)
    parts = {part: predictions_of(rows, dataset) for part, rows in given.groupby("part")}
    heat = temperature(parts["validation"])
    table = run_metrics(given, dataset, record())
    for part, found in parts.items():
        scores = values(table, part)
        assert scores["temperature"] == heat
        before, after = calibration_metrics(found), calibration_metrics(scaled(found, heat))
        assert {name: scores[name] for name in before} == before
        assert {name: scores[f"{name}_scaled"] for name in after} == after
        assert scores["negative_log_likelihood"] != scores["negative_log_likelihood_scaled"]
        assert scores["aurc"] == area(found)
        assert scores["excess_aurc"] == excess_area(found)
    assert not table.duplicated(["part", "metric"]).any()


def test_without_a_validation_part_nothing_is_scaled():
    table = run_metrics(binary_predictions(("test",)), BINARY, record())
    assert not [name for name in table["metric"] if name.endswith("_scaled") or name == "temperature"]
    assert {"aurc", "ece_mass", "auroc"} <= set(table["metric"])


def test_logits_that_are_no_numbers_leave_metrics_undefined():
    given = binary_predictions().assign(logit_yes=np.nan)
    table = run_metrics(given, BINARY, record())
    scores = values(table, "test")
    for name in ("auroc", "ece_mass", "ece_mass_scaled", "temperature", "aurc"):
        assert np.isnan(scores[name])
    METRICS.check(join_runs(runs(1), [table]))


def test_each_output_is_ranked_against_the_rest():
    given = predictions(FINDINGS, 0, parts=("validation", "test"), patients=20)
    table = class_metrics(given, FINDINGS)
    CLASS_METRICS.check(join_runs(runs(1), [table]))
    assert table[["part", "output"]].values.tolist() == [
        ["validation", "edema"], ["validation", "effusion"], ["test", "edema"], ["test", "effusion"]
    ]  # fmt: skip
    for _, row in table.iterrows():
        own = given[(given["part"] == row["part"]) & given[f"label_{row['output']}"].notna()]
        labels, scores = own[f"label_{row['output']}"], own[f"logit_{row['output']}"]
        assert row["auroc"] == pytest.approx(roc_auc_score(labels, scores))
        assert row["auprc"] == pytest.approx(average_precision_score(labels, scores))
        assert row[["positives", "images"]].tolist() == [labels.sum(), len(own)]


def test_predictions_of_other_data_sets_stand_after_the_runs_own(tmp_path):
    dataset = replace(BINARY, external={"two": ExternalSettings(), "one": ExternalSettings()})
    for place in ("a", "b"):
        for folder in ("runs", "shift"):
            (tmp_path / folder / place).mkdir(parents=True)
        predictions(BINARY, 0, prefix=place).to_parquet(
            tmp_path / "runs" / place / "predictions.parquet"
        )
        for name in ("one", "two", "unnamed"):
            predictions(BINARY, 0, parts=(f"external-{name}",)).to_parquet(
                tmp_path / "shift" / place / f"external-{name}.predictions.parquet"
            )
    found = read_predictions(tmp_path / "runs/a", tmp_path / "shift/a", dataset)
    assert found["part"].drop_duplicates().tolist() == ["test", "external-two", "external-one"]
    assert found.index.tolist() == list(range(len(found)))
    table = runs(2).assign(path=["b", "a"])
    first, second = study_predictions(table, tmp_path / "runs", tmp_path / "shift", dataset)
    pd.testing.assert_frame_equal(second, found)
    assert first["image_id"].str.startswith("btest").any()


def test_a_run_without_rows_of_its_own_leaves_the_kinds_of_columns():
    table = run_metrics(binary_predictions(), BINARY, record())
    joined = join_runs(runs(2), [table.iloc[:0], table])
    METRICS.check(joined)
    assert set(joined["seed"]) == {1}
    METRICS.check(join_runs(runs(1), [table.iloc[:0]]))
