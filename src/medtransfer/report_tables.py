"""The tables of numbers of a study's report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from medtransfer.config.study import StudySettings
from medtransfer.evaluation.names import METRIC_LABELS, whole_starts
from medtransfer.pages import paragraph, table
from medtransfer.statistics.findings import (
    UNDECIDED,
    answers,
    depths,
    headline,
    in_short,
    more_needed,
)


def cell_tables(summary: pd.DataFrame, percent: str) -> Iterable[str]:
    """The target metric of each cell."""
    summary = whole_starts(summary)
    inits = tuple(dict.fromkeys(summary["init"]))
    yield table(
        f"Target metric: mean over the runs [{percent} t interval between runs].",
        ("data set", "network", "training data", "images", "part", "metric"),
        (*inits, "runs"),
        _summary_rows(summary, inits),
        fold=True,
    )


def verdict_tables(verdicts: pd.DataFrame, study: StudySettings) -> Iterable[str]:
    """The declared comparisons of whole starts."""
    percent = f"{study.confidence:.0%}"
    yield table(
        f"Paired differences on the test set with {percent} t intervals between seeds or folds, "
        "and with the variation between samples of patients added; p after the correction within "
        "the declared family. “Detectable” is what these repeats would have found, “more "
        f"needed” how many would decide, with a power of {study.statistics.power:.0%}. Equivalent: "
        f"within {_margins(verdicts)}. “Can't tell” is not “no difference”.",
        _VERDICT_TEXTS,
        _VERDICT_NUMBERS,
        _verdict_rows(headline(verdicts)),
        fold=True,
    )


def _interval(row: pd.Series, form: str) -> str:
    if not np.isfinite(row["low"]):
        return "none (one run)" if row["pairs"] == 1 else "undefined"
    return f"{row['low']:{form}} to {row['high']:{form}}"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "–"


def _summary_rows(summary: pd.DataFrame, inits: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """One row a cell with a column an init."""
    shown = summary[summary["target"] & summary["part"].isin(["test", "external"])]
    keys = ["dataset", "model", "subset", "training_images", "part", "metric"]
    for key, cell in shown.groupby(keys, sort=False):
        names = [str(value) for value in key]
        values = {row["init"]: _mean_with_interval(row) for _, row in cell.iterrows()}
        fewest, most = cell["runs"].min(), cell["runs"].max()
        runs = str(most) if fewest == most else f"{fewest} to {most}"
        metric = METRIC_LABELS.get(names[-1], names[-1])
        yield (*names[:-1], metric, *(values.get(init, "–") for init in inits), runs)


def _mean_with_interval(row: pd.Series) -> str:
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if np.isfinite(row["low"]) else ""
    return _number(row["mean"], ".3f") + interval


def answer_tables(verdicts: pd.DataFrame, study: StudySettings) -> Iterable[str]:
    """Does each source help, and is it its features or their statistics?"""
    rows = answers(verdicts, study)
    if rows.empty:
        return
    yield table(
        f"Each source against {study.reference}, and against its own statistics alone, by the target "
        "metric on the test set.",
        ("data set", "network", "training data", "source", f"against {study.reference}",
         "against its statistics", "answer"),
        (),
        (
            (row["dataset"], row["model"], row["subset"], row["source"], row["against_reference"],
             row["against_statistics"] or "–", row["answer"])
            for _, row in rows.iterrows()
        ),
    )  # fmt: skip


_VERDICT_TEXTS = ("data set", "network", "training data", "comparison", "metric", "verdict")
_VERDICT_NUMBERS = (
    "difference", "interval", "with patients", "p (adjusted)", "p (equivalent)", "standardised",
    "detectable", "pairs", "more needed",
)  # fmt: skip


def depth_tables(verdicts: pd.DataFrame, percent: str) -> Iterable[str]:
    """The gain as a function of the transferred depth."""
    partial = depths(verdicts)
    if partial.empty:
        return
    yield table(
        "Starts in which only the first units keep the source's weights, against the same start "
        f"without them: paired differences on the test set with {percent} intervals; p after the "
        "correction within a family of their own.",
        _VERDICT_TEXTS,
        _VERDICT_NUMBERS,
        _verdict_rows(partial),
        fold=True,
    )


def _verdict_rows(verdicts: pd.DataFrame) -> Iterable[tuple[str, ...]]:
    for _, row in verdicts.iterrows():
        yield (
            row["dataset"], row["model"], row["subset"], f"{row['init']} − {row['reference']}",
            METRIC_LABELS.get(row["metric"], row["metric"]), in_short(row),
            _number(row["mean"], "+.3f"), _interval(row, "+.3f"), _range(row, "both", "+.3f"),
            _number(row["p_adjusted"], ".3g"), _number(row["p_equivalent_adjusted"], ".3g"),
            _number(row["standardised"], "+.2f"), _number(row["detectable"], ".3f"),
            f"{row['pairs']} {row['paired_by']}s", _more_needed(row),
        )  # fmt: skip


def _more_needed(row: pd.Series) -> str:
    if row["verdict"] != UNDECIDED:
        return ""
    if not (np.isfinite(row["p"]) and row["needed"] > 0):
        return "–"
    more, low, high = more_needed(row)
    return more if more == high else f"{more} ({low} to {high})"


def _margins(verdicts: pd.DataFrame) -> str:
    """The margin of each metric, in words."""
    margins = verdicts.drop_duplicates("metric").set_index("metric")["margin"]
    return ", ".join(
        f"±{value:g} {METRIC_LABELS.get(str(name), name)}" for name, value in margins.items()
    )


def _range(row: pd.Series, kind: str, form: str) -> str:
    low, high = row[f"low_{kind}"], row[f"high_{kind}"]
    return f"{low:{form}} to {high:{form}}" if np.isfinite(low) else "–"


def sparing_tables(sparing: pd.DataFrame) -> Iterable[str]:
    """What smaller networks and shallower transfers do as well as the best."""
    if sparing.empty:
        return
    yield table(
        "Smaller networks and shallower transfers against the best mean: two one-sided tests within "
        "the margin, Holm over the candidates of one question. The best was chosen on the same runs.",
        ("data set", "training data", "candidate", "best", "metric", "answer"),
        ("difference", "interval", "margin", "p (adjusted)", "pairs"),
        (
            (
                row["dataset"], row["subset"], f"{row['model']}, {row['init']}",
                f"{row['best_model']}, {row['best_init']}",
                METRIC_LABELS.get(row["metric"], row["metric"]),
                _sparing_answer(row), _number(row["mean"], "+.3f"), _interval(row, "+.3f"),
                f"{row['margin']:g}", _number(row["p_adjusted"], ".3g"), str(row["pairs"]),
            )
            for _, row in sparing.iterrows()
        ),
        fold=True,
    )  # fmt: skip


def _sparing_answer(row: pd.Series) -> str:
    if not row["equivalent"]:
        return "not shown"
    what = "smallest" if row["question"] == "network" else "shallowest"
    return f"equivalent, the {what}" if row["chosen"] else "equivalent"


def factor_tables(factors: pd.DataFrame, percent: str) -> Iterable[str]:
    """What gains depend on, of the models that could be fitted; why the others couldn't."""
    if factors.empty:
        return
    whole = factors[factors["left_out"] == ""]
    fitted = whole[whole["estimate"].notna()]
    for _, row in whole[whole["estimate"].isna()].drop_duplicates("init").iterrows():
        yield paragraph(f"{row['init']}: {row['remark']}.")
    if fitted.empty:
        return
    yield table(
        f"Mixed model of the gains over data sets, with {percent} intervals; the range is that of the "
        "estimates with one data set left out at a time.",
        ("source", "metric", "term", "remark"),
        ("estimate", "interval", "p", "range", "data sets", "gains"),
        (
            (
                row["init"], METRIC_LABELS.get(row["metric"], row["metric"]), row["term"],
                row["remark"],
                _number(row["estimate"], "+.4f"), f"{row['low']:+.4f} to {row['high']:+.4f}",
                _number(row["p"], ".3g"), _left_out_range(factors, row), str(row["datasets"]),
                str(row["rows"]),
            )
            for _, row in fitted.iterrows()
        ),
        fold=True,
    )  # fmt: skip


