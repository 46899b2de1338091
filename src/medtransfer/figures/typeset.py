"""Tables as papers print them: rules above and below, numbers aligned at their decimal point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from medtransfer.figures.cells import GAP_COLOUR
from medtransfer.figures.style import ordered

# inches: of a page's two columns and of one; margins; between columns, groups of columns and bands
PAGE_WIDTH, LEAST_WIDTH = 7.2, 3.5
MARGIN = 0.06
COLUMN_GAP, GROUP_GAP, BAND_GAP = 0.1, 0.2, 0.16
LINE = 0.145
PART_INDENT = 0.08
# between a number, the small print and the mark
SPACE = 0.025
ROW_SPACE = 0.03
# points of print
SIZE, SMALL = 7.0, 6.0
THICK, THIN = 0.9, 0.45
# half the height of a digit, of the size of the type
CAPITALS = 0.36
PAPER_COLOUR = "#767676"
NO_RUNS = "no runs"


@dataclass(frozen=True)
class Entry:
    """What stands in a cell: a number, what follows it in small print, and a mark."""

    number: str
    rest: str = ""
    mark: str = ""
    bold: bool = False

    @property
    def parts(self) -> tuple[str, str]:
        """The number up to its decimal point, and from there on."""
        whole, point, decimals = self.number.partition(".")
        return whole, point + decimals


@dataclass(frozen=True)
class Row:
    """A row by its name; rows of one part stand below each other under the name of the part."""

    name: str
    part: str = ""


@dataclass(frozen=True)
class TableColumn:
    """A column: its head, its entries, and what it is a part of."""

    head: str
    entries: Mapping[Row, Entry]
    light: bool = False
    group: str = ""


@dataclass(frozen=True)
class Group:
    """What belongs together, such as the starts on one data set: columns, and the rows they have.

    Light columns belong to the one before them. Entries are those of rows without a part.
    """

    name: str
    rows: Sequence[str]
    columns: Sequence[TableColumn]

    @property
    def heads(self) -> list[str]:
        """Of the columns that aren't light."""
        return [column.head for column in self.columns if not column.light]


@dataclass(frozen=True)
class Band:
    """Columns side by side over one set of rows, under a title."""

    title: str
    rows: Sequence[Row]
    columns: Sequence[TableColumn]


def arranged(title: str, groups: Sequence[Group]) -> list[Band]:
    """Groups side by side; where no two fit the page and all are alike, below each other."""
    bands = in_bands(_beside(title, groups))
    alike = all(sorted(group.heads) == sorted(groups[0].heads) for group in groups)
    if len(groups) == 1 or len(bands) < len(groups) or not alike:
        return bands
    return in_bands(_stacked(title, groups))


def _beside(title: str, groups: Sequence[Group]) -> Band:
    rows = ordered(name for group in groups for name in group.rows)
    columns = [replace(column, group=group.name) for group in groups for column in group.columns]
    return Band(title, [Row(name) for name in rows], columns)


def _stacked(title: str, groups: Sequence[Group]) -> Band:
    """Each group a part of the rows; a light column stays behind the one that it belongs to."""
    parts = {group.name: group.name.replace("\n", ", ") for group in groups}
    entries: dict[tuple[str, str], dict[Row, Entry]] = {}
    for head in groups[0].heads:
        entries[head, ""] = {}
        for group in groups:
            for place, column in _with_owners(group.columns):
                if place[0] == head:
                    of_part = {Row(r.name, parts[group.name]): e for r, e in column.entries.items()}
                    entries.setdefault(place, {}).update(of_part)
    rows = [Row(name, parts[group.name]) for group in groups for name in group.rows]
    columns = [
        TableColumn(light or head, found, light=bool(light)) for (head, light), found in entries.items()
    ]
    return Band(title, rows, columns)


def _with_owners(
    columns: Sequence[TableColumn],
) -> Iterator[tuple[tuple[str, str], TableColumn]]:
    """Each column by the head of that it belongs to, and by its own if it is light."""
    owner = ""
    for column in columns:
        owner = owner if column.light else column.head
        yield (owner, column.head if column.light else ""), column


@cache
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches that a line of text is wide."""
    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    ink = float(TextPath((0, 0), text, size=size, prop=font).get_extents().x1) / 72
    # type is wider than its ink, and whole pixels are wider than type
    return ink * 1.02 + 0.01


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines of at most ``width`` inches, broken after spaces, hyphens and underscores."""
    lines = [""]
    for part in re.findall(r"[^\s_-]*[\s_-]|[^\s_-]+$", text):
        if lines[-1] and text_width((lines[-1] + part).rstrip(), size) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def text_lines(names: Iterable[str]) -> int:
    """The most lines that one of several texts has."""
    return max((name.count("\n") + 1 for name in names), default=1)


