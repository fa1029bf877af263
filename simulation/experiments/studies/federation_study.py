"""How much federation? Cohort size, local epochs, rounds, dropouts, and who gets to report.

Every cell is a federated training from the same static start (the opted-in few), judged by full
ranking of each user's held-out item. `study.dropout_factor` multiplies the dropouts of all tiers;
`study.local_steps` trains so many epochs on a phone, at rates divided by as many: whole steps,
repeated, diverge (docs/sharp-edges.md).

Heterogeneity is that of real users and of phones: histories are never dealt out anew, since a
recommender learns from just what makes them differ. What can be changed is who reports: a short
deadline leaves slow phones out, a short pause between rounds keeps to the phones of one night.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clients.local_evaluation import Ranks
from models.errors import SettingsError
from simulation.experiments.evaluation import Referee, federated_ranks
from simulation.experiments.federation import FederatedArm
from simulation.experiments.studies.groundwork import Groundwork
from simulation.experiments.studies.study_cells import Measured, Slice
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import against_reference, seeds_and_users
from simulation.experiments.studies.study_summary import StudySummary
from simulation.settings import Settings

ALL = "all"


class FederationOptions(BaseModel):
    """What a cell of this kind may change beside the settings of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dropout_factor: float = Field(ge=0, description="times the dropout of each tier")
    local_steps: int = Field(
        ge=1, le=100, description="times the local epochs; the local rates are divided by it"
    )


def with_dropouts(settings: Settings, factor: float) -> Settings:
    """Settings whose tiers drop out `factor` times as often.

    Raises:
        SettingsError: if a tier would drop out more often than its bound allows.
    """
    tree = settings.model_dump(mode="json")
    for tier in tree["world"]["tiers"]:
        tier["dropout"] *= factor
        if not tier["dropout"] < 1:
            raise SettingsError(
                f"study.dropout_factor is {factor}: tier {tier['name']} would drop out with "
                f"chance {tier['dropout']:.2f}; ask for less"
            )
    return Settings.model_validate(tree)


def with_local_steps(settings: Settings, steps: int) -> Settings:
    """Settings whose phones take `steps` times as many steps, each so much shorter."""
    training = settings.federation.training
    changed = {
        "local_epochs": training.local_epochs * steps,
        "rate": training.rate / steps,
        "personal_rate": training.personal_rate / steps,
    }
    tree = settings.model_dump(mode="json")
    tree["federation"]["training"] |= changed
    return Settings.model_validate(tree)


def check(settings: Settings, options: FederationOptions) -> None:
    """Refuse synthetic devices, who have no held-out item of a user, and too many dropouts."""
    with_dropouts(settings, options.dropout_factor)
    refuse_synthetic(settings)


def refuse_synthetic(settings: Settings) -> None:
    """Studies rank for real users.

    Raises:
        SettingsError: if the population is synthetic.
    """
    if settings.population.devices:
        raise SettingsError(
            f"population.devices is {settings.population.devices:,}: a study ranks for real users; "
            "leave it at 0"
        )


def measure(task: CellTask) -> Measured:
    """Train one federated arm and judge it."""
    options: FederationOptions = task.options
    settings = with_local_steps(task.settings, options.local_steps)
    settings = with_dropouts(settings, options.dropout_factor)
    ground = task.on
    arm = ground.federated(settings)
    referee = referee_of(ground, settings)
    return Measured(by_tier(ground, referee.users, federated_ranks(referee, arm)), figures_of(arm))


def referee_of(ground: Groundwork, settings: Settings) -> Referee:
    """Ranks the held-out items of a groundwork."""
    return Referee.for_split(ground.materials.split, ground.materials.pool, settings.seed)


def by_tier(ground: Groundwork, users: np.ndarray, ranks: Ranks) -> tuple[Slice, ...]:
    """Metrics of all users under both protocols, and of each tier's under full ranking.

    Args:
        ground: of the cell.
        users: (B,) who was ranked for, ascending.
        ranks: theirs.
    """
    slices = [
        Slice(ALL, "full", users, ranks.values("full")),
        Slice(ALL, "sampled-99", users, ranks.values("sampled-99")),
    ]
    tier_of = ground.materials.world.tier[users]
    full = ranks.values("full")
    for index, name in enumerate(ground.materials.world.manifest.tiers):
        inside = tier_of == index
        if inside.sum() >= 2:
            own = {metric: values[inside] for metric, values in full.items()}
            slices.append(Slice(f"tier {name}", "full", users[inside], own))
    return tuple(slices)


def figures_of(arm: FederatedArm) -> dict[str, float]:
    """Rounds, reports and bytes of a federated arm."""
    rows = arm.history().rows()[1:]
    reported = sum(row["num_reported"] for row in rows)
    return {
        "rounds": float(len(rows)),
        "reports": float(reported),
        "invited": float(sum(row["num_invited"] for row in rows)),
        "bytes up": float(sum(row["bytes_up"] for row in rows)),
        "bytes down": float(sum(row["bytes_down"] for row in rows)),
    }


def read(summary: StudySummary) -> list[str]:
    """What makes a difference, and what does not."""
    return [*against_reference(summary, ALL), seeds_and_users(summary, ALL)]


KIND = StudyKind(options=FederationOptions, measure=measure, read=read, check=check)
