"""Intervals over samples of patients against resampling of the rows of each patient by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from toy_metrics import family, study
from toy_predictions import BINARY, FINDINGS, GRADES, predictions, runs_of

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.predictions import predictions_of
from medtransfer.evaluation.selective import area
from medtransfer.statistics.bootstrap import Interval, bca_interval, percentile_interval
from medtransfer.statistics.patients import PATIENT_INTERVALS, patient_intervals
from medtransfer.statistics.resampling import patient_resamples

RESAMPLES = 100
SMALL = study(statistics={"resamples": RESAMPLES})
FOUR = runs_of(("random", "holdout", 0), ("random", "holdout", 1), ("src", "holdout", 0),
               ("src", "holdout", 1))  # fmt: skip


def tables(dataset: DatasetSettings = BINARY, **keys: object) -> list[pd.DataFrame]:
    """Predictions of FOUR; the source is the better start."""
    return [predictions(dataset, seed, skill=skill, **keys)
            for seed, skill in enumerate((0.5, 0.5, 1.5, 1.5))]  # fmt: skip


def intervals(
    runs: pd.DataFrame,
    given: list[pd.DataFrame],
    dataset: DatasetSettings = BINARY,
    settings: StudySettings = SMALL,
) -> pd.DataFrame:
    found = patient_intervals(runs, given, dataset, settings)
    PATIENT_INTERVALS.check(found)
    return found


def row_of(table: pd.DataFrame, **where: object) -> pd.Series:
    """The only row with these values, of the target metric unless another is named."""
    for name, value in ({"metric": table["metric"].iloc[0]} | where).items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def share_in_order(labels: pd.Series, scores: pd.Series) -> float:
    """The AUROC: of all pairs of a positive and a negative image; NaN without one of the two."""
    positive, negative = (scores[labels == label].to_numpy() for label in (1, 0))
    if not len(positive) or not len(negative):
        return np.nan
    leads = positive[:, None] - negative
    return float((leads > 0).mean() + (leads == 0).mean() / 2)


def auroc(table: pd.DataFrame) -> float:
    return share_in_order(table["label"], table["logit_yes"])


def kappa(table: pd.DataFrame) -> float:
    decided = table[["logit_0", "logit_1", "logit_2"]].to_numpy().argmax(axis=1)
    return float(cohen_kappa_score(table["label"], decided, weights="quadratic"))


def mean_auroc(table: pd.DataFrame) -> float:
    """Of the labels that are both there and not."""
    names = ("edema", "effusion")
    found = [share_in_order(table[f"label_{name}"], table[f"logit_{name}"]) for name in names]
    return float(pd.Series(found).mean())


def repeated(table: pd.DataFrame, weights: np.ndarray) -> pd.DataFrame:
    """Each row as often as its image counts."""
    return table.loc[np.repeat(table.index, weights)]


def by_hand(
    statistic, given: list[pd.DataFrame], name: str = "test", difference: bool = False
) -> Interval:
    """The interval of a statistic of the tables, whose rows are repeated together.

    The patients of all tables are drawn; an image that several tables have is one image.
    """
    images = pd.concat(given).drop_duplicates("image_id").sort_values("image_id")
    drawn = patient_resamples(images["patient"], name, n_resamples=RESAMPLES)

    def value(weights: np.ndarray) -> float:
        times = dict(zip(images["image_id"], weights, strict=True))
        return statistic([repeated(table, table["image_id"].map(times)) for table in given])

    estimate = statistic(given)
    replicates = np.array([value(weights) for weights in drawn.weights])
    without = np.array([value(weights) for weights in drawn.left_out])
    if difference:
        return percentile_interval(estimate, replicates, 0.95, [estimate - without])
    return bca_interval(estimate, replicates, [estimate - without], 0.95, expanded=True)


@pytest.mark.parametrize(
    ("dataset", "metric"), [(BINARY, auroc), (GRADES, kappa), (FINDINGS, mean_auroc)]
)
def test_means_and_differences_are_those_of_repeated_rows_of_patients(dataset, metric):
    given = tables(dataset)
    found = intervals(FOUR, given, dataset)
    cases = [
        ({"init": "src", "reference": ""}, lambda t: np.mean([metric(t[2]), metric(t[3])])),
        (
            {"init": "src", "reference": "random"},
            lambda t: np.mean([metric(t[2]) - metric(t[0]), metric(t[3]) - metric(t[1])]),
        ),
    ]
    for where, statistic in cases:
        row, expected = (
            row_of(found, **where),
            by_hand(statistic, given, difference=bool(where["reference"])),
        )
        assert row[["mean", "error", "low", "high"]].tolist() == pytest.approx(
            [expected.estimate, expected.error, expected.low, expected.high]
        )
        assert row["low"] < row["mean"] < row["high"]
        assert row[["runs", "patients", "images"]].tolist() == [2, 12, len(given[0])]
        assert row["metric"] == dataset.target_metric


def test_differences_are_paired_through_the_same_patients():
    """Two runs that differ by little each vary much more than their difference."""
    base = predictions(BINARY, 0, skill=0.3, patients=30)
    little = np.random.default_rng(1).normal(0, 0.3, len(base))
    other = base.assign(logit_yes=base["logit_yes"] + little)
    runs = runs_of(("random", "holdout", 0), ("src", "holdout", 0))
    found = intervals(runs, [base, other])
    alone = row_of(found, init="random", reference="")["error"]
    assert 0 < row_of(found, init="src", reference="random")["error"] < alone / 4


def test_identical_runs_differ_by_nothing_whoever_is_tested():
    runs = runs_of(("random", "holdout", 0), ("src", "holdout", 0))
    found = row_of(intervals(runs, [predictions(BINARY, 0)] * 2), reference="random")
    assert found[["mean", "error", "low", "high"]].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_the_order_of_rows_runs_and_patients_changes_nothing():
    given = tables()
    expected = intervals(FOUR, given).sort_values(["init", "reference"], ignore_index=True)
    generator = np.random.default_rng(0)
    shuffled = [table.sample(frac=1, random_state=i) for i, table in enumerate(given)]
    order = generator.permutation(4)
    found = intervals(FOUR.iloc[order], [shuffled[i] for i in order])
    found = found.sort_values(["init", "reference"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)


def test_pairs_are_of_one_split_and_seed():
    runs = runs_of(("random", "holdout", 0), ("random", "holdout", 7), ("src", "holdout", 7),
                   ("src", "holdout", 9))  # fmt: skip
    given = tables()
    row = row_of(intervals(runs, given), reference="random")
    assert row["runs"] == 1
    assert row["mean"] == pytest.approx(auroc(given[2]) - auroc(given[1]))
    apart = runs_of(("random", "holdout", 0), ("src", "holdout", 1))
    assert set(intervals(apart, given[:2])["reference"]) == {""}


def log_loss(table: pd.DataFrame) -> float:
    sign = 2 * table["label"] - 1
    return float(np.log1p(np.exp(-sign * table["logit_yes"])).mean())


def risk_area(table: pd.DataFrame) -> float:
    return area(predictions_of(table, BINARY))


@pytest.mark.parametrize(
    ("metric", "measure"), [("negative_log_likelihood", log_loss), ("aurc", risk_area)]
)
def test_calibration_and_selection_have_intervals_beside_the_target_metric(metric, measure):
    given = tables()
    found = row_of(intervals(FOUR, given), reference="random", metric=metric)
    expected = by_hand(
        lambda t: np.mean([measure(t[2]) - measure(t[0]), measure(t[3]) - measure(t[1])]),
        given,
        difference=True,
    )
    assert found[["mean", "error", "low", "high"]].tolist() == pytest.approx(
        [expected.estimate, expected.error, expected.low, expected.high]
    )


def test_each_part_but_validation_has_its_own_intervals():
    given = tables(parts=("validation", "test", "external", "external-other"))
    found = intervals(FOUR, given)
    assert found["part"].drop_duplicates().tolist() == ["test", "external", "external-other"]
    alone = intervals(FOUR, [table[table["part"] == "test"] for table in given])
    pd.testing.assert_frame_equal(
        found[found["part"] == "test"].reset_index(drop=True), alone.reset_index(drop=True)
    )


def test_every_place_is_a_cell_of_its_own():
    changes = [{}, {"recipe": "r2"}, {"model": "m2"}, {"subset": "n500"}]
    runs = pd.concat([FOUR.assign(**change) for change in changes], ignore_index=True)
    given = [predictions(BINARY, seed, skill=0.3 * seed) for seed in range(4 * len(changes))]
    found = intervals(runs, given)
    for place, change in enumerate(changes):
        where = {"recipe": "r", "model": "m", "subset": "full"} | change
        row = row_of(found, init="src", reference="random", **where)
        mine = [auroc(table) for table in given[4 * place : 4 * place + 4]]
        assert row["mean"] == pytest.approx((mine[2] + mine[3] - mine[0] - mine[1]) / 2)


def fold_tables() -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Three folds that test on their own patients and on one external set, which is the same."""
    identities = list(itertools.product(("random", "src"), range(3)))
    runs = runs_of(*((init, f"cv3-{fold}", 0) for init, fold in identities))
    given = [
        pd.concat(
            [
                predictions(BINARY, place, prefix=f"fold{fold}-", patients=8, skill=0.5),
                predictions(BINARY, place, parts=("external",), patients=8, skill=0.5),
            ],
            ignore_index=True,
        )
        for place, (_, fold) in enumerate(identities)
    ]
    return runs, given


