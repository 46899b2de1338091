"""The tables of means as figures: what stands where, what the marks say, and the paper's numbers."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from medtransfer.evaluation.names import distinguish_recipes
from medtransfer.figures import class_table, main_table
from medtransfer.figures.main_table import letter, main_reference
from medtransfer.figures.style import apply_style
from medtransfer.figures.typeset import NO_RUNS, PAGE_WIDTH, PAPER_COLOUR, text_width, wrapped

SOURCES = [f"s{i}{kind}" for i in range(15) for kind in ("", "-stats")]
INITS = ("random", "a-stats", "a")
NOTHING = pd.DataFrame()


@pytest.fixture(autouse=True)
def project_style():
    with matplotlib.rc_context():
        apply_style()
        yield


def summary_of(
    datasets=("chest",), models=("cbr", "vit"), inits=INITS, subsets=("full",), **changes: object
) -> pd.DataFrame:
    """Of schema SUMMARY, in which each mean is different."""
    cells = [
        {"dataset": d, "model": m, "init": i, "subset": u}
        for u in subsets for d in datasets for m in models for i in inits
    ]  # fmt: skip
    table = pd.DataFrame(cells).assign(
        recipe="r", part="test", metric="auroc", target=True, sd=0.01, runs=5, training_images=1400,
        images=123,
    )  # fmt: skip
    mean = 0.5001 + 0.004 * np.arange(len(table))
    return table.assign(mean=mean, low=mean - 0.0123, high=mean + 0.0123, **changes)


def verdicts_of(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Of model, init, reference and verdict."""
    table = pd.DataFrame(rows, columns=["model", "init", "reference", "verdict"])
    return table.assign(recipe="r", dataset="chest", subset="full", metric="auroc")


def published_of(*rows: dict[str, object]) -> pd.DataFrame:
    usual = {
        "recipe": "", "dataset": "chest", "model": "cbr", "init": "a", "subset": "full", "output": "",
        "metric": "auroc", "value": 0.9321, "low": np.nan, "high": np.nan, "spread": np.nan,
        "runs": np.nan, "evidence": "primary", "origin": "table 1",
    }  # fmt: skip
    return pd.DataFrame([usual | row for row in rows])


def drawn(summary: pd.DataFrame, verdicts=NOTHING, published=NOTHING) -> Figure:
    tables = {"summary": summary, "verdicts": verdicts, "published": published}
    return main_table.draw(distinguish_recipes(tables))


def texts(figure: Figure) -> list[Text]:
    return [text for ax in figure.axes for text in ax.texts]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def foot(figure: Figure) -> str:
    return " ".join(words(figure)[words(figure).index(next(w for w in words(figure) if "Mean" in w)) :])


def line_of(figure: Figure, name: str) -> list[Text]:
    """The texts at the height of a name, from left to right."""
    own = next(text for text in texts(figure) if text.get_text() == name)
    alike = [t for t in texts(figure) if abs(t.get_position()[1] - own.get_position()[1]) < 0.05]
    return sorted(alike, key=lambda text: text.get_position()[0])


def row_words(figure: Figure, name: str) -> str:
    return "".join(text.get_text() for text in line_of(figure, name)).replace(name, "", 1)


def test_each_mean_stands_in_the_row_of_its_network_and_below_its_start():
    figure = drawn(summary_of())
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.0120.508±0.012"
    assert row_words(figure, "vit") == "0.512±0.0120.516±0.0120.520±0.012"
    heads = {w: next(t for t in texts(figure) if t.get_text() == w).get_position() for w in INITS}
    assert sorted(heads, key=lambda name: heads[name][0]) == list(INITS)
    for init, number in zip(INITS, (".500", ".504", ".508"), strict=True):
        place = next(t for t in texts(figure) if t.get_text() == number).get_position()
        assert abs(place[0] - heads[init][0]) < 0.35
        assert place[1] > heads[init][1]


def test_numbers_meet_at_their_decimal_point_bold_and_negative_ones_too():
    table = summary_of(models=("cbr", "vit", "deep"), inits=("random", "a"))
    table.loc[3, ["mean", "low", "high"]] = [-0.25, -0.4, -0.1]
    won = verdicts_of(("cbr", "a", "random", "helps"))
    figure = drawn(table, won)
    second = [t for name in ("cbr", "vit", "deep") for t in line_of(figure, name)[4:6]]
    assert {round(t.get_position()[0], 9) for t in second} == {round(second[0].get_position()[0], 9)}
    assert [t.get_text() for t in second] == ["0", ".504", "−0", ".250", "0", ".520"]
    assert [t.get_ha() for t in second] == ["right", "left"] * 3
    assert [t.get_weight() for t in second] == ["bold"] * 2 + ["normal"] * 4


