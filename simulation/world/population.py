"""A population of any size, fitted on real users: how active people are and what they like.

    real training events -> K topics (latent Dirichlet allocation [1]) and each user's mixture
    each user            -> a number of tastes, drawn from the posterior of that user's mixture,
                            and the hours of the week at which that user does things
    a device             -> one of the tastes, and a number of events near that user's
    topics               -> corrected until items are as popular as among the real users

What a device did is then drawn when it is asked for (`clients.synthetic_events`); a tier and a
number of events per device are written in a stream, 3 bytes a device. Only training events are
looked at, so nothing that real users held out is in the population.

What this does not capture, by construction: the order of events within a device (they can be
exchanged), words written privately, tastes that change, items that come and go. How well it does
with what it means to capture is measured (`simulation.world.fidelity`).

[1] D. Blei, A. Ng, M. Jordan, "Latent Dirichlet Allocation", JMLR 3, 2003; M. Hoffman, D. Blei,
    F. Bach, "Online Learning for Latent Dirichlet Allocation", NIPS 2010 (scikit-learn's).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtri
from sklearn.decomposition import LatentDirichletAllocation

from clients.shard import WorldManifest
from clients.synthetic_events import SyntheticEvents, TasteModel
from models.baselines import interaction_matrix
from models.errors import DataError
from models.histories import Histories
from models.progress import Progress, silent
from models.seeds import generator, integer_seed, uniforms
from models.threads import fixed_threads
from simulation.world.devices import WorldSettings, tiers_of
from simulation.world.folder import replacing_world

DEVICES_AT_A_TIME = 1 << 20
MOST_EVENTS = np.iinfo(np.uint16).max
HOURS_PER_TASTE = 16
SMOOTHING = 0.01
"""Of a topic's chances, the share that is spread over all items: nothing is impossible."""


