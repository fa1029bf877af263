"""The last stage of a secure sum: masks come off the sum, and off nothing else.

Self masks of the survivors, and the pair masks that survivors added for those that were lost after
their shares had arrived. What is opened is checked against what was told beforehand: each share
against its dealer's commitment, each seed against that of its owner, each key against the public
one. So a share that was altered is left out, and who altered it is named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clients.protocol.secure_sum.answers import Advertisement, Revealed, Shares
from clients.protocol.secure_sum.keys import (
    KEY_BYTES,
    agreed_key,
    commitment,
    mask_of,
    public_key,
    zeros,
)
from clients.protocol.secure_sum.neighbourhoods import neighbourhoods, threshold_of
from clients.protocol.secure_sum.pairs import pair_about, pair_sign, share_purpose
from clients.protocol.secure_sum.questions import Survivors, Terms
from clients.protocol.secure_sum.ring import Elements, Ring
from clients.protocol.secure_sum.sharing import recover
from clients.protocol.secure_sum.wire import bits_of
from models.errors import EngineError
from server.secure_sum.checks import check_many, own_answers


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
        terms: of the sum.
        advertised: party -> what it advertised, of all that have keys.
        shares: dealer -> its shares, of all whose shares arrived.
        by_party: survivor -> its masked vector, ascending.
    """

    terms: Terms
    advertised: Mapping[int, Advertisement]
    shares: Mapping[int, Shares]
    by_party: Mapping[int, Elements]

    def survivors(self) -> dict[int, Survivors]:
        """To each survivor: who they are."""
        alive = bits_of(self.by_party, sorted(self.advertised))
        return dict.fromkeys(self.by_party, Survivors(self.terms.session, alive))

    def revealed(self, answers: Iterable[Revealed]) -> Unmasked:
        """Take the masks off.

        Raises:
            EngineError: if too few shares of a secret are there and right, or a secret is not the
                one that its owner told of.
        """
        ring, session = Ring(self.terms.bits), self.terms.session
        packets = list(own_answers(answers, self.terms, self.by_party))
        check_many(len(packets), self.terms, "revealed their shares")
        accused: set[int] = set()
        bound = neighbourhoods(self.advertised, self.terms.degree, session)
        total = zeros(self.terms.length)
        for masked in self.by_party.values():
            total = ring.add(total, masked)
        for party in self.by_party:
            shares = {each.party: each.seeds[party] for each in packets if party in each.seeds}
            seed = self._secret("seed", party, bound[party], shares, accused)
            told = self.advertised[party].seed_commitment
            if commitment(session, "self mask", seed) != told:
                raise EngineError(_lied(party))
            total = ring.subtract(total, mask_of(seed, ring, self.terms.length, session))
        for party in self.shares.keys() - self.by_party.keys():
            shares = {each.party: each.keys[party] for each in packets if party in each.keys}
            total = self._without_pairs_of(party, bound[party], shares, total, accused)
        num_devices = sum(self.advertised[party].num_devices for party in self.by_party)
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
        advertised, terms = self.advertised, self.terms
        ring = Ring(terms.bits)
        neighbours = [party for party in hood if party in self.by_party]
        if not neighbours:
            return total
        seed = self._secret("key", lost, hood, shares, accused)
        if public_key(seed, "masks") != advertised[lost].mask_key:
            raise EngineError(_lied(lost))
        for party in neighbours:
            public, about = advertised[party].mask_key, pair_about(party, lost)
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
        commitments, right = self.shares[dealer].commitments, {}
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


def _lied(party: int) -> str:
    return f"the secret of party {party} is not the one it told of: it dealt out false shares"
