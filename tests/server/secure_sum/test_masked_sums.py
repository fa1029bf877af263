"""The protocol end to end: every message as bytes, parties lost at every stage, bytes altered."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clients.protocol.secure_sum.answers import Advertisement, Revealed, Shares
from clients.protocol.secure_sum.keys import public_key
from clients.protocol.secure_sum.neighbourhoods import neighbourhoods, threshold_of
from clients.protocol.secure_sum.questions import (
    Invitation,
    Roster,
    Survivors,
    Terms,
    bits_over,
)
from clients.protocol.secure_sum.ring import RING_BITS, Ring
from clients.secure_sum.party import advertise, share_keys, unmask
from models.errors import EngineError
from simulation.engines.masked_sum import STAGES, MaskedSum

SESSION = bytes(range(32))


def terms(parties: int, length: int = 5, **changes: object) -> Terms:
    """Terms under which all parties are neighbours."""
    some = {"bits": 32, "degree": 0, "threshold": 0.51, "min_devices": 1} | changes
    return Terms(session=SESSION, length=length, num_parties=parties, **some)


def masked_sum(agreed: Terms, seed: int = 0, **changes: object) -> MaskedSum:
    """Parties with random vectors and three devices each; their numbers have gaps."""
    rng, ring = np.random.default_rng(seed), Ring(agreed.bits)
    parties = [3 * k + 2 for k in range(agreed.num_parties)]
    vectors = {each: ring.wrap(rng.integers(0, 2**40, agreed.length)) for each in parties}
    return MaskedSum(agreed, vectors, dict.fromkeys(parties, 3), **changes)


def plain_sum(played: MaskedSum, parties: tuple[int, ...]) -> np.ndarray:
    """What a fast path adds up."""
    total = sum(played.vectors[party].astype(np.int64) for party in parties)
    return Ring(played.terms.bits).wrap(np.asarray(total))


@settings(max_examples=40, deadline=None)
@given(
    num_parties=st.integers(1, 9),
    bits=st.sampled_from(RING_BITS),
    length=st.integers(1, 40),
    degree=st.sampled_from([0, 2, 4, 6]),
    data=st.data(),
)
def test_masked_sum_equals_plain_sum_to_the_bit(num_parties, bits, length, degree, data):
    """With up to half of the parties lost, at any stage; or it says that too few are left."""
    agreed = terms(num_parties, length, bits=bits, degree=degree)
    played = masked_sum(agreed, seed=num_parties)
    some = st.lists(st.sampled_from(sorted(played.vectors)), max_size=num_parties // 2, unique=True)
    played.lost = {party: data.draw(st.sampled_from(STAGES)) for party in data.draw(some)}
    sent = tuple(p for p in played.vectors if played.lost.get(p, "unmasking") == "unmasking")
    left = [party for party in played.vectors if party not in played.lost]
    needed = threshold_of(num_parties, agreed.threshold)
    if len(left) < needed:
        with pytest.raises(EngineError, match=r"nothing is revealed|stay on"):
            played.play()
        return
    try:
        unmasked = played.play()
    except EngineError as error:  # with few neighbours, too many of one party's may be lost
        assert degree and re.search("neighbours|are left|stay on|fall apart", str(error))
        return
    assert unmasked.parties == sent
    assert unmasked.num_devices == 3 * len(sent)
    assert unmasked.accused == ()
    np.testing.assert_array_equal(unmasked.total, plain_sum(played, sent))


@pytest.mark.parametrize("stage", STAGES)
def test_half_of_the_parties_may_not_be_lost_at_any_stage(stage: str):
    """Eight parties: three lost are three fewer in the sum, four lost are no sum."""
    agreed = terms(8, threshold=0.6)
    parties = sorted(masked_sum(agreed).vectors)
    played = masked_sum(agreed, lost=dict.fromkeys(parties[:3], stage))
    expected = tuple(parties) if stage == "unmasking" else tuple(parties[3:])
    np.testing.assert_array_equal(played.play().total, plain_sum(played, expected))
    below = masked_sum(agreed, lost=dict.fromkeys(parties[:4], stage))
    with pytest.raises(EngineError, match=r"4 of 8 parties .* threshold is 5: nothing is revealed"):
        below.play()


def test_lost_at_every_stage_at_once():
    agreed = terms(9)
    parties = sorted(masked_sum(agreed).vectors)
    played = masked_sum(agreed, lost=dict(zip(parties, STAGES, strict=False)))
    unmasked = played.play()
    assert unmasked.parties == tuple(parties[3:])
    np.testing.assert_array_equal(unmasked.total, plain_sum(played, unmasked.parties))


def test_too_few_devices_reveal_nothing():
    with pytest.raises(EngineError, match=r"6 devices are left .* 7 are the fewest"):
        masked_sum(terms(2, min_devices=7)).play()


def flip_last_byte(of_stage: str, of_party: int):
    def tamper(stage: str, party: int, content: bytes) -> bytes:
        if (stage, party) != (of_stage, of_party):
            return content
        return content[:-1] + bytes([content[-1] ^ 1])

    return tamper


def test_a_tampered_share_is_caught_and_named_and_the_sum_is_right_without_it():
    """The last share that party 2 reveals is altered: the others' suffice."""
    played = masked_sum(terms(5, threshold=0.6), tamper=flip_last_byte("unmasking", 2))
    unmasked = played.play()
    assert unmasked.accused == (2,)
    np.testing.assert_array_equal(unmasked.total, plain_sum(played, unmasked.parties))


