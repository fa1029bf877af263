"""The fleet as a picture: how many phones of each tier stand where, and some of them one by one.

    a tier's dots, by their bucket        t t t t . . h . . . . . . c c c c
                                          ^ with the release    ^ the mirror: the control

The first devices of a fleet are a random sample of it: tiers, buckets and habits are drawn from
each device's own address. Their dots are ordered by bucket, so that the ramp comes in from the left
and its control, the mirror, from the right.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from server.rollout.membership import Membership
from simulation.experiments.rollout.live_rollout import LiveRollout
from simulation.experiments.rollout.virtual_app import Standing
from simulation.reporting.node import Node

DOTS = 1_200
"""Phones that are drawn one by one."""

MARKS = {
    "x": "not eligible",
    "h": "held out",
    ".": "not asked yet",
    "c": "control, has not opened the app yet",
    "C": "control, looked at",
    "F": "control, failed once",
    "a": "may fetch it",
    "g": "has it, has not used it",
    "u": "uses it",
    "f": "uses it, failed once",
    "b": "went back to the release before",
}
"""What a dot says."""


class TierCount(Node):
    """How many phones of a tier stand where."""

    name: str
    devices: NonNegativeInt
    admitted: NonNegativeInt = Field(description="may have the release at this stage")
    holding: NonNegativeInt = Field(description="have it")
    used: NonNegativeInt = Field(description="have ever used it")
    failed: NonNegativeInt = Field(description="have it, and had a crash or the like since")
    control: NonNegativeInt = Field(description="are in the control arm")


def tier_counts(rollout: LiveRollout) -> tuple[TierCount, ...]:
    """Count the whole fleet, tier by tier."""
    tier, stand = rollout.fleet.tier, rollout.app.standing()
    names = rollout.fleet.tier_names
    columns = (
        np.ones(len(tier), dtype=bool),
        stand.is_admitted,
        stand.holds,
        stand.used,
        stand.holds & stand.failed,
        stand.is_control,
    )
    counts = [np.bincount(tier[column], minlength=len(names)) for column in columns]
    return tuple(
        TierCount(
            name=name,
            devices=int(counts[0][n]),
            admitted=int(counts[1][n]),
            holding=int(counts[2][n]),
            used=int(counts[3][n]),
            failed=int(counts[4][n]),
            control=int(counts[5][n]),
        )
        for n, name in enumerate(names)
    )


class DotMap:
    """Some devices, in the order in which they are drawn."""

    def __init__(self, rollout: LiveRollout, dots: int = DOTS) -> None:
        self._rollout = rollout
        self._shown = slice(0, min(dots, rollout.fleet.num_devices))
        membership = rollout.app.membership
        self._held_out = membership.is_held_out[self._shown]
        self._is_open = membership.is_open[self._shown]
        self._order = _by_bucket(rollout, membership, self._shown)

    def marks(self) -> tuple[str, ...]:
        """A string a tier, of one letter a dot: see `MARKS`."""
        letters = _letters(self._rollout.app.standing(self._shown), self._held_out, self._is_open)
        return tuple("".join(letters[place]) for place in self._order)


def _by_bucket(rollout: LiveRollout, membership: Membership, shown: slice) -> list[NDArray]:
    tier, place = rollout.fleet.tier[shown], membership.place[shown]
    found = []
    for n in range(len(rollout.fleet.tier_names)):
        inside = np.flatnonzero(tier == n)
        found.append(inside[np.argsort(place[inside], kind="stable")])
    return found


def _letters(
    stand: Standing, held_out: NDArray[np.bool_], is_open: NDArray[np.bool_]
) -> NDArray[np.str_]:
    """What is said of each device; the first line that is true of it."""
    rules: list[tuple[NDArray[np.bool_], str]] = [
        (stand.holds & stand.used & stand.failed, "f"),
        (stand.holds & stand.used, "u"),
        (stand.holds, "g"),
        (stand.used, "b"),
        (stand.is_control & stand.exposed & stand.failed, "F"),
        (stand.is_control & stand.exposed, "C"),
        (stand.is_control, "c"),
        (~is_open, "x"),
        (held_out, "h"),
        (stand.is_admitted, "a"),
    ]
    return np.select([rule for rule, _ in rules], [letter for _, letter in rules], ".")
