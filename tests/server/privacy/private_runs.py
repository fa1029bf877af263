"""Short private runs of the tiny world, for the tests of what they promise."""

from pathlib import Path

import numpy as np

from server.cohorts import CohortPlan, Outcome
from server.settings import Federation
from simulation.engines.inline import run_inline
from tests.tiny_world import (
    TinyWorld,
)

CLIP_NORM, COHORT = 0.5, 15
FULL = {
    "target_quantile": 0.5,
    "clip_noise_multiplier": 2.0,
    "evaluation_noise_multiplier": 1.0,
}


def with_outcome(folder: Path, round_number: int, rows: slice, outcome: Outcome) -> np.ndarray:
    """Change what becomes of some drawn devices of a round; return who they are."""
    plan = CohortPlan.read(folder / "cohorts.npz")
    inside = np.arange(plan.offsets[round_number - 1], plan.offsets[round_number])
    chosen = inside[plan.outcome[inside] == Outcome.REPORTED][rows]
    plan.outcome[chosen] = outcome
    plan.write(folder / "cohorts.npz")
    return plan.invited[chosen]


def played(tiny: TinyWorld, name: str, settings: Federation, nodes: int = 1) -> Path:
    folder = tiny.prepare_run(name, settings)
    run_inline(folder, nodes)
    return folder
