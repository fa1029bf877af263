from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from simulation.data.fingerprint import data_sha256
from simulation.data.interactions import Columns, Impressions
from simulation.data.tables import load_tables
from tests.simulation.data.made_up import interactions

ROWS = [("ann", "0", 5), ("bob", "1", 4), ("ann", "1", 9)]


def changed(data, column, value):
    events = data.events.copy()
    events.loc[0, column] = value
    return replace(data, events=events)


def test_the_same_rows_have_the_same_hash_however_they_are_written(tmp_path):
    events = pd.DataFrame(
        {"user": ["a", "b", "a"], "item": ["x", "x", "y"], "time": ["5", "6", "7"]}
    )
    items = pd.DataFrame({"item": ["x", "y"], "text": ["Été", "two words"]})
    found = set()
    for name, rows in (("one", events), ("two", events.iloc[::-1])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        parquet.write_table(pa.Table.from_pandas(rows), tmp_path / f"{name}.parquet")
        items.to_csv(tmp_path / "items.csv", index=False)
        for kind in ("csv", "parquet"):
            found.add(data_sha256(load_tables(tmp_path / f"{name}.{kind}", tmp_path / "items.csv")))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (Columns.ITEM, 1),
        (Columns.TIME_S, 6),
        (Columns.VALUE, np.float32(2)),
        (Columns.PRIVATE_TEXT, "x"),
    ],
)
def test_any_change_of_an_event_changes_it(column, value):
    data = interactions(ROWS)
    assert data_sha256(changed(data, column, value)) != data_sha256(data)


def test_texts_ids_and_impressions_count_and_names_do_not():
    data = interactions(ROWS)
    first = data_sha256(data)
    assert len(first) == 64 and data_sha256(replace(data, name="other", licence="x")) == first
    assert data_sha256(changed(data, Columns.ROW, 77)) == first
    # A letter that moves to the neighbour, or an empty text, is another table.
    for texts in (["ab", "c"], ["a", "bc"], ["", "abc"]):
        items = data.items.assign(**{Columns.TEXT: pd.Series(texts, dtype="str")})
        other = data_sha256(replace(data, items=items))
        assert other != first
        first = other
    one, many = np.array([0]), np.array([0, 1])
    shown = Impressions(one, one, np.array([0, 2]), many, many == 0, one == 1)
    assert data_sha256(replace(data, impressions=shown)) != data_sha256(data)
