"""Verdicts: their order of precedence, what they rest on, and what would decide an open one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_metrics import (
    FOLD_DIFFERENCES,
    FOLD_RATIO,
    benjamini_hochberg_by_hand,
    family,
    fold_rows,
    holm_by_hand,
    pair_of,
    rows_of,
    study,
)

from medtransfer.config.study import StudySettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.statistics import verdict
from medtransfer.statistics.paired import nadeau_bengio, paired_t
from medtransfer.statistics.patients import PATIENT_INTERVALS
from medtransfer.statistics.verdict import VERDICTS, judge

LARGE = [0.050, 0.052, 0.049, 0.051]
SMALL = [0.0010, 0.0012, 0.0009, 0.0011]
TINY_AND_UNSURE = [0.001, -0.002, 0.0015, -0.001]
UNSURE = [0.1, -0.2, 0.15, -0.1]


@pytest.fixture
def planned() -> None:
    """Asked for by tests that look at what could have been found, and what is needed."""


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning takes most of the time."""
    if "planned" not in request.fixturenames:
        plans = dict.fromkeys(("detectable", "needed", "needed_low", "needed_high"), math.nan)
        monkeypatch.setattr(verdict, "_planning", lambda *_: plans)


def verdicts(
    metrics: list[dict], settings: StudySettings | None = None, patients: pd.DataFrame | None = None
) -> pd.DataFrame:
    table = judge(pd.DataFrame(metrics), settings or study(), patients)
    VERDICTS.check(table)
    assert list(table.columns) == list(VERDICTS.columns)
    return table


def only(*arguments: object) -> pd.Series:
    table = verdicts(*arguments)
    assert len(table) == 1
    return table.iloc[0]


