"""A rollout that was tried as one self-contained page, and its twin for machines."""

from pathlib import Path

from pydantic import ValidationError

from models.errors import DataError
from models.files import write_text
from simulation.reporting import formats, rollout_figures, rollout_readings, rollout_tables
from simulation.reporting.pages import KeyFigure, style, template
from simulation.reporting.rollout_model import RolloutReport

PAGE_NAME = "rollout.html"
DATA_NAME = "rollout.json"


def write_rollout_page(report: RolloutReport, page: Path) -> Path:
    """Write a page and its JSON twin, each whole or not at all.

    Args:
        report: the rollout.
        page: the page's path; the twin has the same name and ends in .json.

    Returns:
        path of the twin.

    Raises:
        DataError: when the folder cannot be written to.
    """
    rendered, twin = render_rollout(report), page.with_suffix(".json")
    write_text(twin, report.model_dump_json(indent=2) + "\n")
    write_text(page, rendered)
    return twin


def load_rollout_report(path: Path) -> RolloutReport:
    """Read a `rollout.json`, or that of a run folder that `pocketfleet rollout` made.

    Raises:
        DataError: if there is none, or it is damaged.
    """
    file = path / "report" / DATA_NAME if path.is_dir() else path
    try:
        return RolloutReport.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read the rollout {file}: {error.strerror}; give the folder of a rollout that "
            "has ended"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"{file} is not a rollout: {place}: {first['msg']}; run `pocketfleet rollout` again"
        ) from error


def render_rollout(report: RolloutReport) -> str:
    """Return the page as text. The same report gives the same text."""
    return template("rollout.html").render(
        report=report,
        style=style(),
        key_figures=key_figures(report),
        formats=formats,
        figures=rollout_figures,
        readings=rollout_readings,
        tables=rollout_tables,
    )


def key_figures(report: RolloutReport) -> list[KeyFigure]:
    """Return the large numbers: what became of it, when, who was hit, what it cost."""
    last, found = report.last, report.caught
    downloads = sum(day.downloads for day in report.days)
    hit = found.hit if found else last.hit
    return [
        KeyFigure(
            value=last.status, label="in the end", note=f"in stage '{last.stage}'", filled=None
        ),
        KeyFigure(
            value=f"day {found.day}" if found else "never",
            label="stopped by the rule",
            note=found.action if found else "",
            filled=None,
        ),
        KeyFigure(
            value=f"{formats.percent(hit / report.num_devices, 2)} %",
            label="of the fleet had used it by then" if found else "of the fleet used it",
            note=f"{formats.count(hit)} devices",
            filled=hit / report.num_devices,
        ),
        KeyFigure(
            value=formats.size(downloads * report.release_bytes),
            label="were fetched",
            note=f"{formats.count(downloads)} downloads",
            filled=None,
        ),
    ]
