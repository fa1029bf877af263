"""Settings of user-level differential privacy, `[federation.privacy]`.

What fits together within this section is checked here; what fits the rest of a run (sampling, the
server's optimizer, buffered reports) is checked by `server.settings.Federation`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mechanism = Literal["none", "central", "local", "distributed"]


class PrivacySettings(BaseModel):
    """What is promised to each user, and what it costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mechanism: Mechanism = Field(
        description="central: the cloud is trusted and adds noise to each sum; local: every phone "
        "adds its own; distributed: every phone adds a share, and secure sums hide the rest"
    )
    noise_multiplier: float = Field(
        ge=0, description="standard deviation of the noise / clip norm: on the sum, or on a phone"
    )
    target_epsilon: float = Field(
        ge=0, description="0, or the epsilon that the whole run may have: solves for the noise"
    )
    budget_epsilon: float = Field(
        ge=0, description="0, or the epsilon that the run stops before it passes it"
    )
    delta: float = Field(ge=0, lt=1, description="of (epsilon, delta); 0 is min(1e-5, N^-1.1)")
    target_quantile: float = Field(
        ge=0, lt=1, description="0: the clip norm stays; else it follows this quantile of the norms"
    )
    clip_rate: float = Field(ge=0, le=5, description="adaptive clipping: rate of the clip norm")
    clip_noise_multiplier: float = Field(
        ge=0, description="adaptive clipping: standard deviation of the noise on the count, devices"
    )
    evaluation_noise_multiplier: float = Field(
        ge=0,
        description="noise on metric sums / what a device adds to them; 0: exact metrics, which "
        "epsilon does not cover",
    )
    scaled_population: int = Field(
        ge=0, description="0, or N' > N: noise on the mean as a population of N' phones would have"
    )

    @property
    def is_private(self) -> bool:
        """Whether anything is promised at all."""
        return self.mechanism != "none"

    @property
    def is_adaptive(self) -> bool:
        """Whether the clip norm follows a quantile."""
        return self.target_quantile > 0

    @model_validator(mode="after")
    def _one_source_of_noise(self) -> "PrivacySettings":
        if not self.is_private:
            for name in (
                "noise_multiplier",
                "target_epsilon",
                "budget_epsilon",
                "target_quantile",
                "evaluation_noise_multiplier",
                "scaled_population",
            ):
                if value := getattr(self, name):
                    raise ValueError(
                        f'mechanism is "none" and {name} is {value:g}: choose mechanism '
                        f'"central", "local" or "distributed", or set {name} to 0'
                    )
            return self
        if (self.noise_multiplier > 0) == (self.target_epsilon > 0):
            raise ValueError(
                f"noise_multiplier is {self.noise_multiplier:g} and target_epsilon is "
                f"{self.target_epsilon:g}: exactly one of them says how much noise there is; "
                "set the other to 0"
            )
        return self

    @model_validator(mode="after")
    def _distributed_has_no_trusted_cloud(self) -> "PrivacySettings":
        if self.mechanism != "distributed":
            return self
        if self.is_adaptive:
            raise ValueError(
                'target_quantile with mechanism "distributed": the cloud would see the count of '
                "short updates of each round without noise; set target_quantile to 0"
            )
        if self.evaluation_noise_multiplier:
            raise ValueError(
                'evaluation_noise_multiplier with mechanism "distributed": it is noise of a '
                "trusted cloud, which sees the sum of all phones' metrics first; set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _adaptive_is_central(self) -> "PrivacySettings":
        if not self.is_adaptive:
            return self
        if self.mechanism == "local":
            raise ValueError(
                'target_quantile with mechanism "local": the bit that says whether an update was '
                "short enough would leave the phone without noise; set target_quantile to 0"
            )
        if self.clip_rate == 0 or self.clip_noise_multiplier == 0:
            raise ValueError(
                "target_quantile wants clip_rate and clip_noise_multiplier above 0: a twentieth of "
                "the cohort is a good noise on the count (Andrew et al., 2021)"
            )
        return self

    @model_validator(mode="after")
    def _local_is_of_one_phone(self) -> "PrivacySettings":
        if self.mechanism != "local":
            return self
        if self.scaled_population:
            raise ValueError(
                'scaled_population with mechanism "local": a phone adds the noise that it needs '
                "itself, however many others there are; set scaled_population to 0"
            )
        if self.evaluation_noise_multiplier:
            raise ValueError(
                'evaluation_noise_multiplier with mechanism "local": it is noise of a trusted '
                "cloud, and exact metrics would already have left the phones; set it to 0"
            )
        return self
