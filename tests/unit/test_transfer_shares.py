"""Shares of feature reuse and curves over the depth, by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_metrics import rows_of, study

from medtransfer.config.study import StudySettings
from medtransfer.statistics.transfer import DEPTH_CURVES, REUSE, depth_curves, reuse_shares

RANDOM = [0.60, 0.62, 0.61, 0.63, 0.60]
STATS = [0.65, 0.66, 0.64, 0.68, 0.65]
SRC = [0.80, 0.81, 0.79, 0.83, 0.80]
UPTO1 = [0.70, 0.72, 0.69, 0.74, 0.71]
UPTO2 = [0.75, 0.74, 0.74, 0.78, 0.76]
ALL = {"random": RANDOM, "src-stats": STATS, "src": SRC, "src-upto1-stats": UPTO1,
       "src-upto2-stats": UPTO2}  # fmt: skip


def metrics_of(inits: dict[str, list[float]], **changes: object) -> list[dict]:
    return [row for init, values in inits.items() for row in rows_of(init, values, **changes)]


def shares(metrics: list[dict], settings: StudySettings | None = None) -> pd.DataFrame:
    table = reuse_shares(pd.DataFrame(metrics), settings or study())
    REUSE.check(table)
    return table


def curves(metrics: list[dict], settings: StudySettings | None = None) -> pd.DataFrame:
    table = depth_curves(pd.DataFrame(metrics), settings or study())
    DEPTH_CURVES.check(table)
    return table


def fieller_by_search(numerators, denominators, factor: float, confidence: float = 0.95):
    """The ratios that a t test of numerator - ratio x denominator doesn't reject, on a grid."""
    x, y = np.array(numerators), np.array(denominators)
    grid = np.linspace(-3, 4, 700_001)
    means = x.mean() - grid * y.mean()
    cov = np.cov(x, y)
    variances = cov[0, 0] - 2 * grid * cov[0, 1] + grid**2 * cov[1, 1]
    critical = stats.t.ppf(0.5 + confidence / 2, len(x) - 1)
    held = grid[np.abs(means) <= critical * np.sqrt(np.maximum(variances, 0) * factor)]
    return held.min(), held.max()


def test_the_share_is_of_the_means_with_fiellers_interval():
    found = shares(metrics_of({"random": RANDOM, "src-stats": STATS, "src": SRC})).iloc[0]
    over_statistics, gain = np.subtract(SRC, STATS), np.subtract(SRC, RANDOM)
    assert found["share"] == pytest.approx(over_statistics.mean() / gain.mean())
    low, high = fieller_by_search(over_statistics, gain, 1 / 5)
    assert found[["low", "high"]].tolist() == pytest.approx([low, high], abs=2e-5)
    assert found[["source", "init", "pairs", "paired_by"]].tolist() == ["src", "src", 5, "seed"]
    assert found["bounded"]
    assert math.isnan(found["units"])


def test_partial_transfers_have_the_share_up_to_their_depth():
    found = shares(metrics_of(ALL)).set_index("init")
    gain = np.mean(SRC) - np.mean(RANDOM)
    assert sorted(found.index) == ["src", "src-upto1-stats", "src-upto2-stats"]
    for init, values, units in (("src-upto1-stats", UPTO1, 1), ("src-upto2-stats", UPTO2, 2)):
        assert found.loc[init, "share"] == pytest.approx((np.mean(values) - np.mean(STATS)) / gain)
        assert found.loc[init, "units"] == units
        low, high = fieller_by_search(np.subtract(values, STATS), np.subtract(SRC, RANDOM), 1 / 5)
        assert found.loc[init, ["low", "high"]].tolist() == pytest.approx([low, high], abs=2e-5)


def test_starts_on_other_rests_have_no_share():
    others = {"src-upto1-random": UPTO1, "src-upto2-slim": UPTO2, "src-stats_permutation": STATS,
              "src-upto1-stats_permutation": UPTO1, "other-stats": STATS, "gabor": SRC}  # fmt: skip
    found = shares(metrics_of({"random": RANDOM, "src-stats": STATS, "src": SRC} | others))
    assert found["init"].tolist() == ["src"]


@pytest.mark.parametrize("missing", ["random", "src-stats", "src"])
def test_without_one_of_the_starts_there_is_no_share(missing):
    given = {init: values for init, values in ALL.items() if init != missing}
    assert shares(metrics_of(given)).empty


def test_only_repeats_that_have_all_starts_count():
    metrics = metrics_of({"random": RANDOM, "src-stats": STATS, "src": SRC})
    kept = [row for row in metrics if (row["init"], row["seed"]) not in (("src", 0), ("random", 4))]
    found = shares(kept).iloc[0]
    middle = slice(1, 4)
    expected = (np.mean(SRC[middle]) - np.mean(STATS[middle])) / (
        np.mean(SRC[middle]) - np.mean(RANDOM[middle])
    )
    assert found["pairs"] == 3
    assert found["share"] == pytest.approx(expected)


def test_without_a_gain_no_share_is_bounded():
    flat = [0.6, 0.63, 0.6, 0.62, 0.61]
    found = shares(metrics_of({"random": RANDOM, "src-stats": STATS, "src": flat})).iloc[0]
    assert not found["bounded"]
    assert found[["low", "high"]].tolist() == [-math.inf, math.inf]


def test_the_reference_and_the_confidence_are_the_studys():
    given = {"gabor": RANDOM, "src-stats": STATS, "src": SRC}
    found = shares(metrics_of(given), study(reference="gabor", confidence=0.8)).iloc[0]
    low, high = fieller_by_search(np.subtract(SRC, STATS), np.subtract(SRC, RANDOM), 1 / 5, 0.8)
    assert found[["low", "high"]].tolist() == pytest.approx([low, high], abs=2e-5)


