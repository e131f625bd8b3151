"""A report written as Markdown, and as HTML that is made of it.

The HTML file holds everything and asks nothing of the network. Markdown cannot hold pictures, so its own lie beside it.
"""

import base64
import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from ..core.document import Curves, Document, Part, Ranges, Strip, Table
from .plots import draw

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2421; --soft: #5b6763; --line: #d8dedb; --paper: #fff; --fill: #f4f7f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebe9; --soft: #a5b1ac; --line: #39433f; --paper: #141917; --fill: #1d2421; }
  svg { background: #fff; border-radius: 6px; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; text-align: left; } svg { max-width: 100%; height: auto; }
th:has(img) { font-size: 11px; line-height: 1.25; min-width: 64px; white-space: normal; vertical-align: top; }
img { width: 64px; height: 64px; object-fit: contain; background: var(--fill); border-radius: 4px; display: block; }
small { display: block; color: var(--soft); } pre { padding: .7rem; overflow: auto; background: var(--fill); }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
"""


def as_html(document: Document) -> str:
    """Return the document as one HTML file: its Markdown, with contents and with the files that it shows in it."""
    from markdown_it import MarkdownIt

    text, files = as_markdown(document)
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", _anchor(inline.content))
        for one in inline.children or ():
            if one.type == "image":
                words, data = re.sub(r"\\(.)", r"\1", one.content), files[str(one.attrs["src"])]
                one.type, one.content = "html_inline", _shown(words, data)
    top, heading, sections = parser.renderer.render(tokens, parser.options, {}).partition("<h2")
    contents = "".join(f'<li><a href="#{_anchor(one.title)}">{escape(one.title)}</a></li>' for one in document.sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(document.title)}</title><style>{_STYLE}</style></head><body>\n"
        f"{top}<ul>{contents}</ul>\n{heading}{sections}</body></html>\n"
    )


def as_markdown(document: Document) -> tuple[str, dict[str, bytes]]:
    """Return the document as Markdown, and the files that it shows, by their path beside it."""
    files: dict[str, bytes] = {}
    text = [f"# {_plain(document.title)}", _list(document.lines)]
    for section in document.sections:
        text += [f"## {_plain(section.title)}", _plain(section.question)]
        if section.command:
            text.append("    " + " ".join(section.command.splitlines()))
        text += [_markdown(part, files) for part in section.parts]
        if section.notes:
            text += ["### How to read this", _list(section.notes)]
    return "\n\n".join(part for part in text if part) + "\n", files


def table_as_markdown(table: Table) -> str:
    """Return a table as Markdown, without its title."""
    head = "| " + " | ".join(map(_cell, table.columns)) + " |"
    rule = "|---|" + "--:|" * (len(table.columns) - 1)
    return "\n".join([head, rule, *("| " + " | ".join(map(_cell, row)) + " |" for row in table.rows)])


def _markdown(part: Part, files: dict[str, bytes]) -> str:
    if isinstance(part, Curves | Ranges):
        path = f"plots/{part.name}.svg"
        files[path] = draw(part).encode()
        return f"![{_plain(part.words)}]({path})"
    if isinstance(part, Strip):
        cells = []
        for one in part.pictures:
            path = f"pictures/{re.sub(r'[^A-Za-z0-9-]', '_', one.id)}.jpg"
            if one.data is not None:
                files[path] = one.data
            cells.append((f"![]({path}) " if one.data is not None else "") + _cell(one.caption))
        return f"{_plain(part.title)}\n\n" + "| " + " | ".join(cells) + " |\n" + "|---" * len(cells) + "|"
    title = f"**{_plain(part.title)}**\n\n" if part.title else ""
    return title + table_as_markdown(part)


def _shown(words: str, data: bytes) -> str:
    if data.startswith(b"<svg"):
        return f'<span role="img" aria-label="{escape(words)}">{data.decode()}</span><small>{escape(words)}</small>'
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return text that is no markup: what came from a payload may say anything."""
    return re.sub(r"([\\`*_<>&\[\]])", r"\\\1", text).replace("\n", " ")
