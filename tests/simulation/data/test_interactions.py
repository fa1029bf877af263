from simulation.data.interactions import Columns, IntakeReport
from tests.simulation.data.made_up import interactions


def test_the_report_tells_only_what_happened():
    report = IntakeReport(rows_read=12_345, duplicate_rows=1)
    assert report.lines() == [
        "12,345 event rows read",
        "1 repeated (user, item) rows: the first in time was kept",
    ]
    assert report.as_dict()["rows_read"] == 12_345
    assert IntakeReport().lines() == []


def test_sizes_count_items_without_events_too():
    data = interactions([("u", "0", 5), ("v", "2", 6)])
    assert (data.num_users, data.num_items, data.num_events) == (2, 3, 2)
    assert data.items.loc[1, Columns.ITEM] == "1"
