"""The inline engine: the two Flower apps in this process, no Ray, no sockets.

`InlineGrid` is a Flower `Grid` that calls the ClientApp directly. ServerApp and ClientApp do not
know the difference: the same messages are built, copied and answered. It is the default engine; a
round costs what its arithmetic costs.

Flower stamps a message with the identity of the task that runs in the process. That identity and
the message id are private to Flower, so both are set here and nowhere else.
"""

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

import clients.app
import server.app

_LOG = logging.getLogger(__name__)

RUN_ID = 1
SERVER_NODE_ID = 1
FIRST_NODE_ID = 1000  # node ids are arbitrary numbers, as under Flower: not partition ids


RunConfig = dict[str, bool | float | int | str]
"""Scalars by name, as Flower wants them."""

Asked = tuple[Message, Context]
"""A message and the context of the node that it goes to."""


class InlineGrid(Grid):
    """A grid whose nodes are function calls.

    Args:
        client_app: the ClientApp that every node runs.
        num_nodes: how many nodes there are; node k holds partition k.
        run_config: the run config that both apps see.
    """

    def __init__(self, client_app: ClientApp, num_nodes: int, run_config: RunConfig) -> None:
        self._client_app = client_app
        self._message_ids = itertools.count(1)
        self._replies: dict[str, Message] = {}
        self._run = Run.create_empty(RUN_ID)
        self._contexts = {
            FIRST_NODE_ID + partition: Context(
                run_id=RUN_ID,
                node_id=FIRST_NODE_ID + partition,
                node_config={"partition-id": partition, "num-partitions": num_nodes},
                state=RecordDict(),
                run_config=run_config,
            )
            for partition in range(num_nodes)
        }

    def set_run(self, run: Run) -> None:
        """Remember the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run this grid works for."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Build a message, as Flower's (deprecated) method of this name does."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes; they are there from the start."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let each addressee answer at once, and keep the answers until they are pulled."""
        pushed: dict[str, Asked] = {}
        for message in messages:
            message_id = str(next(self._message_ids))
            # A copy each way, as a wire would make: an app may change what it was handed.
            sent = copy.deepcopy(message)
            sent.metadata.__dict__["_message_id"] = message_id
            pushed[message_id] = sent, self._contexts[message.metadata.dst_node_id]
        self._replies |= self._answers(pushed)
        return list(pushed)

    def _answers(self, pushed: Mapping[str, Asked]) -> dict[str, Message]:
        """The answers to these messages, by message id."""
        return {
            message_id: copy.deepcopy(answer(self._client_app, sent, context))
            for message_id, (sent, context) in pushed.items()
        }

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hand out the answers to these messages, once."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push and pull; nothing is ever late here, so `timeout` has nothing to do."""
        return self.pull_messages(self.push_messages(messages))


def answer(client_app: ClientApp, sent: Message, context: Context) -> Message:
    """What a node says, or that it failed: an error is a reply here, as under Flower."""
    with task_identity(context.node_id):
        try:
            return client_app(sent, context)
        except Exception as error:
            _LOG.debug("a node failed", exc_info=True)
            code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            return failed(sent, code, f"{type(error).__name__}: {error}")


def failed(sent: Message, code: int, reason: str) -> Message:
    """The reply that says that a node failed."""
    return Message(Error(code, reason), reply_to=sent)


@contextmanager
def task_identity(node_id: int) -> Iterator[None]:
    """Let this process be a Flower task for a moment."""
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = node_id, RUN_ID, node_id
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before


def run_inline(run_folder: Path, num_nodes: int) -> None:
    """Run a prepared run folder (device job, server job, plan) to its end in this process.

    Raises:
        EngineError: as `server.strategy.federate` does.
    """
    # A node's shard is cached for the length of a run; the same folder may be run again.
    clients.app.forget_shards()
    try:
        play(run_folder, InlineGrid(clients.app.app, num_nodes, config_of(run_folder)))
    finally:
        clients.app.forget_shards()


def config_of(run_folder: Path) -> RunConfig:
    """The run config that both apps see."""
    return {"run-folder": str(run_folder)}


def play(run_folder: Path, grid: Grid) -> None:
    """Let the ServerApp run a prepared folder on a grid of ours."""
    context = Context(
        run_id=RUN_ID,
        node_id=SERVER_NODE_ID,
        node_config={},
        state=RecordDict(),
        run_config=config_of(run_folder),
    )
    with task_identity(SERVER_NODE_ID):
        server.app.app(grid, context)
