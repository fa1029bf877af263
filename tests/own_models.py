"""Recommenders of somebody's own, small, for tests."""

import torch
from torch import Tensor

from models.recommenders.own import Parameters, Phone


class Mean:
    """A user is the mean of what they chose; sampled negatives where there are any."""

    dim = 4

    def start(self, num_items: int, seed: int) -> Parameters:
        rng = torch.Generator().manual_seed(seed)
        shapes = {"chosen": (num_items, self.dim), "shown": (num_items, self.dim)}
        tables = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
        return tables | {"popularity": torch.zeros(num_items)}

    def scores(self, parameters: Parameters, phone: Phone) -> Tensor:
        total = (phone.here[:, None] * parameters["chosen"][phone.items]).sum(0)
        user = total / phone.here.sum().clamp(min=1)
        return parameters["shown"] @ user + parameters["popularity"]

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        scores = self.scores(parameters, phone)
        right = (scores[phone.items] * phone.here).sum() / phone.here.sum().clamp(min=1)
        if len(phone.negatives):
            return torch.nn.functional.softplus(scores[phone.negatives] - right).mean()
        return scores.logsumexp(0) - right


class ForgetsPadding(Mean):
    """Takes padding for events."""

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        scores = self.scores(parameters, phone)
        return scores.logsumexp(0) - scores[phone.items].mean()


class DrawsAnew(Mean):
    """Starts elsewhere each time."""

    def start(self, num_items: int, seed: int) -> Parameters:
        return {name: torch.randn_like(each) for name, each in super().start(num_items, 0).items()}


class WrongShape(Mean):
    """Scores one item too few."""

    def scores(self, parameters: Parameters, phone: Phone) -> Tensor:
        return super().scores(parameters, phone)[1:]

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        return (parameters["shown"] ** 2).sum()


class LossPerEvent(Mean):
    """Gives a loss for each event."""

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        return self.scores(parameters, phone)[phone.items]


class NoTensors(Mean):
    """Starts from whole numbers."""

    def start(self, num_items: int, seed: int) -> Parameters:
        return {"shown": torch.zeros(num_items, dtype=torch.int64)}


class Explodes(Mean):
    """Scores fine, and its update is not finite."""

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        return super().loss(parameters, phone) * 1e38 * 1e10
