"""The page in a real browser: nothing may stick out of a phone.

Needs the `playwright` package and a chromium on the path; skipped with a reason without them.
"""

from pathlib import Path
from typing import Any

import pytest

from simulation.reporting.html import write_report
from simulation.reporting.model import ReportData
from simulation.reporting.world_html import write_world_page
from simulation.reporting.world_model import WorldReport
from tests.simulation.reporting.synthetic_world import synthetic_world, tier_row

pytestmark = pytest.mark.slow

LONG = "Unbreakable" * 25


def _long_words(report: ReportData) -> ReportData:
    """Return the report with words in it that no line can hold."""
    arm = report.arms[-1].model_copy(update={"name": LONG, "left_device": (LONG,)})
    user = report.recommendations[0].model_copy(
        update={"user": LONG, "history": (LONG,), "server": (LONG,), "phone": (LONG,)}
    )
    changes = {"arms": (*report.arms[:-1], arm), "recommendations": (user,), "headline": LONG}
    return report.model_copy(update=changes | {"title": LONG, "settings": {LONG: LONG}})


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("words", ["usual", "long"])
def test_nothing_sticks_out_and_nothing_is_loaded(
    browser: Any, report: ReportData, tmp_path: Path, width: int, scheme: str, words: str
) -> None:
    page_path = write_report(_long_words(report) if words == "long" else report, tmp_path)
    view = {"width": width, "height": 844}
    context = browser.new_context(viewport=view, color_scheme=scheme)
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(page_path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert requests == [page_path.as_uri()]
    assert complaints == []
    context.close()


def _long_world() -> WorldReport:
    """A world with words in it that no line can hold, and a tier that cannot serve."""
    renamed = synthetic_world().model_dump_json().replace('"small"', f'"{LONG}"')
    report = WorldReport.model_validate_json(renamed)
    tiers = (tier_row(LONG, can_serve=False), report.tiers[1])
    return report.model_copy(update={"tiers": tiers, "title": LONG, "source": LONG})


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("words", ["usual", "long"])
def test_nothing_sticks_out_of_the_page_of_a_world(
    browser: Any, tmp_path: Path, width: int, scheme: str, words: str
) -> None:
    path = tmp_path / "world.html"
    write_world_page(_long_world() if words == "long" else synthetic_world(), path)
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert complaints == []
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_short_labels_stay_on_one_line(
    browser: Any, report: ReportData, tmp_path: Path, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(write_report(report, tmp_path).as_uri())
    short = "nav a, .y-ticks span, .x-ticks span, .dot-axis span, .dot-value, .key-figure > b"
    lines = page.locator(short).evaluate_all(
        "all => all.filter(one => one.offsetHeight > 0)"
        ".map(one => one.offsetHeight / parseFloat(getComputedStyle(one).fontSize))"
    )
    assert len(lines) > 50
    assert max(lines) < 1.8  # heights in units of the font size: a second line would give 2
    page.close()


def test_a_tab_shows_its_metric_without_a_script(
    browser: Any, report: ReportData, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(write_report(report, tmp_path).as_uri())
    assert page.locator(".panel:visible").count() == 1
    page.locator("label", has_text="AUC").click()
    assert page.locator(".panel-6").is_visible()
    assert page.locator(".panel:visible").count() == 1
    page.close()
