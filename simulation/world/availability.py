"""When a phone may be asked: charging, idle and on a network that costs nothing.

    local hour   18    20    22    24     2     4     6     8    10 ... 14
    charging               ╺━━━━━━━━━━━━━━━━━━━━━━━╸               ╺━╸        a night, and by day
    idle         ╸                ╺━━━━━━━━━━━━━╸        ╺╸  ╺╸       ╺╸      asleep, then in pauses
    unmetered    at home, if there is such a network; during the day by chance

A phone has habits (`Habits`): a time zone, an hour at which it is plugged in, how long it then
stays there, how often that happens. They are drawn from its id alone, and what happens on a day
from id and day, so whether a phone is available is a pure function of (settings, seed, device,
time): asked twice, or for other devices at the same time, it says the same. That is what lets a
cohort be drawn from millions of devices by asking only a few of them.

The rule is that of deployed systems: only phones that are idle, charging and on an unmetered
network train, and four times as many do so at the best hour as at the worst [1]. The hours, lengths
and chances are assumptions that were chosen to give that factor; a test holds the preset to it.

[1] K. Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys 2019, sections
    3 and 9.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import ndtri

from models.seeds import uniforms

HOUR_S, DAY_H, WEEK_DAYS = 3600.0, 24.0, 7
"""The virtual clock begins on a Monday at midnight, UTC."""

_FRIDAY, _SATURDAY = 4, 5
_EARLIEST_H, _LATEST_H, _SHORTEST_H, _LONGEST_H = 12.0, 36.0, 0.1, 12.0
"""Of a night's charge, from the midnight before it: so it ends before the second midnight after."""

_FIRST_DAY_H, _LAST_DAY_H = 7.0, 24.0
"""Local hours between which a charge by day begins and ends."""


class TimeZone(BaseModel):
    """Where a share of the devices lives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset_h: float = Field(ge=-12, le=14, description="local time minus UTC, hours")
    share: float = Field(gt=0, le=1, description="share of the population")


class HabitSettings(BaseModel):
    """How people treat their phones; means and spreads are over devices and over days."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zones: tuple[TimeZone, ...] = Field(min_length=1, max_length=40)
    night_share: float = Field(ge=0, le=1, description="nights on which a phone is plugged in")
    night_start_h: float = Field(ge=18, le=30, description="local hour of that; 25 is one at night")
    night_start_sd_h: float = Field(ge=0, le=6, description="its spread over devices")
    night_jitter_h: float = Field(ge=0, le=6, description="its spread over the days of a device")
    night_hours: float = Field(gt=0, le=16, description="how long it then stays plugged in, hours")
    night_hours_sd: float = Field(ge=0, le=6, description="spread of that over days")
    weekend_shift_h: float = Field(ge=0, le=6, description="how much later on Friday and Saturday")
    day_share: float = Field(ge=0, le=1, description="days with a charge by day as well")
    day_hours: float = Field(gt=0, le=8, description="how long that one takes, hours")
    idle_at_night: float = Field(ge=0, le=1, description="chance to be idle, hours 0 to 6")
    idle_by_day: float = Field(ge=0, le=1, description="chance to be idle at another hour")
    home_network: float = Field(ge=0, le=1, description="devices with an unmetered network at home")
    day_network: float = Field(ge=0, le=1, description="chance of one during a charge by day")

    @model_validator(mode="after")
    def _shares_add_up(self) -> "HabitSettings":
        total = sum(zone.share for zone in self.time_zones)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"shares of the time zones add up to {total:g}, they must add up to 1")
        return self


@dataclass(frozen=True, slots=True)
class PhoneStates:
    """What some phones are doing, each (n,) bool.

    Attributes:
        charging: plugged in.
        idle: nobody is using it.
        unmetered: on a network that costs nothing.
    """

    charging: NDArray[np.bool_]
    idle: NDArray[np.bool_]
    unmetered: NDArray[np.bool_]

    @property
    def available(self) -> NDArray[np.bool_]:
        """All three."""
        return self.charging & self.idle & self.unmetered


