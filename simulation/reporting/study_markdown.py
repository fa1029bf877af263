"""A study as Markdown: the tables of its page, to be pasted where a team writes things down."""

from collections.abc import Iterable
from pathlib import Path

from models.files import write_text
from simulation.reporting.study_html import figures_of, label_of, table_of
from simulation.reporting.study_model import StudyReport
from simulation.reporting.tables import Cell, Table

SPECIAL = "\\`*_{}[]<>#|"
"""Characters that would begin something in Markdown or HTML."""
MARKDOWN_NAME = "study.md"


def write_markdown(report: StudyReport, folder: Path) -> Path:
    """Write the text beside the page, whole or not at all; return its path.

    Raises:
        DataError: when the folder cannot be written to.
    """
    write_text(folder / MARKDOWN_NAME, render_markdown(report))
    return folder / MARKDOWN_NAME


def render_markdown(report: StudyReport) -> str:
    """Return a study as text. The same report gives the same text."""
    parts = [f"# {plain(report.title)}", plain(report.question)]
    for table in report.tables:
        parts += [
            f"## {plain(table.part)}: {label_of(report.metric)}",
            lines_of(table_of(report, table)),
        ]
    figures = figures_of(report.tables[-1])
    if figures:
        parts += ["## Costs and counts, means over seeds", lines_of(figures)]
    parts += ["## What the numbers say", *map(plain, report.reading)]
    parts += ["## How to repeat it", f"`{report.command}`", *map(plain, report.notes)]
    return "\n\n".join(parts) + "\n"


def lines_of(table: Table) -> str:
    """A table; what a cell adds in small letters stands in square brackets."""
    head = "| " + " | ".join(map(plain, table.columns)) + " |"
    rule = "|---|" + "--:|" * (len(table.columns) - 1)
    return "\n".join([head, rule, *(_line(row.head, row.cells) for row in table.rows)])


def _line(label: str, cells: Iterable[Cell]) -> str:
    return "| " + " | ".join([plain(label), *map(_cell, cells)]) + " |"


def _cell(cell: Cell) -> str:
    return f"{plain(cell.text)} [{plain(cell.note)}]" if cell.note else plain(cell.text)


def plain(text: str) -> str:
    r"""Text that Markdown shows as it stands: titles come from files.

    >>> plain("a|b <i>")
    'a\\|b \\<i\\>'
    """
    return "".join(f"\\{each}" if each in SPECIAL else each for each in text.replace("\n", " "))
