"""Paired gains of toy metrics, computed by hand, and the families of their corrections."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_metrics import (
    FOLD_DIFFERENCES,
    FOLD_RATIO,
    FOLDS,
    benjamini_hochberg_by_hand,
    family,
    fold_rows,
    holm_by_hand,
    rows_of,
    study,
)

from medtransfer.config.study import StudySettings
from medtransfer.statistics.comparison import GAINS, SUMMARY, compare, compared, contrasts, summarise


def gain(metrics: list[dict], settings: StudySettings | None = None, **where: object) -> pd.Series:
    """The only row of the gains with these values."""
    gains = compare(pd.DataFrame(metrics), settings or study())
    GAINS.check(gains)
    for name, value in where.items():
        gains = gains[gains[name] == value]
    assert len(gains) == 1
    return gains.iloc[0]


def test_seeds_of_one_split_are_paired_by_a_t_test():
    metrics = rows_of("random", [0.70, 0.72, 0.71]) + rows_of("src", [0.75, 0.78, 0.74])
    found = gain(metrics)
    expected = stats.ttest_1samp([0.05, 0.06, 0.03], 0.0)
    interval = expected.confidence_interval(0.95)
    assert found["mean"] == pytest.approx(0.14 / 3)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert found["p_sign_flip"] == 2 / 8
    assert found["p_adjusted"] == pytest.approx(expected.pvalue)
    assert found["pairs"] == 3
    assert found[["init", "reference", "paired_by"]].tolist() == ["src", "random", "seed"]


def test_the_confidence_of_the_study_decides_the_interval():
    metrics = rows_of("random", [0.70, 0.72, 0.71]) + rows_of("src", [0.75, 0.78, 0.74])
    found = gain(metrics, study(confidence=0.8))
    interval = stats.ttest_1samp([0.05, 0.06, 0.03], 0.0).confidence_interval(0.8)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_pairs_are_found_by_split_and_seed_whatever_the_order_of_the_rows():
    values = {"random": [0.5, 0.9, 0.7, 0.6], "src": [0.52, 0.93, 0.72, 0.64]}
    metrics = [row for init, series in values.items() for row in rows_of(init, series)]
    expected = stats.ttest_1samp([0.02, 0.03, 0.02, 0.04], 0.0).pvalue
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(metrics))
        found = gain([metrics[i] for i in order], init="src", reference="random")
        assert found["p"] == pytest.approx(expected)


def test_runs_of_two_splits_are_paired_within_their_split():
    random = {("holdout", 0): 0.5, ("holdout", 1): 0.6, ("published", 0): 0.8}
    source = {("published", 0): 0.9, ("holdout", 1): 0.61, ("holdout", 0): 0.51}
    found = gain(rows_of("random", random) + rows_of("src", source))
    assert found["mean"] == pytest.approx((0.01 + 0.01 + 0.1) / 3)
    assert found["pairs"] == 3


def test_runs_without_a_partner_are_left_out():
    metrics = rows_of("random", [0.70, 0.72, 0.1, 0.1]) + rows_of(
        "src", {("holdout", 1): 0.77, ("holdout", 0): 0.72, ("holdout", 8): 0.99}
    )
    found = gain(metrics)
    assert found["pairs"] == 2
    assert found["mean"] == pytest.approx((0.02 + 0.05) / 2)


def test_inits_that_share_no_run_have_a_gain_without_pairs():
    metrics = rows_of("random", {("holdout", 0): 0.7}) + rows_of("src", {("holdout", 1): 0.8})
    found = gain(metrics)
    assert found["pairs"] == 0
    assert math.isnan(found["mean"])
    assert math.isnan(found["p"])


@pytest.mark.parametrize(("prefix", "first"), [("cv5-", 0), ("published-", 1)])
def test_folds_are_averaged_over_their_seeds_and_tested_by_nadeau_bengio(prefix, first):
    error = math.sqrt(np.var(FOLD_DIFFERENCES, ddof=1) * (1 / 5 + FOLD_RATIO))
    half = stats.t.ppf(0.975, 4) * error
    mean = np.mean(FOLD_DIFFERENCES)
    found = gain(fold_rows(prefix, first))
    assert found["paired_by"] == "fold"
    assert found["pairs"] == 5
    assert found["mean"] == pytest.approx(mean)
    assert found["sd"] == pytest.approx(np.std(FOLD_DIFFERENCES, ddof=1))
    assert found["p"] == pytest.approx(2 * stats.t.sf(mean / error, 4))
    assert (found["low"], found["high"]) == pytest.approx((mean - half, mean + half))
    assert found["p_sign_flip"] == 2 / 32


@pytest.mark.parametrize("split", ["cv5-3", "published-2"])
def test_seeds_of_a_single_fold_are_paired_by_seed(split):
    random = {(split, seed): value for seed, value in enumerate([0.70, 0.72, 0.71])}
    source = {(split, seed): value for seed, value in enumerate([0.75, 0.78, 0.74])}
    found = gain(rows_of("random", random) + rows_of("src", source))
    assert found[["pairs", "paired_by"]].tolist() == [3, "seed"]
    assert found["p"] == pytest.approx(stats.ttest_1samp([0.05, 0.06, 0.03], 0.0).pvalue)


def test_of_folds_only_those_that_both_inits_have_are_compared():
    metrics = [row for row in fold_rows() if (row["init"], row["split"]) != ("src", "cv5-4")]
    found = gain([row for row in metrics if (row["init"], row["split"]) != ("random", "cv5-0")])
    kept = FOLD_DIFFERENCES[1:4]
    error = math.sqrt(np.var(kept, ddof=1) * (1 / 3 + 0.25))
    assert found["pairs"] == 3
    assert found["mean"] == pytest.approx(np.mean(kept))
    assert found["p"] == pytest.approx(2 * stats.t.sf(np.mean(kept) / error, 2))


def test_identical_runs_differ_by_nothing_and_have_a_p_of_1():
    found = gain(rows_of("random", [0.7, 0.8, 0.9]) + rows_of("src", [0.7, 0.8, 0.9]))
    assert found[["mean", "low", "high", "p", "p_adjusted"]].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_one_pair_has_a_difference_and_neither_interval_nor_p():
    found = gain(rows_of("random", [0.7]) + rows_of("src", [0.8]))
    assert found["mean"] == pytest.approx(0.1)
    assert found["pairs"] == 1
    assert all(math.isnan(found[name]) for name in ("sd", "low", "high", "p", "p_adjusted"))


def test_each_part_metric_subset_model_dataset_and_recipe_is_a_cell_of_its_own():
    metrics = []
    changes = [{}, {"part": "external"}, {"metric": "auprc"}, {"subset": "n500"}, {"model": "m2"},
               {"dataset": "d2"}, {"recipe": "r2"}]  # fmt: skip
    for place, change in enumerate(changes):
        metrics += rows_of("random", [0.5, 0.5], **change)
        metrics += rows_of("src", [0.51 + place / 100, 0.53 + place / 100], **change)
    gains = compare(pd.DataFrame(metrics), study())
    assert gains["mean"].tolist() == pytest.approx([0.02 + place / 100 for place in range(7)])
    for place, change in enumerate(changes):
        assert all(gains.iloc[place][name] == value for name, value in change.items())


def test_holms_families_are_each_data_sets_target_metric_on_the_test_part():
    generator = np.random.default_rng(0)
    metrics = []
    for dataset, models in (("d1", "abc"), ("d2", "a")):
        for model in models:
            for change in ({}, {"part": "validation"}, {"metric": "auprc", "target": False}):
                for init, gained in (("random", 0.0), ("src", 0.05), ("src-stats", 0.02)):
                    values = (0.7 + gained + generator.normal(0, 0.03, 4)).tolist()
                    metrics += rows_of(init, values, dataset=dataset, model=model, **change)
    gains = compare(pd.DataFrame(metrics), study())
    headlines = gains["target"] & (gains["part"] == "test")
    assert gains[~headlines]["p_adjusted"].isna().all()
    for dataset, size in (("d1", 9), ("d2", 3)):
        family = gains[headlines & (gains["dataset"] == dataset)]
        assert len(family) == size
        assert family["p_adjusted"].tolist() == pytest.approx(holm_by_hand(family["p"].tolist()))
        assert (family["p_adjusted"] > family["p"]).any()


def test_what_is_concluded_of_one_data_set_does_not_depend_on_another():
    values = [0.73, 0.77, 0.72]
    alone = rows_of("random", [0.7] * 3) + rows_of("src", values)
    other = rows_of("random", [0.7] * 3, dataset="e") + rows_of("src", values[::-1], dataset="e")
    assert gain(alone + other, dataset="d")["p_adjusted"] == pytest.approx(gain(alone)["p_adjusted"])


def test_comparisons_without_a_p_are_no_members_of_the_family():
    metrics = []
    for model, count in (("a", 3), ("b", 1), ("c", 3)):
        metrics += rows_of("random", [0.5, 0.52, 0.51][:count], model=model)
        metrics += rows_of("src", [0.53, 0.57, 0.52][:count], model=model)
    gains = compare(pd.DataFrame(metrics), study()).set_index("model")
    p = stats.ttest_1samp([0.03, 0.05, 0.01], 0.0).pvalue
    assert gains["p_adjusted"][["a", "c"]].tolist() == pytest.approx([2 * p, 2 * p])
    assert math.isnan(gains["p_adjusted"]["b"])


def test_everything_is_compared_with_the_reference_and_a_source_with_its_statistics():
    inits = ["random", "b", "b-stats", "c", "d-stats"]
    assert list(contrasts(inits, "random")) == [
        ("b", "random"), ("b-stats", "random"), ("c", "random"), ("d-stats", "random"),
        ("b", "b-stats"),
    ]  # fmt: skip


def test_no_contrast_is_listed_twice_when_the_statistics_are_the_reference():
    assert list(contrasts(["src", "src-stats", "random"], "src-stats")) == [
        ("src", "src-stats"), ("random", "src-stats")
    ]  # fmt: skip


def test_a_partial_transfer_is_compared_with_the_same_start_without_transfer():
    inits = ["random", "src-stats", "src-upto2-stats", "src", "src-upto2-random", "src-upto1-slim"]
    assert list(contrasts(inits, "random")) == [
        ("src-stats", "random"), ("src", "random"),
        ("src-upto2-random", "random"), ("src-upto1-slim", "random"),
        ("src-upto2-stats", "src-stats"), ("src", "src-stats"),
    ]  # fmt: skip


def test_a_partial_transfer_without_its_baseline_is_compared_with_the_reference():
    assert list(contrasts(["random", "src-upto2-stats"], "random")) == [("src-upto2-stats", "random")]


def test_every_sampler_has_its_own_baseline():
    inits = ["random", "src-stats", "src-stats_permutation", "src-upto1-stats_permutation"]
    assert ("src-upto1-stats_permutation", "src-stats_permutation") in list(contrasts(inits, "random"))


def test_partial_transfers_are_a_holm_family_of_their_own():
    metrics = rows_of("random", [0.5, 0.5, 0.5]) + rows_of("src-stats", [0.52, 0.51, 0.53])
    metrics += rows_of("src", [0.6, 0.62, 0.61])
    alone = compare(pd.DataFrame(metrics), study())
    metrics += rows_of("src-upto1-stats", [0.57, 0.55, 0.58])
    metrics += rows_of("src-upto2-stats", [0.54, 0.56, 0.57])
    gains = compare(pd.DataFrame(metrics), study())
    partial = gains["init"].str.contains("upto")
    assert gains[~partial].reset_index(drop=True).equals(alone)
    family = gains[partial]
    assert len(family) == 2
    assert family["p_adjusted"].tolist() == pytest.approx(holm_by_hand(family["p"].tolist()))


def test_without_the_reference_only_sources_and_their_statistics_are_compared():
    assert list(contrasts(["src", "src-stats", "other"], "random")) == [("src", "src-stats")]
    assert list(contrasts(["random"], "random")) == []


def test_the_difference_of_a_source_to_its_statistics_is_paired_too():
    metrics = rows_of("random", [0.5, 0.5]) + rows_of("src", [0.8, 0.9])
    metrics += rows_of("src-stats", [0.6, 0.65])
    found = gain(metrics, init="src", reference="src-stats")
    assert found["mean"] == pytest.approx((0.2 + 0.25) / 2)


def test_a_study_with_one_init_has_an_empty_table_of_gains_that_can_be_written():
    gains = compare(pd.DataFrame(rows_of("random", [0.5, 0.6])), study())
    assert len(gains) == 0
    GAINS.check(gains)


def test_a_cell_is_summarised_by_mean_spread_and_t_interval():
    values = [0.70, 0.74, 0.71, 0.77]
    table = summarise(pd.DataFrame(rows_of("src", values)), 0.9)
    SUMMARY.check(table)
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    row = table.iloc[0]
    assert len(table) == 1
    assert row["mean"] == pytest.approx(0.73)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row[["runs", "training_images", "images"]].tolist() == [4, 400, 100]


def test_a_cell_of_folds_is_summarised_over_folds_with_their_correlation():
    table = summarise(pd.DataFrame(fold_rows()), 0.95).set_index("init")
    means = [np.mean(seeds) for seeds in FOLDS["src"]]
    half = stats.t.ppf(0.975, 4) * math.sqrt(np.var(means, ddof=1) * (1 / 5 + FOLD_RATIO))
    row = table.loc["src"]
    assert row["mean"] == pytest.approx(np.mean(means))
    assert (row["low"], row["high"]) == pytest.approx((np.mean(means) - half, np.mean(means) + half))
    assert row["runs"] == 10
    assert row["images"] == round(20.8)
    assert row["training_images"] == round(79.2)


def test_a_single_run_has_a_mean_and_no_interval():
    row = summarise(pd.DataFrame(rows_of("src", [0.7])), 0.95).iloc[0]
    assert row["mean"] == 0.7
    assert row["runs"] == 1
    assert all(math.isnan(row[name]) for name in ("sd", "low", "high"))


def test_a_run_without_a_value_is_not_counted_among_the_runs_of_the_mean():
    row = summarise(pd.DataFrame(rows_of("src", [0.7, math.nan, 0.8])), 0.95).iloc[0]
    assert row["mean"] == pytest.approx(0.75)
    assert row["runs"] == 2


def noisy(
    *inits: tuple[str, float], datasets: tuple[str, ...] = ("d",), models: tuple[str, ...] = ("m",)
) -> pd.DataFrame:
    """Four seeds of each init, data set and network, with these gains over .7."""
    generator = np.random.default_rng(0)
    rows = []
    for dataset, model, (init, gained) in itertools.product(datasets, models, inits):
        values = (0.7 + gained + generator.normal(0, 0.03, 4)).tolist()
        rows += rows_of(init, values, dataset=dataset, model=model)
    return pd.DataFrame(rows)


FOUR = (("random", 0.0), ("src", 0.05), ("src-stats", 0.02), ("other", 0.03))


def test_declared_families_are_corrected_apart_and_the_rest_is_only_looked_at():
    families = (
        family("sources", ("src", "random"), ("other", "random")),
        family("against", ("src", "other")),
    )
    gains = compare(noisy(*FOUR), study(statistics={"families": families}))
    GAINS.check(gains)
    named = {(row["init"], row["reference"]): row["family"] for _, row in gains.iterrows()}
    assert named == {
        ("src", "random"): "sources", ("src-stats", "random"): "", ("other", "random"): "sources",
        ("src", "src-stats"): "", ("src", "other"): "against",
    }  # fmt: skip
    pair = gains[gains["family"] == "sources"]
    assert pair["p_adjusted"].tolist() == pytest.approx(holm_by_hand(pair["p"].tolist()))
    alone = gains[gains["family"] == "against"].iloc[0]
    assert alone["p_adjusted"] == alone["p"]
    assert gains[gains["family"] == ""]["p_adjusted"].isna().all()
    assert gains["p"].notna().all()


def test_all_stands_for_each_other_init_of_the_cell():
    families = (family("starts", ("all", "src-stats")),)
    gains = compare(noisy(*FOUR), study(statistics={"families": families}))
    held = gains[gains["family"] == "starts"]
    assert sorted(held["init"]) == ["other", "random", "src"]
    assert set(held["reference"]) == {"src-stats"}
    assert held["p_adjusted"].tolist() == pytest.approx(holm_by_hand(held["p"].tolist()))


def test_a_comparison_is_of_the_first_family_that_declares_it():
    families = (family("one", ("src", "random")), family("every", ("all", "random")))
    gains = compare(noisy(*FOUR), study(statistics={"families": families})).set_index("init")
    assert gains["family"]["src"].tolist() == ["one", ""]  # the second is against its statistics
    assert gains["family"][["src-stats", "other"]].tolist() == ["every", "every"]


@pytest.mark.parametrize(
    ("separate", "keys"),
    [
        ((), []),
        (("dataset",), ["dataset"]),
        (("model",), ["model"]),
        (("dataset", "model"), ["dataset", "model"]),
    ],
)
def test_a_family_is_separated_by_what_it_says(separate, keys):
    families = (family("starts", ("all", "random"), separate=separate),)
    metrics = noisy(*FOUR[:3], datasets=("d1", "d2"), models=("a", "b", "c"))
    gains = compare(metrics, study(statistics={"families": families}))
    held = gains[gains["family"] == "starts"]
    assert len(held) == 12
    groups = [group for _, group in held.groupby(keys)] if keys else [held]
    assert len(groups) == {0: 1, 1: 2 if keys == ["dataset"] else 3, 2: 6}[len(keys)]
    for group in groups:
        assert group["p_adjusted"].tolist() == pytest.approx(holm_by_hand(group["p"].tolist()))


def test_the_correction_of_the_study_is_applied():
    metrics = noisy(*FOUR[:3], models=("a", "b", "c"))
    holm = compare(metrics, study())
    found = compare(metrics, study(statistics={"correction": "benjamini_hochberg"}))
    expected = benjamini_hochberg_by_hand(found["p"].tolist())
    assert len(expected) == 9
    assert found["p_adjusted"].tolist() == pytest.approx(expected)
    assert (found["p_adjusted"] < holm["p_adjusted"]).any()


def test_declared_comparisons_of_which_a_cell_has_one_init_are_left_out():
    settings = study(
        statistics={"families": (family("f", ("src", "other"), ("src", "absent"), ("all", "absent")),)}
    )
    assert compared(["random", "src", "other"], settings) == [
        ("src", "random"), ("other", "random"), ("src", "other")
    ]  # fmt: skip


def test_families_hold_target_metrics_on_the_test_part_only():
    metrics = noisy(*FOUR[:2]).to_dict("records")
    extra = [row | {"part": "external"} for row in metrics]
    extra += [row | {"metric": "auprc", "target": False} for row in metrics]
    gains = compare(
        pd.DataFrame(metrics + extra),
        study(statistics={"families": (family("f", ("src", "random"), separate=()),)}),
    )
    assert gains["family"].tolist() == ["f", "", ""]
    assert gains["p_adjusted"][0] == gains["p"][0]
