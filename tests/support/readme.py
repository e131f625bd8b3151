"""The measurements in the README, written from `docs/report/report.json` by `python -m tests.support.readme`.

A block is between `<!-- report: NAME -->` and `<!-- end of NAME -->`, and is one of `BLOCKS`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cbir.bench.report.report_writer import FullReport
from pydantic import TypeAdapter

from cbir.index.files import write_atomically
from cbir.tables import Column, Table, to_markdown

ROOT = Path(__file__).parents[2]
README, REPORT = ROOT / "README.md", ROOT / "docs" / "report" / "report.json"
_BLOCK = re.compile(r"<!-- report: (?P<name>[a-z]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)


def read_report(path: Path) -> FullReport:
    """Return the report in a file."""
    return TypeAdapter(FullReport).validate_json(path.read_bytes())


def rewritten(text: str, report: FullReport) -> str:
    """Return a README whose blocks are written from a report."""
    return _BLOCK.sub(lambda found: _marked(found["name"], BLOCKS[found["name"]](report)), text)


def names_of_blocks(text: str) -> list[str]:
    """Return the names of the blocks of a README, in order."""
    return [found["name"] for found in _BLOCK.finditer(text)]


def outside_of_blocks(text: str) -> str:
    """Return a README without its blocks."""
    return _BLOCK.sub("", text)


def _marked(name: str, text: str) -> str:
    return f"<!-- report: {name} -->\n{text}\n<!-- end of {name} -->"


def _machine(report: FullReport) -> str:
    processors = {str(result.machine["processor"]) for result in report.results if result.machine.get("processor")}
    machine = f"{report.machine['cpus']} cores" + (f" of {' and '.join(sorted(processors))}" if processors else "")
    points = next(result.result["points"] for result in report.results if result.kind == "parity")
    return (
        f"On {report.created:%Y-%m-%d}, on {machine}, with {points:,} images of `ashraq/fashion-product-images-small`\n"
        "(60 x 80 pixels, the ten most frequent classes of `subCategory`):"
    )


def _summary(report: FullReport) -> str:
    """Return the first verdict of each kind of result."""
    verdicts: dict[str, str] = {}
    for result in report.results:
        if result.section and result.section.verdicts:
            verdicts.setdefault(result.kind, result.section.verdicts[0])
    rows = [[f"cbir-bench {kind}", verdict] for kind, verdict in verdicts.items()]
    return to_markdown(Table("", [Column("command"), Column("what it says")], rows))


BLOCKS: Mapping[str, Callable[[FullReport], str]] = {"machine": _machine, "summary": _summary}


def main() -> None:
    """Write the README's blocks."""
    text = README.read_text()
    write_atomically(README, rewritten(text, read_report(REPORT)).encode())


if __name__ == "__main__":
    main()
