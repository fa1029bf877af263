"""What a recommender is asked, and which items compete: warm items, and cold ones.

warm    the usual leave-last-out: the held-out item of each user, ranked among all items that the
        user did not choose in training.
cold    some items, drawn by seed, are new: nobody has chosen them yet. All events with them are
        taken out of training, and each is a request of its own. Capitals are cold:

            item      a  B  c  D  e
            Alice     a1 B2 c3 D4           trains on a c      finds B after a,   D after a c
            Bob       e1 D2 (a held out)    trains on e        finds D after e

        The right item is ranked twice, against the items that this user never chose: among the cold
        ones (can text tell new items apart?), and among all (does a new item ever come through
        beside those whose audience is known?). A user's value is the mean over their requests.

A recommender that was trained without the cold items has no id vector and no bias for them. It is
completed with zeros (`complete`): a cold item is its text and nothing else. Biases are learnt up to
a constant, which changes no ranking of known items; they are shifted to a mean of 0 first, so that
a cold item counts as an item of average popularity. That the text could stand in for the missing id
was tried too: a ridge from text to learnt ids explains nothing of them (docs/experiments.md), since
the text projection has taken its part already.

Formal guarantees, each held by a test of its name:
- no training event of the cold task has a cold item;
- a request sees nothing that came after it, and no cold item;
- the phones of a task hold its pool, and no cold item;
- the warm task ranks as `evaluation.Referee` does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from models.baselines import Scores
from models.errors import DataError
from models.histories import Histories
from models.metrics import held_out_ranks, metrics_of_ranks
from models.recommender import Shared
from simulation.data.cold import more_cold_items
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, Split
from simulation.world.build import pooled_histories

METRICS = ("hr@10", "ndcg@10", "auc")
"""The metrics of `models.metrics` that are kept; AUC tells where HR@10 is near 0."""

BLOCK = 256
"""Requests that are scored at a time."""

PerUser = dict[str, NDArray[np.float64]]
"""Metric -> (judged users,)."""


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Training events, and requests with one right item each.

    Attributes:
        name: "warm" or "cold".
        known: (K,) items with training events allowed, ascending.
        pool: the training events of U users; item k there is item `known[k]`.
        requests: what is looked at when items are ranked, items 0..N-1; a row per request.
        owners: (R,) the user of each request.
        targets: (R,) the right item, 0..N-1.
        chosen: per user the items, 0..N-1, that do not compete.
        fields: name of a field of competitors -> (N,) bool, which items are in it.
    """

    name: str
    known: NDArray[np.int64]
    pool: Histories
    requests: Histories
    owners: NDArray[np.int64]
    targets: NDArray[np.int64]
    chosen: Histories
    fields: dict[str, NDArray[np.bool_]]

    @property
    def num_items(self) -> int:
        """N, the whole catalogue."""
        return len(next(iter(self.fields.values())))

    @property
    def judged_users(self) -> NDArray[np.int64]:
        """Users with a request, ascending."""
        return np.unique(self.owners)

    def values(self, scores_of: Callable[[NDArray[np.int64]], Scores]) -> PerUser:
        """Rank the right items of all requests.

        Args:
            scores_of: maps rows of `requests` (B,) to scores (B, N).

        Returns:
            "FIELD METRIC" -> (judged users,), the mean over a user's requests.
        """
        found: dict[str, list[NDArray[np.float64]]] = {}
        for start in range(0, len(self.owners), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self.owners)))
            scores = scores_of(rows)
            competing = ~self.chosen.seen(self.owners[rows], self.num_items)
            for field, inside in self.fields.items():
                ranks = held_out_ranks(scores, self.targets[rows], competing & inside)
                values = metrics_of_ranks(*ranks)
                for metric in METRICS:
                    found.setdefault(f"{field} {metric}", []).append(values[metric])
        _, owner, counts = np.unique(self.owners, return_inverse=True, return_counts=True)
        return {
            name: np.bincount(owner, np.concatenate(parts)) / counts
            for name, parts in found.items()
        }


def warm_task(parts: Split) -> RankingTask:
    """The held-out item of each user that has one, among all that is unseen in training."""
    pool = pooled_histories(parts)
    owners = np.flatnonzero(parts.held_out >= 0)
    num_items = parts.interactions.num_items
    return RankingTask(
        name="warm",
        known=np.arange(num_items),
        pool=pool,
        requests=_rows_of(pool, pool.offsets[owners], pool.offsets[owners + 1]),
        owners=owners,
        targets=parts.held_out[owners].astype(np.int64),
        chosen=pool,
        fields={"all": np.ones(num_items, dtype=np.bool_)},
    )