def test_rules_are_horizontal_and_no_others_are_drawn():
    lines = [line for ax in drawn(summary_of()).axes for line in ax.lines]
    assert all(np.ptp(line.get_ydata()) == 0 for line in lines)
    thick = [line for line in lines if line.get_linewidth() > 0.6]
    assert len(thick) == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"a"}),
        ({1: "can't tell"}, set()),
        ({1: "equivalent"}, set()),
        ({2: "not declared"}, set()),
        ({2: "harms"}, set()),
        ({1: "harms"}, {"random"}),
    ],
)
def test_bold_is_better_than_every_other_start_by_a_verdict(changes, expected):
    # a - random, random - a-stats: in either direction
    rows = {1: ["cbr", "a", "random", "helps"], 2: ["cbr", "a", "a-stats", "helps"],
            3: ["cbr", "random", "a-stats", "helps"]}  # fmt: skip
    for row, verdict in changes.items():
        rows[row][3] = verdict
    found = main_table.select(
        {"summary": summary_of(), "verdicts": verdicts_of(*map(tuple, rows.values())),
         "published": NOTHING}
    )["summary"]  # fmt: skip
    assert set(found["init"][found["best"]]) == expected
    assert set(found["model"][found["best"]]) <= {"cbr"}


def test_a_start_without_others_is_never_bold():
    table = summary_of(inits=("random",))
    found = main_table.select({"summary": table, "verdicts": NOTHING, "published": NOTHING})
    assert not found["summary"]["best"].any()


def test_marks_are_the_verdicts_against_the_reference_and_are_explained():
    rows = [("cbr", "a", "random", "helps"), ("cbr", "a-stats", "random", "harms"),
            ("cbr", "a", "a-stats", "equivalent"), ("vit", "a", "random", "can't tell"),
            ("vit", "a-stats", "random", "not declared")]  # fmt: skip
    figure = drawn(summary_of(), verdicts_of(*rows))
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.012▼0.508±0.012▲"
    assert row_words(figure, "vit") == "0.512±0.0120.516±0.0120.520±0.012?"
    assert "▲ helps, ▼ harms, ? can't tell: verdict on the difference to random." in foot(figure)
    assert "=" not in foot(figure)
    assert "Bold" not in foot(figure)


def test_the_reference_is_what_most_pairs_subtract_the_earlier_of_two():
    pairs = [("m", "b", "a", "helps"), ("m", "c", "a", "helps"), ("m", "c", "b", "helps")]
    assert main_reference(verdicts_of(*pairs)) == "a"
    assert main_reference(verdicts_of(*pairs[1:])) == "a"
    # rows of many networks are one pair
    assert main_reference(verdicts_of(*pairs, *[(f"m{i}", "c", "b", "harms") for i in range(9)])) == "a"
    assert main_reference(NOTHING) == ""


def test_cells_without_runs_with_fewer_and_without_an_interval_say_so():
    table = summary_of()
    table.loc[0, "runs"] = 2
    table.loc[1, ["runs", "low", "high"]] = [1, np.nan, np.nan]
    table.loc[3, ["mean", "low", "high"]] = np.nan
    figure = drawn(table.drop(index=5))
    assert row_words(figure, "cbr") == "0.500±0.012 (2)0.504(1)0.508±0.012"
    assert row_words(figure, "vit") == f"undefined0.516±0.012{NO_RUNS}"
    assert "5 runs a cell, where brackets give no other number." in foot(figure)
    assert "± half width of its interval over runs; 5 runs a cell. n: train" in foot(
        drawn(summary_of())
    )


def test_only_whole_starts_the_target_and_the_test_part_are_printed():
    table = summary_of(models=("cbr",), inits=("random", "a", "a-upto1-stats", "a-upto1-random"))
    more = [table.assign(part="external", mean=0.9), table.assign(target=False, metric="accuracy")]
    figure = drawn(pd.concat([*more, table]))
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.012"


def test_subsets_are_blocks_and_data_sets_groups_of_columns():
    figure = drawn(summary_of(("chest", "fundus"), ("cbr",), ("random", "a"), ("full", "n100")))
    assert [w for w in words(figure) if "training data" in w] == [
        "training data: full", "training data: n100",
    ]  # fmt: skip
    heads = [w for w in words(figure) if "AUROC" in w]
    assert heads == ["chest\nAUROC, n = 1,400 / 123", "fundus\nAUROC, n = 1,400 / 123"] * 2
    assert words(figure).count("cbr") == 2


