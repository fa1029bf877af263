"""What the cloud checks of answers in a secure sum before it goes on."""

from collections.abc import Collection, Iterable
from typing import TypeVar

from clients.protocol.secure_sum.answers import Advertisement, Masked, Revealed, Shares
from clients.protocol.secure_sum.neighbourhoods import threshold_of
from clients.protocol.secure_sum.questions import Terms
from clients.protocol.secure_sum.wire import check_session
from models.errors import EngineError

Answer = TypeVar("Answer", Advertisement, Shares, Masked, Revealed)


def own_answers(
    answers: Iterable[Answer], terms: Terms, parties: Collection[int]
) -> Iterable[Answer]:
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
