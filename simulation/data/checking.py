"""From any loader's raw columns to the checked table: nothing is trusted, everything is counted.

A loader only finds its columns and hands them over as text. All judgement is here, once:

    raw events (text)            what happens                        counted as
    -,   42, 2020-01-01          no user: dropped                    broken_rows
    ann, 42, yesterday           no time that we can read: dropped   broken_rows
    ann, 99, 2020-01-01          item 99 has no row: dropped         unknown_items
    ann, 42, 2020-01-02          second time: dropped                duplicate_rows
    ann, 42, 2020-01-01          kept

Times are seconds or milliseconds since 1970, or ISO 8601 (without a zone: UTC). Users are numbered
in the order of their ids and items in the order of the item file, so the order of event rows
decides nothing but ties in time.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import DataError
from simulation.data.interactions import NO_TIME, Columns, IntakeReport, Interactions

MAX_ID_CHARACTERS = 256
RAW_TIME = "time"
"""A raw time: text in any of the accepted forms. A checked one is `Columns.TIME_S`."""

_MISSING_IDS = ("", "nan", "NaN")
_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138; as milliseconds, March 1973
_LAST_SECOND = 253_402_300_799  # the end of the year 9999


TITLE_LENGTH = 80
"""An item without a title is shown by so much of its text."""


@dataclass(frozen=True, slots=True)
class RawTables:
    """What a loader found in its files. All cells are text.

    Attributes:
        name: what the data set is called.
        events: columns user, item and, where the source has them, time, value, private_text;
            in the order of the file.
        items: columns item, title, text; a title or text may be "".
        broken_event_rows: rows the reader could not cut into columns, already left out.
        broken_item_rows: the same for items.
        replaced_characters: bytes that were no text, already replaced by U+FFFD.
        licence: terms of use, "" if not known.
        citation: whom to cite, "" if not known.
    """

    name: str
    events: pd.DataFrame
    items: pd.DataFrame
    broken_event_rows: int = 0
    broken_item_rows: int = 0
    replaced_characters: int = 0
    licence: str = ""
    citation: str = ""


def build_interactions(raw: RawTables) -> Interactions:
    """Check raw tables, mend or drop what is broken, and number users and items.

    Raises:
        DataError: if no item or no event is left; the message says what was dropped and why.
    """
    counts = {
        "rows_read": len(raw.events) + raw.broken_event_rows,
        "items_read": len(raw.items) + raw.broken_item_rows,
        "broken_rows": raw.broken_event_rows,
        "broken_items": raw.broken_item_rows,
        "replaced_characters": raw.replaced_characters,
    }
    items = _checked_items(raw, counts)
    has_time = RAW_TIME in raw.events.columns
    events = _readable_events(raw, counts)
    events = _known_items_only(raw, events, items, counts)
    events = _first_of_each_pair(events, counts)
    users = _in_natural_order(events[Columns.USER].unique())
    events = _numbered(events, users, items)
    counts["users_with_one_event"] = int((np.bincount(events[Columns.USER]) == 1).sum())
    return Interactions(
        name=raw.name,
        events=events,
        users=users,
        items=items,
        has_time=has_time,
        intake=IntakeReport(**counts),
        licence=raw.licence,
        citation=raw.citation,
    )


def require_columns(found: Iterable[object], needed: tuple[str, ...], name: str) -> None:
    """Check that a file has these columns.

    Raises:
        DataError: if one is missing; the message names it, the file and the columns found.
    """
    names = [str(column) for column in found]
    missing = [column for column in needed if column not in names]
    if missing:
        shown = ", ".join(repr(column[:40]) for column in names[:12]) or "none"
        raise DataError(
            f"{name} has no column {missing[0]!r}: it must have {', '.join(needed)}; found {shown}"
        )


def _checked_items(raw: RawTables, counts: dict[str, int]) -> pd.DataFrame:
    """Return items with a unique id and a text that is not empty, in the order of the file."""
    items = pd.DataFrame(
        {
            Columns.ITEM: raw.items[Columns.ITEM].str.strip(),
            Columns.TITLE: _clean(raw.items[Columns.TITLE]),
            Columns.TEXT: _clean(raw.items[Columns.TEXT]),
        }
    )
    usable = _usable_ids(items[Columns.ITEM])
    counts["broken_items"] += int((~usable).sum())
    items = items[usable]
    repeated = items[Columns.ITEM].duplicated()
    counts["duplicate_items"] = int(repeated.sum())
    items = items[~repeated].reset_index(drop=True)
    if items.empty:
        raise DataError(f"{raw.name} has no usable item: give an item table with ids and texts")
    title, text = items[Columns.TITLE], items[Columns.TEXT]
    counts["empty_texts"] = int((text == "").sum())
    text = text.where(text != "", title)
    items[Columns.TEXT] = text.where(text != "", items[Columns.ITEM])
    items[Columns.TITLE] = title.where(title != "", items[Columns.TEXT].str.slice(0, TITLE_LENGTH))
    return items


def _readable_events(raw: RawTables, counts: dict[str, int]) -> pd.DataFrame:
    """Return the events whose ids and times can be read, with typed time_s, value and row."""
    source = raw.events
    events = pd.DataFrame({name: source[name].str.strip() for name in (Columns.USER, Columns.ITEM)})
    events[Columns.ROW] = np.arange(len(source), dtype=np.int64)
    readable = _usable_ids(events[Columns.USER]) & _usable_ids(events[Columns.ITEM])
    if RAW_TIME in source.columns:
        time_s = _seconds(source[RAW_TIME])
        readable &= time_s.notna()
    else:
        time_s = pd.Series(float(NO_TIME), index=source.index)
    value, usable_value = _values(source)
    events[Columns.TIME_S] = time_s
    events[Columns.VALUE] = value
    private = source.get(Columns.PRIVATE_TEXT)
    events[Columns.PRIVATE_TEXT] = "" if private is None else _clean(private)
    counts["broken_rows"] += int((~readable).sum())
    counts["missing_values"] = int((readable & ~usable_value).sum())
    if not readable.any():
        raise DataError(_no_events(raw, counts))
    return events[readable].astype({Columns.TIME_S: np.int64})


def _known_items_only(
    raw: RawTables, events: pd.DataFrame, items: pd.DataFrame, counts: dict[str, int]
) -> pd.DataFrame:
    known = events[Columns.ITEM].isin(items[Columns.ITEM])
    counts["unknown_items"] = int((~known).sum())
    if known.any():
        return events[known]
    ids, catalogue = events[Columns.ITEM].iloc[:3], items[Columns.ITEM].iloc[:3]
    raise DataError(
        f"{raw.name}: no event has an item of the item table: events have "
        f"{_quoted(ids)}, items have {_quoted(catalogue)}: make the ids agree"
    )


def _first_of_each_pair(events: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Keep one event per (user, item): the first in time, and in the file among equal times."""
    in_time = events.sort_values([Columns.TIME_S, Columns.ROW], kind="stable")
    repeated = in_time.duplicated([Columns.USER, Columns.ITEM])
    counts["duplicate_rows"] = int(repeated.sum())
    return in_time[~repeated]


