"""From paired differences to verdicts: helps, harms, equivalent, or can't tell yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from medtransfer.config.study import StudySettings
from medtransfer.statistics.comparison import (
    CELL_COLUMNS,
    GAINS,
    Contrast,
    adjusted_in_families,
    compare,
    families,
    paired_contrasts,
)
from medtransfer.statistics.equivalence import tost
from medtransfer.statistics.paired import standard_error
from medtransfer.statistics.patients import PATIENT_INTERVALS
from medtransfer.statistics.power import (
    detectable_difference,
    pairs_needed_for_difference,
    pairs_needed_for_equivalence,
    sd_interval,
)
from medtransfer.tables import Column, Schema, table_of

Verdict = Literal["helps", "harms", "equivalent", "can't tell", "not declared"]
VERDICTS = Schema(
    name="verdicts",
    row="the verdict on one comparison of two inits by the target metric on the test part",
    columns={
        **{name: CELL_COLUMNS[name] for name in ("recipe", "dataset", "model", "subset", "metric")},
        **{name: GAINS.columns[name] for name in ("init", "reference", "family")},
        "verdict": Column(
            "text",
            "helps or harms: the difference is not 0 (p_adjusted); else equivalent: it is within the "
            "margin (p_equivalent_adjusted); else can't tell; not declared: of no family, just shown",
        ),
        "within_margin": Column("truth", "whether the equivalence is shown, whatever the verdict"),
        "other_patients": Column(
            "text",
            "holds: the verdict stands with the variation between samples of patients added; not "
            "shown: it doesn't; empty where nothing was decided or no predictions are there",
        ),
        "above_chance": Column(
            "text",
            "both, one or neither of the two: whose mean is above what a network gets that says the "
            "same of every image, by more than the margin; empty where that isn't known",
        ),
        "margin": Column("number", "differences within plus and minus this are equivalent"),
        **{
            name: GAINS.columns[name]
            for name in ("mean", "sd", "low", "high", "p", "p_adjusted", "p_sign_flip")
        },
        "p_equivalent": Column("number", "p of the two one-sided tests that it is within the margin"),
        "p_equivalent_adjusted": Column("number", "the same after the correction within the family"),
        "standardised": Column("number", "mean over standard deviation of the differences (d_z)"),
        "share_of_possible": Column(
            "number", "mean difference over what the reference leaves to 1; empty where that is 0"
        ),
        "repeat_error": Column("number", "standard error of the mean from the seeds or folds"),
        "patient_error": Column(
            "number", "standard error from the sample of patients; empty where it isn't known"
        ),
        "low_both": Column(
            "number",
            "lower end of the interval that holds both variations, never the narrower",
        ),
        "high_both": Column("number", "upper end of that interval"),
        "detectable": Column(
            "number", "the smallest difference that these repeats would have found with the set power"
        ),
        "needed": Column(
            "number",
            "repeats that would decide: find a difference of the margin, and show equivalence where "
            "there is none, with the set power; infinite where no number would",
        ),
        "needed_low": Column("number", "the same with the standard deviation at its lower limit"),
        "needed_high": Column("number", "the same with it at its upper limit"),
        "pairs": GAINS.columns["pairs"],
        "paired_by": GAINS.columns["paired_by"],
    },
    families={},
)
_KEY = ["recipe", "dataset", "model", "subset", "metric", "init", "reference"]


def judge(
    metrics: pd.DataFrame,
    study: StudySettings,
    patients: pd.DataFrame | None = None,
    chance: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """The verdict on every comparison of target metrics on the test part.

    A difference is decided by the paired t test over seeds, or by Nadeau and Bengio's over folds, after
    the correction within the declared family; equivalence by two one-sided tests of the same kind,
    corrected likewise. A large p decides nothing: then it is said how many repeats would.

    Args:
        metrics: a table of schema METRICS.
        study: families, margins, confidence and power.
        patients: a table of schema PATIENT_INTERVALS, or none where there are no predictions.
        chance: the target metric of a network that has learned nothing, for data sets where it's known.

    Raises:
        ConfigError: a target metric has no margin.
    """
    chosen = metrics[metrics["target"] & (metrics["part"] == "test")]
    contrasts = list(paired_contrasts(chosen, study))
    table = compare(chosen, study)
    errors, chance = _patient_errors(patients), chance or {}
    sizes = np.ones(len(table))
    for rows in families(table, study):
        sizes[rows] = len(rows)
    extra = [
        {
            **_judged(contrast, row, size, errors.get(tuple(row[_KEY]), math.nan), study),
            "above_chance": _above_chance(contrast, chance.get(row["dataset"]), study),
        }
        for contrast, (_, row), size in zip(contrasts, table.iterrows(), sizes, strict=True)
    ]
    table = pd.concat([table, pd.DataFrame(extra, index=table.index)], axis=1)
    if table.empty:
        return table_of([], VERDICTS)
    table["p_equivalent_adjusted"] = adjusted_in_families(table, "p_equivalent", study)
    level = 1 - study.confidence
    table["within_margin"] = table["p_equivalent_adjusted"] < level
    table["verdict"] = [_verdict(row, level) for _, row in table.iterrows()]
    for name in ("p_both", "p_equivalent_both"):
        table[name] = adjusted_in_families(table, name, study)
    table["other_patients"] = [_other_patients(row, level) for _, row in table.iterrows()]
    return table[list(VERDICTS.columns)].reset_index(drop=True)


def _patient_errors(patients: pd.DataFrame | None) -> Mapping[tuple[object, ...], float]:
    if patients is None:
        return {}
    PATIENT_INTERVALS.check(patients)
    tested = patients[(patients["part"] == "test") & (patients["reference"] != "")]
    return {tuple(row[_KEY]): float(row["error"]) for _, row in tested.iterrows()}


def _judged(
    contrast: Contrast, gain: pd.Series, size: float, patient_error: float, study: StudySettings
) -> dict[str, object]:
    """What the verdict rests on beyond the gain itself."""
    margin = study.statistics.margin(str(contrast.cell["metric"]))
    equivalence = tost(contrast.differences, margin, contrast.test_train_ratio or None)
    repeat_error = _repeat_error(contrast)
    errors = (repeat_error, 0.0 if contrast.test_train_ratio else patient_error)
    return {
        "margin": margin,
        "p_equivalent": equivalence.p,
        "standardised": gain["mean"] / gain["sd"] if gain["sd"] > 0 else math.nan,
        "share_of_possible": _share_of_possible(contrast),
        "repeat_error": repeat_error,
        "patient_error": patient_error,
        **_with_patients(gain, equivalence.p, margin, errors, study.confidence),
        **_planning(contrast, gain["sd"], margin, (1 - study.confidence) / size, study),
    }


def _above_chance(contrast: Contrast, level: float | None, study: StudySettings) -> str:
    """Whose mean is above a level by more than the margin: two that learned nothing are alike, too."""
    if level is None or len(contrast.differences) == 0:
        return ""
    reference = float(contrast.baseline.mean())
    means = (reference, reference + float(contrast.differences.mean()))
    if any(map(math.isnan, means)):
        return ""
    above = level + study.statistics.margin(str(contrast.cell["metric"]))
    return ("neither", "one", "both")[sum(mean > above for mean in means)]


def _repeat_error(contrast: Contrast) -> float:
    return float(standard_error(contrast.differences, contrast.test_train_ratio or None))


def _with_patients(
    gain: pd.Series,
    p_equivalent: float,
    margin: float,
    errors: tuple[float, float],
    confidence: float,
) -> dict[str, float]:
    """Interval and p with both variances added, by Welch and Satterthwaite's degrees of freedom.

    Few repeats whose spread happens to be small would make these degrees of freedom large, and the
    interval narrower than that of the repeats alone: of two seeds it would hold the truth 87 times in
    100 instead of 95. So it is never narrower, and no p is smaller than that of the repeats. The
    bootstrap's share of what seeds and patients do together is counted twice, which errs on the wide
    side, too.

    Args:
        gain: the interval and the p of the repeats.
        p_equivalent: that of the two one-sided tests over the repeats.
        margin: of the equivalence.
        errors: standard errors from the repeats, and from the sample of patients beyond them: 0 for
            folds, whose spread holds that between their patients already.
        confidence: coverage of the interval.
    """
    error = math.hypot(*errors)
    names = ("low_both", "high_both", "p_both", "p_equivalent_both")
    if not error > 0:
        known = (gain["low"], gain["high"], gain["p"], p_equivalent)
        return dict(zip(names, known if error == 0 else [math.nan] * 4, strict=True))
    share = (errors[0] / error) ** 2
    freedom = (gain["pairs"] - 1) / share**2 if share > 0 else math.inf
    both = stats.t(df=freedom, scale=error)
    distance = abs(gain["mean"])
    half = max(both.ppf(0.5 + confidence / 2), (gain["high"] - gain["low"]) / 2)
    # where the repeats have no p, there is none
    p = float(np.maximum(gain["p"], 2 * both.sf(distance)))
    shown = (gain["mean"] - half, gain["mean"] + half, p, max(p_equivalent, both.sf(margin - distance)))
    return dict(zip(names, map(float, shown), strict=True))


def _share_of_possible(contrast: Contrast) -> float:
    """(WT - RI) / (1 - RI) of the means."""
    if len(contrast.differences) == 0:
        return math.nan
    left = 1.0 - float(contrast.baseline.mean())
    return float(contrast.differences.mean()) / left if left > 0 else math.nan


def _planning(
    contrast: Contrast, sd: float, margin: float, level: float, study: StudySettings
) -> dict[str, float]:
    """What these repeats could have found, and how many would be needed.

    The level is divided by the size of the family, as Holm's first step does.
    """
    settings: dict[str, Any] = {
        "power": study.statistics.power,
        "level": level,
        "test_train_ratio": contrast.test_train_ratio or None,
    }
    count = len(contrast.differences)

    def needed(spread: float) -> float:
        return max(
            pairs_needed_for_difference(spread, margin, **settings),
            pairs_needed_for_equivalence(spread, margin, **settings),
        )

    low, high = sd_interval(sd, count, study.confidence)
    return {
        "detectable": detectable_difference(sd, count, **settings),
        "needed": needed(sd),
        "needed_low": needed(low),
        "needed_high": needed(high),
    }


def _verdict(row: pd.Series, level: float) -> Verdict:
    if not row["family"]:
        return "not declared"
    if math.isfinite(row["p_adjusted"]) and row["p_adjusted"] < level:
        return "helps" if row["mean"] > 0 else "harms"
    return "equivalent" if row["within_margin"] else "can't tell"


def _other_patients(row: pd.Series, level: float) -> str:
    """Whether the verdict stands when the variation between samples of patients is added."""
    p = row["p_equivalent_both" if row["verdict"] == "equivalent" else "p_both"]
    if row["verdict"] in ("can't tell", "not declared") or math.isnan(p):
        return ""
    return "holds" if p < level else "not shown"
