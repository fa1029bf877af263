"""The report as one self-contained page.

    ReportData ── figures (plots) ──┐
               ── readings ─────────┼── template.html + report.css ── index.html
               ── tables ───────────┘                             ├── report.json (the same data)
    its rollout ── rollout.html, rollout.json ────────────────────┘  where there is one

The page loads nothing: its style and plots are inline, it has no script, and its content security
policy forbids both. Item titles are not trusted; jinja2 escapes them, autoescape is never off.
"""

from pathlib import Path

from pydantic import ValidationError

from models.errors import DataError
from models.files import write_text
from simulation.reporting import (
    figures,
    formats,
    readings,
    rollout_figures,
    rollout_readings,
    tables,
)
from simulation.reporting.model import PRIMARY_METRIC, Interval, ReportData
from simulation.reporting.pages import KeyFigure, style, template
from simulation.reporting.rollout_html import PAGE_NAME as ROLLOUT_PAGE
from simulation.reporting.rollout_html import key_figures as rollout_key_figures
from simulation.reporting.rollout_html import write_rollout_page

PAGE_NAME = "index.html"
DATA_NAME = "report.json"


def write_report(report: ReportData, folder: Path) -> Path:
    """Write `index.html` and its twin `report.json`, each whole or not at all.

    A report with a rollout has the rollout's page and twin beside it.

    Args:
        report: what the run found.
        folder: made if it is missing; older files of the same names are replaced.

    Returns:
        Path of `index.html`.

    Raises:
        DataError: when the folder cannot be written to.
    """
    page = render_page(report)
    write_text(folder / DATA_NAME, report.model_dump_json(indent=2))
    if report.rollout:
        write_rollout_page(report.rollout, folder / ROLLOUT_PAGE)
    write_text(folder / PAGE_NAME, page)
    return folder / PAGE_NAME


def load_report(path: Path) -> ReportData:
    """Read a `report.json`, or the one in a report folder.

    Raises:
        DataError: when the file is missing, or is not a report.
    """
    file = path / DATA_NAME if path.is_dir() else path
    try:
        return ReportData.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read the report {file}: {error.strerror}; give the folder of a finished run"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"{file} is not a report: {place}: {first['msg']}; run the experiment again"
        ) from error


def render_page(report: ReportData) -> str:
    """Return the page as text. The same report gives the same text."""
    return template("template.html").render(
        report=report,
        style=style(),
        key_figures=key_figures(report),
        figures=figures,
        formats=formats,
        readings=readings,
        tables=tables,
        primary_metric=PRIMARY_METRIC,
        rollout_page=ROLLOUT_PAGE,
        rollout_key_figures=rollout_key_figures,
        rollout_figures=rollout_figures,
        rollout_readings=rollout_readings,
    )


def key_figures(report: ReportData) -> list[KeyFigure]:
    """Return the large numbers: quality kept, bytes, time, traffic; those that were measured."""
    found = [_quality_kept(report), _bundle(report), _latency(report), _traffic(report)]
    return [figure for figure in found if figure is not None]


def _quality_kept(report: ReportData) -> KeyFigure | None:
    share: Interval | None = None
    if report.phone and report.phone.share_of_teacher:
        share = report.phone.share_of_teacher.get(PRIMARY_METRIC)
    if share is None:
        return None
    return KeyFigure(
        value=f"{formats.percent(share.mean, 0)} %",
        label=f"of the server teacher’s {formats.metric_label(PRIMARY_METRIC)}, kept on the phone",
        note=f"interval {formats.percent_range(share)} %",
        filled=min(max(share.mean, 0.0), 1.0),
    )


def _bundle(report: ReportData) -> KeyFigure | None:
    if report.compression is None:
        return None
    used, budget = report.compression.bundle_bytes, report.compression.budget_bytes
    return KeyFigure(
        value=formats.size(used),
        label="text encoder bundle, everything included",
        note=f"{formats.percent(used / budget)} % of the {formats.size(budget)} budget",
        filled=min(used / budget, 1.0),
    )


def _latency(report: ReportData) -> KeyFigure | None:
    cost = report.phone.cost if report.phone else None
    if cost is None or cost.latency_p50_ms is None:
        return None
    return KeyFigure(
        value=formats.milliseconds(cost.latency_p50_ms),
        label="for one recommendation, median",
        note=f"p95 {formats.milliseconds(cost.latency_p95_ms)}, on this machine, not a phone",
        filled=None,
    )


def _traffic(report: ReportData) -> KeyFigure | None:
    cost = report.phone.cost if report.phone else None
    if cost is None or cost.bytes_up_per_device_round is None:
        return None
    return KeyFigure(
        value=formats.size(cost.bytes_up_per_device_round),
        label="sent by a device in a round",
        note=f"{formats.size(cost.bytes_down_per_device_round)} received",
        filled=None,
    )
