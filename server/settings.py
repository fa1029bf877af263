"""Settings of what the cloud does, and the job that the simulator hands to the ServerApp."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clients.protocol.messages import LocalTraining, UpdatePrivacy
from clients.protocol.secure_sum.rotation import padded_width
from clients.protocol.secure_sum.tasks import counts_of
from models.errors import DataError, SettingsError
from server.aggregation_settings import AggregationSettings
from server.history import BYTES_PER_PARAMETER
from server.privacy.mechanism import Mechanism
from server.privacy.settings import PrivacySettings
from server.secure_sum.costs import SumShape, phone_cost
from server.secure_sum.plan import CohortBounds, SecurePlan
from server.secure_sum.settings import SecureSumSettings

SERVER_JOB_FILE = "server-job.json"


class CentralTraining(BaseModel):
    """How the server trains on pooled data (Adam)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, le=1000, description="passes over the users")
    rate: float = Field(gt=0, le=1, description="Adam's rate")
    users_per_step: int = Field(ge=1, description="users in one gradient step")
    num_negatives: int = Field(ge=0, description="sampled negatives; 0 is the whole catalogue")


class ServerOptimizerSettings(BaseModel):
    """How the mean update of a round moves the parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["fedavg", "fedadam", "fedyogi", "feddyn"] = Field(
        description="the server's optimizer"
    )
    rate: float = Field(gt=0, le=10, description="server rate (eta in Reddi et al.)")
    beta1: float = Field(ge=0, lt=1, description="decay of the first moment (fedadam)")
    beta2: float = Field(ge=0, lt=1, description="decay of the second moment (fedadam)")
    tau: float = Field(
        ge=1e-3,
        le=1.0,
        description="adaptivity, added to the root of the second moment; a smaller one would blow "
        "rounding up until engines differ",
    )


class Schedule(BaseModel):
    """When rounds begin and end on the virtual clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_s: float = Field(ge=0, description="when round 1 looks for phones; 0 is Monday 0:00 UTC")
    over_selection: float = Field(
        ge=1, le=10, description="phones invited for each report that a round wants"
    )
    deadline_s: float = Field(gt=0, description="longest round; what comes later is not used")
    pause_s: float = Field(ge=0, description="from the end of a round to the next")
    retry_s: float = Field(
        gt=0, description="wait when too few phones are available; between two looks of a drawn one"
    )
    sampling: Literal["available", "poisson"] = Field(
        description="a cohort of available phones, or each phone drawn by itself with probability "
        "cohort_size / N whether it is there or not"
    )
    window_s: float = Field(
        ge=0,
        le=14 * 24 * 3600,
        description="poisson: how long a drawn phone that is not there may take to come; 0: it is "
        "absent, 86,400: it has a day",
    )
    mode: Literal["synchronous", "buffered"] = Field(
        description="rounds that wait for their phones, or steps whenever enough have reported"
    )
    concurrency: int = Field(ge=0, description="buffered: phones at work at the same time")
    look_every_s: float = Field(gt=0, description="buffered: how often the cloud invites phones")
    max_staleness: int = Field(
        ge=0, le=1000, description="buffered: steps after which a report is too old to be used"
    )

    @model_validator(mode="after")
    def _concurrency(self) -> "Schedule":
        if self.mode == "buffered" and self.concurrency < 1:
            raise ValueError("mode is buffered: set concurrency to 1 or more")
        return self

    @model_validator(mode="after")
    def _drawn_by_themselves(self) -> "Schedule":
        if self.sampling != "poisson":
            if self.window_s:
                raise ValueError(
                    f'window_s is {self.window_s:g} and sampling is "{self.sampling}": only a '
                    "phone that is drawn by itself is waited for; set window_s to 0 or sampling to "
                    '"poisson"'
                )
            return self
        if self.mode == "buffered":
            raise ValueError(
                'sampling is "poisson" and mode is "buffered": a step takes whoever reports first, '
                'so no phone is drawn by itself; set mode to "synchronous" or sampling to '
                '"available"'
            )
        if self.over_selection != 1:
            raise ValueError(
                f'sampling is "poisson" and over_selection is {self.over_selection:g}: whether a '
                "phone is used must not depend on who else was faster; set over_selection to 1"
            )
        return self

    @property
    def kept_versions(self) -> int:
        """How many sets of parameters the cloud keeps for phones that are still at work."""
        return self.max_staleness + 1 if self.mode == "buffered" else 1


