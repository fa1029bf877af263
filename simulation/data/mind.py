"""MIND, the Microsoft News Dataset: what was clicked, and what was shown beside it.

    news.tsv         N1  sports  golf  Title  Abstract  URL  entities  entities    tabs, no header
    behaviors.tsv    1  U13  11/11/2019 9:05:58 AM  N9 N4  N7-0 N3-1 N8-0          a row: impression
                        user                        history  candidates, 1 = clicked

A user's history lists clicks of the weeks before, oldest first and without times. So they are dated
before every impression of the data, a second apart, which keeps their order and nothing else:

    first impression of all  12:00:00      history N9 N4  ->  N9 11:59:58, N4 11:59:59

A click of an impression has the impression's time. With a train and a dev folder the clicks of dev
are no events: they are what is to be predicted, and its impressions are marked as `judged`. Of one
folder alone all clicks are events, and an impression-level figure on them would be a leak.

Histories and candidates may name news that are not in news.tsv; they are counted and left out.
Impressions of users without any event stay, with user -1. Text is title and abstract; entity
columns are not read.

Source: F. Wu et al., MIND: A Large-scale Dataset for News Recommendation, ACL 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute

from models.errors import DataError
from simulation.data.checking import RawTables, build_interactions
from simulation.data.delimited import Format, TextTable, read_text_blocks, read_text_table
from simulation.data.downloads import Download
from simulation.data.interactions import Columns, Impressions, Interactions
from simulation.data.raw_events import MAX_ID_CHARACTERS, RAW_TIME

NEWS, BEHAVIORS = "news.tsv", "behaviors.tsv"

_NEWS = Format(
    "\t",
    header=("item", "category", "subcategory", "title", "abstract", "url", "in_title", "in_abs"),
)
_BEHAVIORS = Format("\t", header=("impression", "user", "time", "history", "shown"))
_TIME = "%m/%d/%Y %I:%M:%S %p"
_CLICKED, _NOT_CLICKED = "-1", "-0"


@dataclass(frozen=True, slots=True)
class _Block:
    """Some impressions as they were read.

    Attributes:
        user: (J,) external ids.
        time_s: (J,) UTC seconds; -1 where unreadable.
        offsets: (J + 1,) where the candidates of each begin.
        shown: (C,) int32 row of each candidate among the news; -1 where unknown.
        clicked: (C,) bool.
        reader: (H,) external ids of users whose history was not met before.
        history: (H,) news ids with a blank between.
        judged: whether they are of the dev folder.
        broken_rows: rows that were none.
        replaced_characters: in these rows.
    """

    user: pd.Series
    time_s: np.ndarray
    offsets: np.ndarray
    shown: np.ndarray
    clicked: np.ndarray
    reader: pd.Series
    history: pd.Series
    judged: bool
    broken_rows: int
    replaced_characters: int


def load_mind(download: Download, folders: list[str]) -> Interactions:
    """Load MIND from its train folder, and its dev folder if it is there.

    Args:
        download: where they lie.
        folders: those with news and behaviors; that of the test part, without clicks, is no help.

    Raises:
        DataError: if the folders cannot be told apart, or a file is unreadable or useless.
    """
    train, dev = _train_and_dev(download, folders)
    parts = [train] if dev is None else [train, dev]
    news, in_news = _news(download, parts)
    ids = news[Columns.ITEM].str.strip()
    blocks = list(_behaviors(download, parts, _text(ids), dev))
    timed = [block.time_s[block.time_s >= 0] for block in blocks]
    first_s = min((int(times.min()) for times in timed if len(times)), default=0)
    raw = RawTables(
        name="MIND",
        events=_events(blocks, first_s, ids.to_numpy(dtype=object)),
        items=news,
        broken_item_rows=in_news.broken_rows,
        replaced_characters=in_news.replaced_characters
        + sum(block.replaced_characters for block in blocks),
        licence="Microsoft Research License Terms: research use, no redistribution",
        citation=(
            "F. Wu et al., MIND: A Large-scale Dataset for News Recommendation, ACL 2020, "
            "doi:10.18653/v1/2020.acl-main.331"
        ),
    )
    return _with_impressions(build_interactions(raw), blocks, ids.to_numpy(dtype=object))


def _train_and_dev(download: Download, folders: list[str]) -> tuple[str, str | None]:
    """Tell the parts by their names; a single folder is the train part, whatever it is called."""
    wanted = [one for one in folders if "test" not in one.lower().rpartition("/")[2]]
    if len(wanted) == 1:
        return wanted[0], None
    train = [one for one in wanted if "train" in one.lower()]
    dev = [one for one in wanted if "dev" in one.lower() or "valid" in one.lower()]
    if len(wanted) != 2 or len(train) != 1 or len(dev) != 1:
        found = ", ".join(repr(one) for one in folders[:6])
        raise DataError(
            f"{download.path} must hold one train and perhaps one dev folder of MIND (named so), "
            f"found {found}: give data.path a folder with these two"
        )
    return train[0], dev[0]


def _news(download: Download, parts: list[str]) -> tuple[pd.DataFrame, TextTable]:
    """All news of the parts, and a table of what was broken in their files.

    News that stand in both parts, as most do, are no repeated rows.
    """
    tables = [read_text_table(download.stream(part, NEWS), NEWS, _NEWS) for part in parts]
    met: set[str] = set()
    kept = []
    for table in tables:
        cells = table.cells
        kept.append(cells[~cells["item"].isin(met)])
        met |= set(cells["item"])
    cells = pd.concat(kept, ignore_index=True)
    title, abstract = cells["title"].str.strip(), cells["abstract"].str.strip()
    text = (title + ". " + abstract).where((title != "") & (abstract != ""), title + abstract)
    items = pd.DataFrame({Columns.ITEM: cells["item"], Columns.TITLE: title, Columns.TEXT: text})
    return items, TextTable(
        cells,
        sum(table.broken_rows for table in tables),
        sum(table.replaced_characters for table in tables),
    )


def _behaviors(
    download: Download, parts: list[str], news: pa.Array, dev: str | None
) -> Iterator[_Block]:
    """Read the impressions of all parts; candidates and times become numbers at once."""
    told: set[int] = set()  # hashes of the histories met, user and all
    for part in parts:
        stream = download.stream(part, BEHAVIORS)
        for table in read_text_blocks(stream, BEHAVIORS, _BEHAVIORS):
            cells = table.cells
            user, history = cells["user"].str.strip(), cells["history"].str.strip()
            keys = pd.util.hash_pandas_object(user + "\t" + history, index=False)
            new = ~keys.isin(told) & ~keys.duplicated() & (history != "")
            told |= set(keys[new].tolist())
            offsets, shown, clicked = _candidates(cells["shown"], news)
            yield _Block(
                user=user,
                time_s=_seconds(cells["time"]),
                offsets=offsets,
                shown=shown,
                clicked=clicked,
                reader=user[new],
                history=history[new],
                judged=part == dev,
                broken_rows=table.broken_rows,
                replaced_characters=table.replaced_characters,
            )


def _seconds(times: pd.Series) -> np.ndarray:
    moment = pd.to_datetime(times.str.strip(), format=_TIME, errors="coerce", utc=True)
    since = (moment - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return np.asarray(since.fillna(-1).to_numpy(dtype=np.int64))


def _candidates(shown: pd.Series, news: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut "N7-0 N3-1" into pieces; a piece without a mark is none, and goes.

    Returns:
        offsets (J + 1,), rows among the news (C,), and whether each was clicked (C,).
    """
    lists = compute.utf8_split_whitespace(compute.utf8_trim_whitespace(_text(shown)))
    pieces = compute.list_flatten(lists)
    clicked = compute.ends_with(pieces, _CLICKED)
    marked = compute.or_(clicked, compute.ends_with(pieces, _NOT_CLICKED))
    ids = compute.utf8_slice_codeunits(compute.filter(pieces, marked), 0, -2)
    kept = np.asarray(marked)
    owner = np.repeat(np.arange(len(shown)), _filled(compute.list_value_length(lists)))[kept]
    counts = np.bincount(owner, minlength=len(shown))
    rows = _filled(compute.index_in(ids, value_set=news), -1).astype(np.int32)
    return _offsets(counts), rows, np.asarray(clicked)[kept]