@dataclass(frozen=True, slots=True)
class Availability:
    """Habits of a population, asked by device and time.

    Attributes:
        habits: settings.
        seed: the run's seed.
    """

    habits: HabitSettings
    seed: int

    def states(
        self, device_ids: NDArray[np.integer], time_s: float | NDArray[np.floating]
    ) -> PhoneStates:
        """Say what phones are doing.

        Args:
            device_ids: (n,) ids; the population may be of any size.
            time_s: of the virtual clock, UTC, >= 0; one for all, or (n,).
        """
        ids = np.asarray(device_ids, dtype=np.int64)
        a_week = WEEK_DAYS * DAY_H  # so that no day is below 0, and weekdays stay what they are
        local_h = np.asarray(time_s) / HOUR_S + self.offsets_h(ids) + a_week
        today = np.floor(local_h / DAY_H).astype(np.int64)
        at_night = self._in_night(ids, today, local_h) | self._in_night(ids, today - 1, local_h)
        by_day = self._in_day_charge(ids, today, local_h)
        hour = np.floor(local_h).astype(np.int64)
        asleep = local_h % DAY_H < 6
        chance = np.where(asleep, self.habits.idle_at_night, self.habits.idle_by_day)
        home = self._draw("home network", ids) < self.habits.home_network
        outside = self._draw("day network", ids, today) < self.habits.day_network
        return PhoneStates(
            charging=at_night | by_day,
            idle=self._draw("idle", ids, hour) < chance,
            unmetered=np.where(at_night, home, outside),
        )

    def available(
        self, device_ids: NDArray[np.integer], time_s: float | NDArray[np.floating]
    ) -> NDArray[np.bool_]:
        """Say which phones are charging, idle and unmetered; arguments as for `states`."""
        return self.states(device_ids, time_s).available

    def offsets_h(self, device_ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Local time minus UTC of each device, hours."""
        zones = self.habits.time_zones
        edges = np.cumsum([zone.share for zone in zones])
        edges[-1] = 1.0
        place = np.searchsorted(edges, self._draw("time zone", device_ids), side="right")
        return np.asarray([zone.offset_h for zone in zones])[place]

    def _in_night(
        self, ids: NDArray[np.int64], day: NDArray[np.int64], local_h: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether the charge that began in the night of a day is still going on."""
        habits = self.habits
        late = np.isin(day % WEEK_DAYS, (_FRIDAY, _SATURDAY))
        start = habits.night_start_h + habits.weekend_shift_h * late
        start = start + habits.night_start_sd_h * ndtri(self._draw("night", ids))
        start = start + habits.night_jitter_h * ndtri(self._draw("night jitter", ids, day))
        spread = habits.night_hours_sd * ndtri(self._draw("night hours", ids, day))
        hours = np.clip(habits.night_hours + spread, _SHORTEST_H, _LONGEST_H)
        since = local_h - day * DAY_H - np.clip(start, _EARLIEST_H, _LATEST_H)
        plugged = self._draw("plugged in", ids, day) < habits.night_share
        return np.asarray(plugged & (since >= 0) & (since < hours))

    def _in_day_charge(
        self, ids: NDArray[np.int64], day: NDArray[np.int64], local_h: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether a charge by day is going on."""
        habits = self.habits
        room_h = _LAST_DAY_H - _FIRST_DAY_H - habits.day_hours
        start = _FIRST_DAY_H + room_h * self._draw("day charge", ids, day)
        since = local_h - day * DAY_H - start
        plugged = self._draw("plugged in by day", ids, day) < habits.day_share
        return np.asarray(plugged & (since >= 0) & (since < habits.day_hours))

    def _draw(self, purpose: str, *address: NDArray[np.integer]) -> NDArray[np.float64]:
        """A number in [0, 1) for each; never 0, so that its normal quantile is finite."""
        return np.maximum(uniforms(self.seed, f"availability: {purpose}", *address), 2.0**-54)
