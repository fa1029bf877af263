from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from models.errors import DataError
from simulation.data import tables
from simulation.data.interactions import Columns
from simulation.data.tables import load_tables

EVENTS = """user,item,time,value,private_text,colour
2,07,2020-01-02T00:00:00Z,4,old tale,red
10,07,2020-01-01,5,,blue
2,8,1577836800,3,,red
"""
ITEMS = "item,text,title\n07,A quiet book,Quiet\n8,,Loud\n9,\xe9t\xe9,\n"


def write(folder, events=EVENTS, items=ITEMS):
    (folder / "events.csv").write_text(events, encoding="utf-8")
    (folder / "items.csv").write_text(items, encoding="utf-8")
    return folder / "events.csv", folder / "items.csv"


def test_a_plain_pair_of_csv_files(tmp_path):
    data = load_tables(*write(tmp_path))
    assert data.name == "events.csv"
    assert data.users.tolist() == ["2", "10"]
    assert data.events[Columns.ITEM].tolist() == [1, 0, 0]
    assert data.events[Columns.TIME_S].tolist() == [1577836800, 1577923200, 1577836800]
    assert data.events[Columns.VALUE].tolist() == [3, 4, 5]
    assert data.events[Columns.PRIVATE_TEXT].tolist() == ["", "old tale", ""]
    assert data.items[Columns.TEXT].tolist() == ["A quiet book", "Loud", "été"]
    assert data.items[Columns.TITLE].tolist() == ["Quiet", "Loud", "été"]
    assert data.intake.empty_texts == 1


def test_only_the_needed_columns(tmp_path):
    data = load_tables(*write(tmp_path, "item,user\nx,u\n", "text,item\nhello,x\n"))
    assert not data.has_time
    assert data.items.loc[0].tolist() == ["x", "hello", "hello"]


def test_malformed_rows_are_counted(tmp_path):
    events, items = write(tmp_path, items=ITEMS.replace("A quiet", "A\xff quiet"))
    items.write_bytes(ITEMS.encode("latin-1"))
    events.write_text(EVENTS + "2,07\nnan,07,1,,,\n2,99,1,,,\n2,07,1,,,\n,,,,,\n")
    data = load_tables(events, items)
    counts = data.intake
    assert (counts.rows_read, counts.broken_rows) == (8, 3)
    assert (counts.unknown_items, counts.duplicate_rows, counts.missing_values) == (1, 1, 2)
    assert counts.replaced_characters == 2
    assert data.items[Columns.TEXT].tolist()[-1] == "\ufffdt\ufffd"


@pytest.mark.parametrize(
    ("events", "items", "says"),
    [
        ("user,film\nu,x\n", ITEMS, r"events\.csv has no column 'item': .*found 'user', 'film'"),
        (EVENTS, "item,words\nx,y\n", r"items\.csv has no column 'text': .*found 'item', 'words'"),
        ("user,item\n", ITEMS, r"events\.csv has no event rows"),
        ("", ITEMS, r"events\.csv is empty"),
        ("user,item\nu,none\n", ITEMS, "no event has an item of the item table"),
    ],
)
def test_what_cannot_be_used_is_one_line(events, items, says, tmp_path):
    with pytest.raises(DataError, match=says) as caught:
        load_tables(*write(tmp_path, events, items))
    assert "\n" not in str(caught.value)


def test_paths_that_lead_nowhere(tmp_path):
    events, items = write(tmp_path)
    for wrong in (tmp_path / "none.csv", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(DataError, match=r"there is no file|is not a file"):
            load_tables(wrong, items)
        with pytest.raises(DataError, match=r"there is no file|is not a file"):
            load_tables(events, wrong)


def write_parquet(folder, columns):
    parquet.write_table(pa.table(columns), folder / "events.parquet")
    return folder / "events.parquet"


def test_parquet_gives_the_same_table_as_csv(tmp_path):
    events, items = write(tmp_path)
    pair = []
    for path in (events, items):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        pair.append(path.with_suffix(".parquet"))
        frame.to_parquet(pair[-1])
    first, second = load_tables(events, items), load_tables(*pair)
    pd.testing.assert_frame_equal(first.events, second.events)
    pd.testing.assert_frame_equal(first.items, second.items)
    assert first.intake == second.intake


def test_parquet_types_become_text(tmp_path):
    _, items = write(tmp_path, items="item,text\n1,one\n2,two\n")
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    events = write_parquet(
        tmp_path,
        {
            "user": pa.array(["u", "u", None, "v"]).dictionary_encode(),
            "item": pa.array([1.0, 2.0, 1.0, float("nan")]),
            "time": pa.array([moment, None, moment, moment]),
            "value": pa.array([4, 5, 6, 7], pa.int8()),
            "private_text": pa.array([None, "note", "", ""]),
            "extra": pa.array([[1], [], [], []]),
        },
    )
    data = load_tables(events, items)
    assert data.events[Columns.TIME_S].tolist() == [1577836800]
    assert data.events[Columns.PRIVATE_TEXT].tolist() == [""]
    assert (data.intake.rows_read, data.intake.broken_rows) == (4, 3)


def test_parquet_text_that_is_no_utf_8_is_replaced_and_counted(tmp_path):
    events, _ = write(tmp_path, "user,item\nu,1\n")
    broken = pa.array([b"\xe9t\xe9", b"\xef\xbf\xbd", None], pa.binary())
    as_string = pa.Array.from_buffers(pa.string(), 3, broken.buffers())
    parquet.write_table(
        pa.table({"item": ["1", "2", "3"], "text": as_string}), tmp_path / "items.parquet"
    )
    data = load_tables(events, tmp_path / "items.parquet")
    assert data.items[Columns.TEXT].tolist() == ["\ufffdt\ufffd", "\ufffd", "3"]
    assert data.intake.replaced_characters == 2


def test_a_broken_parquet_file_is_one_line(tmp_path):
    _, items = write(tmp_path)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 this is not one PAR1")
    with pytest.raises(DataError, match=r"broken\.parquet is no Parquet file") as caught:
        load_tables(broken, items)
    assert "\n" not in str(caught.value)
    nested = write_parquet(tmp_path, {"user": [["u"]], "item": ["1"]})
    with pytest.raises(DataError, match=r"events\.parquet is no Parquet file that we can read"):
        load_tables(nested, items)
    lacking = write_parquet(tmp_path, {"user": ["u"], "thing": ["1"]})
    with pytest.raises(DataError, match=r"has no column 'item': .*found 'user', 'thing'"):
        load_tables(lacking, items)


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    _, items = write(tmp_path)
    events = write_parquet(tmp_path, {"user": ["u"] * 1000, "item": ["1"] * 1000})
    monkeypatch.setattr(tables, "MAX_INPUT_BYTES", 10)
    with pytest.raises(DataError, match=r"unpacks to .* the limit is 10"):
        load_tables(events, items)
