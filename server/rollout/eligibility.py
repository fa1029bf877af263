"""Who may get a release at all: rules on what a device says about itself.

Every condition that the rule names is asked, and a device that does not say is not eligible: what
is unknown has not been tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import SettingsError
from server.rollout.settings import RolloutPlan, Rule

MISSING = -1


@dataclass(frozen=True, slots=True)
class Attributes:
    """What devices say about themselves, as columns; -1 or NaN where they do not.

    Attributes:
        tier_names: of the fleet.
        tier: (n,) index of each device's tier.
        system_names: of the fleet.
        system: (n,) index of its operating system.
        region_names: of the fleet.
        region: (n,) index of its region.
        app_version: (n,) as `version_number` makes it.
        free_memory_mb: (n,) megabytes (1e6 bytes).
        internal: (n,) bool, whether it is one of the team's own.
    """

    tier_names: tuple[str, ...]
    tier: NDArray[np.integer]
    system_names: tuple[str, ...]
    system: NDArray[np.integer]
    region_names: tuple[str, ...]
    region: NDArray[np.integer]
    app_version: NDArray[np.integer]
    free_memory_mb: NDArray[np.floating]
    internal: NDArray[np.bool_]

    @property
    def num_devices(self) -> int:
        """N."""
        return len(self.tier)


def version_number(version: str) -> int:
    """Return a version as a number that sorts as versions do.

    >>> version_number("2.9.0") < version_number("2.14.0")
    True
    """
    major, minor, patch = (int(part) for part in version.split("."))
    return 1_000_000 * major + 1000 * minor + patch


def eligible(rule: Rule, devices: Attributes) -> NDArray[np.bool_]:
    """Say which devices the rule admits, (n,).

    Raises:
        SettingsError: if the rule names a tier, system or region that the fleet does not have, or
            admits nobody.
    """
    conditions = _conditions(rule, devices)
    admitted = np.ones(devices.num_devices, dtype=bool)
    for mask in conditions.values():
        admitted &= mask
    if not admitted.any():
        passed = "; ".join(f"{name}: {int(mask.sum()):,}" for name, mask in conditions.items())
        raise SettingsError(
            f"the rule admits none of {devices.num_devices:,} devices (each condition by itself "
            f"admits {passed or 'all'}): loosen one of them"
        )
    return admitted


def _conditions(rule: Rule, devices: Attributes) -> dict[str, NDArray[np.bool_]]:
    """The conditions that the rule names, and whom each of them admits."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, wanted, known, column in (
        ("tiers", rule.tiers, devices.tier_names, devices.tier),
        ("systems", rule.systems, devices.system_names, devices.system),
        ("regions", rule.regions, devices.region_names, devices.region),
    ):
        if wanted:
            found[name] = np.isin(column, _indices(name, wanted, known))
    if rule.min_app_version:
        found["min_app_version"] = devices.app_version >= version_number(rule.min_app_version)
    if rule.min_free_memory_mb:
        with np.errstate(invalid="ignore"):  # NaN, which is missing, is not >= anything
            found["min_free_memory_mb"] = devices.free_memory_mb >= rule.min_free_memory_mb
    return found


def _indices(name: str, wanted: Sequence[str], known: Sequence[str]) -> list[int]:
    unknown = [each for each in wanted if each not in known]
    if unknown:
        raise SettingsError(
            f"rule.{name} names {', '.join(repr(each) for each in unknown[:5])}, the fleet has "
            f"{', '.join(known) or 'none'}: name some of these"
        )
    return [known.index(each) for each in wanted]


def fitting_tiers(wanted_mb: float, memory_mb: Mapping[str, float]) -> tuple[str, ...]:
    """Tiers whose phones have the memory that a release asks for.

    Args:
        wanted_mb: of the release's manifest, megabytes (1e6 bytes).
        memory_mb: what the app may use on each tier.

    Raises:
        SettingsError: if no tier has it.
    """
    found = tuple(name for name, memory in memory_mb.items() if memory >= wanted_mb)
    if not found:
        told = ", ".join(f"{name} {memory:g}" for name, memory in memory_mb.items())
        raise SettingsError(
            f"the release wants {wanted_mb:g} MB of memory and fits no tier ({told}): make a "
            "smaller one"
        )
    return found


def check_together(plans: Sequence[RolloutPlan]) -> None:
    """Refuse rollouts that cannot run at the same time.

    Two of them on one slot would overwrite each other; two lanes of a layer that overlap would put
    a device into both, and salts in common would tie who is in one to who is in the other.

    Raises:
        SettingsError: naming the two plans, and what they share.
    """
    for place, one in enumerate(plans):
        for two in plans[:place]:
            pair = f"rollouts '{two.name}' and '{one.name}'"
            if one.slot == two.slot:
                raise SettingsError(
                    f"{pair} both fill slot '{one.slot}': end or roll back the first one"
                )
            same_layer = one.lane.layer == two.lane.layer
            if same_layer and max(one.lane.first, two.lane.first) < min(one.lane.end, two.lane.end):
                raise SettingsError(
                    f"{pair} overlap in layer '{one.lane.layer}' ({two.lane.first:g} to "
                    f"{two.lane.end:g}, {one.lane.first:g} to {one.lane.end:g}): move one of them"
                )
            if one.salt == two.salt:
                raise SettingsError(f"{pair} share the salt '{one.salt}': each has its own")
