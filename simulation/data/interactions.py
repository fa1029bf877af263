"""The one checked table that everything reads: who chose what, and when.

    events: one row per (user, item), sorted by user, time, file row
        user  item  time_s     value  row  private_text
        0     1     874724710  3.0    7    ""
        0     0     874724781  5.0    2    "old space comedy"
        1     1     875072484  4.0    0    ""
    users:  external id of user 0, 1, ...
    items:  item 0, 1, ... -> external id, title, text

External ids stop here: all other code speaks of user 0..U-1 and item 0..I-1. Every event is a
positive; a rating is kept as its `value`. `checking.build_interactions` makes this table from any
loader's raw columns, and counts in an `IntakeReport` whatever it had to mend or leave out.
"""

from dataclasses import asdict, dataclass, field, fields

import numpy as np
import pandas as pd


class Columns:
    """Names of the columns. No other file spells them out."""

    USER = "user"
    ITEM = "item"
    TIME_S = "time_s"
    VALUE = "value"
    ROW = "row"
    TITLE = "title"
    TEXT = "text"
    PRIVATE_TEXT = "private_text"

    EVENTS = (USER, ITEM, TIME_S, VALUE, ROW, PRIVATE_TEXT)
    ITEMS = (ITEM, TITLE, TEXT)


NO_TIME = -1
"""`time_s` of every event when the data has no times."""


def _count(says: str) -> int:
    """A counter of the report, with the words that people read."""
    value: int = field(default=0, metadata={"says": says})
    return value


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What was seen on the way in, and how it was handled. Every field is a count."""

    rows_read: int = _count("event rows read")
    broken_rows: int = _count("event rows broken or without a usable id or time: dropped")
    duplicate_rows: int = _count("repeated (user, item) rows: the first in time was kept")
    unknown_items: int = _count("event rows with an item that has no item row: dropped")
    missing_values: int = _count("event rows without a usable value: value set to 1")
    implicit_values: int = _count("event rows of use without a rating: kept, value 0")
    items_read: int = _count("item rows read")
    broken_items: int = _count("item rows broken or without an id: dropped")
    duplicate_items: int = _count("repeated item ids: the first row was kept")
    html_entities: int = _count("item texts with HTML entities: decoded")
    empty_texts: int = _count("items without text: their title or id was taken")
    replaced_characters: int = _count("broken characters: replaced by U+FFFD")
    users_with_one_event: int = _count("users with one event: kept for training only")
    impressions_read: int = _count("impressions read")
    broken_impressions: int = _count("impressions without id, time or a known candidate: dropped")
    unknown_candidates: int = _count("candidates of impressions with no item row: dropped")

    def lines(self) -> list[str]:
        """Return one line for people per count that is not zero."""
        counts = self.as_dict()
        return [
            f"{counts[one.name]:,} {one.metadata['says']}"
            for one in fields(self)
            if counts[one.name]
        ]

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Impressions:
    """What was shown together, and what of it was clicked: J impressions, C candidates in all.

    Attributes:
        user: (J,) int32 user who was shown it; -1 for one who has no event.
        time_s: (J,) int64 UTC seconds.
        offsets: (J + 1,) int64, impression j showed candidates offsets[j] .. offsets[j + 1].
        item: (C,) int32 item index of each candidate.
        clicked: (C,) bool.
        judged: (J,) bool, impressions of the development part: none of their clicks is an event.
    """

    user: np.ndarray
    time_s: np.ndarray
    offsets: np.ndarray
    item: np.ndarray
    clicked: np.ndarray
    judged: np.ndarray

    def __len__(self) -> int:
        """J."""
        return len(self.user)

    def of(self, rows: np.ndarray) -> "Impressions":
        """Some of the impressions, in this order.

        Args:
            rows: (B,) numbers, or (J,) bool.
        """
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows)
        starts, lengths = self.offsets[rows], np.diff(self.offsets)[rows]
        ends = np.cumsum(lengths)
        taken = np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)
        return Impressions(
            self.user[rows],
            self.time_s[rows],
            np.concatenate([[0], ends]).astype(np.int64),
            self.item[taken],
            self.clicked[taken],
            self.judged[rows],
        )


@dataclass(frozen=True, slots=True)
class Interactions:
    """A data set after all checks.

    Attributes:
        name: what the data set is called in tables.
        events: `Columns.EVENTS`: user int32 in 0..U-1, item int32 in 0..I-1, time_s int64 (UTC
            seconds; `NO_TIME` when there is none), value float32, row int64 (row of its file),
            private_text str ("" = none). Sorted by (user, time_s, row); (user, item) is unique.
        users: (U,) external user ids, str. Each has at least one event.
        items: `Columns.ITEMS`, index 0..I-1: external id, title and text, all str and not empty.
            An item may have no event.
        has_time: whether the events have times.
        intake: what was mended or left out.
        licence: terms of use, "" if not known.
        citation: whom to cite, "" if not known.
        impressions: what was shown to whom, where the data tells it.
    """

    name: str
    events: pd.DataFrame
    users: np.ndarray
    items: pd.DataFrame
    has_time: bool
    intake: IntakeReport
    licence: str
    citation: str
    impressions: Impressions | None = None

    @property
    def num_users(self) -> int:
        """How many users, U."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """How many items, I, those without an event included."""
        return len(self.items)

    @property
    def num_events(self) -> int:
        """How many events."""
        return len(self.events)
