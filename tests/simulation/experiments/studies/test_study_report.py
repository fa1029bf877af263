"""What is said of a study follows its numbers; what is drawn of it is safe and whole."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from simulation.experiments.studies.study_plan import resolve
from simulation.experiments.studies.study_report import report_of
from simulation.experiments.studies.study_runner import run_study
from simulation.experiments.studies.study_summary import StudySummary, summarise
from simulation.reporting.study_html import render_study, write_study
from simulation.reporting.study_markdown import render_markdown
from simulation.reporting.study_model import StudyReport
from simulation.reporting.study_terminal import render_terminal
from tests.simulation.experiments.studies.tiny_study import KIND, TinyOptions, register, tiny_plan


@pytest.fixture(autouse=True)
def known(monkeypatch):
    register(monkeypatch)


def summary_of(folder: Path, gain: float) -> StudySummary:
    folder.mkdir(exist_ok=True)
    plan = tiny_plan(folder, gain=gain)
    cells = run_study(folder / "study", "tiny", plan, folder, 1)
    return summarise(plan, [row.variant for row in resolve(plan, TinyOptions)], cells)


def report(folder: Path, gain: float = 0.5) -> StudyReport:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return report_of("tiny", summary_of(folder, gain), KIND, "pocketfleet study tiny", now)


def test_the_reading_follows_the_numbers(tmp_path):
    more = " ".join(report(tmp_path / "more", gain=0.5).reading)
    less = " ".join(report(tmp_path / "less", gain=-0.5).reading)
    assert "Better, beyond the interval: Gained (+50.00 points" in more and "Worse" not in more
    assert "Worse, beyond the interval: Gained (−50.00 points" in less and "Better" not in less


def test_the_worst_slice_stands_beside_the_mean(tmp_path):
    found = report(tmp_path)
    for row in found.tables[0].rows:
        assert row.worst_slice == "even" and row.worst is not None
        assert row.worst.low <= row.worst.mean <= row.worst.high


def test_a_contrast_of_any_two_rows_is_paired(tmp_path):
    summary = summary_of(tmp_path, 0.25)
    found = summary.contrast("gained", "plain", "all")
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))
    ratio = summary.ratio("gained", "plain", "all")
    assert ratio is not None and ratio.low > 1


def test_the_page_holds_all_and_escapes_titles(tmp_path):
    found = report(tmp_path)
    wild = found.model_copy(update={"title": "<script>alert(1)</script>"})
    page = render_study(wild)
    assert "<script>" not in page and "&lt;script&gt;" in page
    for text in (found.question, found.command, *found.reading, "Gained", "1.00 kB"):
        assert text in page or text.replace("+", "&#43;") in page
    assert page == render_study(wild)


def test_the_twin_is_the_report(tmp_path):
    found = report(tmp_path)
    page = write_study(found, tmp_path / "report")
    twin = StudyReport.model_validate_json((page.parent / "study.json").read_bytes())
    assert twin == found


def test_the_terminal_shows_table_and_reading(tmp_path):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_terminal(report(tmp_path)))
    shown = console.export_text()
    for text in ("Gained", "nDCG@10", "worst slice", "Better, beyond the interval", "seeds (0, 1)"):
        assert text in shown


def test_cells_of_several_commits_are_told(tmp_path):
    found = report(tmp_path).model_copy(update={"commits": ("aaa", "bbb+")})
    assert any("several commits" in note for note in found.notes)
    assert any("no commit holds" in note for note in found.notes)


def test_the_markdown_has_every_row_and_shows_titles_as_they_stand(tmp_path):
    found = report(tmp_path)
    rows = found.tables[0].rows
    evil = rows[0].model_copy(update={"title": "a|b <script>"})
    table = found.tables[0].model_copy(update={"rows": (evil, *rows[1:])})
    text = render_markdown(found.model_copy(update={"tables": (table,)}))
    assert "| a\\|b \\<script\\> |" in text
    for row in rows[1:]:
        assert f"| {row.title} |" in text
