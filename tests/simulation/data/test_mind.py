"""All news and behaviors here are made up, in the format of MIND."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data import delimited
from simulation.data.catalogues import load_catalogue
from simulation.data.downloads import Download
from simulation.data.interactions import Columns
from simulation.data.mind import load_mind

NOON = int(pd.Timestamp("2019-11-11 12:00:00", tz="UTC").timestamp())

NEWS = [
    ("N1", "Harbour opens", "Boats may &amp; will come."),
    ("N2", "Lantern found", ""),
    ("N3", "", "Only an abstract."),
    ("N4", 'The "quoted" moon', 'A 6" pipe.'),
    ("N5", "", ""),
]


def write_part(folder, behaviors, news=NEWS, encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{one}\tnews\tlocal\t{title}\t{abstract}\thttps://x/{one}\t[]\t[{{\"Label\": 1}}]\n"
            for one, title, abstract in news]  # fmt: skip
    (folder / "news.tsv").write_text("".join(rows), encoding=encoding)
    rows = [f"{number}\t" + "\t".join(row) + "\n" for number, row in enumerate(behaviors, 1)]
    (folder / "behaviors.tsv").write_text("".join(rows), encoding=encoding)
    (folder / "entity_embedding.vec").write_text("Q1\t0.1\n")


TRAIN = [
    ("U2", "11/11/2019 12:00:00 PM", "N4 N1", "N2-1 N3-0"),
    ("U2", "11/11/2019 1:00:00 PM", "N4 N1", "N5-1 N3-0 N9-0"),
    ("U1", "11/11/2019 12:30:00 PM", "", "N1-1 N2-0"),
    ("U7", "11/11/2019 12:40:00 PM", "", "N1-0 N2-0"),  # clicked nothing, ever
]


def shown(data, row):
    of = slice(data.impressions.offsets[row], data.impressions.offsets[row + 1])
    ids = data.items[Columns.ITEM].to_numpy()[data.impressions.item[of]].tolist()
    return list(zip(ids, data.impressions.clicked[of].tolist(), strict=True))


def test_histories_come_first_then_clicks_in_time(tmp_path):
    write_part(tmp_path, TRAIN)
    data = load_catalogue("mind", tmp_path)
    assert data.users.tolist() == ["U1", "U2"]
    events = data.events
    ids = data.items[Columns.ITEM].to_numpy()[events[Columns.ITEM]].tolist()
    assert ids == ["N1", "N4", "N1", "N2", "N5"]
    since_noon = (events[Columns.TIME_S] - NOON).tolist()
    assert since_noon == [1800, -2, -1, 0, 3600]
    assert data.items[Columns.TEXT].tolist() == [
        "Harbour opens. Boats may & will come.",
        "Lantern found",
        "Only an abstract.",
        'The "quoted" moon. A 6" pipe.',
        "N5",
    ]
    assert data.items[Columns.TITLE].tolist()[2] == "Only an abstract."
    counts = data.intake
    assert (counts.html_entities, counts.empty_texts, counts.impressions_read) == (1, 1, 4)
    assert (counts.unknown_candidates, counts.duplicate_rows) == (1, 0)


def test_impressions_are_kept_whole_but_for_unknown_news(tmp_path):
    write_part(tmp_path, TRAIN)
    data = load_catalogue("auto", tmp_path)
    found = data.impressions
    assert len(found) == 4 and not found.judged.any()
    assert found.user.tolist() == [1, 1, 0, -1]  # U7 has no event and is no user
    assert found.time_s.tolist() == [NOON, NOON + 3600, NOON + 1800, NOON + 2400]
    assert shown(data, 0) == [("N2", True), ("N3", False)]
    assert shown(data, 1) == [("N5", True), ("N3", False)]
    some = found.of(np.array([2, 0]))
    assert some.user.tolist() == [0, 1] and some.offsets.tolist() == [0, 2, 4]
    assert some.item.tolist() == [0, 1, 1, 2] and some.clicked.tolist() == [True, False] * 2


def test_clicks_of_dev_are_no_events(tmp_path):
    write_part(tmp_path / "MINDsmall_train", TRAIN)
    dev = [
        ("U1", "11/15/2019 8:00:00 AM", "N1", "N3-0 N4-1"),
        ("U8", "11/15/2019 9:00:00 AM", "N2 N6", "N6-1 N3-0"),
    ]
    write_part(tmp_path / "MINDsmall_dev", dev, [*NEWS[:4], ("N6", "New", "Only in dev.")])
    data = load_catalogue("mind", tmp_path)
    assert data.num_items == 6 and data.intake.duplicate_items == 0
    assert data.impressions.judged.tolist() == [False] * 4 + [True] * 2
    pairs = {
        (data.users[user], data.items[Columns.ITEM][item])
        for user, item in zip(data.events[Columns.USER], data.events[Columns.ITEM], strict=True)
    }
    assert ("U1", "N4") not in pairs and ("U8", "N2") in pairs and ("U8", "N6") in pairs
    assert shown(data, 5) == [("N6", True), ("N3", False)]


def test_both_zips_in_a_folder_are_the_same_data(tmp_path):
    write_part(tmp_path / "plain" / "MINDsmall_train", TRAIN)
    write_part(tmp_path / "plain" / "MINDsmall_dev", TRAIN[:1])
    for part in ("MINDsmall_train", "MINDsmall_dev"):
        (tmp_path / "zips").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "zips" / f"{part}.zip", "w") as archive:
            for file in (tmp_path / "plain" / part).iterdir():
                archive.write(file, file.name)
    plain, packed = (load_catalogue("auto", tmp_path / name) for name in ("plain", "zips"))
    pd.testing.assert_frame_equal(plain.events, packed.events)
    np.testing.assert_array_equal(plain.impressions.item, packed.impressions.item)


def test_what_is_broken_is_counted(tmp_path):
    broken = [
        *TRAIN,
        ("U3", "yesterday", "N1 N77", "N2-1"),  # no time: its history counts all the same
        ("", "11/11/2019 12:00:00 PM", "", "N2-1"),
        ("U4", "11/11/2019 12:00:00 PM", "", ""),
        ("U5", "11/11/2019 12:00:00 PM", "", "N2 N88-1 N3-x"),
        ("U6", "11/11/2019 12:00:00 PM", "N2"),  # a cell is missing
    ]
    write_part(tmp_path, broken, encoding="utf-8")
    raw = (tmp_path / "news.tsv").read_bytes().replace(b"Lantern", b"L\xffntern")
    (tmp_path / "news.tsv").write_bytes(raw + b"N6\ttoo\tfew\n")
    data = load_catalogue("mind", tmp_path)
    counts = data.intake
    assert counts.impressions_read == 9 and len(data.impressions) == 4
    assert counts.broken_impressions == 5
    assert counts.unknown_items == 1  # N77 of a history
    assert counts.unknown_candidates == 2  # N9, N88
    assert counts.broken_items == 1 and counts.replaced_characters == 1
    assert counts.broken_rows == 1  # the click of nobody
    assert "U3" in data.users


def test_folders_that_cannot_be_told_apart(tmp_path):
    for name in ("one", "two"):
        write_part(tmp_path / name, TRAIN)
    with pytest.raises(DataError, match="must hold one train and perhaps one dev folder of MIND"):
        load_catalogue("mind", tmp_path)


ids = st.sampled_from(["N1", "N2", "N3", "N4", "N5"])
impressions = st.lists(
    st.tuples(
        st.sampled_from(["U1", "U2", "U3"]),
        st.integers(0, 86_000),
        st.lists(ids, unique=True, max_size=3),
        st.lists(
            st.tuples(ids, st.booleans()), min_size=1, max_size=4, unique_by=lambda one: one[0]
        ),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30)
@given(impressions, st.integers(40, 400))
def test_what_was_written_is_read_whatever_the_block(tmp_path_factory, table, block_bytes):
    """parse(write(table)) == table, in one stretch or in many."""
    if not any(history or any(clicked for _, clicked in seen) for _, _, history, seen in table):
        return  # nobody has an event
    folder = tmp_path_factory.mktemp("mind")
    rows = []
    for user, second, history, seen in table:
        time = pd.Timestamp(NOON - 43_200 + second, unit="s").strftime("%m/%d/%Y %I:%M:%S %p")
        marked = " ".join(f"{one}-{int(clicked)}" for one, clicked in seen)
        rows.append((user, time, " ".join(history), marked))
    write_part(folder, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK_BYTES", block_bytes + 200)
        data = load_mind(Download.open(folder), [""])
    assert [shown(data, row) for row in range(len(table))] == [seen for *_, seen in table]
    names = [data.users[user] if user >= 0 else None for user in data.impressions.user]
    assert all(name in (None, row[0]) for name, row in zip(names, table, strict=True))
    assert (data.impressions.time_s - NOON + 43_200).tolist() == [row[1] for row in table]
    expected = {(user, one) for user, _, history, _ in table for one in history}
    expected |= {(user, one) for user, *_, seen in table for one, clicked in seen if clicked}
    catalogue = data.items[Columns.ITEM].to_numpy()
    events = zip(data.events[Columns.USER], data.events[Columns.ITEM], strict=True)
    assert {(data.users[user], catalogue[item]) for user, item in events} == expected
