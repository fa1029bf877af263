"""The cold question as the report has it: a mean, an interval and the worst slice for every arm."""

import typing

import numpy as np
from numpy.typing import NDArray

from models.evaluation.slices import bounded, slice_means
from simulation.experiments.outcome import ColdOutcome
from simulation.experiments.report_nodes import interval_node, slice_nodes
from simulation.reporting import model as tree

COLD_PROTOCOLS: tuple[tree.ColdProtocolName, ...] = typing.get_args(tree.ColdProtocolName)

NOT_ASKED = (
    "No item was new: every item of the catalogue could be trained on. "
    "`--set split.cold_items=0.15` takes items out of training and asks every arm for them."
)
NOBODY_TO_ASK = (
    "Items were taken out of training, and fewer than two users chose one: nobody could be asked "
    "for a new item. A larger split.cold_items asks more."
)


def cold_question(found: ColdOutcome | None) -> tree.ColdQuestion | None:
    """What every arm answered; None where nobody was asked."""
    if found is None:
        return None
    return tree.ColdQuestion(
        num_users=len(found.referee.users),
        num_items=int(found.referee.cold_item.sum()),
        arms=tuple(_arm(found, arm) for arm in found.values),
    )


def _arm(found: ColdOutcome, arm: str) -> tree.ColdArm:
    values = found.values[arm]
    return tree.ColdArm(
        key=arm,
        metrics={
            protocol: {name: _mean(found, values[protocol][name]) for name in tree.METRICS}
            for protocol in COLD_PROTOCOLS
        },
        slices={
            protocol: _slices(found, values[protocol][tree.PRIMARY_METRIC])
            for protocol in COLD_PROTOCOLS
        },
    )


def _mean(found: ColdOutcome, values: NDArray[np.float64]) -> tree.Interval:
    """That no user found a new item is often so, and no proof that nobody ever would."""
    tail = (1.0 - found.bootstrap.confidence) / 2.0
    return interval_node(bounded(found.bootstrap.mean(values), len(values), tail))


def _slices(found: ColdOutcome, values: NDArray[np.float64]) -> tuple[tree.Slice, ...]:
    return slice_nodes(slice_means(values, found.slicings, found.bootstrap))
