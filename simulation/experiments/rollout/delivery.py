"""Which phones look for a manifest on a day, and which of them can fetch a release."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.seeds import uniforms
from simulation.experiments.rollout.tier_bundles import bytes_of_tiers
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.world.availability import DAY_H, HOUR_S, Availability
from simulation.world.network import Network


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way from the cloud to the phones of a fleet, as a pure function of device and day."""

    fleet: VirtualFleet

    def checks_in(
        self, ids: NDArray[np.int64], day: int, chance: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which phones meet the newest manifest on a day, (n,).

        A phone looks at fixed hours, and does so when it charges, is idle and on a free network.

        Args:
            ids: (n,).
            day: of the rollout; its clock begins a week in, on a Monday.
            chance: (n,) that it looks at all; 1 in a world without trouble.
        """
        fleet = self.fleet
        looks = np.zeros(len(ids), dtype=bool)
        asked = np.flatnonzero(chance > 0)
        if len(asked) and float(chance.min()) < 1:
            asked = asked[uniforms(fleet.seed, "check in", ids[asked], day) < chance[asked]]
        availability = Availability(fleet.world.habits, fleet.seed)
        for hour in fleet.app.delivery.check_in_hours:
            there = availability.available(ids[asked], ((day + 7) * DAY_H + hour) * HOUR_S)
            looks[asked[there]] = True
            asked = asked[~there]
        return looks

    def fetches(self, ids: NDArray[np.int64], day: int) -> NDArray[np.bool_]:
        """Which of the phones that look fetch the release on a day: not interrupted, in time."""
        fleet, delivery = self.fleet, self.fleet.app.delivery
        tier = fleet.tier[ids]
        dropout = np.asarray([each.dropout for each in fleet.world.tiers])[tier]
        whole = uniforms(fleet.seed, "release interrupted", ids, day) >= dropout
        network = Network(fleet.world.network, fleet.world.links, fleet.seed)
        wanted = bytes_of_tiers(delivery, fleet.tier_names)[tier].astype(np.float64)
        seconds = network.download_s(ids, tier, wanted, occasion=day)
        return np.asarray(whole & (seconds <= delivery.deadline_s))
