"""What serving a recommendation leaks, by where it is computed.

    server side        the history goes up, a list of items comes down
    candidates down    a phone says which of k cohorts it is nearest to; M candidates come down,
                       with what is needed to rank them; the phone ranks
    on device          nothing goes up; the model comes down whenever there is a new one

Cohorts are k means of user states, found by a server on the users who opted in (it has their
histories already); every phone finds its own nearest mean. A cohort's candidates are the items that
the model scores highest for its mean.

Information that goes up is counted in bits for a user: of a history -log2 of each item's
popularity, added up, which is its length in the best code that knows nothing else; of a cohort the
entropy of cohorts over users, at most log2 k. It is given away once, and again only when it
changes. Bytes are those of the content: item numbers of 4 bytes, float32 vectors; no headers, no
encryption.

Quality is nDCG@10 of the same model: on the server and on the device it is equal, with candidates
it is what is left when the held-out item must be among M.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.cluster import KMeans

from clients.local_evaluation import score_devices
from models.errors import SettingsError
from models.histories import Histories
from models.metrics import held_out_ranks, metrics_of_ranks
from models.progress import Progress, silent
from models.recommender import item_vectors, last_states, score, share
from models.seeds import integer_seed
from simulation.experiments.audit.findings import Findings, Row, with_interval
from simulation.experiments.audit.target import Target, all_events, popularity

ITEM_BYTES = 4
NUMBER_BYTES = 4


class ServingComparison(BaseModel):
    """Sizes of the comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cohorts: tuple[int, ...] = Field(description="k, how many means")
    candidates: tuple[int, ...] = Field(description="M, items that come down")
    opted_in_share: float = Field(gt=0, le=1, description="of the users, on whom means are found")
    requests_a_day: float = Field(gt=0, description="of a user")
    events_a_day: float = Field(gt=0, description="new choices of a user")
    models_a_day: float = Field(gt=0, description="new recommenders that a phone fetches")
    shown: int = Field(ge=1, description="items in a list")


