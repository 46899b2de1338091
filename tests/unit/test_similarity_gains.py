"""Similarity against gain: its points by hand, its correlations against other libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as formulas
from scipy import stats

from medtransfer.config.study import StudySettings
from medtransfer.statistics.factors import pooled_and_within
from medtransfer.statistics.similarity_gains import (
    SIMILARITY_GAIN_POINTS,
    SIMILARITY_GAINS,
    similarity_gain_points,
    similarity_gains,
)

RUN = {"recipe": "r", "model": "m", "subset": "full", "seed": 0}
FOLDS = ("cv5-0", "cv5-1", "cv5-2")
PLACE = ["dataset", "split", "init", "point", "measure"]


class Study:
    """What the table reads of a study's settings."""

    reference = "random"


STUDY: StudySettings = Study()  # type: ignore[assignment]


def similarity(dataset: str, split: str, init: str, value: float, **changes: object) -> dict:
    sides = {f"{name}_{side}": v for name, v in RUN.items() for side in "ab"}
    row = {
        "pair": "fine_tuning", "dataset": dataset, "split": split, **sides, "init_a": init,
        "init_b": init, "point": "stem", "order": 0, "measure": "svcca", "value": value,
        "reliable": True,
    }  # fmt: skip
    return row | changes


def metric(dataset: str, split: str, init: str, value: float, **changes: object) -> dict:
    row = RUN | {
        "dataset": dataset, "split": split, "init": init, "part": "test", "metric": "auroc",
        "target": True, "value": value,
    }  # fmt: skip
    return row | changes


