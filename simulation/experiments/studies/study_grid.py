"""Which settings a study runs: its arms, the points of its grid, and its seeds.

    arms      grid                     variants (rows of the table)
    base      rounds = 20, 80          cross           base · rounds=20 epochs=1, ... : 4 of them
              epochs = 1, 5            one-at-a-time   base, then base with one key changed: 5

A *variant* is an arm at a point of the grid; a *cell* is a variant under a seed. A point may set
anything that `--set` may.
"""

import itertools
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models.errors import SettingsError

Value = str | int | float | bool
Grid = Mapping[str, Sequence[Value]]
Design = Literal["cross", "one-at-a-time"]

MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of a study's table.

    Attributes:
        name: in files and tables of numbers; one of a kind in the study.
        title: for people.
        arm: name of its arm.
        point: key -> value of the grid, as text; () at no point.
        overrides: of the arm, then of the point.
    """

    name: str
    title: str
    arm: str
    point: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]


def parse_grid(words: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """Read `--grid key=v1,v2` options.

    Raises:
        SettingsError: if one has no key, no values or an empty one, or a key or value stands twice.

    >>> parse_grid(["federation.rounds=20,80", "federation.optimizer.name=fedavg,fedadam"])
    {'federation.rounds': (20, 80), 'federation.optimizer.name': ('fedavg', 'fedadam')}
    """
    grid: dict[str, tuple[Value, ...]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SettingsError(f"--grid wants section.key=v1,v2, got '{word}'")
        if key in grid:
            raise SettingsError(f"--grid {key} is given twice: put all its values into one")
        grid[key] = _values(key, text)
    return grid


def _values(key: str, text: str) -> tuple[Value, ...]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise SettingsError(
            f"--grid {key}={text}: value {parts.index('') + 1} is empty; give {key}=v1,v2"
        )
    values = tuple(_value(part) for part in parts)
    check_distinct(key, values)
    return values


def check_distinct(key: str, values: Sequence[Value]) -> None:
    """Refuse a grid's key without values, or with the same one twice.

    Raises:
        SettingsError: if it is so; 20 and 20.0 are the same, 1 and true are not.
    """
    if not values:
        raise SettingsError(f"grid {key} has no value: give one or more")
    seen: list[Value] = []
    for value in values:
        if any(value == old and isinstance(value, bool) == isinstance(old, bool) for old in seen):
            raise SettingsError(
                f"grid {key} has the value {value_text(value)} twice: leave one out"
            )
        seen.append(value)


def _value(text: str) -> Value:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def value_text(value: Value) -> str:
    """A value as `--set` takes it.

    >>> value_text(True), value_text(0.5), value_text("fedavg")
    ('true', '0.5', 'fedavg')
    """
    return value if isinstance(value, str) else json.dumps(value)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `--seeds`: single ones and stretches, with commas between.

    Raises:
        SettingsError: if it is of another form, names a seed twice or too many.

    >>> parse_seeds("0-2,7")
    (0, 1, 2, 7)
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise SettingsError(f"--seeds {text}: '{part}' is no seed; give 0-4, or 0,3,7")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= MOST_SEEDS:
            raise SettingsError(
                f"--seeds {text}: '{part}' must ascend and name at most {MOST_SEEDS} seeds"
            )
        found += range(low, high + 1)
    if len(set(found)) < len(found):
        raise SettingsError(f"--seeds {text} names a seed twice: leave one out")
    return tuple(found)


def variants_of(
    arms: Sequence[tuple[str, str, Sequence[str]]], grid: Grid, design: Design
) -> list[Variant]:
    """All variants, arm by arm.

    Args:
        arms: (name, title, overrides) of each.
        grid: key -> values.
        design: "cross": every combination; "one-at-a-time": each arm as it is, then with one key
            changed.

    >>> [v.name for v in variants_of([("base", "Base", ())], {"a": (1, 2), "b": (3,)}, "cross")]
    ['base · a=1 b=3', 'base · a=2 b=3']
    """
    points = list(_points(grid, design))
    return [
        _variant(name, title, tuple(overrides), point)
        for name, title, overrides in arms
        for point in points
    ]


def _points(grid: Grid, design: Design) -> Iterable[tuple[tuple[str, Value], ...]]:
    columns = [[(key, value) for value in values] for key, values in grid.items()]
    if design == "cross":
        return itertools.product(*columns)
    return [(), *(((pair),) for column in columns for pair in column)]


def _variant(
    name: str, title: str, overrides: tuple[str, ...], point: tuple[tuple[str, Value], ...]
) -> Variant:
    pairs = tuple((key, value_text(value)) for key, value in point)
    if not pairs:
        return Variant(name, title, name, (), overrides)
    told = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in pairs)
    # Two keys may end alike, so names hold the whole of them.
    exact = " ".join(f"{key}={value}" for key, value in pairs)
    own = tuple(f"{key}={value}" for key, value in pairs)
    return Variant(f"{name} · {exact}", f"{title}, {told}", name, pairs, (*overrides, *own))
