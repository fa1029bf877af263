"""Flower's simulation with workers that are replaced when they die.

Flower hands a message to a Ray worker and puts the worker back into its pool afterwards, also when
it has died. A dead worker then answers every later message at once, with an error, and takes most
of them:

    pool  [a, b]   b dies at work   Flower: [a, b]   a hundred messages: b fails ninety of them
                                    here:   [a, c]   the message that b had is lost, and no other

This is the process that SuperExec starts as `flwr-simulation`. What it changes is private to
Flower and stands here only.
"""

import threading
import time
from typing import Any

import ray
from flwr.app import Context, Message
from flwr.server.superlink.fleet.vce.backend import raybackend
from flwr.simulation.app import flwr_simulation
from flwr.simulation.ray_transport.ray_actor import BasicActorPool, pool_size_from_resources
from ray.exceptions import RayError, RayTaskError

POLL_S = 0.2


class LastingPool(BasicActorPool):
    """A pool in which no dead worker stays, and no new one is counted on before it is there.

    A machine that was lost is known to be lost only after a while: a worker that is to run there
    would never start, and a message that waits for it would never be answered.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lock = threading.Lock()
        self._coming: dict[Any, Any] = {}  # a reference that is ready when the worker is -> worker

    def submit(self, actor_fn: Any, job: tuple[Any, Message, str, Context]) -> Any:
        """Give a message to an idle worker; wait for one, there may be fewer than before."""
        while True:
            self._welcome()
            try:
                return super().submit(actor_fn, job)
            except IndexError:  # nobody is idle
                self._replace()
                time.sleep(POLL_S)

    def fetch_result_and_return_actor_to_pool(self, future: Any) -> tuple[Message, Context]:
        """Wait for the answer; forget the worker if it has died."""
        try:
            answer: tuple[Message, Context] = super().fetch_result_and_return_actor_to_pool(future)
        except RayError as error:
            if not isinstance(error, RayTaskError):  # that one is the app's own, the worker lives
                self._future_to_actor[future] = None
                self.num_actors -= 1
                self._replace()
            raise
        return answer

    def add_actor_back_to_pool(self, future: Any) -> None:
        """Put a worker back, unless it has died."""
        if (actor := self._future_to_actor.pop(future)) is not None:
            self.pool.append(actor)

    def _replace(self) -> None:
        """Start workers in place of dead ones, as many as the machines can hold."""
        with self._lock:
            for _ in range(pool_size_from_resources(self.client_resources) - self.num_actors):
                actor = self.create_actor_fn()
                self._coming[actor.__ray_ready__.remote()] = actor
                self.num_actors += 1

    def _welcome(self) -> None:
        """Take those who have started into the pool."""
        with self._lock:
            if not self._coming:
                return
            ready, _ = ray.wait(list(self._coming), num_returns=len(self._coming), timeout=0)
            for reference in ready:
                actor = self._coming.pop(reference)
                try:
                    ray.get(reference)
                    self.pool.append(actor)
                except RayError:  # it died while it started
                    self.num_actors -= 1


def main() -> None:
    """Be `flwr-simulation`, with our pool."""
    raybackend.BasicActorPool = LastingPool
    flwr_simulation()