def test_a_tampered_share_that_is_needed_ends_the_sum():
    played = masked_sum(terms(2), tamper=flip_last_byte("unmasking", 2))
    with pytest.raises(
        EngineError, match=r"the masks of party 5 stay on: .*party 2 altered a share"
    ):
        played.play()


def test_a_commitment_that_is_altered_on_the_way_is_seen_by_its_owner():
    played = masked_sum(terms(3), tamper=flip_last_byte("keys", 5))
    with pytest.raises(EngineError, match="says something else of party 5 than it said"):
        played.play()


class Lying(MaskedSum):
    """Party 5 tells of another seed, or of another mask key, than it will deal shares of."""

    about = "seed_commitment"

    def _advertise(self, party: int, asked: bytes) -> bytes:
        said = super()._advertise(party, asked)
        if party != 5:
            return said
        false = replace(Advertisement.from_bytes(said), **{self.about: public_key(bytes(16), "x")})
        self._states[5] = replace(self._states[5], advertised=false)
        return false.to_bytes()


@pytest.mark.parametrize(("about", "lost"), [("seed_commitment", {}), ("mask_key", {5: "vectors"})])
def test_a_dealer_of_false_shares_is_named(about: str, lost: dict[int, str]):
    honest = masked_sum(terms(4))
    played = Lying(honest.terms, honest.vectors, honest.devices, lost)
    played.about = about
    with pytest.raises(EngineError, match="secret of party 5 is not the one it told of"):
        played.play()


def test_a_tampered_letter_is_caught_and_named():
    played = masked_sum(terms(4))

    def tamper(stage: str, party: int, content: bytes) -> bytes:
        if (stage, party) != ("shares", 5):
            return content
        shares = Shares.from_bytes(content)
        letter = bytearray(shares.letters[2])
        letter[3] ^= 1
        letters = {**shares.letters, 2: bytes(letter)}
        return Shares(shares.session, 5, letters, shares.commitments).to_bytes()

    played.tamper = tamper
    with pytest.raises(EngineError, match="the shares of party 5 were altered on the way"):
        played.play()


def test_a_letter_that_is_handed_to_another_does_not_open():
    played = masked_sum(terms(4))

    def tamper(stage: str, party: int, content: bytes) -> bytes:
        if (stage, party) != ("shares", 5):
            return content
        shares = Shares.from_bytes(content)
        letters = {**shares.letters, 2: shares.letters[8], 8: shares.letters[2]}
        return Shares(shares.session, 5, letters, shares.commitments).to_bytes()

    played.tamper = tamper
    with pytest.raises(EngineError, match="the shares of party 5 were altered"):
        played.play()


def test_an_answer_of_another_session_is_refused():
    played = masked_sum(terms(3))

    def tamper(stage: str, party: int, content: bytes) -> bytes:
        replayed = content[:1] + bytes(32) + content[33:]
        return replayed if (stage, party) == ("vectors", 5) else content

    played.tamper = tamper
    with pytest.raises(EngineError, match="party 5 is of another session: it was replayed"):
        played.play()


@pytest.mark.parametrize("stage", STAGES)
def test_bytes_that_are_cut_off_or_too_many_are_refused(stage: str):
    for change in (lambda content: content[:-1], lambda content: content[:20]):
        played = masked_sum(terms(3, length=1, bits=16))
        played.tamper = lambda at, party, content, change=change: (
            change(content) if (at, party) == (stage, 5) else content
        )
        with pytest.raises(EngineError):
            played.play()
            raise EngineError("a vector of another length counts as lost")


class Halfway:
    """Three parties that have sent their masked vectors, and are asked to unmask by hand."""

    def __init__(self) -> None:
        self.played = masked_sum(terms(3))
        self.answers: dict[int, bytes] = {}
        self.played.tamper = self._keep
        self.played.play()

    def _keep(self, stage: str, party: int, content: bytes) -> bytes:
        if stage == "vectors":
            self.answers[party] = content
            self.before = getattr(self, "before", {}) | {party: self.played.state_of(party)}
        return content

    def ask(self, party: int, alive: list[int]) -> tuple[object, Revealed]:
        members = dict.fromkeys(alive)
        bits = bits_over(self.played.devices, members)
        return unmask(self.before[party], Survivors(SESSION, bits))


