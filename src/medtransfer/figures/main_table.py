"""The target metric of every cell as a table: networks by data sets and starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medtransfer.evaluation.names import METRIC_LABELS, whole_starts
from medtransfer.figures.cells import among, target_on_test
from medtransfer.figures.style import note, ordered
from medtransfer.figures.typeset import (
    SIZE,
    SMALL,
    Band,
    Entry,
    Group,
    Row,
    TableColumn,
    arranged,
    draw_table,
    wrapped,
)
from medtransfer.figures.verdict import LOOKS

# of a row and column: inches that a network's and a start's name may have before they are broken
NAME_WIDTH, HEAD_WIDTH = 1.35, 0.85
CELL = ["recipe", "dataset", "model", "subset", "init", "metric"]
# the verdicts that have a mark
SHOWN = ("helps", "harms", "equivalent", "can't tell")
# what is compared within a cell
ROW = ["recipe", "dataset", "model", "subset", "metric"]
SUMMARY = (*CELL, "mean", "low", "high", "runs", "training_images", "images")
# the letter of each evidence and origin
Letters = Mapping[tuple[str, str], str]


def select(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The means of whole starts with what the verdicts say of them; the paper's numbers of these cells.

    ``verdict`` is that on the difference to ``reference``, the start that most comparisons subtract.
    ``best`` says that the verdicts have this start better than every other one of its network.

    Args:
        tables: ``summary``, ``verdicts`` and ``published``.
    """
    summary = whole_starts(target_on_test(tables["summary"]))
    if summary.empty:
        return {"summary": summary, "published": pd.DataFrame()}
    summary = with_verdicts(without_recipe(summary)[list(SUMMARY)], tables["verdicts"])
    return {"summary": summary, "published": published_beside(summary, tables["published"])}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A block of rows for each amount of training data; wide ones go on below.

    Args:
        tables: ``summary``, ``verdicts`` and ``published``.
    """
    chosen = select(tables)
    summary, published = chosen["summary"], chosen["published"]
    if summary.empty:
        return note("no results: no run of this study was scored on test images")
    letters = remark_letters(published)
    usual = int(summary["runs"].max())
    several = summary["subset"].nunique() > 1
    bands = []
    for subset, rows in summary.groupby("subset", sort=False):
        title = f"training data: {subset}" if several else ""
        bands += _bands(rows, published[published["subset"] == subset], (title, usual, letters))
    return draw_table(bands, foot(summary, usual, letters))


def without_recipe(table: pd.DataFrame) -> pd.DataFrame:
    """Networks by their own name where the recipe was named with it; it has a column of its own."""
    if table.empty:
        return table
    pairs = zip(table["model"], table["recipe"], strict=True)
    return table.assign(model=[model.removesuffix(f", {recipe}") for model, recipe in pairs])


def with_verdicts(summary: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """With the columns ``verdict``, ``reference`` and ``best``."""
    known = whole_starts(without_recipe(verdicts)) if len(verdicts) else verdicts
    reference = main_reference(known)
    against = {}
    better = set()
    if len(known):
        own = known[known["reference"] == reference].set_index([*ROW, "init"])["verdict"]
        against = own.to_dict()
        better = set(_better(known))
    keys = list(summary[[*ROW, "init"]].itertuples(index=False, name=None))
    starts = summary.groupby(ROW)["init"].agg(list).to_dict()
    return summary.assign(
        verdict=[against.get(key, "") for key in keys],
        reference=[reference if key in against else "" for key in keys],
        best=[
            len(starts[key[:-1]]) > 1
            and all((*key, other) in better for other in starts[key[:-1]] if other != key[-1])
            for key in keys
        ],
    )


def main_reference(verdicts: pd.DataFrame) -> str:
    """The start that most pairs of starts subtract, the earlier one of two; '' without verdicts."""
    if verdicts.empty:
        return ""
    pairs = verdicts[["init", "reference"]].drop_duplicates()
    return str(pairs["reference"].value_counts(sort=False).idxmax())


def _better(verdicts: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Of each decided comparison its cell, the better start and the other."""
    for _, row in verdicts.iterrows():
        cell = tuple(row[ROW])
        if row["verdict"] == "helps":
            yield (*cell, row["init"], row["reference"])
        if row["verdict"] == "harms":
            yield (*cell, row["reference"], row["init"])