def in_bands(band: Band) -> list[Band]:
    """A band as several that fit the page; groups stay whole where a page has space for them."""
    space = PAGE_WIDTH - 2 * MARGIN - names_width(band.rows)
    bands: list[list[TableColumn]] = [[]]
    for group in _groups(band.columns):
        if bands[-1] and _width([*bands[-1], *group], band.rows) > space:
            bands.append([])
        for unit in _units(group):
            if bands[-1] and _width([*bands[-1], *unit], band.rows) > space:
                bands.append([])
            bands[-1] += unit
    titles = [band.title, *[f"{band.title} (continued)" if band.title else ""] * (len(bands) - 1)]
    return [Band(title, band.rows, columns) for title, columns in zip(titles, bands, strict=True)]


def _groups(columns: Sequence[TableColumn]) -> list[list[TableColumn]]:
    """Neighbouring columns of the same group."""
    groups: list[list[TableColumn]] = []
    for column in columns:
        if groups and groups[-1][-1].group == column.group:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _units(columns: Sequence[TableColumn]) -> list[list[TableColumn]]:
    """Columns that belong together."""
    units: list[list[TableColumn]] = []
    for column in columns:
        if units and column.light:
            units[-1].append(column)
        else:
            units.append([column])
    return units


def names_width(rows: Sequence[Row]) -> float:
    """Inches of the column of the rows' names."""
    lines = [line for row in rows for line in row.name.split("\n")]
    return max((text_width(line, SIZE) for line in lines), default=0.0) + PART_INDENT + GROUP_GAP


@dataclass(frozen=True)
class _Measures:
    """Of a column, inches: before the decimal point, after it, the small print, the mark, the head."""

    whole: float
    decimals: float
    rest: float
    mark: float
    head: float

    @property
    def numbers(self) -> float:
        return self.whole + self.decimals + self.rest + self.mark

    @property
    def width(self) -> float:
        return max(self.numbers, self.head)


@dataclass(frozen=True)
class _Place:
    """Of a column its left end and width, inches, and the measures of what is centred in it."""

    left: float
    width: float
    measures: _Measures

    @property
    def centre(self) -> float:
        return self.left + self.width / 2


def _measure(column: TableColumn, rows: Sequence[Row]) -> _Measures:
    entries = [column.entries[row] for row in rows if row in column.entries]
    size = SMALL if column.light else SIZE
    widths = [
        (
            *(text_width(part, size, entry.bold) for part in entry.parts),
            text_width(entry.rest, SMALL),
            text_width(entry.mark, SMALL),
        )
        for entry in entries
    ]
    nothing = [(0.0, 0.0, 0.0, 0.0)]
    whole, decimals, rest, mark = (max(parts) for parts in zip(*(widths or nothing), strict=True))
    words = column.head.split("\n")
    gap = "" if column.light or len(entries) == len(rows) else NO_RUNS
    head = max(text_width(word, SMALL) for word in [*words, gap])
    rest, mark = rest + SPACE * bool(rest), mark + SPACE * bool(mark)
    return _Measures(whole, decimals, rest, mark, head)


def _width(columns: Sequence[TableColumn], rows: Sequence[Row]) -> float:
    """Inches of columns side by side, with the gaps before them but the first."""
    return sum(width + gap for width, gap in _widths(columns, rows))