def cold_task(parts: Split, share: float, max_history: int, seed: int) -> RankingTask:
    """Take a share of the items out of training, and ask for them.

    A request needs one warm event before it. Held-out items of the split are requests if they are
    cold, and are left out altogether if they are warm.

    Args:
        parts: a split; its events and held-out items.
        share: of the items, drawn at the address (seed, "cold-items").
        max_history: a request looks at so many events before it.
        seed: the run's seed.

    Raises:
        DataError: if no request, or no training event, is left.
    """
    num_items, num_users = parts.interactions.num_items, parts.interactions.num_users
    cold = more_cold_items(np.zeros(num_items, dtype=np.bool_), share, seed)
    everything = _with_held_out(parts)
    users = np.repeat(np.arange(num_users), everything.lengths())
    is_cold = cold[everything.items]
    held = _is_held_out(parts, everything)
    trained_on = ~is_cold & ~held
    warm = _only(everything, users, trained_on)
    # How many warm training events of the same user came before each event.
    before: NDArray[np.int64] = np.cumsum(trained_on) - trained_on
    asked = np.flatnonzero(is_cold & (before > warm.offsets[users]))
    if len(asked) == 0 or len(warm.items) == 0:
        raise DataError(
            f"with {cold.sum()} of {num_items} items cold there are {len(asked)} requests for them "
            f"and {len(warm.items)} training events: choose another cold_share"
        )
    owners = users[asked]
    starts = np.maximum(warm.offsets[owners], before[asked] - max_history)
    place = np.cumsum(~cold) - 1  # of a warm item among the known ones
    return RankingTask(
        name="cold",
        known=np.flatnonzero(~cold),
        pool=Histories(warm.offsets, place[warm.items].astype(np.int32)),
        requests=_rows_of(warm, starts, before[asked]),
        owners=owners,
        targets=everything.items[asked].astype(np.int64),
        chosen=everything,
        fields={"cold": cold, "all": np.ones(num_items, dtype=np.bool_)},
    )


def phones_of(task: RankingTask, parts: Split) -> Split:
    """Return what phones hold in a task: a split of its known items, numbered as in `task.pool`.

    Events with a cold item are gone, and a held-out item that is cold is none.

    Args:
        task: made of `parts`.
        parts: a split of the whole catalogue.
    """
    place = np.full(task.num_items, NOTHING_HELD_OUT, dtype=np.int32)
    place[task.known] = np.arange(len(task.known), dtype=np.int32)

    def known(events: pd.DataFrame) -> pd.DataFrame:
        items = place[events[Columns.ITEM].to_numpy()]
        kept: pd.DataFrame = events.assign(**{Columns.ITEM: items})[items >= 0]
        return kept.reset_index(drop=True)

    interactions = replace(
        parts.interactions,
        events=known(parts.interactions.events),
        items=parts.interactions.items.iloc[task.known].reset_index(drop=True),
    )
    has = parts.held_out >= 0
    held_out = np.where(has, place[np.where(has, parts.held_out, 0)], NOTHING_HELD_OUT)
    return replace(
        parts,
        interactions=interactions,
        train=known(parts.train),
        held_out=held_out,
        cold_item=np.zeros(len(task.known), dtype=np.bool_),
        cold_held_out=np.full_like(held_out, NOTHING_HELD_OUT),
        left_out=known(parts.left_out),
    )


def complete(parameters: Shared, known: NDArray[np.int64], num_items: int) -> Shared:
    """Give a recommender of the known items the others too, without id vector and bias.

    Args:
        parameters: of K items, without a leading axis.
        known: (K,) what these are among the N.
        num_items: N.
    """
    residual = torch.zeros(num_items, parameters["id_residual"].shape[1])
    residual[known] = parameters["id_residual"]
    bias = torch.zeros(num_items)
    bias[known] = parameters["item_bias"] - parameters["item_bias"].mean()
    return parameters | {"id_residual": residual, "item_bias": bias}


def _with_held_out(parts: Split) -> Histories:
    """Training events of each user, then the held-out one if there is one."""
    train, has = pooled_histories(parts), parts.held_out >= 0
    items = np.insert(train.items, train.offsets[1:][has], parts.held_out[has])
    offsets = train.offsets + np.concatenate([[0], np.cumsum(has)])
    return Histories(offsets, items.astype(np.int32))


def _is_held_out(parts: Split, everything: Histories) -> NDArray[np.bool_]:
    held = np.zeros(len(everything.items), dtype=np.bool_)
    held[everything.offsets[1:][parts.held_out >= 0] - 1] = True
    return held


def _only(histories: Histories, users: NDArray[np.int64], kept: NDArray[np.bool_]) -> Histories:
    """Keep some events; `users` (E,) owns each."""
    counts = np.bincount(users[kept], minlength=histories.num_users)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(offsets, histories.items[kept])


def _rows_of(histories: Histories, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Histories:
    """A row for each stretch of events start .. end; stretches may overlap."""
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Histories(offsets, histories.items[np.repeat(starts, lengths) + within])
