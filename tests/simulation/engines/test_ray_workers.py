"""The pool without Ray: dead workers leave it, new ones come when they are there."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import ray
from flwr.simulation.ray_transport import ray_actor
from ray.exceptions import ActorDiedError, RayTaskError

from simulation.engines import ray_workers
from simulation.engines.ray_workers import LastingPool


class Worker:
    """What `actor_type.options(...).remote()` gives; a future is what `ray.get` is to call."""

    def __init__(self) -> None:
        self.ready = Future(lambda: None)
        self.__ray_ready__ = SimpleNamespace(remote=lambda: self.ready)


class Future:
    def __init__(self, result: Callable[[], object]) -> None:
        self.result, self.done = result, True


class Cluster:
    """Room for some workers; those that start may be told to take their time."""

    def __init__(self, room: int) -> None:
        self.room, self.slow, self.made = room, False, list[Worker]()

    def options(self, **resources: float) -> "Cluster":
        return self

    def remote(self) -> Worker:
        worker = Worker()
        worker.ready.done = not self.slow
        self.made.append(worker)
        return worker


@pytest.fixture
def cluster(monkeypatch) -> Cluster:
    found = Cluster(2)
    for module in (ray_actor, ray_workers):
        monkeypatch.setattr(module, "pool_size_from_resources", lambda _: found.room)
    monkeypatch.setattr(ray, "get", lambda future: future.result())
    monkeypatch.setattr(ray, "wait", lambda refs, **_: ([ref for ref in refs if ref.done], []))
    monkeypatch.setattr(ray_workers, "POLL_S", 0.0)
    return found


@pytest.fixture
def pool(cluster: Cluster) -> LastingPool:
    made = LastingPool(cluster, {"num_cpus": 1}, {})
    made.add_actors_to_pool(made.actors_capacity)
    return made


def play(pool: LastingPool, result: Callable[[], object]) -> Worker:
    """As Flower's backend does: submit, fetch, and put back what raised. Returns who worked."""
    future = pool.submit(lambda *_: Future(result), (None, None, "", None))
    worker = pool._future_to_actor[future]
    try:
        pool.fetch_result_and_return_actor_to_pool(future)
    except Exception:
        pool.add_actor_back_to_pool(future)
    return worker


def fine() -> tuple[str, str, str]:
    return "cid", "answer", "context"


def dies() -> None:
    raise ActorDiedError


def raises() -> None:
    raise RayTaskError("run", "a traceback", ValueError("of the app"))


def test_a_dead_worker_gets_no_more_messages(pool: LastingPool, cluster: Cluster):
    dead = play(pool, dies)
    workers = {play(pool, fine) for _ in range(10)}
    assert dead not in workers
    assert len(cluster.made) == 3 and pool.num_actors == 2 == len(pool.pool)


def test_a_worker_whose_app_failed_stays(pool: LastingPool, cluster: Cluster):
    worker = play(pool, raises)
    assert worker in pool.pool and len(cluster.made) == 2


def test_nobody_waits_for_a_worker_that_never_starts(pool: LastingPool, cluster: Cluster):
    """The machine it was to run on is lost, and nobody has noticed yet."""
    cluster.slow = True
    dead = play(pool, dies)
    (other,) = set(cluster.made[:2]) - {dead}
    assert {play(pool, fine) for _ in range(5)} == {other}
    cluster.made[2].ready.done = True  # the machine has come back
    assert {play(pool, fine) for _ in range(5)} == {cluster.made[2]}


def test_a_worker_that_dies_while_it_starts_is_replaced(pool: LastingPool, cluster: Cluster):
    cluster.slow = True
    play(pool, dies)
    cluster.made[2].ready.result, cluster.made[2].ready.done = dies, True
    cluster.slow = False
    play(pool, dies)  # of the first two nobody is left
    assert play(pool, fine) in cluster.made[3:]
    assert pool.num_actors == 2


def test_a_smaller_cluster_gets_fewer_workers(pool: LastingPool, cluster: Cluster):
    cluster.room = 1
    play(pool, dies)
    assert pool.num_actors == 1 and len(cluster.made) == 2
