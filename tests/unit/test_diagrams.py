"""Reliability and risk-coverage diagrams against bins and decisions by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from toy_predictions import BINARY, FINDINGS, GRADES, predictions, runs_of

from medtransfer.config.dataset import DatasetSettings
from medtransfer.evaluation.calibration import temperature
from medtransfer.evaluation.diagrams import (
    COVERAGES,
    RELIABILITY,
    RISK_COVERAGE,
    reliability_table,
    risk_coverage_table,
)
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.results import join_runs

PARTS = ("validation", "test", "external")


def answers(
    table: pd.DataFrame, dataset: DatasetSettings, heat: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether what they are of came true."""
    logits = table[[f"logit_{name}" for name in dataset.outputs]].to_numpy() / heat
    if dataset.task == "binary":
        return expit(logits[:, 0]), table["label"].to_numpy(float)
    if dataset.task == "multilabel":
        labels = table[[f"label_{name}" for name in dataset.outputs]].to_numpy()
        return expit(logits)[~np.isnan(labels)], labels[~np.isnan(labels)]
    probabilities = softmax(logits, axis=1)
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == table["label"]).to_numpy(float)


def bins_by_hand(values: np.ndarray, hits: np.ndarray) -> list[list[float]]:
    """15 bins of as many answers each; an answer is in the bin that holds the middle of its rank."""
    order = np.argsort(values)
    rows = []
    numbers = [int(15 * (place + 0.5) / len(values) + 1e-9) for place in range(len(values))]
    for number in sorted(set(numbers)):
        members = order[[place for place, n in enumerate(numbers) if n == number]]
        rows.append([number, values[members].mean(), hits[members].mean(), len(members)])
    return rows


def joined(table: pd.DataFrame, schema) -> pd.DataFrame:
    whole = join_runs(runs_of(("random", "holdout", 0)), [table])
    schema.check(whole)
    assert list(whole.columns) == list(schema.columns)
    return whole


@pytest.mark.parametrize("dataset", [BINARY, GRADES, FINDINGS])
def test_bins_are_those_by_hand_before_and_after_scaling(dataset):
    table = predictions(dataset, 0, parts=PARTS, patients=30, skill=1.2)
    found = reliability_table(table, dataset)
    joined(found, RELIABILITY)
    heat = temperature(predictions_of(table[table["part"] == "validation"], dataset))
    assert abs(heat - 1) > 0.05
    for part in PARTS:
        rows = table[table["part"] == part]
        for after, divisor in ((False, 1.0), (True, heat)):
            mine = found[(found["part"] == part) & (found["scaled"] == after)]
            expected = bins_by_hand(*answers(rows, dataset, divisor))
            numbers = mine[["bin", "confidence", "observed", "count"]].values.tolist()
            assert numbers == pytest.approx(np.array(expected))
    assert found["part"].drop_duplicates().tolist() == list(PARTS)


def test_unknown_labels_are_in_no_bin():
    table = predictions(FINDINGS, 0, patients=30)
    known = table[["label_edema", "label_effusion"]].notna().sum().sum()
    assert known < 2 * len(table)
    assert reliability_table(table, FINDINGS)["count"].sum() == known


def test_without_a_validation_part_nothing_is_scaled():
    found = reliability_table(predictions(BINARY, 0), BINARY)
    assert not found["scaled"].any()
    unknown = predictions(FINDINGS, 0, parts=("validation", "test"))
    names = ["label_edema", "label_effusion"]
    unknown.loc[unknown["part"] == "validation", names] = np.nan
    assert not reliability_table(unknown, FINDINGS)["scaled"].any()


