"""The web page and the CSV table: every number of the tables, readable and escaped."""

from __future__ import annotations

import csv
import io
import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.reporting import StudyTables, summary_csv, summary_page

NASTY = "<script>alert('x')</script> & \"co\""


class Page(HTMLParser):
    """Text of a page: tables as lists of rows, and everything by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.headings: dict[str, list[str]] = {"h1": [], "h2": [], "p": [], "title": []}
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, _attributes):
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "caption":
            self.captions.append("")
        elif tag in self.headings:
            self.headings[tag].append("")

    def handle_endtag(self, _tag):
        self.tags.append("")

    def handle_data(self, data):
        if self.tags[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif self.tags[-1] == "caption":
            self.captions[-1] += data
        elif self.tags[-1] in self.headings:
            self.headings[self.tags[-1]][-1] += data


def study(**settings: object) -> StudySettings:
    grid = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=("random", "src"))
    return StudySettings(**({"title": "Toy study", "grids": (grid,)} | settings))


def summary(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "subset": "full", "part": "test",
        "metric": "auroc", "target": True, "init": "random", "mean": 0.7123456, "sd": 0.0123456,
        "low": 0.6987654, "high": 0.7259258, "runs": 5, "training_images": 1234, "images": 321,
    }  # fmt: skip
    return pd.DataFrame([row | changes])


def gains(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "subset": "full", "part": "test",
        "metric": "quadratic_kappa", "target": True, "init": "src", "reference": "random",
        "mean": -0.0456789, "low": -0.0789012, "high": -0.0124566, "p": 0.001, "p_sign_flip": 0.25,
        "p_holm": 0.0123456, "pairs": 5, "paired_by": "seed",
    }  # fmt: skip
    return pd.DataFrame([row | changes])


def search(
    values: tuple[float, ...] = (0.7, 0.8123), chosen: int = 1, **changes: object
) -> pd.DataFrame:
    rates = [10.0 ** (i - 3) for i in range(len(values))]
    cell = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "init": "src", "subset": "full",
        "split": "holdout", "seed": 0, "monitor": "metric", "metric": "auroc", "best_step": 3.0,
    }  # fmt: skip
    edges = {0: "lower", len(values) - 1: "upper"}
    rows = [
        {"learning_rate": rate, "value": value, "chosen": i == chosen,
         "edge": edges.get(i, "no") if i == chosen else "no"}
        for i, (rate, value) in enumerate(zip(rates, values, strict=True))
    ]  # fmt: skip
    return pd.DataFrame([cell | row | changes for row in rows])


AUDIT = {
    "images": 1555, "patients": 444, "rejected": 3, "classes": {"healthy": 1000, "ill": 555},
    "sites": {"north": 900, "south": 655}, "rejected_reasons": {"decode: truncated": 3},
}  # fmt: skip


def page(**changes: object) -> Page:
    arguments = {
        "study": study(), "findings": "Nothing was found.", "summary": summary(), "gains": gains(),
        "searches": pd.DataFrame(), "audits": {"chest": AUDIT}, "origins": {"chest": "drawn here"},
    } | changes  # fmt: skip
    tables = StudyTables(*(arguments.pop(name) for name in ("summary", "gains", "searches")))
    return Page(summary_page(tables=tables, **arguments))


def test_the_summary_has_a_row_a_cell_with_numbers_of_three_decimals():
    header, row = page().tables[0]
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "network": "cbr", "training data": "full", "images": "1234",
        "part": "test", "metric": "AUROC", "random": "0.712 [0.699, 0.726]", "runs": "5",
    }  # fmt: skip


def test_every_init_is_a_column_and_a_missing_one_a_dash():
    several = pd.concat([summary(), summary(init="src", mean=0.9), summary(model="vit")])
    header, first, second = page(summary=several).tables[0]
    assert header[-3:] == ["random", "src", "runs"]
    assert [cell.split()[0] for cell in first[-3:]] == ["0.712", "0.900", "5"]
    assert second[-2] == "–"


def test_the_gains_have_signed_numbers_the_corrected_p_and_a_verdict():
    header, row = page().tables[1]
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "network": "cbr", "training data": "full",
        "comparison": "src − random", "metric": "quadratic κ", "difference": "-0.046",
        "interval": "-0.079 to -0.012", "p (Holm)": "0.0123", "pairs": "5 seeds",
        "verdict": "harms",
    }  # fmt: skip
    better = page(gains=gains(mean=0.05, low=0.01, high=0.09)).tables[1][1]
    assert better[5:7] == ["+0.050", "+0.010 to +0.090"]
    assert better[-1] == "helps"


def test_the_data_have_a_row_a_data_set_with_counts_by_class_site_and_reason():
    header, row = page().tables[2]
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "origin": "drawn here", "labels": "healthy 1,000, ill 555",
        "sites": "north 900, south 655", "why rejected": "decode: truncated 3", "images": "1,555",
        "patients": "444", "rejected": "3",
    }  # fmt: skip


def test_a_search_has_a_row_a_cell_with_what_every_candidate_reached_and_the_choice():
    both = pd.concat([search((0.7, 0.8123, math.nan)), search((0.9, 0.6), 0, init="random")])
    found = page(searches=both)
    header, first, second = found.tables[2]
    assert dict(zip(header, first, strict=True)) == {
        "recipe": "r", "data set": "chest", "network": "cbr", "init": "src", "training data": "full",
        "split": "holdout", "decided by": "AUROC", "remark": "", "rate 0.001": "0.700",
        "rate 0.01": "0.812", "rate 0.1": "diverged", "chosen": "0.01",
    }  # fmt: skip
    assert second[3] == "random"
    assert second[-5:] == ["the lowest candidate", "0.900", "0.600", "–", "0.001"]
    assert "Learning rates chosen on validation" in found.headings["h2"]


@pytest.mark.parametrize(("chosen", "warned"), [(0, True), (1, False), (2, True)])
def test_a_choice_at_the_edge_of_the_candidates_asks_for_a_wider_search(chosen, warned):
    paragraphs = page(searches=search((0.5, 0.6, 0.7), chosen)).headings["p"]
    warnings = [text for text in paragraphs if "lowest or highest candidate" in text]
    assert len(warnings) == warned
    assert all("1 of 1 choices" in text and "'learning_rates'" in text for text in warnings)


def test_a_search_by_loss_says_so():
    header, row = page(searches=search(monitor="loss")).tables[2]
    assert row[header.index("decided by")] == "loss"


def test_a_study_without_a_search_has_no_section_of_it():
    assert page().headings["h2"] == ["Metric of each cell", "Gains", "Data"]


def test_many_classes_are_only_counted():
    classes = {str(i): 1 for i in range(21)}
    row = page(audits={"chest": AUDIT | {"classes": classes}}, origins={}).tables[2][1]
    assert row[:2] == ["chest", "21 different"]


def test_one_run_has_no_interval_and_says_why():
    lonely = summary(low=math.nan, high=math.nan, sd=math.nan, runs=1)
    header, row = page(summary=lonely).tables[0]
    assert row[header.index("random")] == "0.712"
    alone = gains(low=math.nan, high=math.nan, p=math.nan, p_holm=math.nan, pairs=1)
    header, row = page(gains=alone).tables[1]
    assert row[header.index("interval")] == "none (one run)"
    assert row[header.index("verdict")] == "can't tell"


def test_a_number_that_does_not_exist_is_not_shown_as_nan():
    lonely = summary(low=math.nan, high=math.nan, sd=math.nan, runs=1)
    alone = gains(low=math.nan, high=math.nan, p=math.nan, p_holm=math.nan, pairs=1)
    tables = page(summary=lonely, gains=alone).tables
    assert "nan" not in tables[0][1]
    assert "nan" not in tables[1][1]


def test_several_runs_without_an_interval_are_not_called_one_run():
    undefined = gains(low=math.nan, high=math.nan, p=math.nan, p_holm=math.nan, pairs=3)
    header, row = page(gains=undefined).tables[1]
    assert row[header.index("pairs")] == "3 seeds"
    assert row[header.index("interval")] == "undefined"


def test_only_target_metrics_of_test_and_external_parts_are_shown():
    several = pd.concat([
        summary(), summary(part="external"), summary(part="validation"),
        summary(metric="brier", target=False),
    ])  # fmt: skip
    rows = page(summary=several).tables[0][1:]
    assert [(row[4], row[5]) for row in rows] == [("test", "AUROC"), ("external", "AUROC")]
    family = pd.concat([gains(), gains(part="external"), gains(target=False)])
    assert len(page(gains=family).tables[1]) == 2


def test_title_question_findings_and_confidence_are_on_the_page():
    found = page(study=study(question="Does it help?", confidence=0.9))
    assert found.headings["title"] == ["Toy study"]
    assert found.headings["h1"] == ["Toy study"]
    assert found.headings["p"] == ["Does it help?", "Nothing was found."]
    assert "90% t interval" in found.captions[0]
    assert "90% intervals" in found.captions[1]


def test_a_study_without_a_question_has_no_empty_paragraph():
    assert page().headings["p"] == ["Nothing was found."]


def test_everything_that_a_user_writes_is_escaped():
    audit = AUDIT | {"classes": {NASTY: 1}, "sites": {NASTY: 2}, "rejected_reasons": {NASTY: 3}}
    text = summary_page(
        study(title=NASTY, question=NASTY), NASTY,
        StudyTables(
            summary(dataset=NASTY, model=NASTY), gains(dataset=NASTY, model=NASTY), search(model=NASTY)
        ),
        {NASTY: audit}, {NASTY: NASTY},
    )  # fmt: skip
    assert "<script" not in text
    assert '& "co"' not in text
    found = Page(text)
    assert found.headings["h1"] == [NASTY]
    assert found.headings["p"][:2] == [NASTY, NASTY]
    assert found.tables[0][1][:2] == [NASTY, NASTY]
    assert found.tables[2][1][2] == NASTY
    assert found.tables[3][1][:3] == [NASTY, NASTY, f"{NASTY} 1"]


def test_the_page_needs_nothing_from_elsewhere():
    text = summary_page(
        study(), "found", StudyTables(summary(), gains(), search()), {"chest": AUDIT}, {}
    )
    assert text.startswith("<!doctype html>")
    assert "charset='utf-8'" in text
    assert not {"script", "link", "img", "iframe"} & set(Page(text).tags)
    assert "http" not in text


def test_an_init_without_gains_leaves_an_empty_table():
    assert len(page(gains=gains().iloc[:0]).tables[1]) == 1


def test_the_csv_holds_the_target_metrics_unrounded():
    mean = 0.1 + 0.2
    table = pd.concat([summary(mean=mean, part="validation"), summary(target=False)])
    text = summary_csv(table).to_csv(index=False)
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row["mean"]) == mean
    assert float(row["low"]) == 0.6987654
    assert list(row) == [name for name in table if name != "target"]


@pytest.mark.parametrize("p", [1e-12, 0.5, 1.0])
def test_a_corrected_p_keeps_three_digits(p):
    assert float(page(gains=gains(p_holm=p)).tables[1][1][7]) == pytest.approx(p, rel=1e-3)


def test_partial_transfers_have_a_table_of_their_own():
    partial = gains(init="src-upto2-stats", reference="src-stats", mean=0.0311111)
    cells = pd.concat([summary(), summary(init="src-upto2-stats")])
    found = page(gains=pd.concat([gains(), partial]), summary=cells)
    place = found.headings["h2"].index("Transferred depth")
    rows = found.tables[place][1:]
    assert [row[3] for row in rows] == ["src-upto2-stats − src-stats"]
    assert "+0.031" in rows[0]
    assert all("upto" not in cell for table in found.tables[:2] for row in table for cell in row)


def test_a_study_without_partial_transfers_has_no_table_of_depths():
    assert "Transferred depth" not in page().headings["h2"]
