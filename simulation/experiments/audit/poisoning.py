"""Devices that lie, against ways to combine updates.

Some devices of each cohort belong to an attacker. They know the parameters that were sent, how the
others train, and each other:

    sign flip    their own update turned round, made `boost` times as long
    scaled       their own update, `boost` times as long: their taste for everybody
    promotion    one update for all of them, towards an item that nobody asked for: its bias, and
                 its row along the mean of what users like; `boost` clip norms long

A round is a cohort of single updates (B, P), combined by the mean, the mean of clipped ones (what
the product does), the trimmed mean, the median, Krum or Multi-Krum. The last four look at single
updates, which a cloud that gets sums never sees; here the simulator shows them. Clipping is done by
who adds up, not by the liar.

An adaptive optimizer (FedAdam) takes each coordinate by about its own size: it shortens a long lie
and lengthens a short one. So the same is tried under plain averaging.

Figures: exposure, the share of users who get the promoted item among their first ten (those who
have not chosen it), and nDCG@10 on the held-out items. Devices that lie are users too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.local_evaluation import rank_held_out, score_devices
from clients.shard import DeviceShard
from models.errors import SettingsError
from models.progress import Progress, silent
from models.recommender import item_vectors, share
from models.seeds import generator
from server.aggregation import server_optimizer
from server.robust_aggregation import (
    Combine,
    coordinate_median,
    krum,
    mean,
    multi_krum,
    trimmed_mean,
)
from simulation.experiments.audit.findings import Findings, Row, with_interval
from simulation.experiments.audit.protections import clipped
from simulation.experiments.audit.target import (
    Target,
    Vector,
    all_events,
    popularity,
    trained_blocks,
)

TOP = 10
CLIPPED_MEAN = "clipped mean"
HONEST, SIGN_FLIP, SCALED, PROMOTION = "nobody lies", "sign flip", "scaled", "promotion"
USERS_AT_A_TIME = 256


class PoisonAttack(BaseModel):
    """Sizes of the attack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, lt=0.5, description="of the devices of a cohort that lie")
    boost: float = Field(ge=1, description="how much longer a lie is")
    rounds: int = Field(ge=1, description="of each run")
    cohort: int = Field(ge=5, description="devices in a round")
    trimmed: float = Field(gt=0, lt=0.5, description="share left out at each end")
    unpopular: float = Field(
        ge=0, le=1, description="the promoted item's place among all by popularity; 0: the least"
    )
    combinations: tuple[str, ...] = Field(description="mean, clipped mean, trimmed mean, ...")
    lies: tuple[str, ...] = Field(description="sign flip, scaled, promotion; nobody lies too")
    steps: tuple[Literal["run", "fedavg"], ...] = Field(
        description="the server's: the run's own optimizer, or plain averaging at rate 1"
    )


@dataclass(frozen=True, slots=True)
class Defence:
    """How a round's updates become one.

    Attributes:
        name: of the combination.
        combine: of rows (B, P).
        clips: whether the updates are clipped first, by who adds up.
    """

    name: str
    combine: Combine
    clips: bool


def defences(attack: PoisonAttack) -> list[Defence]:
    """The combinations that the settings name; f, where one is wanted, is as many as do lie.

    Raises:
        SettingsError: if a name is unknown.
    """
    liars = _num_liars(attack)
    known = {
        "mean": Defence("mean", mean, clips=False),
        CLIPPED_MEAN: Defence(CLIPPED_MEAN, mean, clips=True),
        "trimmed mean": Defence(
            "trimmed mean", partial(trimmed_mean, share=attack.trimmed), clips=True
        ),
        "median": Defence("median", coordinate_median, clips=True),
        "Krum": Defence("Krum", partial(krum, num_malicious=liars), clips=True),
        "Multi-Krum": Defence(
            "Multi-Krum",
            partial(multi_krum, num_malicious=liars, num_kept=attack.cohort - liars),
            clips=True,
        ),
    }
    return list(_chosen("combinations", attack.combinations, known).values())


Lie = Callable[[NDArray[np.float64], Vector], NDArray[np.float64]]
"""Honest updates (L, P) of the liars and parameters as sent -> what they send (L, P)."""


