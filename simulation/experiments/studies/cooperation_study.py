"""Device-cloud co-operation: who answers a request, the phone or the server it may ask?

    phone scores ── unsure? ──no──> the phone's list
                       └─────yes──> history up, 10 items down: the server teacher's list

`study.share` of the requests go to the server: those of which the phone is least sure (`margin`:
probability of its first item minus that of its second; `entropy`: of its softmax over the items
that the user has not chosen), or as many at random, which is the control: what confidence adds is
what it has above that.

The share is cut at the quantile of the very requests that are judged. A phone would know the cut
from earlier ones. Both recommenders see a user's whole training history; the server's has, besides,
learnt on everybody's, which is what it costs to have it at all. Private texts stay on the phone.

Times are modelled, not measured: computing at the speed of the tier, and its network, one
connection a request; the server answers in the time of the measuring machine, without a queue.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.local_evaluation import score_devices
from models.seeds import uniforms
from simulation.experiments.arms import TEACHER
from simulation.experiments.evaluation import Referee
from simulation.experiments.studies.federation_study import (
    ALL,
    by_tier,
    referee_of,
    refuse_synthetic,
)
from simulation.experiments.studies.groundwork import Groundwork
from simulation.experiments.studies.study_cells import Measured
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import (
    against_reference,
    points,
    seeds_and_users,
)
from simulation.experiments.studies.study_summary import StudySummary
from simulation.settings import Settings
from simulation.world.network import Network

ITEMS_BACK = 10
BYTES_PER_ITEM = 4
"""An item id; what HTTP adds is left out."""

ASKED = "ask, %"

Rule = Literal["margin", "entropy", "random"]


class CooperationOptions(BaseModel):
    """Who asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(ge=0, le=1, description="of the requests that go to the server")
    rule: Rule = Field(description="which ones: those of the least confidence, or any")


def check(settings: Settings, options: CooperationOptions) -> None:
    """Refuse synthetic devices."""
    refuse_synthetic(settings)


def measure(task: CellTask) -> Measured:
    """Let phones answer, and the server for a share of the requests."""
    ground, options, settings = task.on, task.options, task.settings
    referee = referee_of(ground, settings)
    arm = ground.federated(settings)
    phone = score_devices(arm.shard(), referee.users, arm.parameters, arm.job.recommender)
    server = ground.job(TEACHER, settings).scores(ground.trained(TEACHER, settings), referee.users)
    sureness = confidence(phone, referee.seen, options.rule, settings.seed, referee.users)
    asked = least_sure(sureness, options.share)
    ranks = referee.ranks(np.where(asked[:, None], server, phone))
    figures = _costs(ground, referee, asked, settings)
    return Measured(by_tier(ground, referee.users, ranks), figures)


