"""Self-contained web pages: their frame, their style, tables, figures and a list of contents.

Pages need neither a script nor anything from elsewhere: their policy forbids both to the browser.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from medtransfer.page_style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# rows from which on a table is folded, where its caller wants that
MANY_ROWS = 12


@dataclass(frozen=True)
class Part:
    """A part of a page that its contents name.

    Attributes:
        heading: plain text; distinct on a page.
        content: HTML.
        parts: below this one.
    """

    heading: str
    content: str
    parts: tuple[Part, ...] = ()

    @property
    def anchor(self) -> str:
        """The heading as the part of an address."""
        return anchor(self.heading)


@dataclass(frozen=True)
class Picture:
    """An image as a part of a page.

    Attributes:
        source: its data as an address.
        width, height: pixels of the screen.
    """

    source: str
    width: int
    height: int


def page(title: str, sections: Iterable[str]) -> str:
    """A whole HTML page of sections that are HTML already."""
    return _document(title, f"<main><h1>{html.escape(title)}</h1>{''.join(sections)}</main>")


def report(title: str, parts: Sequence[Part]) -> str:
    """A whole HTML page of parts, with their list and a link that skips it.

    Args:
        title: plain text.
        parts: in their order; one with neither a content nor parts that have one is left out.
    """
    parts = _filled(parts)
    body = (
        "<a class='skip' href='#content'>Skip to the content</a>"
        f"<header><h1>{html.escape(title)}</h1></header>"
        f"<nav aria-label='Contents'>{_contents(parts)}</nav>"
        f"<main id='content' tabindex='-1'>{''.join(_part(part, 2) for part in parts)}</main>"
    )
    return _document(title, body, "report")


def _filled(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts that have a content or parts."""
    below = (replace(part, parts=_filled(part.parts)) for part in parts)
    return tuple(part for part in below if part.content or part.parts)


def _document(title: str, body: str, kind: str = "") -> str:
    head = (
        "<meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        # else a browser asks the server for one
        "<link rel='icon' href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
    )
    return (
        f"<!doctype html><html lang='en'><head>{head}</head><body class='{kind}'>{body}</body></html>\n"
    )


def _contents(parts: Sequence[Part]) -> str:
    entries = (
        f"<li><a href='#{part.anchor}'>{html.escape(part.heading)}</a>"
        f"{_contents(part.parts) if part.parts else ''}</li>"
        for part in parts
    )
    return f"<ul>{''.join(entries)}</ul>"


def _part(part: Part, level: int) -> str:
    below = "".join(_part(one, level + 1) for one in part.parts)
    heading = f"<h{level} id='{part.anchor}'>{html.escape(part.heading)}</h{level}>"
    return f"<section>{heading}{part.content}{below}</section>"


def anchor(text: str) -> str:
    """A name within a page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` is a class of the style."""
    return f"<p class='{kind}'>{html.escape(text)}</p>" if kind else f"<p>{html.escape(text)}</p>"


def sentences(text: str, kind: str) -> str:
    """A list of the sentences of a plain text; ``kind`` is a class of the style."""
    found = re.split(r"(?<=[.?!]) (?=[A-Z])", text)
    entries = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in found)
    return f"<ul class='{kind}'>{entries}</ul>"


def folded(heading: str, content: str) -> str:
    """HTML that shows when its heading, plain text, is opened; in print always."""
    return f"<details><summary>{html.escape(heading)}</summary>{content}</details>"


def preformatted(text: str) -> str:
    """Text with its lines, in a box that scrolls."""
    return f"<pre tabindex='0'>{html.escape(text)}</pre>"


def captioned(name: str, title: str, picture: Picture, caption: str, alternative: str) -> str:
    """A figure that a link shows in full size, above all else, and another closes.

    Both views are one image: its data, most of a page, stand once.

    Args:
        name: for its address.
        title: plain text.
        picture: the image.
        caption: HTML.
        alternative: plain text for those who don't see the image.
    """
    place, full = anchor(f"figure {name}"), anchor(f"full {name}")
    size = f"width='{picture.width}' height='{picture.height}'"
    frame = f"max-width:{picture.width}px;aspect-ratio:{picture.width}/{picture.height}"
    return (
        f"<figure id='{place}'><h4>{html.escape(title)}</h4>"
        f"<div class='frame' style='{frame}'><div class='picture' id='{full}'>"
        f"<a class='close' href='#{place}'>Close: {html.escape(title)}</a>"
        f"<a class='open' href='#{full}' title='Show in full size'>"
        f"<img src='{picture.source}' {size} alt='{html.escape(alternative)}'></a></div></div>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(
    caption: str,
    texts: tuple[str, ...],
    numbers: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    fold: bool = False,
) -> str:
    """An HTML table whose last columns are numbers, in a box that scrolls if it is too wide.

    Args:
        caption: plain text.
        texts: names of the first columns; those without any text are left out.
        numbers: names of the last columns.
        rows: plain text.
        fold: whether a table of many rows is shown only when it is opened.
    """
    rows = list(rows)
    used = [i for i in range(len(texts)) if not rows or any(row[i] for row in rows)]
    rows = [(*(row[i] for i in used), *row[len(texts) :]) for row in rows]
    texts = tuple(texts[i] for i in used)
    kinds = [""] * len(texts) + [" class='number'"] * len(numbers)
    head = "".join(
        f"<th scope='col'{k}>{html.escape(n)}</th>" for n, k in zip(texts + numbers, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{k}>{html.escape(cell)}</td>" for cell, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    name = html.escape(_first_sentence(caption))
    made = (
        f"<div class='scroll' role='region' tabindex='0' aria-label='{name}'>"
        f"<table><caption><span>{html.escape(caption)}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    if fold and len(rows) > MANY_ROWS:
        return folded(f"{_first_sentence(caption)} ({len(rows):,} rows)", made)
    return made


def _first_sentence(text: str) -> str:
    return re.split(r"[.:;](?:\s|$)", text, maxsplit=1)[0]


def counts(values: dict[str, int]) -> str:
    """Names with their counts; long lists are only counted."""
    if len(values) > 20:
        return f"{len(values)} different"
    return ", ".join(f"{name} {count:,}" for name, count in values.items())
