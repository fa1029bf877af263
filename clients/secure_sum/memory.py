"""What a node remembers between two messages of a secure sum, in the state that Flower keeps.

One sum of a kind (training, evaluation) at a time: an invitation to a new one forgets the one
before, its secrets with it.
"""

from flwr.app import ConfigRecord, RecordDict

from clients.protocol.secure_sum.answers import Advertisement
from clients.protocol.secure_sum.questions import Invitation, Letters, Roster
from clients.secure_sum.state import PartyState
from models.errors import EngineError


def remember(state: RecordDict, purpose: str, party: PartyState) -> None:
    """Keep where a party stands.

    Args:
        state: the node's, kept by Flower.
        purpose: "train" or "evaluate".
        party: where it stands.
    """
    state[_name(purpose)] = ConfigRecord(
        {
            "stage": party.stage,
            "invitation": party.invitation.to_bytes(),
            "advertised": party.advertised.to_bytes(),
            "letter_seed": party.letter_seed,
            "mask_seed": party.mask_seed,
            "self_seed": party.self_seed,
            "own_shares": party.own_shares,
            "roster": party.roster.to_bytes() if party.roster else b"",
            "letters": party.letters.to_bytes() if party.letters else b"",
        }
    )


def recall(state: RecordDict, purpose: str) -> PartyState:
    """Where the party stood when it was last asked.

    Raises:
        EngineError: if it was not asked yet, or has been started anew since.
    """
    if _name(purpose) not in state:
        raise EngineError("a secure sum goes on that this node has no keys for: it was restarted")
    kept = dict(state[_name(purpose)])
    return PartyState(
        stage=kept["stage"],
        invitation=Invitation.from_bytes(kept["invitation"]),
        advertised=Advertisement.from_bytes(kept["advertised"]),
        letter_seed=kept["letter_seed"],
        mask_seed=kept["mask_seed"],
        self_seed=kept["self_seed"],
        own_shares=kept["own_shares"],
        roster=Roster.from_bytes(kept["roster"]) if kept["roster"] else None,
        letters=Letters.from_bytes(kept["letters"]) if kept["letters"] else None,
    )


def _name(purpose: str) -> str:
    return f"secure-sum-{purpose}"