def published_beside(
    cells: pd.DataFrame, published: pd.DataFrame, of_outputs: bool = False
) -> pd.DataFrame:
    """The paper's numbers of the cells that there are; of any recipe where the paper's has no name.

    Args:
        cells: with the columns of CELL, and ``output`` where the numbers are of outputs.
        published: a table of schema PUBLISHED, or one without columns.
        of_outputs: the numbers of single outputs, else of the network as a whole.
    """
    place = [name for name in CELL if name != "recipe"] + ["output"] * of_outputs
    columns = ["recipe", *place, "value", "low", "high", "spread", "runs", "evidence", "origin"]
    if published.empty or cells.empty:
        return pd.DataFrame(columns=columns)
    known = without_recipe(published)
    known = known[(known["output"] != "") == of_outputs]
    recipes = cells[[*place, "recipe"]].drop_duplicates()
    # a number that names no recipe stands beside each
    anywhere = known[known["recipe"] == ""].drop(columns="recipe").merge(recipes, on=place)
    named = among(known[known["recipe"] != ""], cells, [*place, "recipe"])
    return pd.concat([named, anywhere])[columns].reset_index(drop=True)


def remark_letters(published: pd.DataFrame) -> Letters:
    """A letter for each kind of evidence and origin."""
    pairs = published[["evidence", "origin"]].drop_duplicates().itertuples(index=False, name=None)
    return {pair: letter(number) for number, pair in enumerate(pairs)}


def letter(number: int) -> str:
    """a, b, ... z, aa, ab ..."""
    first, last = divmod(number, len(ascii_lowercase))
    return (letter(first - 1) if first else "") + ascii_lowercase[last]


def _bands(
    summary: pd.DataFrame, published: pd.DataFrame, about: tuple[str, int, Letters]
) -> list[Band]:
    """Of one amount of training data: data sets with the same recipes together."""
    title, usual, letters = about
    datasets = ordered(summary["dataset"])
    recipes = {name: ordered(summary["recipe"][summary["dataset"] == name]) for name in datasets}
    several = summary["recipe"].nunique() > 1
    bands = []
    for names, together in groupby(datasets, key=recipes.__getitem__):
        recipe = names[0] if len(names) == 1 and several else ""
        groups = []
        for dataset in together:
            rows = summary[summary["dataset"] == dataset]
            rows = rows.assign(row=row_names(rows, len(names) > 1))
            beside = published[published["dataset"] == dataset]
            columns = start_columns(rows, beside, usual, letters)
            groups.append(Group(_group_name(rows, recipe), ordered(rows["row"]), columns))
        bands += arranged(title, groups)
    return bands


def row_names(rows: pd.DataFrame, with_recipe: bool) -> list[str]:
    """The network, and below it its recipe where there are several."""
    names = zip(rows["model"], rows["recipe"], strict=True)
    words = [list(name) if with_recipe else [name[0]] for name in names]
    lines = [[line for word in name for line in wrapped(word, NAME_WIDTH, SIZE)] for name in words]
    return ["\n".join(name) for name in lines]


def start_columns(
    summary: pd.DataFrame, published: pd.DataFrame, usual: int, letters: Letters
) -> list[TableColumn]:
    """A column a start, and the paper's numbers beside it.

    Args:
        summary: of one group of columns, with the name of each ``row``.
        published: the paper's numbers of its cells.
        usual: the number of runs that isn't said.
        letters: of evidence and origin.
    """
    names = summary.set_index(["recipe", "model"])["row"].to_dict()
    columns = []
    for init, rows in summary.groupby("init", sort=False):
        entries = {Row(row["row"]): entry(row, usual) for _, row in rows.iterrows()}
        columns.append(TableColumn(head(str(init)), entries))
        beside = published[published["init"] == init]
        numbers = {
            Row(names[row["recipe"], row["model"]]): paper_entry(row, letters)
            for _, row in beside.iterrows()
        }
        if numbers:
            columns.append(TableColumn("paper", numbers, light=True))
    return columns