@dataclass(frozen=True, slots=True)
class Served:
    """Users, their states and how the whole catalogue ranks for them.

    Attributes:
        states: (U, dim) of all users.
        scores: (J, N) of the users with a held-out item, who are judged.
        judged: (J,) users.
        held_out: (J,).
        seen: (J, N) what they chose in training.
        shared: parameters, with the leading axis of 1.
        items: (1, N, dim) item vectors.
    """

    states: NDArray[np.float32]
    scores: NDArray[np.float32]
    judged: NDArray[np.int64]
    held_out: NDArray[np.int32]
    seen: NDArray[np.bool_]
    shared: dict[str, torch.Tensor]
    items: torch.Tensor

    @classmethod
    def of(cls, target: Target) -> "Served":
        """Under a run's final parameters, with the devices' personal vectors."""
        shard = target.shard(np.load(target.devices.taste, mmap_mode="r"))
        everybody = np.arange(shard.num_devices)
        histories, held_out = shard.events.cut(everybody)
        shared, judged = share(target.named(target.final)), np.flatnonzero(held_out >= 0)
        block = histories.recent_block(everybody, target.devices.recommender.max_history)
        with torch.no_grad():
            items = item_vectors(shared, torch.from_numpy(shard.text))
            states = last_states(shared, items, block, torch.from_numpy(np.array(shard.taste)))
        return cls(
            states.numpy(),
            score_devices(shard, judged, target.final, target.devices.recommender),
            judged,
            held_out[judged],
            histories.seen(judged, shard.manifest.num_items),
            shared,
            items,
        )

    def ndcg(self, offered: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """nDCG@10 of each judged user, (J,).

        Args:
            offered: (J, N) candidates; None: the whole catalogue. A held-out item that is not
                offered counts 0.
        """
        open_to = ~self.seen if offered is None else ~self.seen & offered
        ranks, negatives = held_out_ranks(self.scores, self.held_out, open_to)
        found = metrics_of_ranks(ranks, negatives)["ndcg@10"]
        if offered is None:
            return found
        return np.where(offered[np.arange(len(self.held_out)), self.held_out], found, 0.0)

    def candidates(self, means: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
        """The items (k, N) that the model scores highest for each mean."""
        with torch.no_grad():
            scores = score(self.shared, torch.from_numpy(means).unsqueeze(0), self.items)[0].numpy()
        chosen = np.zeros(scores.shape, dtype=np.bool_)
        np.put_along_axis(chosen, np.argsort(-scores, axis=1)[:, :count], values=True, axis=1)
        return chosen


def bits_of_histories(histories: Histories, num_items: int) -> NDArray[np.float64]:
    """Information in each user's history, given how popular items are: bits, (U,)."""
    counts = popularity(histories, num_items)
    bits = -np.log2(np.maximum(counts, 1) / counts.sum())
    users = np.repeat(np.arange(histories.num_users), histories.lengths())
    weights = bits[np.asarray(histories.items, dtype=np.int64)]
    found = np.bincount(users, weights=weights, minlength=histories.num_users)
    return np.asarray(found, np.float64)


def entropy_bits(labels: NDArray[np.integer]) -> float:
    """Entropy of labels over users.

    >>> entropy_bits(np.array([0, 0, 1, 1]))
    1.0
    """
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def cohort_means(states: NDArray[np.float32], number: int, seed: int) -> NDArray[np.float32]:
    """Means of user states by k-means, (k, dim)."""
    found = KMeans(number, n_init=4, random_state=integer_seed(seed, "cohort means") >> 32)
    return np.asarray(found.fit(states).cluster_centers_, np.float32)


def nearest(states: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest mean of each state, (U,): what a phone works out by itself."""
    squares = (means**2).sum(axis=1) - 2.0 * states @ means.T
    return np.asarray(squares.argmin(axis=1))


def compare_serving(
    target: Target,
    comparison: ServingComparison,
    opted_in: NDArray[np.int64],
    bundle_bytes: int,
    progress: Progress = silent,
) -> Findings:
    """Put the three ways side by side.

    Args:
        target: the run whose final model serves.
        comparison: sizes.
        opted_in: users whose histories the server has.
        bundle_bytes: of the encoder bundle that phones hold, fetched once.
        progress: told about each number of cohorts.

    Raises:
        SettingsError: if there are more cohorts than users who opted in.
    """
    check_cohorts(comparison, opted_in)
    seed, num_items = target.devices.seed, target.named(target.final)["item_bias"].shape[0]
    served, histories = Served.of(target), all_events(target.shard())
    bits = bits_of_histories(histories, num_items)
    requests, shown = comparison.requests_a_day, comparison.shown
    whole = served.ndcg()
    rows: list[Row] = [
        _row(
            "server side",
            whole,
            seed,
            # An event goes up once; each request after it needs a name for the user only.
            up=ITEM_BYTES * (1 + comparison.events_a_day / requests),
            down=ITEM_BYTES * shown,
            requests=requests,
            bits=float(bits.mean()),
        )
    ]
    for place, number in enumerate(comparison.cohorts):
        progress("cohorts of users", place, len(comparison.cohorts))
        means = cohort_means(served.states[opted_in], number, seed)
        mine = nearest(served.states, means)
        for count in comparison.candidates:
            offered = served.candidates(means, count)[mine[served.judged]]
            rows.append(
                _row(
                    f"candidates down, {number} cohorts, {count} items",
                    served.ndcg(offered),
                    seed,
                    up=float(np.ceil(np.log2(number) / 8)),
                    down=count * _candidate_bytes(target),
                    requests=requests,
                    bits=entropy_bits(mine),
                )
            )
    progress("cohorts of users", len(comparison.cohorts), len(comparison.cohorts))
    model_bytes = NUMBER_BYTES * len(target.final)
    a_request = model_bytes * comparison.models_a_day / requests
    rows.append(_row("on device", whole, seed, up=0.0, down=a_request, requests=requests, bits=0.0))
    return Findings(
        "serving",
        "What does serving leak, and what does it cost, by where it is computed?",
        rows,
        (
            f"{requests:g} requests, {comparison.events_a_day:g} new choices and "
            f"{comparison.models_a_day:g} new models a day; {shown} items a list. On device the "
            f"recommender ({model_bytes:,} bytes) is fetched with each new model, the encoder "
            f"({bundle_bytes:,} bytes) once, and is not counted.",
            "A candidate comes with its vector and bias; on device the phone holds the catalogue.",
            f"Means of cohorts are found on {len(opted_in)} users who opted in.",
            "Training is not serving: what updates leak is the matter of the other attacks. Bytes "
            "and bits do not count that a server learns when somebody asks, and from where.",
        ),
    )


def _candidate_bytes(target: Target) -> int:
    """An item number, its vector and its bias."""
    return ITEM_BYTES + NUMBER_BYTES * (target.devices.recommender.dim + 1)


def _row(
    way: str,
    ndcg: NDArray[np.float64],
    seed: int,
    *,
    up: float,
    down: float,
    requests: float,
    bits: float,
) -> Row:
    return {
        "way": way,
        "bytes up": up,
        "bytes down": down,
        "bytes up a day": up * requests,
        "bytes down a day": down * requests,
        "bits known of a user": bits,
        **with_interval("nDCG@10", ndcg, seed),
    }


def check_cohorts(comparison: ServingComparison, opted_in: NDArray[np.int64]) -> None:
    """Refuse more cohorts than there are users to find them on.

    Raises:
        SettingsError: if there are.
    """
    most = max(comparison.cohorts, default=1)
    if most > len(opted_in):
        raise SettingsError(
            f"serving.cohorts asks for {most} means, {len(opted_in)} users have opted in: ask for "
            "fewer, or raise serving.opted_in_share"
        )
