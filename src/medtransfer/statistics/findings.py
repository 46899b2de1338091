"""What the gains say, in words."""

from __future__ import annotations

import math

import pandas as pd

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.names import METRIC_LABELS
from medtransfer.statistics.paired import pairs_needed, smallest_sign_flip_p


def headline(gains: pd.DataFrame) -> pd.DataFrame:
    """The declared families: differences of the target metrics on the test part."""
    return gains[gains["target"] & (gains["part"] == "test")].reset_index(drop=True)


def verdict(row: pd.Series, confidence: float) -> str:
    """``helps``, ``harms`` or ``can't tell``, from Holm's p within the declared family.

    "Can't tell" is no claim of equality: that needs an equivalence test.
    """
    if math.isfinite(row["p_holm"]) and row["p_holm"] < 1 - confidence:
        return "helps" if row["mean"] > 0 else "harms"
    return "can't tell"


def write_findings(gains: pd.DataFrame, study: StudySettings) -> str:
    """One paragraph: how many comparisons are decided, the largest gains, and what limits them."""
    family = headline(gains)
    if family.empty:
        return f"{study.title} There is nothing to compare: no cell has two inits."
    verdicts = family.apply(verdict, axis=1, confidence=study.confidence)
    counts = verdicts.value_counts()
    decided = ", ".join(
        f"{counts.get(word, 0)} {meaning}"
        for word, meaning in (
            ("helps", "show a gain"),
            ("harms", "show a loss"),
            ("can't tell", "can't be told from chance"),
        )
    )
    strongest = family.reindex(family["mean"].abs().sort_values(ascending=False).index).head(3)
    examples = "; ".join(_sentence(row, study) for _, row in strongest.iterrows())
    return (
        f"{study.title} Of {len(family)} paired comparisons of the target metric on the test set, "
        f"{decided} (Holm within each data set, {study.confidence:.0%}). "
        f"The largest differences: {examples}. {_limits(family, study)}"
    )


def _sentence(row: pd.Series, study: StudySettings) -> str:
    metric = METRIC_LABELS.get(row["metric"], row["metric"])
    return (
        f"{row['dataset']}, {row['model']}, {row['subset']}: {row['init']} against "
        f"{row['reference']} {row['mean']:+.3f} {metric} "
        f"[{row['low']:+.3f}, {row['high']:+.3f}], {verdict(row, study.confidence)}"
    )


def _limits(family: pd.DataFrame, study: StudySettings) -> str:
    pairs, unit = int(family["pairs"].min()), family["paired_by"].iloc[0]
    at_least = "at least " if family["pairs"].nunique() > 1 else ""
    text = (
        f"Each rests on {at_least}{pairs} {unit}s; the intervals hold the variation between {unit}s on "
        "these images, not that of other patients."
    )
    if smallest_sign_flip_p(pairs) > 1 - study.confidence:
        text += (
            f" With {pairs} pairs no sign-flip test can go below p = {smallest_sign_flip_p(pairs):.4g};"
            f" {pairs_needed(1 - study.confidence)} are needed to reach {1 - study.confidence:.2g}."
        )
    return text
