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
decides nothing but ties in time. Events may come in stretches: each becomes numbers before the next
is read, so that 25 million rows fit into a few gigabytes.
"""

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.errors import DataError
from simulation.data.delimited import TextTable
from simulation.data.interactions import Columns, IntakeReport, Interactions
from simulation.data.raw_events import (
    EventReader,
    first_of_each_pair,
    number_users,
    one_line,
    usable_ids,
)

_ENTITY = r"&(?:[a-zA-Z][a-zA-Z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});"


TITLE_LENGTH = 80
"""An item without a title is shown by so much of its text."""


@dataclass(frozen=True, slots=True)
class RawTables:
    """What a loader found in its files. All cells are text.

    Attributes:
        name: what the data set is called.
        events: columns user, item and, where the source has them, time, value, private_text;
            in the order of the file. Or stretches of them, one after another, for a large file:
            what they count as broken and replaced comes on top of the counts below.
        items: columns item, title, text; a title or text may be "".
        broken_event_rows: rows the reader could not cut into columns, already left out.
        broken_item_rows: the same for items.
        replaced_characters: bytes that were no text, already replaced by U+FFFD.
        zero_is_implicit: whether a value of 0 says that there is no rating.
        licence: terms of use, "" if not known.
        citation: whom to cite, "" if not known.
    """

    name: str
    events: pd.DataFrame | Iterable[TextTable]
    items: pd.DataFrame
    broken_event_rows: int = 0
    broken_item_rows: int = 0
    replaced_characters: int = 0
    zero_is_implicit: bool = False
    licence: str = ""
    citation: str = ""


def build_interactions(raw: RawTables) -> Interactions:
    """Check raw tables, mend or drop what is broken, and number users and items.

    Raises:
        DataError: if no item or no event is left; the message says what was dropped and why.
    """
    counts = {
        "rows_read": raw.broken_event_rows,
        "items_read": len(raw.items) + raw.broken_item_rows,
        "broken_rows": raw.broken_event_rows,
        "broken_items": raw.broken_item_rows,
        "replaced_characters": raw.replaced_characters,
    }
    items = _checked_items(raw, counts)
    events, users, has_time = _checked_events(raw, items, counts)
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


def chosen_columns(
    tables: Iterable[TextTable], columns: Mapping[str, str], name: str
) -> Iterator[TextTable]:
    """Keep some columns of each stretch of a table, under our names for them.

    Args:
        tables: stretches of the table.
        columns: name in the file -> our name.
        name: of the file, for messages.

    Raises:
        DataError: if a column is missing.
    """
    for table in tables:
        require_columns(table.cells.columns, tuple(columns), name)
        cells = table.cells[list(columns)].set_axis(list(columns.values()), axis=1)
        yield replace(table, cells=cells)


def _checked_items(raw: RawTables, counts: dict[str, int]) -> pd.DataFrame:
    """Return items with a unique id and a text that is not empty, in the order of the file."""
    items = pd.DataFrame(
        {
            Columns.ITEM: raw.items[Columns.ITEM].str.strip(),
            Columns.TITLE: one_line(_without_entities(raw.items[Columns.TITLE])),
            Columns.TEXT: one_line(_without_entities(raw.items[Columns.TEXT])),
        }
    )
    with_entities = raw.items[Columns.TEXT].str.contains(_ENTITY)
    counts["html_entities"] = int(with_entities.sum())
    usable = usable_ids(items[Columns.ITEM])
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


def _checked_events(
    raw: RawTables, items: pd.DataFrame, counts: dict[str, int]
) -> tuple[pd.DataFrame, np.ndarray, bool]:
    """Return the events, numbered and sorted; the users; and whether the events have times."""
    reader = EventReader(pd.Index(items[Columns.ITEM]))
    tables = [TextTable(raw.events, 0, 0)] if isinstance(raw.events, pd.DataFrame) else raw.events
    for table in tables:
        counts["rows_read"] += len(table.cells) + table.broken_rows
        counts["broken_rows"] += table.broken_rows
        counts["replaced_characters"] += table.replaced_characters
        reader.add(table.cells)
    columns = reader.columns()
    time_s = columns[Columns.TIME_S]
    readable = (columns[Columns.USER] >= 0) & ~np.isnan(time_s)
    counts["broken_rows"] += int((~readable).sum())
    counts["missing_values"] = int((readable & ~columns.pop("usable value")).sum())
    if not readable.any():
        raise DataError(_no_events(raw.name, counts, reader.examples))
    known = readable & (columns[Columns.ITEM] >= 0)
    counts["unknown_items"] = int(readable.sum() - known.sum())
    if not known.any():
        raise DataError(
            f"{raw.name}: no event has an item of the item table: events have "
            f"{_quoted(reader.items_met)}, items have {_quoted(items[Columns.ITEM].iloc[:3])}: "
            "make the ids agree"
        )
    _take(columns, known)
    users = number_users(columns, reader.users)
    # Rows come in the order of the file and the sort is stable: of equal times the first row is.
    _take(columns, np.lexsort([columns[name] for name in (Columns.TIME_S, Columns.USER)]))
    kept = first_of_each_pair(columns[Columns.USER], columns[Columns.ITEM], len(items))
    counts["duplicate_rows"] = len(kept) - int(kept.sum())
    if raw.zero_is_implicit:
        counts["implicit_values"] = int((columns[Columns.VALUE][kept] == 0).sum())
    _take(columns, kept)
    columns[Columns.TIME_S] = columns[Columns.TIME_S].astype(np.int64)
    private = columns.get(Columns.PRIVATE_TEXT, "")
    texts = pd.Series(private, index=pd.RangeIndex(len(columns[Columns.USER])), dtype="str")
    parts = columns | {Columns.PRIVATE_TEXT: texts}
    # Without a copy: this is where a large catalogue takes the most memory.
    events = pd.DataFrame({name: parts[name] for name in Columns.EVENTS}, copy=False)
    return events, users, reader.has_time


def _take(columns: dict[str, np.ndarray], chosen: np.ndarray) -> None:
    """Take rows of every column, in place: one column at a time is there twice, never all."""
    if chosen.dtype == np.bool_ and chosen.all():
        return
    for name in list(columns):
        columns[name] = columns[name][chosen]


def _without_entities(texts: pd.Series) -> pd.Series:
    """Write "&" for "&amp;" and the like, once: "&amp;lt;" stays what it stands for."""
    has = texts.str.contains(_ENTITY)
    if not has.any():
        return texts
    return texts.where(~has, texts[has].map(html.unescape).reindex(texts.index))


def _quoted(ids: Iterable[object]) -> str:
    return ", ".join(repr(str(one)[:40]) for one in ids)


def _no_events(name: str, counts: dict[str, int], examples: list[str]) -> str:
    if not counts["rows_read"]:
        return f"{name} has no event rows: give a file with at least one (user, item) row"
    return (
        f"{name}: none of {counts['rows_read']:,} event rows can be used (for instance "
        f"{_quoted(examples)}): ids must not be empty, times must be ISO 8601 or seconds since 1970"
    )
