"""What is said of verdicts: the paragraph, and the answer for each source."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from toy_metrics import family, fold_rows, pair_of, rows_of, study

from medtransfer.config.study import StudySettings
from medtransfer.statistics.findings import (
    ANSWERS,
    answers,
    depths,
    headline,
    in_words,
    write_findings,
)
from medtransfer.statistics.sparing import SPARING, sparing
from medtransfer.statistics.verdict import VERDICTS, judge
from medtransfer.tables import table_of


def text_of(metrics: list[dict], settings: StudySettings | None = None) -> str:
    settings, table = settings or study(), pd.DataFrame(metrics)
    return write_findings(judge(table, settings), sparing(table, settings), settings)


def verdict_row(word: str, **changes: object) -> pd.Series:
    """A row of VERDICTS, as far as words are made of it; of mixed types as rows of tables are."""
    row = {
        "verdict": word, "within_margin": word == "equivalent", "other_patients": "", "margin": 0.01,
        "above_chance": "both",
        "p": 0.2, "needed": 12.0, "needed_low": 6.0, "needed_high": 80.0, "pairs": 5,
        "paired_by": "seed",
    }  # fmt: skip
    return pd.DataFrame([row | changes]).iloc[0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (verdict_row("helps"), "helps"),
        (verdict_row("harms", within_margin=True), "harms, by less than the margin"),
        (verdict_row("helps", other_patients="holds"), "helps"),
        (
            verdict_row("helps", other_patients="not shown"),
            "helps; not shown for other patients",
        ),
        (verdict_row("equivalent"), "equivalent within ±0.01"),
        (
            verdict_row("equivalent", other_patients="not shown", margin=0.02),
            "equivalent within ±0.02; not shown for other patients",
        ),
        (verdict_row("equivalent", above_chance="one"), "equivalent within ±0.01"),
        (verdict_row("equivalent", above_chance=""), "equivalent within ±0.01"),
        (
            verdict_row("equivalent", above_chance="neither", other_patients="not shown"),
            "equivalent within ±0.01; not shown for other patients; neither is above chance",
        ),
        (
            verdict_row("harms", above_chance="neither", within_margin=True),
            "harms, by less than the margin; neither is above chance",
        ),
        (
            verdict_row("can't tell", above_chance="neither"),
            "can't tell yet; neither is above chance (needs about 7 more seeds, 1 to 75)",
        ),
        (verdict_row("not declared", above_chance="neither"), "not declared, only looked at"),
        (verdict_row("not declared"), "not declared, only looked at"),
        (verdict_row("can't tell"), "can't tell yet (needs about 7 more seeds, 1 to 75)"),
        (
            verdict_row("can't tell", needed=6.0),
            "can't tell yet (needs about 1 more seed, 1 to 75)",
        ),
        (
            verdict_row("can't tell", needed=1239.0, needed_high=17447.0),
            "can't tell yet (needs about 1,200 more seeds, 1 to 17,000)",
        ),
        (
            verdict_row("can't tell", needed_high=math.inf),
            "can't tell yet (needs about 7 more seeds, 1 to no number)",
        ),
        (
            verdict_row("can't tell", needed=math.inf, paired_by="fold"),
            "can't tell yet (no number of folds on these images would show so small a margin)",
        ),
        (
            verdict_row("can't tell", pairs=1, p=math.nan, needed=math.nan),
            "can't tell yet (needs more than 1 seed to say anything)",
        ),
        (
            verdict_row("can't tell", pairs=3, p=math.nan),
            "can't tell yet (needs more than 3 seeds to say anything)",
        ),
    ],
)
def test_a_verdict_in_words(row, words):
    assert in_words(row) == words


def many_cells(count: int = 3) -> list[dict]:
    """Model a gains much, b loses much, c is noise, and d is all but the same; ``count`` seeds each."""
    noise = [0.001, -0.002, 0.0015, -0.001, 0.0005, 0.002, -0.0005][:count]
    metrics = []
    for model, gained, scale in (("a", 0.20, 1), ("b", -0.10, 1), ("c", 0.001, 10), ("d", 0, 0.1)):
        differences = [gained + scale * value for value in noise]
        metrics += pair_of(differences, model=model, parameters=math.nan)
    return metrics


def test_the_findings_count_each_verdict_and_name_the_largest():
    text = text_of(many_cells())
    assert text.startswith("A toy. Paired comparisons of the target metric on the test set: 4.")
    assert (
        "Helps: 1, harms: 1, equivalent within the margin: 1, can't tell yet: 1 (Holm within each data "
        "set, 95%)." in text
    )
    decided, undecided = text[text.index("Decided:") :].split("The largest undecided:")
    assert decided.index("d, a, full: src against random +0.200 AUROC [") < decided.index("d, b,")
    assert "d, b, full: src against random -0.1" in decided
    assert (decided.count("], helps"), decided.count("], harms")) == (1, 1)
    assert "d, d, full: src against random +0.000 AUROC [" in decided
    assert "], equivalent within ±0.01" in decided
    assert "d, c, full: src against random" in undecided and "can't tell yet (needs about" in undecided


def test_long_lists_are_cut_and_counted():
    metrics = [row for i in range(8) for row in pair_of(
        [0.1 * i + 0.2, 0.1 * i + 0.201, 0.1 * i + 0.199], base=0.0, model=f"m{i}")]  # fmt: skip
    text = text_of([row | {"parameters": math.nan} for row in metrics])
    decided = text[text.index("Decided:") :]
    assert "; and 2 more." in decided
    assert "d, m7," in decided and "d, m2," in decided
    assert "d, m1," not in decided and "d, m0," not in decided


def test_the_correction_and_the_families_are_named():
    metrics = many_cells()
    families = (family("f", ("src", "random"), separate=()),)
    assert "(Holm within the declared families, 90%)" in text_of(
        metrics, study(confidence=0.9, statistics={"families": families})
    )
    assert "(Benjamini-Hochberg within each data set, 95%)" in text_of(
        metrics, study(statistics={"correction": "benjamini_hochberg"})
    )


def test_only_declared_comparisons_are_counted():
    metrics = pair_of([0.2, 0.201, 0.199]) + rows_of("src-stats", [0.7, 0.705, 0.71])
    families = (family("f", ("src", "random")),)
    text = text_of(metrics, study(statistics={"families": families}))
    assert "test set: 1." in text
    assert "src-stats" not in text
    table = judge(pd.DataFrame(metrics), study(statistics={"families": families}))
    assert len(table) == 3 and len(headline(table)) == 1
    assert "nothing to compare" in text_of(
        metrics, study(statistics={"families": (family("f", ("src", "absent")),)})
    )


def test_the_findings_of_undecided_comparisons_have_no_decided_ones():
    text = text_of(pair_of([0.05, -0.03, 0.02]))
    assert "Helps: 0, harms: 0, equivalent within the margin: 0, can't tell yet: 1" in text
    assert "Decided:" not in text


def test_the_findings_say_how_far_a_sign_flip_test_of_few_pairs_can_go():
    text = text_of(many_cells(3))
    assert "Each rests on 3 seeds" in text
    assert "With 3 pairs no sign-flip test can go below p = 0.25" in text
    assert "6 are needed to reach 0.05" in text
    assert "what other patients would change is reported apart" in text
    enough = text_of(many_cells(6))
    assert "Each rests on 6 seeds" in enough
    assert "sign-flip" not in enough


def test_the_findings_of_folds_speak_of_folds():
    text = text_of(fold_rows())
    assert "Each rests on 5 folds" in text
    assert "no sign-flip test can go below p = 0.0625" in text
    assert "seeds" not in text


def test_the_findings_of_one_init_say_that_there_is_nothing_to_compare():
    assert "nothing to compare" in text_of(rows_of("random", [0.5, 0.6]))


def test_the_findings_do_not_claim_one_number_of_pairs_where_it_differs():
    metrics = pair_of([0.1, 0.11, 0.09, 0.1, 0.12], model="a") + pair_of([0.1, 0.11, 0.09], model="b")
    assert "Each rests on at least 3 seeds" in text_of(metrics)


def test_the_findings_count_partial_transfers_apart():
    metrics = rows_of("random", [0.5, 0.52, 0.51]) + rows_of("src-stats", [0.5, 0.51, 0.53])
    alone = text_of(metrics)
    metrics += rows_of("src-upto1-stats", [0.700, 0.711, 0.729])
    text = text_of(metrics)
    assert "test set: 1." in alone
    assert "test set: 1." in text
    assert "without them: 1. Helps: 1, harms: 0, equivalent within the margin: 0" in text
    assert "src-upto1-stats against src-stats +0.200" in text
    assert "without them" not in alone
    table = judge(pd.DataFrame(metrics), study())
    assert depths(table)["init"].tolist() == ["src-upto1-stats"]


def test_findings_of_partial_transfers_alone_are_written():
    metrics = rows_of("random", [0.5, 0.52, 0.51]) + rows_of("src-upto1-random", [0.7, 0.71, 0.69])
    text = text_of(metrics)
    assert "without them: 1." in text
    assert "nothing to compare" not in text


def test_what_would_do_as_well_as_the_best_is_named():
    noise = [0.001, -0.0012, 0.0008, -0.0006]
    turned = np.roll(noise, 1).tolist()
    metrics = rows_of("random", [0.70 + v for v in noise], model="small", parameters=1e6)
    metrics += rows_of("src", [0.801 + v for v in noise], model="small", parameters=1e6)
    metrics += rows_of("random", [0.75 + v for v in turned], model="large", parameters=2e6)
    metrics += rows_of("src", [0.802 + v for v in turned], model="large", parameters=2e6)
    text = text_of(metrics)
    chosen = "a smaller network in d, full: small from src for large from src."
    assert f"Shown to do as well as the best within the margin: {chosen}" in text
    assert "shallower" not in text
    middle = [row | {"model": "middle", "parameters": 1.5e6} for row in metrics if row["init"] == "src"]
    three = metrics + [row | {"value": row["value"] - 0.0002} for row in middle[:4]]
    assert f"within the margin: {chosen}" in text_of(three)  # which name the smallest alone
    worse = [row | {"value": row["value"] - 0.1 * (row["model"] == "small")} for row in metrics]
    assert (
        "Of no data set a smaller network is shown to do as well as the best within the margin."
        in text_of(worse)
    )


HELP, HARM = [0.2, 0.201, 0.199, 0.2005], [-0.2, -0.201, -0.199, -0.2005]
SAME, OPEN = [0.0002, -0.0001, 0.0001, -0.0002], [0.1, -0.09, 0.05, -0.07]


@pytest.mark.parametrize(
    ("against_random", "against_statistics", "answer"),
    [
        (HELP, HELP, "helps by its features"),
        (HELP, HARM, "helps, and its statistics alone help more"),
        (HELP, SAME, "helps, and its statistics alone do as well"),
        (HELP, OPEN, "helps; by its features or their statistics can't be told yet"),
        (HELP, None, "helps"),
        (HARM, HELP, "harms: random is the better start"),
        (SAME, HELP, "as good as random, within the margin"),
        (OPEN, HELP, "can't tell yet"),
    ],
)
def test_the_two_verdicts_of_a_source_make_an_answer(against_random, against_statistics, answer):
    base = [0.6, 0.61, 0.59, 0.6]
    source = np.add(base, against_random)
    metrics = rows_of("random", base) + rows_of("src", source.tolist())
    if against_statistics is not None:
        metrics += rows_of("src-stats", (source - against_statistics).tolist())
    table = judge(pd.DataFrame(metrics), study())
    found = answers(table, study())
    ANSWERS.check(found)
    assert found[["source", "answer"]].values.tolist() == [["src", answer]]
    rows = {(row["init"], row["reference"]): row for _, row in table.iterrows()}
    assert found["against_reference"][0] == in_words(rows["src", "random"])
    expected = "" if against_statistics is None else in_words(rows["src", "src-stats"])
    assert found["against_statistics"][0] == expected


def test_it_is_said_where_nothing_was_learned():
    metrics = pair_of([0.0] * 4, base=0.5) + pair_of([0.0] * 4, model="m2")
    table = judge(pd.DataFrame(metrics), study(), None, {"d": 0.5})
    text = write_findings(table, table_of([], SPARING), study())
    assert "equivalent within the margin: 2 (1 of them with neither above chance), can't" in text
    assert text.count("equivalent within ±0.01; neither is above chance") == 1
    assert answers(table, study())["answer"].tolist() == [
        "as good as random, within the margin; neither is above chance",
        "as good as random, within the margin",
    ]


def test_answers_are_of_whole_sources_in_each_place():
    metrics = pair_of(HELP) + pair_of(HARM, model="m2")
    metrics += rows_of("src-stats", [0.7, 0.71, 0.69, 0.7]) + rows_of("gabor", [0.7, 0.71, 0.69, 0.7])
    metrics += rows_of("src-upto1-random", [0.7, 0.71, 0.69, 0.7])
    found = answers(judge(pd.DataFrame(metrics), study()), study())
    assert found[["model", "source"]].values.tolist() == [["m", "src"], ["m2", "src"]]
    assert found["answer"].tolist() == ["helps by its features", "harms: random is the better start"]


def test_a_comparison_that_was_not_declared_is_no_answer():
    families = (family("f", ("src", "src-stats")),)
    settings = study(statistics={"families": families})
    metrics = pair_of(HELP) + rows_of("src-stats", [0.7, 0.71, 0.69, 0.7])
    found = answers(judge(pd.DataFrame(metrics), settings), settings)
    assert found["answer"].tolist() == ["not declared, only looked at"]


def test_without_sources_there_are_no_answers():
    table = judge(pd.DataFrame(rows_of("random", [0.5, 0.6])), study())
    found = answers(table, study())
    ANSWERS.check(found)
    assert found.empty


@pytest.mark.parametrize(
    ("title", "start"),
    [("A study", "A study. There"), ("Does it help?", "Does it help? There"), ("So.", "So. There")],
)
def test_a_title_ends_as_a_sentence_does(title, start):
    nothing = table_of([], VERDICTS)
    given = dataclasses.replace(study(), title=title)
    assert write_findings(nothing, table_of([], SPARING), given).startswith(start)
