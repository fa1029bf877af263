"""What a recommender may learn from, and the one item per user that it must find.

leave-last-out: each user's last event is held out. Numbers are times, letters items.

    user    events            target = test                 target = validation
    Alice   a1 b2 c5 d7       train a b c   held out d      train a b   held out c
    Bob     b3 e3             train b       held out e      train b     held out -
    Carol   f4                train f       held out -      train f     held out -

Bob's two events have the same time: `ties` says which of the two is the last. "validation" is for
tuning: the item held out for the test is in no part of it, so it is never seen. Hence Bob, who has
nothing else to hold out, keeps one event.

global-time: the latest `fraction` of all events is cut off. With the cut at time 4:

    Alice   a1 b2 | c5 d7     train a b     held out c      d is dropped
    Bob     b3 e3 |           train b e     held out -
    Carol         | f4        train -       held out -      no history to recommend from

For "validation" the same cut is made once more, among the events before the first one.

random: a seeded random event of each user is held out; for data without times.

Cold items and cold users (`simulation.data.cold` draws both) are asked for by two shares:

    `cold_items`: capitals are items that nobody may learn from; leave-last-out
    Alice   a1 B2 c3 D5 e7    train a c     held out e    cold held out D     left out B D
    Bob     a1 c3 F4          train a c     held out F    cold held out F
    Carol   B2 D4             train -       held out -    nothing to recommend from

    `cold_users`: Dora is new on the market, and keeps her last two events
    Dora    a1 b2 c3 d4 e6    train c d     held out e                        left out a b

What is held out is chosen first, so that a user's held-out item is the same with and without cold
items, warm or cold. The *cold held out* item is a second question to the same user: the last event
with a cold item (global-time: the first one after the cut), asked with all that the phone knows
when training has ended, as if the item were launched at that moment; so events of the same user
that came after it may be known. For "validation" other cold items are drawn among the warm ones,
and those of the test are in no event: no tuning sees them.

A cold user's older events are gone for everybody: not in the pool, not on the phone, not in what
the phone takes for seen. Cutting histories at evaluation alone would ask a recommender that has
learnt from the whole history, and would measure a phone that lost its memory, not a new one.

Formal guarantees, each held by a test of its name:
- each interaction is in at most one of train and held-out;
- a user's held-out item is never in the user's train events;
- the order of rows in the file changes nothing but ties in time;
- the validation split does not change when the held-out test item changes;
- no train event has a cold item, and no cold user has more train events than allowed;
- cold items and cold users change no held-out item (a user without a train event left has none).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.seeds import generator
from simulation.data import cold
from simulation.data.interactions import Columns, Interactions

NOTHING_HELD_OUT = -1


class SplitSettings(BaseModel):
    """Which events are held out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["leave-last-out", "global-time", "random"] = Field(
        description="which event of a user is held out: the last, the first after a cut, or any"
    )
    ties: Literal["last-row", "first-row"] = Field(
        description="which of a user's events with equal times is the latest, by row of the file"
    )
    fraction: float = Field(
        gt=0, lt=1, description="global-time only: share of all events that is cut off"
    )
    target: Literal["test", "validation"] = Field(
        description="validation leaves the test events out altogether and splits the others"
    )
    cold_items: float = Field(
        ge=0, lt=1, description="share of the items that are in nobody's training events; 0 is off"
    )
    cold_users: float = Field(
        ge=0, le=1, description="share of the users whose histories are cut short; 0 is off"
    )
    cold_user_events: int = Field(
        ge=1, le=1000, description="a cold user keeps 1 to so many training events, drawn"
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Train events and one held-out item per user.

    Attributes:
        interactions: where it was made from.
        train: the same columns as `interactions.events`, by user and within a user in the order
            of the rule, oldest first, index 0..N-1.
        held_out: (U,) int32 item, `NOTHING_HELD_OUT` where a user has none.
        rule: what was done, one sentence for people.
        tied_users: users whose held-out event shares its time with another of their events, so
            that the order of rows in the file chose it; 0 for the rule "random".
        cold_item: (I,) bool, items that are in no train event because they are cold.
        cold_user: (U,) bool, users whose history was cut short.
        cold_held_out: (U,) int32 cold item that a user is asked for besides `held_out`,
            `NOTHING_HELD_OUT` where there is none. It may be the same item.
        left_out: events that would be in `train` but for a cold item or a cold user; a user chose
            these, so a judge may take them out of what competes with a right answer.
    """

    interactions: Interactions
    train: pd.DataFrame
    held_out: np.ndarray
    rule: str
    tied_users: int
    cold_item: np.ndarray
    cold_user: np.ndarray
    cold_held_out: np.ndarray
    left_out: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _Parts:
    """Events on their way to a split, all in the order of the rule.

    Attributes:
        train: what may be learnt from.
        held: at most one event per user.
        cold_held: at most one event per user, of a cold item.
        left_out: training events of cold items.
    """

    train: pd.DataFrame
    held: pd.DataFrame
    cold_held: pd.DataFrame
    left_out: pd.DataFrame


def split(interactions: Interactions, settings: SplitSettings, seed: int) -> Split:
    """Split interactions into train events and held-out items.

    Args:
        interactions: checked interactions.
        settings: the rule.
        seed: the run's seed; the rule "random", cold items and cold users draw.

    Raises:
        SettingsError: if the rule needs times and the data has none.
    """
    if settings.rule != "random" and not interactions.has_time:
        raise SettingsError(
            f"split.rule={settings.rule} needs times, but {interactions.name} has none: "
            "use split.rule=random, or give a column of times"
        )
    ordered = events = _in_order(interactions.events, settings, seed)
    cold_item = np.zeros(interactions.num_items, dtype=np.bool_)
    for stage in range(2 if settings.target == "validation" else 1):
        cold_item = cold.more_cold_items(cold_item, settings.cold_items, seed, stage)
        parts = _cut_off(events, cold_item, settings)
        events = parts.train
    cold_user = cold.cold_users(interactions.num_users, settings.cold_users, seed)
    history = _as_history(parts.train, settings)
    kept = cold.latest_only(history, cold_user, settings.cold_user_events, seed)
    held_out = _item_per_user(parts.held, interactions.num_users)
    tied = _tied_users(ordered, parts.held) if settings.rule != "random" else 0
    del ordered, events
    made = Split(
        interactions=interactions,
        train=(history if kept.all() else history[kept]).reset_index(drop=True),
        held_out=held_out,
        rule=_sentence(settings, interactions.num_users, len(parts.held), tied),
        tied_users=tied,
        cold_item=cold_item,
        cold_user=cold_user,
        cold_held_out=_item_per_user(parts.cold_held, interactions.num_users),
        left_out=pd.concat([parts.left_out, history[~kept]]).reset_index(drop=True),
    )
    return replace(made, rule=f"{made.rule}{_cold_sentence(made, settings)}")


def _cut_off(events: pd.DataFrame, cold_item: np.ndarray, settings: SplitSettings) -> _Parts:
    """Hold out by the rule, then take cold items out of what is left."""
    late = settings.rule == "global-time"
    train, held = (_after_the_cut if late else _last_of_each_user)(events, settings)
    if not cold_item.any():
        return _Parts(train, held, cold_held=train[:0], left_out=train[:0])
    is_cold = cold_item[train[Columns.ITEM].to_numpy()]
    warm, left_out = train[~is_cold], train[is_cold]
    asked = _without(events, train) if late else events
    asked = asked[cold_item[asked[Columns.ITEM].to_numpy()]]
    asked = asked[~asked[Columns.USER].duplicated(keep="first" if late else "last")]
    known = warm[Columns.USER].unique()
    return _Parts(
        train=warm,
        held=held[held[Columns.USER].isin(known)],
        cold_held=asked[asked[Columns.USER].isin(known)],
        left_out=left_out,
    )


def _without(events: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Events that are not among the others; both are rows of one table, told by their index."""
    rows = events.index.to_numpy()
    is_other = np.zeros(rows.max(initial=-1) + 1, dtype=np.bool_)
    is_other[others.index.to_numpy()] = True
    kept: pd.DataFrame = events[~is_other[rows]]
    return kept


def _item_per_user(events: pd.DataFrame, num_users: int) -> np.ndarray:
    """The item of each user's one event, (U,) int32."""
    items = np.full(num_users, NOTHING_HELD_OUT, dtype=np.int32)
    items[events[Columns.USER]] = events[Columns.ITEM]
    return items


def _as_history(train: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Order the train events as they happened: by the rule's own order, but for "random".

    There the order that chose the held-out events is no history; the table's order is.
    """
    return train.sort_index() if settings.rule == "random" else train


def _in_order(events: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Sort events so that a user's latest one comes last; the index still tells the table's order.

    The rule "random" puts a random order in the place of time.
    """
    if settings.rule == "random":
        return _shuffled(events, seed)
    if settings.ties == "last-row" and _is_in_order(events):
        return events  # as it comes from the checks: a large catalogue is not copied
    row = events[Columns.ROW]
    tie = row if settings.ties == "last-row" else -row
    order = np.lexsort((tie, events[Columns.TIME_S], events[Columns.USER]))
    return events.iloc[order]


def _is_in_order(events: pd.DataFrame) -> bool:
    """Whether events are sorted by user, time and row of the file."""
    behind = np.zeros(max(len(events) - 1, 0), dtype=np.bool_)
    equal = ~behind
    for name in (Columns.USER, Columns.TIME_S, Columns.ROW):
        column = events[name].to_numpy()
        behind |= equal & (column[1:] < column[:-1])
        equal &= column[1:] == column[:-1]
    return not behind.any()


def _shuffled(events: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shuffle within each user, from an order that does not depend on rows of the file."""
    by_item = events.sort_values([Columns.USER, Columns.ITEM])
    counts = np.bincount(by_item[Columns.USER])
    keys = [generator(seed, "split", user).random(count) for user, count in enumerate(counts)]
    return by_item.iloc[np.lexsort((np.concatenate(keys), by_item[Columns.USER]))]


def _last_of_each_user(
    ordered: pd.DataFrame, settings: SplitSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out the last event of each user who has another one."""
    user = ordered[Columns.USER].to_numpy()
    is_last = np.append(user[1:] != user[:-1], True)
    is_held = is_last & (np.bincount(user)[user] >= 2)
    return ordered[~is_held], ordered[is_held]


def _after_the_cut(
    ordered: pd.DataFrame, settings: SplitSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut off the latest events; hold out the first after the cut of each user with a history."""
    if ordered.empty:
        return ordered, ordered
    times_s = np.sort(ordered[Columns.TIME_S])
    cut = times_s[int(len(times_s) * (1 - settings.fraction))]
    is_after = ordered[Columns.TIME_S] >= cut
    train, after = ordered[~is_after], ordered[is_after]
    first = after[~after[Columns.USER].duplicated()]
    return train, first[first[Columns.USER].isin(train[Columns.USER])]


def _tied_users(ordered: pd.DataFrame, held: pd.DataFrame) -> int:
    """Count held-out events that share user and time with another event.

    Args:
        ordered: all events, by user and time.
        held: some of them, told by their index.
    """
    user, time_s = (ordered[name].to_numpy() for name in (Columns.USER, Columns.TIME_S))
    like_next = (user[1:] == user[:-1]) & (time_s[1:] == time_s[:-1])
    is_tied = np.zeros(len(ordered), dtype=np.bool_)
    is_tied[1:] |= like_next
    is_tied[:-1] |= like_next
    return int(is_tied[ordered.index.isin(held.index)].sum())


def _sentence(settings: SplitSettings, num_users: int, num_held: int, tied: int) -> str:
    """Say what was done, for people."""
    which = {
        "leave-last-out": "the last event of each user",
        "global-time": f"each user's first event in the latest {settings.fraction:.0%} of events",
        "random": "a random event of each user",
    }[settings.rule]
    left_out = ", the test events being left out" if settings.target == "validation" else ""
    sentence = (
        f"{which} is held out for {settings.target}{left_out}: "
        f"{num_held:,} of {num_users:,} users have one"
    )
    if settings.rule == "random":
        return sentence
    row = "last" if settings.ties == "last-row" else "first"
    share = tied / num_held if num_held else 0.0
    return (
        f"{sentence}; for {tied:,} ({share:.0%}) its time is tied with another event's, and "
        f"among equal times the {row} row of the file is the latest"
    )


def _cold_sentence(made: Split, settings: SplitSettings) -> str:
    """Say what is cold, for people; "" when nothing is."""
    parts = ""
    if settings.cold_items:
        num_cold, asked = int(made.cold_item.sum()), made.cold_held_out >= 0
        is_cold = made.cold_item[made.held_out] & (made.held_out >= 0)
        parts += (
            f"; {num_cold:,} of {len(made.cold_item):,} items are cold, in nobody's training "
            f"events: {int(is_cold.sum()):,} of the held-out items are, and {int(asked.sum()):,} "
            "users are asked for a cold item too"
        )
    if settings.cold_users:
        parts += (
            f"; {int(made.cold_user.sum()):,} users are cold: of their training events the last "
            f"1 to {settings.cold_user_events} are kept"
        )
    return parts
