"""The rounds of one federated recommender, and where every held-out item then stands.

    histories without the last two items of each user
    round   cohort -> a TrainTask for each node -> TrainReply -> sum -> mean -> server optimizer
    now and then   scores of all phones -> rank of the test item and of the validation item

The messages, the phones' code and the server's optimizer are those of a federated run; only the
grid between them is left out, for speed, and a test holds the rounds to those of the Flower apps.
Nodes are shards of phones, replies are sums: their number changes no figure but by rounding.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.local_evaluation import Ranks, rank_held_out
from clients.personal import PersonalStore
from clients.protocol.messages import LocalTraining, TrainReply, TrainTask
from clients.recommenders.devices import RatingDevices
from clients.recommenders.evaluation import scored_blocks
from clients.recommenders.training import train_cohort
from models.errors import SettingsError
from models.histories import Histories
from models.progress import Progress, silent
from models.recommenders.methods import method_of
from models.seeds import generator
from models.threads import fixed_threads
from server.aggregation import server_optimizer
from simulation.data.interactions import Interactions
from simulation.data.splits import SplitSettings, split
from simulation.engines.hardware import block_bytes
from simulation.experiments.federated_recommenders.settings import RecommenderRun
from simulation.world.build import pooled_histories

TEST, VALIDATION = 0, 1


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What the phones learn from, and the two items of each that they do not.

    Attributes:
        histories: training events of U users: all but their last two.
        held_out: (U, 2) int32, the test and the validation item, -1 where there is none.
        num_items: N.
        rule: what was done, one sentence for people.
    """

    histories: Histories
    held_out: NDArray[np.int32]
    num_items: int
    rule: str

    @classmethod
    def of(cls, interactions: Interactions, settings: SplitSettings, seed: int) -> "HeldBack":
        """Hold the test item back, then the validation item among what is left."""
        test = split(interactions, settings, seed)
        other = settings.model_copy(update={"target": "validation"})
        validation = split(interactions, other, seed)
        both = np.stack([test.held_out, validation.held_out], axis=1).astype(np.int32)
        histories = pooled_histories(validation)
        rule = f"{test.rule}; the one before it, for validation, is no part of training either"
        return cls(histories, both, interactions.num_items, rule)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Where the held-out items stand after a round.

    Attributes:
        round_number: rounds done.
        test: (U',) users with a test item: ranks.
        validation: the same for the validation item.
        loss: mean loss of the phones in that round, NaN before the first.
    """

    round_number: int
    test: Ranks
    validation: Ranks
    loss: float


@dataclass(frozen=True, slots=True)
class RecommenderResult:
    """One method, trained once.

    Attributes:
        run: its settings.
        seed: of all draws.
        evaluated: in order of rounds, round 0 first.
        parameters: (P,) float32 shared parameters after the last round.
    """

    run: RecommenderRun
    seed: int
    evaluated: tuple[Evaluated, ...]
    parameters: NDArray[np.float32]

    @property
    def last(self) -> Evaluated:
        """After the last round."""
        return self.evaluated[-1]

    @property
    def chosen(self) -> Evaluated:
        """After the last round with the best full HR@10 on validation items: ours to report."""
        return self._best("validation", "full")

    @property
    def chosen_as_published(self) -> Evaluated:
        """The last round with the best validation HR@10 among 99 negatives: the authors' choice."""
        return self._best("validation", "sampled-99")

    @property
    def best_on_test(self) -> Evaluated:
        """The round with the best test HR@10 among 99: a habit, and no honest figure."""
        return self._best("test", "sampled-99")

    def _best(self, target: str, protocol: str) -> Evaluated:
        hits = [getattr(e, target).values(protocol)["hr@10"].mean() for e in self.evaluated]
        return self.evaluated[len(hits) - 1 - int(np.argmax(hits[::-1]))]


def run_recommender(
    run: RecommenderRun, parts: HeldBack, seed: int, progress: Progress = silent
) -> RecommenderResult:
    """Train a federated recommender and rank the held-out items on the way.

    Args:
        run: method, rounds, local training and server optimizer.
        parts: what the phones learn from, and what they are judged by.
        seed: of all draws.
        progress: told about rounds.

    Raises:
        SettingsError: if there are fewer phones than nodes.
        EngineError: if an update is not finite.
    """
    if run.num_nodes > parts.histories.num_users:
        raise SettingsError(
            f"num_nodes is {run.num_nodes}, there are {parts.histories.num_users} phones, and a "
            f"node holds one or more: ask for {parts.histories.num_users} or fewer"
        )
    with tempfile.TemporaryDirectory(prefix="pocketfleet-phones-") as folder, fixed_threads(1):
        return Rounds.prepared(run, parts, seed, Path(folder)).played(progress)


@dataclass(frozen=True, slots=True)
class Rounds:
    """A run that is ready to be played: `run_recommender` does both.

    Attributes:
        run: the settings.
        training: with its block size settled.
        parts: histories and held-out items.
        seed: of all draws.
        nodes: the devices of each node.
    """

    run: RecommenderRun
    training: LocalTraining
    parts: HeldBack
    seed: int
    nodes: tuple[RatingDevices, ...]

    @classmethod
    def prepared(cls, run: RecommenderRun, parts: HeldBack, seed: int, folder: Path) -> "Rounds":
        """Deal the phones out to nodes, with files of their own for what stays on them."""
        population, columns = parts.histories.num_users, method_of(run.method).personal_size
        PersonalStore.create(folder / "personal.npy", population, max(1, columns))
        store = PersonalStore.open(folder / "personal.npy", 0, population)
        size = run.training.block_bytes or block_bytes()
        nodes = tuple(
            RatingDevices.partition(
                parts.histories, parts.held_out, parts.num_items, store, node, run.num_nodes
            )
            for node in range(run.num_nodes)
        )
        training = run.training.model_copy(update={"block_bytes": size})
        return cls(run, training, parts, seed, nodes)

    def played(self, progress: Progress) -> RecommenderResult:
        """All rounds, from the start."""
        run, method = self.run, method_of(self.run.method)
        optimizer = server_optimizer(run.optimizer, run.training.proximal)
        layout = method.layout(self.parts.num_items)
        begin = layout.flatten(method.start(self.parts.num_items, self.seed))
        state = optimizer.start(begin.numpy())
        evaluated = [self.evaluate(state.as_sent(), 0, float("nan"))]
        for round_number in range(1, run.rounds + 1):
            reply = self.train(state.as_sent(), round_number)
            share = reply.num_devices / self.parts.histories.num_users
            state = optimizer.step(state, reply.update_sum / max(1, reply.num_devices), share)
            if round_number % run.evaluate_every == 0 or round_number == run.rounds:
                loss = (reply.loss_sum or 0.0) / max(1, reply.num_devices)
                evaluated.append(self.evaluate(state.as_sent(), round_number, loss))
            progress(f"rounds of {run.title}", round_number, run.rounds)
        return RecommenderResult(run, self.seed, tuple(evaluated), state.as_sent())

    def cohort(self, round_number: int) -> NDArray[np.int64]:
        """The phones of a round, ascending."""
        population = self.parts.histories.num_users
        size = max(1, round(self.run.cohort_share * population))
        if size == population:
            return np.arange(population)
        rng = generator(self.seed, "cohort", round_number)
        return np.sort(rng.choice(population, size, replace=False, shuffle=False))

    def train(self, parameters: NDArray[np.float32], round_number: int) -> TrainReply:
        """A round: the sum over all nodes, in order of partition."""
        cohort, total = self.cohort(round_number), TrainReply.nothing(len(parameters))
        for node in self.nodes:
            end = node.first_device + node.histories.num_users
            mine = cohort[(cohort >= node.first_device) & (cohort < end)]
            if len(mine):
                task = TrainTask(parameters, mine, round_number, self.training)
                total = total + train_cohort(
                    node, task, self.run.method, self.seed, noise_seed=self.seed
                )
        return total

    def evaluate(self, parameters: NDArray[np.float32], rounds_done: int, loss: float) -> Evaluated:
        """Rank both held-out items of every phone, in order of device ids."""
        found: tuple[list[Ranks], list[Ranks]] = ([], [])
        order: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
        for node in self.nodes:
            rows = np.arange(node.histories.num_users)
            for block, scores in scored_blocks(
                node, rows, parameters, rounds_done, self.training, self.run.method, self.seed
            ):
                ids = block + node.first_device
                for target in (TEST, VALIDATION):
                    ranks, users = self._ranks(scores, ids, target)
                    found[target].append(ranks)
                    order[target].append(users)
        test, validation = (
            _in_order(ranks, users) for ranks, users in zip(found, order, strict=True)
        )
        return Evaluated(rounds_done, test, validation, loss)

    def _ranks(
        self, scores: NDArray[np.float32], ids: NDArray[np.int64], target: int
    ) -> tuple[Ranks, NDArray[np.int64]]:
        """Rank one held-out item of some phones.

        A test item competes with what its user has never chosen, validation item included in
        "chosen"; when the validation item is ranked, the test item is one unseen item of many.
        """
        held_out = self.parts.held_out[ids]
        has = held_out[:, target] >= 0
        ids, scores, held_out = ids[has], scores[has], held_out[has]
        seen = self.parts.histories.seen(ids, self.parts.num_items)
        if target == TEST:
            known = held_out[:, VALIDATION] >= 0
            seen[np.flatnonzero(known), held_out[known, VALIDATION]] = True
        return rank_held_out(scores, held_out[:, target], seen, ids, self.seed), ids


def _in_order(ranks: list[Ranks], users: list[NDArray[np.int64]]) -> Ranks:
    """Ranks of all phones, by device id."""
    order = np.argsort(np.concatenate(users))
    return Ranks(
        *(
            np.concatenate([getattr(each, name) for each in ranks])[order]
            for name in ("full", "num_negatives", "sampled", "num_sampled")
        )
    )