@pytest.mark.parametrize("part", ["test", "external"])
def test_the_patients_of_all_folds_are_resampled_together(part):
    """Whether each fold has its own, or all have the same."""
    runs, given = fold_tables()
    row = row_of(intervals(runs, given), part=part, init="random", reference="")
    parts = [table[table["part"] == part] for table in given[:3]]
    expected = by_hand(lambda t: np.mean([auroc(one) for one in t]), parts, part)
    assert row[["mean", "error", "low", "high"]].tolist() == pytest.approx(
        [expected.estimate, expected.error, expected.low, expected.high], nan_ok=True
    )
    assert np.isfinite(row["error"])
    images = pd.concat(parts)["image_id"]
    assert row[["runs", "patients", "images"]].tolist() == [
        3, {"test": 24, "external": 8}[part], images.nunique()
    ]  # fmt: skip
    assert (len(images) > images.nunique()) == (part == "external")


def test_declared_comparisons_and_the_confidence_are_the_studys():
    settings = replace(
        SMALL,
        confidence=0.8,
        statistics=replace(SMALL.statistics, families=(family("f", ("random", "src")),)),
    )
    found = intervals(FOUR, tables(), settings=settings).query("metric == 'auroc'")
    pairs = {(row["init"], row["reference"]): row for _, row in found.iterrows()}
    assert set(pairs) == {("random", ""), ("src", ""), ("src", "random"), ("random", "src")}
    there, back = pairs["src", "random"], pairs["random", "src"]
    assert back["mean"] == -there["mean"]
    wide = row_of(intervals(FOUR, tables()), reference="random")
    assert wide["low"] < there["low"] and there["high"] < wide["high"]


def test_one_patient_has_a_value_and_no_interval():
    runs = runs_of(("random", "holdout", 0), ("src", "holdout", 0))
    given = [table.assign(patient="one") for table in tables()[:2]]
    found = row_of(intervals(runs, given), reference="random")
    assert np.isfinite(found["mean"])
    assert found[["low", "high"]].isna().all()
    assert found["patients"] == 1