def patients(error: float, **changes: object) -> pd.DataFrame:
    """What another sample of patients would change in src against random."""
    row = {
        "recipe": "r", "dataset": "d", "model": "m", "subset": "full", "part": "test",
        "metric": "auroc", "init": "src", "reference": "random", "mean": 0.0, "error": error,
        "low": 0.0, "high": 0.0, "runs": 4, "patients": 50, "images": 100, "sd": 0.0, "undefined": 0,
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    PATIENT_INTERVALS.check(table)
    return table


def p_of_tost(differences: list[float], margin: float, factor: float | None = None) -> float:
    """The larger of two one-sided p, by SciPy where the factor of the variance is 1 / n."""
    if factor is None:
        lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        return float(max(lower, upper))
    error = np.std(differences, ddof=1) * math.sqrt(factor)
    distance = margin - abs(np.mean(differences))
    return float(stats.t.sf(distance / error, len(differences) - 1))


@pytest.mark.parametrize(
    ("differences", "word", "within"),
    [
        (LARGE, "helps", False),
        ([-value for value in LARGE], "harms", False),
        (SMALL, "helps", True),
        ([-value for value in SMALL], "harms", True),
        (TINY_AND_UNSURE, "equivalent", True),
        (UNSURE, "can't tell", False),
        ([0.0, 0.0, 0.0, 0.0], "equivalent", True),
    ],
)
def test_a_difference_comes_before_equivalence_and_both_before_cant_tell(differences, word, within):
    found = only(pair_of(differences))
    assert found["verdict"] == word
    assert found["within_margin"] == within
    assert found["p_equivalent"] == pytest.approx(
        0.0 if differences == [0.0] * 4 else p_of_tost(differences, 0.01), abs=1e-9
    )


def test_a_large_p_is_never_equivalence():
    found = only(pair_of(UNSURE))
    assert found["p"] > 0.8
    assert found["p_equivalent"] > 0.4
    assert found["verdict"] == "can't tell"


def test_the_verdict_follows_the_corrected_p():
    """A p of .03 is below .05, and twice that, for a family of two, isn't."""
    differences = [0.05, 0.02, 0.035, 0.001, 0.05, 0.01, -0.01, 0.01]
    metrics = pair_of(differences)
    alone = only(metrics)
    assert 0.025 < alone["p"] < 0.05
    assert alone["verdict"] == "helps"
    table = verdicts(metrics + pair_of(differences, model="m2"))
    assert table["p_adjusted"].tolist() == pytest.approx([2 * alone["p"]] * 2)
    assert table["verdict"].tolist() == ["can't tell"] * 2


def test_equivalence_is_corrected_within_the_family_too():
    barely = [0.005, -0.007, 0.011, -0.005, 0.007, -0.009]
    alone = only(pair_of(barely))
    assert 0.01 < alone["p_equivalent"] < 0.05
    assert alone["verdict"] == "equivalent"
    metrics = [row for model in "abcde" for row in pair_of(barely, model=model)]
    table = verdicts(metrics + pair_of(TINY_AND_UNSURE, model="f"))
    expected = holm_by_hand(table["p_equivalent"].tolist())
    assert table["p_equivalent_adjusted"].tolist() == pytest.approx(expected)
    assert table["verdict"].tolist() == ["can't tell"] * 5 + ["equivalent"]


def test_benjamini_hochberg_decides_where_the_study_says_so():
    metrics = []
    for model, spread in zip("abcd", (0.015, 0.0155, 0.016, 0.0165), strict=True):
        noise = [spread * value for value in (1, -1, 0.5, -0.5, 0.2)]
        metrics += pair_of([0.02 + value for value in noise], model=model)
    holm = verdicts(metrics)
    found = verdicts(metrics, study(statistics={"correction": "benjamini_hochberg"}))
    assert found["p_adjusted"].tolist() == pytest.approx(
        benjamini_hochberg_by_hand(found["p"].tolist())
    )
    assert found["p_equivalent_adjusted"].tolist() == pytest.approx(
        benjamini_hochberg_by_hand(found["p_equivalent"].tolist())
    )
    assert (holm["verdict"] == "can't tell").all()
    assert (found["verdict"] == "helps").any()


def test_the_verdict_follows_the_confidence_of_the_study():
    differences = [0.05, 0.02, 0.035, 0.001, 0.05, 0.01, -0.01, 0.01]
    assert only(pair_of(differences), study(confidence=0.9))["verdict"] == "helps"
    assert only(pair_of(differences), study(confidence=0.99))["verdict"] == "can't tell"


def test_a_comparison_of_no_family_is_shown_and_not_judged():
    families = (family("f", ("src", "src-stats")),)
    metrics = pair_of(LARGE) + rows_of("src-stats", [0.7, 0.71, 0.69, 0.7])
    table = verdicts(metrics, study(statistics={"families": families}))
    table = table.set_index(["init", "reference"])
    assert table.loc[("src", "src-stats"), "verdict"] == "helps"
    looked_at = table.loc[("src", "random")]
    assert looked_at["verdict"] == "not declared"
    assert looked_at[["family", "other_patients"]].tolist() == ["", ""]
    assert looked_at["p"] < 0.001
    assert math.isnan(looked_at["p_adjusted"]) and math.isnan(looked_at["p_equivalent_adjusted"])


def above_chance(differences: list[float], base: float, level: float | None) -> str:
    metrics = pd.DataFrame(pair_of(differences, base))
    table = judge(metrics, study(), None, {} if level is None else {"d": level})
    VERDICTS.check(table)
    return table["above_chance"].item()


@pytest.mark.parametrize(
    ("base", "differences", "word"),
    [
        (0.5, TINY_AND_UNSURE, "neither"),
        (0.45, TINY_AND_UNSURE, "neither"),
        # above by less than the margin of .01, and by more
        (0.509, [0.0] * 4, "neither"),
        (0.511, [0.0] * 4, "both"),
        (0.5, LARGE, "one"),
        (0.6, [-value - 0.09 for value in SMALL], "one"),
        (0.7, LARGE, "both"),
        # no value is none at chance
        (0.5, [0.0, math.nan, 0.0, 0.0], ""),
        # the mean counts, not the single runs
        (0.5, UNSURE, "neither"),
    ],
)
def test_two_starts_that_learned_nothing_are_told_from_two_that_learned(base, differences, word):
    assert above_chance(differences, base, 0.5) == word
    assert above_chance(differences, base, None) == ""
    assert above_chance(differences, base - 0.5, 0.0) == word


@pytest.mark.usefixtures("planned")
def test_one_pair_decides_nothing():
    found = only(pair_of([0.1]), study(), patients(0.01))
    assert found["verdict"] == "can't tell"
    assert found["mean"] == pytest.approx(0.1)
    undefined = ("sd", "p", "p_equivalent", "standardised", "repeat_error", "low_both", "detectable",
                 "needed", "needed_low", "needed_high")  # fmt: skip
    assert all(math.isnan(found[name]) for name in undefined)
    assert found["other_patients"] == ""


@pytest.mark.usefixtures("planned")
def test_inits_without_a_shared_run_decide_nothing():
    found = only(rows_of("random", {("holdout", 0): 0.7}) + rows_of("src", {("holdout", 1): 0.8}))
    assert found["verdict"] == "can't tell"
    assert found["pairs"] == 0
    assert math.isnan(found["share_of_possible"])


def test_runs_that_one_init_lacks_are_left_out_of_everything():
    metrics = pair_of([*UNSURE, 0.9])
    kept = only([row for row in metrics if (row["init"], row["seed"]) != ("src", 4)])
    assert kept[["mean", "p", "p_equivalent"]].tolist() == pytest.approx(
        only(pair_of(UNSURE))[["mean", "p", "p_equivalent"]].tolist()
    )


def test_a_study_of_one_init_has_an_empty_table():
    assert verdicts(rows_of("random", [0.5, 0.6])).empty


def test_only_the_target_metric_on_the_test_part_is_judged():
    metrics = pair_of(LARGE) + pair_of(LARGE, part="external")
    metrics += pair_of(LARGE, metric="brier", target=False)
    assert len(verdicts(metrics)) == 1


def test_a_margin_of_the_study_comes_before_the_usual_one_and_must_be_there():
    differences = [0.02, -0.02, 0.015, -0.01, 0.01]
    assert only(pair_of(differences))["verdict"] == "can't tell"
    wide = only(pair_of(differences), study(statistics={"margins": {"auroc": 0.05}}))
    assert wide[["verdict", "margin"]].tolist() == ["equivalent", 0.05]
    assert wide["p_equivalent"] == pytest.approx(p_of_tost(differences, 0.05))
    kappa = pair_of(differences, metric="quadratic_kappa")
    assert only(kappa)["margin"] == 0.02
    with pytest.raises(ConfigError, match=r"'statistics.margins' has no margin of 'brier'; allowed"):
        judge(pd.DataFrame(pair_of(differences, metric="brier")), study())


def test_effect_sizes_are_those_of_the_paired_differences():
    random, source = [0.6, 0.7, 0.8], [0.7, 0.75, 0.86]
    found = only(rows_of("random", random) + rows_of("src", source))
    differences = np.subtract(source, random)
    assert found["standardised"] == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert found["share_of_possible"] == pytest.approx((0.77 - 0.7) / (1 - 0.7))
    assert found["repeat_error"] == pytest.approx(differences.std(ddof=1) / math.sqrt(3))
    full = only(rows_of("random", [1.0, 1.0]) + rows_of("src", [0.9, 1.0]))
    assert math.isnan(full["share_of_possible"])


@pytest.mark.parametrize(("prefix", "first"), [("cv5-", 0), ("published-", 1)])
def test_folds_are_judged_by_nadeau_bengio_also_for_equivalence(prefix, first):
    factor = 1 / 5 + FOLD_RATIO
    found = only(fold_rows(prefix, first), study(statistics={"margins": {"auroc": 0.1}}))
    expected = nadeau_bengio(FOLD_DIFFERENCES, FOLD_RATIO)
    assert found["p"] == pytest.approx(expected.p)
    assert found["p_equivalent"] == pytest.approx(p_of_tost(FOLD_DIFFERENCES, 0.1, factor))
    assert found["repeat_error"] == pytest.approx(np.std(FOLD_DIFFERENCES, ddof=1) * factor**0.5)
    assert found["p_equivalent"] > p_of_tost(FOLD_DIFFERENCES, 0.1)  # which takes folds for seeds


@pytest.mark.usefixtures("planned")
def test_seeds_of_one_fold_are_judged_by_seed():
    metrics = [row | {"split": "cv5-0"} for row in pair_of(LARGE)]
    found, seeds = only(metrics), only(pair_of(LARGE))
    assert found[["paired_by", "verdict"]].tolist() == ["seed", "helps"]
    assert found[["p", "p_equivalent", "needed"]].tolist() == pytest.approx(
        seeds[["p", "p_equivalent", "needed"]].tolist()
    )


def t_test_power(sd: float, pairs: int, difference: float, level: float) -> float:
    """By the noncentral t distribution."""
    shift, critical = difference / (sd / math.sqrt(pairs)), stats.t.ppf(1 - level / 2, pairs - 1)
    return float(stats.nct.sf(critical, pairs - 1, shift) + stats.nct.cdf(-critical, pairs - 1, shift))


@pytest.mark.usefixtures("planned")
def test_the_detectable_difference_is_found_with_the_power_of_the_study():
    for power in (0.8, 0.9):
        found = only(pair_of(UNSURE), study(statistics={"power": power}))
        reached = t_test_power(found["sd"], 4, found["detectable"], 0.05)
        assert reached == pytest.approx(power, abs=1e-4)


def simulated_power(sd: float, pairs: int, level: float, margin: float) -> tuple[float, float]:
    """How often a difference of the margin is found, and one of 0 shown to be within it."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, sd, (20_000, pairs))
    mean, error = noise.mean(axis=1), noise.std(axis=1, ddof=1) / math.sqrt(pairs)
    found = np.abs(mean + margin) > stats.t.ppf(1 - level / 2, pairs - 1) * error
    shown = np.abs(mean) + stats.t.ppf(1 - level, pairs - 1) * error < margin
    return float(found.mean()), float(shown.mean())


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("models", ["a", "abc"])
def test_with_the_number_of_seeds_that_is_needed_both_answers_have_their_power(models):
    """The level is that of the first step of Holm in a family of this size."""
    differences = [0.01, -0.02, 0.015, -0.01, 0.012]
    metrics = [row for model in models for row in pair_of(differences, model=model)]
    found = verdicts(metrics).iloc[0]
    assert found["verdict"] == "can't tell"
    level = 0.05 / len(models)
    needed = int(found["needed"])
    enough = simulated_power(found["sd"], needed, level, 0.01)
    fewer = simulated_power(found["sd"], needed - 2, level, 0.01)
    assert min(enough) > 0.8 - 0.01
    assert min(fewer) < 0.8
    alone = only(pair_of(differences))
    assert (found["needed"] > alone["needed"]) == (len(models) > 1)
    assert (found["detectable"] > alone["detectable"]) == (len(models) > 1)


@pytest.mark.usefixtures("planned")
def test_identical_runs_need_no_more():
    found = only(pair_of([0.0, 0.0, 0.0]))
    assert found["verdict"] == "equivalent"
    assert found[["detectable", "needed", "needed_low", "needed_high"]].tolist() == [0, 2, 2, 2]


@pytest.mark.usefixtures("planned")
def test_the_range_of_needed_seeds_is_that_of_the_standard_deviation():
    found = only(pair_of([0.01, -0.02, 0.015, -0.01, 0.012]))
    assert found["needed_low"] < found["needed"] < found["needed_high"]
    # (k - 1) s^2 / sigma^2 is chi square; the needed number goes with the variance
    lowest, highest = (4 / stats.chi2.ppf(q, 4) for q in (0.975, 0.025))
    assert found["needed_low"] / found["needed"] == pytest.approx(lowest, rel=0.15)
    assert found["needed_high"] / found["needed"] == pytest.approx(highest, rel=0.1)


@pytest.mark.usefixtures("planned")
def test_no_number_of_folds_tells_a_difference_below_what_their_correlation_hides():
    found = only(fold_rows())
    assert found["verdict"] == "can't tell" or found["needed"] == math.inf
    unsure = only(fold_rows(), study(statistics={"margins": {"auroc": 0.001}}))
    assert unsure["needed"] == math.inf
    assert unsure["needed_high"] == math.inf
    large = only(fold_rows(), study(statistics={"margins": {"auroc": 0.2}}))
    assert math.isfinite(large["needed"])


def test_without_patients_neither_interval_nor_word_of_them_is_there():
    found = only(pair_of(LARGE))
    assert found["other_patients"] == ""
    assert all(math.isnan(found[name]) for name in ("patient_error", "low_both", "high_both"))


@pytest.mark.parametrize(
    ("differences", "error", "word"),
    [
        (LARGE, 0.01, "holds"),
        (LARGE, 0.05, "not shown"),
        ([-value for value in LARGE], 0.01, "holds"),
        ([-value for value in LARGE], 0.05, "not shown"),
        (TINY_AND_UNSURE, 0.001, "holds"),
        (TINY_AND_UNSURE, 0.02, "not shown"),
        (UNSURE, 0.01, ""),
        ([0.0] * 4, 0.001, "holds"),
        ([0.0] * 4, 0.02, "not shown"),
        ([0.0] * 4, 0.0, "holds"),
    ],
)
def test_a_verdict_holds_for_other_patients_or_is_not_shown_to(differences, error, word):
    found = only(pair_of(differences), study(), patients(error))
    assert found["other_patients"] == word
    assert found["patient_error"] == error
    assert found["verdict"] == only(pair_of(differences))["verdict"]  # which is about these patients


def test_equivalence_holds_where_the_interval_of_twice_the_level_stays_within_the_margin():
    """With almost no spread between seeds that is normal: 1.645 errors of the patients."""
    same = [1e-9, -1e-9, 1e-9, -1e-9]
    for error, word in ((0.0099 / 1.645, "holds"), (0.0101 / 1.645, "not shown")):
        assert only(pair_of(same), study(), patients(error))["other_patients"] == word


def test_equivalence_for_other_patients_leaves_the_distance_to_the_nearer_margin():
    """A mean of .003 is .007 from the margin: 3.3 errors of .0021, and 1.5 of .0047."""
    differences = [0.0056, 0.0004, 0.0056, 0.0004]
    for error, word in ((0.0015, "holds"), (0.0045, "not shown")):
        found = only(pair_of(differences), study(), patients(error))
        assert found[["verdict", "other_patients"]].tolist() == ["equivalent", word]


def test_what_is_said_of_other_patients_is_corrected_in_the_family():
    """A difference of 2.2 errors of the patients: p is .03 alone, and .06 as one of two."""
    differences = [0.05, 0.050001, 0.049999, 0.05]
    errors = pd.concat([patients(0.05 / 2.2, model=model) for model in "ab"])
    one = verdicts(pair_of(differences, model="a"), study(), errors)
    two = [row for model in "ab" for row in pair_of(differences, model=model)]
    assert one["other_patients"].tolist() == ["holds"]
    assert verdicts(two, study(), errors)["other_patients"].tolist() == ["not shown"] * 2


def test_the_error_of_patients_is_that_of_the_same_comparison():
    table = pd.concat(
        [
            patients(0.1, part="external"), patients(0.2, reference=""), patients(0.3, model="m2"),
            patients(0.4, init="other"), patients(0.5, reference="src-stats"),
            patients(0.6, subset="n500"), patients(0.7, dataset="e"), patients(0.8, recipe="q"),
            patients(0.9, metric="auprc"), patients(0.01),
        ]
    )  # fmt: skip
    assert only(pair_of(LARGE), study(), table)["patient_error"] == 0.01
    assert math.isnan(only(pair_of(LARGE), study(), table.iloc[:-1])["patient_error"])


def test_a_table_that_is_not_one_of_patients_is_an_error():
    with pytest.raises(DataError, match="table patients: missing column error"):
        judge(pd.DataFrame(pair_of(LARGE)), study(), patients(0.1).drop(columns="error"))


def test_nothing_is_added_to_folds_whose_spread_holds_that_between_patients():
    wide = study(statistics={"margins": {"auroc": 0.1}})
    for settings in (study(), wide):
        found = only(fold_rows(), settings, patients(0.5))
        both = found[["low_both", "high_both"]].tolist()
        assert both == pytest.approx(found[["low", "high"]].tolist(), rel=1e-12)
        assert found["other_patients"] == ("holds" if found["verdict"] != "can't tell" else "")
    assert found["verdict"] in ("equivalent", "helps")


def test_the_interval_with_patients_is_welchs_and_never_narrower_than_that_of_the_seeds():
    differences = [0.02, 0.06, 0.03, 0.07, 0.05]
    found = only(pair_of(differences), study(), patients(0.02))
    seeds = np.std(differences, ddof=1) / math.sqrt(5)
    variance = seeds**2 + 0.02**2
    freedom = variance**2 / (seeds**4 / 4)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    assert found["high_both"] - found["mean"] == pytest.approx(half)
    assert found["mean"] - found["low_both"] == pytest.approx(half)
    # two seeds: one degree of freedom that a little of the patients would make four
    few = only(pair_of([0.10, 0.12]), study(), patients(0.01))
    assert few[["low_both", "high_both"]].tolist() == pytest.approx(few[["low", "high"]].tolist())


def test_seeds_that_agree_leave_the_variation_between_patients():
    found = only(pair_of([0.05] * 4), study(), patients(0.01))
    half = stats.norm.ppf(0.975) * 0.01
    assert found["low_both"] == pytest.approx(0.05 - half)
    assert found["high_both"] == pytest.approx(0.05 + half)


@pytest.mark.parametrize(("seeds", "seed_sd", "patient_sd"), [(2, 0.02, 0.01), (4, 0.01, 0.03)])
def test_the_interval_with_patients_holds_the_truth_of_simulated_studies(seeds, seed_sd, patient_sd):
    """150 cells: what is common to the seeds of one comes from its sample of patients."""
    generator = np.random.default_rng(seeds)
    metrics, errors = [], []
    for cell in range(150):
        shared = generator.normal(0, patient_sd)
        values = (0.05 + shared + generator.normal(0, seed_sd, seeds)).tolist()
        metrics += pair_of(values, model=f"m{cell}")
        errors.append(patients(patient_sd, model=f"m{cell}"))
    table = verdicts(metrics, study(), pd.concat(errors))
    holds = (table["low_both"] < 0.05) & (table["high_both"] > 0.05)
    alone = (table["low"] < 0.05) & (table["high"] > 0.05)
    assert 0.9 < holds.mean() <= 0.99
    assert alone.mean() < holds.mean()


def test_the_gain_of_a_verdict_is_that_of_the_paired_test():
    found, expected = only(pair_of(UNSURE)), paired_t(UNSURE)
    names = ["mean", "low", "high", "p"]
    assert found[names].tolist() == pytest.approx([getattr(expected, name) for name in names])
    assert found["p_sign_flip"] == 1.0
    assert found["sd"] == pytest.approx(np.std(UNSURE, ddof=1))
