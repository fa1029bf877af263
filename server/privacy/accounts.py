"""The accounts that the round loop keeps: a ledger, or none where nothing is promised."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.cohorts import CohortSource
from server.history import History, Spent
from server.privacy.adaptive_clipping import noise_of_updates
from server.privacy.calibration import least_noise, noise_multiplier_for
from server.privacy.ledger import Ledger, participations
from server.privacy.statement import EVALUATION_NOT_COVERED, PrivacyStatement
from server.secure_sum.outside import Outside
from server.settings import Federation, ServerJob


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the history says of each round, and when the run ends.

    Attributes:
        ledger: of a private run; None: nothing is promised.
        last_round: the plan's, or the last that the budget pays for.
    """

    ledger: Ledger | None
    last_round: int

    @classmethod
    def of(cls, job: ServerJob, cohorts: CohortSource) -> "Accounts":
        """The accounts of a job, before round 1 or when it goes on: they are the same.

        Raises:
            SettingsError: if the budget does not pay for a single round.
        """
        if not job.federation.privacy.is_private:
            return cls(None, job.federation.rounds)
        ledger = ledger_of(job.federation, job.num_devices, cohorts, job.num_trained)
        return cls(ledger, ledger.last_round())

    def spent(self, round_number: int) -> Spent:
        """What the history says after a round and the evaluation that follows it."""
        if self.ledger is None:
            return Spent()
        ends = round_number == self.last_round
        spending, delta = self.ledger.spending(round_number, ends=ends), self.ledger.delta
        return Spent(spending.epsilon(delta), delta, self._note(round_number))

    def _note(self, round_number: int) -> str:
        assert self.ledger is not None
        settings = self.ledger.settings
        if round_number == 0 and not settings.evaluation_noise_multiplier:
            return EVALUATION_NOT_COVERED
        if round_number == self.last_round < self.ledger.rounds:
            more = self.ledger.spending(round_number + 1).epsilon(self.ledger.delta)
            return (
                f"the budget of epsilon {settings.budget_epsilon:g} ends the run here: round "
                f"{round_number + 1} would make it {more:.3g}"
            )
        return ""

    def write(self, folder: Path, history: History) -> None:
        """Write the statement of a private run that has ended."""
        if self.ledger is not None:
            rows = history.rows()[1:]
            clip_norms = tuple(row["clip_norm"] for row in rows)
            PrivacyStatement.of(self.ledger, clip_norms, rows[-1]["note"]).write(folder)


def ledger_of(federation: Federation, num_devices: int, cohorts: CohortSource, dim: int) -> Ledger:
    """The ledger of a private run, `dim` the numbers that a phone sends."""
    privacy, rounds = federation.privacy, federation.rounds
    is_local, is_distributed = (privacy.mechanism == each for each in ("local", "distributed"))
    is_drawn = federation.schedule.sampling == "poisson"
    # Under the other two epsilon holds against the cloud, which knows who takes part.
    is_amplified = is_drawn and privacy.mechanism == "central"
    plan = federation.secure_plan(dim, num_devices) if is_distributed else None
    integers, outside = plan.mechanism if plan else None, None
    if plan and is_drawn:
        q = federation.cohort_size / num_devices
        outside = Outside.of(plan.mechanism, plan.bounds, q, cohorts, rounds)
    most = (
        np.arange(rounds + 1, dtype=np.int64)
        if is_amplified
        else participations(cohorts, rounds, num_devices, messages=is_local)
    )
    return Ledger(
        settings=privacy,
        num_devices=num_devices,
        cohort_size=federation.cohort_size,
        is_amplified=is_amplified,
        participations=most,
        evaluate_every=federation.evaluate_every,
        integers=integers,
        outside=outside,
    )


def with_noise_solved(
    federation: Federation, num_devices: int, cohorts: CohortSource, dim: int
) -> Federation:
    """The settings with the noise that `target_epsilon` asks for, and no target any more.

    Also finds out, before anything is trained, what would stop a private run.

    Args:
        federation: of a run.
        num_devices: the population.
        cohorts: its plan.
        dim: numbers that a phone sends.

    Raises:
        SettingsError: if the target cannot be met, the budget does not pay for a round, or the
            count of short updates has less noise than is asked for.
    """
    privacy = federation.privacy
    if not privacy.is_private:
        return federation
    if privacy.target_epsilon:

        def ledger_with(noise: float) -> Ledger:
            asked = privacy.model_copy(update={"noise_multiplier": noise})
            tried = federation.model_copy(update={"privacy": asked})
            return ledger_of(tried, num_devices, cohorts, dim)

        def epsilon_with(noise: float) -> float:
            ledger = ledger_with(noise)  # more noise leaves fewer steps: another sum of integers
            return ledger.spending(federation.rounds).epsilon(ledger.delta)

        if privacy.mechanism == "distributed":
            found = least_noise(privacy.target_epsilon, epsilon_with)
        else:
            # A round cannot have no noise; what stands here until it is solved is not looked at.
            ledger = ledger_with(1.0)
            spending = ledger.spending(federation.rounds)
            found = noise_multiplier_for(privacy.target_epsilon, ledger.delta, spending)
        of_device = 2.0 if privacy.mechanism == "local" else 1.0
        privacy = privacy.model_copy(
            update={"noise_multiplier": of_device * found, "target_epsilon": 0.0}
        )
    solved = federation.model_copy(update={"privacy": privacy})
    noise_of_updates(privacy, privacy.noise_multiplier)
    ledger_of(solved, num_devices, cohorts, dim).last_round()
    return solved