def errors_and_confidences(
    table: pd.DataFrame, dataset: DatasetSettings
) -> tuple[np.ndarray, np.ndarray]:
    logits = table[[f"logit_{name}" for name in dataset.outputs]].to_numpy()
    if dataset.task == "multilabel":
        labels = table[[f"label_{name}" for name in dataset.outputs]].to_numpy()
        wrong = np.where(np.isnan(labels), np.nan, (logits > 0) != labels)
        some = ~np.isnan(labels).all(axis=1)
        certain = expit(np.abs(logits)).mean(axis=1)
        return np.nanmean(wrong[some], axis=1), certain[some]
    if dataset.task == "binary":
        wrong = (logits[:, 0] > 0) != table["label"]
        return wrong.to_numpy(float), expit(np.abs(logits[:, 0]))
    probabilities = softmax(logits, axis=1)
    wrong = probabilities.argmax(axis=1) != table["label"]
    return wrong.to_numpy(float), probabilities.max(axis=1)


@pytest.mark.parametrize("dataset", [BINARY, GRADES, FINDINGS])
def test_the_risk_at_each_coverage_is_that_of_the_surest_images(dataset):
    table = predictions(dataset, 0, parts=("test", "external"), patients=30)
    found = risk_coverage_table(table, dataset)
    joined(found, RISK_COVERAGE)
    for part in ("test", "external"):
        errors, confidences = errors_and_confidences(table[table["part"] == part], dataset)
        mine = found[found["part"] == part]
        assert mine["coverage"].tolist() == pytest.approx([i / 50 for i in range(1, 51)])
        surest = np.argsort(-confidences)
        for _, row in mine.iterrows():
            taken = surest[: int(np.ceil(round(row["coverage"] * len(errors), 6)))]
            assert row["risk"] == pytest.approx(errors[taken].mean())
            assert row["confidence"] == pytest.approx(confidences[taken].min())


def test_equal_confidences_are_decided_together():
    table = predictions(BINARY, 0, patients=10)
    table["logit_yes"] = np.where(np.arange(len(table)) < 2, 5.0, 1.0)
    found = risk_coverage_table(table, BINARY)
    wrong = table["label"] == 0
    sure = found["coverage"] <= 2 / len(table) + 1e-9
    assert sure.any()
    assert found[sure]["risk"].unique().tolist() == [wrong[:2].mean()]
    assert found[~sure]["risk"].unique().tolist() == pytest.approx([wrong.mean()])


def test_the_order_of_rows_changes_nothing():
    table = predictions(GRADES, 0, parts=("validation", "test"), patients=20)
    # parts in the same order
    mixed = table.sample(frac=1, random_state=0).sort_values("part", ascending=False, kind="stable")
    for measure in (reliability_table, risk_coverage_table):
        pd.testing.assert_frame_equal(measure(mixed, GRADES), measure(table, GRADES))


def test_a_part_with_a_logit_that_is_no_number_is_left_out():
    table = predictions(BINARY, 0, parts=("validation", "test"))
    broken = table.assign(logit_yes=table["logit_yes"].where(table.index > 0))
    for measure, schema in ((reliability_table, RELIABILITY), (risk_coverage_table, RISK_COVERAGE)):
        assert set(measure(broken, BINARY)["part"]) == {"test"}
        nothing = measure(table.assign(logit_yes=np.nan), BINARY)
        assert nothing.empty
        # joined with another run's rows, the columns keep their kinds
        runs = runs_of(("random", "holdout", 0), ("random", "holdout", 1))
        whole = join_runs(runs, [nothing, measure(table, BINARY)])
        schema.check(whole)
        assert set(whole["seed"]) == {1}


def test_one_image_and_no_known_label_are_drawn_as_far_as_they_go():
    one = predictions(BINARY, 0).iloc[:1]
    assert reliability_table(one, BINARY)["count"].tolist() == [1]
    assert len(risk_coverage_table(one, BINARY)) == len(COVERAGES)
    table = predictions(FINDINGS, 0).assign(label_edema=np.nan, label_effusion=np.nan)
    joined(reliability_table(table, FINDINGS), RELIABILITY)
    assert risk_coverage_table(table, FINDINGS).empty