def test_data_sets_that_do_not_fit_side_by_side_are_parts_of_the_rows():
    inits = ("random", *SOURCES[:6])
    figure = drawn(summary_of(("chest", "fundus"), ("cbr", "vit"), inits))
    assert [w for w in words(figure) if "AUROC" in w] == [
        "chest, AUROC, n = 1,400 / 123", "fundus, AUROC, n = 1,400 / 123",
    ]  # fmt: skip
    assert [words(figure).count(init) for init in inits] == [1] * 7
    # row by row, each in its part
    numbers = [float(word) for word in words(figure) if word.startswith(".")]
    assert numbers == pytest.approx(0.5001 + 0.004 * np.arange(28), abs=0.0006)
    assert words(figure).count("cbr") == 2
    # data sets with other starts have heads of their own
    other = summary_of(("fundus",), ("cbr",), ("random", *SOURCES[6:12]))
    both = drawn(pd.concat([summary_of(("chest",), ("cbr",), inits), other]))
    assert [words(both).count(init) for init in (inits[1], "s3", "random")] == [1, 1, 2]


@pytest.mark.parametrize(
    "given",
    [
        summary_of(inits=("random",), models=("cbr",)),
        summary_of(inits=("random", *SOURCES[:29]), models=("cbr",)),
        summary_of(models=[f"a_long_network_name_{i}" for i in range(30)]),
        summary_of([f"set_{i}" for i in range(30)], ("cbr",), ("random", "source-stats_as_released")),
    ],
    ids=["one", "30 starts", "30 networks", "30 data sets"],
)  # fmt: skip
def test_tables_of_all_sizes_fit_the_page_and_no_two_words_overlap(given):
    figure = drawn(given)
    assert figure.get_figwidth() <= PAGE_WIDTH + 1e-9
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = np.array([t.get_window_extent(renderer).extents for t in texts(figure)]) / figure.dpi
    assert (boxes[:, :2] > -0.01).all()
    assert (boxes[:, 2] < figure.get_figwidth() + 0.01).all()
    assert (boxes[:, 3] < figure.get_figheight() + 0.01).all()
    # of ink, not of the space around it
    inner = boxes + np.array([0.015, 0.02, -0.015, -0.02])
    apart = (inner[:, None, 0] >= inner[None, :, 2]) | (inner[:, None, 1] >= inner[None, :, 3])
    overlapping = ~(apart | apart.T)
    np.fill_diagonal(overlapping, False)
    shown = words(figure)
    assert [(shown[i], shown[j]) for i, j in np.argwhere(overlapping)] == []
    numbers = [w for w in shown if w.startswith(".")]
    assert len(numbers) == len(given)


def test_recipes_are_rows_where_a_data_set_has_several():
    table = pd.concat([
        summary_of(("chest",), ("cbr",)).assign(recipe="long_whole"),
        summary_of(("chest",), ("cbr",), ("a",)).assign(recipe="freeze"),
        summary_of(("fundus",), ("cbr",)).assign(recipe="other"),
    ])  # fmt: skip
    figure = drawn(table)
    assert row_words(figure, "cbr\nfreeze") == f"{NO_RUNS}{NO_RUNS}0.500±0.012"
    assert row_words(figure, "cbr\nlong_whole") == "0.500±0.0120.504±0.0120.508±0.012"
    assert "fundus\nother\nAUROC, n = 1,400 / 123" in words(figure)
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.0120.508±0.012"


def test_a_papers_number_stands_in_grey_right_of_its_cell_with_its_evidence():
    papers = published_of(
        {"spread": 0.0213}, {"model": "vit", "evidence": "recollection", "origin": "table 2"}
    )
    figure = drawn(summary_of(), published=papers)
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.0120.508±0.0120.932±0.021a"
    assert row_words(figure, "vit") == "0.512±0.0120.516±0.0120.520±0.0120.932b"
    *_, whole, decimals, spread, mark = line_of(figure, "cbr")
    assert {t.get_color() for t in (whole, decimals, spread, mark)} == {PAPER_COLOUR}
    assert whole.get_size() < line_of(figure, "cbr")[1].get_size()
    assert words(figure).count("paper") == 1
    assert "a: primary (table 1). b: recollection, not verified, not to be compared (table 2)" in foot(
        figure
    )


@pytest.mark.parametrize(
    "other",
    [{"dataset": "d"}, {"model": "x"}, {"init": "b"}, {"subset": "n5"}, {"metric": "kappa"},
     {"output": "edema"}, {"recipe": "s"}],
)  # fmt: skip
def test_a_number_of_no_cell_of_the_study_is_not_shown(other):
    tables = {"summary": summary_of(), "verdicts": NOTHING, "published": published_of({}, other)}
    assert len(main_table.select(tables)["published"]) == 1
    tables["published"] = published_of(other)
    assert main_table.select(tables)["published"].empty
    assert "paper" not in words(drawn(**tables))


