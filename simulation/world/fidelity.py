"""How like real users the synthetic devices are, aspect by aspect, with noise as the yardstick.

    history length    distribution of training events a person     Kolmogorov-Smirnov distance
    item popularity   share of all events that each item has       total variation
    variety           entropy of a person over clusters of items   Kolmogorov-Smirnov distance
    co-occurrence     log-lift of pairs of popular items           correlation
    hour of the week  share of all events in each hour, UTC        total variation

Two samples of the same people differ by chance. So the real users are cut into halves, again and
again, and one half is compared with the other half, and with as many synthetic devices: a perfect
population would come out alike in both. Beside them stands all against all, which is less noisy.

Clusters of items come from the source alone: items that the same people have lie close in the
singular vectors of the user-item matrix, and k-means groups those. The model that draws the
synthetic devices has no part in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD

from models.baselines import interaction_matrix
from models.errors import DataError
from models.histories import Histories
from models.seeds import generator, integer_seed
from models.threads import fixed_threads
from simulation.world import distances

WEEK_H = 7 * 24
CLUSTERS, DIMENSIONS, PAIRED_ITEMS, SPLITS = 20, 16, 200, 10
FEWEST_USERS = 4

NOT_CAPTURED = (
    "The order of events: within a device they could be shuffled, nothing leads to anything.",
    "Tastes that change: a device likes the same things from its first event to its last.",
    "Private words: synthetic devices have written nothing.",
    "Items that come and go: the whole catalogue is there all the time.",
    "People outside the source: each taste is a real user's, seen through topics and drawn within "
    "what that user's events leave open, however many devices share it.",
)


@dataclass(frozen=True, slots=True)
class People:
    """Some users, real or not.

    Attributes:
        histories: their training events.
        hours: (E,) hour of the week of each event, 0 is Monday midnight UTC; None where unknown.
    """

    histories: Histories
    hours: NDArray[np.uint8] | None

    @property
    def count(self) -> int:
        """How many."""
        return self.histories.num_users

    def some(self, users: NDArray[np.integer]) -> "People":
        """These alone."""
        offsets = self.histories.offsets
        hours = self.hours
        if hours is not None:
            parts = [hours[offsets[user] : offsets[user + 1]] for user in users]
            hours = np.concatenate(parts) if parts else hours[:0]
        return People(self.histories.cut(users), hours)

    def active(self) -> "People":
        """Those with an event."""
        return self.some(np.flatnonzero(self.histories.lengths() > 0))


@dataclass(frozen=True, slots=True)
class Portrait:
    """What a sample of people is like, as far as it is compared.

    Attributes:
        lengths: (U,) training events of each person.
        popularity: (N,) share of the events that each item has.
        entropies: (U,) bits, over clusters of items.
        lifts: (P,) log-lift of each pair of popular items.
        hours: (168,) share of the events in each hour; None where times are unknown.
    """

    lengths: NDArray[np.int64]
    popularity: NDArray[np.float64]
    entropies: NDArray[np.float64]
    lifts: NDArray[np.float64]
    hours: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Lens:
    """What people are looked at through; made from the source.

    Attributes:
        cluster: (N,) cluster of each item.
        paired: (T,) the most popular items, whose pairs are counted.
    """

    cluster: NDArray[np.int64]
    paired: NDArray[np.int64]

    @classmethod
    def of(cls, source: Histories, num_items: int, seed: int) -> "Lens":
        """From the training events of real users."""
        matrix = interaction_matrix(source, num_items)
        counts = np.asarray(matrix.sum(axis=0)).ravel()
        number = integer_seed(seed, "item clusters") % 2**32
        # Columns of one length: else the first vector would be popularity and nothing more.
        scaled = matrix.multiply(1.0 / np.sqrt(np.maximum(counts, 1.0))).tocsr()
        dimensions = max(1, min(DIMENSIONS, *(size - 1 for size in matrix.shape)))
        with fixed_threads(1):
            svd = TruncatedSVD(dimensions, random_state=number).fit(scaled)
            vectors = svd.components_.T  # (N, dimensions)
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            vectors = vectors.astype(np.float64).round(4)  # so that what is alike is equal
            groups = min(CLUSTERS, len(np.unique(vectors, axis=0)))
            cluster = KMeans(groups, n_init=4, random_state=number).fit_predict(vectors)
        popular = np.argsort(-counts, kind="stable")[:PAIRED_ITEMS]
        return cls(np.asarray(cluster, dtype=np.int64), popular)

    def look_at(self, people: People) -> Portrait:
        """Draw a portrait of some people."""
        histories, num_items = people.histories, len(self.cluster)
        users = np.repeat(np.arange(histories.num_users), histories.lengths())
        groups = int(self.cluster.max()) + 1
        cells = users * groups + self.cluster[histories.items]
        in_groups = np.bincount(cells, minlength=histories.num_users * groups)
        popular = interaction_matrix(histories, num_items)[:, self.paired]
        pairs = (popular.T @ popular).toarray()
        hours = people.hours
        by_hour = None if hours is None else np.bincount(hours, minlength=WEEK_H)
        return Portrait(
            lengths=histories.lengths(),
            popularity=distances.shares(np.bincount(histories.items, minlength=num_items)),
            entropies=distances.entropies_bits(in_groups.reshape(-1, groups)),
            lifts=distances.log_lifts(pairs, histories.num_users),
            hours=None if by_hour is None else distances.shares(by_hour),
        )


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close two portraits are; 0 is the same, but for `lifts`, where 1 is the same.

    Attributes:
        lengths: Kolmogorov-Smirnov distance of the history lengths.
        popularity: total variation of item popularity.
        entropies: Kolmogorov-Smirnov distance of the entropies.
        lifts: correlation of the log-lifts; 0 where one side has no spread.
        hours: total variation over the hours of the week; None where times are unknown.
    """

    lengths: float
    popularity: float
    entropies: float
    lifts: float
    hours: float | None

    @classmethod
    def of(cls, first: Portrait, second: Portrait) -> "Closeness":
        """Compare two portraits that were drawn through one lens."""
        timed = None
        if first.hours is not None and second.hours is not None:
            timed = distances.total_variation(first.hours, second.hours)
        return cls(
            lengths=distances.kolmogorov_smirnov(first.lengths, second.lengths),
            popularity=distances.total_variation(first.popularity, second.popularity),
            entropies=distances.kolmogorov_smirnov(first.entropies, second.entropies),
            lifts=_correlation(first.lifts, second.lifts),
            hours=timed,
        )

    @classmethod
    def mean(cls, found: Iterable["Closeness"]) -> "Closeness":
        """The mean of each aspect."""
        several = list(found)
        hours = [each.hours for each in several if each.hours is not None]
        return cls(
            lengths=float(np.mean([each.lengths for each in several])),
            popularity=float(np.mean([each.popularity for each in several])),
            entropies=float(np.mean([each.entropies for each in several])),
            lifts=float(np.mean([each.lifts for each in several])),
            hours=float(np.mean(hours)) if hours else None,
        )


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What the comparison found.

    Attributes:
        num_users: real users with an event.
        num_devices: synthetic devices that were drawn.
        half_size: people in each half, and in each sample of devices beside it.
        num_splits: how often the users were cut into halves.
        whole: all users and all drawn devices.
        matched: half of the users and as many devices, mean over the splits.
        halves: half of the users and the other half, mean over the splits: noise.
        real: portrait of all users.
        synthetic: portrait of all drawn devices.
        half: portraits of one half, of the other, and of as many devices, in the first split.
    """

    num_users: int
    num_devices: int
    half_size: int
    num_splits: int
    whole: Closeness
    matched: Closeness
    halves: Closeness
    real: Portrait
    synthetic: Portrait
    half: tuple[Portrait, Portrait, Portrait]


def compare_people(real: People, synthetic: People, num_items: int, seed: int) -> Fidelity:
    """Compare synthetic devices with the users whom they were fitted on.

    Args:
        real: all users of the source, training events alone.
        synthetic: devices; more of them give less noise in `whole`.
        num_items: N.
        seed: of the clusters and of the halves.

    Raises:
        DataError: if fewer than 4 users have an event, or there is no device.
    """
    real, synthetic = real.active(), synthetic.active()
    if real.count < FEWEST_USERS or synthetic.count == 0:
        raise DataError(
            f"{real.count} users and {synthetic.count} devices have an event: to compare them "
            f"takes {FEWEST_USERS} users or more, and a device"
        )
    if real.hours is None or synthetic.hours is None:
        real, synthetic = replace(real, hours=None), replace(synthetic, hours=None)
    lens = Lens.of(real.histories, num_items, seed)
    size = min(real.count // 2, synthetic.count)
    trios = [_trio(real, synthetic, size, lens, seed, number) for number in range(SPLITS)]
    whole = lens.look_at(real), lens.look_at(synthetic)
    return Fidelity(
        num_users=real.count,
        num_devices=synthetic.count,
        half_size=size,
        num_splits=SPLITS,
        whole=Closeness.of(*whole),
        matched=Closeness.mean(Closeness.of(half, devices) for half, _, devices in trios),
        halves=Closeness.mean(Closeness.of(half, other) for half, other, _ in trios),
        real=whole[0],
        synthetic=whole[1],
        half=trios[0],
    )


def _trio(
    real: People, synthetic: People, size: int, lens: Lens, seed: int, number: int
) -> tuple[Portrait, Portrait, Portrait]:
    """One half of the users, the other half, and as many devices."""
    rng = generator(seed, "halves of the users", number)
    users = rng.permutation(real.count)
    devices = rng.choice(synthetic.count, size, replace=False)
    return (
        lens.look_at(real.some(users[:size])),
        lens.look_at(real.some(users[size : 2 * size])),
        lens.look_at(synthetic.some(devices)),
    )


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if len(first) < 2 or min(np.std(first), np.std(second)) < 1e-12:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
