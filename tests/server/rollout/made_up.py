"""A small plan and made-up evidence for it."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from models.statistics.moments import Moments
from models.statistics.slow_requests import SlowRequests
from server.rollout.evidence import Events, RolloutEvidence
from server.rollout.settings import RolloutPlan

PRESET = Path(__file__).resolve().parents[3] / "simulation/presets/rollout/standard.toml"
TIERS = ("low", "mid", "high")
COLUMNS = ("clicks", "requests", "clicks_before", "requests_before", "bytes", "joules")
EVENTS = ("crash", "out_of_memory", "opt_out")
EDGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


def tree() -> dict[str, Any]:
    """The standard plan with few edges and a short first stage, as its file says it."""
    content = tomllib.loads(PRESET.read_text(encoding="utf-8"))
    content["evidence"]["edges_ms"] = list(EDGES)
    content["evidence"]["min_devices"] = 50
    content["stages"][0]["min_days"] = 1  # made-up evidence begins on the first day
    return content


def plan(**changes: object) -> RolloutPlan:
    return RolloutPlan.model_validate(tree() | changes)


def nothing(of: RolloutPlan) -> RolloutEvidence:
    return RolloutEvidence.nothing(of, COLUMNS, len(TIERS))


def a_day(
    rng: np.random.Generator,
    day: int,
    *,
    devices: int = 60,
    clicks: tuple[float, float] = (0.1, 0.1),
    slower: float = 1.0,
    crashes: tuple[float, float] = (0.01, 0.01),
    lost: float = 0.0,
    internal: tuple[int, int] = (0, 0),
) -> RolloutEvidence:
    """New devices of one day in every arm and tier, each with a row of its own.

    Args:
        devices: new ones in each arm and tier.
        clicks: click rate of control and treated.
        slower: times that requests of the treated take longer.
        crashes: share of devices that crash.
        lost: share of treated devices of the low tier that are never exposed.
    """
    arm = np.repeat([0, 1], 3 * devices)
    tier = np.tile(np.repeat([0, 1, 2], devices), 2)
    seen = (rng.random(len(arm)) >= lost) | (arm == 0) | (tier > 0)
    cells = np.where(seen, 3 * arm + tier, -1)
    requests = 1 + rng.poisson(8, len(arm))
    habit = np.exp(0.4 * rng.normal(size=len(arm)) - 0.08)
    hits = rng.binomial(requests, np.clip(np.asarray(clicks)[arm] * habit, 0, 1))
    before = rng.binomial(requests, np.clip(clicks[0] * habit, 0, 1))
    size = requests * rng.integers(80, 120, len(arm))
    columns = [hits, requests, before, requests, size, size / 50]
    rows = Moments.by_cell(COLUMNS, np.stack(columns, 1).astype(float), cells, (2, 3))
    own = np.log(np.where(arm == 1, 20 * slower, 20)) + rng.normal(0, 0.2, len(arm))
    each = np.repeat(np.arange(len(arm)), requests)
    taken = np.exp(own[each] + 0.3 * rng.normal(size=len(each)))
    width = len(EDGES) + 1
    place = width * each + np.searchsorted(EDGES, taken)
    bins = np.bincount(place, minlength=width * len(arm)).reshape(-1, width)
    times = SlowRequests.by_cell(EDGES, bins, cells, (2, 3))
    at_risk = np.repeat(rows.count[:, :, None], len(EVENTS), axis=2)
    counts = np.zeros_like(at_risk)
    for n in range(len(EVENTS)):
        shares = np.asarray(crashes if n == 0 else (0.01, 0.01))[:, None]
        counts[:, :, n] = rng.binomial(rows.count.astype(int), shares)
    events = Events.on(EVENTS, day, counts, at_risk)
    admitted = np.full((2, 3), devices, dtype=np.int64)
    return RolloutEvidence(admitted, rows, times, events, *internal)
