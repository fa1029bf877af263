"""Who is in which arm, at every stage, from hashes that are computed once.

    bucket   0   .01  .05       .25             .5              .75      .95 .99   1
    1 %      |T|                                                              |C|
    5 %      |  T  |                                                        |  C  |
    50 %     |               T                  |                C                |
    100 %    |          keeps it                |   T beside the holdout's part   |
    holdout  out of all stages, by a salt of its own; a part of it is the control of the last wave

The control of a stage is its mirror, the same share from the other end: both arms are random halves
of the same devices, admitted on the same day, so they have seen the same days. A control device
stays one until everybody is admitted. From then on the only ones without the release are the
holdout: the wave that was admitted last is compared with the holdout devices of the same buckets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.rollout.buckets import buckets
from server.rollout.eligibility import Attributes, eligible
from server.rollout.settings import LARGEST_MEASURED_SHARE, RolloutPlan

NEITHER, CONTROL, TREATED = -1, 0, 1


def window(plan: RolloutPlan, stage: int) -> int:
    """The family of evidence that a stage belongs to: 0 beside the mirror, 1 beside the holdout.

    A window starts with no evidence: what was seen in another one is of other arms.
    """
    return int(plan.stages[stage].share > LARGEST_MEASURED_SHARE)


@dataclass(frozen=True, slots=True)
class Membership:
    """Where all devices stand.

    Attributes:
        plan: of the rollout.
        place: (n,) bucket of each device under the plan's salt.
        is_open: (n,) eligible and in the plan's lane.
        is_held_out: (n,) in the holdout.
        is_internal: (n,) one of the team's own.
    """

    plan: RolloutPlan
    place: NDArray[np.float64]
    is_open: NDArray[np.bool_]
    is_held_out: NDArray[np.bool_]
    is_internal: NDArray[np.bool_]

    @classmethod
    def of(
        cls, plan: RolloutPlan, device_ids: NDArray[np.integer], devices: Attributes
    ) -> "Membership":
        """Hash all devices, once for each of the three salts.

        Args:
            plan: of the rollout.
            device_ids: (n,).
            devices: (n,) what they say about themselves.

        Raises:
            SettingsError: if the rule names what the fleet does not have, or admits nobody.
        """
        is_open = eligible(plan.rule, devices)
        if (plan.lane.first, plan.lane.end) != (0.0, 1.0):
            lane = buckets(plan.lane.layer, device_ids)
            is_open &= (lane >= plan.lane.first) & (lane < plan.lane.end)
        held_out = buckets(plan.holdout.salt, device_ids) < plan.holdout.share
        return cls(plan, buckets(plan.salt, device_ids), is_open, held_out, devices.internal)

    def admitted(self, stage: int) -> NDArray[np.bool_]:
        """Devices that may have the release at a stage; a later stage has all of an earlier one.

        Internal devices are asked to test: they are in from the first stage, unless held out.
        """
        share = self.plan.stages[stage].share
        return self.is_open & ~self.is_held_out & ((self.place < share) | self.is_internal)

    def arm(self, stage: int) -> NDArray[np.int8]:
        """The arm of each device at a stage, (n,): `CONTROL`, `TREATED` or `NEITHER`.

        Internal devices are in no arm: they know what they test.
        """
        share = self.plan.stages[stage].share
        if share <= LARGEST_MEASURED_SHARE:
            usual = ~self.is_held_out
            treated, control = self.place < share, (self.place >= 1.0 - share) & (share > 0)
        else:
            usual = np.ones(len(self.place), dtype=bool)
            wave = self.place >= self.plan.stages[self.plan.last_measured].share
            wave &= self.place < share
            treated, control = wave & ~self.is_held_out, wave & self.is_held_out
        arms = np.full(len(self.place), NEITHER, dtype=np.int8)
        inside = self.is_open & usual & ~self.is_internal
        arms[inside & control] = CONTROL
        arms[inside & treated] = TREATED
        return arms
