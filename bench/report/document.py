"""A report as a document: sections of text, tables, plots and strips of pictures, written as HTML and as Markdown.

The HTML file holds everything and asks nothing of the network. Markdown cannot hold pictures, so its own lie beside it.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2421; --soft: #5b6763; --line: #d8dedb; --paper: #fff; --fill: #f4f7f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebe9; --soft: #a5b1ac; --line: #39433f; --paper: #141917; --fill: #1d2421; }
  svg { background: #fff; border-radius: 6px; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .6rem 0 .2rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 500; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--soft); }
.strip { display: flex; gap: .5rem; flex-wrap: wrap; margin: .4rem 0 1rem; }
.strip div { width: 84px; font-size: 11px; line-height: 1.25; color: var(--soft); overflow-wrap: anywhere; }
.strip img { width: 64px; height: 64px; object-fit: contain; background: var(--fill); border-radius: 4px;
  display: block; }
code, pre { background: var(--fill); border-radius: 4px; padding: .1rem .3rem; } pre { padding: .7rem; overflow: auto; }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
"""


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Plot:
    """A plot as SVG, with a file name for Markdown and the words that stand for it where it cannot be seen."""

    name: str
    svg: str
    words: str


@dataclass(frozen=True)
class Picture:
    """A JPEG with what stands below it; `data` is None where there is none."""

    id: str
    data: bytes | None
    caption: str


@dataclass(frozen=True)
class Strip:
    """Pictures in a row."""

    title: str
    pictures: Sequence[Picture]


Part = Table | Plot | Strip


@dataclass(frozen=True)
class Section:
    """One thing that was measured.

    Attributes:
        title: What.
        question: What it answers.
        command: What measured it, "" for what stands for itself.
        parts: Tables, plots and strips.
        notes: How to read it.
    """

    title: str
    question: str
    command: str = ""
    parts: Sequence[Part] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """A report: its title, the lines that say where and how it was made, and its sections."""

    title: str
    lines: Sequence[str]
    sections: Sequence[Section] = field(default_factory=list)


def as_html(document: Document) -> str:
    """Return the document as one HTML file."""
    contents = "".join(f'<li><a href="#{_anchor(one.title)}">{escape(one.title)}</a>' for one in document.sections)
    body = [f"<h1>{escape(document.title)}</h1>", _lines(document.lines), f"<ul>{contents}</ul>"]
    for section in document.sections:
        body.append(f'<h2 id="{_anchor(section.title)}">{escape(section.title)}</h2><p>{escape(section.question)}</p>')
        if section.command:
            body.append(f"<pre>{escape(section.command)}</pre>")
        body += [_html(part) for part in section.parts]
        if section.notes:
            body.append(f"<h3>How to read this</h3>{_lines(section.notes)}")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{escape(document.title)}</title>"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def as_markdown(document: Document) -> tuple[str, dict[str, bytes]]:
    """Return the document as Markdown, and the files that it shows, by their path beside it."""
    files: dict[str, bytes] = {}
    text = [f"# {_plain(document.title)}", "\n".join(f"- {_plain(line)}" for line in document.lines)]
    for section in document.sections:
        text += [f"## {_plain(section.title)}", _plain(section.question)]
        if section.command:
            text.append("    " + " ".join(section.command.splitlines()))
        text += [_markdown(part, files) for part in section.parts]
        if section.notes:
            text.append("\n".join(f"- {_plain(note)}" for note in section.notes))
    return "\n\n".join(part for part in text if part) + "\n", files


def table_as_markdown(table: Table) -> str:
    """Return a table as Markdown, without its title."""
    head = "| " + " | ".join(map(_cell, table.columns)) + " |"
    rule = "|---|" + "--:|" * (len(table.columns) - 1)
    return "\n".join([head, rule, *("| " + " | ".join(map(_cell, row)) + " |" for row in table.rows)])


def _html(part: Part) -> str:
    if isinstance(part, Plot):
        words = escape(part.words)
        return f'<figure role="img" aria-label="{words}">{part.svg}<figcaption>{words}</figcaption></figure>'
    if isinstance(part, Strip):
        shown = "".join(f"<div>{_image(one)}{escape(one.caption)}</div>" for one in part.pictures)
        return f'<p>{escape(part.title)}</p><div class="strip">{shown}</div>'
    head = "".join(f"<th>{escape(one)}</th>" for one in part.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in part.rows)
    caption = f"<caption>{escape(part.title)}</caption>" if part.title else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _image(picture: Picture) -> str:
    if picture.data is None:
        return ""
    text = base64.b64encode(picture.data).decode()
    return f'<img alt="{escape(picture.caption)}" src="data:image/jpeg;base64,{text}">'


def _markdown(part: Part, files: dict[str, bytes]) -> str:
    if isinstance(part, Plot):
        path = f"plots/{part.name}.svg"
        files[path] = part.svg.encode()
        return f"![{_plain(part.words)}]({path})"
    if isinstance(part, Strip):
        cells = []
        for one in part.pictures:
            shown = _plain(one.caption)
            if one.data is not None:
                path = f"pictures/{re.sub(r'[^A-Za-z0-9-]', '_', one.id)}.jpg"
                files[path] = one.data
                shown = f'<img src="{path}" width="64" alt=""> {shown}'
            cells.append(shown)
        return f"{_plain(part.title)}\n\n" + "| " + " | ".join(cells) + " |\n" + "|---" * len(cells) + "|"
    title = f"**{_plain(part.title)}**\n\n" if part.title else ""
    return title + table_as_markdown(part)


def _lines(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}" for line in lines) + "</ul>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    """Return text that is no markup: what came from a payload may say anything. Bold of our own is kept."""
    return re.sub(r"([\\`_<>\[\]])", r"\\\1", text)