def lies(target: Target, attack: PoisonAttack, item: int) -> dict[str, Lie]:
    """The attacks, by name.

    Args:
        target: the run.
        attack: sizes.
        item: that is promoted.

    Raises:
        SettingsError: if a name is unknown.
    """
    length = attack.boost * target.cloud.federation.training.clip_norm

    def promoted(honest: NDArray[np.float64], parameters: Vector) -> NDArray[np.float64]:
        return np.tile(length * promotion(target, parameters, item), (len(honest), 1))

    known: dict[str, Lie] = {
        HONEST: lambda honest, _: honest,
        SIGN_FLIP: lambda honest, _: -attack.boost * honest,
        SCALED: lambda honest, _: attack.boost * honest,
        PROMOTION: promoted,
    }
    return _chosen("lies", attack.lies, known)


def promotion(target: Target, parameters: Vector, item: int) -> NDArray[np.float64]:
    """The direction (P,) of length 1 that lifts an item for everybody, from public knowledge.

    Half of its square goes into the item's bias, half into its row, along the mean of the item
    vectors weighted by how likely the model holds each: what users like on the whole.
    """
    named, shard = target.named(parameters), target.shard()
    items = item_vectors(share(named), torch.from_numpy(shard.text))[0]
    liked = (named["item_bias"].softmax(dim=0) @ items).numpy()
    direction = {name: torch.zeros_like(named[name]) for name in target.trained.names}
    direction["item_bias"][item] = 1.0
    direction["id_residual"][item] = torch.from_numpy(liked / max(np.linalg.norm(liked), 1e-12))
    flat = target.trained.flatten(direction).double().numpy()
    return np.asarray(flat / np.linalg.norm(flat))


def play_with_liars(
    target: Target, attack: PoisonAttack, lie: Lie, defence: Defence
) -> tuple[Vector, NDArray[np.float32]]:
    """Federate some rounds with liars in each; return final parameters (P,) and tastes (U, dim)."""
    federation, seed = target.cloud.federation, target.devices.seed
    optimizer = server_optimizer(federation.optimizer, federation.training.proximal)
    state = optimizer.start(target.initial)
    taste = np.zeros((target.cloud.num_devices, target.devices.recommender.dim), np.float32)
    shard = target.shard(taste)
    for round_number in range(1, attack.rounds + 1):
        parameters = state.as_sent()
        rows = cohort_updates(target, attack, shard, parameters, round_number)
        liars = generator(seed, "liars", round_number).permutation(len(rows))[: _num_liars(attack)]
        rows[liars] = lie(rows[liars], parameters)
        if defence.clips:
            rows = clipped(rows, federation.training.clip_norm)
        update = target.cloud.whole(defence.combine(rows))
        state = optimizer.step(state, update, len(rows) / target.cloud.num_devices)
    return state.as_sent(), taste


def cohort_updates(
    target: Target,
    attack: PoisonAttack,
    shard: DeviceShard,
    parameters: Vector,
    round_number: int,
) -> NDArray[np.float64]:
    """What a round's devices would send, (B, P), not clipped; their tastes are kept in the shard.

    The cohort is drawn at random, the same for every attack and every defence.
    """
    order = generator(target.devices.seed, "attacked cohort", round_number).permutation(
        shard.num_devices
    )
    devices = np.sort(order[: attack.cohort])
    found = np.zeros((len(devices), target.trained.size))
    task = target.task(parameters, round_number)
    for block in trained_blocks(target, shard, devices, task):
        found[np.searchsorted(devices, block.rows)] = block.updates.rows().double().numpy()
        shard.personal.settled[block.rows, : block.taste.shape[1]] = block.taste
    return found


@dataclass(frozen=True, slots=True)
class Harm:
    """What users get in the end.

    Attributes:
        ndcg: (U,) nDCG@10 of the users with a held-out item.
        exposed: (U',) 0 or 1: the promoted item is among the first ten; users who have not chosen
            it.
    """

    ndcg: NDArray[np.float64]
    exposed: NDArray[np.float64]

    @classmethod
    def of(
        cls, target: Target, parameters: Vector, taste: NDArray[np.float32], item: int
    ) -> "Harm":
        """Rank for all users."""
        shard, ndcg, exposed = target.shard(taste), [], []
        for first in range(0, shard.num_devices, USERS_AT_A_TIME):
            rows = np.arange(first, min(first + USERS_AT_A_TIME, shard.num_devices))
            scores = score_devices(shard, rows, parameters, target.devices.recommender)
            # A long lie can drive parameters beyond all numbers: such a model ties everything.
            scores = np.where(np.isfinite(scores), scores, np.float32(0.0))
            histories, held_out = shard.events.cut(rows)
            seen = histories.seen(np.arange(len(rows)), shard.manifest.num_items)
            open_to_it = ~seen[:, item]
            own = scores[:, [item]]
            above = ((scores > own) & ~seen).sum(axis=1)
            tied = ((scores == own) & ~seen).sum(axis=1) - 1  # ties half, as ranks have them
            exposed.append((above + 0.5 * tied < TOP)[open_to_it])
            judged = held_out >= 0
            ranks = rank_held_out(
                scores[judged], held_out[judged], seen[judged], rows[judged], target.devices.seed
            )
            ndcg.append(ranks.values("full")["ndcg@10"])
        return cls(np.concatenate(ndcg), np.concatenate(exposed).astype(np.float64))


