"""A whole secure sum in this process, every message as bytes: the slow truth of every masked sum.

Inside a shard masks are not played: they cancel, so a node adds integers. This is what they cancel
to. Parties may be lost at any stage, and bytes may be altered on the way; what travelled is
counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from clients.protocol.secure_sum.answers import Advertisement, Masked, Revealed, Shares
from clients.protocol.secure_sum.questions import Invitation, Letters, Roster, Survivors, Terms
from clients.protocol.secure_sum.ring import Elements
from clients.secure_sum.party import advertise, mask, share_keys, unmask
from clients.secure_sum.state import PartyState
from server.secure_sum.collector import Opened
from server.secure_sum.unmasking import Unmasked

STAGES = ("keys", "shares", "vectors", "unmasking")

Tamper = Callable[[str, int, bytes], bytes]
"""Stage, party, what it sends -> what arrives."""
Question = Invitation | Roster | Letters | Survivors
Answer = TypeVar("Answer", Advertisement, Shares, Masked, Revealed)


def untouched(stage: str, party: int, content: bytes) -> bytes:
    """Nobody alters anything."""
    return content


@dataclass(slots=True)
class MaskedSum:
    """Parties and cloud of one sum.

    Attributes:
        terms: of the sum.
        vectors: party -> its vector, (length,) elements.
        devices: party -> how many devices it holds.
        lost: party -> the stage it does not answer in, one of `STAGES`.
        tamper: what happens to answers on their way.
        up_bytes: party -> bytes sent, stage by stage.
        down_bytes: party -> bytes received, stage by stage.
    """

    terms: Terms
    vectors: Mapping[int, Elements]
    devices: Mapping[int, int]
    lost: Mapping[int, str] = field(default_factory=dict)
    tamper: Tamper = untouched
    up_bytes: dict[int, list[int]] = field(default_factory=dict)
    down_bytes: dict[int, list[int]] = field(default_factory=dict)
    masked: dict[int, bytes] = field(default_factory=dict)
    _states: dict[int, PartyState] = field(default_factory=dict)

    def play(self) -> Unmasked:
        """Play all four stages.

        Raises:
            EngineError: as the parties and the cloud do.
        """
        opened = Opened(self.terms, tuple(sorted(self.vectors)))
        advertised = opened.advertised(
            self._answers("keys", opened.invitations(), self._advertise, Advertisement.from_bytes)
        )
        shared = advertised.shared(
            self._answers("shares", advertised.rosters(), self._share, Shares.from_bytes)
        )
        collected = shared.masked(
            self._answers("vectors", shared.letters(), self._mask, Masked.from_bytes)
        )
        return collected.revealed(
            self._answers("unmasking", collected.survivors(), self._unmask, Revealed.from_bytes)
        )

    def _answers(
        self,
        stage: str,
        questions: Mapping[int, Question],
        answer: Callable[[int, bytes], bytes],
        read: Callable[[bytes], Answer],
    ) -> list[Answer]:
        """Ask everybody who is asked in this stage and is not lost."""
        answers = []
        for party, question in questions.items():
            if party in self.lost and STAGES.index(self.lost[party]) <= STAGES.index(stage):
                continue
            asked = question.to_bytes()
            said = self.tamper(stage, party, answer(party, asked))
            self.down_bytes.setdefault(party, []).append(len(asked))
            self.up_bytes.setdefault(party, []).append(len(said))
            answers.append(read(said))
        return answers

    def _advertise(self, party: int, asked: bytes) -> bytes:
        invitation = Invitation.from_bytes(asked)
        self._states[party], said = advertise(invitation, self.devices[party])
        return said.to_bytes()

    def _share(self, party: int, asked: bytes) -> bytes:
        self._states[party], said = share_keys(self._states[party], Roster.from_bytes(asked))
        return said.to_bytes()

    def _mask(self, party: int, asked: bytes) -> bytes:
        letters = Letters.from_bytes(asked)
        self._states[party], said = mask(self._states[party], letters, self.vectors[party])
        self.masked[party] = said.vector
        return said.to_bytes()

    def _unmask(self, party: int, asked: bytes) -> bytes:
        self._states[party], said = unmask(self._states[party], Survivors.from_bytes(asked))
        return said.to_bytes()

    def state_of(self, party: int) -> PartyState:
        """What a party remembers."""
        return self._states[party]
