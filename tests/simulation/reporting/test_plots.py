import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from simulation.reporting.axes import linear_axis
from simulation.reporting.model import Interval
from simulation.reporting.plots import (
    DotRow,
    GroupRow,
    Line,
    Stripe,
    curve,
    dot_plot,
    group_plot,
    part_bar,
)

AXIS = linear_axis([10.0])


def _row(label: str = "an arm", mean: float = 5.0, hollow: bool = False) -> DotRow:
    interval = Interval(mean=mean, low=mean / 2, high=mean)
    return DotRow(label, "server", "server", interval, "5.0", "2.5–5.0", hollow=hollow)


def _draw(row: DotRow) -> str:
    return str(dot_plot([row], AXIS, str, Interval(mean=5, low=4, high=6)))


@given(label=st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_label_stays_text(label: str) -> None:
    tree = ElementTree.fromstring(_draw(_row(label)))
    found = tree.find(".//div[@class='dot-label']")
    assert found is not None and (found.text or "").rstrip(" ") == label.rstrip(" ")
    assert len([*tree.iter()]) == len([*ElementTree.fromstring(_draw(_row())).iter()])


def test_dot_whisker_and_band_stand_where_the_numbers_say() -> None:
    drawn = _draw(_row())
    assert '<circle cx="50.0%"' in drawn
    assert '<line x1="25.0%" x2="50.0%" y1="50%"' in drawn
    assert 'class="band" x="40.0%" width="20.0%"' in drawn


def test_a_ring_is_drawn_for_what_cannot_be_told_apart() -> None:
    assert "tone-server hollow" in _draw(_row(hollow=True))
    assert "hollow" not in _draw(_row())


def test_a_curve_puts_high_values_on_top() -> None:
    line = Line("up", "phone", False, ((0.0, 0.0), (10.0, 10.0)))
    drawn = str(curve([line], AXIS, AXIS, str, Interval(mean=5, low=4, high=6), "round"))
    assert 'points="0,100 100,0"' in drawn
    assert 'y="40.0" height="20.0"' in drawn
    ElementTree.fromstring(drawn)


def test_a_curve_may_name_its_x_ticks() -> None:
    line = Line("up", "phone", False, ((0.0, 0.0), (10.0, 10.0)))
    drawn = str(curve([line], AXIS, AXIS, str, None, "day", lambda tick: f"day {tick:g}"))
    assert ">day 10</span>" in drawn


def test_a_group_has_a_dot_for_each_member_and_a_line_between_them() -> None:
    rows = [GroupRow("first", (2.0, 8.0), "2 to 8"), GroupRow("<second>", (5.0, 5.0), "5")]
    drawn = str(group_plot(rows, [("low", "second"), ("high", "phone")], AXIS, str))
    ElementTree.fromstring(f"<div>{drawn}</div>")
    assert '<line class="zero" x1="20.0%" x2="80.0%"' in drawn
    assert 'tone-second"><circle cx="20.0%"' in drawn and 'tone-phone"><circle cx="80.0%"' in drawn
    assert "&lt;second&gt;" in drawn and drawn.count("<li>") == 2


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_stripes_are_as_wide_as_their_shares(shares: list[float]) -> None:
    total = max(sum(shares), 1.0)
    stripes = [Stripe("part", 1, share / total) for share in shares]
    widths = [float(width) for width in re.findall(r"width:([\d.e-]+)%", str(part_bar(stripes)))]
    assert len(widths) == len(shares)
    assert sum(widths) <= 100.01