def poison(target: Target, attack: PoisonAttack, progress: Progress = silent) -> Findings:
    """Try every lie against every combination.

    Args:
        target: the run whose settings, start and devices are taken.
        attack: sizes.
        progress: told about each run.

    Raises:
        SettingsError: if a combination is unknown, phones do not send the item table, or a cohort
            is larger than the population or too small for Krum, or the run is one of FedDyn.
    """
    _check(target, attack)
    item, seed = promoted_item(target, attack), target.devices.seed
    tried = list(product(attack.steps, defences(attack), lies(target, attack, item).items()))
    rows: list[Row] = []
    for step, defence, (name, lie) in tried:
        progress("runs with liars", len(rows), len(tried))
        attacked = target if step == "run" else with_plain_averaging(target)
        harm = Harm.of(attacked, *play_with_liars(attacked, attack, lie, defence), item)
        rows.append(
            {
                "server's step": attacked.cloud.federation.optimizer.name,
                "combination": defence.name,
                "lie": name,
                **with_interval("exposure", harm.exposed, seed),
                **with_interval("nDCG@10", harm.ndcg, seed),
            }
        )
    progress("runs with liars", len(tried), len(tried))
    return Findings(
        "poison",
        "What can lying devices do to everybody's recommendations?",
        rows,
        (
            f"{_num_liars(attack)} of {attack.cohort} devices of a round lie, {attack.rounds} "
            f"rounds; lies are {attack.boost:g} times as long. All but the plain mean work on "
            "clipped updates.",
            "Trimmed mean, median and Krum look at single updates: sums of devices, and secure "
            "sums above all, exclude them.",
            "Clipping is done by who adds up. Under secure aggregation a phone clips itself, and a "
            "liar does not: a proof of each norm would be needed, which is not built.",
        ),
    )


def with_plain_averaging(target: Target) -> Target:
    """The same run under FedAvg: an adaptive optimizer bounds a step, however long an update is."""
    plain = {"name": "fedavg", "rate": 1.0}
    optimizer = target.cloud.federation.optimizer.model_copy(update=plain)
    federation = target.cloud.federation.model_copy(update={"optimizer": optimizer})
    return replace(target, cloud=target.cloud.model_copy(update={"federation": federation}))


def promoted_item(target: Target, attack: PoisonAttack) -> int:
    """The item that liars push: at the wanted place by popularity."""
    shard = target.shard()
    order = np.argsort(popularity(all_events(shard), shard.manifest.num_items), kind="stable")
    return int(order[round(attack.unpopular * (len(order) - 1))])


Value = TypeVar("Value")


def _chosen(what: str, names: Sequence[str], known: Mapping[str, Value]) -> dict[str, Value]:
    """Those of the known ones that the settings name."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SettingsError(
            f"poison.{what} has {', '.join(unknown)}: choose among {', '.join(known)}"
        )
    return {name: known[name] for name in names}


def _num_liars(attack: PoisonAttack) -> int:
    return max(1, round(attack.share * attack.cohort))


def _check(target: Target, attack: PoisonAttack) -> None:
    if not {"id_residual", "item_bias"} <= set(target.trained.names):
        raise SettingsError(
            f"federation.training.trained is '{target.cloud.federation.training.trained}': phones "
            "do not send the item table, so no item can be promoted; take a run with 'all'"
        )
    if target.cloud.federation.training.dynamic:
        raise SettingsError(
            "federation.training.dynamic is true: what FedDyn keeps on each phone is not simulated "
            "under attack; take a run without it"
        )
    if attack.cohort > target.cloud.num_devices:
        raise SettingsError(
            f"poison.cohort is {attack.cohort}, the run has {target.cloud.num_devices} devices: "
            "ask for no more than these"
        )
