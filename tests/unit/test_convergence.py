"""Steps to a threshold against toy curves, statsmodels, textbook numbers and the plain mean."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from medtransfer.evaluation.results import CURVES
from medtransfer.statistics.convergence import (
    CONVERGENCE,
    CONVERGENCE_TESTS,
    common_horizon,
    compare_convergence,
    convergence_table,
    first_step_reaching,
    log_rank,
    pseudo_values,
    restricted_mean,
    smoothed,
)
from medtransfer.statistics.paired import nadeau_bengio, paired_t


def curve(scores: list[float], init: str = "random", seed: int = 0, **changes: object) -> pd.DataFrame:
    """Rows of schema CURVES, a scoring every ten steps."""
    constant = {
        "recipe": "r", "dataset": "d", "model": "m", "init": init, "subset": "full",
        "split": "holdout", "seed": seed, "metric": "auroc", "stage": "main",
    } | changes  # fmt: skip
    steps = np.arange(len(scores)) * 10
    table = pd.DataFrame(
        {
            "step": steps, "epoch": steps / 10.0, "learning_rate": 0.1, "training_loss": 0.5,
            "validation_loss": 0.5, "validation_metric": scores,
        }
    )  # fmt: skip
    return table.assign(**constant)[list(CURVES.columns)]


def test_values_are_averaged_with_both_neighbours():
    found = smoothed([1.0, 2.0, 6.0, 1.0])
    assert found[1:3] == pytest.approx([3.0, 3.0])
    assert np.isnan(found[[0, 3]]).all()


def test_the_first_step_is_where_the_smoothed_metric_gets_there():
    # smoothed: -, 0.6, 0.7, 0.8, 0.9, -
    values = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert first_step_reaching(curve(values), 0.7) == (20, True)
    assert first_step_reaching(curve(values), 0.71) == (30, True)
    assert first_step_reaching(curve(values), 0.9) == (40, True)
    assert first_step_reaching(curve(values), 0.91) == (50, False)


def test_a_single_lucky_scoring_is_not_enough():
    assert first_step_reaching(curve([0.5, 0.5, 0.95, 0.5, 0.5]), 0.9) == (40, False)


def test_a_run_that_falls_back_has_still_been_there():
    assert first_step_reaching(curve([0.9, 0.9, 0.9, 0.1, 0.1, 0.1]), 0.85) == (10, True)


@pytest.mark.parametrize("values", [[0.9], [0.9, 0.9], [math.nan, 0.9, 0.9, math.nan], [0.9, 0.5, 0.4]])
def test_what_has_no_smoothed_value_up_there_is_censored_at_its_last_scoring(values):
    assert first_step_reaching(curve(values), 0.7) == (10 * (len(values) - 1), False)


def test_nothing_reaches_an_unknown_threshold():
    assert first_step_reaching(curve([0.9] * 4), math.nan) == (30, False)


@pytest.mark.parametrize("horizon", [4.0, 7.0, 20.0])
def test_without_censoring_the_restricted_mean_is_a_plain_mean_with_its_t_interval(horizon):
    times = np.array([3.0, 5.0, 5.0, 8.0, 12.0])
    plain = np.minimum(times, horizon)
    found = restricted_mean(times, [True] * 5, horizon, 0.9)
    expected = paired_t(plain, 0.9)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert found.error == pytest.approx(stats.sem(plain))
    assert (found.runs, found.reached) == (5, int((times <= horizon).sum()))


def test_runs_cut_off_at_the_horizon_count_with_it():
    found = restricted_mean([3, 5, 9, 9], [True, True, False, False], 9)
    assert found.mean == pytest.approx((3 + 5 + 9 + 9) / 4)
    assert found.error == pytest.approx(stats.sem([3, 5, 9, 9]))
    assert found.reached == 2


def test_the_restricted_mean_of_a_censored_sample_by_hand():
    # S: 1 until 2, 3/4 until 6 (of two at risk), then 3/8; areas to 10: 2 + 3 + 1.5
    found = restricted_mean([2, 4, 6, 10], [True, False, True, False], 10)
    assert found.mean == pytest.approx(2 + 0.75 * 4 + 0.375 * 4)
    # to the right: 4.5 of 2, 1.5 of 6; Greenwood: 4.5^2 / (4 * 3) + 1.5^2 / (2 * 1)
    variance = 4.5**2 / 12 + 1.5**2 / 2
    assert found.error == pytest.approx(math.sqrt(variance * 4 / 3))
    half = stats.t.ppf(0.975, 3) * found.error
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_censored_runs_are_neither_left_out_nor_taken_for_arrivals():
    times, reached = [10, 20, 30, 30], [True, True, False, False]
    found = restricted_mean(times, reached, 30)
    assert found.mean > np.mean([10, 20])
    early = restricted_mean([10, 15, 20, 40], [True, False, True, True], 40).mean
    assert np.mean([10, 15, 20, 40]) < early


def test_runs_of_which_little_is_known():
    assert math.isnan(restricted_mean([], [], 5).mean)
    one = restricted_mean([4.0], [True], 5)
    assert one.mean == 4 and math.isnan(one.low) and math.isnan(one.error)
    nobody = restricted_mean([5.0, 9.0], [False, False], 5)
    assert (nobody.mean, nobody.error, nobody.reached) == (5, 0, 0)


def test_the_restricted_mean_holds_the_truth_in_95_of_100_studies():
    generator = np.random.default_rng(0)
    grid = np.linspace(0, 120, 5001)
    truth = np.trapezoid(np.exp(-((grid / 100) ** 2)), grid)
    held = 0
    for _ in range(500):
        arrival, cut = generator.weibull(2, 12) * 100, generator.uniform(80, 300, 12)
        found = restricted_mean(np.minimum(arrival, cut), arrival <= cut, 120)
        held += found.low <= truth <= found.high
    assert held / 500 == pytest.approx(0.95, abs=0.03)


def test_pseudo_values_are_the_times_where_all_is_known():
    times, reached = np.array([3.0, 5.0, 9.0, 12.0]), np.array([True, True, True, False])
    assert pseudo_values(times, reached, 9.0) == pytest.approx([3, 5, 9, 9])
    assert pseudo_values(times[:1], reached[:1], 9.0) == pytest.approx([3])


def test_a_censored_run_is_worth_more_than_its_time():
    times, reached = np.array([2.0, 4.0, 6.0, 10.0]), np.array([True, False, True, False])
    found = pseudo_values(times, reached, 10.0)
    assert found[1] > 4
    # each by its definition, the area without a run by hand: without the second, S is 2/3, then 1/3
    assert found[1] == pytest.approx(4 * 6.5 - 3 * (2 + 2 / 3 * 4 + 1 / 3 * 4))


def test_the_horizon_is_as_far_as_all_curves_are_known():
    def group(times, reached):
        return np.array(times, dtype=float), np.array(reached, dtype=bool)

    ended, open_ended = group([10, 30], [1, 1]), group([5, 80], [1, 0])
    assert common_horizon([ended, open_ended]) == 80  # all of the first were there by 30
    assert common_horizon([open_ended, group([50, 60], [0, 0])]) == 60
    assert common_horizon([ended, group([20, 45], [1, 1])]) == 45
    assert common_horizon([group([30, 30], [1, 0]), open_ended]) == 30


TIMES = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35,
         1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]  # fmt: skip
REACHED = [True] * 9 + [False] * 12 + [True] * 21
ARMS = ["6-MP"] * 21 + ["placebo"] * 21


def test_the_log_rank_test_of_freireichs_trial_as_published():
    # Freireich et al., 1963; chi square 16.8 in textbooks (R: survdiff)
    statistic, p = log_rank(TIMES, REACHED, ARMS)
    assert statistic == pytest.approx(16.79, abs=0.01)
    assert p == pytest.approx(4.17e-5, rel=0.01)


def test_the_restricted_means_of_freireichs_trial_by_the_areas_of_their_steps():
    # placebo has no censored time: a plain mean; the other's curve as published
    assert restricted_mean(TIMES[21:], REACHED[21:], 35).mean == pytest.approx(np.mean(TIMES[21:]))
    survival = {0: 1, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    ends = [*list(survival)[1:], 35]
    area = sum(s * (e - t) for (t, s), e in zip(survival.items(), ends, strict=True))
    assert restricted_mean(TIMES[:21], REACHED[:21], 35).mean == pytest.approx(area, abs=0.02)


def test_without_ties_the_log_rank_test_is_the_score_test_of_coxs_model():
    generator = np.random.default_rng(3)
    times, reached = generator.permutation(30) + 1.0, generator.random(30) < 0.7
    group = np.arange(30) % 2
    for strata in (None, np.arange(30) // 15):
        model = PHReg(times, group[:, None].astype(float), reached.astype(int), strata=strata)
        zero = np.zeros(1)
        expected = float(model.score(zero)[0] ** 2 / -model.hessian(zero)[0, 0])
        assert log_rank(times, reached, group, strata)[0] == pytest.approx(expected)


def test_strata_compare_only_within():
    # between strata all is different, within nothing is
    times = [1, 2, 1, 2, 101, 102, 101, 102]
    groups = list("aabbaabb")
    assert log_rank(times, [True] * 8, groups, list("ssssrrrr")) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize(
    ("times", "reached", "groups"),
    [
        ([], [], []),
        ([1, 2, 3], [True] * 3, list("aaa")),
        ([1, 2, 3, 4], [False] * 4, list("aabb")),
        ([5, 5, 5, 5], [True] * 4, list("aabb")),
    ],
)
def test_where_no_time_tells_groups_apart_there_is_no_log_rank_test(times, reached, groups):
    assert all(math.isnan(value) for value in log_rank(times, reached, groups))


def ramp(length: int, top: float, start: float = 0.5, scorings: int = 14) -> list[float]:
    """From start to top in so many scorings, and flat from there."""
    return np.interp(np.arange(scorings), [0, length], [start, top]).tolist()


def study(lengths: dict[str, list[int]], top: float = 0.8, **changes: object) -> pd.DataFrame:
    runs = [
        curve(ramp(length, top), init, seed, **changes)
        for init, seeds in lengths.items()
        for seed, length in enumerate(seeds)
    ]
    return pd.concat(runs, ignore_index=True)


LENGTHS = {"random": [8, 10, 9, 11], "src": [4, 5, 5, 6]}


def test_each_run_has_a_row_for_each_threshold():
    found = convergence_table(study(LENGTHS), "random", absolute=0.78)
    CONVERGENCE.check(found)
    assert len(found) == 16
    share = found[found["threshold_kind"] == "share"]
    assert share["threshold"].tolist() == pytest.approx([0.95 * 0.8] * 8)
    assert found.loc[found["threshold_kind"] == "absolute", "threshold"].unique() == [0.78]
    # 0.5 + 0.3 k / 8 >= 0.76 from k = 7; there neighbours average to the middle
    assert share["step"].tolist()[0] == 70
    assert found["reached"].all()
    assert convergence_table(study(LENGTHS), "random")["threshold_kind"].unique() == ["share"]


def test_the_threshold_is_of_the_best_reference_run_of_the_cell_and_of_no_other():
    curves = pd.concat(
        [
            curve(ramp(5, 0.7)), curve(ramp(5, 0.8), seed=1), curve(ramp(5, 0.99), "src"),
            curve(ramp(5, 0.6), model="m2"), curve(ramp(5, 0.9), "src", model="m3"),
        ],
        ignore_index=True,
    )  # fmt: skip
    found = convergence_table(curves, "random", 0.9)
    thresholds = found.groupby("model")["threshold"].unique()
    assert thresholds["m"] == pytest.approx([0.72])
    assert thresholds["m2"] == pytest.approx([0.54])
    assert "m3" not in thresholds  # no reference, no share of it
    first = found[(found["model"] == "m") & (found["init"] == "random")]
    assert first["reached"].tolist() == [False, True]
    assert first["step"].tolist()[0] == 130


def test_the_best_value_is_of_the_smoothed_metric():
    spiky = [0.5, 0.5, 0.95, 0.5, 0.5]
    found = convergence_table(curve(spiky), "random", 1.0)
    assert found["threshold"].tolist() == pytest.approx([1.95 / 3])
    assert found["reached"].all()


def test_a_share_of_a_negative_best_is_below_it():
    found = convergence_table(curve([-0.2] * 5, metric="quadratic_kappa"), "random")
    assert found["threshold"].tolist() == pytest.approx([-0.21])


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01, math.nan])
def test_a_share_outside_of_0_and_1_is_an_error(share):
    with pytest.raises(ValueError, match="threshold_share"):
        convergence_table(study(LENGTHS), "random", share)


def compared(curves: pd.DataFrame, **options: object) -> pd.DataFrame:
    found = compare_convergence(convergence_table(curves, "random", **options), "random")
    CONVERGENCE_TESTS.check(found)
    return found


def test_seeds_that_all_arrive_are_compared_by_the_paired_t_of_their_steps():
    table = convergence_table(study(LENGTHS), "random")
    row = compared(study(LENGTHS)).iloc[0]
    steps = table.groupby("init")["step"].apply(np.array)
    expected = paired_t(steps["src"] - steps["random"])
    assert row["difference"] == pytest.approx(expected.mean)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    own = paired_t(steps["src"])
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((own.mean, own.low, own.high))
    assert row["reference_mean"] == pytest.approx(steps["random"].mean())
    assert row["p_log_rank"] == log_rank(table["step"], table["reached"], table["init"])[1]
    assert row[["runs", "reached", "reference_runs", "reference_reached", "pairs"]].tolist() == [4] * 5
    assert row["horizon"] == steps["random"].max()
    assert row[["init", "reference"]].tolist() == ["src", "random"]


def test_a_start_that_never_arrives_is_behind_by_what_is_known():
    curves = pd.concat([study(LENGTHS), study({"bad": [5] * 4}, top=0.6)], ignore_index=True)
    found = compared(curves)
    row = found[found["init"] == "bad"].iloc[0]
    assert (row["reached"], row["runs"], row["horizon"]) == (0, 4, 130)
    assert row["mean"] == 130
    assert row["difference"] == pytest.approx(130 - row["reference_mean"])
    assert row["p_log_rank"] < 0.05
    assert len(found) == 2


def test_where_nobody_arrives_nothing_is_claimed():
    row = compared(study(LENGTHS), absolute=0.99).iloc[1]
    assert row["threshold_kind"] == "absolute"
    assert math.isnan(row["p_log_rank"])
    assert math.isnan(row["difference"]) and math.isnan(row["difference_low"])
    assert row["reached"] == row["reference_reached"] == 0


def test_folds_are_compared_by_nadeau_bengio_over_means_of_their_seeds():
    curves = pd.concat(
        [
            curve(ramp(length + fold + seed, 0.8), init, seed, split=f"cv3-{fold}")
            for init, length in (("random", 8), ("src", 4))
            for fold in range(3)
            for seed in range(2)
        ],
        ignore_index=True,
    )
    curves.loc[(curves["init"] == "src") & (curves["split"] == "cv3-1"), "step"] += 3
    table = convergence_table(curves, "random")
    row = compared(curves).iloc[0]
    wide = table.pivot_table(index="split", columns="init", values="step", aggfunc="mean")
    expected = nadeau_bengio(wide["src"] - wide["random"], 1 / 2)
    assert (row["difference"], row["difference_low"], row["difference_high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert row["pairs"] == 3
    strata = log_rank(table["step"], table["reached"], table["init"], table["split"])
    assert row["p_log_rank"] == strata[1]


def test_runs_are_paired_by_split_and_seed_whatever_their_order():
    curves = study(LENGTHS)
    table = convergence_table(curves, "random")
    shuffled = table.sample(frac=1, random_state=3)
    expected = compare_convergence(table, "random").iloc[0]
    found = compare_convergence(shuffled, "random").iloc[0]
    assert found["difference_low"] == pytest.approx(expected["difference_low"])
    alone = table[~((table["init"] == "src") & (table["seed"] == 2))]
    row = compare_convergence(alone, "random").iloc[0]
    assert (row["pairs"], row["runs"], row["reference_runs"]) == (3, 3, 4)


def test_tables_of_nothing_keep_their_columns():
    empty = convergence_table(study(LENGTHS).iloc[:0], "random")
    CONVERGENCE.check(empty)
    CONVERGENCE_TESTS.check(compare_convergence(empty, "random"))
    lonely = compared(study({"random": [5, 6]}))
    assert lonely.empty


def test_one_seed_has_a_difference_without_interval():
    row = compared(study({"random": [8], "src": [4]})).iloc[0]
    assert row["difference"] < 0
    assert math.isnan(row["difference_low"])
    assert row["pairs"] == 1
