"""Self-contained web pages: their frame, their style, and tables."""

from __future__ import annotations

import html
from collections.abc import Iterable

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; padding: 0 1rem; }
main { max-width: 96rem; margin: auto; overflow-x: auto; }
p { max-width: 60rem; }
table { border-collapse: collapse; margin: .6rem 0 1.6rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .55rem; text-align: left; border-bottom: 1px solid #ddd; }
td:not(.number) { min-width: 6rem; }
th { border-bottom: 2px solid #888; }
td.number, th.number { text-align: right; white-space: nowrap; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
p.findings { background: #f3f5f8; padding: .8rem 1rem; border-left: 4px solid #0072B2; }
p.warning { background: #fdf3e7; padding: .8rem 1rem; border-left: 4px solid #D55E00; }
"""


def page(title: str, sections: Iterable[str]) -> str:
    """A whole HTML page of sections that are HTML already."""
    name = html.escape(title)
    head = f"<head><meta charset='utf-8'><title>{name}</title><style>{STYLE}</style></head>"
    body = f"<body><main><h1>{name}</h1>{''.join(sections)}</main></body>"
    return f"<!doctype html><html lang='en'>{head}{body}</html>\n"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` is a class of the style."""
    return f"<p class='{kind}'>{html.escape(text)}</p>" if kind else f"<p>{html.escape(text)}</p>"


def table(
    caption: str, texts: tuple[str, ...], numbers: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> str:
    """An HTML table whose last columns are numbers; text columns without any text are left out."""
    rows = list(rows)
    used = [i for i in range(len(texts)) if not rows or any(row[i] for row in rows)]
    rows = [(*(row[i] for i in used), *row[len(texts) :]) for row in rows]
    texts = tuple(texts[i] for i in used)
    kinds = [""] * len(texts) + [" class='number'"] * len(numbers)
    head = "".join(f"<th{k}>{html.escape(n)}</th>" for n, k in zip(texts + numbers, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{k}>{html.escape(cell)}</td>" for cell, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def counts(values: dict[str, int]) -> str:
    """Names with their counts; long lists are only counted."""
    if len(values) > 20:
        return f"{len(values)} different"
    return ", ".join(f"{name} {count:,}" for name, count in values.items())
