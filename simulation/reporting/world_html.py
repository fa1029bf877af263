"""The description of a world as one self-contained page, and its twin for machines.

WorldReport ── world_figures, world_readings, world_tables ── world.html + report.css ── page
            └─ the same data as JSON, beside the page
"""

from pathlib import Path

from models.files import write_text
from simulation.reporting import formats, world_figures, world_readings, world_tables
from simulation.reporting.pages import KeyFigure, style, template
from simulation.reporting.world_model import WorldReport


def write_world_page(report: WorldReport, page: Path) -> Path:
    """Write a page and its JSON twin, each whole or not at all.

    Args:
        report: the world.
        page: the page's path; the twin has the same name and ends in .json.

    Returns:
        path of the twin.

    Raises:
        DataError: when the folder cannot be written to.
    """
    rendered, twin = render_world(report), page.with_suffix(".json")
    write_text(twin, report.model_dump_json(indent=2) + "\n")
    write_text(page, rendered)
    return twin


def render_world(report: WorldReport) -> str:
    """Return the page as text. The same report gives the same text."""
    return template("world.html").render(
        report=report,
        style=style(),
        key_figures=key_figures(report),
        formats=formats,
        figures=world_figures,
        readings=world_readings,
        tables=world_tables,
    )


def key_figures(report: WorldReport) -> list[KeyFigure]:
    """Return the large numbers: devices, who is there, who can serve, what a round costs."""
    able = sum(tier.num_devices for tier in report.tiers if tier.can_serve) / report.num_devices
    rounds = [row for row in report.actions if row.action.startswith("a round")]
    slowest = max(rounds, key=lambda row: row.seconds)
    week = report.week
    return [
        KeyFigure(
            value=_short(report.num_devices),
            label="devices",
            note=f"{report.num_bytes / report.num_devices:,.1f} bytes each on disk",
            filled=None,
        ),
        KeyFigure(
            value=f"{formats.percent(week.best_hour, 0)} %",
            label="of them available at the best hour",
            note=f"{formats.percent(week.worst_hour)} % at the worst",
            filled=week.best_hour,
        ),
        KeyFigure(
            value=f"{formats.percent(able, 0)} %",
            label="have the memory to serve",
            note=f"{report.serving_mb:.0f} MB are needed",
            filled=able,
        ),
        KeyFigure(
            value=formats.duration(slowest.seconds),
            label=f"for a round on a {slowest.tier} phone",
            note=f"{formats.energy(slowest.joules)}, the median phone",
            filled=None,
        ),
    ]


def _short(count: int) -> str:
    """A large count in few characters.

    >>> _short(943), _short(8_400_000), _short(120_000)
    ('943', '8.4 M', '120 k')
    """
    if count < 10_000:
        return formats.count(count)
    return f"{count / 1e6:.3g} M" if count >= 999_500 else f"{count / 1e3:.3g} k"
