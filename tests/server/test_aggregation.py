import numpy as np
import pytest
import torch

from server.aggregation import server_optimizer
from server.settings import ServerJob, ServerOptimizerSettings

INITIAL = np.array([0.0, 1.0, -1.0], np.float32)
UPDATES = [np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5]), np.array([3.0, 0.0, -1.0])]


def settings(name: str, **changes: float) -> ServerOptimizerSettings:
    values = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 1e-3} | changes
    return ServerOptimizerSettings(name=name, **values)


def test_fedavg_with_rate_one_adds_the_mean_update():
    optimizer = server_optimizer(settings("fedavg", rate=1.0), 0.0)
    state = optimizer.step(optimizer.start(INITIAL), UPDATES[0], 1.0)
    np.testing.assert_array_equal(state.parameters, INITIAL + UPDATES[0])
    assert state.round_number == 1


def test_fedadam_follows_algorithm_2_line_by_line():
    optimizer = server_optimizer(settings("fedadam"), 0.0)
    state = optimizer.start(INITIAL)
    x, m, v = INITIAL.astype(float), np.zeros(3), np.full(3, 1e-6)
    for update in UPDATES:
        state = optimizer.step(state, update, 1.0)
        m = 0.9 * m + 0.1 * update
        v = 0.99 * v + 0.01 * update**2
        x = x + 0.1 * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(state.parameters, x, rtol=1e-12)


def test_fedadam_agrees_with_torch_where_the_two_mean_the_same():
    """torch's Adam corrects the bias of m and v; after many equal updates that is gone."""
    optimizer = server_optimizer(settings("fedadam", beta2=0.9, tau=1e-3), 0.0)
    state = optimizer.start(INITIAL)
    theirs = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.9), eps=1e-3)
    for _ in range(300):
        before, torch_before = state.parameters, theirs.detach().clone()
        state = optimizer.step(state, UPDATES[0], 1.0)
        theirs.grad = torch.tensor(-UPDATES[0])
        adam.step()
    step = (theirs.detach() - torch_before).numpy()
    np.testing.assert_allclose(state.parameters - before, step, rtol=1e-6)


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "fedyogi"])
def test_a_state_is_never_changed_in_place(name):
    optimizer = server_optimizer(settings(name), 0.0)
    state = optimizer.start(INITIAL)
    optimizer.step(state, UPDATES[0], 1.0)
    np.testing.assert_array_equal(state.parameters, INITIAL)
    assert state.as_sent().dtype == np.float32


def test_fedyogi_follows_algorithm_2_line_by_line():
    optimizer = server_optimizer(settings("fedyogi"), 0.0)
    state = optimizer.start(INITIAL)
    x, m, v = INITIAL.astype(float), np.zeros(3), np.full(3, 1e-6)
    for update in UPDATES:
        state = optimizer.step(state, update, 1.0)
        m = 0.9 * m + 0.1 * update
        v = v - 0.01 * update**2 * np.sign(v - update**2)
        x = x + 0.1 * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(state.parameters, x, rtol=1e-12)


def test_feddyn_finds_the_optimum_of_all_where_fedavg_with_many_local_steps_does_not():
    """Two devices with quadratic losses of unlike curvature: the mean of their optima is wrong."""
    curvature, optimum = np.array([1.0, 10.0]), np.array([0.0, 1.0])
    of_all = (curvature * optimum).sum() / curvature.sum()

    def settled(alpha: float, name: str) -> float:
        optimizer = server_optimizer(settings(name, rate=1.0), alpha)
        state = optimizer.start(np.array([0.3], np.float32))
        duals = np.zeros(2)
        for _ in range(400):
            x = state.parameters[0]
            # argmin of c/2 (w - o)^2 - dual * w + alpha/2 (w - x)^2, exactly
            own = (curvature * optimum + duals + alpha * x) / (curvature + alpha)
            if name == "feddyn":
                duals = duals - alpha * (own - x)
            state = optimizer.step(state, np.array([(own - x).mean()]), 1.0)
        return float(state.parameters[0])

    assert settled(0.5, "feddyn") == pytest.approx(of_all, abs=1e-6)
    assert abs(settled(0.0, "fedavg") - of_all) > 0.3


def test_a_part_of_the_parameters_is_put_where_it_belongs():
    job = ServerJob.model_construct(num_parameters=6, trained=((1, 3), (5, 6)))
    assert job.num_trained == 3
    np.testing.assert_array_equal(job.whole(np.array([7.0, 8.0, 9.0])), [0, 7, 8, 0, 0, 9])