def test_a_number_that_names_no_recipe_stands_beside_each():
    both = pd.concat([summary_of().assign(recipe=name) for name in ("r", "s")])
    for recipe, expected in {"": ["r", "s"], "s": ["s"]}.items():
        tables = {"summary": both, "verdicts": NOTHING, "published": published_of({"recipe": recipe})}
        found = main_table.select(distinguish_recipes(tables))["published"]
        assert found["recipe"].tolist() == expected
        assert set(found["model"]) == {"cbr"}


def test_what_is_selected_is_what_is_printed():
    rows = [("cbr", "a", "random", "helps"), ("cbr", "a", "a-stats", "helps")]
    tables = {"summary": summary_of(), "verdicts": verdicts_of(*rows), "published": published_of({})}
    before = {name: table.copy() for name, table in tables.items()}
    chosen = main_table.select(tables)
    first = chosen["summary"].set_index(["model", "init"]).loc["cbr", "a"]
    assert [first["verdict"], first["reference"], first["best"]] == ["helps", "random", True]
    assert len(chosen["summary"]) == 6
    assert set(chosen["summary"]["verdict"]) == {"helps", ""}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name])


def test_studies_without_results_say_so():
    for summary in (NOTHING, summary_of()[:0], summary_of(part="validation")):
        figure = drawn(summary)
        assert "no results" in words(figure)[0]


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (25, "z"), (26, "aa"), (51, "az"), (52, "ba")])
def test_letters_go_on_after_z(number, name):
    assert letter(number) == name


def test_words_are_broken_where_they_may_be_and_never_lost():
    text = "revisiting_v2_freeze imagenet1k-stats_as_released"
    lines = wrapped(text, 0.8, 7)
    assert len(lines) > 2
    assert all(text_width(line, 7) <= 0.8 for line in lines)
    assert "".join(lines) == text.replace(" ", "")
    assert wrapped("unbreakable", 0.1, 7) == ["unbreakable"]


# outputs


def classes_of(outputs=("edema", "effusion"), **cells) -> pd.DataFrame:
    """Of schema CLASS_SUMMARY; AUPRC is lower."""
    table = summary_of(**cells).drop(columns=["metric", "target", "training_images"])
    by_output = [
        table.assign(output=output, mean=table["mean"] + 0.1 * n, low=table["low"] + 0.1 * n,
                     high=table["high"] + 0.1 * n, positives=10 * n + 7)
        for n, output in enumerate(outputs)
    ]  # fmt: skip
    scores = pd.concat(by_output)
    return pd.concat([scores.assign(metric="auroc"), scores.assign(metric="auprc", mean=0.111)])


def drawn_classes(classes: pd.DataFrame, published=NOTHING) -> Figure:
    tables = {"class_summary": classes, "published": published}
    return class_table.draw(distinguish_recipes(tables))


def test_each_output_has_its_auroc_in_columns_of_its_own():
    figure = drawn_classes(classes_of(inits=("random", "a")))
    assert [w for w in words(figure) if "positive" in w] == [
        "edema\n7 positive",
        "effusion\n17 positive",
    ]
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.0120.600±0.0120.604±0.012"
    assert "chest, training data: full, 123 test images" in words(figure)
    assert "Mean AUROC of each output" in foot(figure)


def test_a_number_of_an_output_stands_beside_it():
    papers = published_of({"output": "effusion"}, {"output": "cough"}, {"output": ""})
    figure = drawn_classes(classes_of(inits=("random", "a")), papers)
    assert row_words(figure, "cbr") == "0.500±0.0120.504±0.0120.600±0.0120.604±0.0120.932a"


def test_data_sets_with_one_output_are_left_to_the_main_table():
    both = pd.concat([classes_of(datasets=("chest",)), classes_of(("yes",), datasets=("knee",))])
    chosen = class_table.select({"class_summary": both, "published": NOTHING})["class_summary"]
    assert set(chosen["dataset"]) == {"chest"}
    assert len(chosen) == 12
    for nothing in (classes_of(("yes",)), NOTHING, classes_of()[:0], classes_of(part="external")):
        assert "no outputs to tell apart" in words(drawn_classes(nothing))[0]


def test_many_outputs_go_on_below_on_the_same_page():
    figure = drawn_classes(classes_of([f"finding_{i}" for i in range(14)]))
    assert figure.get_figwidth() <= PAGE_WIDTH
    assert len([w for w in words(figure) if w.startswith(".")]) == 14 * 6
    assert sum("continued" in w for w in words(figure)) > 2
