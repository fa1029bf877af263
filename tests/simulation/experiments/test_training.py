import functools
import os
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from models.errors import DataError, EngineError
from simulation.experiments.training import earliest_active, in_parallel


def answer(value: int) -> tuple[int, int]:
    """The value, and the largest number of threads that torch or a BLAS may use."""
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert blas  # NumPy's at least
    return value, max(torch.get_num_threads(), *blas)


def fail() -> None:
    raise DataError("no")


def die() -> None:
    os._exit(9)


def test_the_earliest_active_users_opt_in():
    """User 1 has no event; users 3 and 0 came first."""
    offsets = np.array([0, 2, 2, 4, 6, 7])
    times = np.array([20, 90, 50, 60, 10, 95, 70])
    assert earliest_active(times, offsets, 0.5).tolist() == [0, 3]
    assert earliest_active(times, offsets, 0.01).tolist() == [3]


def test_tasks_run_on_one_thread_in_this_process_too():
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2):
            done = dict(in_parallel([functools.partial(answer, 7)], ["a"], workers=4))
        assert done == {"a": (7, 1)}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
def test_tasks_run_in_workers_of_their_own(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")  # what a worker would start with
    tasks = [functools.partial(answer, value) for value in range(3)]
    done = dict(in_parallel(tasks, ["a", "b", "c"], workers=2))
    assert done == {"a": (0, 1), "b": (1, 1), "c": (2, 1)}


@pytest.mark.slow
def test_one_failure_stops_the_others():
    tasks = [fail, functools.partial(time.sleep, 3600)]
    with pytest.raises(DataError, match="no"):
        list(in_parallel(tasks, ["a", "b"], workers=2))


@pytest.mark.slow
def test_a_worker_that_dies_is_one_clear_line():
    with pytest.raises(EngineError, match="a worker process died while training a, b"):
        list(in_parallel([die, die], ["a", "b"], workers=2))
