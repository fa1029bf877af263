"""What a federated recommender is: a value of five functions, the same shape for all methods.

    shared (cloud) ──> train (phone: own examples, personal parameters) ──> moved ──> cloud
                                                  └──> personal, stays
    shared + personal ──> scores of the catalogue, as the phone would rank it now

Personal parameters are kept as the difference to where everybody starts, so that a store of zeros
is the start. A method never sees a device's id: what it draws is drawn by others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from models.parameters import Layout
from models.recommenders.examples import Drawn, LocalExamples

Shared = dict[str, Tensor]
ITEMS = "items"
"""The shared table of item vectors, (N, dim), in every method."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How a phone trains, whatever the method.

    Attributes:
        local_epochs: passes over its examples.
        rate: of what is shared.
        personal_rate: of what stays.
    """

    local_epochs: int
    rate: float
    personal_rate: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made of B devices.

    Attributes:
        losses: (B,) mean loss of each device over the examples of its first step, before it.
        moved: shared parameter -> what the device changed. (B, L, ...) by the rows of its examples
            for a name in `by_row`, else (B, ...) whole.
        by_row: names of item tables that are kept by row.
        personal: (B, k) personal parameters afterwards.
    """

    losses: Tensor
    moved: Shared
    by_row: frozenset[str]
    personal: Tensor


@dataclass(frozen=True, slots=True)
class Method:
    """A federated recommender.

    Attributes:
        layout: number of items -> names and shapes of what is shared.
        start: number of items and seed -> shared parameters of round 0.
        is_dense: a phone's update has a row for every item, and no negatives are drawn.
        personal_size: k, numbers that stay on a phone.
        personal_start: seed, device ids -> (B, k) where their personal parameters begin.
        examples: draws of a round, rates -> the steps that the phone takes.
        serving_examples: the same for what the phone does before it ranks.
        train: shared, personal (B, k), examples, rates, number of phones -> what comes out.
        scores: shared, personal (B, k), serving examples, rates -> (B, N).
    """

    layout: Callable[[int], Layout]
    start: Callable[[int, int], Shared]
    is_dense: bool
    personal_size: int
    personal_start: Callable[..., Tensor]
    examples: Callable[[Drawn, Rates], LocalExamples]
    serving_examples: Callable[[Drawn, Rates], LocalExamples]
    train: Callable[[Shared, Tensor, LocalExamples, Rates, int], Trained]
    scores: Callable[[Shared, Tensor, LocalExamples, Rates], Tensor]