def _numbered(events: pd.DataFrame, users: np.ndarray, items: pd.DataFrame) -> pd.DataFrame:
    """Replace external ids by positions, sort, and fix the column types."""
    user = pd.Index(users).get_indexer(events[Columns.USER])
    item = pd.Index(items[Columns.ITEM]).get_indexer(events[Columns.ITEM])
    events = events.assign(**{Columns.USER: user, Columns.ITEM: item})
    events = events.astype({Columns.USER: np.int32, Columns.ITEM: np.int32})
    order = [Columns.USER, Columns.TIME_S, Columns.ROW]
    return events.sort_values(order, ignore_index=True)[list(Columns.EVENTS)]


def _values(source: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return float32 values, 1 where there is none, and whether each could be read."""
    if Columns.VALUE not in source.columns:
        return pd.Series(np.float32(1), index=source.index), pd.Series(True, index=source.index)
    number = pd.to_numeric(source[Columns.VALUE], errors="coerce").astype(np.float32)
    usable = number.notna() & ~number.isin([np.inf, -np.inf])
    return number.where(usable, 1.0).astype(np.float32), usable


def _seconds(times: pd.Series) -> pd.Series:
    """Read times as whole UTC seconds, float64; NaN where a time cannot be read."""
    text = times.str.strip()
    number = pd.to_numeric(text, errors="coerce").astype(np.float64)
    if number.median() >= _MILLISECONDS_FROM:
        number = number / 1000
    words = number.isna() & (text != "")
    if words.any():
        moment = pd.to_datetime(text[words], errors="coerce", utc=True, format="ISO8601")
        number[words] = (moment - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return number.where(number.between(0, _LAST_SECOND)) // 1


def _usable_ids(ids: pd.Series) -> pd.Series:
    # A line break in an id means that a quote was left open and swallowed the next row.
    broken = ids.isin(_MISSING_IDS) | (ids.str.len() > MAX_ID_CHARACTERS)
    return ~(broken | ids.str.contains("\n", regex=False))


def _in_natural_order(ids: np.ndarray) -> np.ndarray:
    """Sort ids: "2" before "10" where all are whole numbers, else as text."""
    texts = [str(one) for one in ids]
    if all(one.isdecimal() for one in texts):
        texts.sort(key=lambda one: (len(one), one))
    else:
        texts.sort()
    return np.array(texts, dtype=np.str_)


def _clean(texts: pd.Series) -> pd.Series:
    """Put one space wherever there is white space, and none at the ends."""
    return texts.str.replace(r"\s+", " ", regex=True).str.strip()


def _quoted(ids: pd.Series) -> str:
    return ", ".join(repr(str(one)[:40]) for one in ids)


def _no_events(raw: RawTables, counts: dict[str, int]) -> str:
    if not counts["rows_read"]:
        return f"{raw.name} has no event rows: give a file with at least one (user, item) row"
    examples = _quoted(raw.events.get(RAW_TIME, raw.events[Columns.USER]).iloc[:3])
    return (
        f"{raw.name}: none of {counts['rows_read']:,} event rows can be used (for instance "
        f"{examples}): ids must not be empty, times must be ISO 8601 or seconds since 1970"
    )
