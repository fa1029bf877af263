"""A study of nothing: made-up users on made-up data, quick enough to be run many times.

Each user's value is a seeded draw, plus `study.gain`. Workers import this module by its name.
"""

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.seeds import generator
from simulation.experiments.studies import study_kinds
from simulation.experiments.studies.study_cells import Measured, Slice
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_plan import StudyPlan, load_study
from simulation.experiments.studies.study_readings import against_reference
from simulation.experiments.studies.study_summary import StudySummary

NUM_USERS = 50

PLAN = """
title = "Tiny"
question = "Is more more?"
kind = "tiny"
preset = "quickstart"
overrides = [
  "data.source=table", "data.path={folder}/events.csv", "data.items_path={folder}/items.csv",
]
seeds = [0, 1]
encoder_seed = 0
metric = "ndcg@10"
shown = ["ndcg@10", "hr@10"]
slices = ["all"]
reference = "plain"
against = "reference"
replicates = 200
design = "cross"
[grid]
[study]
gain = 0.0
[[arms]]
name = "plain"
title = "Plain"
overrides = []
[[arms]]
name = "gained"
title = "Gained"
overrides = ["study.gain={gain}"]
"""


class TinyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gain: float


def measure(task: CellTask) -> Measured:
    """Users of even numbers are the slice "even"."""
    rng = generator(task.settings.seed, "tiny-study")
    users = np.arange(NUM_USERS)
    values = {name: rng.random(NUM_USERS) + task.options.gain for name in ("ndcg@10", "hr@10")}
    even = {name: found[::2] for name, found in values.items()}
    slices = (Slice("all", "full", users, values), Slice("even", "full", users[::2], even))
    return Measured(slices, {"bytes up": 1000.0})


def read(summary: StudySummary) -> list[str]:
    return against_reference(summary, "all")


KIND = StudyKind(options=TinyOptions, measure=measure, read=read, needs_ground=False)


def register(monkeypatch) -> None:
    """Make the kind known, under the name that the plan has."""
    monkeypatch.setitem(study_kinds.KINDS, "tiny", __name__)


def write_tables_of(folder: Path) -> None:
    rows = [f"u{u},i{(u * 7 + k * 3) % 31},{1000 * u + k}" for u in range(12) for k in range(4)]
    (folder / "events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    items = [f"i{i},made up film number {i}" for i in range(31)]
    (folder / "items.csv").write_text("item,text\n" + "\n".join(items) + "\n")


def plan_file(folder: Path, gain: float = 0.5) -> str:
    """Write data and plan; return the plan's path."""
    write_tables_of(folder)
    path = folder / "tiny.toml"
    path.write_text(PLAN.format(folder=folder, gain=gain))
    return str(path)


def tiny_plan(folder: Path, gain: float = 0.5, **words: object) -> StudyPlan:
    return load_study(plan_file(folder, gain), **words)
