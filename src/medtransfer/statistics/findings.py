"""What the verdicts say, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from medtransfer.config.names import parse_init
from medtransfer.config.study import StudySettings
from medtransfer.evaluation.names import METRIC_LABELS, partial_transfers, whole_starts
from medtransfer.statistics.paired import pairs_needed, smallest_sign_flip_p
from medtransfer.tables import Column, Schema, table_of

# how many comparisons the paragraph spells out
MOST_DECIDED = 6
MOST_UNDECIDED = 2
UNDECIDED = "can't tell"
_PLACE = ["recipe", "dataset", "model", "subset", "metric"]

ANSWERS = Schema(
    name="answers",
    row="one source for one network on one data set: does it help, and by what?",
    columns={
        **{name: Column("text", "as in verdicts") for name in _PLACE},
        "source": Column("text", "whose weights"),
        "against_reference": Column(
            "text", "the verdict of the source against the reference, in words"
        ),
        "against_statistics": Column(
            "text", "that against its statistics alone; empty where no such runs are"
        ),
        "answer": Column("text", "what the two together say"),
    },
    families={},
)


def headline(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The declared comparisons of whole starts."""
    return whole_starts(verdicts[verdicts["family"] != ""]).reset_index(drop=True)


def depths(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The declared comparisons of partial transfers."""
    return partial_transfers(verdicts[verdicts["family"] != ""]).reset_index(drop=True)


def in_words(row: pd.Series) -> str:
    """The verdict of a row of VERDICTS, with what would decide an open one."""
    remark = f" ({_needed_in_words(row)})" if row["verdict"] == UNDECIDED else ""
    return in_short(row) + remark


def in_short(row: pd.Series) -> str:
    """The verdict alone."""
    if row["verdict"] in ("helps", "harms"):
        small = ", by less than the margin" if row["within_margin"] else ""
        return f"{row['verdict']}{small}{_patients_in_words(row)}{_chance_in_words(row)}"
    if row["verdict"] == "equivalent":
        return f"equivalent within ±{row['margin']:g}{_patients_in_words(row)}{_chance_in_words(row)}"
    if row["verdict"] == "not declared":
        return "not declared, only looked at"
    return f"can't tell yet{_chance_in_words(row)}"


def _chance_in_words(row: pd.Series) -> str:
    return "; neither is above chance" if row["above_chance"] == "neither" else ""


def _patients_in_words(row: pd.Series) -> str:
    return "; not shown for other patients" if row["other_patients"] == "not shown" else ""


def _needed_in_words(row: pd.Series) -> str:
    """How many more repeats would decide; the range is that of the standard deviation."""
    unit = row["paired_by"]
    if not math.isfinite(row["p"]) or math.isnan(row["needed"]):
        return (
            f"needs more than {row['pairs']} {unit}{'' if row['pairs'] == 1 else 's'} to say anything"
        )
    if math.isinf(row["needed"]):
        return f"no number of {unit}s on these images would show so small a margin"
    more, low, high = more_needed(row)
    return f"needs about {more} more {unit}{'s' * (more != '1')}, {low} to {high}"


def more_needed(row: pd.Series) -> tuple[str, str, str]:
    """How many more repeats would decide, and that with the spread at its lower and upper limit."""
    more, low, high = (
        _more(row[name], row["pairs"]) for name in ("needed", "needed_low", "needed_high")
    )
    return more, low, high


def _more(needed: float, pairs: int) -> str:
    """Rounded to two figures, which are more than a standard deviation of a few repeats can bear."""
    if not math.isfinite(needed):
        return "no number" if needed > 0 else "–"
    more = max(1, int(needed) - pairs)
    return f"{int(float(f'{more:.2g}')):,}"


def answers(verdicts: pd.DataFrame, study: StudySettings) -> pd.DataFrame:
    """For each source: does it help against the reference, and is it its features or their statistics?

    Args:
        verdicts: a table of schema VERDICTS.
        study: the reference.

    Returns:
        A table of schema ANSWERS.
    """
    rows = []
    for key, cell in verdicts.groupby(_PLACE, sort=False):
        pairs = {(row["init"], row["reference"]): row for _, row in cell.iterrows()}
        for source, reference in pairs:
            init = parse_init(source)
            if reference != study.reference or init.source is None or init.upto is not None:
                continue
            first, second = pairs[source, reference], pairs.get((source, init.baseline))
            rows.append(
                {
                    **dict(zip(_PLACE, key, strict=True)),
                    "source": source,
                    "against_reference": in_words(first),
                    "against_statistics": "" if second is None else in_words(second),
                    "answer": _answer(first, second, study.reference),
                }
            )
    return table_of(rows, ANSWERS)


def _answer(first: pd.Series, second: pd.Series | None, reference: str) -> str:
    """What the source's verdicts against the reference and against its statistics say together."""
    against_reference = {
        "helps": "helps",
        "harms": f"harms: {reference} is the better start",
        "equivalent": f"as good as {reference}, within the margin{_chance_in_words(first)}",
        "not declared": "not declared, only looked at",
    }.get(first["verdict"], "can't tell yet")
    if second is None or first["verdict"] != "helps":
        return against_reference
    return {
        "helps": "helps by its features",
        "harms": "helps, and its statistics alone help more",
        "equivalent": "helps, and its statistics alone do as well",
    }.get(second["verdict"], "helps; by its features or their statistics can't be told yet")


def write_findings(verdicts: pd.DataFrame, sparing: pd.DataFrame, study: StudySettings) -> str:
    """One paragraph: how many comparisons are decided, which, what would do as well, what limits it.

    Args:
        verdicts: a table of schema VERDICTS.
        sparing: a table of schema SPARING.
        study: title, confidence and families.
    """
    family, partial = headline(verdicts), depths(verdicts)
    if family.empty and partial.empty:
        return f"{_headline(study)} There is nothing to compare: no cell has two inits."
    sentences = [
        _headline(study),
        *(_family_sentences(family, study) if len(family) else ()),
        *(_depth_sentences(partial) if len(partial) else ()),
        *_sparing_sentences(sparing),
        _limits(family if len(family) else partial, study),
    ]
    return " ".join(sentences)


def _headline(study: StudySettings) -> str:
    """The title as a sentence."""
    return study.title if study.title.endswith((".", "?", "!")) else f"{study.title}."


def _family_sentences(family: pd.DataFrame, study: StudySettings) -> Iterator[str]:
    yield f"Paired comparisons of the target metric on the test set: {len(family)}."
    yield f"{_counts(family)} ({_correction(study)}, {study.confidence:.0%})."
    decided = _listing(family[family["verdict"] != UNDECIDED], MOST_DECIDED)
    undecided = _listing(family[family["verdict"] == UNDECIDED], MOST_UNDECIDED)
    if decided:
        yield f"Decided: {decided}."
    if undecided:
        yield f"The largest undecided: {undecided}."


def _correction(study: StudySettings) -> str:
    name = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg"}[study.statistics.correction]
    if not study.statistics.families:
        return f"{name} within each data set"
    return f"{name} within the declared families"


def _counts(verdicts: pd.DataFrame) -> str:
    """How many there are of each verdict, and how many are equivalent since nothing was learned."""
    words = ("helps", "harms", "equivalent", UNDECIDED)
    gains, losses, equivalent, undecided = (int((verdicts["verdict"] == w).sum()) for w in words)
    alike = verdicts[verdicts["verdict"] == "equivalent"]
    empty = int((alike["above_chance"] == "neither").sum())
    remark = f" ({empty} of them with neither above chance)" if empty else ""
    return (
        f"Helps: {gains}, harms: {losses}, equivalent within the margin: {equivalent}{remark}, "
        f"can't tell yet: {undecided}"
    )


def _depth_sentences(partial: pd.DataFrame) -> Iterator[str]:
    """How many of the partial transfers differ from the same start without transfer."""
    yield (
        "Starts in which only the first units keep the source's weights, against the same start "
        f"without them: {len(partial)}. {_counts(partial)} (a family of their own)."
    )
    decided = _listing(partial[partial["verdict"] != UNDECIDED], MOST_DECIDED)
    if decided:
        yield f"Decided: {decided}."


def _listing(rows: pd.DataFrame, most: int) -> str:
    """The comparisons with the largest differences, in words."""
    strongest = rows.reindex(rows["mean"].abs().sort_values(ascending=False).index).head(most)
    more = f"; and {len(rows) - most} more" if most == MOST_DECIDED and len(rows) > most else ""
    return "; ".join(_sentence(row) for _, row in strongest.iterrows()) + more


def _sentence(row: pd.Series) -> str:
    metric = METRIC_LABELS.get(row["metric"], row["metric"])
    return (
        f"{row['dataset']}, {row['model']}, {row['subset']}: {row['init']} against "
        f"{row['reference']} {row['mean']:+.3f} {metric} "
        f"[{row['low']:+.3f}, {row['high']:+.3f}], {in_words(row)}"
    )


def _sparing_sentences(sparing: pd.DataFrame) -> Iterator[str]:
    """The smallest networks and shallowest transfers that are equivalent to the best."""
    for question, what in (("network", "a smaller network"), ("depth", "a shallower transfer")):
        asked = sparing[sparing["question"] == question]
        if asked.empty:
            continue
        chosen = "; ".join(
            f"{row['dataset']}, {row['subset']}: {row['model']} from {row['init']} for "
            f"{row['best_model']} from {row['best_init']}"
            for _, row in asked[asked["chosen"]].iterrows()
        )
        yield (
            f"Shown to do as well as the best within the margin: {what} in {chosen}."
            if chosen
            else f"Of no data set {what} is shown to do as well as the best within the margin."
        )


def _limits(family: pd.DataFrame, study: StudySettings) -> str:
    pairs, unit = int(family["pairs"].min()), family["paired_by"].iloc[0]
    at_least = "at least " if family["pairs"].nunique() > 1 else ""
    text = f"Each rests on {at_least}{pairs} {unit}{'s' * (pairs != 1)}."
    if unit == "seed":
        text += (
            " The intervals hold the variation between seeds on these images; what other patients "
            "would change is reported apart."
        )
    if smallest_sign_flip_p(pairs) > 1 - study.confidence:
        text += (
            f" With {pairs} pairs no sign-flip test can go below p = {smallest_sign_flip_p(pairs):.4g};"
            f" {pairs_needed(1 - study.confidence)} are needed to reach {1 - study.confidence:.2g}."
        )
    return text
