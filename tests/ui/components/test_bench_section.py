"""A section of a bench result on the page."""

import pytest
from cbir.ui.components.bench_section import as_columns, number_format

from cbir.tables import Column, Range, Table


def test_a_range_is_its_value_and_its_bounds() -> None:
    columns = [Column("store"), Column("search", "ms", ".2f")]
    table = Table("", columns, [["edge", Range(1.234, 1, 1.5)], ["faiss", None]])
    assert as_columns(table) == {
        "store": ["edge", "faiss"],
        "search (ms)": [1.234, None],
        "search, range": ["1.00 to 1.50", None],
    }


@pytest.mark.parametrize(
    ("python_format", "page_format"),
    [(".1%", "percent"), (",.2f", "%.2f"), ("+.3f", "%.3f"), (",d", "localized"), ("d", "plain"), (".3g", "plain")],
)
def test_a_format_is_translated_for_the_page(python_format: str, page_format: str) -> None:
    assert number_format(python_format) == page_format
