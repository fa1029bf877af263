"""The privacy statement of a run: `ledger.json` in its folder, and the sentences made of it.

    ledger.json   mechanism, N, q, z, clip norms, rounds, epsilon and delta, what is not covered,
                  and the SHA-256 of all that, for the manifest of a model

Whatever is printed about the privacy of a run is printed from here.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import DataError
from models.files import write_text
from server.history import LEDGER_FILE
from server.privacy.ledger import Ledger

TRUST = {
    "central": "The cloud sees every sum before it adds noise, and is trusted with it; epsilon "
    "covers the parameters of every round, against everybody else.",
    "local": "Every phone adds noise before anything leaves it; epsilon holds against the cloud.",
    "distributed": "Every phone adds a share of the noise, and the cloud sees only the sum of all; "
    "epsilon holds against the cloud, if phones and cloud follow the protocol.",
}
NEIGHBOURS = {
    "central": "one device with all its data, there or not",
    "local": "one device, any data in place of any other",
    "distributed": "one device, its updates or zeros in their place, with its share of the noise",
}
AMPLIFIED = (
    "amplification by sampling: every phone is drawn by itself with probability q, there or not"
)
NOT_AMPLIFIED = {
    "available": "no amplification: cohorts depend on availability, over-selection and deadline",
    "local": "no amplification: the cloud knows who sent what",
    "distributed": "no amplification: the cloud knows who takes part",
}
OUTSIDE = (
    "Against those who see only the parameters, and not who takes part, amplification by sampling "
    "makes epsilon at most {:.3g}."
)
START_NOT_COVERED = (
    "the parameters a run starts from: whoever gave data for those is not protected by it"
)
EVALUATION_NOT_COVERED = "evaluation: its metric sums are exact and not covered by epsilon"


class PrivacyStatement(BaseModel):
    """What a private run promises, once it has ended.

    Attributes:
        mechanism: "central", "local" or "distributed".
        neighbours: what two populations that must look alike differ in.
        trust: who is trusted with what.
        claim: whether amplification by sampling is claimed, and why.
        num_devices: the population, N.
        cohort_size: devices that a round wants.
        probability: q of Poisson sampling; 1 where no amplification is claimed.
        noise_multiplier: of the sum (central) or of each update (local).
        clip_norms: of each round.
        target_quantile: that the clip norm followed; 0 for a fixed one.
        rounds: that were run.
        planned_rounds: that the plan has.
        most_rounds: that any one device pays for.
        evaluations: that were made.
        evaluation_noise_multiplier: 0 where they are exact.
        epsilon: of the whole run, by the tight accountant.
        epsilon_by_rdp: an upper bound by another proof.
        delta: of both.
        scaled_population: N' whose noise the mean has, or 0.
        epsilon_at_hand: an upper bound for the N devices that there are, in a scaled run.
        epsilon_outside: in a distributed run with Poisson sampling, an upper bound against those
            who see only the parameters.
        not_covered: what epsilon says nothing about.
        note: why the run ended early, or nothing.
        sha256: of all the rest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mechanism: str
    neighbours: str
    trust: str
    claim: str
    num_devices: int
    cohort_size: int
    probability: float
    noise_multiplier: float
    clip_norms: tuple[float, ...]
    target_quantile: float
    rounds: int
    planned_rounds: int
    most_rounds: int
    evaluations: int
    evaluation_noise_multiplier: float
    epsilon: float
    epsilon_by_rdp: float
    delta: float
    scaled_population: int
    epsilon_at_hand: float | None
    epsilon_outside: float | None
    not_covered: tuple[str, ...]
    note: str
    sha256: str = ""

    @classmethod
    def of(cls, ledger: Ledger, clip_norms: tuple[float, ...], note: str) -> "PrivacyStatement":
        """What a ledger comes to after so many rounds, one clip norm for each."""
        settings, rounds = ledger.settings, len(clip_norms)
        spending, delta = ledger.spending(rounds), ledger.delta
        scaled = settings.scaled_population
        covered = bool(settings.evaluation_noise_multiplier)
        statement = cls(
            mechanism=settings.mechanism,
            neighbours=NEIGHBOURS[settings.mechanism],
            trust=TRUST[settings.mechanism],
            claim=claim_of(ledger),
            num_devices=ledger.num_devices,
            cohort_size=ledger.cohort_size,
            probability=spending.probability,
            noise_multiplier=settings.noise_multiplier,
            clip_norms=clip_norms,
            target_quantile=settings.target_quantile,
            rounds=rounds,
            planned_rounds=ledger.rounds,
            most_rounds=spending.rounds,
            evaluations=spending.evaluations,
            evaluation_noise_multiplier=settings.evaluation_noise_multiplier,
            epsilon=spending.epsilon(delta),
            epsilon_by_rdp=spending.epsilon_by_rdp(delta),
            delta=delta,
            scaled_population=scaled,
            # Sampling is left out of it: that makes it no smaller, and quick to know.
            epsilon_at_hand=replace(ledger.at_hand(spending), probability=1.0).epsilon(delta)
            if scaled
            else None,
            epsilon_outside=ledger.outside.epsilon(rounds, delta) if ledger.outside else None,
            not_covered=(START_NOT_COVERED,)
            if covered
            else (START_NOT_COVERED, EVALUATION_NOT_COVERED),
            note=note,
        )
        return statement.model_copy(update={"sha256": statement._hash()})

    def _hash(self) -> str:
        """SHA-256 of everything but itself, keys in order."""
        tree = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write it into the folder of the run."""
        write_text(folder / LEDGER_FILE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "PrivacyStatement | None":
        """Read that of a run; None if it has none: nothing was promised, or it has not ended.

        Raises:
            DataError: if it is damaged, or was changed afterwards.
        """
        path = folder / LEDGER_FILE
        if not path.is_file():
            return None
        try:
            found = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise DataError(f"{path} is damaged or of another version: run again") from error
        if found.sha256 != found._hash():
            raise DataError(f"{path} does not match its own SHA-256: it was changed; run again")
        return found

    @property
    def headline(self) -> str:
        """Epsilon, delta, and for whom, in one line."""
        promised = f"epsilon {self.epsilon:.3g} at delta {self.delta:.2g}"
        if not self.scaled_population:
            return f"{promised} for each of {self.num_devices:,} phones"
        return (
            f"{promised}, scaled to {self.scaled_population:,} phones; for the "
            f"{self.num_devices:,} that there are at most {self.epsilon_at_hand:.3g}"
        )

    def sentences(self) -> tuple[str, ...]:
        """Everything a reader must know beside the headline."""
        said = [
            f"{self.trust} Neighbours: {self.neighbours}.",
            f"{self.claim[:1].upper()}{self.claim[1:]}; {self.most_rounds} of {self.rounds} rounds "
            "count for the device that pays most.",
            *(f"Not covered: {what}." for what in self.not_covered),
        ]
        if self.epsilon_outside is not None:
            said.insert(2, OUTSIDE.format(self.epsilon_outside))
        return (*said, self.note) if self.note else tuple(said)


def claim_of(ledger: Ledger) -> str:
    """Whether amplification is claimed, and why."""
    if ledger.is_amplified:
        return AMPLIFIED
    return NOT_AMPLIFIED.get(ledger.settings.mechanism, NOT_AMPLIFIED["available"])
