"""Devices of people that do not exist: their events are drawn when somebody asks, never stored.

    taste     one of S mixtures of K topics        by (seed, device)
    slot j    a topic of the taste, an item of it   by (seed, device, j)
    events    the first n different items, in order; the one after them is held out

    device 4711, n = 4    slots  88 12 88 40 12 7 51 ...   events 88 12 40 7   held out 51

What a device has done is a pure function of (model, seed, device id, n): alone, in any company and
on any node. Of millions of devices only a tier and n are on disk. The model is fitted on real users
by `simulation.world.population`, which also says what it does not capture.

Drawing from a table of chances takes one step, whatever its length, by the alias method [1].

[1] M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE
    Transactions on Software Engineering 17(9), 1991.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.histories import Histories
from models.seeds import first_of_each, uniforms

SLOTS_AT_A_TIME = 1 << 16
"""Slots that are drawn together: their columns stay in the cache."""

LONGEST_SEARCH = 64
"""Slots per wanted item after which a device takes what is left of the catalogue, in its order."""

CELLS_AT_A_TIME = 1 << 24
"""Devices that are drawn together times items of the catalogue, at most: 64 MB."""


@dataclass(frozen=True, slots=True)
class AliasTable:
    """R rows of chances over C places, ready to be drawn from.

    Attributes:
        stay: (R, C) float32, the chance to stay at a place that was hit.
        other: (R, C) int32, where to go instead.
    """

    stay: NDArray[np.float32]
    other: NDArray[np.int32]

    @classmethod
    def of(cls, chances: NDArray[np.floating]) -> "AliasTable":
        """Vose's algorithm, row by row.

        Args:
            chances: (R, C), not negative; each row is divided by its sum.

        Raises:
            ValueError: if a row has no chance above 0, or a negative one.
        """
        chances = np.asarray(chances, dtype=np.float64)
        sums = chances.sum(axis=1, keepdims=True)
        if (chances < 0).any() or not (sums > 0).all():
            raise ValueError("chances must be >= 0, with one above 0 in each row")
        stay, other = np.ones(chances.shape), np.tile(np.arange(chances.shape[1]), (len(sums), 1))
        for row, scaled in enumerate(chances / sums * chances.shape[1]):
            _vose(scaled.tolist(), stay[row], other[row])
        return cls(stay.astype(np.float32), other.astype(np.int32))

    def draw(self, rows: NDArray[np.integer], drawn: NDArray[np.float64]) -> NDArray[np.int64]:
        """One place for each row and each number in [0, 1), both (n,)."""
        width = self.stay.shape[1]
        scaled = drawn * width
        place = np.minimum(scaled.astype(np.int64), width - 1)
        flat = rows * width + place
        goes = scaled - place >= self.stay.reshape(-1)[flat]
        return np.asarray(np.where(goes, self.other.reshape(-1)[flat], place))


def _vose(scaled: list[float], stay: NDArray[np.float64], other: NDArray[np.integer]) -> None:
    small = [place for place, chance in enumerate(scaled) if chance < 1.0]
    large = [place for place, chance in enumerate(scaled) if chance >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        stay[low], other[low] = scaled[low], high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            small.append(large.pop())


@dataclass(frozen=True, slots=True)
class TasteModel:
    """What people like: S tastes, each a mixture of K topics, each a distribution over N items.

    Attributes:
        taste_stay, taste_other: (S, K) alias table of the tastes.
        topic_stay, topic_other: (K, N) alias table of the topics.
        taste_hours: (S, H) uint8, hours of the week (0 is Monday midnight UTC) at which somebody
            of that taste does something; (S, 0) where nothing is known of times.
    """

    taste_stay: NDArray[np.float32]
    taste_other: NDArray[np.int32]
    topic_stay: NDArray[np.float32]
    topic_other: NDArray[np.int32]
    taste_hours: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        tastes: NDArray[np.floating],
        topics: NDArray[np.floating],
        hours: NDArray[np.uint8] | None = None,
    ) -> "TasteModel":
        """From chances (S, K) and (K, N), and hours (S, H) if there are any."""
        taste, topic = AliasTable.of(tastes), AliasTable.of(topics)
        hours = np.zeros((len(tastes), 0), np.uint8) if hours is None else hours
        return cls(taste.stay, taste.other, topic.stay, topic.other, hours)

    @property
    def num_tastes(self) -> int:
        """S."""
        return len(self.taste_stay)

    @property
    def num_items(self) -> int:
        """N."""
        return int(self.topic_stay.shape[1])

    def taste_of(self, device_ids: NDArray[np.integer], seed: int) -> NDArray[np.int64]:
        """Which taste each device has."""
        return (uniforms(seed, "taste", device_ids) * self.num_tastes).astype(np.int64)

    def write(self, folder: Path) -> None:
        """Write the tables as `folder/*.npy`."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def read(cls, folder: Path) -> "TasteModel":
        """Map the tables.

        Raises:
            DataError: if one is missing or damaged, or they do not fit together.
        """
        tables = {}
        for field in fields(cls):
            path = folder / f"{field.name}.npy"
            try:
                tables[field.name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(f"cannot read {path}: {error}; build the world again") from error
        model = cls(**tables)
        shapes = [getattr(model, field.name).shape for field in fields(cls)]
        tastes, topics, num_items = shapes[0][0], shapes[0][1], shapes[2][-1]
        wanted = [(tastes, topics), (tastes, topics), (topics, num_items), (topics, num_items)]
        if shapes[:4] != wanted or shapes[4][:1] != (tastes,):
            raise DataError(f"the tables in {folder} do not fit together: build the world again")
        return model


@dataclass(frozen=True, slots=True)
class SyntheticEvents:
    """The events of a node's synthetic devices; rows are local, as in `clients.shard`.

    Attributes:
        model: what people like.
        first_device: id of the device in row 0.
        num_events: (B,) uint16, training events of each device; one more item is held out.
        seed: of the population.
    """

    model: TasteModel
    first_device: int
    num_events: NDArray[np.uint16]
    seed: int

    @property
    def num_devices(self) -> int:
        """B, all of the node."""
        return len(self.num_events)

    def lengths(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many training events each of these devices has."""
        return np.asarray(self.num_events[rows], dtype=np.int64)

    def cut(self, rows: NDArray[np.integer]) -> tuple[Histories, NDArray[np.int32]]:
        """The training events of these devices as users 0 .. B - 1, and what they held out."""
        rows = np.asarray(rows, dtype=np.int64)
        wanted = self.lengths(rows) + 1
        items = self._items(np.asarray(rows + self.first_device, dtype=np.int64), wanted)
        ends = np.cumsum(wanted)
        training = np.ones(len(items), dtype=np.bool_)
        training[ends - 1] = False
        offsets = np.concatenate([[0], np.cumsum(wanted - 1)])
        return Histories(offsets, items[training]), items[ends - 1]

    def hours(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Hour of the week of each training event of these devices, flat like `cut`'s items.

        Raises:
            DataError: if the population was fitted on events without times.
        """
        if self.model.taste_hours.shape[1] == 0:
            raise DataError("this population was fitted on events without times: it has no hours")
        rows = np.asarray(rows, dtype=np.int64)
        lengths, ids = self.lengths(rows), rows + self.first_device
        device = np.repeat(np.arange(len(rows)), lengths)
        event = np.arange(len(device)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        drawn = uniforms(self.seed, "event hour", ids[device], event)
        table = self.model.taste_hours
        tastes = self.model.taste_of(ids, self.seed)[device]
        return np.asarray(table[tastes, (drawn * table.shape[1]).astype(np.int64)])

    def _items(self, ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """The first `wanted` different items of each device, one device after another."""
        found = np.empty(int(wanted.sum()), dtype=np.int32)
        starts = np.cumsum(wanted) - wanted
        waiting, slots_each = np.argsort(wanted, kind="stable"), 1.3
        while len(waiting) and slots_each <= LONGEST_SEARCH:
            left = []
            slots = (wanted[waiting] * slots_each).astype(np.int64) + 8
            for part in _parts(slots, self.model.num_items):
                some = waiting[part.devices]
                items = self._draw(ids[some], part.width)
                full = _write_first(items, wanted[some], found, starts[some], self.model.num_items)
                left.append(some[~full])
            # Parts come with the most slots first: turned round, few slots come first again.
            waiting, slots_each = np.concatenate(left[::-1]), 2 * slots_each
        for one in waiting:
            chosen = self._with_what_is_left(int(ids[one]), int(wanted[one]))
            found[starts[one] : starts[one] + wanted[one]] = chosen
        return found

    def _draw(self, ids: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """The items in the first slots of some devices, (B, width)."""
        model = self.model
        taste = AliasTable(model.taste_stay, model.taste_other)
        topic = AliasTable(model.topic_stay, model.topic_other)
        where = ids[:, None], np.arange(width)
        tastes = model.taste_of(ids, self.seed)[:, None]
        topics = taste.draw(tastes, uniforms(self.seed, "event topic", *where))
        return topic.draw(topics, uniforms(self.seed, "event item", *where))

    def _with_what_is_left(self, device_id: int, wanted: int) -> NDArray[np.int64]:
        """For a device whose taste has too few items: what it drew, then the catalogue in order."""
        drawn = self._draw(np.array([device_id]), LONGEST_SEARCH * wanted)[0]
        everything = np.concatenate([drawn, np.arange(self.model.num_items)])
        _, first = np.unique(everything, return_index=True)
        return np.asarray(everything[np.sort(first)][:wanted])


@dataclass(frozen=True, slots=True)
class _Part:
    """Devices that are drawn together, each with `width` slots."""

    devices: slice
    width: int


def _parts(slots: NDArray[np.int64], num_items: int) -> list[_Part]:
    """Cut devices, those with few slots first, into parts that fit the cache and the memory."""
    parts, end = [], len(slots)
    most = max(1, CELLS_AT_A_TIME // num_items)
    while end > 0:
        width = int(slots[end - 1])
        start = max(0, end - min(most, max(1, SLOTS_AT_A_TIME // width)))
        parts.append(_Part(slice(start, end), width))
        end = start
    return parts


def _write_first(
    items: NDArray[np.int64],
    wanted: NDArray[np.int64],
    found: NDArray[np.int32],
    starts: NDArray[np.int64],
    num_items: int,
) -> NDArray[np.bool_]:
    """Write the first different items of each row (B, slots) that has enough; say which have.

    A row may have slots beyond its own `LONGEST_SEARCH`, when it is drawn with a device that wants
    more: those do not count, or what a device has done would depend on its company.
    """
    slots = items.shape[1]
    new = first_of_each(items, num_items)
    new &= np.arange(slots) < LONGEST_SEARCH * wanted[:, None]
    rank = new.cumsum(axis=1)
    full = rank[:, -1] >= wanted
    keep = new & (rank <= wanted[:, None]) & full[:, None]
    at = (starts[:, None] + rank - 1)[keep]
    found[at] = items[keep]
    return np.asarray(full)