def _events(blocks: list[_Block], first_s: int, news: np.ndarray) -> Iterator[TextTable]:
    """History clicks, once for each user and history; and clicks of the train impressions."""
    for block in blocks:
        yield TextTable(_history_clicks(block, first_s), 0, 0)
        if not block.judged:
            yield TextTable(_shown_clicks(block, news), 0, 0)


def _history_clicks(block: _Block, first_s: int) -> pd.DataFrame:
    lists = compute.utf8_split_whitespace(_text(block.history))
    lengths = _filled(compute.list_value_length(lists))
    seconds_before = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
    ids = compute.list_flatten(lists).to_pandas()
    return _cells(block.reader, lengths, ids, first_s - seconds_before)


def _shown_clicks(block: _Block, news: np.ndarray) -> pd.DataFrame:
    """Unknown news are counted among the candidates, and not here."""
    owner = np.repeat(np.arange(len(block.user)), np.diff(block.offsets))
    rows = block.clicked & (block.shown >= 0) & (block.time_s[owner] >= 0)
    lengths = np.bincount(owner[rows], minlength=len(block.user))
    return _cells(block.user, lengths, news[block.shown[rows]], block.time_s[owner[rows]])


def _cells(
    user: pd.Series, lengths: np.ndarray, ids: np.ndarray | pd.Series, times_s: np.ndarray
) -> pd.DataFrame:
    users = np.repeat(user.to_numpy(dtype=object), lengths)
    columns = {Columns.USER: users, Columns.ITEM: ids, RAW_TIME: times_s.astype(str)}
    return pd.DataFrame(columns, dtype="str")