def test_never_both_secrets_of_one_party():
    """A party says one share of each neighbour, and cannot be asked for the other one later."""
    halfway = Halfway()
    done, first = halfway.ask(2, [2, 5])
    assert first.seeds.keys() == {2, 5} and first.keys.keys() == {8}
    with pytest.raises(EngineError, match=r"out of turn: .*it ended, and it answers each question"):
        unmask(done, Survivors(SESSION, bits_over(halfway.played.devices, dict.fromkeys([2, 8]))))
    secrets = (done.mask_seed, done.self_seed, done.letter_seed, done.own_shares)
    assert not any(secrets) and done.letters is None
    both = Revealed(SESSION, 2, {5: bytes(16)}, {5: bytes(16)})
    with pytest.raises(EngineError, match="both secrets of one party"):
        Revealed.from_bytes(both.to_bytes())


@pytest.mark.parametrize(
    ("alive", "words"),
    [([2], "1 of 3 parties are left, the threshold is 2"), ([5, 8], "not one that party 2")],
)
def test_a_party_reveals_nothing_for_too_few_or_without_itself(alive: list[int], words: str):
    with pytest.raises(EngineError, match=words):
        Halfway().ask(2, alive)


def test_a_party_refuses_terms_that_would_lay_it_open():
    for changes, words in (
        ({"threshold": 0.5}, "threshold of 0.5 is refused"),
        ({"degree": 3}, "3 neighbours"),
        ({"bits": 8}, "8 bits"),
    ):
        with pytest.raises(EngineError, match=words):
            advertise(Invitation(terms(3, **changes), 2), 1)


def test_a_party_refuses_a_roster_that_is_not_right():
    agreed = terms(3)
    told = {party: advertise(Invitation(agreed, party), 3) for party in (2, 5, 8)}
    keys, devices = {party: each[1] for party, each in told.items()}, dict.fromkeys(told, 3)
    copied = keys | {8: keys[5].__class__(SESSION, 8, 3, keys[5].letter_key, *[bytes(32)] * 2)}
    for roster, words in (
        (Roster(SESSION, {2: 3}, {2: keys[2]}), "1 of 3 parties take part"),
        (Roster(SESSION, devices, {2: keys[2], 5: keys[5]}), "other neighbours"),
        (Roster(SESSION, devices, keys | {2: keys[5]}), "something else of party 2"),
        (Roster(SESSION, devices, copied), "the same: somebody copied"),
        (Roster(bytes(32), devices, keys), "another session"),
    ):
        with pytest.raises(EngineError, match=words):
            share_keys(told[2][0], roster)


def test_survivors_that_fall_apart_into_groups_are_not_unmasked():
    agreed = terms(8, degree=2, threshold=0.6)
    ring_of = neighbourhoods([3 * k + 2 for k in range(8)], 2, SESSION)
    first = 2
    two_hops = [
        p for p in ring_of if p not in ring_of[first] and set(ring_of[p]) & set(ring_of[first])
    ]
    played = masked_sum(agreed, lost=dict.fromkeys(set(ring_of[first]) - {first}, "vectors"))
    assert two_hops
    with pytest.raises(EngineError, match=r"fall apart|are left"):
        played.play()


def test_a_masked_vector_looks_uniform_and_no_two_rounds_have_the_same_masks():
    """Zeros go in; chi-square of the bytes that come out, and no byte in common but by chance."""
    agreed, ring = terms(3, length=20_000, bits=24), Ring(24)
    zeros = {party: ring.wrap(np.zeros(20_000, np.int64)) for party in (2, 5, 8)}
    sums = [MaskedSum(agreed, zeros, dict.fromkeys(zeros, 1)) for _ in range(2)]
    for played in sums:
        assert not played.play().total.any()
        for content in played.masked.values():
            counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
            expected = len(content) / 256
            statistic = float(((counts - expected) ** 2 / expected).sum())
            assert stats.chi2.isf(1 - 1e-6, 255) < statistic < stats.chi2.isf(1e-6, 255)
    one, two = (np.frombuffer(played.masked[2], np.uint8) for played in sums)
    assert abs((one == two).mean() - 1 / 256) < 0.003


def test_messages_survive_the_wire():
    played = masked_sum(terms(4, degree=2))
    seen: list[tuple[str, bytes]] = []
    played.tamper = lambda stage, party, content: (seen.append((stage, content)), content)[1]
    played.play()
    for party in played.vectors:
        state = played.state_of(party)
        for message in (state.invitation, state.roster, state.advertised):
            assert type(message).from_bytes(message.to_bytes()) == message
