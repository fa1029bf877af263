"""A rollout in a folder: its log, its days as a table, its report. Run again, it goes on.

    FOLDER/decisions.jsonl   the log (server.rollout.log), only ever appended to
    FOLDER/setup.json        plan, scenario, app, devices, seed
    FOLDER/days.parquet      a row a day

What devices do is a pure function of the settings and the decisions, so nothing of the fleet is
kept: run again, the days are lived through anew, and every decision must be the one that the log
has, to the last digit of the evidence. Where the log ends, new lines begin. So a killed rollout
goes on, and a finished one is checked.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.errors import DataError
from models.files import write_json, write_whole
from models.progress import Progress, silent
from server.rollout.decisions import Decision
from server.rollout.log import DecisionLog
from server.rollout.membership import Membership
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import AppSettings
from simulation.experiments.rollout.live_rollout import FIRST_SEQUENCE
from simulation.experiments.rollout.rollout_outlook import outlook
from simulation.experiments.rollout.scenarios import Scenario
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.experiments.rollout.virtual_rollout import roll_out
from simulation.reporting.rollout_model import Before, DayRow
from simulation.world.devices import WorldSettings

LOG, SETUP, DAYS = "decisions.jsonl", "setup.json", "days.parquet"
Told = Callable[[Before], None]


class Recorder:
    """Writes decisions to a log, or checks them against the lines that it has already."""

    def __init__(self, path: Path, plan: RolloutPlan, tiers: tuple[str, ...]) -> None:
        if path.exists():
            self.log = DecisionLog.open(path)
            if (self.log.plan, self.log.tiers) != (plan, tiers):
                raise DataError(f"{path} is the log of another plan or fleet: name another folder")
        else:
            self.log = DecisionLog.create(path, plan, tiers, FIRST_SEQUENCE)
        self._seen = 0

    def __call__(self, decision: Decision) -> None:
        """Take a decision.

        Raises:
            DataError: if the log has another one in its place.
        """
        known = self.log.decisions
        if self._seen == len(known):
            self.log = self.log.append(decision)
        elif known[self._seen] != decision:
            raise DataError(
                f"{self.log.path}: decision {self._seen + 1} is '{known[self._seen].action}' on "
                f"day {known[self._seen].day}, from other evidence than this run has "
                f"('{decision.action}' on day {decision.day}): it was made with other devices, "
                "seed, scenario or settings; name another folder"
            )
        self._seen += 1


def setup_of(
    plan: RolloutPlan,
    scenario: Scenario,
    app: AppSettings,
    world: WorldSettings,
    num_devices: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that a rollout depends on, as JSON has it."""
    parts = {"plan": plan, "scenario": scenario, "app": app, "world": world}
    setup: dict[str, Any] = {name: part.model_dump(mode="json") for name, part in parts.items()}
    return {**setup, "devices": num_devices, "seed": seed}


def refuse_another(folder: Path, setup: dict[str, Any]) -> None:
    """Refuse a folder with another rollout before anything in it is touched.

    Raises:
        DataError: if it holds one, or its setup cannot be read.
    """
    path = folder / SETUP
    if not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in setup.items() if there[name] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot read {path}: name another folder") from error
    if changed:
        raise DataError(
            f"{folder} holds a rollout with another {changed[0]}: name another folder to try this"
        )


def try_rollout(
    folder: Path,
    plan: RolloutPlan,
    scenario: Scenario,
    app: AppSettings,
    world: WorldSettings,
    num_devices: int,
    seed: int,
    *,
    workers: int = 1,
    progress: Progress = silent,
    told: Told = lambda before: None,
) -> tuple[Before, list[DayRow], tuple[Decision, ...]]:
    """Try a release on a fleet, or go on with it.

    Args:
        folder: of this rollout, made if it is not there.
        plan: of the rollout.
        scenario: what is wrong with the release.
        app: how people use the app.
        world: tiers, networks, habits.
        num_devices: of the fleet.
        seed: of all draws.
        workers: threads.
        progress: told about days.
        told: what is known before the start, before anything is decided.

    Returns:
        what was known before, the days, and all decisions.

    Raises:
        DataError: if the folder's log is damaged, or of another rollout.
        SettingsError: if plan or scenario do not fit the fleet.
    """
    setup = setup_of(plan, scenario, app, world, num_devices, seed)
    refuse_another(folder, setup)
    progress("drawing the fleet", 0, 1)
    fleet = VirtualFleet.build(num_devices, app, world, seed, workers)
    scenario.strengths(0, fleet.tier_names, fleet.region_names)  # names are checked before a start
    membership = Membership.of(plan, np.arange(num_devices), fleet.attributes())
    progress("drawing the fleet", 1, 1)
    before = outlook(fleet, membership)
    told(before)
    recorder = Recorder(folder / LOG, plan, fleet.tier_names)
    write_json(folder / SETUP, setup)
    rows, most = [], app.operator.most_days
    for row in roll_out(plan, fleet, membership, scenario, recorder, workers=workers):
        rows.append(row)
        progress(f"days · {row.stage}", row.day + 1, most)
    progress("days", most, most)
    write_days(rows, folder / DAYS)
    return before, rows, recorder.log.decisions


def write_days(rows: list[DayRow], path: Path) -> None:
    """Write days as a table, whole or not at all."""
    frame = pd.DataFrame([row.model_dump() for row in rows])
    with write_whole(path) as file:
        frame.to_parquet(file, index=False)
