"""The cloud's end of a secure sum: four stages, each made from the one before and what came back.

    Opened(terms, parties)     --advertised--> Advertised     who has keys
    Advertised                 --shared--> Shared             whose shares arrived
    Shared                     --masked--> Collected          whose vectors arrived: the survivors
    Collected                  --revealed--> Unmasked         the sum, and nothing else

The cloud routes sealed letters, adds masked vectors up, and takes off what the shares open: the
self masks of the survivors, and the pair masks of those that were lost after their shares had
arrived. What it opens it checks against what was told beforehand: each share against its dealer's
commitment, each seed against the commitment of its owner, each key against the public one.

Every stage refuses to go on below the threshold, so that nobody is asked to reveal anything.

[1] K. Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
CCS 2017, figure 4.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from clients.protocol.secure_sum.keys import (
    KEY_BYTES,
    agreed_key,
    commitment,
    mask_of,
    public_key,
    zeros,
)
from clients.protocol.secure_sum.messages import (
    Advertisement,
    Invitation,
    Letters,
    Masked,
    Revealed,
    Roster,
    Shares,
    Survivors,
    Terms,
    bits_over,
)
from clients.protocol.secure_sum.neighbourhoods import (
    Neighbourhoods,
    is_one_piece,
    neighbourhoods,
    threshold_of,
)
from clients.protocol.secure_sum.pairs import pair_about, pair_sign, share_purpose
from clients.protocol.secure_sum.ring import Elements, Ring
from clients.protocol.secure_sum.sharing import recover
from clients.protocol.secure_sum.wire import check_session
from models.errors import EngineError

Answer = TypeVar("Answer", Advertisement, Shares, Masked, Revealed)


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
        by_party = {each.party: each for each in _own(answers, self.terms, self.parties)}
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
            for each in _own(answers, self.terms, self.by_party)
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

    def masked(self, answers: Iterable[Masked]) -> "Collected":
        """Go on with the parties whose vectors arrived.

        Raises:
            EngineError: if they are too few, hold too few devices, or fall apart into groups.
        """
        ring = Ring(self.terms.bits)
        size = self.terms.length * ring.bytes_per_number
        by_party = {
            each.party: ring.unpack(each.vector)
            for each in _own(answers, self.terms, self.by_party)
            if len(each.vector) == size
        }
        check_many(len(by_party), self.terms, "sent their vectors")
        check_devices(sum(self.before.devices[party] for party in by_party), self.terms)
        if not is_one_piece(by_party, self.before.bound()):
            raise EngineError(
                "the parties that are left fall apart into groups: more neighbours help"
            )
        return Collected(self, dict(sorted(by_party.items())))


@dataclass(frozen=True, slots=True)
class Unmasked:
    """What a secure sum ends with.

    Attributes:
        total: (length,) elements: the sum of the survivors' vectors.
        parties: the survivors.
        num_devices: that they hold.
        accused: parties that revealed a share that is not the one they were dealt; the sum is
            right without them.
    """

    total: Elements
    parties: tuple[int, ...]
    num_devices: int
    accused: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """The survivors and their masked vectors.

    Attributes:
        before: the parties whose shares arrived.
        by_party: survivor -> its masked vector, ascending.
    """

    before: Shared
    by_party: Mapping[int, Elements]

    @property
    def terms(self) -> Terms:
        """Of the sum."""
        return self.before.terms

    def survivors(self) -> dict[int, Survivors]:
        """To each survivor: who they are."""
        alive = bits_over(self.before.before.devices, self.by_party)
        return dict.fromkeys(self.by_party, Survivors(self.terms.session, alive))

    def revealed(self, answers: Iterable[Revealed]) -> Unmasked:
        """Take the masks off.

        Raises:
            EngineError: if too few shares of a secret are there and right, or a secret is not the
                one that its owner told of.
        """
        ring, session = Ring(self.terms.bits), self.terms.session
        packets = list(_own(answers, self.terms, self.by_party))
        check_many(len(packets), self.terms, "revealed their shares")
        accused: set[int] = set()
        bound = self.before.before.bound()
        total = zeros(self.terms.length)
        for masked in self.by_party.values():
            total = ring.add(total, masked)
        for party in self.by_party:
            shares = {each.party: each.seeds[party] for each in packets if party in each.seeds}
            seed = self._secret("seed", party, bound[party], shares, accused)
            told = self.before.before.by_party[party].seed_commitment
            if commitment(session, "self mask", seed) != told:
                raise EngineError(_lied(party))
            total = ring.subtract(total, mask_of(seed, ring, self.terms.length, session))
        for party in self.before.by_party.keys() - self.by_party.keys():
            shares = {each.party: each.keys[party] for each in packets if party in each.keys}
            total = self._without_pairs_of(party, bound[party], shares, total, accused)
        devices = self.before.before.devices
        num_devices = sum(devices[party] for party in self.by_party)
        return Unmasked(total, tuple(self.by_party), num_devices, tuple(sorted(accused)))

    def _without_pairs_of(
        self,
        lost: int,
        hood: tuple[int, ...],
        shares: Mapping[int, bytes],
        total: Elements,
        accused: set[int],
    ) -> Elements:
        """Take off the masks that survivors added for a party that was lost."""
        advertised, terms = self.before.before, self.terms
        ring = Ring(terms.bits)
        neighbours = [party for party in hood if party in self.by_party]
        if not neighbours:
            return total
        seed = self._secret("key", lost, hood, shares, accused)
        if public_key(seed, "masks") != advertised.by_party[lost].mask_key:
            raise EngineError(_lied(lost))
        for party in neighbours:
            public, about = advertised.by_party[party].mask_key, pair_about(party, lost)
            key = agreed_key(seed, public, "masks", terms.session, about)
            pair = mask_of(key, ring, terms.length, terms.session)
            total = (ring.subtract if pair_sign(party, lost) > 0 else ring.add)(total, pair)
        return total

    def _secret(
        self,
        kind: str,
        dealer: int,
        hood: tuple[int, ...],
        shares: Mapping[int, bytes],
        accused: set[int],
    ) -> bytes:
        """Put a secret together from the shares that are what their dealer committed to."""
        commitments, right = self.before.by_party[dealer].commitments, {}
        half = slice(0, KEY_BYTES) if kind == "seed" else slice(KEY_BYTES, 2 * KEY_BYTES)
        for holder, share in shares.items():
            if holder not in hood:
                continue
            purpose = share_purpose(kind, dealer, holder)
            if commitment(self.terms.session, purpose, share) == commitments[holder][half]:
                right[hood.index(holder) + 1] = share
            else:
                accused.add(holder)
        try:
            return recover(right, threshold_of(len(hood), self.terms.threshold))
        except EngineError as error:
            names = ", ".join(map(str, sorted(accused)))
            blame = f"; party {names} altered a share" if accused else ""
            raise EngineError(f"the masks of party {dealer} stay on: {error}{blame}") from error


def _own(answers: Iterable[Answer], terms: Terms, parties: Collection[int]) -> Iterable[Answer]:
    """Answers of parties that were asked, in this session; the first of each."""
    heard = set()
    for each in answers:
        check_session(each.session, terms.session, f"an answer of party {each.party}")
        if each.party in parties and each.party not in heard:
            heard.add(each.party)
            yield each


def check_many(found: int, terms: Terms, what: str) -> None:
    """Refuse to go on with too few parties.

    Raises:
        EngineError: if they are too few.
    """
    needed = threshold_of(terms.num_parties, terms.threshold)
    if found < needed:
        raise EngineError(
            f"{found} of {terms.num_parties} parties {what}, the threshold is {needed}: nothing is "
            "revealed, and the round has no update"
        )


def check_devices(found: int, terms: Terms) -> None:
    """Refuse to go on with too few devices.

    Raises:
        EngineError: if they are too few.
    """
    if found < terms.min_devices:
        raise EngineError(
            f"{found} devices are left in a secure sum, {terms.min_devices} are the fewest that "
            "are accepted: nothing is revealed, and the round has no update"
        )


def _lied(party: int) -> str:
    return f"the secret of party {party} is not the one it told of: it dealt out false shares"