class Federation(BaseModel):
    """A federated run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(ge=1, le=100_000, description="federated rounds")
    cohort_size: int = Field(
        ge=1, description="reports that end a round; under Poisson sampling, drawn on average"
    )
    num_nodes: int = Field(ge=1, le=1024, description="Flower nodes: shards of devices")
    evaluate_every: int = Field(ge=1, description="rounds between evaluations on the devices")
    evaluate_devices: int = Field(
        ge=0, description="devices that then evaluate, the same each time; 0 is all of them"
    )
    patience: int = Field(
        ge=1, le=1000, description="rounds in a row without any update after which a run stops"
    )
    reply_timeout_s: float = Field(
        gt=0, le=86_400, description="longest wait for a node's answer, on the clock on the wall"
    )
    schedule: Schedule
    optimizer: ServerOptimizerSettings
    aggregation: AggregationSettings
    training: LocalTraining
    privacy: PrivacySettings
    secure_sum: SecureSumSettings

    @model_validator(mode="after")
    def _sums_can_be_hidden(self) -> "Federation":
        if self.privacy.mechanism == "distributed" and not self.secure_sum.enabled:
            raise ValueError(
                'privacy.mechanism is "distributed" and secure_sum.enabled is false: a phone adds '
                "a share of the noise only, too little for a sum that is seen before it is whole; "
                "set secure_sum.enabled to true"
            )
        if not self.secure_sum.enabled:
            return self
        if self.schedule.mode == "buffered":
            raise ValueError(
                'secure_sum.enabled with schedule.mode "buffered": old reports weigh less, and the '
                'cloud cannot weigh what it only sees as a sum; set mode to "synchronous"'
            )
        if self.optimizer.name == "feddyn":
            raise ValueError(
                'secure_sum.enabled with optimizer.name "feddyn": the dual of the cloud must be '
                "the sum of the duals on the phones, and rounding drives them apart; set "
                'optimizer.name to "fedavg" or "fedadam"'
            )
        if self.privacy.mechanism == "local":
            raise ValueError(
                'secure_sum.enabled with privacy.mechanism "local": noise of a phone that trusts '
                "nobody has no largest value and fits no ring; with secure sums a share of it is "
                'enough: set mechanism to "distributed"'
            )
        if self.secure_sum.enabled and self.schedule.window_s:
            raise ValueError(
                f"secure_sum.enabled and schedule.window_s is {self.schedule.window_s:g}: phones "
                "that agree on masks must be there together; set window_s to 0"
            )
        if self._claims_amplification and self.secure_sum.min_devices > 1:
            raise ValueError(
                'secure_sum.min_devices with privacy.mechanism "central" and schedule.sampling '
                '"poisson": whether there is a sum at all would tell whether one phone more was '
                "drawn, which amplification by sampling rests on; set min_devices to 0"
            )
        return self

    @property
    def _claims_amplification(self) -> bool:
        return self.privacy.mechanism == "central" and self.schedule.sampling == "poisson"

    @model_validator(mode="after")
    def _promise_can_be_kept(self) -> "Federation":
        if not self.privacy.is_private:
            return self
        if self.optimizer.name == "feddyn":
            raise ValueError(
                f'privacy.mechanism is "{self.privacy.mechanism}" and optimizer.name is "feddyn": '
                "the cloud's dual must be the sum of the duals on the phones, and noise drives "
                'them apart; set optimizer.name to "fedavg" or "fedadam"'
            )
        if self.privacy.is_adaptive and self.schedule.mode == "buffered":
            raise ValueError(
                'privacy.target_quantile with schedule.mode "buffered": a late report was clipped '
                "with an older norm than its sum is noised for; set target_quantile to 0"
            )
        return self

    @model_validator(mode="after")
    def _single_updates_can_be_seen(self) -> "Federation":
        self.aggregation.check(self.privacy.mechanism, self.schedule.mode, self.secure_sum.enabled)
        return self

    @model_validator(mode="after")
    def _feddyn_is_two_halves(self) -> "Federation":
        training, cloud = self.training, self.optimizer.name == "feddyn"
        if training.dynamic != cloud:
            raise ValueError(
                f'optimizer.name is "{self.optimizer.name}" and training.dynamic is '
                f"{str(training.dynamic).lower()}: FedDyn is both, feddyn and true"
            )
        if cloud and (training.proximal == 0 or training.num_negatives):
            raise ValueError(
                "FedDyn wants training.proximal above 0 (its alpha) and training.num_negatives = 0 "
                "(the whole catalogue)"
            )
        return self

    def secure_plan(self, dim: int, num_devices: int) -> SecurePlan | None:
        """How sums are hidden; None: they are not.

        Args:
            dim: numbers that a device sends.
            num_devices: the population.

        Raises:
            SettingsError: if a sum could overflow.
        """
        if not self.secure_sum.enabled:
            return None
        settings = self.secure_sum
        if self._claims_amplification:  # a floor would undo it, and the cloud is trusted
            settings = settings.model_copy(update={"min_devices": 1})
        bounds = CohortBounds.of(
            settings,
            self.cohort_size,
            num_devices,
            self.rounds,
            is_drawn=self.schedule.sampling == "poisson",
        )
        scaled = self.privacy.scaled_population
        scale = num_devices / scaled if scaled else 1.0
        return SecurePlan.of(self.secure_sum, self.privacy, bounds, dim, self.rounds, scale)

    def traffic_of_a_phone(self, dim: int, num_parties: int) -> tuple[int, int]:
        """Bytes that a phone sends in a round, and those it receives beside the parameters.

        Args:
            dim: numbers of an update.
            num_parties: phones that take part in the round.
        """
        settings = self.secure_sum
        if not settings.enabled:
            return dim * BYTES_PER_PARAMETER, 0
        hidden, adaptive = self.privacy.is_private, self.privacy.is_adaptive
        counts = counts_of(
            UpdatePrivacy(hidden=hidden, count_unclipped=adaptive, local_noise_multiplier=0)
        )
        length = (padded_width(dim) if settings.rotation else dim) + len(counts)
        cost = phone_cost(SumShape(settings.bits, length, max(1, num_parties), settings.neighbours))
        return cost.up, cost.down

    def check_population(self, num_devices: int) -> None:
        """Refuse what this many devices cannot do, before any training.

        Raises:
            SettingsError: if a cohort, or the nodes, outnumber the devices, the population that
                noise is scaled to is not larger, or delta is that of one device.
        """
        if self.cohort_size > num_devices:
            raise SettingsError(
                f"federation.cohort_size is {self.cohort_size}, the population has "
                f"{num_devices} devices: ask for {num_devices} or fewer"
            )
        self.aggregation.check_nodes(self.num_nodes, num_devices)
        if self.num_nodes > num_devices:
            raise SettingsError(
                f"federation.num_nodes is {self.num_nodes}, the population has {num_devices} "
                f"devices, and a node holds one or more: ask for {num_devices} or fewer"
            )
        scaled, delta = self.privacy.scaled_population, self.privacy.delta
        if delta >= 1 / max(scaled, num_devices):
            raise SettingsError(
                f"federation.privacy.delta is {delta:g}, one in {max(scaled, num_devices):,} "
                f"devices is {1 / max(scaled, num_devices):.2g}: to give one of them away whole "
                "would pass; ask for less, or for 0, which is min(1e-5, N^-1.1)"
            )
        if scaled and scaled <= num_devices:
            raise SettingsError(
                f"federation.privacy.scaled_population is {scaled}, the population has "
                f"{num_devices} devices: ask for more than that, or for 0"
            )


class ServerJob(BaseModel):
    """The cloud's side of a run: no path in it leads to a device's data.

    Attributes:
        seed: the run's seed.
        noise_seed: what noise and the rounding of secure sums are drawn from: of this run alone.
        num_devices: the population.
        num_parameters: P.
        trained: stretches (first, end) of the P numbers that phones update and send.
        tiers: names of all kinds of phone, public: metric sums of each are noised, empty or not.
        federation: the settings of the run.
        plan: file of the cohort plan, absolute.
        initial: file of the initial parameters (P,), absolute.
        folder: where history and final parameters are written, absolute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    noise_seed: int
    num_devices: int
    num_parameters: int
    trained: tuple[tuple[int, int], ...]
    tiers: tuple[str, ...]
    federation: Federation
    plan: Path
    initial: Path
    folder: Path

    @property
    def mechanism(self) -> Mechanism:
        """What the cloud does with a sum before anything is made of it."""
        federation, plan = self.federation, self.secure_plan
        stretch = plan.stretch if plan else 1.0
        return Mechanism(
            federation.privacy, federation.cohort_size, self.num_devices, self.noise_seed, stretch
        )

    @property
    def secure_plan(self) -> SecurePlan | None:
        """How sums are hidden; None: they are not.

        Raises:
            SettingsError: if a sum could overflow.
        """
        return self.federation.secure_plan(self.num_trained, self.num_devices)

    @property
    def num_trained(self) -> int:
        """How many numbers a phone sends."""
        return sum(end - first for first, end in self.trained)

    def whole(self, trained: NDArray[np.float64]) -> NDArray[np.float64]:
        """What was sent, (num_trained,), as an update of all P numbers: 0 elsewhere."""
        update, place = np.zeros(self.num_parameters), 0
        for first, end in self.trained:
            update[first:end] = trained[place : place + end - first]
            place += end - first
        return update

    @classmethod
    def read(cls, run_folder: Path) -> "ServerJob":
        """Read the job of a run.

        Raises:
            DataError: if the folder holds none.
        """
        path = run_folder / SERVER_JOB_FILE
        if not path.is_file():
            raise DataError(
                f"no {SERVER_JOB_FILE} in run-folder '{run_folder}': start through "
                "`pocketfleet simulate`, or pass --run-config 'run-folder=\"/absolute/path\"'"
            )
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise DataError(f"{path} is damaged or of another version: prepare it again") from error
