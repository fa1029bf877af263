"""A release with a bundle for each tier, from the sizes of one elastic run.

    sizes of the run  --fresh process each-->  bytes, memory, time of a text
    tier              the largest size whose memory it has; none: refused before the start

    fetched        release_bytes - encoder_bytes + bytes of the size
    memory         reference.serving_mb + (memory of the size - memory of the yardstick)
    time           rank_s + encode_s * (time of the size / time of the yardstick), over the same of
                   the release before

The yardstick is the size nearest to `encoder_bytes`, the bundle that all phones have before. How
many clicks a size costs is not measured here: it is 1 unless it is said
(`--set delivery.bundles.low.clicks=0.97`).
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import LARGEST_BUNDLE_BYTES, MANIFEST, EncoderBundle
from models.errors import DataError, EngineError, SettingsError
from models.files import write_json
from server.rollout.eligibility import fitting_tiers
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import AppSettings, Delivery
from simulation.experiments.rollout.scenarios import NEW, What
from simulation.world.devices import WorldSettings


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What one size takes on the measuring machine.

    Attributes:
        name: of the size.
        num_bytes: of the bundle.
        memory_mb: that loading it and encoding adds, megabytes (1e6 bytes).
        encode_s: one text of about ten pieces.
        sha256: of the bundle's manifest, which names the hashes of its files.
    """

    name: str
    num_bytes: int
    memory_mb: float
    encode_s: float
    sha256: str = ""


def measured_sizes(elastic: Path, kept: Path | None = None) -> list[SizeCost]:
    """Measure the bundles of an elastic run, each in a fresh process.

    Args:
        elastic: the run's folder.
        kept: file of an earlier measurement: times differ from one to the next, and a rollout that
            goes on must go on with its own. Another bundle is measured anew.

    Raises:
        DataError: if the folder holds no finished elastic run, or a bundle is damaged.
        EngineError: if a bundle cannot be run.
    """
    try:
        report = json.loads((elastic / "report.json").read_text(encoding="utf-8"))
        rows = [(str(row["name"]), elastic / row["bundle"]) for row in report["sizes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{elastic} holds no finished elastic run ({elastic / 'report.json'} cannot be read): "
            "name the folder of `pocketfleet elastic`"
        ) from error
    known = _known(kept)
    return [known.get((name, _sha256(folder))) or _measured(name, folder) for name, folder in rows]


def write_sizes(sizes: Sequence[SizeCost], path: Path) -> None:
    """Keep a measurement, for `measured_sizes`."""
    write_json(path, [asdict(size) for size in sizes])


def _known(path: Path | None) -> dict[tuple[str, str], SizeCost]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8")) if path else []
        sizes = [SizeCost(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return {}
    return {(size.name, size.sha256): size for size in sizes}


def _sha256(folder: Path) -> str:
    EncoderBundle.open(folder, LARGEST_BUNDLE_BYTES)
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _measured(name: str, folder: Path) -> SizeCost:
    num_bytes = EncoderBundle.open(folder, LARGEST_BUNDLE_BYTES).num_bytes
    done = subprocess.run(
        [sys.executable, "-m", "clients.encoder_probe", str(folder.resolve())],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )
    if done.returncode != 0:
        raise EngineError(f"size {name} cannot be run: {done.stderr.strip()[-300:]}")
    told = json.loads(done.stdout)
    memory_mb = (told["peak"] - told["imported"]) / 1e6
    return SizeCost(name, num_bytes, memory_mb, told["encode_s"], _sha256(folder))


def bundle_overrides(
    sizes: Sequence[SizeCost], app: AppSettings, world: WorldSettings, tiers: Sequence[str]
) -> list[str]:
    """A size for each tier, as overrides of the app's settings.

    Args:
        sizes: of one elastic run.
        app: whose release they change.
        world: tiers and reference times.
        tiers: names of those that the plan admits.

    Raises:
        DataError: if there are no sizes.
        SettingsError: if no size fits a tier.
    """
    if not sizes:
        raise DataError("the elastic run has no sizes: run `pocketfleet elastic` again")
    delivery, reference = app.delivery, world.reference
    if delivery.encoder_bytes > delivery.release_bytes:
        raise SettingsError(
            f"delivery.encoder_bytes is {delivery.encoder_bytes:,}, more than release_bytes, "
            f"{delivery.release_bytes:,}: the bundle is a part of the release; lower it"
        )
    yardstick = min(sizes, key=lambda size: abs(size.num_bytes - delivery.encoder_bytes))
    found = []
    for tier in world.tiers:
        if tier.name not in tiers:
            continue
        wanted = {
            size.name: reference.serving_mb + size.memory_mb - yardstick.memory_mb for size in sizes
        }
        fitting = [size for size in sizes if wanted[size.name] <= tier.memory_mb]
        if not fitting:
            least = min(wanted.values())
            raise SettingsError(
                f"no size fits tier '{tier.name}': the smallest wants {least:.1f} MB, the app may "
                f"use {tier.memory_mb:g} MB there; take smaller sizes, or leave the tier out of "
                "rule.tiers"
            )
        size = max(fitting, key=lambda each: each.num_bytes)
        slower = size.encode_s / yardstick.encode_s
        took = reference.rank_s + reference.encode_s * slower
        values = {
            "size": json.dumps(size.name),
            "release_bytes": delivery.release_bytes - delivery.encoder_bytes + size.num_bytes,
            "memory_mb": f"{wanted[size.name]:.2f}",
            "latency": f"{took / (reference.rank_s + reference.encode_s):.4f}",
            "clicks": 1.0,
        }
        found += [f"delivery.bundles.{tier.name}.{key}={value}" for key, value in values.items()]
    return found


def check_bundles(plan: RolloutPlan, app: AppSettings, world: WorldSettings) -> None:
    """Refuse a release that a tier of the plan cannot take, before anything starts.

    Raises:
        SettingsError: if a tier is unknown, has no bundle, or too little memory for its own.
    """
    bundles = app.delivery.bundles
    if not bundles:
        return
    memory = {tier.name: tier.memory_mb for tier in world.tiers}
    unknown = [name for name in bundles if name not in memory]
    if unknown:
        raise SettingsError(
            f"delivery.bundles names tier '{unknown[0]}', the fleet has {', '.join(memory)}: name "
            "some of these"
        )
    for name in plan.rule.tiers or memory:
        if name not in bundles:
            raise SettingsError(
                f"delivery.bundles has none for tier '{name}': add one, or leave the tier out of "
                "rule.tiers"
            )
        fitting_tiers(bundles[name].memory_mb, {name: memory[name]})


def bytes_of_tiers(delivery: Delivery, tiers: Sequence[str]) -> NDArray[np.int64]:
    """What a phone of each tier fetches, (T,)."""
    bundles = delivery.bundles
    whole = delivery.release_bytes
    return np.asarray(
        [bundles[name].release_bytes if name in bundles else whole for name in tiers],
        dtype=np.int64,
    )


def put_bundles(
    strengths: dict[What, NDArray[np.float64]], delivery: Delivery, tiers: Sequence[str]
) -> None:
    """Put what each tier's bundle changes on top of a scenario's strengths, each (2, T, Z)."""
    for place, name in enumerate(tiers):
        bundle = delivery.bundles.get(name)
        if bundle is not None:
            strengths["clicks"][NEW, place] *= bundle.clicks
            strengths["latency"][NEW, place] *= bundle.latency
            strengths["joules"][NEW, place] *= bundle.latency