def test_folds_are_repeats_with_their_correlation():
    metrics = []
    for init, values in (("random", RANDOM), ("src-stats", STATS), ("src", SRC)):
        folds = {(f"cv5-{fold}", seed): value + (-1) ** seed * 0.01
                 for fold, value in enumerate(values) for seed in (0, 1)}  # fmt: skip
        metrics += rows_of(init, folds)
    found = shares(metrics).iloc[0]
    low, high = fieller_by_search(np.subtract(SRC, STATS), np.subtract(SRC, RANDOM), 1 / 5 + 0.25)
    assert found[["pairs", "paired_by"]].tolist() == [5, "fold"]
    assert found[["low", "high"]].tolist() == pytest.approx([low, high], abs=2e-5)


def test_only_the_target_metric_on_the_test_part_has_shares_and_curves():
    extra = metrics_of(ALL, part="external") + metrics_of(ALL, metric="auprc", target=False)
    metrics = metrics_of(ALL)
    pd.testing.assert_frame_equal(shares(metrics + extra), shares(metrics))
    pd.testing.assert_frame_equal(curves(metrics + extra), curves(metrics))


def test_places_are_apart():
    metrics = metrics_of(ALL) + metrics_of(ALL | {"src": STATS}, model="m2")
    found = shares(metrics)
    assert found[found["init"] == "src"]["model"].tolist() == ["m", "m2"]
    assert found[found["init"] == "src"]["share"].iloc[1] == 0.0
    assert curves(metrics)["model"].tolist() == ["m", "m", "m2", "m2"]


def max_t_by_hand(differences: np.ndarray) -> list[float]:
    """Of |t| at each depth among the largest |t| over depths, for all flips of whole pairs."""

    def t(values: np.ndarray) -> np.ndarray:
        return np.abs(values.mean(axis=0)) / values.std(axis=0, ddof=1)

    largest = np.array([
        t(differences * np.array(signs)[:, None]).max()
        for signs in itertools.product((1, -1), repeat=len(differences))
    ])  # fmt: skip
    return [float((largest >= value * (1 - 1e-9)).mean()) for value in t(differences)]


def test_a_curve_runs_from_the_shallowest_to_the_deepest_with_the_p_of_the_largest_t():
    depths = {10: UPTO2, 2: UPTO1, 1: [0.66, 0.65, 0.66, 0.67, 0.66]}
    given = {f"src-upto{k}-stats": values for k, values in depths.items()}
    found = curves(metrics_of({"random": RANDOM, "src-stats": STATS} | given))
    assert found["units"].tolist() == [1, 2, 10]
    assert found["init"].tolist() == [f"src-upto{k}-stats" for k in (1, 2, 10)]
    assert set(found["reference"]) == {"src-stats"}
    differences = np.stack([np.subtract(depths[k], STATS) for k in (1, 2, 10)], axis=1)
    assert found["mean"].tolist() == pytest.approx(differences.mean(axis=0))
    assert found["p"].tolist() == pytest.approx(max_t_by_hand(differences))
    assert found["pairs"].tolist() == [5, 5, 5]
    assert (found["low"] < found["mean"]).all() and (found["mean"] < found["high"]).all()
    wider = stats.t.ppf(0.975, 4) * differences.std(axis=0, ddof=1) / math.sqrt(5)
    assert ((found["high"] - found["mean"]).to_numpy() > wider * 0.9).all()


def test_the_confidence_of_the_study_decides_the_band():
    metrics = metrics_of(ALL)
    wide, narrow = curves(metrics), curves(metrics, study(confidence=0.7))
    assert (narrow["high"] - narrow["low"] < wide["high"] - wide["low"]).all()


def test_every_source_and_rest_has_a_curve_of_its_own():
    given = {"random": RANDOM, "src-stats": STATS, "src-upto1-stats": UPTO1, "b-upto1-stats": UPTO2,
             "src-upto2-random": UPTO2, "src-upto1-random": UPTO1}  # fmt: skip
    found = curves(metrics_of(given))
    named = [tuple(row) for row in found[["source", "init", "reference"]].values]
    assert named == [
        ("src", "src-upto1-stats", "src-stats"),
        ("b", "b-upto1-stats", "random"),  # without its baseline
        ("src", "src-upto1-random", "random"),
        ("src", "src-upto2-random", "random"),
    ] or sorted(named) == sorted({*named})
    assert len(named) == 4
    by_init = found.set_index("init")
    assert by_init.loc["b-upto1-stats", "mean"] == pytest.approx(np.mean(UPTO2) - np.mean(RANDOM))
    assert by_init.loc["src-upto1-stats", "mean"] == pytest.approx(np.mean(UPTO1) - np.mean(STATS))


def test_a_curve_needs_all_depths_of_a_seed():
    metrics = [row for row in metrics_of(ALL)
               if (row["init"], row["seed"]) != ("src-upto2-stats", 0)]  # fmt: skip
    found = curves(metrics)
    assert found["pairs"].tolist() == [4, 4]
    assert found["mean"][0] == pytest.approx(np.mean(UPTO1[1:]) - np.mean(STATS[1:]))


def test_folds_and_studies_without_partial_transfers_have_no_curve():
    folds = [row | {"split": f"cv5-{row['seed']}", "seed": 0} for row in metrics_of(ALL)]
    assert curves(folds).empty
    assert curves(metrics_of({"random": RANDOM, "src": SRC})).empty
    assert not shares(folds).empty