def _left_out_range(factors: pd.DataFrame, row: pd.Series) -> str:
    same = (factors[["init", "metric", "term"]] == row[["init", "metric", "term"]]).all(axis=1)
    others = factors[same & (factors["left_out"] != "")]["estimate"].dropna()
    return f"{others.min():+.4f} to {others.max():+.4f}" if len(others) else "–"


def search_tables(searches: pd.DataFrame) -> Iterable[str]:
    """The learning rates that searches chose, with what every candidate reached."""
    if searches.empty:
        return
    rates = sorted(searches["learning_rate"].unique())
    yield table(
        "A run of each candidate, the same for every init; its best value on the validation part "
        "decides, and of equal values the lower rate. “diverged”: no finite value.",
        ("recipe", "data set", "network", "init", "training data", "split", "decided by", "remark"),
        (*(f"rate {rate:g}" for rate in rates), "chosen"),
        _search_rows(searches, rates),
        fold=True,
    )
    at_edge, choices = (searches["edge"] != "no").sum(), searches["chosen"].sum()
    if at_edge:
        yield paragraph(
            f"{at_edge} of {choices} choices are the lowest or highest candidate: a better rate may "
            "lie beyond. Widen 'learning_rates' of the recipe's search there.",
            "warning",
        )


def _search_rows(searches: pd.DataFrame, rates: list[float]) -> Iterable[tuple[str, ...]]:
    """One row a cell with a column a candidate."""
    remarks = {"lower": "the lowest candidate", "upper": "the highest candidate", "no": ""}
    keys = ["recipe", "dataset", "model", "init", "subset", "split"]
    for key, cell in searches.groupby(keys, sort=False):
        values = dict(zip(cell["learning_rate"], cell["value"], strict=True))
        chosen = cell[cell["chosen"]].iloc[0]
        shown = (_candidate_value(values, rate) for rate in rates)
        decided_by = str(chosen["metric" if chosen["monitor"] == "metric" else "monitor"])
        yield (
            *(str(name) for name in key), METRIC_LABELS.get(decided_by, decided_by),
            remarks[chosen["edge"]], *shown, f"{chosen['learning_rate']:g}",
        )  # fmt: skip


def _candidate_value(values: Mapping[float, float], rate: float) -> str:
    if rate not in values:
        return "–"
    return f"{values[rate]:.3f}" if np.isfinite(values[rate]) else "diverged"
