"""The cloud's end of a secure sum: four stages, each made from the one before and what came back.

    Opened(terms, parties)     --advertised--> Advertised     who has keys
    Advertised                 --shared--> Shared             whose shares arrived
    Shared                     --masked--> Collected          whose vectors arrived: the survivors
    Collected                  --revealed--> Unmasked         the sum, and nothing else

The cloud routes sealed letters and adds masked vectors up; `unmasking` has the last stage.

Every stage refuses to go on below the threshold, so that nobody is asked to reveal anything.

[1] K. Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
CCS 2017, figure 4.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clients.protocol.secure_sum.answers import Advertisement, Masked, Shares
from clients.protocol.secure_sum.neighbourhoods import (
    Neighbourhoods,
    is_one_piece,
    neighbourhoods,
)
from clients.protocol.secure_sum.questions import Invitation, Letters, Roster, Terms, bits_over
from clients.protocol.secure_sum.ring import Ring
from models.errors import EngineError
from server.secure_sum.checks import check_devices, check_many, own_answers
from server.secure_sum.unmasking import Collected


@dataclass(frozen=True, slots=True)
class Opened:
    """A sum that parties are invited to.

    Attributes:
        terms: of the sum.
        parties: their numbers.
    """

    terms: Terms
    parties: tuple[int, ...]

    def invitations(self) -> dict[int, Invitation]:
        """To each party."""
        return {party: Invitation(self.terms, party) for party in self.parties}

    def advertised(self, answers: Iterable[Advertisement]) -> "Advertised":
        """Go on with the parties that answered.

        Raises:
            EngineError: if they are too few, or hold too few devices.
        """
        by_party = {each.party: each for each in own_answers(answers, self.terms, self.parties)}
        check_many(len(by_party), self.terms, "sent keys")
        check_devices(sum(each.num_devices for each in by_party.values()), self.terms)
        return Advertised(self.terms, dict(sorted(by_party.items())))


@dataclass(frozen=True, slots=True)
class Advertised:
    """The parties that have keys.

    Attributes:
        terms: of the sum.
        by_party: party -> what it advertised, ascending.
    """

    terms: Terms
    by_party: Mapping[int, Advertisement]

    @property
    def devices(self) -> dict[int, int]:
        """Party -> devices it says it holds."""
        return {party: each.num_devices for party, each in self.by_party.items()}

    def bound(self) -> Neighbourhoods:
        """Who is bound to whom."""
        return neighbourhoods(self.by_party, self.terms.degree, self.terms.session)

    def rosters(self) -> dict[int, Roster]:
        """To each party."""
        devices = self.devices
        return {
            party: Roster(self.terms.session, devices, {each: self.by_party[each] for each in hood})
            for party, hood in self.bound().items()
        }

    def shared(self, answers: Iterable[Shares]) -> "Shared":
        """Go on with the parties whose shares arrived, whole.

        Raises:
            EngineError: if they are too few.
        """
        bound = self.bound()
        by_party = {
            each.party: each
            for each in own_answers(answers, self.terms, self.by_party)
            if tuple(sorted(each.commitments)) == bound[each.party]
        }
        check_many(len(by_party), self.terms, "dealt their shares")
        return Shared(self, dict(sorted(by_party.items())))


@dataclass(frozen=True, slots=True)
class Shared:
    """The parties whose shares arrived.

    Attributes:
        before: the parties that have keys.
        by_party: dealer -> its shares, ascending.
    """

    before: Advertised
    by_party: Mapping[int, Shares]

    @property
    def terms(self) -> Terms:
        """Of the sum."""
        return self.before.terms

    def letters(self) -> dict[int, Letters]:
        """To each party: what its neighbours sealed for it."""
        present, bound = bits_over(self.before.devices, self.by_party), self.before.bound()
        return {
            party: Letters(
                self.terms.session,
                present,
                {
                    sender: self.by_party[sender].letters[party]
                    for sender in bound[party]
                    if sender != party and sender in self.by_party
                },
            )
            for party in self.by_party
        }

    def masked(self, answers: Iterable[Masked]) -> Collected:
        """Go on with the parties whose vectors arrived.

        Raises:
            EngineError: if they are too few, hold too few devices, or fall apart into groups.
        """
        ring = Ring(self.terms.bits)
        size = self.terms.length * ring.bytes_per_number
        by_party = {
            each.party: ring.unpack(each.vector)
            for each in own_answers(answers, self.terms, self.by_party)
            if len(each.vector) == size
        }
        check_many(len(by_party), self.terms, "sent their vectors")
        check_devices(sum(self.before.devices[party] for party in by_party), self.terms)
        if not is_one_piece(by_party, self.before.bound()):
            raise EngineError(
                "the parties that are left fall apart into groups: more neighbours help"
            )
        return Collected(
            self.terms, self.before.by_party, self.by_party, dict(sorted(by_party.items()))
        )
