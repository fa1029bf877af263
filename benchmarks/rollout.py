"""Rollouts on the virtual fleet: false halts, power, and how long a day takes.

    python -m benchmarks.rollout power --repeats 200 --devices 20000
    python -m benchmarks.rollout day --devices 8400000
    python -m benchmarks.rollout full --devices 8400000 --scenarios crash-low-memory

`power` repeats each scenario with other devices, other draws and other buckets, and says how often
and when the rule stopped it, and how much of the fleet had used it by then. `day` lives through
days in the stage of 50 %, where 95 % of the fleet is in an arm: the dearest there are.
"""

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.machine import describe_machine
from server.rollout.decisions import Decision, draft
from server.rollout.membership import Membership
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import load_app
from simulation.experiments.rollout.rollout_plan import load_rollout
from simulation.experiments.rollout.scenarios import load_scenario, own_scenarios
from simulation.experiments.rollout.virtual_app import VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.experiments.rollout.virtual_rollout import roll_out
from simulation.settings import load_settings

MOST_DAYS = 20
STOPS = ("halt", "roll back")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one rollout went: when and why the rule stopped it, and the share that had used it."""

    day: int | None
    why: str
    hit: float
    status: str
    stage: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("power", "day", "full"))
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--devices", type=int, default=20_000)
    parser.add_argument("--scenarios", nargs="*", default=None)
    parser.add_argument("--days", type=int, default=MOST_DAYS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    names = given.scenarios or own_scenarios()
    print(describe_machine())
    if given.what == "power":
        power(names, given.repeats, given.devices, given.days, given.workers, given.first_seed)
    elif given.what == "day":
        one_day(given.devices, given.workers)
    else:
        full(names, given.devices, given.days, given.workers)


def power(
    names: list[str], repeats: int, devices: int, days: int, workers: int, first_seed: int
) -> None:
    """Repeat each scenario and print a row of it."""
    print(f"{repeats} rollouts each, {devices:,} devices, {days} days at most")
    print("| scenario | stopped | median day | used by then, median | most | why | seconds |")
    print("|---|--:|--:|--:|--:|---|--:|")
    with ProcessPoolExecutor(workers) as pool:
        for name in names:
            start = time.perf_counter()
            work = partial(ending, name, devices, days, 1)
            found = list(pool.map(work, range(first_seed, first_seed + repeats), chunksize=4))
            print(_row(name, found, time.perf_counter() - start), flush=True)


def full(names: list[str], devices: int, days: int, workers: int) -> None:
    """One rollout of each scenario at full size."""
    print("| scenario | stopped on day | used by then | why | status, stage | seconds |")
    print("|---|--:|--:|---|---|--:|")
    for name in names:
        start = time.perf_counter()
        found = ending(name, devices, days, workers, 0)
        took = time.perf_counter() - start
        used = f"{100 * found.hit:.3f} % ({found.hit * devices:,.0f})"
        print(
            f"| {name} | {found.day or '–'} | {used} | {found.why} | "
            f"{found.status}, {found.stage} | {took:,.0f} |",
            flush=True,
        )
    print(f"peak memory {_peak_gb():.2f} GB")


def ending(name: str, devices: int, days: int, workers: int, seed: int) -> Ending:
    """One rollout, to where the rule stops it or the days are over."""
    fleet, membership = _fleet(devices, seed, workers)
    made: list[Decision] = []
    rows = roll_out(
        membership.plan,
        fleet,
        membership,
        load_scenario(name),
        made.append,
        workers=workers,
        most_days=days,
    )
    for row in rows:
        last = made[-1]
        if last.by == "rule" and last.action in STOPS:
            why = last.reason.partition(":")[0] if last.findings else last.reason
            return Ending(last.day, why, row.hit / devices, row.status, row.stage)
    return Ending(None, "", row.hit / devices, row.status, row.stage)


def one_day(devices: int, workers: int) -> None:
    """Time days of the whole fleet in the stage of 50 %."""
    start = time.perf_counter()
    fleet, membership = _fleet(devices, 0, workers)
    print(f"{devices:,} devices drawn and hashed: {time.perf_counter() - start:.1f} s")
    plan = membership.plan
    app = VirtualApp(fleet, membership, load_scenario("healthy"), workers)
    state = draft(1).model_copy(update={"status": "running", "stage": plan.last_measured})
    for day in range(4):
        start, cpu = time.perf_counter(), time.process_time()
        change, tally = app.day(day, state)
        print(
            f"day {day}: {time.perf_counter() - start:.1f} s, CPU {time.process_time() - cpu:.1f} "
            f"s; {tally.downloads:,} downloads, {int(change.exposed.sum()):,} newly exposed"
        )
    print(f"peak memory {_peak_gb():.2f} GB, {workers} workers")


def _fleet(devices: int, seed: int, workers: int) -> tuple[VirtualFleet, Membership]:
    world, (app, _) = load_settings("quickstart").world, load_app()
    fleet = VirtualFleet.build(devices, app, world, seed, workers)
    return fleet, Membership.of(_plan(seed), np.arange(devices), fleet.attributes())


def _plan(seed: int) -> RolloutPlan:
    """The standard plan, with buckets of its own."""
    return load_rollout("standard", [f"salt=repeat-{seed}", f"holdout.salt=holdout-{seed}"])[0]


def _row(name: str, found: list[Ending], took: float) -> str:
    stopped = [each for each in found if each.day is not None]
    if not stopped:
        far = max({each.stage for each in found}, key=[each.stage for each in found].count)
        return f"| {name} | 0 of {len(found)} | – | – | – | mostly in '{far}' | {took:.0f} |"
    day = np.median([each.day for each in stopped])
    hits = [each.hit for each in stopped]
    whys = [
        "internal devices" if "internal" in each.why else each.why.partition(" (")[0]
        for each in stopped
    ]
    why = ", ".join(f"{whys.count(each)} {each}" for each in sorted(set(whys)))
    return (
        f"| {name} | {len(stopped)} of {len(found)} | {day:.0f} | {100 * np.median(hits):.2f} % | "
        f"{100 * max(hits):.2f} % | {why} | {took:.0f} |"
    )


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