def confidence(
    scores: NDArray[np.float32],
    seen: NDArray[np.bool_],
    rule: Rule,
    seed: int,
    users: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How sure a phone is of its own list, (B,); higher is surer.

    Args:
        scores: (B, N) of the phone.
        seen: (B, N) items that do not compete.
        rule: "margin", "entropy" (its negative) or "random".
        seed: of the draws of "random".
        users: (B,) their address.

    >>> scores, seen = np.array([[2.0, 1.9, 0.0], [3.0, 0.0, 0.0]]), np.zeros((2, 3), bool)
    >>> bool(np.diff(confidence(scores, seen, "margin", 0, np.arange(2)))[0] > 0)
    True
    """
    if rule == "random":
        return uniforms(seed, "asks the server", users)
    chances = softmax_of_unseen(scores, seen)
    if rule == "entropy":
        return np.asarray((chances * np.log(np.maximum(chances, 1e-300))).sum(axis=1))
    best = -np.partition(-chances, 1, axis=1)[:, :2]
    return np.asarray(best[:, 0] - best[:, 1])


def softmax_of_unseen(scores: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities (B, N) over the items that were not seen; 0 for the others."""
    logits = np.where(seen, -np.inf, np.asarray(scores, np.float64))
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def least_sure(sureness: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """The share of the requests with the lowest confidence, the first ones among equals.

    >>> least_sure(np.array([0.3, 0.1, 0.2, 0.9]), 0.5).tolist()
    [False, True, True, False]
    """
    asked = np.zeros(len(sureness), dtype=np.bool_)
    asked[np.argsort(sureness, kind="stable")[: round(share * len(sureness))]] = True
    return asked


def _costs(
    ground: Groundwork, referee: Referee, asked: NDArray[np.bool_], settings: Settings
) -> dict[str, float]:
    """Means over requests: time, bytes, and what leaves the phones."""
    tier = ground.materials.world.tier[referee.users].astype(np.int64)
    lengths = ground.materials.pool.lengths()[referee.users]
    items_up = np.minimum(lengths, settings.recommender.max_history)
    seconds = request_seconds(settings, referee.users, tier, asked, items_up * BYTES_PER_ITEM)
    up = np.where(asked, items_up * BYTES_PER_ITEM, 0)
    down = np.where(asked, ITEMS_BACK * BYTES_PER_ITEM, 0)
    return {
        ASKED: float(100 * asked.mean()),
        "mean ms": float(1e3 * seconds.mean()),
        "p95 ms": float(1e3 * np.quantile(seconds, 0.95)),
        "bytes up a request": float(up.mean()),
        "bytes down a request": float(down.mean()),
        "events that leave": float(np.where(asked, items_up, 0).sum()),
    }


def request_seconds(
    settings: Settings,
    users: NDArray[np.int64],
    tier: NDArray[np.int64],
    asked: NDArray[np.bool_],
    bytes_up: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Modelled time of each request, (B,), on the phone of each user.

    A phone always ranks first: only then it knows how sure it is. A round trip is added to the
    transfers of those who ask.

    Args:
        settings: `world` and the seed count.
        users: (B,).
        tier: (B,) of each.
        asked: (B,) whether the server answers.
        bytes_up: (B,) that asking sends.
    """
    world = settings.world
    links = tuple(kind.link for kind in world.tiers)
    speeds = np.asarray([kind.speed for kind in world.tiers])[tier]
    own_s = (world.reference.encode_s + world.reference.rank_s) / speeds
    network = Network(world.network, links, settings.seed)
    round_trip_s = np.asarray([link.round_trip_ms for link in links])[tier] / 1e3
    down_bytes = float(ITEMS_BACK * BYTES_PER_ITEM)
    # The connection is opened once: the answer comes back on it.
    answer = Network(
        world.network.model_copy(update={"opening_round_trips": 0.0}), links, settings.seed
    )
    ask_s = (
        network.upload_s(users, tier, bytes_up.astype(np.float64), occasion=0)
        + answer.download_s(users, tier, down_bytes, occasion=0)
        + round_trip_s
        + world.reference.rank_s
    )
    return np.asarray(own_s + np.where(asked, ask_s, 0.0))


def read(summary: StudySummary) -> list[str]:
    """Whether asking helps, and whether confidence chooses better than chance."""
    said = against_reference(summary, ALL)
    for row in summary.rows:
        rule, _, share = row.variant.arm.partition("-")
        control = [other for other in summary.rows if other.variant.arm == f"random-{share}"]
        if rule == "random" or not share or not control:
            continue
        found = summary.contrast(row.variant.name, control[0].variant.name, ALL)
        better = (
            "chooses better than chance"
            if found.low > 0
            else "chooses worse than chance"
            if found.high < 0
            else "cannot be told apart from chance"
        )
        said.append(f"{row.variant.title} {better} ({points(found)}).")
    return [*said, _times(summary), seeds_and_users(summary, ALL)]


def _times(summary: StudySummary) -> str:
    """What asking costs in time, between the row that asks least and the one that asks most."""
    few, *_, most = sorted(summary.rows, key=lambda row: row.figures[ASKED])
    return (
        f"A request takes {few.figures['mean ms']:.1f} ms (mean, modelled) where "
        f"{few.figures[ASKED]:.0f} % ask and {most.figures['mean ms']:.1f} ms where "
        f"{most.figures[ASKED]:.0f} % do; {most.figures['events that leave']:,.0f} events leave "
        "their phones for it."
    )


KIND = StudyKind(options=CooperationOptions, measure=measure, read=read, check=check)
