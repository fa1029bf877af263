"""A secure sum on Flower's Grid: each node is a party, four questions in place of one.

    query.train_keys  query.train_shares  train.masked  query.train_unmask        of updates
    query.evaluate_keys  ...              evaluate.masked  ...                    of metrics

A node that fails in one of the first three stages is a dropout: its devices are not in the sum. One
that fails in the last has sent its vector, and the others' shares open the sum with its devices in
it. Below the threshold there is no sum, and why is a fault of the round.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from clients.protocol.secure_sum.answers import Advertisement, Masked, Revealed, Shares
from clients.protocol.secure_sum.questions import Terms
from clients.protocol.secure_sum.ring import Ring
from clients.protocol.secure_sum.tasks import envelope, opened
from clients.protocol.secure_sum.wire import check_session
from models.errors import EngineError
from server.nodes import Nodes
from server.secure_sum.collector import Opened
from server.secure_sum.unmasking import Unmasked

Purpose = Literal["train", "evaluate"]


@dataclass(frozen=True, slots=True)
class HiddenSum:
    """What the cloud learns.

    Attributes:
        total: (length,) the sum of the vectors of some nodes; None: too few were left.
        partitions: those nodes.
        num_devices: that they hold.
        faults: what went wrong, a line each.
    """

    total: NDArray[np.int64] | None
    partitions: tuple[int, ...]
    num_devices: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SumTask:
    """A sum that is wanted.

    Attributes:
        purpose: of updates, or of metrics.
        group: of its messages, for instance the round.
        bits: of the ring.
        length: numbers of a vector.
        degree: neighbours of each node; 0: all.
        threshold: share of the nodes that must be left.
        min_devices: that they must hold.
        tasks: partition -> what to put into the vector.
        devices: partition -> of how many devices.
    """

    purpose: Purpose
    group: str
    bits: int
    length: int
    degree: int
    threshold: float
    min_devices: int
    tasks: Mapping[int, RecordDict]
    devices: Mapping[int, int]

    def terms(self) -> Terms:
        """For the parties; the session is new each time, also when a round is played again."""
        about = f"{self.purpose} {self.group}".encode()
        session = hashlib.sha256(about + os.urandom(32)).digest()
        return Terms(
            session=session,
            bits=self.bits,
            length=self.length,
            num_parties=len(self.tasks),
            degree=self.degree,
            threshold=self.threshold,
            min_devices=self.min_devices,
        )


class _Message(Protocol):
    def to_bytes(self) -> bytes: ...


Answer = TypeVar("Answer", Advertisement, Shares, Masked, Revealed)


def hidden_sum(nodes: Nodes, wanted: SumTask) -> HiddenSum:
    """Add up what nodes hold, without seeing what each holds.

    Args:
        nodes: who holds what.
        wanted: the sum.
    """
    faults: list[str] = []
    try:
        unmasked = _Talk(nodes, wanted, wanted.terms(), faults).play()
    except EngineError as error:
        return HiddenSum(None, (), 0, (*faults, str(error)))
    faults += [
        f"node {party} revealed a share that is not the one it was dealt"
        for party in unmasked.accused
    ]
    total = Ring(wanted.bits).centred(unmasked.total)
    return HiddenSum(total, unmasked.parties, unmasked.num_devices, tuple(faults))


@dataclass(slots=True)
class _Talk:
    nodes: Nodes
    wanted: SumTask
    terms: Terms
    faults: list[str] = field(default_factory=list)

    def play(self) -> Unmasked:
        opened_sum = Opened(self.terms, tuple(sorted(self.wanted.tasks)))
        purpose = self.wanted.purpose
        advertised = opened_sum.advertised(
            self._ask(f"query.{purpose}_keys", opened_sum.invitations(), Advertisement.from_bytes)
        )
        if wrong := [p for p, n in advertised.devices.items() if n != self.wanted.devices[p]]:
            raise EngineError(f"nodes {wrong} announce other devices than they were asked for")
        shares = self._ask(f"query.{purpose}_shares", advertised.rosters(), Shares.from_bytes)
        shared = advertised.shared(shares)
        self._blame(shares, shared.by_party, "dealt shares to others than its neighbours")
        masked = self._ask(f"{purpose}.masked", shared.letters(), Masked.from_bytes)
        collected = shared.masked(masked)
        self._blame(masked, collected.by_party, "sent a vector of another length")
        return collected.revealed(
            self._ask(f"query.{purpose}_unmask", collected.survivors(), Revealed.from_bytes)
        )

    def _blame(self, answers: Iterable[Answer], used: Mapping[int, object], what: str) -> None:
        """Say which answers could not be used."""
        self.faults.extend(f"node {a.party} {what}" for a in answers if a.party not in used)

    def _ask(
        self, kind: str, questions: Mapping[int, _Message], read: Callable[[bytes], Answer]
    ) -> list[Answer]:
        def read_own(partition: int, content: RecordDict) -> Answer:
            answer = read(opened(content)[0])
            check_session(answer.session, self.terms.session, "its answer")
            if answer.party != partition:
                raise EngineError(f"it answers in the name of node {answer.party}")
            return answer

        records = {}
        for partition, question in questions.items():
            number = {"num_devices": self.wanted.devices[partition]}
            record = envelope(question.to_bytes(), **number)
            if kind.endswith(".masked"):
                task = self.wanted.tasks[partition]
                record = RecordDict({**task, **record})
            records[partition] = record
        answers = self.nodes.ask(records, kind, self.wanted.group, read_own)
        self.faults.extend(answers.faults)
        return list(answers.by_partition.values())
