"""The eight messages of a secure sum [1], as dataclasses and as bytes: the cloud's half.

    cloud                                         party
    Invitation  terms, who you are        ->                     stage 0: keys
                                          <-      Advertisement  two public keys, a commitment
    Roster      who is in, their keys     ->                     stage 1: shares
                                          <-      Shares         sealed for each neighbour
    Letters     what was sealed for you   ->                     stage 2: masked vector
                                          <-      Masked
    Survivors   whose vectors arrived     ->                     stage 3: unmasking
                                          <-      Revealed       one share for each neighbour

A party that fails at any stage is left out from then on. The two keys: one seals letters, one masks
vectors. `answers` has the other half.

[1] K. Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
CCS 2017, figure 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clients.protocol.secure_sum.answers import LETTER_BYTES, Advertisement
from clients.protocol.secure_sum.ring import RING_BITS
from clients.protocol.secure_sum.wire import Reader, Writer, bits_of, members_of
from models.errors import EngineError

INVITATION, ROSTER, LETTERS, SURVIVORS = 1, 3, 5, 7


@dataclass(frozen=True, slots=True)
class Terms:
    """What all parties of a sum agree on.

    Attributes:
        session: 32 bytes, of this sum and no other.
        bits: of the ring.
        length: numbers of a vector.
        num_parties: how many were invited; the threshold counts from them.
        degree: neighbours of each party; 0: all.
        threshold: share of the parties that must be left, above one half; of all parties and
            of each neighbourhood.
        min_devices: devices that the parties that are left must hold together.
    """

    session: bytes
    bits: int
    length: int
    num_parties: int
    degree: int
    threshold: float
    min_devices: int

    def check(self) -> None:
        """What a party insists on before it takes part.

        Raises:
            EngineError: if a term would lay its vector open.
        """
        if self.bits not in RING_BITS or self.length < 1:
            raise EngineError(f"a secure sum of {self.length} numbers of {self.bits} bits is none")
        if not 0.5 < self.threshold <= 1:
            raise EngineError(
                f"a secure sum with a threshold of {self.threshold:g} is refused: with half of the "
                "parties or fewer the cloud could open a single vector; ask for more than 0.5"
            )
        if self.degree < 0 or self.degree % 2:
            raise EngineError(f"{self.degree} neighbours were asked for: take an even number")


@dataclass(frozen=True, slots=True)
class Invitation:
    """Take part, under these terms.

    Attributes:
        terms: of the sum.
        party: the number by which the party is known in it.
    """

    terms: Terms
    party: int

    def to_bytes(self) -> bytes:
        """As it travels."""
        terms = self.terms
        writer = Writer.of(INVITATION, terms.session).numbers("I", self.party)
        writer.numbers(
            "BIIII", terms.bits, terms.length, terms.num_parties, terms.degree, terms.min_devices
        )
        return writer.numbers("d", terms.threshold).bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Invitation":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, INVITATION, "an invitation")
        (party,) = reader.numbers("I")
        bits, length, num_parties, degree, min_devices = reader.numbers("BIIII")
        threshold = reader.real()
        reader.end()
        return cls(Terms(session, bits, length, num_parties, degree, threshold, min_devices), party)


@dataclass(frozen=True, slots=True)
class Roster:
    """Who takes part, and the keys of the party's neighbours.

    Attributes:
        session: of the sum.
        devices: party -> how many devices it says it holds, all parties, ascending.
        neighbours: party -> what it advertised; the party itself and those it is bound to.
    """

    session: bytes
    devices: Mapping[int, int]
    neighbours: Mapping[int, Advertisement]

    def to_bytes(self) -> bytes:
        """As it travels."""
        writer = Writer.of(ROSTER, self.session)
        writer.numbers("II", len(self.devices), len(self.neighbours))
        for party, num_devices in sorted(self.devices.items()):
            writer.numbers("II", party, num_devices)
        for _, advertised in sorted(self.neighbours.items()):
            writer.block(advertised.body())
        return writer.bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Roster":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, ROSTER, "a roster")
        num_parties, num_neighbours = reader.numbers("II")
        devices = dict(_pair(reader) for _ in range(num_parties))
        advertised = [Advertisement.taken(reader, session) for _ in range(num_neighbours)]
        reader.end()
        if len(devices) != num_parties:
            raise EngineError("a roster names a party twice")
        return cls(session, devices, {each.party: each for each in advertised})


def _pair(reader: Reader) -> tuple[int, int]:
    party, num_devices = reader.numbers("II")
    return party, num_devices


@dataclass(frozen=True, slots=True)
class Letters:
    """What the neighbours sealed for this party, and who is still in.

    Attributes:
        session: of the sum.
        present: parties whose shares arrived, as bits over the roster.
        letters: neighbour -> sealed shares, of the neighbours that are still in.
    """

    session: bytes
    present: bytes
    letters: Mapping[int, bytes]

    def to_bytes(self) -> bytes:
        """As it travels."""
        writer = Writer.of(LETTERS, self.session)
        writer.numbers("II", len(self.present), len(self.letters)).block(self.present)
        for sender, letter in sorted(self.letters.items()):
            writer.numbers("I", sender).block(letter)
        return writer.bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Letters":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, LETTERS, "a packet of letters")
        size, count = reader.numbers("II")
        present, letters = reader.block(size), {}
        for _ in range(count):
            (sender,) = reader.numbers("I")
            letters[sender] = reader.block(LETTER_BYTES)
        reader.end()
        return cls(session, present, letters)


@dataclass(frozen=True, slots=True)
class Survivors:
    """Whose masked vectors arrived.

    Attributes:
        session: of the sum.
        alive: those parties, as bits over the roster.
    """

    session: bytes
    alive: bytes

    def to_bytes(self) -> bytes:
        """As it travels."""
        return Writer.of(SURVIVORS, self.session).block(self.alive).bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Survivors":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, SURVIVORS, "a list of survivors")
        return cls(session, reader.rest())


def present_in(roster: Roster, bits: bytes) -> tuple[int, ...]:
    """The parties that bits over the roster name, ascending."""
    return members_of(bits, sorted(roster.devices))


def bits_over(roster_parties: Mapping[int, int], members: Mapping[int, object]) -> bytes:
    """Bits over the roster for these parties."""
    return bits_of(members.keys(), sorted(roster_parties))
