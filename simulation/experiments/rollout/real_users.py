"""Real users behind the devices of a rollout: their held-out item decides what is clicked.

    device   a user, drawn with replacement (bootstrap); opens the app as the user has events
    release  rank r of the user's held-out item, from 0, among all items not chosen in training
    list     the best `positions` items; the held-out one stands at k = floor(r) + 1, or outside
    click    k is looked at with chance k^-eta [1, 2], and the wanted item is clicked when it is

    chance of a click on a list = k^-eta if k <= positions, else 0;  no taste, no other click

What a user wants does not change while the rollout lasts, and every list of a device is the same
draw with the same chance. So clicks differ between two releases exactly as the two models rank.
Lists at random hold the wanted item at each place with chance 1 / candidates.

[1], [2] as in `click_model`.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.seeds import uniforms
from simulation.experiments.rollout.app_settings import ClickModel


@dataclass(frozen=True, slots=True)
class RealUsers:
    """U users with a held-out item, and where two releases put it.

    Attributes:
        names: of the release before, and of the new one.
        events: (U,) training events, > 0.
        ranks: (2, U) of the held-out item, from 0, ties half: the release before, the new one.
        candidates: (U,) items that were ranked, the held-out one with them.
    """

    names: tuple[str, str]
    events: NDArray[np.int64]
    ranks: NDArray[np.float64]
    candidates: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.events):
            raise DataError("no user has training events and a held-out item: take another run")
        if self.ranks.shape != (2, len(self.events)) or len(self.candidates) != len(self.events):
            raise ValueError(f"ranks {self.ranks.shape} are not those of {len(self.events)} users")

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.events)

    def of_devices(self, seed: int, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """The user behind each device, (n,)."""
        return (uniforms(seed, "real user", ids) * self.num_users).astype(np.int64)

    def activity(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """How active they are, (n,), 1 on average over users."""
        return np.asarray(self.events[users] / self.events.mean())

    def listed(self, model: ClickModel) -> NDArray[np.float64]:
        """Chance of a click on a list of each release, (2, U)."""
        place = np.floor(self.ranks) + 1.0
        return np.where(place <= model.positions, place**-model.eta, 0.0)

    def click_chance(
        self,
        model: ClickModel,
        users: NDArray[np.int64],
        is_new: NDArray[np.bool_] | bool = False,
        random_share: NDArray[np.floating] | float = 0.0,
    ) -> NDArray[np.float64]:
        """Chance of a click on a list, (n,).

        Args:
            model: its positions and eta; attraction and taste are those of made-up people.
            users: (n,) behind the devices.
            is_new: (n,) which devices have the new release.
            random_share: share of the lists that are random, one number or (n,).
        """
        release = np.broadcast_to(np.asarray(is_new, dtype=np.int64), users.shape)
        chance = self.listed(model)[release, users]
        if np.any(np.asarray(random_share) > 0):
            looked_at = float((np.arange(1.0, model.positions + 1.0) ** -model.eta).sum())
            chance = chance + random_share * (looked_at / self.candidates[users] - chance)
        return np.minimum(chance, 1.0)

    def clicks_per_list(self, model: ClickModel) -> tuple[float, float]:
        """What the two releases come to on the whole fleet: active users count for more."""
        old, new = (np.average(each, weights=self.events) for each in self.listed(model))
        return float(old), float(new)

    def hit_rates(self, model: ClickModel) -> tuple[float, float]:
        """Share of users whose item is in the list."""
        old, new = (self.listed(model) > 0).mean(axis=1)
        return float(old), float(new)

    def digest(self) -> str:
        """SHA-256 of all that a rollout depends on."""
        found = hashlib.sha256("\0".join(self.names).encode())
        for each in (self.events, self.ranks, self.candidates):
            found.update(np.ascontiguousarray(each, "<f8").tobytes())
        return found.hexdigest()
