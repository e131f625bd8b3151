"""What the tests of the bench read from a section."""

from typing import Any

from cbir.evaluation.sections import Section


def cells(section: Section, title: str, header: str) -> list[Any]:
    """Return the cells of one column, of the table with this title."""
    (table,) = (table for table in section.tables if table.title == title)
    index = [column.header for column in table.columns].index(header)
    return [row[index] for row in table.rows]
