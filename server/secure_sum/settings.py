"""Settings of secure sums, `[federation.secure_sum]`.

What fits together within this section is checked here; what fits the rest of a run (schedule,
optimizer, mechanism) is checked by `server.settings.Federation`, and whether sums fit the ring by
`server.secure_sum.plan`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SecureSumSettings(BaseModel):
    """How sums are hidden from the cloud until they are whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(description="the cloud sees no sum of a node, only that of the round")
    bits: Literal[16, 24, 32] = Field(description="of a number of an update as it is sent")
    levels: int = Field(
        ge=0, le=1 << 20, description="steps from 0 to the clip norm; 0: as many as fit the bits"
    )
    threshold: float = Field(
        gt=0.5, le=1, description="share of the parties that must be left; below it nothing is seen"
    )
    min_devices: int = Field(
        ge=0,
        description="devices that must be in a sum; 0: that share of federation.cohort_size, or "
        "any number where central noise is amplified by Poisson sampling",
    )
    neighbours: int = Field(
        ge=0, le=10_000, description="parties that each is bound to by masks, even; 0: all others"
    )
    rotation: bool = Field(
        description="spread updates over their numbers before rounding: for few bits"
    )

    @model_validator(mode="after")
    def _even(self) -> "SecureSumSettings":
        if self.neighbours % 2:
            raise ValueError(
                f"neighbours is {self.neighbours}: each party is bound to as many before it as "
                f"after it; ask for {self.neighbours + 1}"
            )
        return self
