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

from flwr.app import Context, Message
from flwr.server.superlink.fleet.vce.backend import raybackend
from flwr.simulation.app import flwr_simulation
from flwr.simulation.ray_transport.ray_actor import BasicActorPool, pool_size_from_resources
from ray.exceptions import RayError, RayTaskError

POLL_S = 0.1


class LastingPool(BasicActorPool):
    """A pool in which no dead worker stays."""

    _refilling = threading.Lock()

    def submit(self, actor_fn: Any, job: tuple[Any, Message, str, Context]) -> Any:
        """Give a message to an idle worker; wait for one, there may be fewer than before."""
        while True:
            try:
                return super().submit(actor_fn, job)
            except IndexError:  # nobody is idle
                self._refill()
                time.sleep(POLL_S)

    def fetch_result_and_return_actor_to_pool(self, future: Any) -> tuple[Message, Context]:
        """Wait for the answer; forget the worker if it has died."""
        try:
            answer: tuple[Message, Context] = super().fetch_result_and_return_actor_to_pool(future)
        except RayError as error:
            if not isinstance(error, RayTaskError):  # that one is the app's own, the worker lives
                self._future_to_actor[future] = None
                self.num_actors -= 1
                self._refill()
            raise
        return answer

    def add_actor_back_to_pool(self, future: Any) -> None:
        """Put a worker back, unless it has died."""
        if (actor := self._future_to_actor.pop(future)) is not None:
            self.pool.append(actor)

    def _refill(self) -> None:
        """Start workers in place of dead ones, as many as the machines that are left can hold."""
        with self._refilling:
            room = pool_size_from_resources(self.client_resources) - self.num_actors
            if room > 0:
                self.add_actors_to_pool(room)


def main() -> None:
    """Be `flwr-simulation`, with our pool."""
    raybackend.BasicActorPool = LastingPool
    flwr_simulation()
