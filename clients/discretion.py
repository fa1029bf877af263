"""What a node says when something goes wrong: where, and never what was in its hands.

    DataError("/run/world/item.npy is damaged")    ours: written for a reader, goes up as it is
    KeyError("what a user typed")                  not ours: "KeyError in clients/shard.py:210"

An error's words travel to the cloud, into the history and into logs. Those of an error that nobody
wrote on purpose may quote the value that caused it, a text or an item of one person; its kind and
its place are enough to mend it.
"""

import traceback
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from models.errors import EngineError, PocketfleetError

_HOUSE = Path(__file__).resolve().parents[1]
_FLOORS = (_HOUSE / "clients", _HOUSE / "models")


def discreet(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A Flower mod: errors that are not ours leave the node without their words.

    Raises:
        PocketfleetError: as it was raised.
        EngineError: in place of any other error.
    """
    try:
        return call_next(message, context)
    except PocketfleetError:
        raise
    except Exception as error:
        told = f"{type(error).__name__} in {_place(error)}"
    # Raised out here: an error that is raised while another is handled carries it along.
    raise EngineError(f"{told}: a fault of the program, its words stay on the node")


def _place(error: BaseException) -> str:
    """File and line of the innermost call that a phone makes in this house."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if any(Path(frame.filename).is_relative_to(floor) for floor in _FLOORS)
    ]
    innermost = (ours or frames)[-1]
    path = Path(innermost.filename)
    return f"{path.relative_to(_HOUSE) if ours else path.name}:{innermost.lineno}"
