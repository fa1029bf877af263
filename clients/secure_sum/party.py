"""A party of a secure sum, as four steps: state and message in, state and message out.

    Invitation --advertise--> Advertisement      draws its secrets
    Roster     --share_keys--> Shares            deals them out, sealed
    Letters    --mask--> Masked                  hides its vector
    Survivors  --unmask--> Revealed              once, and never both secrets of one party

What goes out is  vector + PRG(own seed) + sum over neighbours j of +-PRG(key shared with j):  the
masks of pairs cancel in the sum, the self masks are taken off by the cloud once `threshold` parties
have each revealed a share of their seeds.

Formal guarantees, of a party whose software is as here, against a cloud that may read everything:
    - it masks only if the threshold is above half, and is met by its own neighbourhood and by all;
    - it reveals, for each neighbour, a share of the self mask's seed or one of the mask key, never
      both, and answers one list of survivors: `unmask` fails when asked again;
    - it reveals nothing unless the survivors hold `min_devices` devices and are bound in one piece.

Out of scope: a cloud that makes parties up. Public keys are not signed by anybody here; a
deployment signs them with keys that phones hold from their maker (attestation), and then has the
survivors sign the list of survivors (the "consistency check" of CCS 2017).

Secrets come from the system's cryptographic source and not from the run's seed: no figure depends
on them, and a mask that the simulator's seed gives away would be none.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from clients.protocol.secure_sum.answers import Advertisement, Masked, Revealed, Shares
from clients.protocol.secure_sum.keys import (
    SEED_BYTES,
    agreed_key,
    commitment,
    mask_of,
    public_key,
    seal,
    unseal,
)
from clients.protocol.secure_sum.neighbourhoods import (
    is_one_piece,
    threshold_of,
)
from clients.protocol.secure_sum.pairs import letter_about, pair_about, pair_sign, share_purpose
from clients.protocol.secure_sum.questions import (
    Invitation,
    Letters,
    Roster,
    Survivors,
    present_in,
)
from clients.protocol.secure_sum.ring import Elements, Ring
from clients.protocol.secure_sum.sharing import split
from clients.secure_sum.state import ADVERTISED, DONE, MASKED, SHARED, PartyState
from models.errors import EngineError

Entropy = Callable[[int], bytes]


def advertise(
    invitation: Invitation, num_devices: int, entropy: Entropy = os.urandom
) -> tuple[PartyState, Advertisement]:
    """Draw the secrets of a session, and tell what belongs to them.

    Args:
        invitation: the terms.
        num_devices: how many devices will be in this party's vector.
        entropy: number of bytes -> random bytes; the system's own unless a test wants others.

    Raises:
        EngineError: if the terms would lay the vector open.
    """
    invitation.terms.check()
    letter_seed, mask_seed, self_seed = (entropy(SEED_BYTES) for _ in range(3))
    session = invitation.terms.session
    advertised = Advertisement(
        session,
        invitation.party,
        num_devices,
        public_key(letter_seed, "letters"),
        public_key(mask_seed, "masks"),
        commitment(session, "self mask", self_seed),
    )
    state = PartyState(ADVERTISED, invitation, advertised, letter_seed, mask_seed, self_seed)
    return state, advertised


def share_keys(state: PartyState, roster: Roster) -> tuple[PartyState, Shares]:
    """Deal the two secrets out to the neighbours, a sealed letter for each.

    Raises:
        EngineError: if too few take part, or the roster is not what it should be.
    """
    state.expect(ADVERTISED, roster.session, "a roster")
    state = replace(state, stage=SHARED, roster=roster)
    hood = _checked_neighbourhood(state, roster)
    threshold = threshold_of(len(hood), state.terms.threshold)
    seeds = split(state.self_seed, threshold, len(hood))
    keys = split(state.mask_seed, threshold, len(hood))
    letters, commitments, session = {}, {}, roster.session
    for place, holder in enumerate(hood):
        seed_share, key_share = seeds[place], keys[place]
        commitments[holder] = b"".join(
            commitment(session, share_purpose(kind, state.party, holder), share)
            for kind, share in (("seed", seed_share), ("key", key_share))
        )
        if holder == state.party:
            state = replace(state, own_shares=seed_share + key_share)
            continue
        about = letter_about(state.party, holder)
        key = _letter_key(state, holder, about)
        letters[holder] = seal(key, seed_share + key_share, session + about.encode())
    return state, Shares(session, state.party, letters, commitments)


def _checked_neighbourhood(state: PartyState, roster: Roster) -> tuple[int, ...]:
    _check_many(state, len(roster.devices), state.terms.num_parties, "take part")
    devices = sum(roster.devices.values())
    if devices < state.terms.min_devices:
        raise EngineError(_too_few_devices(devices, state.terms.min_devices))
    if state.party not in roster.devices:
        raise EngineError(f"party {state.party} is not on the roster it was sent")
    hood = state.bound()[state.party]
    if tuple(sorted(roster.neighbours)) != hood:
        raise EngineError(f"the roster of party {state.party} has other neighbours than its place")
    if roster.neighbours[state.party] != state.advertised:
        raise EngineError(f"the roster says something else of party {state.party} than it said")
    keys = [key for each in roster.neighbours.values() for key in (each.letter_key, each.mask_key)]
    if len(set(keys)) != len(keys):
        raise EngineError("two public keys on a roster are the same: somebody copied another's")
    return hood


def mask(state: PartyState, letters: Letters, vector: Elements) -> tuple[PartyState, Masked]:
    """Hide a vector.

    Args:
        state: after `share_keys`.
        letters: what the neighbours sealed for this party.
        vector: (length,) elements of the ring.

    Raises:
        EngineError: if too few are left, or a letter was altered.
    """
    state.expect(SHARED, letters.session, "a packet of letters")
    state = replace(state, stage=MASKED, letters=letters)
    terms, ring = state.terms, Ring(state.terms.bits)
    if vector.shape != (terms.length,):
        raise EngineError(
            f"party {state.party} has a vector of shape {vector.shape}, the terms of the sum say "
            f"({terms.length},)"
        )
    neighbours = _present_neighbours(state, letters)
    _opened(state, neighbours)  # a letter that was altered is found before anything is masked
    masked = ring.add(vector, mask_of(state.self_seed, ring, terms.length, terms.session))
    for other in neighbours:
        pair = mask_of(_pair_key(state, other), ring, terms.length, terms.session)
        masked = (ring.add if pair_sign(state.party, other) > 0 else ring.subtract)(masked, pair)
    return state, Masked(terms.session, state.party, ring.pack(masked))


def unmask(state: PartyState, survivors: Survivors) -> tuple[PartyState, Revealed]:
    """Reveal a share for each neighbour: of a survivor's self mask, of a lost one's key.

    Raises:
        EngineError: if too few are left, they fall apart, or this party has answered before.
    """
    state.expect(MASKED, survivors.session, "a list of survivors")
    assert state.letters is not None
    roster, bound = state.the_roster(), state.bound()
    alive = present_in(roster, survivors.alive)
    present = present_in(roster, state.letters.present)
    if state.party not in alive or not set(alive) <= set(present):
        raise EngineError(f"the list of survivors is not one that party {state.party} can be on")
    _check_many(state, len(alive), state.terms.num_parties, "are left")
    neighbours = [each for each in bound[state.party] if each in present]
    _check_many(state, len(set(neighbours) & set(alive)), len(bound[state.party]), "are left")
    devices = sum(roster.devices[party] for party in alive)
    if devices < state.terms.min_devices:
        raise EngineError(_too_few_devices(devices, state.terms.min_devices))
    if not is_one_piece(alive, bound):
        raise EngineError("the parties that are left fall apart into groups: more neighbours help")
    shares = _opened(state, [each for each in neighbours if each != state.party])
    shares[state.party] = state.own_shares
    seeds = {each: shares[each][:SEED_BYTES] for each in neighbours if each in alive}
    keys = {each: shares[each][SEED_BYTES:] for each in neighbours if each not in alive}
    done = replace(state, stage=DONE).without_secrets()
    return done, Revealed(state.terms.session, state.party, seeds, keys)


def _present_neighbours(state: PartyState, letters: Letters) -> list[int]:
    """Neighbours whose letters came, without the party itself."""
    roster, hood = state.the_roster(), state.bound()[state.party]
    present = present_in(roster, letters.present)
    neighbours = [each for each in hood if each in present and each != state.party]
    if state.party not in present or sorted(letters.letters) != neighbours:
        raise EngineError(f"the letters for party {state.party} are not those of who is in")
    _check_many(state, len(present), state.terms.num_parties, "are left")
    _check_many(state, len(neighbours) + 1, len(hood), "are left")
    return neighbours


def _opened(state: PartyState, senders: list[int]) -> dict[int, bytes]:
    """Both shares, 32 bytes, that each of these neighbours dealt to this party."""
    assert state.letters is not None
    opened = {}
    for sender in senders:
        about = letter_about(sender, state.party)
        key = _letter_key(state, sender, about)
        sealed, session = state.letters.letters[sender], state.terms.session
        opened[sender] = unseal(key, sealed, session + about.encode(), sender)
    return opened


def _letter_key(state: PartyState, other: int, about: str) -> bytes:
    public = state.the_roster().neighbours[other].letter_key
    return agreed_key(state.letter_seed, public, "letters", state.terms.session, about)


def _pair_key(state: PartyState, other: int) -> bytes:
    public = state.the_roster().neighbours[other].mask_key
    about = pair_about(state.party, other)
    return agreed_key(state.mask_seed, public, "masks", state.terms.session, about)


def _check_many(state: PartyState, found: int, among: int, what: str) -> None:
    needed = threshold_of(among, state.terms.threshold)
    if found < needed:
        raise EngineError(
            f"{found} of {among} parties {what}, the threshold is {needed}: nothing is revealed"
        )


def _too_few_devices(found: int, needed: int) -> str:
    return (
        f"{found} devices are in the sum, {needed} are the fewest that are accepted: nothing is "
        "revealed"
    )
