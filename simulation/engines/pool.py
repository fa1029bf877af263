"""The inline engine with more than one process: nodes answer at the same time, still without Ray.

    this process    ServerApp, round loop
    worker 0        ClientApp: answers for node 0, then 2, then 5 ...
    worker 1        ClientApp: answers for node 1, then 3, then 4 ...

A worker holds no state that matters: any of them can answer for any node, and what a node remembers
(the state of its Flower context) comes back with its answer. One that dies (killed,
out of memory) takes the messages with it that were not answered yet; their nodes have failed, as
under Flower, and the next round starts new workers.
"""

import multiprocessing
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType

import torch
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode

import clients.app
from simulation.engines.inline import (
    Asked,
    InlineGrid,
    RunConfig,
    answer,
    config_of,
    failed,
    play,
)

DIED = "its worker process died, most likely for want of memory: ask for fewer workers"


class PoolGrid(InlineGrid):
    """A grid whose nodes are answered for by worker processes.

    Args:
        num_nodes: how many nodes there are; node k holds partition k.
        run_config: the run config that both apps see.
        workers: processes, one thread each.
    """

    def __init__(self, num_nodes: int, run_config: RunConfig, workers: int) -> None:
        super().__init__(clients.app.app, num_nodes, run_config)
        self._workers = workers
        self._pool = _start(workers)

    def __enter__(self) -> "PoolGrid":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()  # nothing runs any more unless somebody failed or stopped
            process.join()

    def _answers(self, pushed: Mapping[str, Asked]) -> dict[str, Message]:
        futures = {
            message_id: self._pool.submit(_answer, sent, context)
            for message_id, (sent, context) in pushed.items()
        }
        answers: dict[str, Message] = {}
        broken = False
        for message_id, future in futures.items():
            try:
                answers[message_id], kept = future.result()
                pushed[message_id][1].state = kept
            except BrokenProcessPool:
                broken = True
                sent, _ = pushed[message_id]
                answers[message_id] = failed(sent, ErrorCode.CLIENT_APP_CRASHED, DIED)
        if broken:
            self._pool.shutdown(wait=False)
            self._pool = _start(self._workers)
        return answers


def _start(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare)


def _prepare() -> None:
    """Ctrl-C is for the parent, which stops its workers; one thread each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _answer(sent: Message, context: Context) -> tuple[Message, RecordDict]:
    reply = answer(clients.app.app, sent, context)
    return reply, context.state


def run_in_pool(run_folder: Path, num_nodes: int, workers: int) -> None:
    """Run a prepared run folder to its end, its nodes in worker processes.

    Args:
        run_folder: device job, server job and plan.
        num_nodes: of the run.
        workers: processes; more than nodes are of no use.

    Raises:
        EngineError: as `server.strategy.federate` does.
    """
    with PoolGrid(num_nodes, config_of(run_folder), min(workers, num_nodes)) as grid:
        play(run_folder, grid)
