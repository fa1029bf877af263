"""A rollout under an operator's hand: days, orders, faults, and living through them again.

    step()     a day passes, the rule decides the morning after
    order()    what an operator decides this morning; done when `follow` is called
    fault_of() what goes wrong from the next day on; holds when `suffer` is called

What devices do is a pure function of the setup, the orders and the faults, each with its day. So a
session is these lines: `relive` lives through the days of another one again, and every decision
must be the one in the log, to the last digit of its evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from pydantic import Field, NonNegativeInt

from models.errors import DataError, SettingsError
from models.progress import Progress, silent
from server.rollout.decisions import Action, Decision
from server.rollout.membership import Membership
from simulation.experiments.rollout.live_rollout import LiveRollout
from simulation.experiments.rollout.rollout_outlook import outlook
from simulation.experiments.rollout.scenarios import Effect
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.node import Node
from simulation.reporting.rollout_model import Before
from simulation.studio.day_record import StudioDay, recorded
from simulation.studio.fleet_map import DotMap, TierCount, tier_counts
from simulation.studio.rollout_setup import RolloutSetup

ACTIONS: tuple[Action, ...] = get_args(Action)
FOREVER = Effect.model_fields["last_day"].default
"""The last day of an effect that does not end."""


class Fault(Node):
    """What an operator let go wrong."""

    day: NonNegativeInt = Field(description="the first one on which it holds, if not later")
    title: str = Field(min_length=1, max_length=120)
    effects: tuple[Effect, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class History:
    """What happened in a session, as it is kept.

    Attributes:
        decisions: of rule and operator, the first one first.
        faults: in the order in which they were injected.
        days: that were lived, the first one first.
    """

    decisions: tuple[Decision, ...]
    faults: tuple[Fault, ...]
    days: tuple[StudioDay, ...]


class RolloutSession:
    """One rollout, from its draft on."""

    def __init__(
        self, setup: RolloutSetup, fleet: VirtualFleet, membership: Membership, workers: int = 1
    ) -> None:
        setup.scenario.strengths(0, fleet.tier_names, fleet.region_names)  # names are checked
        self.setup = setup
        self.rollout = LiveRollout(setup.plan, fleet, membership, setup.scenario, workers)
        self.decisions: list[Decision] = []
        self.faults: list[Fault] = []
        self.days: list[StudioDay] = []
        self._dots = DotMap(self.rollout)

    @classmethod
    def build(
        cls, setup: RolloutSetup, workers: int = 1, progress: Progress = silent
    ) -> "RolloutSession":
        """Draw the fleet of a setup.

        Args:
            setup: of the rollout.
            workers: threads.
            progress: told how far it is.

        Raises:
            SettingsError: if plan or scenario do not fit the fleet.
        """
        progress("drawing the fleet", 0, 3)
        fleet = VirtualFleet.build(setup.devices, setup.app, setup.world, setup.seed, workers)
        progress("drawing lots", 1, 3)
        membership = Membership.of(setup.plan, np.arange(setup.devices), fleet.attributes())
        session = cls(setup, fleet, membership, workers)
        progress("looking ahead", 2, 3)
        _ = session.before  # it may refuse the fleet, and is kept
        return session

    @cached_property
    def before(self) -> Before:
        """What is known before the start.

        Raises:
            SettingsError: if nobody made a request before the start.
        """
        return outlook(self.rollout.fleet, self.rollout.app.membership)

    @property
    def day(self) -> int:
        """Days that have passed; the number of the next one."""
        return self.rollout.day

    @property
    def history(self) -> History:
        """What happened so far."""
        return History(tuple(self.decisions), tuple(self.faults), tuple(self.days))

    def start_map(self) -> tuple[tuple[TierCount, ...], tuple[str, ...]]:
        """Tiers and dots as they stand."""
        return tier_counts(self.rollout), self._dots.marks()

    def why_no_day(self) -> str:
        """Why no day may pass now; "": it may."""
        state, most = self.rollout.state, self.setup.app.operator.most_days
        if state.status == "draft":
            return "start the rollout first"
        if state.stage < 0:
            return "it was killed before it began: start a new one"
        if self.day >= most:
            return f"{most} days are over (operator.most_days): start a new rollout"
        if state.status in ("rolled back", "killed") and not self.rollout.app.holds.any():
            return f"it is {state.status}, and no phone has the release any more: start a new one"
        return ""

    def refusals(self) -> dict[Action, str]:
        """Why each order is not possible now; "": it is."""
        found: dict[Action, str] = {}
        for action in ACTIONS:
            try:
                self.rollout.order(action, "asked")
            except SettingsError as error:
                found[action] = str(error)
            else:
                found[action] = ""
        return found

    def step(self) -> StudioDay:
        """Let a day pass, and do what the rule decides the morning after.

        Returns:
            the day; a decision, if there was one, is the last of `decisions`.

        Raises:
            SettingsError: if no day may pass now.
        """
        reason = self.why_no_day()
        if reason:
            raise SettingsError(f"no day can pass: {reason}")
        lived = self.rollout.live()
        if lived.decision:
            self.follow(lived.decision)
        day = recorded(self.rollout, lived, self._dots)
        self.days.append(day)
        return day

    def order(self, action: Action, reason: str) -> Decision:
        """What an operator decides this morning: nothing is done before it is followed.

        Raises:
            SettingsError: if the state does not allow it, or the reason is none or too long.
        """
        return self.rollout.order(action, reason)

    def follow(self, decision: Decision) -> None:
        """Do what was decided.

        Raises:
            DataError: if the state does not allow it.
        """
        self.rollout.follow(decision)
        self.decisions.append(decision)

    def fault_of(self, title: str, effects: Sequence[Effect]) -> Fault:
        """What goes wrong from the next day on: nothing does before it is suffered.

        Args:
            title: what is wrong, in a few words.
            effects: their days count from the next one on.

        Raises:
            SettingsError: if there are too many, or one names a tier that the fleet does not have.
        """
        first = min((effect.first_day for effect in effects), default=0)
        moved = tuple(_moved(effect, self.day - first) for effect in effects)
        self.rollout.suffering(moved)  # names are checked
        return Fault(day=self.day, title=title, effects=moved)

    def suffer(self, fault: Fault) -> None:
        """Let a fault hold.

        Raises:
            SettingsError: if there are too many effects by now.
        """
        self.rollout.suffer(fault.effects)
        self.faults.append(fault)


def _moved(effect: Effect, days: int) -> Effect:
    """An effect some days later; one that never ends still does not."""
    last = effect.last_day if effect.last_day == FOREVER else effect.last_day + days
    return effect.model_copy(update={"first_day": effect.first_day + days, "last_day": last})


def relive(
    session: RolloutSession,
    known: History,
    progress: Progress = silent,
    is_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Live through a history again, from the draft on.

    Args:
        session: a new one of the same setup.
        known: what is kept of the other one.
        progress: told about days.
        is_wanted: asked before each day; False gives up in between.

    Raises:
        DataError: if this session decides otherwise, or a day was another one.
    """
    faults = iter((*known.faults, None))
    fault = next(faults)
    for number in range(len(known.days) + 1):
        _orders(session, known.decisions)
        while fault and fault.day == session.day:
            session.suffer(fault)
            fault = next(faults)
        if number == len(known.days) or not is_wanted():
            break
        progress("living through the days again", number, len(known.days))
        made = len(session.decisions)
        if session.step() != known.days[number]:
            raise _another(f"day {number} was another one")
        if session.decisions[made:] != list(known.decisions[made : len(session.decisions)]):
            raise _another(f"decision {made + 1} rests on other evidence")
    if is_wanted() and (fault or len(session.decisions) != len(known.decisions)):
        raise _another("it has lines that belong to no day")


def _orders(session: RolloutSession, decisions: Sequence[Decision]) -> None:
    """Do what the operator decided on the morning of this day."""
    for decision in decisions[len(session.decisions) :]:
        if decision.by != "operator" or decision.day != session.day:
            return
        session.follow(decision)


def _another(what: str) -> DataError:
    return DataError(
        f"the rollout cannot be lived through again: {what} than the one in the log. It was made "
        "by another version or on a damaged disk: start a new rollout"
    )