def _widths(columns: Sequence[TableColumn], rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Of each column its width and the gap before it; the last of a group has space for its name."""
    found: list[tuple[float, float]] = []
    for group in _groups(columns):
        widths = [_measure(column, rows).width for column in group]
        gaps = [GROUP_GAP if found else 0.0] + [COLUMN_GAP] * (len(group) - 1)
        name = max(text_width(line, SIZE) for line in group[0].group.split("\n"))
        missing = max(0.0, name - sum(widths) - sum(gaps[1:]))
        found += [(w + missing / len(group), gap) for w, gap in zip(widths, gaps, strict=True)]
    return found


def draw_table(bands: Sequence[Band], foot: Sequence[str]) -> Figure:
    """The bands below each other, and the remarks below them.

    Args:
        bands: each as wide as the page at most, as :func:`in_bands` makes them.
        foot: remarks, one a paragraph.
    """
    widths = [names_width(band.rows) + _width(band.columns, band.rows) for band in bands]
    width = max(LEAST_WIDTH, max(widths) + 2 * MARGIN)
    lines = [line for text in foot for line in wrapped(text, width - 2 * MARGIN, SMALL)]
    heights = [_band_height(band) for band in bands]
    height = 2 * MARGIN + sum(heights) + BAND_GAP * (len(bands) - 1) + LINE * (len(lines) + 0.5)
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    top = MARGIN
    for band, tall, wide in zip(bands, heights, widths, strict=True):
        _draw_band(ax, band, top, wide)
        top += tall + BAND_GAP
    top += LINE * 0.5 - BAND_GAP
    for number, line in enumerate(lines):
        write(ax, MARGIN, top + (number + 0.5) * LINE, line, SMALL)
    return figure


def _band_height(band: Band) -> float:
    return _head_height(band) + sum(height for _, height in _tops(band))


def _head_height(band: Band) -> float:
    """Of the title, the groups' names and the columns' heads."""
    heads = text_lines(column.head for column in band.columns)
    return LINE * (bool(band.title) + _group_lines(band) + heads) + 3 * ROW_SPACE


def _group_lines(band: Band) -> int:
    """Lines of the names of groups; none where nothing is grouped."""
    grouped = any(column.group for column in band.columns)
    return text_lines(column.group for column in band.columns) if grouped else 0


def _tops(band: Band) -> list[tuple[bool, float]]:
    """Of each row whether the name of its part stands above it, and its height with that."""
    found = []
    part = ""
    for row in band.rows:
        begins = row.part != part
        part = row.part
        found.append((begins, LINE * (text_lines([row.name]) + begins) + ROW_SPACE * (1 + begins)))
    return found


def _draw_band(ax: Axes, band: Band, top: float, width: float) -> None:
    """The head, then the rows, between rules of this width."""
    right = MARGIN + width
    below = top + _head_height(band)
    if band.title:
        write(ax, MARGIN, top + LINE / 2, band.title, SIZE, style="italic")
        top += LINE
    rule(ax, MARGIN, right, top, THICK)
    rule(ax, MARGIN, right, below, THIN)
    places = _places(band)
    _draw_heads(ax, band, places, top)
    for row, (begins, height) in zip(band.rows, _tops(band), strict=True):
        if begins:
            write(ax, MARGIN, below + LINE / 2 + ROW_SPACE, row.part, SIZE, style="italic")
        below += height
        middle = below - (LINE * text_lines([row.name]) + ROW_SPACE) / 2
        write(ax, MARGIN + PART_INDENT * bool(row.part), middle, row.name, SIZE)
        for column, place in zip(band.columns, places, strict=True):
            _draw_entry(ax, column, column.entries.get(row), place, middle)
    rule(ax, MARGIN, right, below, THICK)


def _places(band: Band) -> list[_Place]:
    left = MARGIN + names_width(band.rows)
    places = []
    widths = _widths(band.columns, band.rows)
    for column, (width, gap) in zip(band.columns, widths, strict=True):
        left += gap
        places.append(_Place(left, width, _measure(column, band.rows)))
        left += width
    return places


def _draw_heads(ax: Axes, band: Band, places: Sequence[_Place], top: float) -> None:
    """Names of groups over a thin rule, and the heads of the columns."""
    lines = _group_lines(band)
    below = top + LINE * lines + ROW_SPACE * 1.5
    heads = below + LINE * text_lines(column.head for column in band.columns) / 2 + ROW_SPACE / 2
    further = list(places)
    for group in _groups(band.columns) if lines else []:
        own, further = further[: len(group)], further[len(group) :]
        left, right = own[0].left, own[-1].left + own[-1].width
        middle = top + LINE * lines / 2 + ROW_SPACE
        write(ax, (left + right) / 2, middle, group[0].group, SIZE, ha="center")
        rule(ax, left, right, below, THIN)
    for column, place in zip(band.columns, places, strict=True):
        colour = PAPER_COLOUR if column.light else "black"
        write(ax, place.centre, heads, column.head, SMALL, ha="center", color=colour)


def _draw_entry(
    ax: Axes, column: TableColumn, entry: Entry | None, place: _Place, middle: float
) -> None:
    """A number around the decimal point of its column, or a word where there is none."""
    if entry is None:
        if not column.light:
            write(ax, place.centre, middle, NO_RUNS, SMALL, ha="center", color=GAP_COLOUR)
        return
    measures = place.measures
    point = place.centre - measures.numbers / 2 + measures.whole
    size = SMALL if column.light else SIZE
    colour = PAPER_COLOUR if column.light else "black"
    weight = "bold" if entry.bold else "normal"
    whole, decimals = entry.parts
    write(ax, point, middle, whole, size, ha="right", weight=weight, color=colour)
    write(ax, point, middle, decimals, size, weight=weight, color=colour)
    after = point + measures.decimals + SPACE
    write(ax, after, middle, entry.rest, SMALL, color=colour)
    write(ax, after + measures.rest, middle, entry.mark, SMALL, color=colour)


def write(ax: Axes, x: float, y: float, text: str, size: float, **look: Any) -> None:
    """Text around a height of the page, inches from its upper left corner."""
    if not text:
        return
    # parts of one number share a baseline, whatever their letters
    several = "\n" in text
    y += 0 if several else CAPITALS * size / 72
    ax.text(x, y, text, size=size, va="center" if several else "baseline", **look)


def rule(ax: Axes, left: float, right: float, y: float, width: float) -> None:
    """A line across."""
    ax.plot([left, right], [y, y], color="black", linewidth=width, solid_capstyle="butt")
