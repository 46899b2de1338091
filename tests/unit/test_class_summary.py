"""Means and intervals of each output's ranking, against other libraries and by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW
from toy_metrics import rows_of

from medtransfer.evaluation.results import CLASS_METRICS
from medtransfer.statistics.class_summary import CLASS_SUMMARY, summarise_classes
from medtransfer.statistics.comparison import summarise

VALUES = [0.71, 0.78, 0.74, 0.80]
RANKING = [0.31, 0.42, 0.36, 0.40]


def classes_of(values: dict[str, list[float]] | None = None, splits: str = "") -> pd.DataFrame:
    """Of schema CLASS_METRICS: the AUROC of each run, by output; AUPRC is that of RANKING."""
    rows = []
    for output, scores in (values or {"edema": VALUES}).items():
        for number, score in enumerate(scores):
            rows.append(
                {
                    "recipe": "r", "dataset": "d", "model": "m", "init": "src", "subset": "full",
                    "split": f"{splits}{number}" if splits else "holdout",
                    "seed": 0 if splits else number, "part": "test", "output": output, "auroc": score,
                    "auprc": RANKING[number], "positives": 10 + number, "images": 100,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    CLASS_METRICS.check(table)
    return table


def metrics_of(splits: str = "", ratio: float = 0.25) -> pd.DataFrame:
    runs = {(f"{splits}{n}", 0) if splits else ("holdout", n): v for n, v in enumerate(VALUES)}
    return pd.DataFrame(rows_of("src", runs, test_train_ratio=ratio))


def summary(classes: pd.DataFrame, metrics: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    table = summarise_classes(classes, metrics, confidence)
    CLASS_SUMMARY.check(table)
    return table.set_index(["output", "metric"])


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_over_seeds_is_that_of_statsmodels(confidence):
    found = summary(classes_of(), metrics_of(), confidence)
    for metric, values in {"auroc": VALUES, "auprc": RANKING}.items():
        row = found.loc["edema", metric]
        expected = DescrStatsW(values).tconfint_mean(1 - confidence)
        assert [row["low"], row["high"]] == pytest.approx(list(expected), abs=1e-12)
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert found["runs"].tolist() == [4, 4]
    # the mean of 10, 11, 12 and 13, rounded to the even number
    assert found["positives"].tolist() == [12, 12]


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_the_interval_over_folds_is_wider_by_the_shared_training_images(ratio):
    row = summary(classes_of(splits="cv4-"), metrics_of("cv4-", ratio)).loc["edema", "auroc"]
    error = np.std(VALUES, ddof=1) * math.sqrt(1 / 4 + ratio)
    low, high = stats.t.interval(0.95, 3, np.mean(VALUES), error)
    assert [row["low"], row["high"]] == pytest.approx([low, high], abs=1e-12)


@pytest.mark.parametrize("splits", ["", "cv4-"])
def test_the_intervals_are_those_of_the_summary_of_metrics(splits):
    own = summary(classes_of(splits=splits), metrics_of(splits)).loc["edema", "auroc"]
    whole = summarise(metrics_of(splits), 0.95).iloc[0]
    for name in ("mean", "sd", "low", "high", "runs"):
        assert own[name] == pytest.approx(whole[name], abs=1e-12)


def test_outputs_and_starts_are_apart():
    values = {"edema": VALUES, "effusion": [v + 0.1 for v in VALUES]}
    classes = pd.concat([classes_of(values), classes_of(values).assign(init="random", auroc=0.5)])
    metrics = pd.concat([metrics_of(), metrics_of().assign(init="random")])
    table = summarise_classes(classes, metrics, 0.95).set_index(["init", "output", "metric"])["mean"]
    assert len(table) == 8
    assert table["src", "effusion", "auroc"] - table["src", "edema", "auroc"] == pytest.approx(0.1)
    assert table["random", "edema", "auroc"] == 0.5


def test_an_undefined_score_is_left_out_of_the_mean_and_leaves_no_interval():
    row = summary(classes_of({"rare": [0.7, math.nan, 0.8, 0.9]}), metrics_of()).loc["rare", "auroc"]
    assert row["mean"] == pytest.approx(0.8)
    assert row["runs"] == 3
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_one_run_has_no_interval_and_no_runs_no_rows():
    row = summary(classes_of({"edema": [0.7]}), metrics_of()).loc["edema", "auroc"]
    assert [row["mean"], row["runs"]] == [0.7, 1]
    assert row[["sd", "low", "high"]].isna().all()
    assert summarise_classes(classes_of()[:0], metrics_of(), 0.95).empty
