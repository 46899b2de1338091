"""What the gains say, in words."""

from __future__ import annotations

import math

import pandas as pd

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.names import METRIC_LABELS, partial_transfers, whole_starts
from medtransfer.statistics.paired import pairs_needed, smallest_sign_flip_p

# how many comparisons the paragraph spells out
MOST_DECIDED = 6
MOST_UNDECIDED = 2


def headline(gains: pd.DataFrame) -> pd.DataFrame:
    """The declared families of whole starts: differences of the target metrics on the test part."""
    return whole_starts(_target_on_test(gains)).reset_index(drop=True)


def depths(gains: pd.DataFrame) -> pd.DataFrame:
    """The declared families of partial transfers, likewise."""
    return partial_transfers(_target_on_test(gains)).reset_index(drop=True)


def _target_on_test(gains: pd.DataFrame) -> pd.DataFrame:
    return gains[gains["target"] & (gains["part"] == "test")]


def verdict(row: pd.Series, confidence: float) -> str:
    """``helps``, ``harms`` or ``can't tell``, from Holm's p within the declared family.

    "Can't tell" is no claim of equality: that needs an equivalence test.
    """
    if math.isfinite(row["p_holm"]) and row["p_holm"] < 1 - confidence:
        return "helps" if row["mean"] > 0 else "harms"
    return "can't tell"


def write_findings(gains: pd.DataFrame, study: StudySettings) -> str:
    """One paragraph: how many comparisons are decided, which, and what limits them."""
    family, partial = headline(gains), depths(gains)
    if family.empty and partial.empty:
        return f"{study.title} There is nothing to compare: no cell has two inits."
    if family.empty:
        return f"{study.title} {_depth_sentence(partial, study)} {_limits(partial, study)}"
    verdicts = family.apply(verdict, axis=1, confidence=study.confidence)
    decided = _listing(family[verdicts != "can't tell"], MOST_DECIDED, study)
    undecided = _listing(family[verdicts == "can't tell"], MOST_UNDECIDED, study)
    return " ".join(
        (
            f"{study.title} Paired comparisons of the target metric on the test set: {len(family)}.",
            f"{_counts(verdicts)} (Holm within each data set, {study.confidence:.0%}).",
            f"Decided: {decided}." if decided else "",
            f"The largest undecided: {undecided}." if undecided else "",
            _depth_sentence(partial, study) if len(partial) else "",
            _limits(family, study),
        )
    ).replace("  ", " ")


def _counts(verdicts: pd.Series) -> str:
    gains, losses, undecided = (
        int((verdicts == word).sum()) for word in ("helps", "harms", "can't tell")
    )
    return f"Gains: {gains}, losses: {losses}, not to be told from chance: {undecided}"


def _depth_sentence(partial: pd.DataFrame, study: StudySettings) -> str:
    """How many of the partial transfers differ from the same start without transfer."""
    verdicts = partial.apply(verdict, axis=1, confidence=study.confidence)
    decided = _listing(partial[verdicts != "can't tell"], MOST_DECIDED, study)
    return (
        f"Starts in which only the first units keep the source's weights, against the same start "
        f"without them: {len(partial)}. {_counts(verdicts)} (a Holm family of their own)."
        + (f" Decided: {decided}." if decided else "")
    )


def _listing(rows: pd.DataFrame, most: int, study: StudySettings) -> str:
    """The comparisons with the largest differences, in words."""
    strongest = rows.reindex(rows["mean"].abs().sort_values(ascending=False).index).head(most)
    more = f"; and {len(rows) - most} more" if most == MOST_DECIDED and len(rows) > most else ""
    return "; ".join(_sentence(row, study) for _, row in strongest.iterrows()) + more


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
