"""A trade-off from its plan to its rows: the start once, then one arm after another."""

from collections.abc import Iterator
from pathlib import Path

from models.progress import Progress, silent
from models.threads import fixed_threads
from simulation.engines.watch import watched
from simulation.experiments.tradeoff.tradeoff_arm import Stage, TradeoffRow, key_of, read_row
from simulation.experiments.tradeoff.tradeoff_plan import TradeoffPlan
from simulation.experiments.training import prepare_start
from simulation.run_folder import RunFolder
from simulation.settings import Settings, load_settings


def base_settings(plan: TradeoffPlan) -> Settings:
    """What all arms share."""
    return load_settings(plan.preset, plan.overrides)


def run_tradeoff(
    run: RunFolder, plan: TradeoffPlan, cache: Path, progress: Progress = silent
) -> Iterator[TradeoffRow]:
    """Run, judge and attack each arm that has no row yet; yield all rows in order.

    Args:
        run: the run folder. Killed, the same call goes on where it was.
        plan: of the trade-off.
        cache: the cache folder.
        progress: told about everything that takes long.
    """
    settings = base_settings(plan)
    materials, static = prepare_start(run, settings, cache, progress)
    stage = Stage(run, plan, materials, static)
    for arm in plan.arms:
        own = load_settings(plan.preset, [*plan.overrides, *arm.overrides])
        if (kept := read_row(stage.row_file(arm), key_of(own, plan))) is not None:
            yield kept
            continue
        folder, rounds = run.arm(f"tradeoff-{arm.name}"), own.federation.rounds
        with watched(folder, rounds, f"rounds of {arm.name}", progress), fixed_threads(1):
            yield stage.row(arm, own)