def _with_impressions(data: Interactions, blocks: list[_Block], news: np.ndarray) -> Interactions:
    """Number users and candidates of all impressions, and count what is left out."""
    users = pd.Index(data.users)
    item_of_news = pd.Index(data.items[Columns.ITEM]).get_indexer(pd.Index(news))
    item_of_news = np.append(item_of_news, -1).astype(np.int32)  # row -1: unknown
    tables = [_numbered(block, users, item_of_news) for block in blocks]
    made = [table for table, _ in tables]
    impressions = Impressions(
        user=np.concatenate([table.user for table in made]),
        time_s=np.concatenate([table.time_s for table in made]),
        offsets=_offsets(np.concatenate([np.diff(table.offsets) for table in made])),
        item=np.concatenate([table.item for table in made]),
        clicked=np.concatenate([table.clicked for table in made]),
        judged=np.concatenate([table.judged for table in made]),
    )
    read = sum(len(block.user) + block.broken_rows for block in blocks)
    intake = replace(
        data.intake,
        impressions_read=read,
        broken_impressions=read - len(impressions),
        unknown_candidates=sum(unknown for _, unknown in tables),
    )
    return replace(data, intake=intake, impressions=impressions)


def _numbered(block: _Block, users: pd.Index, item_of_news: np.ndarray) -> tuple[Impressions, int]:
    """The usable impressions of a block, and how many of their candidates are unknown."""
    item = item_of_news[block.shown]
    owner = np.repeat(np.arange(len(block.user)), np.diff(block.offsets))
    sound = (block.time_s >= 0) & (block.user != "").to_numpy()
    sound &= (block.user.str.len() <= MAX_ID_CHARACTERS).to_numpy()
    known = (item >= 0) & sound[owner]
    counts = np.bincount(owner[known], minlength=len(block.user))
    rows = np.flatnonzero(counts)
    table = Impressions(
        user=users.get_indexer(pd.Index(block.user.iloc[rows])).astype(np.int32),
        time_s=block.time_s[rows],
        offsets=_offsets(counts[rows]),
        item=item[known],
        clicked=block.clicked[known],
        judged=np.full(len(rows), block.judged),
    )
    return table, int(((item < 0) & sound[owner]).sum())


def _text(column: pd.Series) -> pa.Array:
    return pa.array(column, pa.large_string())


def _filled(numbers: pa.Array, empty: int = 0) -> np.ndarray:
    return np.asarray(compute.fill_null(numbers, empty)).astype(np.int64)


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
