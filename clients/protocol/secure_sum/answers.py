"""What a party of a secure sum says: keys, shares, its masked vector, and what opens the sum.

`questions` has the cloud's half and the order of all eight messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clients.protocol.secure_sum.keys import KEY_BYTES, SEED_BYTES, TAG_BYTES
from clients.protocol.secure_sum.wire import Reader, Writer
from models.errors import EngineError

LETTER_BYTES = 2 * SEED_BYTES + TAG_BYTES
"""A sealed share of the self mask's seed and one of the mask key's."""

ADVERTISEMENT, SHARES, MASKED, REVEALED = 2, 4, 6, 8


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What a party tells everybody.

    Attributes:
        session: of the sum.
        party: who.
        num_devices: how many devices will be in its vector.
        letter_key: public, 32 bytes; seals letters.
        mask_key: public, 32 bytes; masks vectors.
        seed_commitment: of the seed of its self mask, 32 bytes.
    """

    session: bytes
    party: int
    num_devices: int
    letter_key: bytes
    mask_key: bytes
    seed_commitment: bytes

    def to_bytes(self) -> bytes:
        """As it travels."""
        return Writer.of(ADVERTISEMENT, self.session).block(self.body()).bytes()

    def body(self) -> bytes:
        """Without the session: as it stands in a roster."""
        writer = Writer().numbers("II", self.party, self.num_devices)
        return writer.block(self.letter_key + self.mask_key + self.seed_commitment).bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Advertisement":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, ADVERTISEMENT, "an advertisement")
        found = cls.taken(reader, session)
        reader.end()
        return found

    @classmethod
    def taken(cls, reader: Reader, session: bytes) -> "Advertisement":
        """Take what `body` wrote."""
        party, num_devices = reader.numbers("II")
        keys = [reader.block(KEY_BYTES) for _ in range(3)]
        return cls(session, party, num_devices, *keys)


@dataclass(frozen=True, slots=True)
class Shares:
    """A party's secrets in shares, one letter for each neighbour.

    Attributes:
        session: of the sum.
        party: the dealer.
        letters: neighbour -> sealed shares, `LETTER_BYTES`.
        commitments: holder (the dealer too) -> commitments of its two shares, 64 bytes: by them
            the cloud knows a share that was altered, and who altered it.
    """

    session: bytes
    party: int
    letters: Mapping[int, bytes]
    commitments: Mapping[int, bytes]

    def to_bytes(self) -> bytes:
        """As it travels."""
        writer = Writer.of(SHARES, self.session)
        writer.numbers("II", self.party, len(self.commitments))
        for holder, commitment in sorted(self.commitments.items()):
            writer.numbers("I", holder).block(commitment)
            if holder != self.party:
                writer.block(self.letters[holder])
        return writer.bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Shares":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, SHARES, "a packet of shares")
        party, count = reader.numbers("II")
        letters, commitments = {}, {}
        for _ in range(count):
            (holder,) = reader.numbers("I")
            commitments[holder] = reader.block(2 * KEY_BYTES)
            if holder != party:
                letters[holder] = reader.block(LETTER_BYTES)
        reader.end()
        return cls(session, party, letters, commitments)


@dataclass(frozen=True, slots=True)
class Masked:
    """A party's vector behind its masks: uniform bytes to whoever lacks one of them.

    Attributes:
        session: of the sum.
        party: whose.
        vector: packed elements of the ring.
    """

    session: bytes
    party: int
    vector: bytes

    def to_bytes(self) -> bytes:
        """As it travels."""
        writer = Writer.of(MASKED, self.session).numbers("I", self.party)
        return writer.block(self.vector).bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Masked":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, MASKED, "a masked vector")
        (party,) = reader.numbers("I")
        return cls(session, party, reader.rest())


@dataclass(frozen=True, slots=True)
class Revealed:
    """One share for each neighbour that was in: of its self mask if it is alive, else of its key.

    Attributes:
        session: of the sum.
        party: the holder of the shares.
        seeds: survivor -> share of the seed of its self mask.
        keys: party that was lost after its shares had arrived -> share of the seed of its mask key.
    """

    session: bytes
    party: int
    seeds: Mapping[int, bytes]
    keys: Mapping[int, bytes]

    def to_bytes(self) -> bytes:
        """As it travels."""
        writer = Writer.of(REVEALED, self.session)
        writer.numbers("III", self.party, len(self.seeds), len(self.keys))
        for shares in (self.seeds, self.keys):
            for dealer, share in sorted(shares.items()):
                writer.numbers("I", dealer).block(share)
        return writer.bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Revealed":
        """Read what `to_bytes` wrote."""
        reader, session = Reader.of(content, REVEALED, "a packet of revealed shares")
        party, num_seeds, num_keys = reader.numbers("III")
        found: list[dict[int, bytes]] = []
        for count in (num_seeds, num_keys):
            shares = {}
            for _ in range(count):
                (dealer,) = reader.numbers("I")
                shares[dealer] = reader.block(SEED_BYTES)
            found.append(shares)
        reader.end()
        if found[0].keys() & found[1].keys():
            raise EngineError("both secrets of one party were revealed: one of them is refused")
        return cls(session, party, *found)
