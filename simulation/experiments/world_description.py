"""A world that was built, put into numbers for people: read from its run folder, nothing changed.

Devices are asked and counted (`simulation.world.description`), costs are worked out from measured
times (`simulation.world.costs`), and synthetic devices are compared with the users whom they were
fitted on, for which the run's data is loaded again.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clients.shard import WorldManifest, open_events
from clients.synthetic_events import SyntheticEvents
from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.interactions import Columns
from simulation.data.splits import Split
from simulation.experiments.fidelity_summary import curve_of, growing_places, summarize
from simulation.experiments.materials import prepare_data
from simulation.experiments.phone_load import phone_load
from simulation.reporting import world_model as tree
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.world import costs
from simulation.world.availability import Availability
from simulation.world.build import pooled_histories
from simulation.world.description import (
    Direction,
    event_counts,
    quantile_of,
    transfer_seconds,
    week_of,
)
from simulation.world.devices import Tier
from simulation.world.fidelity import People, compare_people
from simulation.world.network import highest_bits_per_s
from simulation.world.population import hour_of_week

COMPARED_DEVICES = 20_000

SOURCES = (
    (
        "Speeds and shares of the tiers",
        "The spread of AI-Benchmark scores of 307 phones that FLASH ships (C. Yang et al., WWW "
        "2021), cut at the quartiles. Published, of other programs than this one.",
    ),
    (
        "Seconds on the measuring machine",
        "Measured: onnxruntime, NumPy and torch on one core (benchmarks/RESULTS.md). A phone's are "
        "these divided by the speed of its tier: an assumption.",
    ),
    (
        "Memory, batteries, watts, dropouts",
        "Assumptions: round numbers for a cheap, a usual and a dear phone.",
    ),
    (
        "Habits",
        "Only phones that are idle, charging and on an unmetered network take part, and four times "
        "as many are there at the best hour as at the worst (K. Bonawitz et al., MLSys 2019). The "
        "rule and the factor are published; hours, lengths and chances are assumptions that give "
        "it.",
    ),
    (
        "Networks",
        "Rates, round trips and losses are assumptions; a lossy link carries what TCP lets through "
        "(M. Mathis et al., CCR 1997). Joules per megabyte: an assumption, for Wi-Fi.",
    ),
)


def describe_world(
    run: RunFolder, cache: Path, progress: Progress = silent, *, fidelity: bool = True
) -> tree.WorldReport:
    """Describe the world of a run.

    Args:
        run: a run folder with a world in it.
        cache: of the data sources.
        progress: told about what takes a while.
        fidelity: whether synthetic devices are compared with the real users.

    Raises:
        DataError: if there is no world or it is damaged, or the run's data cannot be had.
    """
    manifest = WorldManifest.read(run.world)
    return _Description(run, manifest, run.settings()).report(cache, progress, fidelity)


class _Description:
    """Puts one world into numbers."""

    def __init__(self, run: RunFolder, manifest: WorldManifest, settings: Settings) -> None:
        self.run, self.manifest, self.settings = run, manifest, settings
        self.world = settings.world
        names = tuple(tier.name for tier in self.world.tiers)
        if names != manifest.tiers:
            raise DataError(
                f"the world in {run.world} has the tiers {list(manifest.tiers)}, the run's "
                f"settings have {list(names)}: build the world again"
            )
        self.load = phone_load(run, settings, manifest.num_items)

    def report(self, cache: Path, progress: Progress, fidelity: bool) -> tree.WorldReport:
        """The whole description."""
        manifest, record = self.manifest, self.run.record()
        progress("asking devices for a week", 0, 1)
        week = self._week()
        progress("asking devices for a week", 1, 1)
        counts = event_counts(self.run.world, manifest)
        compared, note = None, "The devices are the real users themselves."
        if manifest.events == "synthetic":
            note = "" if fidelity else "Left out, as asked."
            compared = self._fidelity(cache, progress) if fidelity else None
        return tree.WorldReport(
            title=f"The world of {self.run.path.name}",
            created=datetime.now(UTC),
            command=record.command,
            seed=manifest.seed,
            commit=record.commit,
            kind=manifest.events,
            source=self.settings.data.source,
            num_devices=manifest.num_devices,
            num_items=manifest.num_items,
            num_bytes=sum(path.stat().st_size for path in self.run.world.iterdir()),
            serving_mb=self.load.serving_mb,
            serving_note=self.load.serving_note,
            package_bytes=self.load.package_bytes,
            package_note=self.load.package_note,
            update_bytes=self.load.update_bytes,
            tiers=self._tiers(counts),
            activity=self._activity(counts),
            week=week,
            transfers=self._transfers(),
            actions=self._actions(),
            fidelity=compared,
            fidelity_note=note,
            sources=SOURCES,
        )

    def _week(self) -> tree.Week:
        habits = self.world.habits
        availability = Availability(habits, self.manifest.seed)
        found = week_of(availability, self.manifest.num_devices)
        day = found.hours_of_a_day()
        return tree.Week(
            num_asked=found.num_asked,
            charging=_rounded(found.charging),
            idle=_rounded(found.idle),
            unmetered=_rounded(found.unmetered),
            available=_rounded(found.available),
            zones=tuple(
                tree.Zone(offset_h=zone.offset_h, share=zone.share, available=_rounded(there))
                for zone, there in zip(habits.time_zones, found.by_zone, strict=True)
            ),
            best_hour=float(day.max()),
            worst_hour=float(day.min()),
        )

    def _tiers(self, counts: np.ndarray) -> tuple[tree.TierRow, ...]:
        return tuple(
            tree.TierRow(
                tier=tier.name,
                num_devices=int(mine.sum()),
                speed=tier.speed,
                cores=tier.cores,
                memory_mb=tier.memory_mb,
                can_serve=costs.can_hold(tier, self.load.serving_mb * 1e6),
                battery_wh=tier.battery_wh,
                active_w=tier.active_w,
                down_mbit_per_s=tier.link.down_mbit_per_s,
                up_mbit_per_s=tier.link.up_mbit_per_s,
                round_trip_ms=tier.link.round_trip_ms,
                loss=tier.link.loss,
                most_mbit_per_s=_most_mbit_per_s(tier),
                dropout=tier.dropout,
                events_median=quantile_of(mine, 0.5),
                events_90=quantile_of(mine, 0.9),
                events_most=int(np.flatnonzero(mine).max(initial=0)),
            )
            for tier, mine in zip(self.world.tiers, counts, strict=True)
        )

    def _activity(self, counts: np.ndarray) -> tuple[tree.Curve, ...]:
        """The share of the devices with at most so many training events."""
        everybody = counts.sum(axis=0)
        places = growing_places(len(everybody) - 1)
        below = np.cumsum(everybody)[np.minimum(places, len(everybody) - 1)]
        return (curve_of("devices", places, below / everybody.sum()),)

    def _transfers(self) -> tuple[tree.TransferRow, ...]:
        wanted: tuple[tuple[str, int, Direction], ...] = (
            ("package, down", self.load.package_bytes, "down"),
            ("parameters, down", self.load.update_bytes, "down"),
            ("update, up", self.load.update_bytes, "up"),
        )
        rows = []
        for what, num_bytes, way in wanted:
            for index, tier in enumerate(self.world.tiers):
                found = transfer_seconds(self.world, self.manifest.seed, index, num_bytes, way)
                median, slow = (round(seconds, 4) for seconds in found)
                rows.append(
                    tree.TransferRow(
                        what=what,
                        tier=tier.name,
                        num_bytes=num_bytes,
                        median_s=median,
                        slow_s=slow,
                    )
                )
        return tuple(rows)

    def _actions(self) -> tuple[tree.ActionRow, ...]:
        each = [(tier, self._costs(tier)) for tier in self.world.tiers]
        return tuple(
            tree.ActionRow(
                action=action,
                tier=tier.name,
                seconds=found[action].seconds,
                joules=found[action].joules,
                battery_share=found[action].battery_share(tier),
            )
            for action in each[0][1]
            for tier, found in each
        )

    def _costs(self, tier: Tier) -> dict[str, costs.Cost]:
        """Each action of a phone, and the two errands that they add up to."""
        world, update = self.world, self.load.update_bytes
        steps = self.settings.federation.training.local_epochs
        whole_round = costs.round_cost(world, tier, bytes_down=update, bytes_up=update, steps=steps)
        return {
            "encode a text": costs.encode_cost(world, tier),
            "rank the catalogue": costs.rank_cost(world, tier),
            "a request: both": costs.request_cost(world, tier),
            "train one step": costs.train_cost(world, tier),
            "download parameters": costs.download_cost(world, tier, update),
            "upload an update": costs.upload_cost(world, tier, update),
            "a round: all three": whole_round,
            "download the package": costs.download_cost(world, tier, self.load.package_bytes),
        }

    def _fidelity(self, cache: Path, progress: Progress) -> tree.Fidelity:
        parts = prepare_data(self.settings, cache, progress)
        manifest = self.manifest
        if parts.interactions.num_items != manifest.num_items:
            raise DataError(
                f"the data has {parts.interactions.num_items:,} items, the world "
                f"{manifest.num_items:,}: it was fitted on other data; build it again, or leave "
                "the comparison out with --no-fidelity"
            )
        progress("comparing devices with users", 0, 1)
        drawn = _drawn(self.run.world, manifest)
        found = compare_people(_real(parts), drawn, manifest.num_items, manifest.seed)
        progress("comparing devices with users", 1, 1)
        return summarize(found)


def _real(parts: Split) -> People:
    times_s = parts.train[Columns.TIME_S].to_numpy()
    timed = len(times_s) > 0 and times_s.min() >= 0
    return People(pooled_histories(parts), hour_of_week(times_s) if timed else None)


def _drawn(world: Path, manifest: WorldManifest) -> People:
    """The events of some synthetic devices."""
    count = min(manifest.num_devices, COMPARED_DEVICES)
    events, rows = open_events(world, manifest, 0, count), np.arange(count)
    histories, _ = events.cut(rows)
    if not isinstance(events, SyntheticEvents):
        raise DataError(f"the devices of {world} are real users: there is nothing to compare")
    timed = events.model.taste_hours.shape[1] > 0
    return People(histories, events.hours(rows) if timed else None)


def _most_mbit_per_s(tier: Tier) -> float | None:
    if tier.link.loss == 0:
        return None
    round_trip_s, loss = np.array([tier.link.round_trip_ms / 1e3]), np.array([tier.link.loss])
    return float(highest_bits_per_s(round_trip_s, loss)[0]) / 1e6


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
