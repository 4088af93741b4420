"""Pieces that the pages share."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

import numpy as np

__all__ = [
    "asset",
    "chips",
    "definitions",
    "embedded",
    "fingerprint",
    "number",
    "plural",
    "table",
    "warnings",
]


def asset(name: str) -> str:
    """A file of this package, as text."""
    return (resources.files("mask_sup.report") / name).read_text(encoding="utf-8")


def fingerprint(text: str) -> str:
    """What a page's policy knows a style or a script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embedded(data: bytes, kind: str) -> str:
    """A file as the address of an image."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def number(value: float, digits: int = 1, unit: str = "") -> str:
    """A number for a cell; a dash where it is not known."""
    if not np.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}{unit}".replace("-", "−")  # never -0


def plural(count: int, noun: str) -> str:
    """So many of them.

    >>> plural(1, "frame"), plural(2000, "frame")
    ('1 frame', '2,000 frames')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def chips(cells: Sequence[tuple[str, str]]) -> str:
    """Key figures, and what they are."""
    return "".join(f"<div><b>{value}</b><span>{text}</span></div>" for value, text in cells)


def warnings(told: Sequence[str]) -> str:
    """What to watch for, as a list."""
    if not told:
        return '<p class="quiet">Nothing stands out.</p>'
    return f'<ul class="warnings">{"".join(f"<li>{escape(line)}</li>" for line in told)}</ul>'


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    """A section with a table; cells are HTML, with or without their `<td>`."""
    name = "h-" + title.split()[0].lower()
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = ""
    for first, *others in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in others)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<p class="quiet">{note}</p></section>'
    )


def definitions(entries: Mapping[str, str]) -> str:
    """Names and what they stand for; both are text."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items()
    )
    return f"<dl>{rows}</dl>"
