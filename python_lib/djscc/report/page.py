# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of the report's HTML: tables, figures, pictures, notes. Everything that comes from a log is escaped here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from djscc import DATA
from djscc.report.figures import svg_of


def document(title: str, body: str) -> str:
    style = (DATA / "report" / "style.css").read_text()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def figure(drawing: Figure, caption: str, kind: str = "") -> str:
    """A drawing as inline SVG with its caption, which is also what a screen reader says of it."""
    svg = svg_of(drawing).replace("<svg", f'<svg role="img" aria-label="{escape(caption, quote=True)}"', 1)
    return f'<figure class="{kind}">{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def figures(items: Iterable[str]) -> str:
    return '<div class="figures">' + "".join(items) + "</div>"


def equation(drawing: Figure, formula: str) -> str:
    """An equation as inline SVG at its own size, the formula in plain text beneath for who copies it."""
    width = 1.25 * drawing.get_size_inches()[0]
    svg = svg_of(drawing).replace(
        "<svg", f'<svg role="img" aria-label="{escape(formula, quote=True)}" width="{width:.2f}in"', 1
    )
    return f'<div class="equation">{svg}</div><p class="note"><code>L = {escape(formula)}</code></p>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None, text: Sequence[int] = ()
) -> str:
    """A table; row ``chosen`` is marked, columns ``text`` hold prose, a cell that ends in an asterisk is the best of its column."""

    def cell(value: str, column: int) -> str:
        kind = "text" if column in text else "best" if value.endswith("*") else ""
        return f'<td class="{kind}">{escape(value.removesuffix("*"))}</td>' if kind else f"<td>{escape(value)}</td>"

    heads = "".join(
        f'<th class="text">{escape(h)}</th>' if i in text else f"<th>{escape(h)}</th>" for i, h in enumerate(head)
    )
    lines = [
        f"<tr{' class=chosen' if i == chosen else ''}>" + "".join(cell(v, j) for j, v in enumerate(row)) + "</tr>"
        for i, row in enumerate(rows)
    ]
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def picture(path: Path | None, missing: str, description: str) -> str:
    """A PNG as part of the page, or a hatched square that says why it is missing."""
    if path is None:
        return f'<span class="absent">{escape(missing)}</span>'
    return f'<img class="tile" {_source(path.read_bytes(), description)}>'


def image(path: Path, side: int, caption: str) -> str:
    """A PNG as part of the page, made smaller where it has sides of more than ``side`` pixels, with its caption."""
    file = io.BytesIO()
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((side, side))
    shown.save(file, "PNG")
    return f"<figure><img {_source(file.getvalue(), caption)}><figcaption>{escape(caption)}</figcaption></figure>"


def _source(png: bytes, description: str) -> str:
    return f'alt="{escape(description, quote=True)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"'


def warnings(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return '<div class="warnings"><ul>' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul></div>"


def details(summary: str, content: str, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"
