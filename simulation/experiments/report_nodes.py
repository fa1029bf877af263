"""From what `models` measures to the nodes of a report."""

from collections.abc import Sequence

from models.evaluation.slices import SliceMean
from models.intervals import Interval
from simulation.reporting import model as tree


def interval_node(bounds: Interval) -> tree.Interval:
    """A mean with its interval."""
    return tree.Interval(mean=bounds.mean, low=bounds.low, high=bounds.high)


def slice_nodes(rows: Sequence[SliceMean]) -> tuple[tree.Slice, ...]:
    """Slices of users, in the same order; one that is too small has no interval."""
    return tuple(
        tree.Slice(
            dimension=row.dimension,
            name=row.name,
            num_users=row.num_users,
            interval=None if row.interval is None else interval_node(row.interval),
        )
        for row in rows
    )
