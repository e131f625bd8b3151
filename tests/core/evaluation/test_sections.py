"""A section as plain data."""

from dataclasses import asdict

from pydantic import TypeAdapter

from cbir.evaluation.sections import Bar, Bars, CurvePoint, Curves, Section, Strip, StripImage
from cbir.tables import Column, Range, Table

SECTION = Section(
    "How fast?",
    "Two stores",
    ["FAISS is twice as fast as Edge."],
    [
        Table("t", [Column("store"), Column("ms", format=".1f", better="lower")], [["edge", Range(1.0, 0.5, 2.0)]]),
        Curves("c", "caption", "x", "y", {"edge": [CurvePoint(0.9, 100.0, True)]}, 0.99),
        Bars("b", "caption", "x", [Bar("edge", 1.0, 0.5, 2.0)], logarithmic=True),
        Strip("s", [StripImage("id", None, "no image")]),
    ],
    ["note"],
)


def test_a_section_is_the_same_after_json() -> None:
    adapter = TypeAdapter(Section)
    assert adapter.validate_json(adapter.dump_json(SECTION)) == adapter.validate_python(asdict(SECTION)) == SECTION


def test_its_tables_are_those_of_its_parts() -> None:
    assert [table.title for table in SECTION.tables] == ["t"]
