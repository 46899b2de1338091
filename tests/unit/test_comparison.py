"""Paired gains of toy metrics, computed by hand, and what is said of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.statistics.comparison import GAINS, SUMMARY, compare, contrasts, summarise
from medtransfer.statistics.findings import headline, verdict, write_findings

INITS = ("random", "src", "src-stats")


def study(reference: str = "random", **settings: object) -> StudySettings:
    grid = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=INITS)
    return StudySettings(title="A toy.", grids=(grid,), reference=reference, **settings)


def rows_of(init: str, values: dict[tuple[str, int], float] | list[float], **changes: object):
    """Rows of schema METRICS, one a run; a list is of seeds 0, 1, ... on the holdout split."""
    if isinstance(values, list):
        values = {("holdout", seed): value for seed, value in enumerate(values)}
    constant = {
        "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "part": "test",
        "metric": "auroc", "target": True, "images": 100, "patients": 50, "training_images": 400,
    }  # fmt: skip
    return [
        constant | {"init": init, "split": split, "seed": seed, "value": value} | changes
        for (split, seed), value in values.items()
    ]


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
    assert found["p_holm"] == pytest.approx(expected.pvalue)
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


FOLDS = {
    "random": [(0.60, 0.62), (0.70, 0.72), (0.65, 0.63), (0.55, 0.57), (0.61, 0.69)],
    "src": [(0.66, 0.64), (0.73, 0.75), (0.69, 0.69), (0.58, 0.62), (0.70, 0.72)],
}


def fold_rows() -> list[dict]:
    """Five folds with two seeds each; folds 0 to 3 test on 20 images, the last on 24."""
    return [
        row
        for init, folds in FOLDS.items()
        for fold, seeds in enumerate(folds)
        for row in rows_of(
            init,
            {(f"cv5-{fold}", seed): value for seed, value in enumerate(seeds)},
            images=20 if fold < 4 else 24,
            training_images=80 if fold < 4 else 76,
        )
    ]


def test_folds_are_averaged_over_their_seeds_and_tested_by_nadeau_bengio():
    differences = [
        np.mean(source) - np.mean(random)
        for random, source in zip(FOLDS["random"], FOLDS["src"], strict=True)
    ]
    ratio = (4 * 20 + 24) / (4 * 80 + 76)
    error = math.sqrt(np.var(differences, ddof=1) * (1 / 5 + ratio))
    half = stats.t.ppf(0.975, 4) * error
    found = gain(fold_rows())
    assert found["paired_by"] == "fold"
    assert found["pairs"] == 5
    assert found["mean"] == pytest.approx(np.mean(differences))
    assert found["p"] == pytest.approx(2 * stats.t.sf(np.mean(differences) / error, 4))
    assert (found["low"], found["high"]) == pytest.approx(
        (np.mean(differences) - half, np.mean(differences) + half)
    )
    assert found["p_sign_flip"] == 2 / 32


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


def holm_by_hand(p_values: list[float]) -> list[float]:
    order = np.argsort(p_values)
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, running)
    return adjusted


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
    assert gains[~headlines]["p_holm"].isna().all()
    for dataset, size in (("d1", 9), ("d2", 3)):
        family = gains[headlines & (gains["dataset"] == dataset)]
        assert len(family) == size
        assert family["p_holm"].tolist() == pytest.approx(holm_by_hand(family["p"].tolist()))
        assert (family["p_holm"] > family["p"]).any()


def test_what_is_concluded_of_one_data_set_does_not_depend_on_another():
    values = [0.73, 0.77, 0.72]
    alone = rows_of("random", [0.7] * 3) + rows_of("src", values)
    other = rows_of("random", [0.7] * 3, dataset="e") + rows_of("src", values[::-1], dataset="e")
    assert gain(alone + other, dataset="d")["p_holm"] == pytest.approx(gain(alone)["p_holm"])


def test_comparisons_without_a_p_are_no_members_of_the_family():
    metrics = []
    for model, count in (("a", 3), ("b", 1), ("c", 3)):
        metrics += rows_of("random", [0.5, 0.52, 0.51][:count], model=model)
        metrics += rows_of("src", [0.53, 0.57, 0.52][:count], model=model)
    gains = compare(pd.DataFrame(metrics), study()).set_index("model")
    p = stats.ttest_1samp([0.03, 0.05, 0.01], 0.0).pvalue
    assert gains["p_holm"][["a", "c"]].tolist() == pytest.approx([2 * p, 2 * p])
    assert math.isnan(gains["p_holm"]["b"])


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
    assert family["p_holm"].tolist() == pytest.approx(holm_by_hand(family["p"].tolist()))


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
    ratio = (4 * 20 + 24) / (4 * 80 + 76)
    half = stats.t.ppf(0.975, 4) * math.sqrt(np.var(means, ddof=1) * (1 / 5 + ratio))
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


@pytest.mark.parametrize(
    ("mean", "p", "word"),
    [
        (0.1, 0.04, "helps"),
        (-0.1, 0.04, "harms"),
        (0.1, 0.06, "can't tell"),
        (-0.1, 0.5, "can't tell"),
        (0.1, math.nan, "can't tell"),
    ],
)
def test_the_verdict_follows_the_corrected_p_and_the_sign(mean, p, word):
    row = pd.Series({"mean": mean, "p": 0.001, "p_holm": p})
    assert verdict(row, 0.95) == word


def test_the_verdict_follows_the_confidence_of_the_study():
    row = pd.Series({"mean": 0.1, "p_holm": 0.06})
    assert verdict(row, 0.9) == "helps"
    assert verdict(row, 0.99) == "can't tell"


def many_cells(count: int = 3) -> list[dict]:
    """Model a gains much, model b loses much, model c is noise; ``count`` seeds each."""
    noise = [0.001, -0.002, 0.0015, -0.001, 0.0005, 0.002, -0.0005][:count]
    metrics = []
    for model, gained, scale in (("a", 0.20, 1), ("b", -0.10, 1), ("c", 0.001, 10)):
        metrics += rows_of("random", [0.7] * count, model=model)
        metrics += rows_of("src", [0.7 + gained + scale * v for v in noise], model=model)
    return metrics


def test_the_findings_count_gains_losses_and_undecided_and_name_the_largest():
    text = write_findings(compare(pd.DataFrame(many_cells()), study()), study())
    assert text.startswith("A toy. Paired comparisons of the target metric on the test set: 3.")
    assert (
        "Gains: 1, losses: 1, not to be told from chance: 1 (Holm within each data set, 95%)." in text
    )
    decided, undecided = text[text.index("Decided:") :].split("The largest undecided:")
    assert decided.index("d, a, full: src against random +0.200 AUROC [") < decided.index("d, b,")
    assert "d, b, full: src against random -0.1" in decided
    assert (decided.count("helps"), decided.count("harms")) == (1, 1)
    assert "d, c, full: src against random" in undecided and "can't tell" in undecided


def test_the_findings_of_undecided_comparisons_have_no_decided_ones():
    metrics = rows_of("random", [0.7, 0.72, 0.71]) + rows_of("src", [0.75, 0.69, 0.73])
    text = write_findings(compare(pd.DataFrame(metrics), study()), study())
    assert "Gains: 0, losses: 0" in text
    assert "Decided:" not in text


def test_the_findings_say_how_far_a_sign_flip_test_of_few_pairs_can_go():
    text = write_findings(compare(pd.DataFrame(many_cells(3)), study()), study())
    assert "Each rests on 3 seeds" in text
    assert "With 3 pairs no sign-flip test can go below p = 0.25" in text
    assert "6 are needed to reach 0.05" in text


def test_the_findings_do_not_mention_the_sign_flip_limit_where_there_is_none():
    text = write_findings(compare(pd.DataFrame(many_cells(6)), study()), study())
    assert "Each rests on 6 seeds" in text
    assert "sign-flip" not in text


def test_the_findings_count_only_the_declared_family():
    metrics = many_cells() + rows_of("random", [0.1] * 3, part="validation")
    metrics += rows_of("src", [0.9, 0.91, 0.92], part="validation")
    metrics += rows_of("random", [0.1] * 3, metric="auprc", target=False)
    metrics += rows_of("src", [0.9, 0.91, 0.92], metric="auprc", target=False)
    gains = compare(pd.DataFrame(metrics), study())
    assert len(gains) == 5
    assert headline(gains)["model"].tolist() == ["a", "b", "c"]
    assert "test set: 3." in write_findings(gains, study())


def test_the_findings_of_folds_speak_of_folds():
    text = write_findings(compare(pd.DataFrame(fold_rows()), study()), study())
    assert "Each rests on 5 folds" in text
    assert "no sign-flip test can go below p = 0.0625" in text


def test_the_findings_of_one_init_say_that_there_is_nothing_to_compare():
    gains = compare(pd.DataFrame(rows_of("random", [0.5, 0.6])), study())
    assert "nothing to compare" in write_findings(gains, study())


def test_the_findings_do_not_claim_one_number_of_pairs_where_it_differs():
    metrics = rows_of("random", [0.7] * 5, model="a") + rows_of("random", [0.7] * 3, model="b")
    metrics += rows_of("src", [0.8, 0.81, 0.79, 0.8, 0.82], model="a")
    metrics += rows_of("src", [0.8, 0.81, 0.79], model="b")
    text = write_findings(compare(pd.DataFrame(metrics), study()), study())
    assert "Each rests on 3 seeds" not in text


def test_the_findings_count_partial_transfers_apart():
    metrics = rows_of("random", [0.5, 0.52, 0.51]) + rows_of("src-stats", [0.5, 0.51, 0.53])
    alone = write_findings(compare(pd.DataFrame(metrics), study()), study())
    metrics += rows_of("src-upto1-stats", [0.700, 0.711, 0.729])
    text = write_findings(compare(pd.DataFrame(metrics), study()), study())
    assert "test set: 1." in alone
    assert "test set: 1." in text
    assert "without them: 1. Gains: 1, losses: 0, not to be told from chance: 0" in text
    assert "src-upto1-stats against src-stats +0.200" in text
    assert "without them" not in alone


def test_findings_of_partial_transfers_alone_are_written():
    metrics = rows_of("random", [0.5, 0.52, 0.51]) + rows_of("src-upto1-random", [0.7, 0.71, 0.69])
    text = write_findings(compare(pd.DataFrame(metrics), study()), study())
    assert "without them: 1." in text
    assert "nothing to compare" not in text
