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

Formal guarantees, each held by a test of its name:
- each interaction is in at most one of train and held-out;
- a user's held-out item is never in the user's train events;
- the order of rows in the file changes nothing but ties in time;
- the validation split does not change when the held-out test item changes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.seeds import generator
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
    """

    interactions: Interactions
    train: pd.DataFrame
    held_out: np.ndarray
    rule: str
    tied_users: int


def split(interactions: Interactions, settings: SplitSettings, seed: int) -> Split:
    """Split interactions into train events and held-out items.

    Args:
        interactions: checked interactions.
        settings: the rule.
        seed: the run's seed; only the rule "random" draws.

    Raises:
        SettingsError: if the rule needs times and the data has none.
    """
    if settings.rule != "random" and not interactions.has_time:
        raise SettingsError(
            f"split.rule={settings.rule} needs times, but {interactions.name} has none: "
            "use split.rule=random, or give a column of times"
        )
    ordered = _in_order(interactions.events, settings, seed)
    hold_out = _after_the_cut if settings.rule == "global-time" else _last_of_each_user
    train, held = hold_out(ordered, settings)
    if settings.target == "validation":
        train, held = hold_out(train, settings)
    held_out = np.full(interactions.num_users, NOTHING_HELD_OUT, dtype=np.int32)
    held_out[held[Columns.USER]] = held[Columns.ITEM]
    tied = _tied_users(interactions.events, held) if settings.rule != "random" else 0
    return Split(
        interactions=interactions,
        train=_as_history(train, settings).reset_index(drop=True),
        held_out=held_out,
        rule=_sentence(settings, interactions.num_users, len(held), tied),
        tied_users=tied,
    )


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
    row = events[Columns.ROW]
    tie = row if settings.ties == "last-row" else -row
    order = np.lexsort((tie, events[Columns.TIME_S], events[Columns.USER]))
    return events.iloc[order]


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


def _tied_users(events: pd.DataFrame, held: pd.DataFrame) -> int:
    """Count held-out events that share user and time with another event."""
    moments = events.groupby([Columns.USER, Columns.TIME_S]).size()
    keys = pd.MultiIndex.from_frame(held[[Columns.USER, Columns.TIME_S]])
    return int((moments.reindex(keys) > 1).sum())


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
