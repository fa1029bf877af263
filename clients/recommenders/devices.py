"""The devices of a node as the federated recommenders see them: what was chosen, and what stays.

No text vector and no time is looked at. The held-out items are there because a phone evaluates
itself on them; the sampler "published" looks at them too, which is the leak it is named for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.personal import PersonalStore
from clients.protocol.partitions import partition_bounds
from clients.shard import DeviceShard
from models.histories import Histories
from models.recommenders.negatives import NegativeSampler
from models.recommenders.settings import MethodSettings


@dataclass(frozen=True, slots=True)
class RatingDevices:
    """The devices of a node. Rows are local: device `first_device + row`.

    Attributes:
        first_device: id of the device in row 0.
        population: devices of all nodes.
        histories: training events of the node's devices.
        held_out: (B, H) int32 items that they are judged by, -1 where there is none; the first
            column is what they evaluate themselves on.
        num_items: N.
        personal: what stays on them, as the difference to where everybody starts.
    """

    first_device: int
    population: int
    histories: Histories
    held_out: NDArray[np.int32]
    num_items: int
    personal: PersonalStore

    @classmethod
    def of_shard(cls, shard: DeviceShard) -> "RatingDevices":
        """The devices of a node of a federated run."""
        histories, held_out = shard.events.cut(np.arange(shard.num_devices))
        return cls(
            shard.first_device,
            shard.manifest.num_devices,
            histories,
            held_out[:, None],
            shard.manifest.num_items,
            shard.personal,
        )

    @classmethod
    def partition(
        cls,
        histories: Histories,
        held_out: NDArray[np.int32],
        num_items: int,
        store: PersonalStore,
        partition_id: int,
        num_partitions: int,
    ) -> "RatingDevices":
        """One node's part of a population that lies in memory; its store is opened anew."""
        population = histories.num_users
        first, end = partition_bounds(population, partition_id, num_partitions)
        rows = np.arange(first, end)
        own = PersonalStore.open(store.path, first, end)
        return cls(first, population, histories.cut(rows), held_out[rows], num_items, own)

    def sampler(self, settings: MethodSettings, num_negatives: int) -> NegativeSampler:
        """What their negatives are drawn by."""
        return NegativeSampler(
            settings.sampler, num_negatives, self.histories, self.held_out, self.num_items
        )
