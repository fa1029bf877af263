"""What taking part cost one phone and what left it, from the records of the run's federated arm.

    cohorts.npz      which rounds drew the phone, and what became of it
    history.jsonl    which rounds were played, clip norms, the smallest sum that the cloud saw
    server-job.json  bytes of a round, noise, masks

The cloud's history holds sums, so nothing here says whether this phone's update was clipped or only
could have been. Bytes are counted; seconds and joules are those of the tier's median phone
(`simulation.world.costs`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.cohorts import CohortPlan, Outcome
from server.history import BYTES_PER_PARAMETER, History
from server.settings import ServerJob
from simulation.reporting import formats
from simulation.studio.phone_model import Figure, RoundMark, RoundOutcome, UpdateCard
from simulation.world.costs import Cost, download_cost, round_cost
from simulation.world.devices import Tier, WorldSettings

OUTCOMES: dict[int, RoundOutcome] = {
    Outcome.REPORTED: "reported",
    Outcome.LATE: "late",
    Outcome.DROPPED: "dropped",
    Outcome.ABSENT: "absent",
}


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a run says of taking part.

    Attributes:
        job: the cloud's side of the arm.
        plan: its cohorts.
        rows: its rounds, round 0 first.
    """

    job: ServerJob
    plan: CohortPlan
    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, arm: Path) -> "Ledger":
        """Read the records of an arm, wherever its run lies by now.

        Raises:
            DataError: if one is missing or damaged.
        """
        return cls(ServerJob.read(arm), CohortPlan.read(arm / "cohorts.npz"), History(arm).rows())

    @property
    def num_rounds(self) -> int:
        """How many were played; a run may end before its plan."""
        return int(self.rows[-1]["round_number"])

    @property
    def bytes_down(self) -> int:
        """That a phone fetches in a round."""
        more = self.job.federation.traffic_of_a_phone(self.job.num_trained, self._parties)[1]
        return self.job.num_parameters * BYTES_PER_PARAMETER + more

    @property
    def bytes_up(self) -> int:
        """That a phone sends in a round."""
        return self.job.federation.traffic_of_a_phone(self.job.num_trained, self._parties)[0]

    @property
    def _parties(self) -> int:
        return self.job.federation.cohort_size

    def reports(self) -> NDArray[np.int64]:
        """In how many rounds each phone's update was taken, (U,)."""
        played = slice(0, int(self.plan.offsets[self.num_rounds]))
        taken = self.plan.outcome[played] == Outcome.REPORTED
        return np.bincount(self.plan.invited[played][taken], minlength=self.job.num_devices)

    def rounds_of(self, device_id: int) -> tuple[RoundMark, ...]:
        """The rounds that drew a phone."""
        places = np.flatnonzero(self.plan.invited == device_id)
        numbers = np.searchsorted(self.plan.offsets, places, side="right")
        return tuple(
            RoundMark(round_number=int(number), outcome=OUTCOMES[int(self.plan.outcome[place])])
            for number, place in zip(numbers, places, strict=True)
            if number <= self.num_rounds
        )

    @staticmethod
    def updates_sent(rounds: tuple[RoundMark, ...]) -> int:
        """How many updates left the phone: those that were taken, and those that came too late.

        The cloud's history counts the bytes of those that were taken.
        """
        return _many(rounds, "reported") + _many(rounds, "late")

    def spent(
        self, rounds: tuple[RoundMark, ...], world: WorldSettings, tier: Tier
    ) -> tuple[Figure, ...]:
        """What training took of a phone's time, network and battery."""
        drawn = [mark for mark in rounds if mark.outcome != "absent"]
        told = [
            f"{_many(rounds, word)} {word}" for word in OUTCOMES.values() if _many(rounds, word)
        ]
        down, up = len(drawn) * self.bytes_down, self.updates_sent(rounds) * self.bytes_up
        cost = self._training_cost(rounds, world, tier)
        return (
            Figure(
                what="Rounds of training",
                amount=f"{len(drawn)} of {self.num_rounds}",
                origin="counted",
                note=", ".join(told) if told else "never drawn",
            ),
            Figure(
                what="Bytes of training",
                amount=formats.size(down + up),
                origin="counted",
                note=f"{formats.size(down)} fetched, {formats.size(up)} of updates sent",
            ),
            Figure(
                what="Energy of training",
                amount=formats.energy(cost.joules),
                origin="modelled",
                note=f"{formats.duration(cost.seconds)} of radio and one core; "
                f"{100 * cost.battery_share(tier):.2g} % of a full battery",
            ),
        )

    def _training_cost(
        self, rounds: tuple[RoundMark, ...], world: WorldSettings, tier: Tier
    ) -> Cost:
        """Whole rounds where a report came, late ones too; the download alone where none did."""
        whole = round_cost(
            world,
            tier,
            bytes_down=self.bytes_down,
            bytes_up=self.bytes_up,
            steps=self.job.federation.training.local_epochs,
        )
        fetched = download_cost(world, tier, self.bytes_down)
        num_whole = self.updates_sent(rounds)
        num_broken = _many(rounds, "dropped")
        return Cost(
            num_whole * whole.seconds + num_broken * fetched.seconds,
            num_whole * whole.joules + num_broken * fetched.joules,
        )

    def update(self, rounds: tuple[RoundMark, ...]) -> UpdateCard:
        """How the updates of a phone were protected before anybody saw them."""
        numbers = {mark.round_number for mark in rounds if mark.outcome == "reported"}
        norms = self._of(numbers, "clip_norm")
        sums = self._of(numbers, "smallest_sum")
        hidden = self.job.federation.secure_sum.enabled
        masked = (
            "masked with keys agreed in pairs: the cloud saw only sums"
            if hidden
            else "a cloud that collects updates could read each"
        )
        if sums:
            masked += f"; the smallest sum it saw in these rounds was of {_phones(min(sums))}"
        clipped = "each is cut to a length before it leaves"
        if norms:
            clipped = f"its length is at most {formats.figure(max(norms))}, cut on the phone"
        return UpdateCard(
            clipped=clipped,
            noised="the run promises no differential privacy; one that does shows nobody",
            masked=masked,
            is_clipped=True,
            is_noised=False,
            is_masked=hidden,
        )

    def _of(self, numbers: set[int], name: str) -> list[float]:
        """One figure of some rounds, where it is known."""
        rows = (row for row in self.rows if row["round_number"] in numbers)
        return [row[name] for row in rows if row[name] is not None]


def _phones(count: float) -> str:
    return f"{formats.count(count)} phone{'' if count == 1 else 's'}"


def _many(rounds: tuple[RoundMark, ...], outcome: RoundOutcome) -> int:
    return sum(mark.outcome == outcome for mark in rounds)
