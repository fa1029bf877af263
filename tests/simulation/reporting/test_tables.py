from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.reporting import tables
from simulation.reporting.model import Compression, ReportData
from simulation.reporting.tables import Table


def _compression(report: ReportData) -> Compression:
    assert report.compression is not None
    return report.compression


@pytest.mark.parametrize(
    "make",
    [
        lambda report: tables.quality(report, "full"),
        lambda report: tables.quality(report, "sampled-99"),
        tables.cost,
        lambda report: tables.cold(report, "cold-among-cold"),
        lambda report: tables.cold(report, "cold-among-all"),
        tables.slices,
        lambda report: tables.bundle_parts(_compression(report)),
        lambda report: tables.rounds(report.rounds, report),
        lambda report: tables.counts("intake", report.data.intake),
        tables.settings,
        tables.versions,
    ],
)
def test_every_row_fills_every_column(
    make: Callable[[ReportData], Table], report: ReportData
) -> None:
    table = make(report)
    assert table.rows
    assert {len(row.cells) for row in table.rows} == {len(table.columns) - 1}


def test_quality_shows_mean_and_interval_in_percent(report: ReportData) -> None:
    table = tables.quality(report, "full")
    row = next(row for row in table.rows if row.head == "Popularity")
    cell = row.cells[table.columns.index("HR@10") - 1]
    assert (cell.text, cell.note) == ("8.0", "7.3–8.6")


def test_only_full_ranking_shows_the_share_of_the_teacher(report: ReportData) -> None:
    assert tables.quality(report, "full").columns[1] == "share of teacher, nDCG@10"
    assert tables.quality(report, "sampled-99").columns[1] == "nDCG@10"


def test_full_ranking_shows_the_worst_slice_of_every_arm(report: ReportData) -> None:
    table = tables.quality(report, "full")
    column = table.columns.index("worst slice, nDCG@10") - 1
    for arm, row in zip(report.arms, table.rows, strict=True):
        means = [part.interval.mean for part in arm.slices if part.interval]
        assert row.cells[column].text == f"{100 * min(means):.1f}"
        assert row.cells[column].note == "activity: 10-20 events"
    assert "worst slice, nDCG@10" not in tables.quality(report, "sampled-99").columns


def test_new_items_show_the_worst_slice_beside_every_mean(report: ReportData) -> None:
    assert report.cold is not None
    table = tables.cold(report, "cold-among-cold")
    assert table.columns[1:3] == ("worst slice, nDCG@10", "nDCG@10")
    for found, row in zip(report.cold.arms, table.rows, strict=True):
        worst = found.worst_slice("cold-among-cold")
        mean = found.metric("ndcg@10", "cold-among-cold")
        assert worst is not None and worst.interval is not None and mean is not None
        assert row.head == report.known_arm(found.key).name
        assert row.cells[0].text == f"{100 * worst.interval.mean:.1f}"
        assert row.cells[1].text == f"{100 * mean.mean:.1f}"


def test_slices_too_small_to_be_measured_are_counted_and_blank(report: ReportData) -> None:
    table = tables.slices(report)
    assert table.columns == ("slice", "users", "Server teacher", "On-device federated",
                             "On-device static")  # fmt: skip
    row = next(row for row in table.rows if row.head == "held-out item: cold")
    assert [cell.text for cell in row.cells] == ["9", "–", "–", "–"]


def test_a_report_without_slices_has_no_column_for_them(report: ReportData) -> None:
    arms = tuple(arm.model_copy(update={"slices": ()}) for arm in report.arms)
    bare = report.model_copy(update={"arms": arms})
    assert "worst slice, nDCG@10" not in tables.quality(bare, "full").columns
    assert tables.slices(bare).rows == ()


def test_an_arm_without_a_protocol_keeps_its_row(report: ReportData) -> None:
    arm = report.arms[0].model_copy(update={"metrics": {}, "slices": ()})
    changed = report.model_copy(update={"arms": (arm, *report.arms[1:])})
    cells = tables.quality(changed, "full").rows[0].cells
    assert {cell.text for cell in cells} == {"–"}


def test_cost_leaves_out_arms_that_cost_a_device_nothing(report: ReportData) -> None:
    heads = [row.head for row in tables.cost(report).rows]
    assert heads == [arm.name for arm in report.arms if arm.place == "phone"]


def test_arms_that_send_the_same_stand_together(report: ReportData) -> None:
    groups = dict(tables.left_device(report))
    assert groups["Random, Popularity, On-device static"] == ()
    assert set(groups.values()) == {arm.left_device for arm in report.arms}


def test_the_bundle_table_ends_with_its_sum(report: ReportData) -> None:
    *parts, total = tables.bundle_parts(_compression(report)).rows
    numbers = [int(row.cells[0].text.replace(",", "")) for row in parts]
    assert total.cells[0].text == f"{sum(numbers):,}"


names = st.sampled_from(["a", "b", "c"])
leaves = st.one_of(st.integers(), st.none(), st.just([1, 2]))
inner = st.dictionaries(names, leaves)
nested = st.dictionaries(names, st.one_of(leaves, inner, st.dictionaries(names, inner)))


def _num_leaves(node: object) -> int:
    if isinstance(node, dict) and node:
        return sum(_num_leaves(value) for value in node.values())
    return 1


@given(settings=nested)
def test_no_setting_is_lost_in_the_table(settings: dict[str, object]) -> None:
    expected = _num_leaves(settings) if settings else 0
    assert len(tables._flatten(settings)) == expected
