"""From the sum of clipped updates to new parameters.

A round gives d = (sum of updates) / (number of devices): every device weighs the same, as
user-level privacy needs later. The server treats -d as a gradient [1]:

    FedAvg    x <- x + rate * d
    FedAdam   m <- beta1 m + (1 - beta1) d
              v <- beta2 v + (1 - beta2) d^2
              x <- x + rate * m / (sqrt(v) + tau)
    FedYogi   the same with v <- v - (1 - beta2) d^2 sign(v - d^2)
    FedDyn    h <- h - alpha * share * d                                            [3]
              x <- x + d - h / alpha      share: of all devices, those in the sum

A server optimizer is a value (two functions), not a class to inherit from. State is float64.

[1] S. Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
[2] J. Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022.
[3] D. Acar et al., "Federated Learning Based on Dynamic Regularization", ICLR 2021, algorithm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.settings import ServerOptimizerSettings

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ServerState:
    """Everything the server carries from round to round.

    Attributes:
        parameters: (P,) float64.
        momentum: (P,) float64, zero under FedAvg; h under FedDyn.
        variance: (P,) float64, zero under FedAvg.
        round_number: rounds done.
    """

    parameters: Vector
    momentum: Vector
    variance: Vector
    round_number: int

    def as_sent(self) -> NDArray[np.float32]:
        """The parameters as they travel, float32."""
        return self.parameters.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ServerOptimizer:
    """Two pure functions.

    Attributes:
        start: initial parameters (P,) -> state.
        step: state, mean update (P,), and the share of all devices that is in it -> next state.
    """

    start: Callable[[NDArray[np.float32]], ServerState]
    step: Callable[[ServerState, Vector, float], ServerState]


def staleness_weight(staleness: int) -> float:
    """What an update weighs whose device began some steps ago: 1 / sqrt(1 + steps) [2].

    >>> [round(staleness_weight(steps), 3) for steps in (0, 1, 3)]
    [1.0, 0.707, 0.5]
    """
    return float(1.0 / np.sqrt(1.0 + staleness))


def server_optimizer(settings: ServerOptimizerSettings, proximal: float) -> ServerOptimizer:
    """The optimizer that the settings name.

    Args:
        settings: its name and rates.
        proximal: of the local training: FedDyn's alpha.
    """
    if settings.name == "fedavg":
        return _fedavg(settings.rate)
    if settings.name == "feddyn":
        return _feddyn(proximal)
    return _adaptive(settings)


def _fedavg(rate: float) -> ServerOptimizer:
    def start(initial: NDArray[np.float32]) -> ServerState:
        zeros = np.zeros(len(initial))
        return ServerState(initial.astype(np.float64), zeros, zeros, 0)

    def step(state: ServerState, update: Vector, share: float) -> ServerState:
        return replace(
            state,
            parameters=state.parameters + rate * update,
            round_number=state.round_number + 1,
        )

    return ServerOptimizer(start, step)


def _feddyn(alpha: float) -> ServerOptimizer:
    def step(state: ServerState, update: Vector, share: float) -> ServerState:
        dual = state.momentum - alpha * share * update
        moved = state.parameters + update - dual / alpha
        return replace(state, parameters=moved, momentum=dual, round_number=state.round_number + 1)

    return ServerOptimizer(_fedavg(1.0).start, step)


def _adaptive(settings: ServerOptimizerSettings) -> ServerOptimizer:
    """FedAdam and FedYogi."""
    beta1, beta2, tau = settings.beta1, settings.beta2, settings.tau

    def start(initial: NDArray[np.float32]) -> ServerState:
        # v starts at tau^2, as in algorithm 2: the first steps are not divided by nothing.
        variance = np.full(len(initial), tau**2)
        return ServerState(initial.astype(np.float64), np.zeros(len(initial)), variance, 0)

    def step(state: ServerState, update: Vector, share: float) -> ServerState:
        momentum = beta1 * state.momentum + (1.0 - beta1) * update
        square = update**2
        if settings.name == "fedyogi":
            change = (1.0 - beta2) * square * np.sign(state.variance - square)
            variance = state.variance - change
        else:
            variance = beta2 * state.variance + (1.0 - beta2) * square
        moved = state.parameters + settings.rate * momentum / (np.sqrt(variance) + tau)
        return ServerState(moved, momentum, variance, state.round_number + 1)

    return ServerOptimizer(start, step)
