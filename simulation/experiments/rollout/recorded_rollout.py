"""A rollout into a run folder of its own: the log, the days, the page. Run again, it goes on.

RUN/rollout/                      a run folder inside of a comparison's: its package, tried
  rollout/                        log, setup and days (`rollout_run`)
  report/rollout.html, .json      the page
"""

import shutil
from pathlib import Path

from clients.device_package import DevicePackage
from models.errors import DataError
from models.progress import Progress, silent
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import AppSettings, load_app
from simulation.experiments.rollout.rollout_plan import load_rollout
from simulation.experiments.rollout.rollout_report import report_of
from simulation.experiments.rollout.rollout_run import (
    Told,
    refuse_another,
    setup_of,
    try_rollout,
)
from simulation.experiments.rollout.scenarios import Scenario, load_scenario
from simulation.reporting.rollout_html import PAGE_NAME, write_rollout_page
from simulation.reporting.rollout_model import RolloutReport
from simulation.run_folder import RunFolder, git_commit, running
from simulation.world.devices import WorldSettings

LOGS = "rollout"
"""Of a run folder: where log, setup and days are."""

FEWEST_DEVICES = 1000
OWN_PLAN, OWN_SCENARIO = "standard", "healthy"
OWN_MARGIN = 0.1
"""Clicks that may be lost when a run's own package is tried: 20,000 devices can show that much, the
plan's 2 % take a fleet of hundreds of thousands."""


def record_rollout(
    run: RunFolder,
    plan: RolloutPlan,
    scenario: Scenario,
    app: AppSettings,
    world: WorldSettings,
    num_devices: int,
    seed: int,
    command: str,
    *,
    workers: int = 1,
    progress: Progress = silent,
    told: Told = lambda before: None,
) -> RolloutReport:
    """Try a release on a fleet, or go on with it, and draw its page.

    Args:
        run: the run folder of this rollout.
        plan: of the rollout.
        scenario: what is wrong with the release.
        app: how people use the app.
        world: tiers, networks, habits.
        num_devices: of the fleet.
        seed: of all draws.
        command: the command line that asks for it.
        workers: threads.
        progress: told about days.
        told: what is known before the start, before anything is decided.

    Raises:
        DataError: if the folder's log is damaged, or of another rollout.
        SettingsError: if plan or scenario do not fit the fleet.
    """
    before, rows, decisions = try_rollout(
        run.path / LOGS,
        plan,
        scenario,
        app,
        world,
        num_devices,
        seed,
        workers=workers,
        progress=progress,
        told=told,
    )
    report = report_of(
        plan, scenario, app, num_devices, seed, before, rows, decisions, command, git_commit()
    )
    write_rollout_page(report, run.report / PAGE_NAME)
    return report


def roll_out_package(
    run: RunFolder, num_devices: int, command: str, progress: Progress = silent
) -> RolloutReport:
    """Try the package of a finished comparison as a healthy release, in `RUN/rollout`.

    Its bytes are the package's, its fleet has the run's tiers, habits and seed. One that was
    stopped goes on; one with another setup is of an earlier run in this folder, and goes.

    Args:
        run: the comparison.
        num_devices: of the fleet.
        command: the command line that asks for it.
        progress: told about days.

    Raises:
        DataError: if the package or the log is damaged.
        SettingsError: if nobody in so small a fleet uses the app.
    """
    settings, size = run.settings(), DevicePackage.open(run.package).num_bytes
    plan, _ = load_rollout(OWN_PLAN, [f"ship.metric.margin={OWN_MARGIN}"])
    app, _ = load_app([f"delivery.release_bytes={size}"])
    scenario = load_scenario(OWN_SCENARIO)
    setup = setup_of(plan, scenario, app, settings.world, num_devices, settings.seed)
    if _holds_another(run.rollout / LOGS, setup):
        shutil.rmtree(run.rollout)
    with running(run.rollout, "rollout", settings, command) as inner:
        return record_rollout(
            inner,
            plan,
            scenario,
            app,
            settings.world,
            num_devices,
            settings.seed,
            command,
            workers=settings.workers,
            progress=progress,
        )


def _holds_another(folder: Path, setup: dict[str, object]) -> bool:
    try:
        refuse_another(folder, setup)
    except DataError:
        return True
    return False
