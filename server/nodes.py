"""The nodes of a run, and what may go wrong between them and the cloud.

    asked 4 nodes:   0 answers   1 answers twice   2 reports an error   3 never answers
    read:            0, 1 once                     "node 2 failed: ..." "node 3 did not answer"

A fault never stops a round and never counts twice: what is unusable is left out, and why stands in
the history. Which node holds which partition is asked once; node ids are random in every run.

When a node is gone, Flower's SuperLink answers in its place, with an error from an id of its own;
it says to which message it replies, and so for whom it speaks.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from models.errors import EngineError

NODE_WAIT_S = 120.0
REASON_BEGINS, REASON_ENDS = 120, 180  # characters: Ray puts the cause at the end

Read = TypeVar("Read")
_COLOURS = re.compile(r"\x1b\[\d*m")


@dataclass(frozen=True, slots=True)
class Answers(Generic[Read]):
    """What came back.

    Attributes:
        by_partition: partition -> its answer, in order of partition.
        faults: a line for each node whose answer is missing or unusable, or that answered twice.
    """

    by_partition: dict[int, Read] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the grid, by what they hold.

    Attributes:
        grid: how they are reached.
        node_of: partition id -> node id.
        timeout_s: longest wait for an answer, on the clock on the wall.
    """

    grid: Grid
    node_of: Mapping[int, int]
    timeout_s: float

    @classmethod
    def find(cls, grid: Grid, num_nodes: int, timeout_s: float) -> "Nodes":
        """Wait for the nodes and ask each which partition it holds.

        Raises:
            EngineError: if too few nodes appear, one fails, two hold the same partition, or one
                counts other partitions than the run.
        """
        node_ids = _wait_for_nodes(grid, num_nodes)
        asked = [
            Message(content=RecordDict(), message_type=MessageType.QUERY, dst_node_id=node_id)
            for node_id in node_ids
        ]
        replies = list(grid.send_and_receive(asked, timeout=timeout_s))
        for reply in replies:
            if reply.has_error():
                raise EngineError(f"node {reply.metadata.src_node_id} failed: {_reason(reply)}")
        node_of = {}
        for reply in replies:
            held = reply.content["config"]
            if (counted := held.get("num_partitions", num_nodes)) != num_nodes:
                raise EngineError(
                    f"a node holds partition {held['partition_id']} of {counted}, the run has "
                    f"{num_nodes}: start it with num-partitions={num_nodes} and the shard of that"
                )
            node_of[int(held["partition_id"])] = reply.metadata.src_node_id
        if sorted(node_of) != list(range(num_nodes)):
            raise EngineError(f"nodes hold partitions {sorted(node_of)}, wanted 0..{num_nodes - 1}")
        return cls(grid, node_of, timeout_s)

    def ask(
        self,
        tasks: Mapping[int, RecordDict],
        kind: str,
        group: str,
        read: Callable[[int, RecordDict], Read],
    ) -> Answers[Read]:
        """Send one task per partition and read what comes back.

        Args:
            tasks: partition -> content.
            kind: of the messages.
            group: of the messages, for instance the round; an answer to another group is a fault.
            read: partition and content -> answer; raises `EngineError` for an unusable one.
        """
        messages = [
            Message(
                content=content,
                message_type=kind,
                dst_node_id=self.node_of[partition],
                group_id=group,
            )
            for partition, content in sorted(tasks.items())
        ]
        partition_of = {self.node_of[partition]: partition for partition in tasks}
        asked = dict(zip(sorted(tasks), messages, strict=True))
        found: dict[int, Read] = {}
        faults: dict[int, list[str]] = {}
        heard = set()
        for reply in self.grid.send_and_receive(messages, timeout=self.timeout_s):
            partition = partition_of.get(reply.metadata.src_node_id, -1)
            if partition < 0 and reply.has_error():
                partition = _spoken_for(reply, asked)
            fault = self._take(reply, partition, kind, group, read, found, partition in heard)
            heard.add(partition)
            if fault:
                faults.setdefault(partition, []).append(fault)
        for partition in set(tasks) - heard:
            faults[partition] = [f"node {partition} did not answer within {self.timeout_s:g} s"]
        lines = [line for partition in sorted(faults) for line in faults[partition]]
        return Answers(dict(sorted(found.items())), tuple(lines))

    @staticmethod
    def _take(
        reply: Message,
        partition: int,
        kind: str,
        group: str,
        read: Callable[[int, RecordDict], Read],
        found: dict[int, Read],
        again: bool,
    ) -> str:
        """Put an answer into `found`, or say why not."""
        about = reply.metadata
        if partition < 0:
            return f"a node that was not asked answered ({about.src_node_id})"
        if again:
            return f"node {partition} answered again: only its first answer is read"
        if reply.has_error():
            return f"node {partition} failed: {_reason(reply)}"
        if (about.message_type, about.group_id) != (kind, group):
            return (
                f"node {partition} answered something else: {about.message_type} {about.group_id}"
            )
        try:
            found[partition] = read(partition, reply.content)
        except EngineError as error:
            return f"node {partition}: {error}"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return f"node {partition} sent an answer that cannot be read: {error!r}"
        return ""


def _spoken_for(reply: Message, asked: Mapping[int, Message]) -> int:
    """The partition to whose message somebody else replied; -1: none of those that were asked.

    Messages get their id when they are sent.
    """
    wanted = reply.metadata.reply_to_message_id
    for partition, message in asked.items():
        if wanted and message.metadata.message_id == wanted:
            return partition
    return -1


def _reason(reply: Message) -> str:
    """What a failed node says, in one line that is not too long and has no colours."""
    line = " ".join(_COLOURS.sub("", str(reply.error.reason)).split())
    if len(line) <= REASON_BEGINS + REASON_ENDS:
        return line
    return f"{line[:REASON_BEGINS]} ... {line[-REASON_ENDS:]}"


def _wait_for_nodes(grid: Grid, num_nodes: int) -> list[int]:
    """Round 1 may start before the nodes are registered: wait until all are."""
    deadline = time.monotonic() + NODE_WAIT_S
    while len(node_ids := sorted(grid.get_node_ids())) < num_nodes:
        if time.monotonic() > deadline:
            raise EngineError(
                f"{len(node_ids)} of {num_nodes} nodes appeared within {NODE_WAIT_S:.0f} s: "
                "look into the logs of the engine and of the nodes, or ask for fewer with "
                "federation.num_nodes"
            )
        time.sleep(0.1)
    return node_ids