def head(init: str) -> str:
    """A start's name, broken into lines."""
    return "\n".join(wrapped(init, HEAD_WIDTH, SMALL))


def _group_name(summary: pd.DataFrame, recipe: str) -> str:
    """The data set, its metric and its numbers of images."""
    first = summary.iloc[0]
    metric = METRIC_LABELS.get(first["metric"], first["metric"])
    images = [f"{summary[name].max():,}" for name in ("training_images", "images")]
    known = "" if "0" in images else f", n = {' / '.join(images)}"
    return "\n".join(filter(None, [first["dataset"], recipe, f"{metric}{known}"]))


def entry(row: pd.Series, usual: int) -> Entry:
    """A mean with half its interval, its runs where they aren't as many as usual, and the verdict."""
    if np.isnan(row["mean"]):
        return Entry("", "undefined")
    half = (row["high"] - row["low"]) / 2
    rest = [f"±{half:.3f}"] * bool(np.isfinite(half)) + [f"({row['runs']})"] * (row["runs"] != usual)
    verdict = row.get("verdict", "")
    mark = LOOKS[verdict].sign if verdict in SHOWN else ""
    return Entry(number(row["mean"]), " ".join(rest), mark, bool(row.get("best", False)))


def number(value: float) -> str:
    """Three decimals with a true minus."""
    return f"{value:.3f}".replace("-", "−")


def paper_entry(row: pd.Series, letters: Letters) -> Entry:
    """A paper's number with its spread or interval, and the letter of its remark."""
    rest = ""
    if np.isfinite(row["spread"]):
        rest = f"±{row['spread']:.3f}" if row["spread"] >= 0.001 else f"±{row['spread']:.4f}"
    elif np.isfinite([row["low"], row["high"]]).all():
        rest = f"[{number(row['low'])}, {number(row['high'])}]"
    return Entry(number(row["value"]), rest, letters[row["evidence"], row["origin"]])


def foot(summary: pd.DataFrame, usual: int, letters: Letters) -> list[str]:
    """What the numbers, marks and letters of the table are."""
    images = " n: training / test images." if (summary["training_images"] > 0).any() else ""
    line = runs_line("Mean of the metric on the test part", summary, usual) + images
    return [line, *verdict_lines(summary), *paper_lines(letters)]


def runs_line(about: str, summary: pd.DataFrame, usual: int) -> str:
    """What a mean is, what follows it, and how many runs it is of."""
    half = " ± half width of its interval over runs" if summary["low"].notna().any() else ""
    others = ", where brackets give no other number" if (summary["runs"] != usual).any() else ""
    return f"{about}{half}; {usual} run{'s' * (usual != 1)} a cell{others}."


def verdict_lines(summary: pd.DataFrame) -> Iterator[str]:
    """What the marks and bold numbers say."""
    found = [name for name in SHOWN if name in set(summary["verdict"])]
    if found:
        (reference, *_) = [name for name in summary["reference"] if name]
        marks = ", ".join(f"{LOOKS[name].sign} {name}" for name in found)
        yield f"{marks}: verdict on the difference to {reference}."
    if summary["best"].any():
        yield "Bold: better than every other start of the network, each by a verdict."


def paper_lines(letters: Letters) -> Sequence[str]:
    """The evidence behind each letter of a paper's number."""
    if not letters:
        return []
    remarks = [_remark(pair, name) for pair, name in letters.items()]
    return ["In grey, numbers of papers, by evidence. " + " ".join(remarks)]


def _remark(pair: tuple[str, str], name: str) -> str:
    evidence, origin = pair
    what = "recollection, not verified, not to be compared" if evidence == "recollection" else evidence
    return f"{name}: {what} ({origin})."
