"""Settings of the virtual app: how people use it, what a request takes, how a release travels."""

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.rollout.settings import VERSION
from simulation.experiments.plans import load_plan
from simulation.experiments.rollout.rollout_plan import FOLDER

MOST_REQUESTS = 65_535
"""Of a device in one rollout: they are counted in 16 bits."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Activity(_Part):
    """How often people open the app."""

    event_quantiles: tuple[float, ...] = Field(
        min_length=1, description="training events of devices, middles of equal shares of them"
    )
    sessions_per_day: float = Field(gt=0, le=20, description="of the mean device")
    most_sessions: int = Field(ge=1, le=50, description="that a device has on a day")
    requests_per_session: int = Field(ge=1, le=20, description="lists that it asks for in each")
    before_days: int = Field(ge=1, le=60, description="days before the start, for CUPED")


class ClickModel(_Part):
    """Which lists are clicked on."""

    positions: int = Field(ge=1, le=100, description="of a list")
    eta: float = Field(ge=0, le=5, description="position k is looked at with chance k^-eta")
    attraction: float = Field(gt=0, lt=1, description="chance to click what is looked at")
    random_attraction: float = Field(ge=0, lt=1, description="the same, in a list at random")
    taste_spread: float = Field(ge=0, le=2, description="of it over devices: sigma of a logarithm")

    @model_validator(mode="after")
    def _random_is_worse(self) -> "ClickModel":
        if self.random_attraction > self.attraction:
            raise ValueError(
                f"random_attraction is {self.random_attraction:g}, attraction {self.attraction:g}: "
                "a list at random is not better; lower it"
            )
        return self


class Requests(_Part):
    """What a request takes, and what goes wrong; chances are of one device on a day of use."""

    device_spread: float = Field(ge=0, le=2, description="of its time over phones of a tier: sigma")
    jitter: float = Field(ge=0, le=2, description="of its time on the same phone: sigma")
    kib: int = Field(ge=1, le=100_000, description="mean kibibytes (1,024 bytes) of a request")
    crash: float = Field(ge=0, lt=0.2, description="chance of a crash")
    out_of_memory: float = Field(ge=0, lt=0.2, description="chance to run out of memory")
    opt_out: float = Field(ge=0, lt=0.2, description="chance to switch recommendations off")


class TierBundle(_Part):
    """What the phones of one tier get of a release, and what it does there."""

    size: str = Field(min_length=1, max_length=40, description="name of the bundle")
    release_bytes: int = Field(ge=1, description="that a phone fetches, with all but the bundle")
    memory_mb: float = Field(gt=0, description="that serving wants, megabytes (1e6 bytes)")
    latency: float = Field(gt=0, le=100, description="factor of the time of a request")
    clicks: float = Field(ge=0, le=10, description="factor of the chance of a click")


class Delivery(_Part):
    """How a release reaches phones, and what they say about themselves."""

    check_in_hours: tuple[float, ...] = Field(
        min_length=1, max_length=24, description="hours, UTC, at which phones look for a manifest"
    )
    release_bytes: int = Field(ge=1, description="of the release, on tiers without a bundle")
    encoder_bytes: int = Field(ge=1, description="of them, the encoder bundle")
    bundles: dict[str, TierBundle] = Field(description="by tier; none: one release for all")
    deadline_s: float = Field(gt=0, description="a download that takes longer is given up")
    internal_share: float = Field(ge=0, le=0.5, description="devices of the team")
    systems: dict[str, float] = Field(min_length=1, description="operating systems, with shares")
    app_versions: dict[str, float] = Field(min_length=1, description="versions, with shares")

    @model_validator(mode="after")
    def _shares_add_up(self) -> "Delivery":
        for name, shares in (("systems", self.systems), ("app_versions", self.app_versions)):
            total = sum(shares.values())
            if min(shares.values()) < 0 or abs(total - 1.0) > 1e-6:
                raise ValueError(f"shares of {name} add up to {total:g}, they must add up to 1")
        if not all(0 <= hour < 24 for hour in self.check_in_hours):
            raise ValueError("check_in_hours must lie in [0, 24)")
        wrong = [each for each in self.app_versions if not re.match(VERSION, each)]
        if wrong:
            raise ValueError(f"'{wrong[0]}' is no version: write it as 2.14.0")
        return self


class Operator(_Part):
    """What people do beside the rule."""

    days_to_roll_back: int = Field(ge=0, le=60, description="after a halt")
    days_after: int = Field(ge=0, le=60, description="days that are looked at after a rollback")
    quiet_days: int = Field(ge=1, le=365, description="days without a change before a pause")
    most_days: int = Field(ge=1, le=365, description="days after which the simulation stops")


class AppSettings(_Part):
    """The virtual app, as its file says it."""

    activity: Activity
    click_model: ClickModel
    requests: Requests
    delivery: Delivery
    operator: Operator

    @model_validator(mode="after")
    def _requests_fit_their_column(self) -> "AppSettings":
        use, days = self.activity, self.operator.most_days
        most = use.most_sessions * use.requests_per_session * days
        if most > MOST_REQUESTS:
            raise ValueError(
                f"{use.most_sessions} sessions of {use.requests_per_session} requests on {days} "
                f"days are {most:,} requests of a device, {MOST_REQUESTS:,} can be counted: lower "
                "one of them"
            )
        return self


def load_app(overrides: Sequence[str] = ()) -> tuple[AppSettings, list[str]]:
    """Read the settings that come with the product and put overrides on top.

    Returns:
        the settings, and the overrides that are not theirs.

    Raises:
        SettingsError: if a key or value is wrong.
    """
    path = Path(str(resources.files("simulation.presets"))) / FOLDER / "app" / "default.toml"
    return load_plan(AppSettings, FOLDER, path, overrides)
