"""Rollouts on the virtual fleet: false halts, power, and how long a day takes.

    python -m benchmarks.rollout power --repeats 200 --devices 20000 --rows power.jsonl
    python -m benchmarks.rollout day --devices 8400000
    python -m benchmarks.rollout full --devices 8400000 --rows full.jsonl --scenarios healthy

`power` repeats each scenario with other devices, other draws and other buckets, and says how often
and when the rule stopped it, and how much of the fleet had used it by then; repeats run in
processes. `full` is one rollout of each at full size, its blocks of devices in threads. Both keep a
row as it is done (--rows FILE): killed and started again, they go on, and rows of other settings
are measured anew. `day` lives through days in the stage of 50 %, where 95 % of the fleet is in an
arm: the dearest there are.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.kept_rows import KeptRows, hash_of
from benchmarks.machine import describe_machine
from server.rollout.decisions import Decision, draft
from server.rollout.membership import Membership
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import load_app
from simulation.experiments.rollout.rollout_plan import load_rollout
from simulation.experiments.rollout.rollout_run import setup_of
from simulation.experiments.rollout.scenarios import load_scenario, own_scenarios
from simulation.experiments.rollout.virtual_app import VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.experiments.rollout.virtual_rollout import roll_out
from simulation.reporting.rollout_model import DayRow
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
    seconds: float  # of the processor, all threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("power", "day", "full"))
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--devices", type=int, default=20_000)
    parser.add_argument("--scenarios", nargs="*", default=None)
    parser.add_argument("--days", type=int, default=MOST_DAYS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=None, help="file of rows that are done")
    given = parser.parse_args()
    names = given.scenarios or own_scenarios()
    print(describe_machine())
    if given.what == "day":
        one_day(given.devices, given.workers)
        return
    cases = Cases(KeptRows(given.rows), given.devices, given.days)
    if given.what == "power":
        seeds = range(given.first_seed, given.first_seed + given.repeats)
        power(cases, names, seeds, given.workers)
    else:
        full(cases, names, given.first_seed, given.workers)


class Cases:
    """Rollouts of one size, measured or still to be."""

    def __init__(self, rows: KeptRows, devices: int, days: int) -> None:
        self._rows, self.devices, self.days = rows, devices, days
        self._world, self._app = load_settings("quickstart").world, load_app()[0]

    def known(self, name: str, seed: int) -> Ending | None:
        """How it went, if it was measured with these settings."""
        row = self._rows.get(self._key(name, seed))
        return Ending(**row["ending"]) if row else None

    def keep(self, name: str, seed: int, found: Ending) -> None:
        """Keep how it went."""
        self._rows.add(
            self._key(name, seed),
            {"scenario": name, "devices": self.devices, "seed": seed, "ending": asdict(found)},
        )

    def _key(self, name: str, seed: int) -> str:
        scenario, plan = load_scenario(name), _plan(seed)
        setup = setup_of(plan, scenario, self._app, self._world, self.devices, seed)
        return f"{name} {seed} {hash_of({**setup, 'days': self.days})}"


def power(cases: Cases, names: Sequence[str], seeds: Sequence[int], workers: int) -> None:
    """Repeat each scenario in processes, and print a row of it."""
    print(f"{len(seeds)} rollouts each, {cases.devices:,} devices, {cases.days} days at most")
    print("| scenario | stopped | median day | used by then, median | most | why | CPU seconds |")
    print("|---|--:|--:|--:|--:|---|--:|")
    with ProcessPoolExecutor(workers) as pool:
        for name in names:
            before = ((seed, cases.known(name, seed)) for seed in seeds)
            found = {seed: known for seed, known in before if known is not None}
            asked = {
                pool.submit(ending, name, cases.devices, cases.days, 1, seed): seed
                for seed in seeds
                if seed not in found
            }
            for done in as_completed(asked):
                seed = asked[done]
                found[seed] = done.result()
                cases.keep(name, seed, done.result())
            print(_row(name, [found[seed] for seed in seeds]), flush=True)


def full(cases: Cases, names: Sequence[str], seed: int, workers: int) -> None:
    """One rollout of each scenario at full size, in threads."""
    print("| scenario | stopped on day | used by then | why | status, stage | CPU seconds |")
    print("|---|--:|--:|---|---|--:|")
    for name in names:
        found = cases.known(name, seed)
        if found is None:
            found = ending(name, cases.devices, cases.days, workers, seed)
            cases.keep(name, seed, found)
        used = f"{100 * found.hit:.3f} % ({found.hit * cases.devices:,.0f})"
        print(
            f"| {name} | {found.day or '–'} | {used} | {found.why} | "
            f"{found.status}, {found.stage} | {found.seconds:,.0f} |",
            flush=True,
        )
    print(f"peak memory {_peak_gb():.2f} GB")


def ending(name: str, devices: int, days: int, workers: int, seed: int) -> Ending:
    """One rollout, to where the rule stops it or the days are over."""
    start = time.process_time()
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
            return _ending(row, devices, start, last.day, why)
    return _ending(row, devices, start)


def _ending(
    row: DayRow, devices: int, start: float, day: int | None = None, why: str = ""
) -> Ending:
    took = time.process_time() - start
    return Ending(day, why, row.hit / devices, row.status, row.stage, took)


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


def _row(name: str, found: list[Ending]) -> str:
    took = sum(each.seconds for each in found)
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
