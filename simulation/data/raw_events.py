"""Raw event rows, stretch by stretch, from text to numbers; only numbers are kept.

    "ann"  "42"  "2020-01-01"   ->   user 0   item 17   1577836800.0   value 1   row 0
    "bob"  "99"  "yesterday"    ->   user 1   item -1   NaN            value 1   row 1

Users are numbered as they come, and anew when all are known; an item is its row of the catalogue.
What is wrong with a row is visible in its numbers (-1, NaN); `checking` counts it and drops it.
"""

import numpy as np
import pandas as pd

from simulation.data.interactions import NO_TIME, Columns

MAX_ID_CHARACTERS = 256
RAW_TIME = "time"
"""A raw time: text in any of the accepted forms. A checked one is `Columns.TIME_S`."""

PIECE_ROWS = 250_000
"""Rows that are turned from text into numbers at a time."""

_MISSING_IDS = ("", "nan", "NaN")
_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138; as milliseconds, March 1973
_LAST_SECOND = 253_402_300_799  # the end of the year 9999


class EventReader:
    """Turns stretches of text cells into numbers, so that only numbers are kept."""

    def __init__(self, catalogue: pd.Index) -> None:
        self._catalogue = catalogue
        self._users: dict[str, int] = {}
        self._parts: list[dict[str, np.ndarray]] = []
        self._num_rows = 0
        self.has_time = False
        self.examples: list[str] = []
        self.items_met: list[str] = []

    @property
    def users(self) -> np.ndarray:
        """(U,) external ids by the number that the reader gave them."""
        return np.array(list(self._users), dtype=np.str_)

    def add(self, cells: pd.DataFrame) -> None:
        """Read some rows, a piece at a time: copies of text are dear."""
        for start in range(0, max(1, len(cells)), PIECE_ROWS):
            self._add(cells.iloc[start : start + PIECE_ROWS])

    def _add(self, cells: pd.DataFrame) -> None:
        user, item = (cells[name].str.strip() for name in (Columns.USER, Columns.ITEM))
        usable = (usable_ids(user) & usable_ids(item)).to_numpy(dtype=np.bool_)
        self.has_time = RAW_TIME in cells.columns
        if not self.examples:
            self.examples = [str(one) for one in cells.get(RAW_TIME, user).iloc[:3]]
        value, usable_value = _values(cells)
        part = {
            Columns.USER: np.where(usable, self._user_numbers(user), -1).astype(np.int32),
            Columns.ITEM: self._item_numbers(item),
            Columns.VALUE: value.to_numpy(),
            Columns.ROW: self._num_rows + np.arange(len(cells), dtype=np.int64),
            "usable value": usable_value.to_numpy(dtype=np.bool_),
        }
        if self.has_time:
            part[Columns.TIME_S], part["in words"] = _moments(cells[RAW_TIME])
        if Columns.PRIVATE_TEXT in cells.columns:
            texts = one_line(cells[Columns.PRIVATE_TEXT])
            part[Columns.PRIVATE_TEXT] = texts.to_numpy(dtype=object)
        if not self.items_met:
            readable = usable & ~np.isnan(part.get(Columns.TIME_S, np.zeros(len(cells))))
            self.items_met = [str(one) for one in item[readable].iloc[:3]]
        self._num_rows += len(cells)
        self._parts.append(part)

    def columns(self) -> dict[str, np.ndarray]:
        """All that was read: user and item are numbers or -1, time_s is float64, perhaps NaN."""
        names = list(self._parts[0]) if self._parts else []
        found = {}
        for name in names:
            found[name] = np.concatenate([part.pop(name) for part in self._parts])
        if not self.has_time:
            found[Columns.TIME_S] = np.full(self._num_rows, float(NO_TIME))
        else:
            _to_seconds(found[Columns.TIME_S], found.pop("in words"))
        return found

    def _user_numbers(self, ids: pd.Series) -> np.ndarray:
        places, distinct = pd.factorize(ids)
        numbers = [self._users.setdefault(str(one), len(self._users)) for one in distinct]
        return np.array([*numbers, -1], dtype=np.int64)[places]

    def _item_numbers(self, ids: pd.Series) -> np.ndarray:
        places, distinct = pd.factorize(ids)
        numbers = self._catalogue.get_indexer(pd.Index(distinct))
        return np.append(numbers, -1)[places].astype(np.int32)


def number_users(columns: dict[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    """Number the users who are left in the order of their ids, in place; return those ids."""
    met = np.unique(columns[Columns.USER])
    order = _natural_order(ids[met])
    place = np.empty(len(ids), dtype=np.int32)
    place[met[order]] = np.arange(len(met), dtype=np.int32)
    columns[Columns.USER] = place[columns[Columns.USER]]
    users: np.ndarray = ids[met[order]]
    return users


def first_of_each_pair(user: np.ndarray, item: np.ndarray, num_items: int) -> np.ndarray:
    """Tell which events are the first of their (user, item), in the order that they come in."""
    pairs = user.astype(np.int64) * num_items + item
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    first = np.ones(len(pairs), dtype=np.bool_)
    first[order[1:][pairs[1:] == pairs[:-1]]] = False
    return first


def _values(source: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return float32 values, 1 where there is none, and whether each could be read."""
    if Columns.VALUE not in source.columns:
        return pd.Series(np.float32(1), index=source.index), pd.Series(True, index=source.index)
    number = pd.to_numeric(source[Columns.VALUE], errors="coerce").astype(np.float32)
    usable = number.notna() & ~number.isin([np.inf, -np.inf])
    return number.where(usable, 1.0).astype(np.float32), usable


def _moments(times: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Read times as they are written: float64, NaN where unreadable; and which are in words.

    Those in words are seconds already. What the numbers count is known when all are read.
    """
    text = times.str.strip()
    number = pd.to_numeric(text, errors="coerce").astype(np.float64)
    words = number.isna() & (text != "")
    if words.any():
        moment = pd.to_datetime(text[words], errors="coerce", utc=True, format="ISO8601")
        number[words] = (moment - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return number.to_numpy(copy=True), words.to_numpy(dtype=np.bool_)


def _to_seconds(times: np.ndarray, in_words: np.ndarray) -> None:
    """Make whole UTC seconds of times, in place; NaN where they cannot be meant."""
    written = times[~in_words & ~np.isnan(times)]
    if len(written) and np.median(written) >= _MILLISECONDS_FROM:
        times[~in_words] /= 1000
    times[~((times >= 0) & (times <= _LAST_SECOND))] = np.nan
    np.floor(times, out=times)


def usable_ids(ids: pd.Series) -> pd.Series:
    """Tell which ids can be used: neither missing nor endless."""
    # A line break in an id means that a quote was left open and swallowed the next row.
    broken = ids.isin(_MISSING_IDS) | (ids.str.len() > MAX_ID_CHARACTERS)
    return ~(broken | ids.str.contains("\n", regex=False))


def _natural_order(ids: np.ndarray) -> np.ndarray:
    """Where each id comes from when they are sorted: "2" before "10" if all are whole numbers."""
    texts = [str(one) for one in ids]
    numbers = all(one.isdecimal() for one in texts)
    keys = [(len(one) if numbers else 0, one) for one in texts]
    return np.array(sorted(range(len(texts)), key=keys.__getitem__), dtype=np.int64)


def one_line(texts: pd.Series) -> pd.Series:
    """Put one space wherever there is white space, and none at the ends."""
    return texts.str.replace(r"\s+", " ", regex=True).str.strip()
