"""The common job in plain torch, three ways: the ceiling, the generic way, and the usual way.

    python -m benchmarks.common_job.torch_peers explicit | vmap | loop

`explicit` is batched matrix products with a written out backward pass and nothing else: no message,
no clipping, no round loop to speak of. It is what the product is measured against.
"""

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.common_job import job

AT_A_TIME = 25
"""Clients whose weights stay in the cache together; the best of 10, 20, 25, 50 and 100 here."""

Train = Callable[[list[Tensor], Tensor, Tensor], list[Tensor]]
"""Global layers, features (C, 100, 64), labels (C, 100, 1) -> sum over clients of their layers."""


def explicit(layers: list[Tensor], features: Tensor, labels: Tensor) -> list[Tensor]:
    count = len(features)
    w1, b1, w2, b2, w3, b3 = (each.repeat(count, *[1] * each.ndim) for each in layers)
    for x, y in _batches(features, labels):
        h1 = torch.baddbmm(b1.unsqueeze(1), x, w1.mT).relu_()
        h2 = torch.baddbmm(b2.unsqueeze(1), h1, w2.mT).relu_()
        logits = torch.baddbmm(b3.unsqueeze(1), h2, w3.mT)
        d3 = logits.sigmoid_().sub_(y).mul_(job.RATE / job.BATCH_SIZE)
        d2 = (d3 @ w3).mul_(h2 > 0)
        d1 = (d2 @ w2).mul_(h1 > 0)
        for weight, bias, back, below in ((w3, b3, d3, h2), (w2, b2, d2, h1), (w1, b1, d1, x)):
            weight.baddbmm_(back.mT, below, alpha=-1)
            bias.sub_(back.sum(dim=1))
    return [each.sum(dim=0) for each in (w1, b1, w2, b2, w3, b3)]


def by_vmap(layers: list[Tensor], features: Tensor, labels: Tensor) -> list[Tensor]:
    model = _model()
    names = [name for name, _ in model.named_parameters()]

    def loss(own: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(functional_call(model, own, (x,)), y)

    gradients = vmap(grad(loss))
    own = {
        name: each.repeat(len(features), *[1] * each.ndim)
        for name, each in zip(names, layers, strict=True)
    }
    for x, y in _batches(features, labels):
        for name, gradient in gradients(own, x, y).items():
            own[name].sub_(gradient, alpha=job.RATE)
    return [own[name].sum(dim=0) for name in names]


def in_a_loop(layers: list[Tensor], features: Tensor, labels: Tensor) -> list[Tensor]:
    model = _model()
    weights, total = list(model.parameters()), [torch.zeros_like(each) for each in layers]
    for client in range(len(features)):
        for weight, start in zip(weights, layers, strict=True):
            weight.data.copy_(start)
        optimizer = torch.optim.SGD(weights, lr=job.RATE)
        for x, y in _batches(features[client : client + 1], labels[client : client + 1]):
            optimizer.zero_grad()
            with torch.enable_grad():
                binary_cross_entropy_with_logits(model(x[0]), y[0]).backward()
            optimizer.step()
        for sums, weight in zip(total, weights, strict=True):
            sums.add_(weight.data)
    return total


def _batches(features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, job.NUM_ROWS, job.BATCH_SIZE):
        inside = slice(start, start + job.BATCH_SIZE)
        yield features[:, inside], labels[:, inside]


def _model() -> torch.nn.Module:
    first, second = job.HIDDEN
    return torch.nn.Sequential(
        torch.nn.Linear(job.INPUTS, first),
        torch.nn.ReLU(),
        torch.nn.Linear(first, second),
        torch.nn.ReLU(),
        torch.nn.Linear(second, 1),
    )


WAYS: dict[str, Train] = {"explicit": explicit, "vmap": by_vmap, "loop": in_a_loop}


def main(way: str) -> None:
    torch.set_num_threads(1)
    train = WAYS[way]
    features, labels = map(torch.from_numpy, job.rows())
    layers = [torch.from_numpy(each) for each in job.initial()]
    with torch.no_grad(), job.timed() as clock:
        for cohort in job.cohorts():
            total = [torch.zeros_like(each) for each in layers]
            for start in range(0, len(cohort), AT_A_TIME):
                users = torch.from_numpy(cohort[start : start + AT_A_TIME])
                for sums, part in zip(
                    total, train(layers, features[users], labels[users]), strict=True
                ):
                    sums.add_(part)
            layers = [sums / len(cohort) for sums in total]
    job.report(clock, [each.numpy() for each in layers])


if __name__ == "__main__":
    main(sys.argv[1])
