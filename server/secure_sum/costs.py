"""What a secure sum costs a phone and the cloud, in bytes and messages: computed, not sent.

Inside a shard the masks of phones are not played, since they cancel; what they would cost is
counted here from the lengths of the messages, to the byte (a test plays the protocol and compares).
A phone that is lost after its vector was expected costs the others nothing but another kind of
share; the cloud makes up for it with a key agreement and a mask for each of its neighbours.

With everybody as neighbour a phone's letters grow with the cohort, n; with k neighbours they do
not, only the roster does, at 8 bytes and two bits a phone (Bell et al., CCS 2020).
"""

from dataclasses import dataclass

from clients.protocol.secure_sum.answers import LETTER_BYTES
from clients.protocol.secure_sum.keys import KEY_BYTES, SEED_BYTES
from clients.protocol.secure_sum.ring import Ring
from clients.protocol.secure_sum.wire import HEADER_BYTES

MESSAGES_OF_A_PHONE = 4
"""One question and one answer in each stage."""

_ENTRY = 4  # a party's number
_ADVERTISED = 2 * _ENTRY + 3 * KEY_BYTES
_INVITATION = HEADER_BYTES + _ENTRY + 1 + 4 * 4 + 8


@dataclass(frozen=True, slots=True)
class SumShape:
    """A secure sum whose cost is asked for.

    Attributes:
        bits: of the ring.
        length: numbers of a vector.
        parties: how many take part from the beginning.
        degree: neighbours of each; 0: all.
    """

    bits: int
    length: int
    parties: int
    degree: int

    @property
    def hood(self) -> int:
        """Parties in a neighbourhood, the one itself included."""
        if self.degree == 0 or self.degree >= self.parties - 1:
            return self.parties
        return self.degree + 1

    @property
    def vector_bytes(self) -> int:
        """A vector, without anything around it."""
        return self.length * Ring(self.bits).bytes_per_number


@dataclass(frozen=True, slots=True)
class PhoneCost:
    """What one phone sends and receives when nobody is lost.

    Attributes:
        up_bytes: stage -> sent: keys, shares, vector, unmasking.
        down_bytes: stage -> received: invitation, roster, letters, survivors.
    """

    up_bytes: tuple[int, int, int, int]
    down_bytes: tuple[int, int, int, int]

    @property
    def up(self) -> int:
        """All that is sent."""
        return sum(self.up_bytes)

    @property
    def down(self) -> int:
        """All that is received, without the parameters."""
        return sum(self.down_bytes)


def phone_cost(shape: SumShape) -> PhoneCost:
    """The bytes of one phone that stays to the end, in a sum that nobody leaves."""
    hood, others = shape.hood, shape.hood - 1
    bits = (shape.parties + 7) // 8
    up = (
        HEADER_BYTES + _ADVERTISED,
        HEADER_BYTES + 2 * 4 + hood * (_ENTRY + 2 * KEY_BYTES) + others * LETTER_BYTES,
        HEADER_BYTES + _ENTRY + shape.vector_bytes,
        HEADER_BYTES + 3 * 4 + hood * (_ENTRY + SEED_BYTES),
    )
    down = (
        _INVITATION,
        HEADER_BYTES + 2 * 4 + shape.parties * 8 + hood * _ADVERTISED,
        HEADER_BYTES + 2 * 4 + bits + others * (_ENTRY + LETTER_BYTES),
        HEADER_BYTES + bits,
    )
    return PhoneCost(up, down)


@dataclass(frozen=True, slots=True)
class CloudCost:
    """What the cloud does in one sum.

    Attributes:
        down_bytes: received from all phones.
        up_bytes: sent to all phones, without the parameters.
        messages: both ways.
        masks: vectors of pseudorandom numbers that it expands to unmask.
    """

    down_bytes: int
    up_bytes: int
    messages: int
    masks: int


def cloud_cost(shape: SumShape, lost: int) -> CloudCost:
    """The cloud's part in a sum that `lost` parties leave before their vectors arrive.

    An upper bound for the bytes where somebody is lost: who is gone sends and receives less.
    """
    phone, left = phone_cost(shape), shape.parties - lost
    return CloudCost(
        down_bytes=sum(phone.up_bytes[:2]) * shape.parties + sum(phone.up_bytes[2:]) * left,
        up_bytes=sum(phone.down_bytes[:3]) * shape.parties + phone.down_bytes[3] * left,
        messages=2 * (3 * shape.parties + left) - lost,
        masks=left + lost * min(shape.hood - 1, left),
    )
