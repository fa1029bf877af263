"""What the page is told of phones, as one checked tree.

    PhonePage ── tiers, phones            GET /api/phones             which phones there are
    PhoneView                             GET /api/phones/17          one of them
    ├── tier, history, held_out           whose phone it is
    ├── server, phone                     two lists, side by side
    ├── spent                             what the phone paid for it
    └── sent, update, rounds              what left it, and when

Titles and texts come from a data set: they are shown, never interpreted.
"""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from simulation.reporting.node import Node

Origin = Literal["measured", "counted", "modelled"]
"""A figure was timed, follows from the run's own records, or comes from a model of the phone."""

RoundOutcome = Literal["reported", "late", "dropped", "absent"]
"""What became of a phone in a round that drew it (`server.cohorts.Outcome`)."""


MOST_ROWS = 100
"""Phones on a page of the list."""


class TierCount(Node):
    """A tier to choose from."""

    name: str
    num_phones: NonNegativeInt


class PhoneRow(Node):
    """A phone in the list."""

    id: NonNegativeInt
    tier: str
    num_events: NonNegativeInt
    num_reports: NonNegativeInt = Field(description="rounds in which its update was taken")


class PhonePage(Node):
    """A page of the list, or why there is none."""

    run: str | None = Field(description="name of the run; None: the studio was started without one")
    missing: str = Field(default="", description='how to get one; "": there is one')
    tiers: tuple[TierCount, ...] = ()
    total: NonNegativeInt = Field(default=0, description="phones of the tier, or of all")
    offset: NonNegativeInt = 0
    phones: tuple[PhoneRow, ...] = ()


class TierCard(Node):
    """What kind of phone it is."""

    name: str
    memory: str
    battery: str
    can_serve: bool
    note: str


class HistoryEvent(Node):
    """Something that the user chose."""

    title: str
    private_text: str = Field(description='what was written with it; "": nothing')


class ListedItem(Node):
    """A recommendation."""

    title: str
    is_shared: bool = Field(description="the other list has it too")
    is_held_out: bool = Field(description="it is what the user really chose next")


class Listing(Node):
    """What one side recommends."""

    items: tuple[ListedItem, ...] = Field(description="best first")
    place: float | None = Field(
        description="of the held-out item among all unseen ones, 1 = first, ties half"
    )


class Figure(Node):
    """Something that the phone spent."""

    what: str
    amount: str
    origin: Origin
    note: str


class Sent(Node):
    """Something that could have left the phone, and whether it did."""

    what: str
    amount: str
    left: bool
    note: str


class UpdateCard(Node):
    """How the updates that left were protected."""

    clipped: str
    noised: str
    masked: str
    is_clipped: bool
    is_noised: bool
    is_masked: bool


class RoundMark(Node):
    """A round that drew this phone."""

    round_number: PositiveInt
    outcome: RoundOutcome


class PhoneView(Node):
    """One phone."""

    id: NonNegativeInt
    run: str
    tier: TierCard
    num_events: NonNegativeInt
    history: tuple[HistoryEvent, ...] = Field(description="latest first, the last few")
    held_out: str | None
    server: Listing
    phone: Listing
    num_shared: NonNegativeInt
    spent: tuple[Figure, ...]
    sent: tuple[Sent, ...]
    update: UpdateCard
    num_rounds: NonNegativeInt = Field(description="that were played, for all phones")
    rounds: tuple[RoundMark, ...]
