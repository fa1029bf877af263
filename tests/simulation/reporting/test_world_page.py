"""The page of a world: what it draws, what it says, and that nothing in it is trusted."""

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from models.errors import DataError
from simulation.reporting import world_figures, world_readings, world_tables
from simulation.reporting.world_html import key_figures, render_world, write_world_page
from simulation.reporting.world_model import WorldReport
from simulation.reporting.world_terminal import render_terminal
from tests.simulation.reporting.synthetic_world import (
    aspect,
    synthetic_fidelity,
    synthetic_week,
    synthetic_world,
    tier_row,
)

NASTY = "<script>alert('x')</script>"


class _Tags(HTMLParser):
    """Counts tags and holds that every one is closed in its order."""

    empty = frozenset({"meta", "input", "br", "line", "circle", "rect", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.met: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.met.append(tag)
        if tag not in self.empty:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.met.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.empty:
            assert self.open.pop() == tag


def tags_of(page: str) -> list[str]:
    parser = _Tags()
    parser.feed(page)
    assert parser.open == []
    return parser.met


def test_the_page_is_whole_and_loads_nothing():
    page = render_world(synthetic_world())
    met = tags_of(page)
    assert {"script", "img", "link", "iframe"} & {*met} == set()
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")
    for section in ("phones", "availability", "network", "costs", "activity", "fidelity"):
        assert page.count(f'id="{section}"') == 1
        assert f'href="#{section}"' in page
    # States, zones, activity, five of fidelity.
    assert page.count('class="curve"') == 8
    assert page.count('class="part-bar"') == 2


def test_a_page_of_real_users_says_nothing_of_fidelity():
    page = render_world(
        synthetic_world(kind="stored", fidelity=None, fidelity_note="They are real.")
    )
    assert 'id="fidelity"' not in page and "#fidelity" not in page
    assert "They are real." in page
    assert "one for each user of nowhere" in page


def test_hours_and_pairs_may_be_missing():
    found = synthetic_fidelity().model_copy(update={"hours": (), "lifts": ()})
    page = render_world(synthetic_world(fidelity=found))
    assert page.count('class="curve"') == 6


def test_names_stay_text():
    plain, nasty = render_world(synthetic_world()), synthetic_world(title=NASTY, source=NASTY)
    changed = nasty.model_copy(update={"tiers": (tier_row("small"), tier_row("large"))})
    page = render_world(changed)
    assert NASTY not in page and "&lt;script&gt;" in page
    assert tags_of(page) == tags_of(plain)


def test_the_page_and_its_twin_are_written(tmp_path):
    report = synthetic_world()
    twin = write_world_page(report, tmp_path / "some" / "fleet.html")
    assert twin == tmp_path / "some" / "fleet.json"
    assert WorldReport.model_validate_json(twin.read_bytes()) == report
    assert (tmp_path / "some" / "fleet.html").read_text("utf-8") == render_world(report)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_world_page(report, tmp_path / "file" / "page.html")


def test_key_figures_say_who_is_there_and_who_can_serve():
    tiers = (tier_row("small", can_serve=False), tier_row("large"))
    devices, there, able, round_ = key_figures(synthetic_world(tiers=tiers))
    assert (devices.value, devices.note) == ("1,200", "10.0 bytes each on disk")
    assert (there.value, there.note) == ("40 %", "10.0 % at the worst")
    assert (able.value, able.filled) == ("50 %", 0.5)
    assert (round_.value, round_.label) == ("3.0 s", "for a round on a small phone")


# --- plots ----------------------------------------------------------------------------------------
def test_days_stand_where_they_begin():
    drawn = str(world_figures.states(synthetic_week()))
    ticks = re.findall(r'left:([\d.]+)%">(\w+)<', drawn)
    assert [day for _, day in ticks] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert float(ticks[1][0]) == pytest.approx(100 / 7, abs=0.01)
    assert drawn.count("<polyline") == 4


def test_only_the_largest_time_zones_are_drawn():
    week, zone = synthetic_week(), synthetic_week().zones[0]
    zones = tuple(zone.model_copy(update={"offset_h": h, "share": 0.1 + h / 100}) for h in range(6))
    drawn = str(world_figures.zones(week.model_copy(update={"zones": zones})))
    assert drawn.count("<polyline") == 4
    assert "UTC+5" in drawn and "UTC+0" not in drawn


def test_every_tier_has_a_dot_for_every_action():
    drawn = str(world_figures.times(synthetic_world()))
    assert drawn.count("<circle") == 6 * 2
    assert drawn.count('class="dot-row"') == 6
    assert "0.40 ms to 4.0 ms" in drawn and "small" in drawn
    joules = str(world_figures.energies(synthetic_world()))
    assert "8.0 mJ" in joules and "8.0 mJ to" not in joules  # the same for both tiers


def test_a_transfer_has_its_median_and_its_slow_end():
    drawn = str(world_figures.transfers(synthetic_world(), "package, down"))
    assert drawn.count('class="dot-row') == 2
    assert "2.0 s" in drawn and "90 % 5.0 s" in drawn and "90 % 500 ms" in drawn


def test_a_round_is_divided_into_its_parts():
    assert world_figures.round_parts(synthetic_world(), "small") == pytest.approx((1.0, 0.05, 2.0))
    widths = re.findall(
        r"width:([\d.]+)%", str(world_figures.round_bar(synthetic_world(), "small"))
    )
    assert [float(width) for width in widths] == pytest.approx([32.787, 1.639, 65.574])


def test_the_devices_curve_hides_no_real_one():
    drawn = str(world_figures.lengths(synthetic_fidelity().lengths))
    assert drawn.index('polyline class="tone-none"') < drawn.index('class="tone-phone dashed"')


def test_colours_of_tiers_begin_again():
    assert world_figures.tone_of(0) == world_figures.tone_of(6)
    assert len({world_figures.tone_of(tier) for tier in range(6)}) == 6


# --- sentences and tables -------------------------------------------------------------------------
def test_sentences_say_what_the_numbers_say():
    report = synthetic_world()
    assert "1,200 synthetic devices" in world_readings.population(report)
    assert "a factor of 4.0" in world_readings.availability(report.week)
    assert "10.5 hours lie between the first and the last of 2" in world_readings.zones(report.week)
    assert "training is 1.6 % of that time" in world_readings.errands(report)
    assert "after 2.0 s and on 90 % of them after 5.0 s" in world_readings.network(report)


def test_a_world_where_nobody_is_there_at_the_worst_hour_has_no_factor():
    week = synthetic_week().model_copy(update={"worst_hour": 0.0})
    assert "factor" not in world_readings.availability(week)
    one = week.model_copy(update={"zones": week.zones[:1]})
    assert world_readings.zones(one) == "All devices live in one time zone."


def test_a_tier_without_the_memory_is_named():
    tiers = (tier_row("small", can_serve=False), tier_row("large"))
    said = world_readings.serving(synthetic_world(tiers=tiers))
    assert "which 50.0 % of the devices have. Not the tiers small" in said


def test_a_verdict_is_in_units_of_noise():
    assert world_readings.verdict(aspect("a", 0.05, 0.05)) == "within noise"
    assert world_readings.verdict(aspect("a", 0.12, 0.06)) == "2.0 times the noise"
    assert world_readings.verdict(aspect("a", 0.8, 0.9, True)) == "2.0 times the noise"
    assert world_readings.verdict(aspect("a", 0.95, 0.9, True)) == "within noise"
    assert world_readings.verdict(aspect("a", 0.1, 0.0)) == "–"


def test_fidelity_is_summed_up():
    said = world_readings.fidelity(synthetic_fidelity())
    assert said.startswith("In 1 of 3 aspects 45 synthetic devices are as close")
    assert said.endswith("Furthest off is variety, 2.0 times as far as noise.")
    close = synthetic_fidelity().model_copy(update={"aspects": (aspect("a", 0.1, 0.1),)})
    assert "Furthest" not in world_readings.fidelity(close)
    none = synthetic_fidelity().model_copy(update={"aspects": (aspect("a", 0.1, 0.0),)})
    assert world_readings.fidelity(none) == ""


def test_tables_hold_every_tier_and_every_action():
    report = synthetic_world()
    for table in (
        world_tables.phones(report),
        world_tables.links(report),
        world_tables.activity(report),
        world_tables.actions(report),
        world_tables.battery(report),
        world_tables.fidelity(synthetic_fidelity()),
    ):
        assert all(len(row.cells) == len(table.columns) - 1 for row in table.rows)
    assert [row.head for row in world_tables.actions(report).rows][:2] == [
        "encode a text",
        "a request: both",
    ]
    battery = {row.head: row.cells for row in world_tables.battery(report).rows}
    assert battery["a round: all three"][0].text == "514"  # 360 J / 0.7 J


def test_losses_that_bound_a_rate_are_shown():
    lossy, clean = world_tables.links(
        synthetic_world(tiers=(tier_row("small"), tier_row("large", loss=0, most_mbit_per_s=None)))
    ).rows
    assert lossy.cells[0].note == "1.8 with its losses" and lossy.cells[1].note == ""
    assert clean.cells[0].note == ""


def test_the_terminal_shows_tiers_and_fidelity():
    target = io.StringIO()
    Console(file=target, width=80).print(render_terminal(synthetic_world()))
    said = target.getvalue()
    assert "small" in said and "600 (50.0 %)" in said
    assert "variety" in said and "2.0 times the noise" in said
    assert "…" not in said
    target = io.StringIO()
    Console(file=target, width=80).print(render_terminal(synthetic_world(fidelity=None)))
    assert "variety" not in target.getvalue()
