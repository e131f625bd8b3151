"""Results on a console: the verdicts, tables and notes of a section."""

from cbir import terminal
from cbir.evaluation.sections import Section
from cbir.tables import to_rich


def print_section(section: Section) -> None:
    """Print a section: verdicts, what was measured, tables, notes."""
    console = terminal.console()
    for verdict in section.verdicts:
        console.print(verdict, style="bold")
    console.print(section.subject)
    for table in section.tables:
        console.print(to_rich(table))
    for note in section.notes:
        console.print(note)
