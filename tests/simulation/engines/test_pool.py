"""Nodes in processes of their own: the same numbers; a worker that dies is a node that fails."""

import os
import signal
from collections.abc import Mapping

import numpy as np
import pytest
from flwr.app import Message

from server.history import History
from simulation.engines.inline import Asked, config_of, play, run_inline
from simulation.engines.pool import PoolGrid, run_in_pool
from tests.tiny_world import TinyWorld, federation


def test_workers_change_nothing(tiny: TinyWorld):
    inline = tiny.prepare_run("inline", federation(4))
    run_inline(inline, 4)
    pooled = tiny.prepare_run("pooled", federation(4))
    run_in_pool(pooled, 4, workers=2)
    np.testing.assert_array_equal(History(pooled).read_final(), History(inline).read_final())
    np.testing.assert_array_equal(np.load(pooled / "taste.npy"), np.load(inline / "taste.npy"))


class Deadly(PoolGrid):
    """Kills a worker while it trains in the second round."""

    rounds = 0

    def _answers(self, pushed: Mapping[str, Asked]) -> dict[str, Message]:
        kinds = {sent.metadata.message_type for sent, _ in pushed.values()}
        self.rounds += kinds == {"train"}
        if kinds == {"train"} and self.rounds == 2:
            self._pool.submit(os.kill, os.getpid(), 0).result()  # the workers are there
            for process in (self._pool._processes or {}).values():
                os.kill(process.pid or 0, signal.SIGKILL)
        return super()._answers(pushed)


@pytest.mark.slow
def test_a_killed_worker_costs_its_nodes_and_the_run_goes_on(tiny: TinyWorld):
    folder = tiny.prepare_run("run", federation(4, rounds=3))
    with Deadly(4, config_of(folder), 2) as grid:
        play(folder, grid)
    rows = History(folder).rows()
    assert [row["num_lost"] > 0 for row in rows] == [False, False, True, False]
    assert "worker process died" in rows[2]["faults"][0]
    assert rows[3]["num_reported"] > 0 and rows[3]["metrics"]