def tables(datasets: int = 4, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two sources and a random start in three folds of each data set, at two points."""
    generator = np.random.default_rng(seed)
    similarities, metrics = [], []
    for number, fold in itertools.product(range(datasets), FOLDS):
        place = (f"d{number}", fold)
        metrics.append(metric(*place, "random", generator.uniform(0.5, 0.7)))
        for init in ("s", "other"):
            metrics.append(metric(*place, init, generator.uniform(0.5, 0.9)))
            for order, point in enumerate(("stem", "top")):
                value = generator.uniform(0.2, 0.9)
                similarities.append(similarity(*place, init, value, point=point, order=order))
    return pd.DataFrame(similarities), pd.DataFrame(metrics)


def points_of(cca: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    found = similarity_gain_points(cca, metrics, STUDY)
    SIMILARITY_GAIN_POINTS.check(found)
    assert list(found) == list(SIMILARITY_GAIN_POINTS.columns)
    return found


def gains_of(points: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    found = similarity_gains(points, confidence)
    SIMILARITY_GAINS.check(found)
    return found


def panel(cca: pd.DataFrame, metrics: pd.DataFrame, gain: str = "relative") -> pd.Series:
    found = gains_of(points_of(cca, metrics))
    wanted = (found["init"] == "s") & (found["point"] == "stem") & (found["gain"] == gain)
    (row,) = [row for _, row in found[wanted].iterrows()]
    return row


def values(cca: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Similarity x and relative gain y of source s at the stem, by looking each up."""
    rows = []
    value = metrics.set_index(["dataset", "split", "init"])["value"]
    for row in cca[(cca["init_a"] == "s") & (cca["point"] == "stem")].itertuples():
        own, reference = (value[row.dataset, row.split, init] for init in ("s", "random"))
        rows.append((row.dataset, row.value, own / reference - 1))
    return pd.DataFrame(rows, columns=["dataset", "x", "y"])


def test_a_point_is_a_run_beside_the_reference_of_its_split_and_seed():
    cca = pd.DataFrame([
        similarity("d", "cv5-0", "s", 0.7), similarity("d", "cv5-1", "s", 0.3),
        similarity("d", "cv5-0", "s", 0.9, seed_a=1, seed_b=1),
    ])  # fmt: skip
    metrics = pd.DataFrame([
        metric("d", "cv5-0", "random", 0.5), metric("d", "cv5-1", "random", 0.8),
        metric("d", "cv5-0", "random", 0.4, seed=1), metric("d", "cv5-0", "s", 0.6),
        metric("d", "cv5-1", "s", 0.6), metric("d", "cv5-0", "s", 0.6, seed=1),
    ])  # fmt: skip
    found = points_of(cca, metrics)
    assert found["similarity"].tolist() == [0.7, 0.3, 0.9]
    assert found["reference_value"].tolist() == [0.5, 0.8, 0.4]
    assert found["difference"].tolist() == pytest.approx([0.1, -0.2, 0.2])
    assert found["relative_gain"].tolist() == pytest.approx([0.2, -0.25, 0.5])
    assert found["dataset_similarity"].tolist() == pytest.approx([1.9 / 3] * 3)
    assert found["dataset_gain"].tolist() == pytest.approx([0.45 / 3] * 3)
    assert set(found["reference"]) == {"random"} and set(found["pool"]) == {"m"}


@pytest.mark.parametrize(
    "change",
    [{"part": "validation"}, {"target": False}, {"recipe": "frozen"}, {"split": "cv5-4"},
     {"subset": "n100"}, {"model": "other"}, {"value": math.nan}],
    ids=str,
)  # fmt: skip
def test_a_run_without_such_a_reference_is_no_point(change):
    cca = pd.DataFrame([similarity("d", "cv5-0", "s", 0.7)])
    reference, own = metric("d", "cv5-0", "random", 0.5), metric("d", "cv5-0", "s", 0.6)
    assert len(points_of(cca, pd.DataFrame([reference, own]))) == 1
    assert points_of(cca, pd.DataFrame([reference | change, own])).empty


@pytest.mark.parametrize(
    "change",
    [{"pair": "inits"}, {"measure": "pwcca"}, {"init_a": "random"}, {"init_a": "s-stats"},
     {"init_a": "s-upto2-stats"}, {"value": math.nan}],
    ids=str,
)  # fmt: skip
def test_points_are_starts_with_ends_of_whole_sources(change):
    inits = ("random", "s", "s-stats", "s-upto2-stats")
    metrics = pd.DataFrame([metric("d", "cv5-0", init, 0.5) for init in inits])
    assert points_of(pd.DataFrame([similarity("d", "cv5-0", "s", 0.7) | change]), metrics).empty


def test_splits_that_are_not_analysed_are_no_points():
    cca, metrics = tables()
    some = points_of(cca[cca["split"] != "cv5-1"], metrics)
    assert set(some["split"]) == {"cv5-0", "cv5-2"}
    every = points_of(cca, metrics)
    kept = every[every["split"] != "cv5-1"].reset_index(drop=True)
    compared = [*PLACE, "similarity", "relative_gain", "difference"]
    pd.testing.assert_frame_equal(some[compared], kept[compared])


def test_a_reference_at_or_below_zero_has_no_relative_gain_and_that_is_said():
    cca, metrics = tables()
    metrics.loc[0, "value"] = 0.0
    points = points_of(cca, metrics)
    assert points["relative_gain"].isna().sum() == 4
    assert points["difference"].notna().all()
    row = panel(cca, metrics)
    assert row["points"] == 11 and "at or below 0, left out: 1" in row["remark"]
    assert panel(cca, metrics, "difference")["points"] == 12


def test_means_are_over_the_runs_of_one_data_set_source_and_point_that_have_a_gain():
    cca, metrics = tables()
    metrics.loc[0, "value"] = 0.0
    points = points_of(cca, metrics)
    for row in points.itertuples():
        own = points[
            (points["dataset"] == row.dataset)
            & (points["init"] == row.init)
            & (points["point"] == row.point)
            & points["relative_gain"].notna()
        ]
        assert len(own) == (2 if row.dataset == "d0" else 3)
        assert row.dataset_similarity == pytest.approx(own["similarity"].mean())
        assert row.dataset_gain == pytest.approx(own["relative_gain"].mean())


def test_correlations_are_those_of_pooled_and_within_and_of_scipy():
    cca, metrics = tables()
    row, known = panel(cca, metrics), values(cca, metrics)
    expected = pooled_and_within(known["x"], known["y"], known["dataset"])
    assert row["pooled"] == pytest.approx(stats.pearsonr(known["x"], known["y"]).statistic)
    assert row["pooled_spearman"] == pytest.approx(stats.spearmanr(known["x"], known["y"]).statistic)
    assert row["pooled_p"] == pytest.approx(expected.pooled.p_pearson)
    assert row["within_p"] == pytest.approx(expected.within.p_pearson)
    assert row["within_spearman_p"] == pytest.approx(expected.within.p_spearman)
    centred = known[["x", "y"]] - known.groupby("dataset")[["x", "y"]].transform("mean")
    assert row["within"] == pytest.approx(stats.pearsonr(centred["x"], centred["y"]).statistic)
    assert (row["points"], row["datasets"], row["metrics"]) == (12, 4, "auroc")
    assert row["remark"] == ""


def test_the_slope_within_is_that_of_a_regression_with_a_data_sets_own_intercept():
    cca, metrics = tables()
    fitted = formulas.ols("y ~ x + C(dataset)", values(cca, metrics)).fit()
    assert panel(cca, metrics)["within_slope"] == pytest.approx(fitted.params["x"])


def test_the_interval_within_is_fishers_of_a_partial_correlation():
    """Its p, as a z test, is that of the t test of the regression but for the approximation."""
    cca, metrics = tables(30)
    row = panel(cca, metrics)
    freedom = 90 - 30 - 2
    ends = np.arctanh([row["within_low"], row["within_high"]])
    assert ends.mean() == pytest.approx(math.atanh(row["within"]))
    assert np.ptp(ends) / 2 == pytest.approx(1.959964 / math.sqrt(freedom), rel=1e-6)
    fitted = formulas.ols("y ~ x + C(dataset)", values(cca, metrics)).fit()
    z = math.atanh(row["within"]) * math.sqrt(freedom)
    assert 2 * stats.norm.sf(abs(z)) == pytest.approx(fitted.pvalues["x"], rel=0.05)


def test_the_pooled_interval_is_the_jackknife_over_data_sets():
    cca, metrics = tables(5)
    row, known = panel(cca, metrics), values(cca, metrics)
    pseudo = [
        math.atanh(stats.pearsonr(rest["x"], rest["y"]).statistic)
        for rest in (known[known["dataset"] != name] for name in known["dataset"].unique())
    ]
    # n - 1 times the variance of the left-out values as if they were a population
    error = math.sqrt(4 * np.var(pseudo))
    half = stats.t.ppf(0.975, 4) * error
    ends = np.tanh([math.atanh(row["pooled"]) - half, math.atanh(row["pooled"]) + half])
    assert (row["pooled_low"], row["pooled_high"]) == pytest.approx(tuple(ends))


@pytest.mark.parametrize("datasets", [1, 2])
def test_few_data_sets_have_no_pooled_interval(datasets):
    row = panel(*tables(datasets))
    assert math.isnan(row["pooled_low"]) and math.isnan(row["pooled_high"])
    assert math.isnan(row["pooled_p"]) == (datasets == 1)
    assert ("one data set" in row["remark"]) == (datasets == 1)


def test_two_runs_that_are_always_on_a_line_have_no_correlation():
    cca, metrics = tables(1)
    two = [table[table["split"] != "cv5-2"] for table in (cca, metrics)]
    row = panel(*two)
    assert row["points"] == 2
    for name in ("pooled", "within", "pooled_spearman", "within_spearman_p", "within_p"):
        assert math.isnan(row[name])
    three = panel(cca, metrics)
    assert abs(three["pooled"]) < 1 and three["pooled"] == pytest.approx(three["within"])
    cca, metrics = tables(2)
    rest = cca["split"].eq("cv5-0") | (cca["dataset"].eq("d0") & cca["split"].eq("cv5-1"))
    assert math.isnan(panel(cca[rest], metrics)["within"])
    assert not math.isnan(panel(cca[rest], metrics)["pooled"])


def test_runs_that_are_told_twice_bring_no_certainty_to_the_pooled_p():
    cca, metrics = tables()
    again = [table.assign(split=table["split"].str.replace("cv5", "cv6")) for table in (cca, metrics)]
    twice = [pd.concat(pair, ignore_index=True) for pair in zip((cca, metrics), again, strict=True)]
    assert panel(*twice)["pooled_p"] == pytest.approx(panel(cca, metrics)["pooled_p"])


def test_a_data_sets_own_recipe_is_pooled_and_one_of_two_is_not():
    cca, metrics = tables(2)
    own = dict.fromkeys(("recipe", "recipe_a", "recipe_b"), "r1")
    first = cca["dataset"] == "d0", metrics["dataset"] == "d0"

    def moved(table: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
        named = {name: table[name].where(~rows, new) for name, new in own.items() if name in table}
        return table.assign(**named)

    other = [moved(table, rows) for table, rows in zip((cca, metrics), first, strict=True)]
    assert set(points_of(*other)["pool"]) == {"m"}
    both = [pd.concat(pair, ignore_index=True) for pair in zip((cca, metrics), other, strict=True)]
    both = [table.drop_duplicates() for table in both]
    assert set(points_of(*both)["pool"]) == {"m, r", "m, r1"}


def test_gains_in_several_metrics_and_doubtful_similarities_are_remarked():
    cca, metrics = tables()
    named = metrics["metric"].where(metrics["dataset"] != "d0", "quadratic_kappa")
    row = panel(cca.assign(reliable=cca.index > 0), metrics.assign(metric=named))
    assert row["metrics"] == "quadratic_kappa, auroc" and not row["reliable"]
    assert "several metrics" in row["remark"] and "too few rows" in row["remark"]


def test_no_point_gives_empty_tables():
    cca, metrics = tables()
    empty = points_of(cca[:0], metrics)
    assert empty.empty and gains_of(empty).empty
