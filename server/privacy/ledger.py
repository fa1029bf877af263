"""The accounts of a private run: what is spent after each round, and how far the budget goes.

    round            0     1     2     3  ...
    evaluations      1     1     1     2
    rounds of the    0     1     1     2      without amplification: of the device that took part
    device that pays                          most often; under Poisson sampling: all of them

Nothing here depends on data: the plan of the run and its settings say it all before round 1, so a
resumed run finds the same accounts again. Two claims, and the ledger says which:

* *Amplification by sampling*, under Poisson sampling only (`simulation.world.poisson`): each device
  is drawn by itself with probability q = cohort_size / N, whatever it is like and whether it is
  there. One that is not is a zero update.
* *No amplification*, for a cohort that was picked by availability, over-selection or deadline: each
  round is a Gaussian release for the devices in it, and epsilon is that of the device that takes
  part most often.

Neighbours are two populations that differ in one device: its data are there, or it has none and all
its updates are zero. Under local noise they differ in what the device holds; every message that it
was asked for counts, used or late. Under distributed noise a device's share of it is in both.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import SettingsError
from server.cohorts import CohortSource
from server.privacy.accounting import Spending, default_delta
from server.privacy.settings import PrivacySettings
from server.secure_sum.outside import Outside
from server.secure_sum.skellam_accounting import SkellamMechanism


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a run spends, round by round.

    Attributes:
        settings: of the promise.
        num_devices: the population, N.
        cohort_size: devices that a round wants; q N under Poisson sampling.
        is_amplified: whether amplification by sampling is claimed.
        participations: (rounds + 1,) most rounds of which any device has been, up to each round.
        evaluate_every: rounds between evaluations; one more is before round 1, one at the end.
        integers: the sum of a round under distributed noise; None: noise is Gaussian.
        outside: what such a run spends where sampling amplifies, if it does anywhere.
    """

    settings: PrivacySettings
    num_devices: int
    cohort_size: int
    is_amplified: bool
    participations: NDArray[np.int64]
    evaluate_every: int
    integers: SkellamMechanism | None = None
    outside: Outside | None = None

    @property
    def rounds(self) -> int:
        """Of the plan."""
        return len(self.participations) - 1

    @property
    def promised_to(self) -> int:
        """The population that the promise speaks of: a larger one in a scaled run."""
        return self.settings.scaled_population or self.num_devices

    @property
    def delta(self) -> float:
        """Of the promise."""
        return self.settings.delta or default_delta(self.promised_to)

    def spending(self, last_round: int, *, ends: bool = True) -> Spending:
        """What rounds 1 .. `last_round` and the evaluations among them cost.

        Args:
            last_round: 0 is the evaluation before training alone.
            ends: whether the run ends there, with an evaluation.
        """
        every = self.evaluate_every
        evaluations = 1 + (-(-last_round // every) if ends else last_round // every)
        halved = 0.5 if self.settings.mechanism == "local" else 1.0
        return Spending(
            noise_multiplier=halved * self.settings.noise_multiplier,
            probability=self.cohort_size / self.num_devices if self.is_amplified else 1.0,
            rounds=int(self.participations[last_round]),
            evaluation_noise=self.settings.evaluation_noise_multiplier,
            evaluations=evaluations,
            integers=self.integers,
        )

    def at_hand(self, spending: Spending) -> Spending:
        """The same for the devices that there are, where noise was scaled to a larger population.

        The noise is that of N' devices with the same q, times N / N'.
        """
        share = self.num_devices / self.promised_to
        return replace(
            spending,
            noise_multiplier=share * spending.noise_multiplier,
            evaluation_noise=share * spending.evaluation_noise,
        )

    def last_round(self) -> int:
        """The round after which a run must end: the plan's last, or the last within the budget.

        Raises:
            SettingsError: if the budget does not pay for a single round.
        """
        budget = self.settings.budget_epsilon
        if not budget or self._affordable(self.rounds):
            return self.rounds
        most, refused = 0, self.rounds
        while refused - most > 1:
            middle = (most + refused) // 2
            most, refused = (middle, refused) if self._affordable(middle) else (most, middle)
        if most == 0:
            cost = self.spending(1).epsilon(self.delta)
            raise SettingsError(
                f"federation.privacy.budget_epsilon is {budget:g}, one round costs {cost:.3g} at "
                f"delta {self.delta:.2g}: raise the budget or the noise, or draw fewer devices"
            )
        return most

    def _affordable(self, last_round: int) -> bool:
        return self.spending(last_round).epsilon(self.delta) <= self.settings.budget_epsilon


def participations(
    cohorts: CohortSource, rounds: int, num_devices: int, *, messages: bool
) -> NDArray[np.int64]:
    """Most rounds in which any one device takes part, up to each round, (rounds + 1,).

    Args:
        cohorts: the plan. A selection that depends on training cannot be asked ahead, and could
            not be accounted for either.
        rounds: of the run.
        num_devices: the population.
        messages: count all invited devices, for what a late one sends is seen too; else those
            whose report is used.
    """
    count = np.zeros(num_devices, dtype=np.int32)
    most = np.zeros(rounds + 1, dtype=np.int64)
    for number in range(1, rounds + 1):
        cohort = cohorts.cohort(number)
        inside = cohort.invited if messages else cohort.reported
        count[inside] += 1
        most[number] = max(most[number - 1], count[inside].max(initial=0))
    return most
