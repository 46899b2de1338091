"""The report and the CSV table: every number of the tables, readable and escaped."""

from __future__ import annotations

import csv
import io
import math
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml

from medtransfer.config.figures import ALL_FIGURES
from medtransfer.config.results import ResultsSettings
from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.evaluation.run_records import RUN_RECORDS
from medtransfer.pages import Picture
from medtransfer.reporting import (
    FIGURE_GROUPS,
    Settings,
    StudyFigure,
    StudyTables,
    marked_up,
    study_report,
    summary_csv,
)
from medtransfer.statistics.gain_factors import GAIN_FACTORS
from medtransfer.statistics.sparing import SPARING
from medtransfer.statistics.verdict import VERDICTS

NASTY = "<script>alert('x')</script> & \"co\""


class Page(HTMLParser):
    """Text of a page: tables as lists of rows, and everything by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.place = text, ""
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.under: dict[str, list[list[list[str]]]] = {}
        names = ("h1", "h2", "h3", "h4", "p", "li", "title", "pre", "summary", "figcaption")
        self.headings: dict[str, list[str]] = {name: [] for name in names}
        self.attributes: list[dict[str, str]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append({"tag": tag, **dict(attributes)})
        if tag == "table":
            self.tables.append([])
            self.under.setdefault(self.place, []).append(self.tables[-1])
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
        elif self.tags[-2:] == ["caption", "span"]:
            self.captions[-1] += data
        elif self.tags[-1] in self.headings:
            self.headings[self.tags[-1]][-1] += data
            self.place = data if self.tags[-1] in ("h2", "h3") else self.place


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


def verdicts(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "subset": "full",
        "metric": "quadratic_kappa", "init": "src", "reference": "random", "family": "starts",
        "verdict": "harms", "within_margin": False, "other_patients": "not shown", "margin": 0.02,
        "above_chance": "both",
        "mean": -0.0456789, "sd": 0.01, "low": -0.0789012, "high": -0.0124566, "p": 0.001,
        "p_adjusted": 0.0123456, "p_sign_flip": 0.25, "p_equivalent": 0.8,
        "p_equivalent_adjusted": 0.987654, "standardised": -4.56789, "share_of_possible": -0.1,
        "repeat_error": 0.01, "patient_error": 0.02, "low_both": -0.0987654, "high_both": 0.0071234,
        "detectable": 0.0345678, "needed": 12.0, "needed_low": 6.0, "needed_high": 80.0, "pairs": 5,
        "paired_by": "seed",
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    VERDICTS.check(table)
    return table


def sparing(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "subset": "full", "metric": "auroc", "question": "network",
        "model": "cbr", "init": "src", "size": 1e6, "best_model": "vit", "best_init": "other",
        "mean": -0.0023456, "low": -0.0045678, "high": -0.0001234, "margin": 0.01,
        "p_equivalent": 0.01, "p_adjusted": 0.0234567, "equivalent": True, "chosen": True, "pairs": 5,
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    SPARING.check(table)
    return table


def factors(**changes: object) -> pd.DataFrame:
    row = {
        "init": "src", "metric": "auroc", "term": "log10 training images", "estimate": -0.0123456,
        "low": -0.0223456, "high": -0.0023456, "p": 0.0156789, "freedom": 5, "datasets": 7, "rows": 42,
        "left_out": "", "remark": "",
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    GAIN_FACTORS.check(table)
    return table


ONE_RUN = {
    "low": math.nan, "high": math.nan, "p": math.nan, "p_adjusted": math.nan,
    "p_equivalent_adjusted": math.nan, "standardised": math.nan, "low_both": math.nan,
    "high_both": math.nan, "detectable": math.nan, "needed": math.nan, "pairs": 1,
    "verdict": "can't tell", "other_patients": "",
}  # fmt: skip


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
    "images_of_unknown_patients": 0, "patients_at_several_sites": 0,
    "contradictions": {"images": 2, "examples": [[3, 9]]}, "dropped": [], "burned_in": {"yes": 7},
    "site_confounding": {"label": 0.5}, "accepted_leakage": [],
    "duplicates": {
        "exact_pairs": 4, "exact_pairs_of_different_patients": 1, "exact_examples": [[1, 2]],
        "near_pairs": 0, "near_pairs_of_different_patients": 0, "near_examples": [],
    },
    "splits": {
        "holdout": {
            "parts": {
                "train": {
                    "images": 1111, "patients": 400, "classes": {"healthy": 700, "ill": 411},
                    "sites": {"north": 900, "south": 211}, "groups": {"sex": {"F": 1000, "M": 111}},
                },
            },
            "pairs_within_parts": {"exact": 4},
            "leakage": {"patients": 0, "exact_duplicates": 2},
        },
    },
}  # fmt: skip


def records(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "init": "random", "subset": "full",
        "split": "holdout", "seed": 0, "path": "r/chest/cbr/random/full/holdout/seed0",
        "role": "study", "pretraining": "", "training_images": 1234.0, "parameters": 5e6,
        "steps": 2500.0, "best_step": 1750.0, "seconds": 7200.5, "device": "CPU", "threads": 2.0,
        "hardware": "Some processor, 8 cores", "day": "2026-05-04", "bytes": 12.5e6,
        "version_torch": "2.11.0",
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    RUN_RECORDS.check(table)
    return table


def metrics(**changes: object) -> pd.DataFrame:
    row = {
        "recipe": "r", "dataset": "chest", "model": "cbr", "init": "random", "subset": "full",
        "split": "holdout", "seed": 0, "part": "test", "metric": "auroc", "target": True,
        "value": 0.7654321, "images": 321, "patients": 300, "training_images": 1234,
        "test_train_ratio": 0.26, "parameters": 5e6,
    }  # fmt: skip
    table = pd.DataFrame([row | changes])
    METRICS.check(table)
    return table


PICTURE = Picture("data:image/png;base64,AAAA", 300, 200)
TABLES = ("summary", "verdicts", "sparing", "factors", "searches", "metrics", "records")


def page(**changes: object) -> Page:
    none = pd.DataFrame()
    arguments = {
        "study": study(), "findings": "Nothing was found.", "summary": summary(),
        "verdicts": verdicts(), "sparing": none, "factors": none, "searches": none,
        "metrics": metrics(), "records": records(), "audits": {"chest": AUDIT},
        "origins": {"chest": "drawn here"}, "figures": [], "configuration": {}, "name": "toy",
    } | changes  # fmt: skip
    tables = StudyTables(**{name: arguments.pop(name) for name in TABLES})
    names = ("name", "study", "origins", "configuration")
    settings = Settings(**{name: arguments.pop(name) for name in names})
    return Page(study_report(settings, tables=tables, **arguments))


def under(found: Page, heading: str) -> list[list[str]]:
    """The first table below a heading."""
    return found.under[heading][0]


CELLS, VERDICTS_HEAD = "Metric of each cell", "Verdicts"


def test_the_summary_has_a_row_a_cell_with_numbers_of_three_decimals():
    header, row = under(page(), CELLS)
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "network": "cbr", "training data": "full", "images": "1234",
        "part": "test", "metric": "AUROC", "random": "0.712 [0.699, 0.726]", "runs": "5",
    }  # fmt: skip


def test_every_init_is_a_column_and_a_missing_one_a_dash():
    several = pd.concat([summary(), summary(init="src", mean=0.9), summary(model="vit")])
    header, first, second = under(page(summary=several), CELLS)
    assert header[-3:] == ["random", "src", "runs"]
    assert [cell.split()[0] for cell in first[-3:]] == ["0.712", "0.900", "5"]
    assert second[-2] == "–"


def test_a_verdict_has_signed_numbers_intervals_both_p_and_what_would_decide():
    header, row = under(page(), VERDICTS_HEAD)
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "network": "cbr", "training data": "full",
        "comparison": "src − random", "metric": "quadratic κ",
        "verdict": "harms; not shown for other patients", "difference": "-0.046",
        "interval": "-0.079 to -0.012", "with patients": "-0.099 to +0.007",
        "p (adjusted)": "0.0123", "p (equivalent)": "0.988", "standardised": "-4.57",
        "detectable": "0.035", "pairs": "5 seeds", "more needed": "",
    }  # fmt: skip
    better = verdicts(mean=0.05, low=0.01, high=0.09, verdict="helps", other_patients="")
    row = dict(zip(header, under(page(verdicts=better), VERDICTS_HEAD)[1], strict=True))
    assert [row[name] for name in ("verdict", "difference", "interval")] == [
        "helps", "+0.050", "+0.010 to +0.090"
    ]  # fmt: skip
    still_open = verdicts(verdict="can't tell", paired_by="fold")
    row = dict(zip(header, under(page(verdicts=still_open), VERDICTS_HEAD)[1], strict=True))
    assert (row["verdict"], row["more needed"]) == ("can't tell yet", "7 (1 to 75)")
    assert row["pairs"] == "5 folds"


def test_comparisons_that_were_not_declared_are_not_shown():
    looked_at = verdicts(init="other", family="", verdict="not declared", p_adjusted=math.nan)
    rows = under(page(verdicts=pd.concat([verdicts(), looked_at])), VERDICTS_HEAD)[1:]
    assert [row[3] for row in rows] == ["src − random"]


def test_each_source_has_an_answer():
    both = pd.concat([
        verdicts(verdict="helps", other_patients="holds"),
        verdicts(reference="src-stats", verdict="equivalent", other_patients=""),
    ])  # fmt: skip
    header, row = under(page(verdicts=both), "Answer")
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "network": "cbr", "training data": "full", "source": "src",
        "against random": "helps", "against its statistics": "equivalent within ±0.02",
        "answer": "helps, and its statistics alone do as well",
    }  # fmt: skip
    assert under(page(), "Answer")[1][5] == "–"
    assert "Answer" not in page(verdicts=verdicts(init="gabor")).under


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "equivalent, the smallest"),
        ({"question": "depth"}, "equivalent, the shallowest"),
        ({"chosen": False}, "equivalent"),
        ({"equivalent": False, "chosen": False}, "not shown"),
    ],
)
def test_what_would_do_as_well_has_a_row_a_candidate(changes, answer):
    header, row = under(page(sparing=sparing(**changes)), "As good as the best?")
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "training data": "full", "candidate": "cbr, src", "best": "vit, other",
        "metric": "AUROC", "answer": answer, "difference": "-0.002", "interval": "-0.005 to -0.000",
        "margin": "0.01", "p (adjusted)": "0.0235", "pairs": "5",
    }  # fmt: skip
    assert "As good as the best?" not in page().headings["h3"]


def test_a_candidate_of_one_run_has_no_interval():
    alone = sparing(low=math.nan, high=math.nan, p_adjusted=math.nan, pairs=1, equivalent=False)
    header, row = under(page(sparing=alone), "As good as the best?")
    cells = dict(zip(header, row, strict=True))
    assert [cells[name] for name in ("answer", "interval", "p (adjusted)")] == [
        "not shown", "none (one run)", "–"
    ]  # fmt: skip


def test_what_gains_depend_on_has_a_row_a_term_with_the_range_without_one_data_set():
    several = pd.concat([
        factors(), factors(left_out="d1", estimate=-0.03), factors(left_out="d2", estimate=0.01),
        factors(term="domain distance", left_out="d3", estimate=9.0),
        factors(init="other", estimate=math.nan, remark="two data sets; needed: three"),
    ])  # fmt: skip
    found = page(factors=several)
    header, row = under(found, "What do gains depend on?")
    assert dict(zip(header, row, strict=True)) == {
        "source": "src", "metric": "AUROC", "term": "log10 training images",
        "estimate": "-0.0123", "interval": "-0.0223 to -0.0023", "p": "0.0157",
        "range": "-0.0300 to +0.0100", "data sets": "7", "gains": "42",
    }  # fmt: skip
    assert "other: two data sets; needed: three." in found.headings["p"]
    nothing = page(factors=factors(estimate=math.nan, remark="too few"))
    assert "src: too few." in nothing.headings["p"]
    assert len(nothing.tables) == len(page().tables)


def test_the_data_have_a_row_a_data_set_with_counts_by_class_site_and_reason():
    header, row = under(page(), "Data")
    assert dict(zip(header, row, strict=True)) == {
        "data set": "chest", "origin": "drawn here", "labels": "healthy 1,000, ill 555",
        "sites": "north 900, south 655", "why rejected": "decode: truncated 3", "images": "1,555",
        "patients": "444", "rejected": "3",
    }  # fmt: skip


def test_a_search_has_a_row_a_cell_with_what_every_candidate_reached_and_the_choice():
    both = pd.concat([search((0.7, 0.8123, math.nan)), search((0.9, 0.6), 0, init="random")])
    found = page(searches=both)
    header, first, second = under(found, "Learning rates chosen on validation")
    assert dict(zip(header, first, strict=True)) == {
        "recipe": "r", "data set": "chest", "network": "cbr", "init": "src", "training data": "full",
        "split": "holdout", "decided by": "AUROC", "remark": "", "rate 0.001": "0.700",
        "rate 0.01": "0.812", "rate 0.1": "diverged", "chosen": "0.01",
    }  # fmt: skip
    assert second[3] == "random"
    assert second[-5:] == ["the lowest candidate", "0.900", "0.600", "–", "0.001"]
    assert "Learning rates chosen on validation" in found.headings["h3"]


@pytest.mark.parametrize(("chosen", "warned"), [(0, True), (1, False), (2, True)])
def test_a_choice_at_the_edge_of_the_candidates_asks_for_a_wider_search(chosen, warned):
    paragraphs = page(searches=search((0.5, 0.6, 0.7), chosen)).headings["p"]
    warnings = [text for text in paragraphs if "lowest or highest candidate" in text]
    assert len(warnings) == warned
    assert all("1 of 1 choices" in text and "'learning_rates'" in text for text in warnings)


def test_a_search_by_loss_says_so():
    header, row = under(page(searches=search(monitor="loss")), "Learning rates chosen on validation")
    assert row[header.index("decided by")] == "loss"


def test_a_study_without_a_search_has_no_section_of_it():
    assert page().headings["h3"] == [CELLS, VERDICTS_HEAD]


def test_many_classes_are_only_counted():
    classes = {str(i): 1 for i in range(21)}
    found = page(audits={"chest": AUDIT | {"classes": classes}}, origins={})
    row = under(found, "Data")[1]
    assert row[:2] == ["chest", "21 different"]


def test_one_run_has_no_interval_and_says_why():
    lonely = summary(low=math.nan, high=math.nan, sd=math.nan, runs=1)
    header, row = under(page(summary=lonely), CELLS)
    assert row[header.index("random")] == "0.712"
    header, row = under(page(verdicts=verdicts(**ONE_RUN)), VERDICTS_HEAD)
    cells = dict(zip(header, row, strict=True))
    assert cells["interval"] == "none (one run)"
    assert (cells["verdict"], cells["more needed"]) == ("can't tell yet", "–")


def test_a_number_that_does_not_exist_is_not_shown_as_nan():
    lonely = summary(low=math.nan, high=math.nan, sd=math.nan, runs=1)
    tables = page(summary=lonely, verdicts=verdicts(**ONE_RUN)).tables
    cells = [cell for table in tables for row in table for cell in row]
    assert not [cell for cell in cells if "nan" in cell]
    assert cells.count("–") >= 5


def test_several_runs_without_an_interval_are_not_called_one_run():
    undefined = verdicts(**ONE_RUN | {"pairs": 3})
    header, row = under(page(verdicts=undefined), VERDICTS_HEAD)
    assert row[header.index("pairs")] == "3 seeds"
    assert row[header.index("interval")] == "undefined"


def test_only_target_metrics_of_test_and_external_parts_are_shown():
    several = pd.concat([
        summary(), summary(part="external"), summary(part="validation"),
        summary(metric="brier", target=False),
    ])  # fmt: skip
    rows = under(page(summary=several), CELLS)[1:]
    assert [(row[4], row[5]) for row in rows] == [("test", "AUROC"), ("external", "AUROC")]


def test_title_question_findings_and_confidence_are_on_the_page():
    found = page(study=study(question="Does it help?", confidence=0.9), findings="It does. Each 3.")
    assert found.headings["title"] == ["Toy study"]
    assert found.headings["h1"] == ["Toy study"]
    assert found.headings["p"][0] == "Does it help?"
    assert found.headings["li"][-2:] == ["It does.", "Each 3."]
    captions = " ".join(found.captions)
    assert "90% t interval between runs" in captions
    assert "90% t intervals" in captions
    assert "a power of 80%" in captions


def test_the_parts_have_their_order_and_empty_ones_are_left_out():
    figure = StudyFigure("gains", PICTURE, "How.")
    whole = page(study=study(question="Does it help?"), figures=[figure])
    assert whole.headings["h2"] == [
        "Question", "Answer", "Data", "Figures", "Tables", "Runs", "Versions, hardware and cost",
        "Settings",
    ]  # fmt: skip
    less = page(audits={}).headings["h2"]
    assert less[:3] == ["Answer", "Tables", "Runs"]


def test_everything_that_a_user_writes_is_escaped():
    audit = AUDIT | {"classes": {NASTY: 1}, "sites": {NASTY: 2}, "rejected_reasons": {NASTY: 3}}
    found = page(
        study=study(title=NASTY, question=NASTY), findings=NASTY, name=NASTY,
        summary=summary(dataset=NASTY, model=NASTY), verdicts=verdicts(dataset=NASTY, model=NASTY),
        sparing=sparing(dataset=NASTY, model=NASTY), factors=factors(term=NASTY, remark=NASTY),
        searches=search(model=NASTY), records=records(hardware=NASTY, path=NASTY, version_torch=NASTY),
        audits={NASTY: audit}, origins={NASTY: NASTY}, configuration={NASTY: [NASTY]},
        figures=[StudyFigure("gains", PICTURE, NASTY)],
    )  # fmt: skip
    assert "<script" not in found.text
    assert '& "co"' not in found.text.replace("&quot;", "")
    assert found.headings["h1"] == [NASTY]
    assert found.headings["p"][0] == NASTY
    for heading in ("Answer", CELLS, VERDICTS_HEAD):
        assert under(found, heading)[1][:2] == [NASTY, NASTY]
    assert under(found, "As good as the best?")[1][2] == f"{NASTY}, src"
    assert under(found, "What do gains depend on?")[1][2:4] == [NASTY, NASTY]
    assert under(found, "Learning rates chosen on validation")[1][2] == NASTY
    assert under(found, "Data")[1][:3] == [NASTY, NASTY, f"{NASTY} 1"]
    assert under(found, "Runs")[1][0] == NASTY
    assert [row[1] for row in found.under["Versions, hardware and cost"][1][1:]] == [NASTY]
    (image,) = (one for one in found.attributes if one["tag"] == "img")
    assert NASTY in image["alt"]


def test_the_page_needs_nothing_from_elsewhere():
    found = page(figures=[StudyFigure("gains", PICTURE, "How.")])
    assert found.text.startswith("<!doctype html>")
    assert "charset='utf-8'" in found.text
    assert not {"script", "iframe", "object"} & set(found.tags)
    addresses = [one.get("src") or one.get("href") for one in found.attributes]
    assert {address.split(",")[0][:5] for address in addresses if address and address[0] != "#"} == {
        "data:"
    }
    assert "http:" not in found.text and "https:" not in found.text


def test_what_links_lead_to_is_on_the_page_and_no_name_is_there_twice():
    figures = [StudyFigure(name, PICTURE, "How.") for name in ALL_FIGURES]
    found = page(figures=figures, study=study(question="Does it help?"), sparing=sparing())
    names = [one["id"] for one in found.attributes if "id" in one]
    assert len(set(names)) == len(names)
    links = [one["href"][1:] for one in found.attributes if one["tag"] == "a"]
    assert set(links) <= set(names) and len(links) > 2 * len(ALL_FIGURES)


def test_every_registered_figure_has_a_place_of_its_own():
    placed = [name for names in FIGURE_GROUPS.values() for name in names]
    assert sorted(placed) == sorted(ALL_FIGURES)


def test_figures_stand_in_their_groups_with_captions_and_where_they_are():
    figures = [
        StudyFigure("knn", PICTURE, "By the *nearest* images.\nMade from the ``knn`` table."),
        StudyFigure("my_own", PICTURE, "Mine."),
        StudyFigure("gains", PICTURE, "Paired."),
    ]
    found = page(figures=figures)
    assert found.headings["h3"][:3] == ["Results", "Hidden layers", "Further figures"]
    assert found.headings["h4"] == ["Gains", "Nearest neighbours by layer (kNN)", "My own"]
    assert "By the <em>nearest</em> images. Made from the <code>knn</code> table." in found.text
    for suffix in ("pdf", "csv"):
        assert f"results/figures/toy/knn.{suffix}" in found.text
    images = [one for one in found.attributes if one["tag"] == "img"]
    assert images[1]["alt"] == (
        "Nearest neighbours by layer (kNN). By the nearest images. Made from the knn table."
    )
    assert {(one["width"], one["height"], one["src"]) for one in images} == {
        ("300", "200", PICTURE.source)
    }
    assert not [one for one in images if "loading" in one]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*a b* c", "<em>a b</em> c"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("``a*b*c``", "<code>a*b*c</code>"),
        ("a\n  b", "a b"),
        ("``<x>`` & *<y>*", "<code>&lt;x&gt;</code> &amp; <em>&lt;y&gt;</em>"),
        ("(*a*), *b*.", "(<em>a</em>), <em>b</em>."),
    ],
)
def test_captions_know_emphasis_and_code_alone(text, expected):
    assert marked_up(text) == expected


def test_long_tables_are_folded_and_short_ones_are_not():
    assert not page(searches=search()).headings["summary"][1:-1]
    many = pd.concat([summary(model=f"m{i}") for i in range(13)])
    found = page(summary=many)
    assert "Target metric (13 rows)" in found.headings["summary"]
    assert len(under(found, CELLS)) == 14


def test_each_run_has_a_row_with_its_result_and_what_it_took():
    both = pd.concat([
        records(),
        records(path="p/f/cbr/random/full/holdout/seed0", recipe="p", role="pre-training",
                steps=math.nan, best_step=math.nan, seconds=math.nan),
    ])  # fmt: skip
    other_metrics = pd.concat([
        metrics(), metrics(part="external", value=0.1), metrics(metric="brier", target=False),
    ])  # fmt: skip
    header, first, second = under(page(records=both, metrics=other_metrics), "Runs")
    assert dict(zip(header, first, strict=True)) == {
        "run": "r/chest/cbr/random/full/holdout/seed0", "role": "study", "metric": "AUROC",
        "hardware": "Some processor, 8 cores", "test": "0.765", "best step": "1,750",
        "steps": "2,500", "seconds": "7,200.5", "day": "2026-05-04",
    }  # fmt: skip
    assert second[1:3] == ["pre-training", ""] and second[4:8] == ["–"] * 4


def test_runs_that_are_left_out_are_counted_and_named():
    without = page(study=study(left_out=("r/d/m/random", "r/d/m/src/full/holdout/seed2")))
    folders = "r/d/m/random, r/d/m/src/full/holdout/seed2"
    expected = f"4 runs are left out, not finished or not to be had: {folders}."
    assert expected in without.headings["p"]
    assert not any("left out" in text for text in page().headings["p"])


def test_hours_hardware_and_versions_are_summed_over_runs():
    gpu = {"device": "GPU", "hardware": "Some GPU", "threads": 4.0, "seconds": 1800.0}
    several = pd.concat([
        records(), records(), records(**gpu), records(role="pre-training", **gpu),
        records(seconds=math.nan, version_torch="2.12.0"), records(bytes=math.nan, **gpu),
    ])  # fmt: skip
    spent, hardware, versions = page(records=several).under["Versions, hardware and cost"]
    assert spent[1:] == [
        ["runs of the study", "5", "1", "8 (1 not known)", "50 (1 not known)"],
        ["pre-training", "1", "0.5", "0", "12.5"],
    ]
    assert hardware[1:] == [
        ["CPU", "Some processor, 8 cores", "3", "2"], ["GPU", "Some GPU", "3", "4"]
    ]  # fmt: skip
    assert versions[1:] == [["torch", "2.11.0", "5"], ["torch", "2.12.0", "1"]]


def test_results_from_elsewhere_have_no_runs_and_no_hardware():
    elsewhere = ResultsSettings(table="/home/somebody/secret/AUC.csv")
    none = pd.DataFrame()
    found = page(study=study(results=elsewhere), records=none, metrics=none, audits={})
    assert "No run was made here; the results come from elsewhere: …/AUC.csv." in found.headings["p"]
    assert "Versions, hardware and cost" not in found.headings["h2"]


def test_the_settings_are_yaml_that_says_the_same():
    configuration = {"studies": {"toy": {"title": "T", "seeds": [0, 1], "margin": 0.02, "k": None}}}
    (text,) = page(configuration=configuration).headings["pre"]
    assert yaml.safe_load(text) == configuration


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jane/data/table.csv", "…/table.csv"),
        ("~/data/table.csv", "…/table.csv"),
        ("C:\\Users\\jane\\table.csv", "…/table.csv"),
        ("read /data/jane/x.png failed", "read …/x.png failed"),
        ("resources/results/AUC.csv", "resources/results/AUC.csv"),
        ("and/or, 1/2, at https://a.org/b/c", "and/or, 1/2, at https://a.org/b/c"),
    ],
)
def test_no_folder_outside_the_project_is_named(text, shown):
    found = page(
        configuration={"a": [{"b": text}]}, origins={"chest": text},
        audits={"chest": AUDIT | {"rejected_reasons": {text: 3}}},
    )  # fmt: skip
    assert yaml.safe_load(found.headings["pre"][0]) == {"a": [{"b": shown}]}
    row = under(found, "Data")[1]
    assert (row[1], row[4]) == (shown, f"{shown} 3")
    assert "jane" not in found.text


def test_warnings_stand_in_the_open_and_the_audit_of_each_data_set_behind_them():
    found = page()
    warned = " ".join(found.headings["p"])
    assert "chest: 2 equal images have different labels (manifest rows 3 and 9)." in warned
    assert "chest: The site tells much about label (Cramér's V 0.50)" in warned
    assert "chest: 7 headers say" in warned
    assert found.headings["summary"][0] == "chest: parts, leakage, duplicates"
    _, parts, pairs, duplicates, rejected = found.under["Data"]
    assert parts[1] == [
        "holdout", "train", "healthy 700, ill 411", "north 900, south 211", "1,111", "400"
    ]  # fmt: skip
    assert [row[2] for row in pairs[1:]] == ["4", "0", "2"]
    assert duplicates[1:] == [["exact", "4", "1"], ["near", "0", "0"]]
    assert rejected[1] == ["decode: truncated", "3"]


def test_without_comparisons_the_table_of_verdicts_is_empty():
    assert len(under(page(verdicts=verdicts().iloc[:0]), VERDICTS_HEAD)) == 1


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
    header, row = under(page(verdicts=verdicts(p_adjusted=p)), VERDICTS_HEAD)
    assert float(row[header.index("p (adjusted)")]) == pytest.approx(p, rel=1e-3)


def test_partial_transfers_have_a_table_of_their_own():
    partial = verdicts(init="src-upto2-stats", reference="src-stats", mean=0.0311111, family="depths")
    cells = pd.concat([summary(), summary(init="src-upto2-stats")])
    found = page(verdicts=pd.concat([verdicts(), partial]), summary=cells)
    rows = under(found, "Transferred depth")[1:]
    assert [row[3] for row in rows] == ["src-upto2-stats − src-stats"]
    assert "+0.031" in rows[0]
    others = [under(found, heading) for heading in ("Answer", CELLS, VERDICTS_HEAD)]
    assert all("upto" not in cell for table in others for row in table for cell in row)


def test_a_study_without_partial_transfers_has_no_table_of_depths():
    assert "Transferred depth" not in page().headings["h2"]