class PopulationSettings(BaseModel):
    """Who the devices belong to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: int = Field(
        ge=0, le=10**9, description="synthetic devices; 0 is one device for each real user"
    )
    topics: int = Field(ge=1, le=500, description="topics of the taste model")
    iterations: int = Field(ge=1, le=1000, description="passes of its fit over the real users")
    tastes: int = Field(ge=1, le=10**7, description="different tastes that devices can have")
    activity_spread: float = Field(
        ge=0, le=2, description="sigma of the logarithm of events, around a real user's number"
    )
    corrections: int = Field(ge=0, le=50, description="rounds of correcting item popularity")
    correction_devices: int = Field(ge=100, description="devices drawn for each of these rounds")


@dataclass(frozen=True, slots=True)
class FittedPopulation:
    """Real users, as far as the synthetic ones are like them.

    Attributes:
        model: what people like.
        taste_events: (S,) training events of the real user whom each taste was drawn for.
    """

    model: TasteModel
    taste_events: NDArray[np.int64]

    def num_events(
        self, device_ids: NDArray[np.integer], spread: float, seed: int
    ) -> NDArray[np.uint16]:
        """Training events of each device; never more than the model has items for."""
        near = self.taste_events[self.model.taste_of(device_ids, seed)]
        drawn = np.maximum(uniforms(seed, "activity", device_ids), 2.0**-54)
        events = np.rint(near * np.exp(spread * ndtri(drawn)))
        most = min(MOST_EVENTS, self.model.num_items - 1)
        return np.asarray(np.clip(events, 1, most).astype(np.uint16))

    def events(self, num_devices: int, spread: float, seed: int) -> SyntheticEvents:
        """The events of a population of this size, without writing anything."""
        num_events = self.num_events(np.arange(num_devices), spread, seed)
        return SyntheticEvents(self.model, 0, num_events, seed)


def fit_population(
    pool: Histories,
    times_s: NDArray[np.integer],
    num_items: int,
    settings: PopulationSettings,
    seed: int,
    progress: Progress = silent,
) -> FittedPopulation:
    """Fit tastes, activity and hours on the training events of real users.

    Args:
        pool: training events.
        times_s: (E,) their times, UTC; below 0 where the data has none.
        num_items: N.
        settings: of the fit.
        seed: the run's seed.
        progress: told about the fit.

    Raises:
        DataError: if nobody has an event.
    """
    users = np.flatnonzero(pool.lengths() > 0)
    if len(users) == 0:
        raise DataError("no user has a training event: there is nothing to fit a population on")
    matrix = interaction_matrix(pool, num_items)[users]
    lda = LatentDirichletAllocation(
        n_components=settings.topics,
        learning_method="batch",
        max_iter=settings.iterations,
        random_state=integer_seed(seed, "population topics") % 2**32,
    )
    progress("fitting the population", 0, 1)
    with fixed_threads(1):
        mixtures = lda.fit_transform(matrix)  # (U, K), rows add up to 1
    topics = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    lengths = pool.lengths()[users]
    # A variational posterior Dirichlet(gamma) has gamma add up to its prior plus its events.
    gamma = mixtures * (lda.doc_topic_prior_ * settings.topics + lengths[:, None])
    rng = generator(seed, "tastes")
    owners = np.arange(settings.tastes) % len(users)
    tastes = rng.gamma(gamma[owners]) + 1e-12
    hours = _hours(pool, times_s, users[owners], seed)
    model = TasteModel.of(tastes, _smoothed(topics), hours)
    fitted = FittedPopulation(model, lengths[owners])
    progress("fitting the population", 1, 1)
    return _corrected(fitted, tastes, topics, matrix, settings, seed, progress)


def _corrected(
    fitted: FittedPopulation,
    tastes: NDArray[np.float64],
    topics: NDArray[np.float64],
    matrix: NDArray,
    settings: PopulationSettings,
    seed: int,
    progress: Progress,
) -> FittedPopulation:
    """Raise the items that synthetic devices have too seldom, and lower those they have too often.

    The fit takes events for independent draws; a device has an item once, which takes from the
    most popular ones.
    """
    real = np.asarray(matrix.sum(axis=0)).ravel() / matrix.sum()
    for number in range(settings.corrections):
        progress("correcting item popularity", number, settings.corrections)
        events = fitted.events(settings.correction_devices, settings.activity_spread, seed)
        histories, _ = events.cut(np.arange(events.num_devices))
        found = np.bincount(histories.items, minlength=len(real)) / len(histories.items)
        floor = 1.0 / len(histories.items)
        topics = topics * (real + floor) / (found + floor)
        model = TasteModel.of(tastes, _smoothed(topics), fitted.model.taste_hours)
        fitted = FittedPopulation(model, fitted.taste_events)
    progress("correcting item popularity", settings.corrections, max(settings.corrections, 1))
    return fitted


def _hours(
    pool: Histories, times_s: NDArray[np.integer], owners: NDArray[np.int64], seed: int
) -> NDArray[np.uint8]:
    """For each taste the hours of the week of some events of its owner, (S, H) or (S, 0)."""
    if len(times_s) == 0 or times_s.min() < 0:
        return np.zeros((len(owners), 0), np.uint8)
    tastes = np.arange(len(owners))
    drawn = uniforms(seed, "taste hours", tastes[:, None], np.arange(HOURS_PER_TASTE))
    places = (drawn * pool.lengths()[owners][:, None]).astype(np.int64)
    return hour_of_week(times_s[pool.offsets[owners][:, None] + places])


def hour_of_week(times_s: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Hour of the week, UTC, 0 is Monday midnight; times since 1970-01-01, a Thursday.

    >>> int(hour_of_week(np.array([0]))[0]) / 24
    3.0
    """
    return ((times_s // 3600 + 3 * 24) % (7 * 24)).astype(np.uint8)


def _smoothed(topics: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = topics / topics.sum(axis=1, keepdims=True)
    return np.asarray((1.0 - SMOOTHING) * shares + SMOOTHING / topics.shape[1])


def build_population(
    fitted: FittedPopulation,
    population: PopulationSettings,
    world: WorldSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> WorldManifest:
    """Write a world of synthetic devices, in a stream: memory does not grow with the population.

    Args:
        fitted: what people like, and how active they are.
        population: how many devices.
        world: the device tiers.
        seed: the run's seed.
        folder: where; an older world there is replaced.
        progress: told about devices written.

    Raises:
        DataError: if the folder exists and holds no world, or the disk is full.
    """
    count = population.devices
    manifest = WorldManifest(
        num_devices=count,
        num_items=fitted.model.num_items,
        tiers=tuple(kind.name for kind in world.tiers),
        events="synthetic",
        seed=seed,
    )
    with replacing_world(folder, manifest) as staging:
        fitted.model.write(staging)
        np.save(staging / "taste_events.npy", fitted.taste_events, allow_pickle=False)
        tier = np.lib.format.open_memmap(staging / "tier.npy", "w+", np.int8, (count,))
        events = np.lib.format.open_memmap(staging / "num_events.npy", "w+", np.uint16, (count,))
        for start in range(0, count, DEVICES_AT_A_TIME):
            ids = np.arange(start, min(start + DEVICES_AT_A_TIME, count))
            tier[ids[0] : ids[-1] + 1] = tiers_of(ids, world, seed)
            spread = population.activity_spread
            events[ids[0] : ids[-1] + 1] = fitted.num_events(ids, spread, seed)
            progress("writing devices", int(ids[-1]) + 1, count)
        tier.flush()
        events.flush()
    return manifest
