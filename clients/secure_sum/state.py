"""What a party of a secure sum remembers between messages."""

from dataclasses import dataclass, replace

from clients.protocol.secure_sum.answers import Advertisement
from clients.protocol.secure_sum.neighbourhoods import Neighbourhoods, neighbourhoods
from clients.protocol.secure_sum.questions import Invitation, Letters, Roster, Terms
from clients.protocol.secure_sum.wire import check_session
from models.errors import EngineError

ADVERTISED, SHARED, MASKED, DONE = range(4)
STAGES = ("its keys were advertised", "its shares were dealt", "its vector was masked", "it ended")


@dataclass(frozen=True, slots=True, repr=False)
class PartyState:
    """What a party remembers between messages; it never leaves the party.

    Attributes:
        stage: how far it is.
        invitation: terms and its own number.
        advertised: what it told everybody.
        letter_seed: of the key that seals letters, 16 bytes.
        mask_seed: of the key that masks vectors, 16 bytes.
        self_seed: of its self mask, 16 bytes.
        own_shares: the two shares of its own secrets that it keeps, 32 bytes.
        roster: who takes part; None before it came.
        letters: what its neighbours sealed for it; None before they came.
    """

    stage: int
    invitation: Invitation
    advertised: Advertisement
    letter_seed: bytes
    mask_seed: bytes
    self_seed: bytes
    own_shares: bytes = b""
    roster: Roster | None = None
    letters: Letters | None = None

    @property
    def terms(self) -> Terms:
        """Of the sum."""
        return self.invitation.terms

    @property
    def party(self) -> int:
        """Its own number."""
        return self.invitation.party

    def bound(self) -> Neighbourhoods:
        """Who is bound to whom."""
        return neighbourhoods(self.the_roster().devices, self.terms.degree, self.terms.session)

    def the_roster(self) -> Roster:
        """Who takes part.

        Raises:
            EngineError: if it never came.
        """
        if self.roster is None:
            raise EngineError("a secure sum goes on without a roster")
        return self.roster

    def without_secrets(self) -> "PartyState":
        """What is left when the sum is over: who gets hold of it later learns nothing of masks."""
        return replace(
            self, letter_seed=b"", mask_seed=b"", self_seed=b"", own_shares=b"", letters=None
        )

    def expect(self, stage: int, session: bytes, what: str) -> None:
        """Refuse a message out of turn, or of another session.

        Raises:
            EngineError: if it is one.
        """
        check_session(session, self.terms.session, what)
        if self.stage != stage:
            raise EngineError(
                f"{what} came out of turn: the last that party {self.party} did is that "
                f"{STAGES[self.stage]}, and it answers each question once"
            )
